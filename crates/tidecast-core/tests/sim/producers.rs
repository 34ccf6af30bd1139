//! Tests of producers that continue, return, move, or conflict with another: restarts with the
//! same content, successors, several ports, two hosts with one id, constant numbers, and datagrams
//! from another source than the media.

use std::{net::SocketAddr, time::Duration};

use tidecast_core::follow::Follow;
use tidecast_core::relay::{Config, Delay, Fec, Release};
use tidecast_wire::native::Kind;

use crate::{
    formats::{Numbered, native},
    harness::{Event, MS, Sim, config, source},
};

const SECOND: Duration = Duration::from_secs(1);
const ALL: [Numbered; 3] = [Numbered::Native, Numbered::Rtp, Numbered::Custom16];

fn port(host: u8, port: u16) -> SocketAddr {
    SocketAddr::new(source(host).ip(), port)
}

/// Returns the packets that a player of the channel gets.
fn played(sim: &Sim) -> Vec<u64> {
    let mut follow = Follow::new(SECOND);
    let mut played = Vec::new();
    for (at, event) in &sim.events {
        let now = sim.at(*at);
        match event {
            Event::Delivered { flow, payload, .. } if follow.takes(*flow, now) => {
                played.push(Numbered::Rtp.identity(payload));
            }
            Event::Started { flow, succeeds: Some(old) } | Event::Succeeded { flow, succeeds: old } => {
                follow.succeeded(*flow, *old, now);
            }
            Event::Ended { flow } => follow.ended(*flow),
            _ => {}
        }
    }
    played
}

/// Compares without printing thousands of numbers.
fn assert_same(got: &[u64], expected: &[u64], context: &str) {
    let place = got.iter().zip(expected).take_while(|(a, b)| a == b).count();
    let show = |list: &[u64]| list.iter().skip(place.saturating_sub(2)).take(8).copied().collect::<Vec<_>>();
    assert!(
        got == expected,
        "{} of {}, from {place}: {:?} instead of {:?}: {context}",
        got.len(),
        expected.len(),
        show(got),
        show(expected)
    );
}

fn delivered(sim: &Sim) -> Vec<u64> {
    sim.delivered(|payload| Numbered::Rtp.identity(payload))
        .into_iter()
        .map(|(_, identity)| identity)
        .collect()
}

/// Returns seven TS packets of one PID; the last eight bytes contain the index of the datagram.
fn ts(index: u64) -> Vec<u8> {
    let mut out = Vec::new();
    for n in 0..7 {
        let mut packet = [0xff_u8; 188];
        packet[..4].copy_from_slice(&[0x47, 1, 0, 0x10 | ((index * 7 + n) % 16) as u8]);
        packet[180..].copy_from_slice(&index.to_be_bytes());
        out.extend(packet);
    }
    out
}

/// A capture that is played again, or a sensor that restarts with the same readings: the same
/// bytes, later than any network delivers duplicates.
#[test]
fn what_begins_again_with_the_same_content_is_a_restart() {
    for format in ALL {
        for (count, interval, pause) in [
            (100, 20, 1000),
            (100, 20, 5000),
            (10, 200, 1000),
            (30, 10, 700),
            (3, 1000, 3000),
            (200, 2, 800),
            (1, 1, 1000),
        ] {
            for twice in [false, count > 1] {
                let mut sim = Sim::new(config(format.format()));
                let round = interval * count + pause;
                for n in 0..4 * count {
                    let at = MS * ((n / count) * round + (n % count) * interval) as u32;
                    let datagram = format.datagram(1, 100 + n % count, n % count);
                    sim.packet(at, &datagram);
                    if twice {
                        sim.packet(at + MS / 2, &datagram);
                    }
                }
                sim.run_until(30 * SECOND);
                let counters = sim.check_counters();
                let context =
                    format!("{format:?}, {count} every {interval} ms, pause {pause}, {twice}: {counters:?}");
                let expected: Vec<u64> = (0..4 * count).map(|n| n % count).collect();
                assert_same(&delivered(&sim), &expected, &context);
                assert_eq!((counters.lost, counters.rejected), (0, 0), "{context}");
                assert_eq!(counters.duplicate, if twice { 4 * count } else { 0 }, "{context}");
            }
        }
    }
}

