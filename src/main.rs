//! The program `tidecast`: a relay for UDP multicast. `main` parses, validates, builds, runs and
//! drains.
//!
//! Path of a datagram through the program, which is also a good reading order:
//!
//! 1. [`tidecast_net`]: join the group, receive in batches with kernel timestamps and drop
//!    counts;
//! 2. [`tidecast_wire`]: turn bytes into a checked view; corrupt and foreign datagrams are counted
//!    and dropped;
//! 3. [`tidecast_core::relay`]: the core (no I/O, no clock): flow, session, deduplication,
//!    recovery, reorder and skip;
//! 4. [`channel`]: packet threads, which run the core of each channel, send to UDP targets, and
//!    fill the taps;
//! 5. [`serve`]: readers of the taps for HTTP and TCP clients, UDP subscribers and files.
//!
//! Beside this path are [`registry`] (the list of channels and subscribers), [`metrics`] and
//! [`observe`] (counters and events), [`commands`], [`cli`] and [`config`] (the start of the
//! program), [`probe`] (analysis of a group), [`capture`] (capture files), [`holder`] (of a port),
//! [`shares`], [`terminal`], [`words`] and [`log`].

#![cfg_attr(
    not(all(feature = "page", feature = "probe", feature = "socketio", feature = "terminal")),
    allow(dead_code) // code of disabled features; the complete build finds other dead code
)]

mod access;
mod audit;
mod budget;
mod capture;
mod channel;
mod cli;
mod commands;
mod config;
mod holder;
mod limits;
mod log;
mod metrics;
mod observe;
#[cfg(feature = "probe")]
mod probe;
mod registry;
mod serve;
mod shares;
mod terminal;
mod words;

use std::io::IsTerminal;
use std::process::ExitCode;

use tracing::Level;
use tracing_subscriber::EnvFilter;

use cli::{Cli, LogFormat};
use commands::Failure;

/// Overrides the log level, with the syntax of `RUST_LOG`.
const LOG_VARIABLE: &str = "TIDECAST_LOG";

fn main() -> ExitCode {
    tidecast_net::sys::share_memory();
    let cli = Cli::of(std::env::args_os());
    if cli.shows_progress() {
        terminal::progress::allow();
    }
    // The log is flushed at the end of this function.
    let (_log, result) = match log_to_stderr(cli.verbosity.level(&cli.command), cli.verbosity.log_format) {
        Ok(guard) => (Some(guard), commands::run(cli.command)),
        Err(failure) => (None, Err(failure)),
    };
    let Err(failure) = result else { return ExitCode::SUCCESS };
    if !matches!(failure, Failure::OutputClosed) {
        log::say(&holder::named(&failure.message()));
    }
    ExitCode::from(failure.exit_code())
}

fn log_to_stderr(level: Level, format: LogFormat) -> Result<log::Guard, Failure> {
    let filter = match std::env::var(LOG_VARIABLE) {
        Ok(text) if !text.is_empty() => EnvFilter::try_new(&text).map_err(|error| {
            Failure::Usage(format!("{LOG_VARIABLE} {text:?}: {error}, expected for example debug"))
        })?,
        _ => {
            let libraries = level.min(Level::WARN);
            EnvFilter::new(format!("{libraries},tidecast={level}"))
        }
    };
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    Ok(log::to_stderr(filter, colours, format))
}
