//! Every bound of this crate, with its reason. A queue, map, loop or buffer without a bound here is
//! a bug.
//!
//! What must hold between bounds is asserted beside them, so that a build fails and not a relay.

use std::time::Duration;

/// Datagrams that one modelled link holds back: at 1316 bytes about 86 MB, and more than six
/// seconds of 10,000 packets a second. What comes on top is dropped and counted, as a router's full
/// queue would.
pub const LINK_PACKETS_MAX: usize = 65_536;
/// The largest reorder distance of a modelled link: far beyond any reorder window, far below what
/// it can hold.
pub(crate) const LINK_DISTANCE_MAX: u32 = 10_000;
/// The largest delay and jitter of a modelled link, so that adding them to any clock reading cannot
/// overflow.
pub(crate) const LINK_DELAY_MAX: Duration = Duration::from_secs(60);
/// A modelled link waits this long for the later packets that a reordered one has to let pass; when
/// none comes, the input has paused and the packet goes on.
pub(crate) const LINK_PAUSE: Duration = Duration::from_millis(100);
const _: () = assert!((LINK_DISTANCE_MAX as usize) < LINK_PACKETS_MAX);
