//! A single leg, and the lag between legs.

use super::*;

const MS: Duration = Duration::from_millis(1);
const PATIENCE: Duration = Duration::from_millis(500);

fn start() -> Instant {
    crate::clock::now()
}

#[test]
fn the_position_is_that_of_the_second_highest_packet() {
    let now = start();
    let mut leg = Leg::new(now);
    let mut positions = Vec::new();
    for end in [10, 7, 5, 7, 10, 8, 20, 12] {
        leg.moved(end, now, PATIENCE);
        positions.push((leg.top[0], leg.position()));
    }
    let expected = [(10, 0), (10, 7), (10, 7), (10, 7), (10, 7), (10, 8), (20, 10), (20, 12)];
    assert_eq!(positions, expected);
}

#[test]
fn a_number_has_passed_when_the_position_is_beyond_it() {
    let now = start();
    let mut leg = Leg::new(now);
    for (at, end) in [(0, 1), (10, 2), (20, 3), (30, 4), (200, 5)] {
        leg.moved(end, now + at * MS, PATIENCE);
    }
    let passed = [0, 1, 2, 3].map(|number| (leg.passed(number).expect("it has passed") - now).as_millis());
    assert_eq!(passed, [10, 20, 30, 200]);
    assert_eq!(leg.passed(4), None);
}

/// Two legs carry the same numbers, the second one 80 ms later.
#[test]
fn another_leg_may_be_behind_by_a_quarter_more_than_it_was() {
    let now = start();
    let mut legs = Legs::new(2, PATIENCE, 1024, now);
    let mut counters = [LegCounters::default(), LegCounters::default()];
    legs.start(100, false, &[Some(now); 2], now);
    for number in 100..110_u64 {
        let at = now + (number - 100) as u32 * 10 * MS;
        assert_eq!(legs.note(0, SeqRange { first: number, count: 1 }, at, &mut counters), None);
    }
    for number in 100..110_u64 {
        let at = now + ((number - 100) as u32 * 10 + 80) * MS;
        let lag = legs
            .note(1, SeqRange { first: number, count: 1 }, at, &mut counters)
            .expect("the first leg was first");
        assert_eq!(lag.as_millis(), 80);
    }
    let waits = Waits::new(Duration::ZERO, PATIENCE, Some(100.0));
    let lag = legs.lag(now + 170 * MS, &waits);
    assert_eq!(lag.as_millis(), 100);
    assert_eq!(legs.lag(now + 170 * MS + waits.out, &waits), Duration::ZERO, "none of them lives");
    assert_eq!((counters[0].first, counters[1].first), (10, 0));
}

/// An address that has just been heard is not silent because its producer starts a session.
#[test]
fn a_new_session_does_not_open_a_leg_to_other_addresses() {
    let (now, source) = (start(), SocketAddr::from(([10, 0, 0, 1], 5000)));
    let mut legs = Legs::new(2, PATIENCE, 1024, now);
    legs.heard_from(1, source, now + 10 * MS);
    legs.start(100, true, &[None, Some(now + 10 * MS)], now + 11 * MS);
    assert_eq!((legs.source(1), legs.source_heard(1)), (Some(source), Some(now + 10 * MS)));
    assert_eq!((legs.source(0), legs.source_heard(0)), (None, None));
}
