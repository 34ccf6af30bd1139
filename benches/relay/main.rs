//! The relay against bare forwarders and packaged peers, on loopback: `cargo bench --bench relay`.
//! benches/README.md says what each case measures and how to read the figures.
//!
//! [`cases`] say what is compared; [`run`] makes one measurement: [`receiver`]s count what a
//! [`subject`] delivers of what the [`generator`] sends, and [`process`] says what that cost.
//! [`report`] makes tables of it.

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

/// Run by `cargo test`, not by `cargo bench`: with no arguments, sees whether measuring works at
/// all. Arguments are filters and flags for tests, of which this is none.
fn tried(first: Option<String>) -> anyhow::Result<()> {
    match first {
        None => cases::smoke(),
        Some(_) => {
            println!("nothing is measured without --bench, which `cargo bench --bench relay` gives");
            Ok(())
        }
    }
}

/// More sockets than the usual 1,024: a thousand clients, each with its own.
fn raise_file_limit() -> anyhow::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?)
}
