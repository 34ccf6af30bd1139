//! Growth: processor time per delivered packet, and memory, with increasing numbers of channels,
//! flows and subscribers.

use std::{io, time::Duration};

use super::{
    Case,
    compare::{BURST, MEDIA_RATE, TICK, cell, entry, middle, show},
    effort,
};
use crate::{
    cli::Options,
    packet::{Format, MEDIA_BYTES},
    plot::{self, Line, Panel, Scale},
    relay::Relay,
    report::{Section, Table},
    rounds::{Entry, Series, interleave},
    run::{self, Load, SETTLE, Sample},
    run_http::{self, HttpLoad, Over, Server},
    statistics::Spread,
    subject::Subject,
};

const CHANNELS: &[usize] = &[1, 2, 5, 10, 20, 50, 100, 200];
const FLOWS: &[usize] = &[1, 10, 100, 1000, 10_000];
const SUBSCRIBERS: &[usize] = &[1, 3, 10, 30, 100, 300, 1000];
/// Readings per second, over all flows.
const FLOWS_RATE: f64 = 20_000.0;
/// Packets per second of each of up to two hundred channels: 4 Mbit/s.
const CHANNEL_RATE: f64 = MEDIA_RATE / 2.0;
/// Packets per second to each of up to a thousand subscribers: 2 Mbit/s.
const SUBSCRIBED_RATE: f64 = MEDIA_RATE / 4.0;
/// Maximum number of rounds: more would take hours, and the lines do not need them.
const ROUNDS_MAX: usize = 3;
/// Time until each of 10,000 flows has sent a few packets.
const FLOWS_SETTLE: Duration = Duration::from_secs(5);

/// One sweep: the quantity that grows, and how each size is measured.
struct Sweep {
    name: &'static str,
    caption: &'static str,
    sizes: &'static [usize],
    lines: Vec<SweepLine>,
}

/// Measures one size.
type Measure = Box<dyn Fn(usize, &Options) -> io::Result<Sample>>;

struct SweepLine {
    name: &'static str,
    measure: Measure,
}

/// The measurements, per line and per size.
type Grown = Vec<Vec<Series<Sample>>>;

/// Runs the case.
pub(super) fn run(case: &Case, options: &Options) -> io::Result<Section> {
    let mut section = Section::new(case.name, case.about, effort(options));
    for sweep in [channels(), flows(), subscribers()] {
        println!("  {}", sweep.caption);
        let grown = sweep.run(options);
        section.tables.push(sweep.table(&grown));
        section.plots.push(sweep.plot(&grown, options)?);
        let ratio = |from: usize, to: usize| sweep.ratio(&grown[0], from, to);
        match sweep.name {
            "channels" => section.figure("growth/channels", ratio(10, 200)),
            "flows" => section.figure("growth/flows", ratio(100, 10_000)),
            _ => section.figure("growth/subscribers", ratio(10, 1000)),
        }
    }
    Ok(section)
}

fn channels() -> Sweep {
    let load =
        |streams| Load { format: Format::Rtp, rate: CHANNEL_RATE, streams, fan_out: 1, settle: SETTLE };
    Sweep {
        name: "channels",
        caption: "Channels of 4 Mbit/s, each to one subscriber",
        sizes: CHANNELS,
        lines: vec![
            udp_line("tidecast", Subject::relay(TICK), load),
            udp_line("bare GSO", Subject::gso(TICK, BURST), load),
        ],
    }
}

fn flows() -> Sweep {
    let load = |flows| {
        let format = Format::Native { bytes: 200, flows: flows as u64 };
        Load { format, rate: FLOWS_RATE, streams: 1, fan_out: 1, settle: FLOWS_SETTLE }
    };
    let relay = Relay { tick: TICK, format: Some("native"), ..Relay::default() };
    Sweep {
        name: "flows",
        caption: "Flows in one group, 20,000 readings of 200 bytes a second in all, one subscriber",
        sizes: FLOWS,
        lines: vec![udp_line("tidecast", Subject::Relay(relay), load)],
    }
}

fn subscribers() -> Sweep {
    let load =
        |fan_out| Load { format: Format::Rtp, rate: SUBSCRIBED_RATE, streams: 1, fan_out, settle: SETTLE };
    Sweep {
        name: "subscribers",
        caption: "Subscribers of one channel of 2 Mbit/s",
        sizes: SUBSCRIBERS,
        lines: vec![
            udp_line("tidecast, UDP", Subject::relay(TICK), load),
            udp_line("bare GSO, UDP", Subject::gso(TICK, BURST), load),
            SweepLine { name: "tidecast, HTTP", measure: Box::new(measure_http) },
        ],
    }
}

