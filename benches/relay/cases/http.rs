//! HTTP: processor time for each Gbit/s delivered, by clients, rate and chunk.

use std::{io, time::Duration};

use super::{
    Case,
    compare::{TICK, cell, middle},
    effort,
};
use crate::{
    cli::Options,
    film,
    peer::{HttpPeer, which},
    relay::Relay,
    report::{Section, Table},
    rounds::{Entry, Series, interleave},
    run_http::{self, HttpLoad, HttpSample, Over, Server},
    statistics::short,
};

/// Rate for each of a thousand clients, which two processors can carry together with the readers.
const LOW_BITS: f64 = 1e6;
const MEDIA_BITS: f64 = 8e6;

/// Number of clients in the comparison of servers: ffmpeg needs a process for each.
const COMPARED_CLIENTS: usize = 10;

/// A server and its load.
type Setting = (Server, HttpLoad);

/// Runs the case.
pub(super) fn run(case: &Case, options: &Options) -> io::Result<Section> {
    let measure = |(server, load): &Setting| run_http::run(server, *load, options.window(), &options.out);
    let all = interleave(options.rounds(), &entries(), measure, show);
    let mut section = Section::new(case.name, case.about, effort(options));
    section.tables.push(table("The relay's CPU time for each Gbit/s delivered over HTTP", &all));
    if !options.no_peers {
        let compared = interleave(options.rounds(), &peers(), measure, show);
        let caption =
            format!("A film of 8 Mbit/s to {COMPARED_CLIENTS} clients: the relay and packaged programs");
        section.tables.push(table(&caption, &compared));
    }
    let find = |name: &str| all.iter().find(|series| series.name == name).expect("it was measured");
    for (key, name) in [
        ("http/100x8/20ms", "100 x 8 Mbit/s, chunk 20 ms"),
        ("http/100x8/50ms", "100 x 8 Mbit/s, chunk 50 ms"),
        ("http/100x8/100ms", "100 x 8 Mbit/s, chunk 100 ms"),
        ("http/8x40/20ms", "8 x 40 Mbit/s, chunk 20 ms"),
    ] {
        section.figure(key, find(name).spread(HttpSample::ms_per_gbit));
    }
    let thousand = find("1000 x 1 Mbit/s").ratio(find("100 x 1 Mbit/s"), HttpSample::ms_per_gbit);
    section.figure("http/1000-vs-100", thousand);
    Ok(section)
}

fn relay(chunk: Option<u64>) -> Relay {
    Relay { tick: TICK, chunk: chunk.map(Duration::from_millis), ..Relay::default() }
}

fn entries() -> Vec<Entry<Setting>> {
    let settings = [
        (10, MEDIA_BITS, None),
        (100, MEDIA_BITS, None),
        (100, MEDIA_BITS, Some(20)),
        (100, MEDIA_BITS, Some(50)),
        (100, MEDIA_BITS, Some(100)),
        (8, 4e7, None),
        (8, 4e7, Some(20)),
        (100, LOW_BITS, None),
        (1000, LOW_BITS, None),
    ];
    let entry = |(clients, bits, chunk): (usize, f64, Option<u64>)| Entry {
        name: format!(
            "{clients} x {} Mbit/s{}",
            bits / 1e6,
            chunk.map_or(String::new(), |chunk| format!(", chunk {chunk} ms"))
        ),
        subject: (Server::Relay(relay(chunk)), HttpLoad { streams: 1, clients, bits, over: Over::Http }),
        unavailable: relay(chunk).unavailable(),
    };
    settings.into_iter().map(entry).collect()
}

/// Returns the compared servers, all fed with the same film, because the peers parse it.
fn peers() -> Vec<Entry<Setting>> {
    let load = HttpLoad { streams: 1, clients: COMPARED_CLIENTS, bits: film::BITS, over: Over::Http };
    let film = which("ffmpeg").is_none().then(|| "no film: ffmpeg is not installed".to_owned());
    let own = Entry {
        name: "tidecast".into(),
        subject: (Server::RelayOfFilm(Relay { format: Some("ts"), ..relay(None) }), load),
        unavailable: film.clone(),
    };
    let peer = |peer: HttpPeer| Entry {
        name: peer.name().into(),
        subject: (Server::Peer(peer), load),
        unavailable: film.clone().or((!peer.installed()).then(|| "not installed".into())),
    };
    std::iter::once(own).chain(HttpPeer::ALL.map(peer)).collect()
}

pub(super) fn show(sample: &HttpSample) -> String {
    format!(
        "{} ms/s per Gbit/s, {:.1} % of a CPU, {:.2} Gbit/s, missing {:.2} %, gaps {}",
        short(sample.ms_per_gbit()),
        100.0 * sample.cpu_ns as f64 / 1e9 / sample.seconds,
        sample.bytes as f64 * 8.0 / 1e9 / sample.seconds,
        sample.missing(),
        sample.gaps,
    )
}

pub(super) fn table(caption: &str, all: &[Series<HttpSample>]) -> Table {
    let columns =
        ["clients x rate", "CPU ms/s per Gbit/s", "% of a CPU", "missing %", "packets missed", "MB"];
    let mut table = Table::new(caption, &columns);
    for series in all {
        let gaps: u64 = series.good().map(|sample| sample.gaps).sum();
        let cost = match series.trouble() {
            Some(trouble) => trouble.lines().next().unwrap_or_default().replace('|', "/"),
            None => cell(series.spread(HttpSample::ms_per_gbit)),
        };
        table.push([
            series.name.clone(),
            cost,
            middle(series.spread(|sample| 100.0 * sample.cpu_ns as f64 / 1e9 / sample.seconds)),
            middle(series.spread(HttpSample::missing)),
            gaps.to_string(),
            middle(series.spread(|sample| sample.resident as f64 / 1e6)),
        ]);
    }
    table
}
