//! WebSockets compared with HTTP: the cost of the messages' heads, in the same rounds.

use std::io;

use super::{
    Case,
    compare::TICK,
    effort,
    http::{show, table},
};
use crate::{
    cli::Options,
    relay::Relay,
    report::Section,
    rounds::{Entry, interleave},
    run_http::{self, HttpLoad, HttpSample, Over, Server},
};

const BITS: f64 = 8e6;
const CLIENTS: usize = 100;

/// Runs the case.
pub(super) fn run(case: &Case, options: &Options) -> io::Result<Section> {
    let entry = |(name, over): (&str, Over)| {
        let relay = Relay { tick: TICK, ..Relay::default() };
        Entry {
            name: name.into(),
            unavailable: relay.unavailable(),
            subject: (Server::Relay(relay), HttpLoad { streams: 1, clients: CLIENTS, bits: BITS, over }),
        }
    };
    let entries: Vec<_> = [("HTTP", Over::Http), ("WebSocket", Over::WebSocket)].map(entry).into();
    let measure =
        |(server, load): &(Server, HttpLoad)| run_http::run(server, *load, options.window(), &options.out);
    let all = interleave(options.rounds(), &entries, measure, show);
    let mut section = Section::new(case.name, case.about, effort(options));
    let caption = format!("The relay's CPU time for {CLIENTS} clients of one stream of 8 Mbit/s");
    section.tables.push(table(&caption, &all));
    let cpu = |sample: &HttpSample| sample.cpu_ns as f64 / sample.seconds;
    section.figure("websocket/http", all[1].ratio(&all[0], cpu));
    Ok(section)
}
