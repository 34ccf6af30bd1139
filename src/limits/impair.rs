//! The `impair` command.

use std::time::Duration;

/// Flows that are counted one by one; the others are counted together. Four times the largest group
/// we know of.
pub const IMPAIR_FLOWS_MAX: usize = 4096;
/// Batches received before what is due is sent: 4,096 datagrams, a millisecond or two of work.
pub const IMPAIR_BATCHES_MAX: usize = 64;
/// How long a request to stop may go unnoticed.
pub const IMPAIR_STOP_CHECK: Duration = Duration::from_millis(50);
/// How long delayed datagrams may still come out in their time after a request to stop; then all
/// come at once.
pub const IMPAIR_DRAIN_MAX: Duration = Duration::from_secs(1);
