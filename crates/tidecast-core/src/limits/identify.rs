//! Identification of formats: how many datagrams of a source wait, for how long, and what is
//! remembered.

use std::time::Duration;

use super::{CANDIDATES_MAX, SILENCE_MAX};

/// Datagrams of a source after which its format is decided in any case.
pub(crate) const IDENTIFY_DATAGRAMS: usize = 8;
/// Maximum time that a datagram waits for others that show the format of its source: an encoder
/// may pause between its first two packets. Only the first datagrams of a slower sensor wait that
/// long.
pub(crate) const IDENTIFY_TIME: Duration = Duration::from_millis(500);
/// Minimum silence after which a source may have changed its format, if four of its datagrams were
/// due.
pub(crate) const IDENTIFY_SILENCE: Duration = SILENCE_MAX;
/// Intervals of a source without its format after which it counts as silent.
pub(crate) const IDENTIFY_INTERVALS: u32 = 4;
/// Consecutive datagrams of another format that change the format of a source, if each shows it by
/// itself,
pub(crate) const IDENTIFY_CHANGE: u8 = 3;
/// and if only their order does.
pub(crate) const IDENTIFY_LASTING: u8 = 8;
/// Consecutive sync bytes of a transport stream, 188, 192 or 204 bytes apart, that other data
/// contains only by chance: one in 2^32, at any of 584 positions.
pub(crate) const IDENTIFY_SYNCS: u8 = 4;
/// Maximum RTP streams of one source whose last packets are remembered for comparison: 1 KB.
pub(crate) const IDENTIFY_STREAMS: usize = 32;
/// Maximum distance of the numbers of consecutive packets in one RTP stream, allowing for loss and
/// reordering.
pub(crate) const IDENTIFY_NUMBERS: i16 = 32;
/// Maximum waiting datagrams of all sources of a channel. Further ones are decided at once.
pub(crate) const IDENTIFY_HELD_MAX: usize = 1024;
/// Minimum capacity for sources on each leg; the maximum number of flows, if that is larger.
pub(crate) const IDENTIFY_SOURCES_MIN: usize = 64;
const _: () = assert!(IDENTIFY_DATAGRAMS < CANDIDATES_MAX);
