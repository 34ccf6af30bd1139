//! Tests of the interarrival jitter of RTP flows with unknown clock rates, against the formula of
//! RFC 3550 with the true clock rate.

use std::{sync::Arc, time::Duration};

use tidecast_core::{jitter::rates::RATES, relay::Config};
use tidecast_wire::rtp;

use crate::harness::{Dice, Repeat, Sim, config, seed, source};

/// Sends a packet every 20 ms, delayed by up to `spread` microseconds, with payload type and
/// timestamp by its number. Returns the jitter.
fn jitter(config: Config, spread: u64, seed: u64, packet: impl Fn(u64) -> (u8, u32)) -> f64 {
    let mut sim = Sim::bare(config);
    let mut dice = Dice::new(seed);
    for number in 0..500_u64 {
        let (payload_type, timestamp) = packet(number);
        let (mut bytes, payload) = (Vec::new(), &number.to_be_bytes()[..]);
        let sequence = number as u16;
        rtp::Repr { marker: false, payload_type, sequence, timestamp, ssrc: 7, payload }.emit(&mut bytes);
        let late = Duration::from_micros(if spread == 0 { 0 } else { dice.below(spread) });
        sim.packet_from(Duration::from_millis(20 * number) + late, 0, source(1), &bytes);
    }
    let flow = sim.relay.flows().next().expect("a flow");
    flow.jitter.as_secs_f64() * 1e3
}

#[test]
fn a_steady_stream_of_any_clock_has_none() {
    for rate in RATES {
        let begin = u32::MAX - rate; // the timestamp wraps after a second
        let stamp = |number: u64| begin.wrapping_add((u64::from(rate) * 20 * number / 1000) as u32);
        let jitter = jitter(config("rtp"), 0, 1, |number| (111, stamp(number)));
        assert!(jitter < 0.1, "{rate}: {jitter} ms");
    }
}

#[test]
fn the_jitter_is_what_arrivals_and_the_true_clock_say() {
    let seed = seed(61);
    let _repeat = Repeat(seed);
    for (payload_type, rate) in [(0, 8_000), (111, 48_000), (98, 88_200), (33, 90_000)] {
        let shown = jitter(config("rtp"), 5000, seed, |number| (payload_type, rate / 50 * number as u32));
        // The mean absolute difference of two delays that are uniform up to 5 ms is a third of
        // that.
        assert!((0.8..2.6).contains(&shown), "{payload_type}: {shown} ms");
    }
}

/// Replaces the packets of a stream, by their number.
type Packet = fn(u64) -> (u8, u32);

#[test]
fn noise_events_and_another_codec_add_none() {
    let types = ["101 telephone-event/48000".parse().expect("an rtpmap")].into_iter().collect();
    let described = Config { payload_types: Arc::new(types), ..config("rtp") };
    let cases: [(&str, Packet); 4] = [
        ("comfort noise", |n| if n % 7 == 6 { (13, 160 * n as u32) } else { (111, 960 * n as u32) }),
        ("events", |n| if n % 50 > 40 { (101, 960 * (n - n % 50) as u32) } else { (111, 960 * n as u32) }),
        ("PCMU, then Opus", |n| if n < 250 { (0, 160 * n as u32) } else { (111, 960 * n as u32) }),
        ("by turns", |n| if n % 100 < 50 { (0, 160 * n as u32) } else { (8, 160 * n as u32) }),
    ];
    for (what, packet) in cases {
        let shown = jitter(described.clone(), 0, 1, packet);
        assert!(shown < 0.5, "{what}: {shown} ms");
    }
}
