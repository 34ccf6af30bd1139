//! Comparisons over UDP: subjects under the same load, compared with reference subjects in the
//! same round, as one table.

use std::{io, time::Duration};

use super::{Case, effort};
use crate::{
    cli::Options,
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
/// The relay's default, which does not overflow the buffers of small switches.
pub(super) const BURST: usize = 7;
/// More packets than any tick has, so that bursts are not limited.
pub(super) const BURST_UNCAPPED: usize = 49;

/// A comparison: the first of `subjects` is the relay, and each cost is compared with those of the
/// `references`.
pub(super) struct Comparison {
    /// The traffic.
    pub(super) load: Load,
    /// All measured subjects.
    pub(super) subjects: Vec<Subject>,
    /// References with short names: `vs-NAME` is a figure of the relay.
    pub(super) references: Vec<(&'static str, Subject)>,
}

impl Comparison {
    /// Measures, and returns a section with the results.
    pub(super) fn run(&self, case: &Case, options: &Options) -> io::Result<Section> {
        let entries: Vec<Entry<Subject>> = self.subjects.iter().cloned().map(entry).collect();
        let measure = |subject: &Subject| run::run(subject, self.load, options.window(), &options.out);
        let all = interleave(options.rounds(), &entries, measure, show);
        let mut section = Section::new(case.name, case.about, effort(options));
        section.tables.push(self.table(&all));
        self.add_figures(&mut section, &all);
        Ok(section)
    }

    fn table(&self, all: &[Series<Sample>]) -> Table {
        let against: Vec<String> = self.references.iter().map(|(name, _)| format!("x {name}")).collect();
        let mut columns = vec!["", "ns per packet"];
        columns.extend(against.iter().map(String::as_str));
        columns.extend(["% of a CPU", "lost", "lost at receivers", "out of order", "MB"]);
        let mut table = Table::new("CPU time per delivered packet", &columns);
        for series in all {
            let row = if series.good().next().is_none() {
                unmeasured(series, columns.len())
            } else {
                self.row(series, all)
            };
            table.rows.push(row);
        }
        table
    }

    fn row(&self, series: &Series<Sample>, all: &[Series<Sample>]) -> Vec<String> {
        let mut row = vec![series.name.clone(), cell(series.spread(Sample::ns_per_packet))];
        for (_, reference) in &self.references {
            row.push(cell(series.ratio(find(all, reference), Sample::ns_per_packet)));
        }
        row.push(middle(series.spread(|sample| sample.cpu_share() * 100.0)));
        row.push(losses(series, |sample| sample.lost));
        row.push(losses(series, |sample| sample.lost_at_receivers));
        row.push(losses(series, |sample| sample.reordered));
        row.push(middle(series.spread(|sample| sample.resident as f64 / 1e6)));
        row
    }

    fn add_figures(&self, section: &mut Section, all: &[Series<Sample>]) {
        let (relay, value, case) = (&all[0], Sample::ns_per_packet, section.case.clone());
        section.figure(format!("{case}/ns"), relay.spread(value));
        for (name, reference) in &self.references {
            let key = format!("{case}/vs-{}", name.replace(' ', "-"));
            section.figure(key, relay.ratio(find(all, reference), value));
        }
        let peers = all.iter().filter(|series| Peer::UDP.iter().any(|peer| peer.name() == series.name));
        let cost =
            |series: &&Series<Sample>| series.spread(value).map_or(f64::INFINITY, |spread| spread.median);
        let cheapest = peers.min_by(|a, b| cost(a).total_cmp(&cost(b)));
        section.figure(format!("{case}/vs-peer"), cheapest.and_then(|peer| relay.ratio(peer, value)));
    }
}

pub(super) fn entry(subject: Subject) -> Entry<Subject> {
    Entry { name: subject.name(), unavailable: subject.unavailable(), subject }
}

/// Formats one sample on one line.
pub(super) fn show(sample: &Sample) -> String {
    format!(
        "{:>6} ns/packet, {:4.1} % of a CPU, lost {} of {} ({} at its input), at receivers {}, generator late {:.0} ms",
        short(sample.ns_per_packet()),
        sample.cpu_share() * 100.0,
        sample.lost,
        sample.expected,
        sample.lost_at_input,
        sample.lost_at_receivers,
        sample.generator_late_ms,
    )
}

/// Returns the series of a subject.
pub(super) fn find<'a>(all: &'a [Series<Sample>], subject: &Subject) -> &'a Series<Sample> {
    let name = subject.name();
    all.iter().find(|series| series.name == name).expect("it was measured")
}

/// Returns the row of a subject that did not work.
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

/// Returns all losses over all rounds, in percent of the expected packets.
pub(super) fn losses(series: &Series<Sample>, part: fn(&Sample) -> u64) -> String {
    let lost: u64 = series.good().map(part).sum();
    let expected: u64 = series.good().map(|sample| sample.expected).sum();
    match lost {
        0 => "0".into(),
        _ => format!("{:.2} %", 100.0 * lost as f64 / expected.max(1) as f64),
    }
}
