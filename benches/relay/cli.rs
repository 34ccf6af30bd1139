//! The command line arguments.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};

use crate::bare::Bare;

/// Measures the relay against bare forwarders and packaged peers, on loopback.
#[derive(Parser, Debug)]
#[command(name = "relay-bench", args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) options: Options,
}

/// What else this program is.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Forward without any check: what the relay is measured against
    Bare(Bare),
}

/// How to measure, and what.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Cases to run; all by default
    pub(crate) cases: Vec<String>,
    /// Rounds: in each, every subject is measured once, in turn
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Length of each measurement
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// One round of one second: to see that it works, not to measure
    #[arg(long)]
    pub(crate) quick: bool,
    /// Only the relay and the bare forwarders
    #[arg(long)]
    pub(crate) no_peers: bool,
    /// List the cases
    #[arg(long)]
    pub(crate) list: bool,
    /// Where results and logs go
    #[arg(long, default_value = "target/relay-bench")]
    pub(crate) out: PathBuf,
    /// Put the results that are in --out into benches/README.md, and the plots beside it
    #[arg(long)]
    pub(crate) write_readme: bool,
    /// Measure nothing: for --write-readme with the results of earlier runs
    #[arg(long)]
    pub(crate) no_run: bool,
    /// How long memory is watched, for the case `memory`
    #[arg(long, default_value_t = 0.0)]
    pub(crate) hours: f64,
    /// Said by cargo bench
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    /// Returns the number of rounds.
    pub(crate) fn rounds(&self) -> usize {
        if self.quick { 1 } else { self.rounds.max(1) }
    }

    /// Returns the duration of each measurement.
    pub(crate) fn window(&self) -> Duration {
        Duration::from_secs_f64(if self.quick { 1.0 } else { self.seconds.clamp(0.1, 600.0) })
    }
}
