//! `tidecast config` and `tidecast completions`: print texts that are built into the program to
//! standard output.

use std::io::Write;

use clap::CommandFactory;

use super::Failure;
use crate::{
    cli::{self, Cli},
    config::SAMPLE,
};

/// Prints the sample configuration.
///
/// # Errors
/// Standard output cannot be written.
pub(super) fn config(_: &cli::Config, out: &mut impl Write) -> Result<(), Failure> {
    out.write_all(SAMPLE.as_bytes()).and_then(|()| out.flush()).map_err(Failure::output)
}

/// Prints a shell's completions.
///
/// # Errors
/// Standard output cannot be written.
pub(super) fn completions(args: &cli::Completions, out: &mut impl Write) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "tidecast", &mut text);
    out.write_all(&text).and_then(|()| out.flush()).map_err(Failure::output)
}
