//! Streams x subscribers over UDP: processor time per delivered packet, against bare forwarders and packaged peers.

use std::{io, time::Duration};

use super::{Case, effort};
use crate::{
    cli::Options,
    packet::Format,
    peer::Peer,
    report::{Section, Table},
    rounds::{Entry, Series, interleave},
    run::{self, Load, Sample},
    statistics::{Spread, short},
    subject::Subject,
};

/// Packets per second of an 8 Mbit/s stream of 1,316-byte packets.
pub(super) const MEDIA_RATE: f64 = 760.0;
/// The relay's default.
pub(super) const TICK: Duration = Duration::from_millis(5);
/// The relay's default, and what cannot overflow the buffers of small switches.
pub(super) const BURST: usize = 7;
/// More than any tick brings: what a burst could be.
pub(super) const BURST_UNCAPPED: usize = 49;

/// The case named `STREAMSxSUBSCRIBERS`.
pub(super) fn run(case: &Case, options: &Options) -> io::Result<Section> {
    let load = load(case.name);
    let entries = entries(options);
    let measure = |subject: &Subject| run::run(subject, load, options.window(), &options.out);
    let all = interleave(options.rounds(), &entries, measure, show);
    let mut section = Section::new(case.name, case.about, effort(options));
    section.tables.push(table(&all));
    add_figures(&mut section, &all);
    Ok(section)
}

fn load(name: &str) -> Load {
    let (streams, fan_out) = name.split_once('x').expect("the case's name says it");
    let number = |text: &str| text.parse().expect("a number");
    Load { format: Format::Rtp, rate: MEDIA_RATE, streams: number(streams), fan_out: number(fan_out) }
}

fn entries(options: &Options) -> Vec<Entry<Subject>> {
    let own = [
        Subject::relay(TICK),
        Subject::gso(TICK, BURST),
        Subject::gso(TICK, BURST_UNCAPPED),
        Subject::mmsg(TICK),
        Subject::naive(),
    ];
    let peers = Peer::UDP.into_iter().filter(|_| !options.no_peers).map(Subject::Peer);
    own.into_iter().chain(peers).map(entry).collect()
}

pub(super) fn entry(subject: Subject) -> Entry<Subject> {
    Entry { name: subject.name(), unavailable: subject.unavailable(), subject }
}

/// One sample on one line.
pub(super) fn show(sample: &Sample) -> String {
    format!(
        "{:>6} ns/packet, {:4.1} % of a CPU, lost {} of {}, at receivers {}, generator late {:.0} ms",
        short(sample.ns_per_packet()),
        sample.cpu_share() * 100.0,
        sample.lost,
        sample.expected,
        sample.lost_at_receivers,
        sample.generator_late_ms,
    )
}

/// The series of a subject.
pub(super) fn find<'a>(all: &'a [Series<Sample>], subject: &Subject) -> &'a Series<Sample> {
    let name = subject.name();
    all.iter().find(|series| series.name == name).expect("it was measured")
}

fn table(all: &[Series<Sample>]) -> Table {
    let (gso, naive) = (find(all, &Subject::gso(TICK, BURST)), find(all, &Subject::naive()));
    let columns =
        ["", "ns per packet", "x bare GSO", "x naive", "% of a CPU", "lost", "lost at receivers", "MB"];
    let mut table = Table::new("CPU time per delivered packet", &columns);
    for series in all {
        if series.good().next().is_none() {
            table.rows.push(unmeasured(series, columns.len()));
            continue;
        }
        table.push([
            series.name.clone(),
            cell(series.spread(Sample::ns_per_packet)),
            cell(series.ratio(gso, Sample::ns_per_packet)),
            middle(series.ratio(naive, Sample::ns_per_packet)),
            middle(series.spread(|sample| sample.cpu_share() * 100.0)),
            losses(series, |sample| sample.lost),
            losses(series, |sample| sample.lost_at_receivers),
            middle(series.spread(|sample| sample.resident as f64 / 1e6)),
        ]);
    }
    table
}

/// The row of a subject that did not work.
pub(super) fn unmeasured(series: &Series<Sample>, columns: usize) -> Vec<String> {
    let reason = series.trouble().unwrap_or("not measured").lines().next().unwrap_or_default();
    let mut row = vec![series.name.clone(), reason.replace('|', "/")];
    row.resize(columns, String::new());
    row
}

pub(super) fn cell(spread: Option<Spread>) -> String {
    spread.map_or(String::new(), |spread| spread.to_string())
}

pub(super) fn middle(spread: Option<Spread>) -> String {
    spread.map_or(String::new(), |spread| short(spread.median))
}

/// All that was lost, over all rounds, in percent of what was expected.
pub(super) fn losses(series: &Series<Sample>, part: fn(&Sample) -> u64) -> String {
    let lost: u64 = series.good().map(part).sum();
    let expected: u64 = series.good().map(|sample| sample.expected).sum();
    match lost {
        0 => "0".into(),
        _ => format!("{:.2} %", 100.0 * lost as f64 / expected.max(1) as f64),
    }
}

fn add_figures(section: &mut Section, all: &[Series<Sample>]) {
    let relay = find(all, &Subject::relay(TICK));
    let value = Sample::ns_per_packet;
    let case = section.case.clone();
    section.figure(format!("{case}/ns"), relay.spread(value));
    section.figure(format!("{case}/vs-gso"), relay.ratio(find(all, &Subject::gso(TICK, BURST)), value));
    section.figure(format!("{case}/vs-naive"), relay.ratio(find(all, &Subject::naive()), value));
    let peers = all.iter().filter(|series| Peer::UDP.iter().any(|peer| peer.name() == series.name));
    let cost = |series: &&Series<Sample>| series.spread(value).map_or(f64::INFINITY, |spread| spread.median);
    let cheapest = peers.min_by(|a, b| cost(a).total_cmp(&cost(b)));
    section.figure(format!("{case}/vs-peer"), cheapest.and_then(|peer| relay.ratio(peer, value)));
}
