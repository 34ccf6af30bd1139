//! Tests of paced release with every RTP clock rate and every disturbance: each packet leaves
//! within 20 ms of the configured delay, and no gap exceeds the source's by more than a packet.
//! `cargo test -p tidecast-core --test sim paced_table -- --nocapture` prints the tables that
//! docs/players.md shows.

use std::{fmt::Write as _, sync::Arc, time::Duration};

use tidecast_core::relay::{Config, Delay, Hold, Release};
use tidecast_wire::rtp::{self, payload_types::PayloadTypes};

use crate::{
    clocks::{self, Case, L24, OPUS, PCMU, Sent, Stream},
    harness::{Dice, Repeat, Sim, config, seed, source},
};

const DELAY: f64 = 200.0;
/// The path's jitter, in milliseconds.
const JITTER: f64 = 8.0;
/// Maximum deviation that the acceptance criteria allow, in milliseconds.
const OFF: f64 = 20.0;

/// Results of a stream.
#[derive(Debug)]
struct Row {
    stream: String,
    what: String,
    /// The minimum and maximum delay, in milliseconds.
    delays: (f64, f64),
    /// Maximum by which a gap is longer than the source's, in milliseconds, and the allowed
    /// maximum.
    gap: f64,
    packet: f64,
    clock: &'static str,
}

impl Row {
    fn of(case: &Case, seed: u64) -> Row {
        let Case { stream, what, sent, from } = case;
        let types: PayloadTypes =
            stream.described.iter().map(|text| text.parse().expect("an rtpmap")).collect();
        let release = Release::Paced(Delay::Fixed(Duration::from_millis(DELAY as u64)));
        let hold = Hold::Fixed(Duration::from_millis(60));
        let mut sim = Sim::bare(Config { hold, release, payload_types: Arc::new(types), ..config("rtp") });
        let mut dice = Dice::new(seed);
        let mut last = 0.0_f64;
        for (n, packet) in sent.iter().enumerate() {
            let jitter = if n < 5 { 0.0 } else { dice.below(1000) as f64 / 1e3 * JITTER };
            last = last.max(packet.at + jitter);
            let (mut bytes, payload) = (Vec::new(), (n as u64).to_be_bytes());
            let Sent { payload_type, stamp: timestamp, .. } = *packet;
            let payload = &payload[..];
            let sequence = n as u16;
            rtp::Repr { marker: false, payload_type, sequence, timestamp, ssrc: 7, payload }.emit(&mut bytes);
            sim.packet_from(Duration::from_secs_f64(last / 1e3), 0, source(1), &bytes);
        }
        sim.run_until(Duration::from_secs_f64(last / 1e3 + 5.0));
        let left = sim.delivered(|payload| u64::from_be_bytes(*payload.last_chunk().expect("a number")));
        let counters = sim.check_counters();
        assert_eq!((counters.lost, left.len()), (0, sent.len()), "{what}: {counters:?}");
        assert!(left.iter().map(|(_, number)| *number).eq(0..sent.len() as u64), "{what}: in order");
        let left: Vec<f64> = left.iter().map(|(at, _)| at.as_secs_f64() * 1e3).collect();
        let delays: Vec<f64> = left.iter().zip(sent).map(|(left, sent)| left - sent.at).collect();
        if std::env::var_os("TIDECAST_EACH").is_some() {
            for ((sent, delay), left) in sent.iter().zip(&delays).zip(&left) {
                println!("{:9.1} {:4} {:11} {delay:7.1} {left:9.1}", sent.at, sent.payload_type, sent.stamp);
            }
        }
        let late = sent.iter().take_while(|sent| sent.at < *from).count();
        let gaps = left
            .windows(2)
            .zip(sent.windows(2))
            .map(|(left, sent)| left[1] - left[0] - sent[1].at + sent[0].at);
        let clock = sim.relay.flows().last().and_then(|flow| flow.pacing).expect("paced").clock;
        Row {
            stream: case.name(),
            what: what.clone(),
            delays: (
                delays[late..].iter().copied().fold(f64::MAX, f64::min),
                delays[late..].iter().copied().fold(f64::MIN, f64::max),
            ),
            gap: gaps.skip(late).fold(0.0, f64::max),
            packet: stream.interval,
            clock,
        }
    }

    /// Returns whether the acceptance criteria are met. The path's jitter is part of a gap if
    /// there is no clock.
    fn is_right(&self) -> bool {
        let (low, high) = self.delays;
        low >= DELAY - OFF && high <= DELAY + OFF && self.gap <= self.packet.max(JITTER)
    }
}

/// Prints the table; all rows must meet the criteria.
fn table(title: &str, rows: &[Row]) {
    let mut text =
        format!("{title}\n\n| Stream | Disturbance | Delay | Longer gap | Clock |\n|---|---|---|---|---|\n");
    for row in rows {
        let (low, high) = row.delays;
        let wrong = if row.is_right() { "" } else { " WRONG" };
        let Row { stream, what, gap, clock, .. } = row;
        let _ =
            writeln!(text, "| {stream} | {what} | {low:.0} to {high:.0} ms | {gap:.1} ms | {clock}{wrong} |");
    }
    println!("{text}");
    let wrong: Vec<&Row> = rows.iter().filter(|row| !row.is_right()).collect();
    assert!(wrong.is_empty(), "{title}: {wrong:#?}");
}

fn measured(title: &str, cases: Vec<Case>, usual: u64) {
    let seed = seed(usual);
    let _repeat = Repeat(seed);
    let rows: Vec<Row> = cases.iter().map(|case| Row::of(case, seed)).collect();
    table(title, &rows);
}

#[test]
fn every_clock_rate() {
    measured("Clock rates", clocks::every_rate(), 51);
}

const OPUS_DESCRIBED: Stream = OPUS.described("111 opus/48000/2");
const L24_DESCRIBED: Stream = L24.described("98 L24/48000/2");

#[test]
fn time_stamps_that_stand_jump_or_are_wrong() {
    let streams = [PCMU, OPUS_DESCRIBED, L24_DESCRIBED, OPUS];
    let mut cases: Vec<Case> = streams.into_iter().flat_map(clocks::wrong_stamps).collect();
    cases.extend(clocks::wrong_rates());
    measured("Wrong time stamps", cases, 52);
}

#[test]
fn noise_events_redundancy_and_fec_set_no_clock() {
    let streams = [PCMU, OPUS, OPUS_DESCRIBED, L24_DESCRIBED];
    measured("Among the media", streams.into_iter().flat_map(clocks::among).collect(), 53);
}

#[test]
fn payload_types_change() {
    measured("Changes of the payload type", clocks::changes(), 54);
}
