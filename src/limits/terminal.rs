//! The terminal: progress, and full screens.

use std::time::Duration;

/// Interval at which a line of progress is drawn: its figures can still be read.
pub const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);
/// Maximum wait for a terminal that takes nothing (Ctrl-S) when the program ends.
pub const TERMINAL_PATIENCE: Duration = Duration::from_millis(300);
/// Maximum log lines that are kept behind a full screen, to be printed after it: some 100 bytes
/// each, the log of a bad day.
pub const KEPT_LINES_MAX: usize = 10_000;
/// Interval at which a full screen looks for keys, and whether there is news.
pub const KEYS_INTERVAL: Duration = Duration::from_millis(100);
/// Maximum wait until a full screen has seen that it should end.
pub const SCREEN_END_MAX: Duration = Duration::from_secs(1);
