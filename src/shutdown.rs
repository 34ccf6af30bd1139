//! The end, on request: SIGINT and SIGTERM. The first asks for an orderly end; a second one does not wait for it.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Exit code after a second signal: 128 + SIGINT, as shells say it.
const IMPATIENT: i32 = 130;

/// The two signals that end the program.
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Listens from now on; without this the signals end the process at once.
    ///
    /// # Errors
    /// The handler cannot be installed.
    pub fn listen() -> io::Result<Signals> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the first signal. After that, a second one ends the process at once.
    pub async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
        if let Ok(mut again) = Signals::listen() {
            tokio::spawn(async move {
                tokio::select! {
                    _ = again.interrupt.recv() => {}
                    _ = again.terminate.recv() => {}
                }
                std::process::exit(IMPATIENT);
            });
        }
    }
}
