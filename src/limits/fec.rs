//! Recovery and protection with Reed-Solomon blocks and the matrices of ST 2022-1.

use std::time::Duration;

/// Pause of protected media after which the repair packets of the last packets are sent, even for
/// an incomplete matrix: longer than the packet interval of a stream of 50 kbit/s, and well within
/// a usual hold.
pub const ST2022_PAUSE: Duration = Duration::from_millis(250);
