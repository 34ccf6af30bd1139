//! `recv`: output that waits to be read.

use std::time::Duration;

/// Maximum bytes that wait to be written: a second of 500 Mbit/s, which a disk may take to wake
/// up.
pub const RECV_QUEUE_BYTES_MAX: usize = 64 << 20;
/// Time at the end without progress in writing after which the reader is assumed to have stopped.
pub const RECV_STALL_MAX: Duration = Duration::from_millis(500);
/// Maximum wait at the end for unwritten output.
pub const RECV_END_MAX: Duration = Duration::from_secs(5);