/// A burst that the network delayed for most of a second is late, not a restart.
#[test]
fn packets_that_were_held_up_restart_nothing() {
    for format in ALL {
        let mut sim = Sim::new(config(format.format()));
        let mut arrivals: Vec<(u64, u64)> =
            (0..1000).map(|n| (5 * n + if (400..420).contains(&n) { 800 } else { 0 }, n)).collect();
        arrivals.sort_unstable();
        for (at, n) in arrivals {
            sim.packet(MS * at as u32, &format.datagram(1, n, n));
        }
        sim.run_until(10 * SECOND);
        let counters = sim.check_counters();
        assert_eq!(
            (counters.delivered, counters.lost, counters.sessions),
            (980, 20, 1),
            "{format:?}: {counters:?}"
        );
        assert_eq!((counters.late, counters.rejected), (20, 0), "{format:?}: {counters:?}");
    }
}

/// Two encoders that alternate, with different SSRCs, on one address or two.
#[test]
fn a_player_misses_nothing_where_ssrcs_take_turns() {
    for turn in [450, 150, 25, 10] {
        for other in [source(1), port(1, 7000), source(2)] {
            for release in [Release::Asap, Release::Paced(Delay::Auto)] {
                if release != Release::Asap && turn < 40 {
                    continue; // an alternation is shorter than the delay
                }
                let mut sim = Sim::new(Config { release, ..config("rtp") });
                let mut numbers = [1000, 40_000];
                for n in 0..900 {
                    let which = (n / turn % 2) as usize;
                    let datagram = Numbered::Rtp.datagram(0xA0 + which as u32, numbers[which], n);
                    numbers[which] += 1;
                    sim.packet_from(MS * 5 * n as u32, 0, [source(1), other][which], &datagram);
                }
                sim.run_until(10 * SECOND);
                let counters = sim.check_counters();
                let context = format!("turns of {turn}, {other}, {release:?}: {counters:?}");
                assert_same(&played(&sim), &(0..900).collect::<Vec<_>>(), &context.to_string());
                assert_eq!((counters.delivered, counters.lost), (900, 0), "{context}");
            }
        }
    }
}

/// A transport stream without RTP whose source port changes, once or continually, or that has two
/// sockets.
#[test]
fn a_player_misses_nothing_where_the_port_of_a_transport_stream_changes() {
    let ports: [fn(u64) -> u16; 6] = [
        |n| 5000 + (n / 400) as u16,
        |n| 5000 + (n % 2) as u16,
        |n| 5000 + (n / 3 % 2) as u16,
        |n| 5000 + (n / 30 % 2) as u16,
        |n| 5000 + (n % 3) as u16,
        |n| 5000 + (n / 20) as u16,
    ];
    for (which, ports) in ports.iter().enumerate() {
        let mut sim = Sim::new(config("ts"));
        for n in 0..800 {
            sim.packet_from(MS * 5 * n as u32, 0, port(1, ports(n)), &ts(n));
        }
        sim.run_until(10 * SECOND);
        let counters = sim.check_counters();
        assert_same(&played(&sim), &(0..800).collect::<Vec<_>>(), &format!("{which}: {counters:?}"));
        assert_eq!((counters.delivered, counters.ts_discontinuities), (800, 0), "{which}: {counters:?}");
        if which == 1 {
            assert_eq!(counters.sessions, 1, "one flow: {counters:?}");
        }
    }
}

/// The encoder restarts on another port, with new continuity counters.
#[test]
fn a_player_goes_on_with_a_transport_stream_that_starts_again() {
    for host in [1, 2] {
        let mut sim = Sim::new(config("ts"));
        for n in 0..800 {
            let (from, data) = if n < 400 { (port(1, 5000), ts(n)) } else { (port(host, 5001), ts(n + 5)) };
            sim.packet_from(MS * 5 * n as u32, 0, from, &data);
        }
        sim.run_until(10 * SECOND);
        let expected: Vec<u64> = (0..800).map(|n| if n < 400 { n } else { n + 5 }).collect();
        assert_same(&played(&sim), &expected, "");
    }
}

