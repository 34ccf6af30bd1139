//! The sending side (`producer`, `send`).

use std::time::Duration;

/// Silence of a producer before it sends a heartbeat, and interval of the heartbeats that follow.
pub(crate) const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);
/// How often the end of a session is sent: one lost datagram must not hide it.
pub(crate) const END_REPEATS: usize = 3;
