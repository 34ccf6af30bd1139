//! Memory: resident size with eight channels and eight clients, per additional client, and over
//! time.

use std::{io, thread, time::Duration};

use tidecast_net::clock;

use super::{Case, compare::TICK, effort};
use crate::{
    cli::Options,
    plot::{self, Line, Panel, Scale},
    relay::Relay,
    report::{Section, Table},
    run_http::{HttpLoad, Over, Served, Server},
    statistics::{Spread, short},
};

const EIGHT: HttpLoad = HttpLoad { streams: 8, clients: 1, bits: 4e7, over: Over::Http };
/// A load that is slow enough for many clients.
const MANY: HttpLoad = HttpLoad { streams: 1, clients: 0, bits: 2e6, over: Over::Http };
const FEW_CLIENTS: usize = 10;
const MORE_CLIENTS: usize = 200;
/// Default duration of the observation.
const WATCH: Duration = Duration::from_secs(20);
const SAMPLES: u32 = 60;
/// Share of the time at its start during which buffers grow to the size that they need.
const WARM: f64 = 0.25;

/// Runs the case.
pub(super) fn run(case: &Case, options: &Options) -> io::Result<Section> {
    let watch =
        Duration::from_secs_f64(options.hours * 3600.0).max(if options.quick { WATCH / 4 } else { WATCH });
    let mut section = Section::new(case.name, case.about, effort(options));
    let points = watch_eight(watch, options)?;
    let last = points.last().map_or(f64::NAN, |point| point.1);
    let settled = points[(points.len() as f64 * WARM) as usize].1;
    let clients = per_client(options)?;
    let mut table = Table::new("Resident memory", &["", "measured"]);
    table.push(["8 channels x 40 Mbit/s, 8 HTTP clients, MB".into(), short(last)]);
    table.push(["each further HTTP client, KiB".into(), short(clients)]);
    let growth = 100.0 * (last / settled - 1.0);
    table.push([format!("growth over the last three quarters of {watch:?}, %"), short(growth)]);
    section.tables.push(table);
    section.figure("memory/8x40", Spread::of([last]));
    section.figure("memory/client", Spread::of([clients]));
    // A shorter time is not conclusive: a slow leak does not show.
    section.figure("memory/growth", Spread::of([growth]).filter(|_| options.hours >= 1.0));
    section.plots.push(plot_over_time(points, options)?);
    Ok(section)
}

fn relay() -> Server {
    Server::Relay(Relay { tick: TICK, ..Relay::default() })
}

/// Returns seconds and resident megabytes, with eight channels of 40 Mbit/s and a client of each.
fn watch_eight(watch: Duration, options: &Options) -> io::Result<Vec<(f64, f64)>> {
    let mut served = Served::start(&relay(), EIGHT, &options.out)?;
    let mut clients = served.connect(EIGHT.clients)?;
    let start = clock::now();
    let mut points = Vec::new();
    for i in 1..=SAMPLES {
        let due = start + watch * i / SAMPLES;
        thread::sleep(due.saturating_duration_since(clock::now()));
        clients.check()?;
        let seconds = (clock::now() - start).as_secs_f64();
        points.push((seconds, served.processes.resident()? as f64 / 1e6));
    }
    println!(
        "  {} MB after {watch:?}, the first client missed {} packets",
        short(points[points.len() - 1].1),
        clients.gaps()
    );
    Ok(points)
}

/// Returns the KiB that each additional client takes.
fn per_client(options: &Options) -> io::Result<f64> {
    let mut served = Served::start(&relay(), MANY, &options.out)?;
    let _few = served.connect(FEW_CLIENTS)?;
    thread::sleep(options.window());
    let before = served.processes.resident()?;
    let _more = served.connect(MORE_CLIENTS)?;
    thread::sleep(options.window());
    let kib = (served.processes.resident()? as f64 - before as f64) / 1024.0 / MORE_CLIENTS as f64;
    println!("  {} KiB for each of {MORE_CLIENTS} further clients", short(kib));
    Ok(kib)
}

fn plot_over_time(points: Vec<(f64, f64)>, options: &Options) -> io::Result<String> {
    let panel = Panel {
        title: "Resident memory: 8 channels x 40 Mbit/s, 8 clients".into(),
        x: "seconds".into(),
        y: "MB".into(),
        scale: Scale::Linear,
        lines: vec![Line { name: "tidecast".into(), points }],
    };
    let name = "memory.svg".to_owned();
    plot::draw(&options.out.join(&name), &[panel])?;
    Ok(name)
}
