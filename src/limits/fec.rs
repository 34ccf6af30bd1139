//! Recovery and protection: Reed-Solomon blocks and the matrices of ST 2022-1, their memory and
//! their work.

use std::time::Duration;

/// How long protected media may pause before the repair packets of the last of them go out, a
/// matrix that is not full included: longer than the packets of a stream of 50 kbit/s are apart,
/// and well within a usual hold.
pub const ST2022_PAUSE: Duration = Duration::from_millis(250);
