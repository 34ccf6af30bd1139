//! Streams x subscribers over UDP, and the sensor case: processor time per delivered packet,
//! compared with bare forwarders and packaged peers.

use std::{io, time::Duration};

use super::{
    Case,
    compare::{BURST, BURST_UNCAPPED, Comparison, MEDIA_RATE, TICK},
};
use crate::{
    cli::Options,
    packet::Format,
    peer::Peer,
    relay::Relay,
    report::Section,
    run::{Load, SETTLE},
    subject::Subject,
};

/// Runs the case named `STREAMSxSUBSCRIBERS`.
pub(super) fn run(case: &Case, options: &Options) -> io::Result<Section> {
    let mut subjects = vec![
        Subject::relay(TICK),
        Subject::gso(TICK, BURST),
        Subject::gso_of_size(TICK, BURST, Format::Rtp.len()),
        Subject::gso(TICK, BURST_UNCAPPED),
        Subject::mmsg(TICK),
        Subject::naive(),
    ];
    subjects.extend(peers(options));
    let references = vec![("gso", Subject::gso(TICK, BURST)), ("naive", Subject::naive())];
    Comparison { load: load(case.name), subjects, references }.run(case, options)
}

/// Measures the relay at each tick, with ten streams to ten subscribers each.
pub(super) fn ticks(case: &Case, options: &Options) -> io::Result<Section> {
    let at = |millis| {
        let tick = Duration::from_millis(millis);
        Subject::Relay(Relay { tick, tick_in_name: true, ..Relay::default() })
    };
    // The others are compared with the first one.
    let subjects = [5, 0, 1, 2, 10, 20].map(at).to_vec();
    let references = vec![("tick 5 ms", at(5))];
    Comparison { load: load("10x10"), subjects, references }.run(case, options)
}

/// Measures readings of 200 bytes at 76,000 per second: the relay checks their CRC and reorders
/// them, the others do not.
pub(super) fn sensor(case: &Case, options: &Options) -> io::Result<Section> {
    let format = Format::Native { bytes: 200, flows: 1 };
    let relay = Relay { tick: TICK, format: Some("native"), ..Relay::default() };
    let mut subjects =
        vec![Subject::Relay(relay), Subject::mmsg(TICK), Subject::gso(TICK, BURST), Subject::naive()];
    // ffmpeg is left out, because it needs the size of the datagrams as an option.
    subjects.extend(peers(options).filter(|peer| !matches!(peer, Subject::Peer(Peer::Ffmpeg))));
    let references = vec![("mmsg", Subject::mmsg(TICK)), ("naive", Subject::naive())];
    let load = Load { format, rate: 76_000.0, streams: 1, fan_out: 1, settle: SETTLE };
    Comparison { load, subjects, references }.run(case, options)
}

fn peers(options: &Options) -> impl Iterator<Item = Subject> {
    Peer::UDP.into_iter().filter(|_| !options.no_peers).map(Subject::Peer)
}

fn load(name: &str) -> Load {
    let (streams, fan_out) = name.split_once('x').expect("the case's name says it");
    let number = |text: &str| text.parse().expect("a number");
    let (streams, fan_out) = (number(streams), number(fan_out));
    Load { format: Format::Rtp, rate: MEDIA_RATE, streams, fan_out, settle: SETTLE }
}