/// Two programs send to one group, from two ports of one host: both are active, and a player stays
/// with the first.
#[test]
fn two_streams_that_live_stay_beside_each_other() {
    for format in ["ts", "rtp"] {
        let mut sim = Sim::new(config(format));
        for n in 0..2000_u64 {
            let second = n % 2 == 1;
            let data = if format == "ts" {
                ts(n / 2 + if second { 12_345 } else { 0 })
            } else {
                Numbered::Rtp.datagram(1 + (n % 2) as u32, 7 + n / 2, n / 2 + if second { 12_345 } else { 0 })
            };
            // The first one pauses briefly from time to time.
            let stall = if !second && n % 400 > 380 { 9 } else { 0 };
            sim.packet_from(MS * (5 * n as u32 / 2) + MS * stall, 0, port(1, 5000 + (n % 2) as u16), &data);
        }
        sim.run_until(10 * SECOND);
        let counters = sim.check_counters();
        assert_same(&played(&sim), &(0..1000).collect::<Vec<_>>(), format);
        assert_eq!((counters.delivered, counters.sessions), (2000, 2), "{format}: {counters:?}");
    }
}

/// Repeated pairs of forged packets, of another session or far from the current numbers.
#[test]
fn forged_pairs_beside_a_living_producer_cost_nothing() {
    for format in ALL {
        for (session, first) in [(99, 0), (99, 5000), (1, 7), (1, 30_000)] {
            let has_session = matches!(format, Numbered::Native);
            if session != 1 && !has_session {
                continue;
            }
            for from in [source(1), source(2)] {
                let mut sim = Sim::new(config(format.format()));
                for n in 0..1000_u64 {
                    let at = MS * 5 * n as u32;
                    sim.packet(at, &format.datagram(1, 10_000 + n, n));
                    if n % 50 == 49 && n < 990 {
                        let session = if session == 1 { 1 } else { session + n as u32 };
                        for k in 0..2 {
                            let forged = format.datagram(session, first + 10 * n + k, 1 << 60 | n << 8 | k);
                            sim.packet_from(at + MS * (1 + k as u32), 0, from, &forged);
                        }
                    }
                }
                sim.run_until(10 * SECOND);
                let counters = sim.check_counters();
                let context = format!("{format:?}, session {session}, number {first}, {from}: {counters:?}");
                assert_same(&delivered(&sim), &(0..1000).collect::<Vec<_>>(), &context.to_string());
                assert_eq!((counters.lost, counters.sessions, counters.rejected), (0, 1, 38), "{context}");
            }
        }
    }
}

/// RFC 3550, section 8.2, for every format with an id: the first address is kept, whatever the
/// numbers of the other one.
#[test]
fn of_two_hosts_with_one_id_the_first_is_kept() {
    for format in ALL {
        for ahead in [0_i64, 1, 3, 40, -1, -5, -40, 3000, -3000] {
            let mut sim = Sim::new(config(format.format()));
            for n in 0..600_u64 {
                let at = MS * 5 * n as u32;
                sim.packet_from(at, 0, source(1), &format.datagram(1, 10_000 + n, n));
                if n >= 5 {
                    let number = (10_000 + n).wrapping_add_signed(ahead);
                    sim.packet_from(
                        at + MS * (1 + n as u32 % 3),
                        0,
                        source(2),
                        &format.datagram(1, number, 1 << 40 | n),
                    );
                }
            }
            sim.run_until(3100 * MS);
            let counters = sim.check_counters();
            let context = format!("{format:?}, {ahead:+}: {counters:?}");
            let first: Vec<u64> =
                delivered(&sim).into_iter().filter(|identity| identity >> 40 == 0).collect();
            assert_same(&first, &(0..600).collect::<Vec<_>>(), &context.to_string());
            assert!(counters.delivered <= 601, "{context}");
            assert_eq!(counters.sessions, 1, "{context}");
            let collision = sim.relay.flows().next().unwrap().collision.expect("it is named");
            assert_eq!((collision.first, collision.other), (source(1), source(2)), "{context}");
            let collisions = sim.relay.reject_reasons()["collision"];
            assert!(collisions >= 590, "{context}, {collisions}");
            let said = sim.events.iter().filter(|(_, event)| matches!(event, Event::Collision { .. }));
            assert_eq!(said.count(), 1, "{context}");
        }
    }
}

