//! Recordings (`serve/record`).

use std::time::Duration;

use tidecast_net::limits::RECORDING_BYTES;

/// Time until recorded packets are on the disk: a crash loses at most a second, including the time
/// for writing.
pub const RECORDING_FLUSH: Duration = Duration::from_millis(500);
/// Bytes that are written at once before that time: a few writes per second at a high rate.
pub const RECORDING_WRITE_BYTES: usize = 1 << 20;
/// Maximum bytes that wait for a slow disk: 13 s at 40 Mbit/s. Disks that are busy with other work
/// take seconds at times.
pub const RECORDING_QUEUE_BYTES_MAX: usize = 64 << 20;
/// Interval at which a stopped recording is tried again: soon after an operator has made room, but
/// without asking a full disk too often.
pub const RECORDING_RETRY: Duration = Duration::from_secs(5);
/// Free space required before a recording continues, or the size of a whole file if that is less:
/// if it continued with a few blocks at a time, short files would replace whole ones.
pub const RECORDING_ROOM: u64 = RECORDING_BYTES;
/// Maximum time for the end of a recording on a slow disk: longer than other ends, since unwritten
/// packets are lost.
pub const RECORDING_DRAIN_MAX: Duration = Duration::from_secs(5);
