//! Shutdown on request: SIGINT, SIGTERM, and SIGHUP unless it is ignored, as with `nohup`, or asks
//! a service to read its configuration again. The first signal starts an orderly shutdown; a second
//! one ends the process at once. [`Signals`] is for commands that run on tokio, [`Stop`] for those
//! that run in a plain thread. A service also tells its manager when it is ready, and when it
//! stops.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, Thread},
    time::Instant,
};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::terminal;
use tidecast_net::clock;

/// Exit code after a second signal: 128 + SIGINT, as in shells.
const IMPATIENT: i32 = 130;

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// To end.
    End,
    /// To read the configuration again.
    Reload,
}

/// The signals that end the program.
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Option<Signal>,
    /// SIGHUP asks to read the configuration again.
    reloads: bool,
}

impl Signals {
    /// Listens from now on, within a tokio runtime; without this the signals end the process at
    /// once.
    ///
    /// # Errors
    /// The handler cannot be installed.
    pub fn listen() -> io::Result<Signals> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: if hangup_is_ignored() { None } else { Some(signal(SignalKind::hangup())?) },
            reloads: false,
        })
    }

    /// Takes SIGHUP as a request to read the configuration again, as services do; not where a
    /// terminal could send it when it is closed.
    #[must_use]
    pub fn reloading(self) -> Signals {
        let has_terminal = std::fs::File::open("/dev/tty").is_ok();
        Signals { reloads: !has_terminal, ..self }
    }

    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.interrupt.recv() => Asked::End,
            _ = self.terminate.recv() => Asked::End,
            () = received(&mut self.hangup) => if self.reloads { Asked::Reload } else { Asked::End },
        }
    }

    /// Waits for the first signal. After one to end, a second one ends the process at once.
    pub async fn wait(&mut self) -> Asked {
        let asked = self.next().await;
        if asked == Asked::Reload {
            return asked;
        }
        if let Ok(mut again) = Signals::listen() {
            tokio::spawn(async move {
                again.next().await;
                exit_at_once();
            });
        }
        Asked::End
    }
}

fn exit_at_once() {
    terminal::give_back();
    std::process::exit(IMPATIENT);
}

async fn received(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// Whether the process was started so that it outlives its terminal.
fn hangup_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

/// A flag that the first signal sets, and that wakes the thread that created it.
#[derive(Debug)]
pub struct Stop {
    set: Arc<AtomicBool>,
}

impl Stop {
    /// Listens for signals on a separate thread, which wakes the calling thread. A second signal
    /// ends the process at once.
    ///
    /// # Errors
    /// The handlers or their thread cannot be set up.
    pub fn listen() -> io::Result<Stop> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let entered = runtime.enter();
        let mut signals = Signals::listen()?;
        drop(entered);
        let (stop, set, waiting) = Stop::pair();
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            runtime.block_on(signals.next());
            set.store(true, Ordering::Relaxed);
            waiting.unpark();
            runtime.block_on(signals.next());
            exit_at_once();
        })?;
        Ok(stop)
    }

    /// A stop for the calling thread, the flag that sets it, and the thread to wake.
    pub fn pair() -> (Stop, Arc<AtomicBool>, Thread) {
        let set = Arc::new(AtomicBool::new(false));
        (Stop { set: Arc::clone(&set) }, set, thread::current())
    }

    /// The flag, for loops that check it themselves.
    pub fn flag(&self) -> &AtomicBool {
        &self.set
    }

    /// Whether a signal came.
    pub fn is_set(&self) -> bool {
        self.set.load(Ordering::Relaxed)
    }

    /// Sleeps until this time, or without one until the thread is woken; may wake early.
    pub fn sleep(&self, until: Option<Instant>) {
        match until {
            Some(at) => thread::park_timeout(at.saturating_duration_since(clock::now())),
            None => thread::park(),
        }
    }
}

/// Tells the service manager (systemd, `Type=notify`) that the service is ready. Does nothing
/// without a manager.
pub fn notify_ready() {
    notify(&[sd_notify::NotifyState::Ready]);
}

/// Tells the service manager that the service reads its configuration again.
pub fn notify_reloading() {
    notify(&[sd_notify::NotifyState::Reloading]);
}

/// Tells the service manager that the service is stopping.
pub fn notify_stopping() {
    notify(&[sd_notify::NotifyState::Stopping]);
}

/// Sends a keep-alive to the service manager.
pub fn notify_alive() {
    notify(&[sd_notify::NotifyState::Watchdog]);
}

fn notify(state: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!("cannot tell the service manager: {error}");
    }
}
