//! Saturation: the highest rate of one stream that reaches a hundred subscribers without loss and
//! without falling behind.

use std::{io, time::Duration};

use super::{
    Case,
    compare::{BURST, BURST_UNCAPPED, TICK, cell, entry, middle},
    effort,
};
use crate::{
    cli::Options,
    packet::Format,
    relay::Relay,
    report::{Section, Table},
    rounds::{Entry, Series, interleave},
    run::{self, Load, SETTLE, Sample},
    statistics::short,
    subject::Subject,
};

const FAN_OUT: usize = 100;
/// First rate in packets per second, and the range of the search.
const START: f64 = 6000.0;
const RANGE: std::ops::RangeInclusive<f64> = 100.0..=60_000.0;
/// Factor between the steps of the search until the limit lies between two rates.
const STEP: f64 = 1.4;
/// Halvings of that factor: four find the limit within 2.1 %.
const HALVINGS: usize = 4;
/// Maximum processor time for the last packets of a window: those of a few ticks that had become
/// long.
const BEHIND_MAX: Duration = Duration::from_millis(50);

/// Runs the case.
pub(super) fn run(case: &Case, options: &Options) -> io::Result<Section> {
    let subjects = [
        Subject::relay(TICK),
        Subject::gso(TICK, BURST),
        Subject::Relay(Relay { tick: TICK, burst: Some(BURST_UNCAPPED), ..Relay::default() }),
        Subject::gso(TICK, BURST_UNCAPPED),
        Subject::mmsg(TICK),
    ];
    let entries: Vec<Entry<Subject>> = subjects.into_iter().map(entry).collect();
    let all = interleave(options.rounds(), &entries, |subject| highest(subject, options), show);
    let mut section = Section::new(case.name, case.about, effort(options));
    section.tables.push(table(&all));
    let rate = |sample: &Sample| sample.delivered as f64 / sample.seconds;
    section.figure("saturation/vs-gso", all[0].ratio(&all[1], rate));
    section.figure("saturation/vs-gso-uncapped", all[2].ratio(&all[3], rate));
    Ok(section)
}

/// Returns the sample at the highest rate that works.
fn highest(subject: &Subject, options: &Options) -> io::Result<Sample> {
    let probe = |rate: f64| keeps_up(subject, rate, options);
    let (mut rate, mut best) = (START, None);
    // The rate is raised while it works; or lowered until it works, if the first rate does not.
    while RANGE.contains(&rate) {
        match probe(rate)? {
            Some(sample) => best = Some((rate, sample)),
            None if best.is_some() => break,
            None => {}
        }
        let tried_higher = best.is_some_and(|(good, _)| good < START);
        if tried_higher {
            break;
        }
        rate = if best.is_some() { rate * STEP } else { rate / STEP };
    }
    let (mut good, mut sample) = best.ok_or_else(|| io::Error::other("it loses packets at every rate"))?;
    let mut step = STEP;
    for _ in 0..HALVINGS {
        step = step.sqrt();
        if let Some(better) = probe(good * step)? {
            (good, sample) = (good * step, better);
        }
    }
    Ok(sample)
}

/// Returns the sample if nothing was lost or late at this rate. A first failure may be caused by
/// the machine, so it is tried twice.
fn keeps_up(subject: &Subject, rate: f64, options: &Options) -> io::Result<Option<Sample>> {
    let load = Load { format: Format::Rtp, rate, streams: 1, fan_out: FAN_OUT, settle: SETTLE };
    for _ in 0..2 {
        let sample = run::run(subject, load, options.window(), &options.out)?;
        let behind = Duration::from_nanos(sample.behind_ns);
        if sample.lost == 0 && behind <= BEHIND_MAX {
            return Ok(Some(sample));
        }
        println!(
            "    not at {} packets/s: {} of {} lost, {behind:.0?} behind, {:.0} % of a CPU",
            short(rate * FAN_OUT as f64),
            sample.lost,
            sample.expected,
            100.0 * sample.cpu_share(),
        );
    }
    Ok(None)
}

fn show(sample: &Sample) -> String {
    format!(
        "{} packets/s, {:.0} % of a CPU, {} lost at receivers",
        short(sample.delivered as f64 / sample.seconds),
        sample.cpu_share() * 100.0,
        sample.lost_at_receivers
    )
}

fn table(all: &[Series<Sample>]) -> Table {
    let columns = ["", "delivered packets/s", "Gbit/s", "% of a CPU", "ns per packet"];
    let mut table = Table::new("Highest rate without loss, one stream to 100 subscribers", &columns);
    for series in all {
        if series.good().next().is_none() {
            table.rows.push(super::compare::unmeasured(series, columns.len()));
            continue;
        }
        let rate = |sample: &Sample| sample.delivered as f64 / sample.seconds;
        table.push([
            series.name.clone(),
            cell(series.spread(rate)),
            middle(series.spread(|sample| rate(sample) * 1316.0 * 8.0 / 1e9)),
            middle(series.spread(|sample| sample.cpu_share() * 100.0)),
            middle(series.spread(Sample::ns_per_packet)),
        ]);
    }
    table
}
