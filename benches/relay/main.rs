//! The relay compared with bare forwarders and packaged peers, on loopback:
//! `cargo bench --bench relay`. benches/README.md describes what each case measures and how to
//! read the figures.
//!
//! [`cases`] lists the comparisons; [`run`] makes one measurement: [`receiver`]s count which of
//! the datagrams sent by the [`generator`] a [`subject`] delivers, and [`process`] measures the
//! cost. [`report`] formats the results as tables.

mod bare;
mod cases;
mod cli;
mod clients;
mod film;
mod generator;
mod machine;
mod marked;
mod packet;
mod peer;
mod plot;
mod process;
mod readme;
mod receiver;
mod relay;
mod report;
mod rounds;
mod run;
mod run_http;
mod socket;
mod stamps;
mod statistics;
mod subject;
mod sys;
mod targets;

use clap::Parser;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

fn main() -> anyhow::Result<()> {
    raise_file_limit()?;
    let mut words = std::env::args().skip(1);
    let first = words.next();
    if first.as_deref() != Some("bare") && !std::env::args().any(|word| word == "--bench") {
        return tried(first);
    }
    let cli = cli::Cli::parse();
    match cli.command {
        Some(cli::Command::Bare(bare)) => bare.run(),
        None => cases::run(&cli.options),
    }
}

/// Runs under `cargo test` instead of `cargo bench`: without arguments, checks that measuring
/// works. Arguments are filters and flags for tests, and this is not one.
fn tried(first: Option<String>) -> anyhow::Result<()> {
    match first {
        None => cases::smoke(),
        Some(_) => {
            println!("nothing is measured without --bench, which `cargo bench --bench relay` gives");
            Ok(())
        }
    }
}

/// Raises the limit of open files above the usual 1,024, for a thousand clients with a socket
/// each.
fn raise_file_limit() -> anyhow::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?)
}
