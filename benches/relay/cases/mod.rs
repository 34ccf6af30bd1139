//! The cases: comparisons under a load. Each returns a section of the report.

mod compare;
mod fan;
mod growth;
mod http;
mod latency;
mod memory;
mod saturation;
mod start;
mod websocket;

use std::{fs, io, time::Duration};

use crate::{
    cli::Options,
    packet::Format,
    readme,
    report::Section,
    run::{self, Load, SETTLE},
    subject::Subject,
    targets,
};

/// A case: its name, its title, and the function that runs it.
struct Case {
    name: &'static str,
    about: &'static str,
    run: fn(&Case, &Options) -> io::Result<Section>,
}

const CASES: &[Case] = &[
    Case { name: "1x1", about: "one stream of 8 Mbit/s to one subscriber", run: fan::run },
    Case { name: "10x1", about: "ten streams of 8 Mbit/s, each to one subscriber", run: fan::run },
    Case { name: "10x10", about: "ten streams of 8 Mbit/s, each to ten subscribers", run: fan::run },
    Case { name: "1x100", about: "one stream of 8 Mbit/s to a hundred subscribers", run: fan::run },
    Case { name: "ticks", about: "10 x 10 at ticks of 0 to 20 ms", run: fan::ticks },
    Case {
        name: "sensor",
        about: "200-byte readings at 76,000 a second, checked and put in order",
        run: fan::sensor,
    },
    Case {
        name: "saturation",
        about: "the highest rate without loss, to a hundred subscribers",
        run: saturation::run,
    },
    Case { name: "http", about: "HTTP with 8 to 1,000 clients", run: http::run },
    Case { name: "websocket", about: "WebSockets beside HTTP, 100 clients each", run: websocket::run },
    Case { name: "latency", about: "added latency per packet", run: latency::run },
    Case { name: "growth", about: "more channels, flows and subscribers", run: growth::run },
    Case { name: "memory", about: "resident memory, per client and over time", run: memory::run },
    Case { name: "start", about: "time until it is ready, and the binary's size", run: start::run },
];

/// Runs the requested cases, and writes and prints their results.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    if options.list {
        CASES.iter().for_each(|case| println!("{:12} {}", case.name, case.about));
        return Ok(());
    }
    let chosen = choose(&options.cases)?;
    fs::create_dir_all(&options.out)?;
    for case in chosen.iter().filter(|_| !options.no_run) {
        println!("{}: {}", case.name, case.about);
        let section = (case.run)(case, options)?;
        section.write(&options.out)?;
        println!("\n{}", section.markdown(""));
        if let Some(verdicts) = targets::table(&section.figures) {
            println!("{}", verdicts.markdown());
        }
    }
    if options.write_readme {
        let all = CASES.iter().map(|case| Section::read(&options.out, case.name));
        let sections: Vec<Section> = all.filter_map(Result::transpose).collect::<io::Result<_>>()?;
        readme::write(&sections, &options.out)?;
    }
    Ok(())
}

fn choose(names: &[String]) -> anyhow::Result<Vec<&'static Case>> {
    let known = |name: &String| CASES.iter().find(|case| case.name == name);
    if let Some(unknown) = names.iter().find(|name| known(name).is_none()) {
        let all: Vec<&str> = CASES.iter().map(|case| case.name).collect();
        anyhow::bail!("no case {unknown:?}, expected some of {}", all.join(", "));
    }
    Ok(CASES.iter().filter(|case| names.is_empty() || names.iter().any(|name| name == case.name)).collect())
}

/// Returns how the figures of a section were measured.
fn effort(options: &Options) -> String {
    let (rounds, seconds) = (options.rounds(), options.window().as_secs_f64());
    let s = if rounds == 1 { "" } else { "s" };
    format!("{rounds} round{s} of {seconds} s; medians, with the least and the greatest value.")
}

/// Measures the relay and a bare forwarder briefly, to check that both deliver all packets.
pub(crate) fn smoke() -> anyhow::Result<()> {
    let folder = std::env::temp_dir().join(format!("tidecast-bench-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let load = Load { format: Format::Rtp, rate: 200.0, streams: 2, fan_out: 2, settle: SETTLE };
    for subject in [Subject::relay(compare::TICK), Subject::gso(compare::TICK, compare::BURST)] {
        let sample = run::run(&subject, load, Duration::from_millis(500), &folder)?;
        println!("{}: {sample:?}", subject.name());
        anyhow::ensure!(sample.delivered == sample.expected && sample.duplicates == 0, "not all came once");
        anyhow::ensure!(sample.expected > 0 && sample.cpu_ns > 0, "nothing was measured");
    }
    Ok(fs::remove_dir_all(&folder)?)
}
