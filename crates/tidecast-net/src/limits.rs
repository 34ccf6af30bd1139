//! Every bound of this crate, with its reason. A queue, map, loop or buffer without a bound here is
//! a bug.
//!
//! What must hold between bounds is asserted beside them, so that a build fails and not a relay.

use std::time::Duration;

/// Datagrams per `recvmmsg`: at 64 the call's own cost is a few ns a packet, and more gains
/// nothing.
pub const RECEIVE_BATCH: usize = 64;
/// Messages per `sendmmsg`: likewise; the kernel would take 1,024.
pub const SEND_BATCH: usize = 64;
/// Receive buffer asked for per leg, as the kernel charges it: a 1,316-byte media packet is charged
/// 2,304 bytes, so this holds 1,820 of them, which is 200 ms at 96 Mbit/s: longer than a busy
/// machine keeps a thread waiting.
pub const RECEIVE_BUFFER_BYTES: usize = 4 << 20;
/// How often a leg looks whether its interface came, went or was made anew. With 1 s it is back
/// within 2 s.
pub(crate) const LEG_CHECK: Duration = Duration::from_secs(1);
/// The age at which the list of interfaces is read again: a few readings a second, however many
/// sockets ask.
pub(crate) const INTERFACES_AGE_MAX: Duration = Duration::from_millis(250);

/// Bytes of a channel's name: a path segment, a metric label, a column of a table.
pub const CHANNEL_NAME_BYTES_MAX: usize = 64;

/// The shortest time between two log lines about the same trouble of one leg or output.
pub const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Bytes of a recording's file, by default: opens at once in Wireshark; 20 s at 40 Mbit/s.
pub const RECORDING_BYTES: u64 = 100_000_000;
/// The smallest such size: the largest packet must fit.
pub const RECORDING_BYTES_MIN: u64 = 100_000;
/// The largest such size: a day at 90 Mbit/s.
pub(crate) const RECORDING_BYTES_MAX: u64 = 1_000_000_000_000;
/// Files of a channel that are kept, by default: a gigabyte.
pub(crate) const RECORDING_FILES: usize = 10;
/// Files of a channel at most: a folder is listed whenever one begins.
pub(crate) const RECORDING_FILES_MAX: usize = 100_000;

/// Bytes of a token: what a request has room for.
pub const UDP_TOKEN_BYTES_MAX: usize = 128;

/// Send buffer asked for per output: 450 media packets, a tick of 5 ms at 900 Mbit/s; what does not
/// fit is dropped.
pub const SEND_BUFFER_BYTES: usize = 1 << 20;
