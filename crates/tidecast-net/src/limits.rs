//! All limits of this crate, with their reasons. A queue, map, loop or buffer without a limit here
//! is a bug.
//!
//! Relations that must hold between limits are asserted next to them, so that a violation fails
//! the build, not a relay.

use std::time::Duration;

/// Datagrams per `recvmmsg`: at 64, the call itself costs a few ns per packet, and a larger batch
/// gains nothing.
pub const RECEIVE_BATCH: usize = 64;
/// Messages per `sendmmsg`, for the same reason; the kernel would accept 1,024.
pub const SEND_BATCH: usize = 64;
/// Requested receive buffer per leg, as counted by the kernel: a 1,316-byte media packet counts
/// 2,304 bytes, so the buffer holds 1,820 of them, which is 200 ms at 96 Mbit/s: longer than a
/// busy machine delays a thread.
pub const RECEIVE_BUFFER_BYTES: usize = 4 << 20;
/// Interval at which a leg checks whether its interface appeared, disappeared or was recreated.
/// With 1 s the leg works again within 2 s.
pub(crate) const LEG_CHECK: Duration = Duration::from_secs(1);
/// Age at which the list of interfaces is read again: at most a few readings per second, for any
/// number of sockets.
pub(crate) const INTERFACES_AGE_MAX: Duration = Duration::from_millis(250);

/// Maximum bytes of a channel's name, which is a path segment, a metric label and a column of a
/// table.
pub const CHANNEL_NAME_BYTES_MAX: usize = 64;

/// Minimum time between two log lines about the same problem of one leg or output.
pub const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Default bytes of a recording's file: opens immediately in Wireshark; 20 s at 40 Mbit/s.
pub const RECORDING_BYTES: u64 = 100_000_000;
/// Minimum configurable size of a recording's file: the largest packet must fit.
pub const RECORDING_BYTES_MIN: u64 = 100_000;
/// Maximum configurable size of a recording's file: a day at 90 Mbit/s.
pub(crate) const RECORDING_BYTES_MAX: u64 = 1_000_000_000_000;
/// Default number of a channel's recorded files to keep: a gigabyte.
pub(crate) const RECORDING_FILES: usize = 10;
/// Maximum number of a channel's recorded files: the folder is listed whenever a file is started.
pub(crate) const RECORDING_FILES_MAX: usize = 100_000;

/// Maximum bytes of a token: the space in a request.
pub const UDP_TOKEN_BYTES_MAX: usize = 128;

/// Requested send buffer per output: 450 media packets, which is a tick of 5 ms at 900 Mbit/s;
/// datagrams that do not fit are dropped.
pub const SEND_BUFFER_BYTES: usize = 1 << 20;
