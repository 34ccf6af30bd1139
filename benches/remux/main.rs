//! Measures the damage of one lost packet after a remuxer, and after a relay that leaves the bytes
//! unchanged: `cargo bench --bench remux`. docs/remuxing.md explains how to read the results.
//!
//! The laboratory (`tests/remux`) sends a film to all of them at once, each time with another
//! datagram left out; [`run`] repeats that, [`traits`] analyses the output when nothing is lost,
//! [`tables`] formats the results, [`docs`] writes them into the documentation.

mod docs;
#[path = "../relay/marked.rs"]
mod marked;
#[path = "../../tests/remux/mod.rs"]
mod remux;
mod run;
#[path = "../relay/statistics.rs"]
#[allow(dead_code)] // the other benchmark uses the rest
mod statistics;
mod tables;
mod traits;

use std::{fs, path::PathBuf};

use clap::Parser;
use tidecast_testkit::common;

use remux::{Subject, subject};

/// Shows what one lost packet costs behind each relay.
#[derive(Parser, Debug)]
#[command(name = "remux")]
struct Options {
    /// Only those whose name has this in it, and no relay at all
    filter: Option<String>,
    /// How many times the film is shown, each time without another datagram
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u16).range(1..=1000))]
    positions: u16,
    /// How many times it is shown whole
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    whole: u16,
    /// What the positions follow from
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Showings at the same time
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=16))]
    parallel: u8,
    /// Where the tables go
    #[arg(long, default_value = "target/remux")]
    out: PathBuf,
    /// Put them into docs/remuxing.md, too
    #[arg(long, conflicts_with = "filter")]
    write_docs: bool,
    /// Said by cargo bench
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let installed = |subject: &Subject| {
        let missing = subject.program().filter(|program| !subject::installed(program));
        missing
            .inspect(|program| println!("{}: left out, {program} is not installed", subject.name()))
            .is_none()
    };
    anyhow::ensure!(
        subject::installed("ffmpeg"),
        "ffmpeg is not installed: it makes the film and decodes it"
    );
    let named =
        |subject: &Subject| options.filter.as_deref().is_none_or(|word| subject.name().contains(word));
    let subjects: Vec<Subject> = Subject::ALL
        .into_iter()
        .filter(|subject| *subject == Subject::Nobody || named(subject) && installed(subject))
        .collect();
    let begun = tidecast_net::clock::now();
    let sheet = run::all(&options, &subjects);
    let shown = |lost: bool| sheet.outcomes.iter().any(|one| one.lost.is_some() == lost);
    anyhow::ensure!(
        shown(true) && shown(false),
        "no showing counts: the machine is too busy, or net.core.rmem_max is below 4 MiB"
    );
    let cost = tables::cost(&sheet.outcomes, &subjects);
    let whole = tables::whole(&sheet.outcomes, &subjects);
    println!("{cost}\n{whole}");
    fs::create_dir_all(&options.out)?;
    fs::write(
        options.out.join("remux.md"),
        format!("{cost}\n{whole}\n{}", tables::positions(&sheet.outcomes, &subjects)),
    )?;
    println!("{} showings do not count: more was lost than was left out", sheet.left_out);
    if options.write_docs {
        anyhow::ensure!(
            subjects.len() == Subject::ALL.len(),
            "not all are installed: see benches/install-peers"
        );
        docs::write(&cost, &whole, &options, &sheet)?;
    }
    let took = tidecast_net::clock::now().saturating_duration_since(begun);
    println!("tables in {}, after {:.0} s", options.out.display(), took.as_secs_f64());
    Ok(())
}
