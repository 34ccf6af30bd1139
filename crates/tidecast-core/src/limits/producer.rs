//! The sending side (`producer`, `send`).

use std::time::Duration;

/// How long a producer may be silent before a heartbeat says that it lives, and how often it then
/// does.
pub(crate) const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);
/// How often the end of a session is said: one lost datagram must not hide it.
pub(crate) const END_REPEATS: usize = 3;
