//! UDP subscribers on request (`subscribe`): strangers may not draw traffic, nor keep it.

use std::time::Duration;

/// How long a cookie is good for: a round trip over any link, and a few attempts.
pub const COOKIE_VALID: Duration = Duration::from_secs(15);
/// How long a key makes cookies; those of the key before are good for longer than any cookie is.
pub const COOKIE_KEY_LIFE: Duration = Duration::from_secs(60);
/// Answers per second to those who do not subscribe (yet): a tenth of a core, and twice the flood
/// under which newcomers are still to be served.
pub const UDP_ANSWERS_PER_SECOND: u32 = 20_000;
/// How long a stream comes without a renewal, by default.
pub const UDP_LEASE: Duration = Duration::from_secs(30);
/// The shortest lease: each renewal is a packet, and seconds are the unit of the messages.
pub const UDP_LEASE_MIN: Duration = Duration::from_secs(3);
/// The longest lease: whoever has vanished gets the stream for so long.
pub const UDP_LEASE_MAX: Duration = Duration::from_secs(3600);
/// Renewals within a lease: two may be lost.
pub const UDP_RENEWALS: u32 = 3;
/// Subscribers at the same time, by default: each costs as much as an output.
pub const UDP_CLIENTS: u64 = 100;
/// Subscribers at most.
pub const UDP_CLIENTS_MAX: u64 = 10_000;
/// Requests that are read before the streams have their turn.
pub const UDP_REQUESTS_AT_ONCE: usize = 64;
/// Bytes of receive buffer for requests: a burst of 10,000 of them.
pub const UDP_REQUEST_BUFFER: usize = 8 << 20;
/// Requests from subscribers that wait to be read: each subscriber renews once in a while.
pub const UDP_STRAYS_MAX: usize = 256;
/// Send buffer asked for per subscriber: a tick of 5 ms at 400 Mbit/s, and more than the kernel
/// keeps for a host whose ARP answer it waits for.
pub const UDP_SUBSCRIBER_BUFFER: usize = 256 << 10;
/// How long a full socket is waited for: then what is left of the batch counts as lag.
pub const UDP_FULL_PATIENCE: Duration = Duration::from_millis(50);
/// How often leases are looked at.
pub const UDP_LEASE_CHECK: Duration = Duration::from_millis(500);
const _: () = assert!(COOKIE_KEY_LIFE.as_secs() > COOKIE_VALID.as_secs());
