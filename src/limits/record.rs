//! Recordings (`egress/record`).

use std::time::Duration;

/// Bytes of a recording's file, by default: opens at once in Wireshark; 20 s at 40 Mbit/s.
pub const RECORDING_BYTES: u64 = 100_000_000;
/// The smallest such size: the largest packet must fit.
pub const RECORDING_BYTES_MIN: u64 = 100_000;
/// The largest such size: a day at 90 Mbit/s.
pub const RECORDING_BYTES_MAX: u64 = 1_000_000_000_000;
/// Files of a channel that are kept, by default: a gigabyte.
pub const RECORDING_FILES: usize = 10;
/// Files of a channel at most: a folder is listed whenever one begins.
pub const RECORDING_FILES_MAX: usize = 100_000;
/// What was recorded is on the disk after so long: a crash loses at most a second, time for the writing included.
pub const RECORDING_FLUSH: Duration = Duration::from_millis(500);
/// Bytes that are written at once, if the time has not come before: a few writes per second at a high rate.
pub const RECORDING_WRITE_BYTES: usize = 1 << 20;
/// Bytes that wait for a slow disk: 13 s at 40 Mbit/s; disks that are busy with others take seconds at times.
pub const RECORDING_QUEUE_BYTES_MAX: usize = 64 << 20;
/// How long a recording that has stopped waits until it is tried again: soon after somebody has made room, and a question to
/// a disk that has none is asked seldom.
pub const RECORDING_RETRY: Duration = Duration::from_secs(5);
/// Room that must be there before a recording goes on, or that of a whole file if that is less: with a few blocks at a time,
/// short files would take the places of whole ones.
pub const RECORDING_ROOM: u64 = RECORDING_BYTES;
/// How long the end of a recording may take, on a disk that is slow: longer than other ends, since what is not written is
/// lost.
pub const RECORDING_DRAIN_MAX: Duration = Duration::from_secs(5);
