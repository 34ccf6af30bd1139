//! All limits of this crate, with their reasons. A queue, map, loop or buffer without a limit here
//! is a bug.
//!
//! Relations that must hold between limits are asserted next to them, so that a violation fails
//! the build, not a relay.

use std::time::Duration;

/// Maximum number of datagrams waiting in one modelled link: at 1316 bytes about 86 MB, and more
/// than six seconds at 10,000 packets per second. Further datagrams are dropped and counted, as in
/// a router's full queue.
pub const LINK_PACKETS_MAX: usize = 65_536;
/// Maximum reorder distance of a modelled link: far beyond any reorder window, far below the
/// link's capacity.
pub const LINK_DISTANCE_MAX: u32 = 10_000;
/// Maximum delay and jitter of a modelled link, so that adding them to a clock reading cannot
/// overflow.
pub(crate) const LINK_DELAY_MAX: Duration = Duration::from_secs(60);
/// How long a modelled link waits for the later packets that have to overtake a reordered one; if
/// none arrives, the input has paused and the packet continues.
pub(crate) const LINK_PAUSE: Duration = Duration::from_millis(100);
const _: () = assert!((LINK_DISTANCE_MAX as usize) < LINK_PACKETS_MAX);
