//! The `impair` command.

use std::time::Duration;

/// Maximum flows counted separately; all others are counted together. Four times the largest group
/// known to us.
pub const IMPAIR_FLOWS_MAX: usize = 4096;
/// Batches received before due datagrams are sent: 4,096 datagrams, a millisecond or two of work.
pub const IMPAIR_BATCHES_MAX: usize = 64;
/// Maximum delay before a request to stop is noticed.
pub const IMPAIR_STOP_CHECK: Duration = Duration::from_millis(50);
/// Time for which delayed datagrams are still sent at their times after a request to stop; then
/// all are sent at once.
pub const IMPAIR_DRAIN_MAX: Duration = Duration::from_secs(1);
