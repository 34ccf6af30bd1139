//! `recv`: what waits for whoever reads its output.

use std::time::Duration;

/// Bytes that wait to be written: a second of 500 Mbit/s, which a disk may take to wake up.
pub const RECV_QUEUE_BYTES_MAX: usize = 64 << 20;
/// At the end nothing may be written for so long: then whoever reads has stopped.
pub const RECV_STALL_MAX: Duration = Duration::from_millis(500);
/// How long the end waits for what was not written yet.
pub const RECV_END_MAX: Duration = Duration::from_secs(5);
