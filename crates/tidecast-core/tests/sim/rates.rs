//! Tests of low rates, at which the next packet arrives after a long time; and of the automatic
//! hold.

use std::time::Duration;

use tidecast_core::relay::{Config, Hold};
use tidecast_wire::native::Kind;

use crate::{
    formats::{Numbered, native},
    harness::{Dice, Event, MS, Repeat, Sim, config, seed, source},
};

const SECOND: Duration = Duration::from_secs(1);

/// Returns when each identity was delivered.
fn delivered(sim: &Sim) -> Vec<(Duration, u64)> {
    sim.delivered(|payload| Numbered::Native.identity(payload))
}

#[test]
fn one_of_fifty_a_second_lost() {
    for format in [Numbered::Native, Numbered::Rtp, Numbered::Custom16] {
        for hold in [Hold::default(), Hold::Fixed(50 * MS), Hold::Fixed(150 * MS)] {
            let mut sim = Sim::new(Config { hold, ..config(format.format()) });
            for n in (0..300_u64).filter(|n| *n != 150) {
                sim.packet(20 * MS * n as u32, &format.datagram(1, n, n));
            }
            sim.run_until(10 * SECOND);
            let delivered = sim.delivered(|payload| format.identity(payload));
            assert_eq!(delivered.len(), 299);
            let silence = delivered.windows(2).map(|w| w[1].0 - w[0].0).max().unwrap();
            let limit = if let Hold::Fixed(hold) = hold { hold } else { 50 * MS };
            assert!(silence <= limit + 2 * 20 * MS, "{format:?} {hold:?}: silent for {silence:?}");
            assert_eq!(sim.check_counters().lost, 1);
        }
    }
}

/// A sensor restarts: in a new session, from another number, or both at once.
#[test]
fn one_reading_a_minute() {
    for hold in [Hold::default(), Hold::Fixed(50 * MS)] {
        for (format, session, number) in [
            (Numbered::Native, 2, 0),
            (Numbered::Native, 1, 0),
            (Numbered::Native, 1, 5000),
            (Numbered::Native, 2, 777),
            (Numbered::Rtp, 2, 30_000),
            (Numbered::Rtp, 1, 3),
            (Numbered::Custom16, 1, 30_000),
            (Numbered::Custom16, 1, 0),
        ] {
            let mut sim = Sim::new(Config { hold, ..config(format.format()) });
            for n in 0..10_u64 {
                let (session, number) = if n < 5 { (1, 100 + n) } else { (session, number + n - 5) };
                let at = 60 * SECOND * n as u32;
                sim.packet(at, &format.datagram(session, number, n));
                sim.run_until(at + 60 * MS);
                let delivered = sim.delivered(|payload| format.identity(payload));
                assert_eq!(
                    delivered.last().map(|(_, n)| *n),
                    Some(n),
                    "{format:?}, session {session}, number {number}: {delivered:?}"
                );
            }
            let counters = sim.check_counters();
            assert_eq!((counters.delivered, counters.lost, counters.rejected), (10, 0, 0), "{counters:?}");
        }
    }
}

#[test]
fn ten_a_second_come_at_once_from_the_first_on() {
    for format in [Numbered::Native, Numbered::Rtp, Numbered::Custom16, Numbered::Custom8] {
        for start in [0, 1, 250, 65_500] {
            let mut sim = Sim::new(config(format.format()));
            for n in 0..100_u64 {
                let at = 100 * MS * n as u32;
                sim.packet(at, &format.datagram(1, (start + n) % format.modulus(), n));
                sim.run_until(at + 20 * MS);
                let delivered = sim.delivered(|payload| format.identity(payload));
                assert_eq!(delivered.len() as u64, n + 1, "{format:?} from {start}");
            }
            assert_eq!(sim.check_counters().lost, 0);
        }
    }
}

