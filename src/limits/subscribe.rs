//! UDP subscribers on request (`subscribe`): attackers must not redirect traffic to others, nor
//! keep it running.

use std::time::Duration;

/// Validity of a cookie: a round trip over any link, and a few attempts.
pub const COOKIE_VALID: Duration = Duration::from_secs(15);
/// Time for which a key makes cookies; those of the previous key stay valid for longer than any
/// cookie.
pub const COOKIE_KEY_LIFE: Duration = Duration::from_secs(60);
/// Maximum answers per second to clients that are not subscribed: a tenth of a core, and twice the
/// flood under which new subscribers must still be served.
pub const UDP_ANSWERS_PER_SECOND: u32 = 20_000;
/// Default time for which a stream is sent without a renewal.
pub const UDP_LEASE: Duration = Duration::from_secs(30);
/// Minimum lease: each renewal is a packet, and seconds are the unit of the messages.
pub const UDP_LEASE_MIN: Duration = Duration::from_secs(3);
/// Maximum lease: a subscriber that has vanished gets the stream that long.
pub const UDP_LEASE_MAX: Duration = Duration::from_secs(3600);
/// Renewals per lease: two may be lost.
pub const UDP_RENEWALS: u32 = 3;
/// Default maximum of subscribers: each takes as much as an output.
pub const UDP_CLIENTS: u64 = 100;
/// Maximum subscribers in a configuration.
pub const UDP_CLIENTS_MAX: u64 = 10_000;
/// Requests that are read before it is the turn of the streams.
pub const UDP_REQUESTS_AT_ONCE: usize = 64;
/// Receive buffer for requests: a burst of 10,000 of them.
pub const UDP_REQUEST_BUFFER: usize = 8 << 20;
/// Maximum unread requests from subscribers: each subscriber renews only from time to time.
pub const UDP_STRAYS_MAX: usize = 256;
/// Requested send buffer per subscriber: a tick of 5 ms at 400 Mbit/s, and more than the kernel
/// keeps for a host while it waits for an ARP answer.
pub const UDP_SUBSCRIBER_BUFFER: usize = 256 << 10;
/// Maximum wait for a full socket; then the rest of the batch counts as lag.
pub const UDP_FULL_PATIENCE: Duration = Duration::from_millis(50);
/// Interval at which leases are checked.
pub const UDP_LEASE_CHECK: Duration = Duration::from_millis(500);
const _: () = assert!(COOKIE_KEY_LIFE.as_secs() > COOKIE_VALID.as_secs());
