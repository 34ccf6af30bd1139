//! Measures which losses of each link remain with each protection, through the whole core:
//! `cargo bench --bench recovery`. docs/recovery.md explains how to read the results.
//!
//! [`cases`] lists the cases; the laboratory (`tidecast_testkit::lab`) runs each on a simulated
//! clock, so that the same seed gives the same figures on every machine; [`tables`] and [`plot`]
//! show them, [`docs`] writes them into the documentation.

mod cases;
mod docs;
#[path = "../relay/marked.rs"]
mod marked;
mod plot;
mod run;
mod tables;

use std::{fs, path::PathBuf};

use clap::Parser;
use tidecast_core::relay::Hold;
use tidecast_testkit::lab;

/// Shows what each protection leaves of each link's losses.
#[derive(Parser, Debug)]
#[command(name = "recovery")]
struct Options {
    /// Only protections whose name has this in it
    filter: Option<String>,
    /// Media packets of each run
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1000..=20_000_000))]
    packets: u64,
    /// What all chances follow from
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// How long a gap may delay later packets: auto, or a duration such as 500ms
    #[arg(long, default_value = "auto")]
    hold: Hold,
    /// Where tables and plots go
    #[arg(long, default_value = "target/recovery")]
    out: PathBuf,
    /// Put them into docs/recovery.md and beside it, too
    #[arg(long, conflicts_with = "filter")]
    write_docs: bool,
    /// Said by cargo bench
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> anyhow::Result<()> {
    if !std::env::args().any(|word| word == "--bench") {
        return tried();
    }
    let options = Options::parse();
    let effort = run::Effort { packets: options.packets, seed: options.seed, hold: options.hold };
    let protections = cases::protections(options.filter.as_deref());
    anyhow::ensure!(!protections.is_empty(), "no protection has {:?} in its name", options.filter);
    let begun = tidecast_net::clock::now();
    let grid = run::grid(&protections, &cases::models(), &effort);
    let complete = tables::complete(&grid, &effort);
    println!("{complete}");
    fs::create_dir_all(&options.out)?;
    fs::write(options.out.join("recovery.md"), &complete)?;
    let sweeps = [run::rates(&effort), run::bursts(&effort)];
    plot::draw(&options.out, &grid, &sweeps)?;
    if options.write_docs {
        docs::write(&grid, &effort, &complete, &options.out)?;
    }
    let took = tidecast_net::clock::now().saturating_duration_since(begun);
    println!("tables and plots in {}, after {:.0} s", options.out.display(), took.as_secs_f64());
    Ok(())
}

/// Runs under `cargo test` instead of `cargo bench`, to check that the benchmark works. Arguments
/// select tests, and this is not one.
fn tried() -> anyhow::Result<()> {
    if std::env::args().len() > 1 {
        println!("nothing is shown without --bench, which `cargo bench --bench recovery` gives");
        return Ok(());
    }
    let effort = run::Effort { packets: 2000, seed: 7, hold: Hold::default() };
    let grid = run::grid(&cases::protections(None), &cases::models(), &effort);
    anyhow::ensure!(tables::complete(&grid, &effort).contains("| nothing | 0 % |"), "no loss without a loss");
    let out = tempfile::tempdir()?;
    plot::draw(out.path(), &grid, &[run::rates(&effort), run::bursts(&effort)])?;
    Ok(())
}
