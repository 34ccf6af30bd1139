//! The `tidecast` binary: parse, validate, build, run, drain.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use tidecast::cli::Cli;
use tidecast::commands::{self, Failure};
use tidecast::log;
use tracing::Level;
use tracing_subscriber::EnvFilter;

/// Overrides the log level, with the syntax of `RUST_LOG`.
const LOG_VARIABLE: &str = "TIDECAST_LOG";

fn main() -> ExitCode {
    tidecast_net::sys::share_memory();
    let cli = Cli::parse();
    // Until the end of this function: then what was said is written.
    let (_log, result) = match log_to_stderr(cli.verbosity.level(&cli.command)) {
        Ok(guard) => (Some(guard), commands::run(cli.command)),
        Err(failure) => (None, Err(failure)),
    };
    let Err(failure) = result else { return ExitCode::SUCCESS };
    match &failure {
        Failure::OutputClosed => {}
        Failure::Config(errors) => log::say(&errors.to_string()),
        other => log::say(&format!("error: {other}")),
    }
    ExitCode::from(failure.exit_code())
}

fn log_to_stderr(level: Level) -> Result<log::Guard, Failure> {
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
    Ok(log::to_stderr(filter, colours))
}
