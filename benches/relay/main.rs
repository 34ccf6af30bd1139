//! The relay against bare forwarders and packaged peers, on loopback: `cargo bench --bench relay`. benches/README.md
//! says what each case measures and how to read the figures.
//!
//! [`cases`] say what is compared; [`run`] makes one measurement: [`receiver`]s count what a [`subject`] delivers of
//! what the [`generator`] sends, and [`process`] says what that cost. [`report`] makes tables of it.

mod bare;
mod cases;
mod cli;
mod clients;
mod film;
mod generator;
mod machine;
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
    let cli = cli::Cli::parse();
    // More sockets than the usual 1,024: a thousand clients, each with its own.
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    match cli.command {
        Some(cli::Command::Bare(bare)) => bare.run(),
        // `cargo test --all-targets` runs every bench to see that it starts; only `cargo bench` measures.
        None if cli.options.test || !cli.options.bench => Ok(()),
        None => cases::run(&cli.options),
    }
}
