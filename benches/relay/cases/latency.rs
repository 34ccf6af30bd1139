//! Added latency: from the kernel's timestamp on a packet to the group to its timestamp on the
//! same packet at the subscriber, with one stream to one subscriber.

use std::{io, net::SocketAddrV4, thread, time::Duration};

use super::{
    Case,
    compare::{BURST, MEDIA_RATE, cell, entry},
    effort,
};
use crate::{
    bare::Stream,
    cli::Options,
    generator::{Generator, Plan},
    packet::Format,
    report::{Section, Table},
    rounds::{Entry, Series, interleave},
    run, socket,
    stamps::Stamps,
    statistics::{Spread, percentile, short},
    subject::Subject,
};

const TICKS_MS: [u64; 3] = [0, 1, 5];
const DRAIN: Duration = Duration::from_millis(300);

/// Results of one measurement window, in microseconds.
#[derive(Clone, Copy, Debug)]
struct Delays {
    p50: f64,
    p99: f64,
    p999: f64,
    max: f64,
    packets: usize,
    missing: u64,
}

/// Runs the case.
pub(super) fn run(case: &Case, options: &Options) -> io::Result<Section> {
    let mut section = Section::new(case.name, case.about, effort(options));
    for tick in TICKS_MS {
        let tick = Duration::from_millis(tick);
        let entries: Vec<Entry<Subject>> =
            [Subject::relay(tick), Subject::gso(tick, BURST)].into_iter().map(entry).collect();
        println!("  tick {tick:?}");
        let all = interleave(options.rounds(), &entries, |subject| measure(subject, options), show);
        section.tables.push(table(tick, &all));
        if tick.is_zero() {
            section.figure("latency/p50-above-bare", above(&all, |delays| delays.p50));
            section.figure("latency/p99-above-bare", above(&all, |delays| delays.p99));
        }
    }
    Ok(section)
}

fn measure(subject: &Subject, options: &Options) -> io::Result<Delays> {
    let group = run::fresh_group();
    let (output, target) = socket::receiver()?;
    let number = Format::Rtp.number();
    let stamps = Stamps::start([socket::join(group)?, output], number)?;
    let mut processes = subject.start(&[Stream { group, targets: vec![target] }], &options.out)?;
    // There is no sign that it has joined, so the first packets are left out; they are more than
    // enough for that.
    let generator = start_generator(group)?;
    thread::sleep(run::SETTLE * 2);
    let floor = generator.sent()[0];
    thread::sleep(options.window());
    generator.stop();
    thread::sleep(DRAIN);
    processes.check()?;
    let (delays, missing) = stamps.stop(floor)?;
    if delays.is_empty() {
        return Err(io::Error::other("nothing was delivered"));
    }
    let at = |part: f64| percentile(&delays, part) / 1e3;
    let (p50, p99, p999, max) = (at(0.5), at(0.99), at(0.999), at(1.0));
    Ok(Delays { p50, p99, p999, max, packets: delays.len(), missing })
}

fn start_generator(group: SocketAddrV4) -> io::Result<Generator> {
    Generator::start(Plan { groups: vec![group], format: Format::Rtp, rate: MEDIA_RATE, film: Vec::new() })
}

fn show(delays: &Delays) -> String {
    let Delays { p50, p99, p999, max, packets, missing } = *delays;
    let [p50, p99, p999, max] = [p50, p99, p999, max].map(short);
    format!("p50 {p50} us, p99 {p99}, p99.9 {p999}, max {max}; {packets} packets, {missing} missing")
}

fn table(tick: Duration, all: &[Series<Delays>]) -> Table {
    let caption = format!("Added latency at tick {tick:?}, microseconds");
    let mut table = Table::new(caption, &["", "p50", "p99", "p99.9", "max", "packets", "missing"]);
    for series in all {
        table.push([
            series.name.clone(),
            cell(series.spread(|delays| delays.p50)),
            cell(series.spread(|delays| delays.p99)),
            cell(series.spread(|delays| delays.p999)),
            cell(series.spread(|delays| delays.max)),
            series.good().map(|delays| delays.packets).sum::<usize>().to_string(),
            series.good().map(|delays| delays.missing).sum::<u64>().to_string(),
        ]);
    }
    table
}

/// Returns the relay's value minus the bare forwarder's, round by round.
fn above(all: &[Series<Delays>], value: fn(&Delays) -> f64) -> Option<Spread> {
    let both = all[0].samples.iter().zip(&all[1].samples);
    Spread::of(
        both.filter_map(|(relay, bare)| Some(value(relay.as_ref().ok()?) - value(bare.as_ref().ok()?))),
    )
}