/// Jumps that no packet follows, and forged numbers, sessions and heartbeats, at any time between
/// two packets of a slow flow.
#[test]
fn forged_packets_on_a_slow_flow_cost_nothing() {
    const FORGED: u64 = 1 << 60;
    for format in [Numbered::Native, Numbered::Rtp, Numbered::Custom16] {
        for offset in [70_i64, 300, 2000, 20_000, -70, -300, -2000] {
            for moment in [1, 10, 50, 90, 99] {
                for session in [1, 99] {
                    let has_session = matches!(format, Numbered::Native | Numbered::Rtp);
                    if session != 1 && !has_session {
                        continue;
                    }
                    let mut sim = Sim::new(config(format.format()));
                    for n in 0..100_u64 {
                        let at = 100 * MS * n as u32;
                        let number = 10_000 + n;
                        sim.packet(at, &format.datagram(1, number, n));
                        if n == 50 {
                            let forged = number.wrapping_add_signed(offset);
                            sim.packet(at + MS * moment, &format.datagram(session, forged, FORGED));
                        }
                    }
                    sim.run_until(20 * SECOND);
                    let delivered = sim.delivered(|payload| format.identity(payload));
                    let numbers: Vec<u64> = delivered.iter().map(|(_, n)| *n).collect();
                    let context = format!("{format:?} {offset:+} after {moment} ms, session {session}");
                    assert_eq!(numbers, (0..100).collect::<Vec<_>>(), "{context}");
                    let late = delivered.iter().filter(|(at, n)| *at > 100 * MS * *n as u32 + 20 * MS);
                    assert_eq!(late.count(), 0, "{context}");
                    assert_eq!(sim.check_counters().rejected, 1, "{context}");
                }
            }
        }
    }
}

#[test]
fn forged_heartbeats_cost_nothing() {
    for ahead in [1, 5, 40, 60, 100, 5000, 1 << 40, u64::MAX - 10_000] {
        for kind in [Kind::Heartbeat, Kind::End] {
            let mut sim = Sim::new(config("auto"));
            for n in 0..100_u64 {
                let at = 100 * MS * n as u32;
                sim.packet(at, &Numbered::Native.datagram(1, n, n));
                if n % 7 == 0 {
                    sim.packet(at + 10 * MS, &native(kind, 7, 1, n + 1 + ahead, 0, b""));
                    sim.packet(at + 20 * MS, &native(kind, 7, 99, n + 1, 0, b""));
                }
            }
            sim.run_until(100 * 100 * MS);
            let counters = sim.check_counters();
            assert_eq!(
                (counters.delivered, counters.lost, counters.sessions),
                (100, 0, 1),
                "{kind:?} {ahead}"
            );
        }
    }
}

/// Losses at the end are detected when the producer announces its next number.
#[test]
fn heartbeats_show_a_lost_tail() {
    for hold in [Hold::default(), Hold::Fixed(50 * MS)] {
        let mut sim = Sim::new(Config { hold, ..config("auto") });
        for n in 0..97_u64 {
            sim.packet(10 * MS * n as u32, &Numbered::Native.datagram(1, n, n));
        }
        for second in 2..5 {
            sim.packet(SECOND * second, &native(Kind::Heartbeat, 7, 1, 100, 0, b""));
        }
        sim.run_until(5 * SECOND);
        let lost = sim.events.iter().filter_map(|(at, event)| match event {
            Event::Lost { from, count, .. } => Some((*at, *from, *count)),
            _ => None,
        });
        let lost: Vec<_> = lost.collect();
        assert_eq!(lost.len(), 1, "{lost:?}");
        assert_eq!((lost[0].1, lost[0].2), (97, 3));
        assert!(lost[0].0 <= 2 * SECOND + 60 * MS, "{lost:?}");
        // A packet that arrives after all is late, and the session continues.
        sim.packet(6 * SECOND, &Numbered::Native.datagram(1, 98, 98));
        sim.packet(6 * SECOND + MS, &Numbered::Native.datagram(1, 100, 100));
        assert_eq!(delivered(&sim).last(), Some(&(6 * SECOND + MS, 100)));
        sim.run_until(9 * SECOND);
        let counters = sim.check_counters();
        assert_eq!((counters.late, counters.lost, counters.sessions), (1, 3, 1), "{counters:?}");
    }
}

#[test]
fn the_end_of_a_session_ends_the_flow() {
    let mut sim = Sim::new(config("auto"));
    for n in 0..50_u64 {
        sim.packet(100 * MS * n as u32, &Numbered::Native.datagram(1, n, n));
    }
    for n in 0..3 {
        sim.packet(5 * SECOND + 10 * MS * n, &native(Kind::End, 7, 1, 50, 0, b""));
    }
    assert_eq!(sim.relay.flow_count(), 1);
    sim.run_until(8 * SECOND);
    assert_eq!(sim.relay.flow_count(), 0);
    assert!(matches!(sim.events.last(), Some((_, Event::Ended { .. }))));
    // The next run is a separate flow.
    sim.packet(9 * SECOND, &Numbered::Native.datagram(2, 0, 1000));
    assert_eq!(delivered(&sim).last(), Some(&(9 * SECOND, 1000)));
    assert_eq!(sim.check_counters().delivered, 51);
}

