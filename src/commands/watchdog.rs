//! Keep-alives for a service manager (systemd, `WatchdogSec=`), which restarts the service when
//! they stop.
//!
//! They are sent only as long as every packet thread answers, because a running process alone does
//! not keep streams alive. It queries [`crate::registry`], away from the path of packets.

use std::time::Duration;

use tokio::{
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

use super::shutdown;
use crate::{limits::WATCHDOG_SHARE, registry::Registry};

/// Starts the keep-alives if a service manager waits for them (`WATCHDOG_USEC`). Must be called
/// within a tokio runtime.
pub fn keep_alive(registry: Registry) -> Option<JoinHandle<()>> {
    let limit = sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero())?;
    Some(tokio::spawn(run(registry, limit / WATCHDOG_SHARE)))
}

/// Queries the threads at this interval, with the same time-out.
async fn run(registry: Registry, every: Duration) {
    let mut timer = interval(every);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut answered = true;
    loop {
        timer.tick().await;
        let stalled = registry.stalled(every).await;
        if stalled.is_empty() {
            shutdown::notify_alive();
        } else if answered {
            tracing::error!(
                threads = ?stalled,
                "packet threads have not answered for {every:?}: the service manager gets no keep-alives"
            );
        }
        answered = stalled.is_empty();
    }
}
