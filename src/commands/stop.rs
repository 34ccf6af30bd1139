//! A flag that Ctrl-C and SIGTERM set, for the commands that run in a plain thread with no runtime.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// A flag that becomes true at the first SIGINT or SIGTERM; a second one ends the program at once.
///
/// # Errors
/// The handlers or their thread could not be set up.
pub fn on_signal() -> io::Result<Arc<AtomicBool>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (mut interrupt, mut terminate) = {
        let _context = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(either(&mut interrupt, &mut terminate));
        flag.store(true, Ordering::Relaxed);
        runtime.block_on(either(&mut interrupt, &mut terminate));
        std::process::exit(1);
    })?;
    Ok(stop)
}

async fn either(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