#[test]
fn a_producer_that_pauses_goes_on() {
    for format in [Numbered::Native, Numbered::Rtp, Numbered::Custom16] {
        let mut sim = Sim::new(config(format.format()));
        for n in 0..200_u64 {
            let pause = if n < 100 { Duration::ZERO } else { 30 * SECOND };
            sim.packet(pause + 2 * MS * n as u32, &format.datagram(1, 65_450 + n, n));
        }
        sim.run_until(40 * SECOND);
        let counters = sim.check_counters();
        assert_eq!((counters.delivered, counters.lost, counters.sessions), (200, 0, 1), "{format:?}");
    }
}

/// Every 50th packet of 500 per second is 80 ms late. Once the hold has adapted, no more are lost;
/// when the network improves, the hold falls again.
#[test]
fn the_automatic_hold_learns_and_forgets() {
    for format in [Numbered::Native, Numbered::Rtp] {
        let mut sim = Sim::new(config(format.format()));
        let mut arrivals: Vec<(u64, u64)> = Vec::new();
        for n in 0..40_000_u64 {
            let late = (1000..20_000).contains(&n) && n % 50 == 0;
            arrivals.push((2 * n + if late { 81 } else { 0 }, n));
        }
        arrivals.sort_unstable();
        let hold = |sim: &Sim| sim.relay.flows().next().unwrap().hold;
        let mut learnt = 0;
        for (at, n) in arrivals {
            let at = MS * at as u32;
            sim.packet(at, &format.datagram(1, n, n));
            if n == 2000 {
                learnt = sim.relay.totals().lost;
                assert!(hold(&sim) > 81 * MS && hold(&sim) < 200 * MS, "{:?}", hold(&sim));
            }
        }
        sim.run_until(90 * SECOND);
        let counters = sim.check_counters();
        assert!((1..=2).contains(&learnt), "the first ones are lost: {learnt}");
        assert_eq!((counters.lost, counters.late), (learnt, learnt), "{format:?}: {counters:?}");
        assert!(counters.reordered >= 370);
        assert_eq!(hold(&sim), 20 * MS);
    }
}

/// Two RTP senders share one address, as with audio and video: neither replaces the other.
#[test]
fn two_ssrcs_of_one_source_stay_beside_each_other() {
    let seed = seed(5);
    let _repeat = Repeat(seed);
    let mut dice = Dice::new(seed);
    for (first, second) in [(2, 2), (2, 20), (20, 2), (20, 100), (100, 20), (5, 5)] {
        let mut sim = Sim::fixed("rtp", 300 * MS);
        let mut arrivals = Vec::new();
        for (ssrc, interval, begin) in [(1_u32, first, 0), (2, second, 3000)] {
            for n in 0..10_000 / interval {
                // Packets held because of slight reordering must not be given up because of the
                // other flow.
                let late = if n % 10 == 5 && n > 50 { dice.below(3) * interval + interval / 2 } else { 0 };
                arrivals.push((begin + n * interval + late, ssrc, n));
            }
        }
        arrivals.sort_unstable();
        for (at, ssrc, n) in &arrivals {
            let datagram = Numbered::Rtp.datagram(*ssrc, 65_000 + n, u64::from(*ssrc) << 32 | n);
            sim.packet_from(MS * *at as u32, 0, source(1), &datagram);
        }
        sim.run_until(20 * SECOND);
        let delivered = sim.delivered(|payload| Numbered::Rtp.identity(payload));
        for (ssrc, interval) in [(1, first), (2, second)] {
            let own = delivered.iter().map(|(_, id)| *id).filter(|id| id >> 32 == ssrc);
            let count = 10_000 / interval;
            let context = format!("intervals {first} and {second} ms, SSRC {ssrc}");
            assert_eq!(
                own.map(|id| id & 0xffff_ffff).collect::<Vec<_>>(),
                (0..count).collect::<Vec<_>>(),
                "{context}"
            );
        }
        let succeeded =
            sim.events.iter().any(|(_, event)| matches!(event, Event::Started { succeeds: Some(_), .. }));
        assert!(!succeeded, "intervals {first} and {second} ms");
        sim.check_counters();
    }
}
