//! The process: its threads, its end, its log.

use std::time::Duration;

/// Maximum threads that write to clients and answer requests: each writes some 20 Gbit/s, and more
/// of them would only steal small tasks from each other.
pub const RUNTIME_THREADS_MAX: usize = 4;
/// Interval at which the histograms' samples are folded into their buckets without scrapes.
pub const METRICS_UPKEEP: Duration = Duration::from_secs(5);
/// Keep-alives per time-out of the service manager (systemd, `WatchdogSec=`):
/// sd_watchdog_enabled(3) recommends two, and a third tolerates a late one.
pub const WATCHDOG_SHARE: u32 = 3;
/// Maximum time for the shutdown: packets held back are sent, clients get their last bytes. After
/// Ctrl-C users expect the prompt within two seconds, and some commands have more to end than
/// this.
pub const DRAIN_MAX: Duration = Duration::from_secs(1);
/// Time for a packet thread to complete a turn before `/healthz` reports that it is stalled:
/// longer than a busy machine keeps a thread waiting, and shorter than health checks wait for an
/// answer.
pub const HEALTH_PATIENCE: Duration = Duration::from_secs(2);
/// Maximum log lines that wait to be written to standard error, some 100 bytes each: a burst of
/// everything that can happen at once.
pub const LOG_LINES_MAX: usize = 4096;
/// From how many channels on one line tells of all to which the same happens at once.
pub const LOG_CHANNELS_APART: usize = 4;
/// How many of them it names, which fits on two lines of a terminal.
pub const LOG_CHANNELS_NAMED: usize = 8;
/// Maximum wait at the end until the log is written: a live reader takes everything within
/// milliseconds.
pub const LOG_FLUSH_MAX: Duration = Duration::from_millis(500);
/// Interval of the checks during that wait.
pub const LOG_FLUSH_CHECK: Duration = Duration::from_millis(1);
