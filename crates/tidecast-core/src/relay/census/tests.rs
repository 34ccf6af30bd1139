//! A census in slices, while flows start and end: the sums are right, never decrease, and match
//! the relay when nothing changes.

use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::*;
use crate::relay::{Config, Hold, Input, Output};
use tidecast_wire::native::{Kind, Repr};

const FLOWS: usize = 12;

/// A packet of one of twice as many streams as there may be flows, so that flows constantly end
/// and start.
fn packet(random: &mut StdRng, numbers: &mut [u64]) -> Vec<u8> {
    let stream = random.random_range(0..numbers.len());
    // Gaps make the relay hold packets back.
    numbers[stream] += if random.random_bool(0.2) { 2 } else { 1 };
    let kind = if random.random_bool(0.02) { Kind::End } else { Kind::Data };
    let repr = Repr {
        kind,
        flags: 0,
        stream: stream as u32,
        session: 1,
        sequence: numbers[stream],
        timestamp: 0,
        payload: b"x",
    };
    let mut out = Vec::new();
    repr.emit(&mut out);
    out
}

fn check(census: &Census) {
    let totals = &census.totals;
    assert_eq!(
        totals.media_received + totals.recovered(),
        totals.delivered + totals.discarded() + census.held as u64,
        "{totals:?}"
    );
}

#[test]
fn slices_add_up_while_flows_come_and_go() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let start = crate::clock::now();
    let mut relay = Relay::new(Config {
        format: "native".parse().unwrap(),
        hold: Hold::Fixed(Duration::from_millis(20)),
        flow_idle: Duration::from_secs(1),
        flows_max: FLOWS,
        ..Config::default()
    });
    let mut numbers = vec![0; 2 * FLOWS];
    let mut last = Counters::default();
    let mut taken = 0;
    relay.begin_census(FLOWS, start);
    for turn in 0..20_000 {
        let now = start + Duration::from_millis(turn);
        // From time to time all streams are silent for so long that their flows end.
        if turn % 4000 < 3000 {
            let bytes = packet(&mut random, &mut numbers);
            let source = ([10, 0, 0, 1], 9).into();
            relay.handle_input(Input::Packet { now, leg: 0, source, bytes: bytes.as_slice().into() });
        } else {
            relay.handle_input(Input::Timeout { now });
        }
        while !matches!(relay.poll_output(), Output::Timeout(_)) {}
        let Some(census) = relay.go_on_with_census(random.random_range(0..4), &mut |_| ()) else { continue };
        check(&census);
        let before = format!("{last:?} {:?}", census.totals);
        // A counter that is not lower than before does not saturate.
        let mut grown = census.totals.clone();
        grown.subtract(&last);
        grown.add(&last);
        assert_eq!(grown, census.totals, "{before}");
        last = census.totals;
        taken += 1;
        relay.begin_census(FLOWS, start);
    }
    assert!(taken > 500, "{taken}");
    let mut named = 0;
    relay.begin_census(FLOWS - 1, start);
    let whole = relay.go_on_with_census(usize::MAX, &mut |_| named += 1).expect("all at once");
    assert_eq!((whole.totals, whole.held), (relay.totals(), relay.held()));
    assert_eq!(named, relay.flow_count().min(FLOWS - 1));
}
