//! Ctrl-C and SIGTERM for a thread that sleeps between datagrams.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Thread};
use std::time::Instant;

use tokio::signal::unix::{SignalKind, signal};

use crate::clock;

/// Tells the sending thread that it should end.
#[derive(Debug)]
pub(super) struct Stop {
    set: Arc<AtomicBool>,
}

impl Stop {
    /// Listens for signals on a thread of its own, which wakes the calling thread.
    pub(super) fn listen() -> io::Result<Stop> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let entered = runtime.enter();
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        drop(entered);
        let (stop, set, sender) = Stop::pair();
        thread::Builder::new().name("signals".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
            });
            set.store(true, Ordering::Relaxed);
            sender.unpark();
        })?;
        Ok(stop)
    }

    /// A stop for the calling thread, the flag that sets it, and the thread to wake.
    pub(super) fn pair() -> (Stop, Arc<AtomicBool>, Thread) {
        let set = Arc::new(AtomicBool::new(false));
        (Stop { set: Arc::clone(&set) }, set, thread::current())
    }

    /// Whether a signal came.
    pub(super) fn is_set(&self) -> bool {
        self.set.load(Ordering::Relaxed)
    }

    /// Sleeps until this time, or without one until something wakes the thread; may wake early.
    pub(super) fn sleep(&self, until: Option<Instant>) {
        match until {
            Some(at) => thread::park_timeout(at.saturating_duration_since(clock::now())),
            None => thread::park(),
        }
    }
}