/// Both paths of ST 2022-7 in one group, and one producer with two sockets, are not collisions.
#[test]
fn copies_and_turns_of_one_producer_are_no_collision() {
    for format in ALL {
        for (skew, copies) in [(1, true), (8, true), (60, true), (0, false)] {
            let mut sim = Sim::new(config(format.format()));
            let mut arrivals = Vec::new();
            for n in 0..1000_u64 {
                // Each path loses some packets, and both never the same.
                if (copies && n % 20 != 7) || (!copies && n % 2 == 0) {
                    arrivals.push((5 * n, source(1), n));
                }
                if (copies && n % 20 != 13) || (!copies && n % 2 == 1) {
                    arrivals.push((5 * n + skew, source(2), n));
                }
            }
            arrivals.sort_unstable_by_key(|(at, ..)| *at);
            for (at, from, n) in arrivals {
                sim.packet_from(MS * at as u32, 0, from, &format.datagram(1, 65_000 + n, n));
            }
            sim.run_until(10 * SECOND);
            let counters = sim.check_counters();
            let context = format!("{format:?}, skew {skew}, copies {copies}: {counters:?}");
            // A packet that is missing on the first path is waited for up to the hold.
            let lost = if skew > 50 { counters.lost } else { 0 };
            assert!(lost <= 3, "{context}");
            assert_eq!(counters.delivered, 1000 - lost, "{context}");
            assert_eq!((counters.rejected, counters.sessions), (0, 1), "{context}");
        }
    }
}

/// The producer continues, or restarts, from another port or host.
#[test]
fn a_producer_may_move() {
    for format in ALL {
        for to in [port(1, 6000), source(2)] {
            for (session, first) in [(1, 10_300), (1, 5_000), (2, 0), (2, 30_000)] {
                if session == 2 && format != Numbered::Native {
                    continue;
                }
                let mut sim = Sim::new(config(format.format()));
                for n in 0..600_u64 {
                    let at = MS * 5 * n as u32;
                    let (from, session, number) =
                        if n < 300 { (source(1), 1, 10_000 + n) } else { (to, session, first + n - 300) };
                    sim.packet_from(at, 0, from, &format.datagram(session, number, n));
                }
                sim.run_until(10 * SECOND);
                let counters = sim.check_counters();
                let context = format!("{format:?} to {to}, session {session}, number {first}: {counters:?}");
                assert_same(&delivered(&sim), &(0..600).collect::<Vec<_>>(), &context.to_string());
                assert_eq!((counters.lost, counters.rejected), (0, 0), "{context}");
            }
        }
    }
}

/// A number that never changes is not a sequence number.
#[test]
fn a_number_that_never_changes_means_an_unnumbered_stream() {
    for format in ALL {
        for interval in [1, 20, 200, 1500] {
            let mut sim = Sim::new(config(format.format()));
            for n in 0..100_u64 {
                sim.packet(MS * interval * n as u32, &format.datagram(1, 0, n));
            }
            let end = sim.elapsed();
            sim.run_until(end + 3 * SECOND);
            let counters = sim.check_counters();
            let context = format!("{format:?} every {interval} ms: {counters:?}");
            assert_same(&delivered(&sim), &(0..100).collect::<Vec<_>>(), &context.to_string());
            assert_eq!((counters.lost, counters.rejected, counters.duplicate), (0, 0, 0), "{context}");
            let said = sim.events.iter().filter(|(_, event)| *event == Event::Unnumbered);
            assert_eq!(said.count(), 1, "{context}");
            assert!(sim.relay.flows().next().unwrap().unnumbered);
            // The producer starts to count.
            let begun = sim.elapsed();
            for n in 0..100_u64 {
                sim.packet(begun + MS * 20 * n as u32, &format.datagram(1, 500 + n, 1000 + n));
            }
            sim.run_until(begun + 5 * SECOND);
            assert_same(&delivered(&sim)[100..], &(1000..1100).collect::<Vec<_>>(), &context);
            assert!(!sim.relay.flows().next().unwrap().unnumbered);
        }
    }
}

