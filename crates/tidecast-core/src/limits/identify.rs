//! Which format a source sends: how many of its datagrams wait until that is clear, for how long,
//! and what is remembered of them.

use std::time::Duration;

use super::{CANDIDATES_MAX, SILENCE_MAX};

/// Datagrams of a source after which its format is decided, one way or the other.
pub(crate) const IDENTIFY_DATAGRAMS: usize = 8;
/// A datagram waits this long at most for others that show the format of its source: an encoder
/// that has just begun may pause between its first two packets. Only the first datagrams of a
/// sensor that is slower wait so long.
pub(crate) const IDENTIFY_TIME: Duration = Duration::from_millis(500);
/// A source that has not sent its format for this long may have changed it, if four of its
/// datagrams were due.
pub(crate) const IDENTIFY_SILENCE: Duration = SILENCE_MAX;
/// Intervals of a source without its format until it counts as silent.
pub(crate) const IDENTIFY_INTERVALS: u32 = 4;
/// Consecutive datagrams of another format that change what is known of a source, if each shows it
/// by itself,
pub(crate) const IDENTIFY_CHANGE: u8 = 3;
/// and if only their order does.
pub(crate) const IDENTIFY_LASTING: u8 = 8;
/// Sync bytes of a transport stream in a row, 188, 192 or 204 bytes apart, that no other data has
/// by chance: one in 2^32, at any of 584 places.
pub(crate) const IDENTIFY_SYNCS: u8 = 4;
/// RTP streams of one source whose last packets are compared with the next ones: 1 KB.
pub(crate) const IDENTIFY_STREAMS: usize = 32;
/// Numbers between two packets of one RTP stream that are neighbours, as far as loss and reordering
/// go.
pub(crate) const IDENTIFY_NUMBERS: i16 = 32;
/// Datagrams of all sources of a channel that wait for the format of their source. One more is
/// decided at once.
pub(crate) const IDENTIFY_HELD_MAX: usize = 1024;
/// Sources that are told apart at least, on each leg: as many as there may be flows, if those are
/// more.
pub(crate) const IDENTIFY_SOURCES_MIN: usize = 64;
const _: () = assert!(IDENTIFY_DATAGRAMS < CANDIDATES_MAX);
