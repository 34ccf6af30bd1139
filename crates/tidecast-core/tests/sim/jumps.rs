//! Tests of jumps of the numbers within a session, which are losses unless there is a sign that
//! the producer restarted its numbering; and of the control datagrams of custom formats, which
//! reveal losses at the end.

use std::time::Duration;

use tidecast_core::relay::{Config, Counters};

use crate::{
    formats::Numbered,
    harness::{Event, MS, Sim, config, source},
};

const U32: &str = "seq=u32be@0,id=u32be@4";
const MOLD: &str = "moldudp64";

fn u32(number: u64, identity: u64) -> Vec<u8> {
    [&(number as u32).to_be_bytes()[..], &[0, 0, 0, 9], &identity.to_be_bytes()].concat()
}

/// Position and type of a counter.
#[derive(Debug, Clone, Copy)]
enum Counter {
    Wide,
    Known(Numbered),
}

impl Counter {
    fn datagram(self, number: u64, identity: u64) -> Vec<u8> {
        match self {
            Counter::Wide => u32(number, identity),
            Counter::Known(format) => format.datagram(1, number % format.modulus(), identity),
        }
    }

    fn format(self) -> &'static str {
        match self {
            Counter::Wide => U32,
            Counter::Known(format) => format.format(),
        }
    }
}

/// Sends 300 packets 2 ms apart, then as many from a number this far ahead, after a pause; the
/// kernel dropped `drops` of those between. Checks that all are delivered.
fn jump(counter: Counter, ahead: i64, pause: Duration, drops: u64, port: u16) -> Counters {
    let mut sim = Sim::new(config(counter.format()));
    for n in 0..600_u64 {
        let later = n >= 300;
        let number = 5000 + n + if later { ahead.rem_euclid(1 << 32) as u64 } else { 0 };
        let at = 2 * MS * n as u32 + if later { pause } else { Duration::ZERO };
        if n == 300 && drops > 0 {
            sim.dropped(at, 0, drops);
        }
        let mut from = source(1);
        from.set_port(if later { port } else { 5000 });
        let identity = if later { n + ahead.max(0) as u64 } else { n };
        sim.packet_from(at, 0, from, &counter.datagram(number, identity));
    }
    sim.run_until(sim.elapsed() + Duration::from_secs(3));
    let counters = sim.check_counters();
    assert_eq!(counters.delivered, 600, "{counter:?} by {ahead}: {counters:?}");
    counters
}

#[test]
fn a_jump_in_a_wide_space_is_a_loss_of_exactly_that_many() {
    for ahead in [1, 63, 64, 65, 100, 200, 1000, 10_000, 1_000_000] {
        for pause in [Duration::ZERO, 200 * MS] {
            let counters = jump(Counter::Wide, ahead, pause, 0, 5000);
            assert_eq!((counters.lost, counters.sessions), (ahead as u64, 1), "by {ahead} after {pause:?}");
        }
    }
}

#[test]
fn a_step_back_and_a_new_port_are_restarts() {
    for (ahead, port) in [(-200, 5000), (-4000, 5000), (2000, 6000)] {
        let counters = jump(Counter::Wide, ahead, 200 * MS, 0, port);
        assert_eq!((counters.lost, counters.sessions), (0, 2), "by {ahead}, port {port}");
    }
}

#[test]
fn what_the_kernel_dropped_is_lost_however_small_the_counter() {
    for (format, pause) in [
        (Numbered::Custom8, 2000 * MS),
        (Numbered::Custom8, Duration::ZERO),
        (Numbered::Custom16, Duration::ZERO),
        (Numbered::Rtp, Duration::ZERO),
    ] {
        let counters = jump(Counter::Known(format), 690, pause, 690, 5000);
        assert_eq!((counters.lost, counters.sessions), (690, 1), "{format:?} after {pause:?}");
    }
}

#[test]
fn the_producers_clock_tells_a_burst_that_was_lost() {
    for ahead in [200, 20_000, 40_000] {
        let counters = jump(Counter::Known(Numbered::Rtp), ahead, Duration::ZERO, 0, 5000);
        assert_eq!((counters.lost, counters.sessions), (ahead as u64, 1), "by {ahead}");
    }
    let counters = jump(Counter::Known(Numbered::Custom16), 20_000, Duration::ZERO, 0, 5000);
    assert_eq!((counters.lost, counters.sessions), (0, 2), "nothing tells");
}

