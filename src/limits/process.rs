//! The process as a whole: its threads, its end, its log.

use std::time::Duration;

/// Threads that write to clients and answer requests: each writes some 20 Gbit/s, and more of them
/// only steal small tasks from each other.
pub const RUNTIME_THREADS_MAX: usize = 4;
/// How often the histograms' samples are folded into their buckets when nobody scrapes.
pub const METRICS_UPKEEP: Duration = Duration::from_secs(5);
/// Keep-alives within the time after which the service manager (systemd, `WatchdogSec=`) gives up:
/// sd_watchdog_enabled(3) asks for two, and a third forgives one that came late.
pub const WATCHDOG_SHARE: u32 = 3;
/// How long the end may take: what is held back goes out, clients get their last bytes. Whoever
/// presses Ctrl-C expects the prompt within two seconds, and some commands have more to end than
/// this.
pub const DRAIN_MAX: Duration = Duration::from_secs(1);
/// How long a packet thread may take to come round until `/healthz` says that it stands still:
/// longer than a busy machine keeps a thread waiting, and shorter than what asks waits for an
/// answer.
pub const HEALTH_PATIENCE: Duration = Duration::from_secs(2);
/// Log lines that wait for whoever reads standard error, some 100 bytes each: a burst of everything
/// that can happen at once.
pub const LOG_LINES_MAX: usize = 4096;
/// How long the end waits until the log is written: a reader that is alive takes all within
/// milliseconds.
pub const LOG_FLUSH_MAX: Duration = Duration::from_millis(500);
/// How often it looks meanwhile.
pub const LOG_FLUSH_CHECK: Duration = Duration::from_millis(1);
