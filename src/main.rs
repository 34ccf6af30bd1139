//! The `tidecast` binary: parse, validate, build, run, drain.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;
use tidecast::cli::Cli;
use tidecast::commands::{self, Failure};
use tracing::Level;
use tracing_subscriber::EnvFilter;

/// Overrides the log level, with the syntax of `RUST_LOG`.
const LOG_VARIABLE: &str = "TIDECAST_LOG";

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = log_to_stderr(cli.verbosity.level(&cli.command)).and_then(|()| commands::run(cli.command));
    let Err(failure) = result else { return ExitCode::SUCCESS };
    // Nobody is left to hear about a closed standard error.
    let _ = match &failure {
        Failure::OutputClosed => Ok(()),
        Failure::Config(errors) => writeln!(std::io::stderr(), "{errors}"),
        other => writeln!(std::io::stderr(), "error: {other}"),
    };
    ExitCode::from(failure.exit_code())
}

fn log_to_stderr(level: Level) -> Result<(), Failure> {
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
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colours)
        .log_internal_errors(false) // it would panic once standard error is closed
        .init();
    Ok(())
}