/// Returns a MoldUDP64 packet: session, number, message count.
fn mold(number: u64, count: u16) -> Vec<u8> {
    [&b"SESSION  A"[..], &number.to_be_bytes(), &count.to_be_bytes(), &[7; 8]].concat()
}

/// Returns the output in short form: numbers, `-` numbers lost, `c` control datagrams.
fn said(sim: &Sim) -> Vec<String> {
    let word = |(_, event): &(Duration, Event)| match event {
        Event::Delivered { seq, .. } => Some(format!("{seq}")),
        Event::Control { seq, .. } => Some(format!("c{seq}")),
        Event::Lost { from, count, .. } => Some(format!("-{from}+{count}")),
        _ => None,
    };
    sim.events.iter().filter_map(word).collect()
}

#[test]
fn heartbeats_and_ends_of_custom_formats_close_the_tail_and_are_passed_on() {
    for (count, legs) in [(0, 1), (0xFFFF, 1), (0, 2), (0xFFFF, 2)] {
        let mut sim = Sim::new(Config { legs, ..config(MOLD) });
        for n in 0..7_u64 {
            for leg in 0..legs {
                sim.packet_from(10 * MS * n as u32, leg as u8, source(1), &mold(1 + 3 * n, 3));
            }
        }
        // Three more were sent; the heartbeat waits for them until they are given up.
        for round in 0..3 {
            for leg in 0..legs {
                let at = Duration::from_secs(1 + round) + 20 * MS * leg as u32;
                sim.packet_from(at, leg as u8, source(1), &mold(31, count));
            }
        }
        sim.run_until(Duration::from_secs(4));
        let said = said(&sim);
        let expected = ["1", "4", "7", "10", "13", "16", "19", "-22+9", "c31", "c31", "c31"];
        assert_eq!(said, expected, "count {count}, {legs} legs");
        let counters = sim.check_counters();
        assert_eq!((counters.lost, counters.delivered, counters.expected), (9, 7, 30));
        assert_eq!(counters.control_received, 3 * legs as u64);
        sim.run_until(Duration::from_secs(8));
        assert_eq!(sim.relay.flow_count(), usize::from(count == 0), "an end ends the flow");
    }
}

#[test]
fn control_datagrams_keep_their_place_and_come_without_any_packet() {
    let mut sim = Sim::fixed(MOLD, 100 * MS);
    sim.packet(Duration::ZERO, &mold(1, 0));
    sim.packet(10 * MS, &mold(1, 2));
    sim.packet(30 * MS, &mold(5, 2));
    sim.packet(40 * MS, &mold(7, 0));
    sim.packet(50 * MS, &mold(3, 2));
    sim.packet(60 * MS, &mold(7, 0));
    sim.packet(70 * MS, &mold(7, 1));
    // A forged one is passed on, and changes nothing.
    sim.packet(80 * MS, &mold(1 << 40, 0));
    sim.packet(90 * MS, &mold(8, 1));
    sim.run_until(Duration::from_secs(1));
    let expected = ["c1", "1", "3", "5", "c7", "c7", "7", "c1099511627776", "8"];
    assert_eq!(said(&sim), expected);
    assert_eq!(sim.check_counters().lost, 0);
}

/// Two forged packets confirm each other, and the producer continues: nothing is lost, and no
/// session starts.
#[test]
fn a_forged_pair_far_ahead_loses_nothing() {
    for ahead in [1000, 1_000_000] {
        let mut sim = Sim::new(config(U32));
        for n in 0..600_u64 {
            let at = 2 * MS * n as u32;
            sim.packet(at, &u32(5000 + n, n));
            if n == 300 {
                sim.packet(at + MS / 2, &u32(5000 + n + ahead, 1 << 40));
                sim.packet(at + MS, &u32(5001 + n + ahead, 1 << 41));
            }
        }
        sim.run_until(Duration::from_secs(5));
        let counters = sim.check_counters();
        assert_eq!(
            (counters.delivered, counters.lost, counters.sessions),
            (600, 0, 1),
            "{ahead}: {counters:?}"
        );
    }
}
