//! Recordings (`serve/record`).

use std::time::Duration;

use tidecast_net::limits::RECORDING_BYTES;

/// What was recorded is on the disk after so long: a crash loses at most a second, time for the
/// writing included.
pub const RECORDING_FLUSH: Duration = Duration::from_millis(500);
/// Bytes that are written at once, if the time has not come before: a few writes per second at a
/// high rate.
pub const RECORDING_WRITE_BYTES: usize = 1 << 20;
/// Bytes that wait for a slow disk: 13 s at 40 Mbit/s; disks that are busy with others take seconds
/// at times.
pub const RECORDING_QUEUE_BYTES_MAX: usize = 64 << 20;
/// How long a recording that has stopped waits until it is tried again: soon after somebody has
/// made room, and a question to a disk that has none is asked seldom.
pub const RECORDING_RETRY: Duration = Duration::from_secs(5);
/// Room that must be there before a recording goes on, or that of a whole file if that is less:
/// with a few blocks at a time, short files would take the places of whole ones.
pub const RECORDING_ROOM: u64 = RECORDING_BYTES;
/// How long the end of a recording may take, on a disk that is slow: longer than other ends, since
/// what is not written is lost.
pub const RECORDING_DRAIN_MAX: Duration = Duration::from_secs(5);