/// Heartbeats, session ends and repair packets from another source have no effect.
#[test]
fn what_does_not_come_from_where_the_media_comes_from_does_nothing() {
    for kind in [Kind::Heartbeat, Kind::End] {
        let mut sim = Sim::new(config("auto"));
        for n in 0..200_u64 {
            let at = MS * 10 * n as u32;
            sim.packet(at, &Numbered::Native.datagram(1, n, n));
            if n == 100 {
                sim.packet_from(at + MS, 0, port(1, 999), &native(kind, 7, 1, n + 30, 0, b""));
                sim.run_until(at + MS);
                assert!(!sim.relay.flows().next().unwrap().ended);
            }
        }
        sim.run_until(5 * SECOND);
        let counters = sim.check_counters();
        assert_eq!(
            (counters.delivered, counters.lost, counters.control_received),
            (200, 0, 1),
            "{counters:?}"
        );
        assert_eq!(sim.relay.reject_reasons().get("other_source"), Some(&1));
    }
    // ST 2022-1 from another host is ignored; from another port of the same host it is normal.
    for (host, rebuilt) in [(1, 1), (2, 0)] {
        let mut sim = Sim::new(Config { fec: Fec::St2022, ..config("rtp") });
        let shape = tidecast_wire::fec::matrix::Shape::new(5, 5, true).expect("a matrix");
        let mut encoder = tidecast_wire::fec::matrix::Encoder::new(shape, 3, 4);
        for n in 0..200_u64 {
            let datagram = Numbered::Rtp.datagram(1, 1000 + n, n);
            let mut repairs = Vec::new();
            encoder.media(&datagram, &mut repairs);
            if n != 112 {
                sim.packet(MS * 2 * n as u32, &datagram);
            }
            for repair in repairs {
                sim.repair_from(MS * 2 * n as u32, 0, port(host, 7002), &repair.bytes);
            }
        }
        sim.run_until(3 * SECOND);
        let counters = sim.check_counters();
        assert_eq!((counters.recovered_fec, counters.lost), (rebuilt, 1 - rebuilt), "{counters:?}");
    }
}

/// A new SSRC after a silence of the followed flow is not held, because that flow's next packet is
/// already overdue.
#[test]
fn a_new_flow_after_silence_starts_at_once() {
    for pause in [300, 500, 3000] {
        let mut sim = Sim::new(config("rtp"));
        for number in 0..200_u32 {
            let (later, first) = if number < 100 { (0, 0) } else { (pause, 100) };
            let at = MS * (number * 20 + later);
            let ssrc = if number < 100 { 1 } else { 2 };
            let (mut bytes, sequence) = (Vec::new(), (number - first) as u16);
            let payload = &u64::from(number).to_be_bytes()[..];
            let timestamp = number * 160;
            tidecast_wire::rtp::Repr { marker: false, payload_type: 0, sequence, timestamp, ssrc, payload }
                .emit(&mut bytes);
            sim.packet_from(at, 0, source(1), &bytes);
        }
        sim.run_until(SECOND * 20);
        let number = |payload: &[u8]| u64::from_be_bytes(*payload.last_chunk().expect("a number"));
        let left = sim.delivered(number);
        assert_eq!(left.len(), 200);
        for (at, number) in &left[100..] {
            let came = MS * (*number as u32 * 20 + pause);
            // One packet may be forged: the second one confirms the first, and after 10 ms the
            // first number is fixed.
            let least = match number {
                100 => 31,
                101 => 11,
                _ => 1,
            };
            assert!(
                *at <= came + MS * least,
                "after {pause} ms of silence: {number} came {came:?}, left {at:?}"
            );
        }
        let succeeded = |event: &Event| matches!(event, Event::Started { succeeds: Some(_), .. });
        assert!(sim.events.iter().any(|(_, event)| succeeded(event)), "after {pause} ms of silence");
    }
}