fn udp_line(name: &'static str, subject: Subject, load: fn(usize) -> Load) -> SweepLine {
    let measure = move |size: usize, options: &Options| {
        run::run(&entry(subject.clone()).subject, load(size), options.window(), &options.out)
    };
    SweepLine { name, measure: Box::new(measure) }
}

/// Measures over HTTP, with the result in packets as for the others.
fn measure_http(clients: usize, options: &Options) -> io::Result<Sample> {
    let bits = SUBSCRIBED_RATE * MEDIA_BYTES as f64 * 8.0;
    let relay = Server::Relay(Relay { tick: TICK, ..Relay::default() });
    let load = HttpLoad { streams: 1, clients, bits, over: Over::Http };
    let sample = run_http::run(&relay, load, options.window(), &options.out)?;
    Ok(Sample {
        cpu_ns: sample.cpu_ns,
        seconds: sample.seconds,
        expected: sample.expected / MEDIA_BYTES as u64,
        delivered: sample.bytes / MEDIA_BYTES as u64,
        lost: sample.gaps,
        resident: sample.resident,
        ..Sample::default()
    })
}

impl Sweep {
    /// Measures all sizes of all lines, interleaved.
    fn run(&self, options: &Options) -> Grown {
        let points = self.sizes.iter().flat_map(|size| (0..self.lines.len()).map(move |line| (*size, line)));
        let entries: Vec<Entry<(usize, usize)>> = points
            .map(|(size, line)| Entry {
                name: format!("{size} {}, {}", self.name, self.lines[line].name),
                subject: (size, line),
                unavailable: None,
            })
            .collect();
        let measure = |(size, line): &(usize, usize)| (self.lines[*line].measure)(*size, options);
        let all = interleave(options.rounds().min(ROUNDS_MAX), &entries, measure, show);
        let mut grown: Grown = self.lines.iter().map(|_| Vec::new()).collect();
        for (series, entry) in all.into_iter().zip(&entries) {
            grown[entry.subject.1].push(series);
        }
        grown
    }

    fn table(&self, grown: &Grown) -> Table {
        let mut columns = vec![self.name.to_owned()];
        for line in &self.lines {
            columns.extend(["ns per packet", "MB", "lost"].map(|what| format!("{}: {what}", line.name)));
        }
        let mut table = Table { caption: self.caption.into(), columns, rows: Vec::new() };
        for (i, size) in self.sizes.iter().enumerate() {
            let mut row = vec![size.to_string()];
            for series in grown.iter().map(|line| &line[i]) {
                row.push(cell(series.spread(Sample::ns_per_packet)));
                row.push(middle(series.spread(|sample| sample.resident as f64 / 1e6)));
                row.push(series.good().map(|sample| sample.lost).sum::<u64>().to_string());
            }
            table.rows.push(row);
        }
        table
    }

    fn plot(&self, grown: &Grown, options: &Options) -> io::Result<String> {
        let panel = |title: &str, y: &str, value: fn(&Sample) -> f64| Panel {
            title: title.into(),
            x: self.name.into(),
            y: y.into(),
            scale: Scale::Logarithmic,
            lines: self.lines.iter().zip(grown).map(|(line, all)| self.line(line.name, all, value)).collect(),
        };
        let panels = [
            panel("CPU time per delivered packet", "ns per packet", Sample::ns_per_packet),
            panel("Resident memory", "MB", |sample| sample.resident as f64 / 1e6),
        ];
        let name = format!("growth-{}.svg", self.name);
        plot::draw(&options.out.join(&name), &panels)?;
        Ok(name)
    }

    fn line(&self, name: &str, all: &[Series<Sample>], value: fn(&Sample) -> f64) -> Line {
        let points = self.sizes.iter().zip(all);
        let points = points.filter_map(|(size, series)| Some((*size as f64, series.spread(value)?.median)));
        Line { name: name.into(), points: points.collect() }
    }

    /// Returns the cost at size `to` divided by that at size `from`, round by round.
    fn ratio(&self, line: &[Series<Sample>], from: usize, to: usize) -> Option<Spread> {
        let at = |size: usize| self.sizes.iter().position(|s| *s == size).map(|i| &line[i]);
        at(to)?.ratio(at(from)?, Sample::ns_per_packet)
    }
}
