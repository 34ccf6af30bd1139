//! Tests of RTP flows that carry a transport stream, with other packets among them.

use std::time::Duration;

use tidecast_core::relay::Counters;
use tidecast_wire::rtp;

use super::harness::{Event, MS, Sim};

const SSRC: u32 = 0x1111;
const FEC: u8 = 97;

/// Returns seven TS packets that contain the number of their datagram.
fn ts(number: usize) -> Vec<u8> {
    let mut payload = Vec::new();
    for place in 0..7 {
        let mut packet = [0xff; 188];
        packet[..4].copy_from_slice(&[0x47, 1, 0, 0x10 | ((number * 7 + place) & 15) as u8]);
        packet[4..12].copy_from_slice(&(number as u64).to_be_bytes());
        payload.extend_from_slice(&packet);
    }
    payload
}

fn packet(payload_type: u8, ssrc: u32, number: u16, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let timestamp = u32::from(number) * 900;
    rtp::Repr { marker: false, payload_type, sequence: number, timestamp, ssrc, payload }.emit(&mut out);
    out
}

/// Packets among the media.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Beside {
    /// FEC with its own sequence numbers, starting at this one.
    Own(u16),
    /// FEC with sequence numbers of the media's sequence.
    OneRow,
    /// Keep-alives of the media's payload type, with this many bytes.
    KeepAlive(usize),
    /// Keep-alives of another payload type (RFC 6263 section 4.6).
    OtherKeepAlive,
}

/// Plays 300 datagrams 4 ms apart, with another packet before each fifth; `lost` selects lost
/// media packets.
fn play(beside: Beside, first: bool, lost: impl Fn(usize) -> bool) -> (Sim, Vec<Duration>) {
    play_at(4 * MS, beside, first, lost)
}

/// Like `play`, with this interval.
fn play_at(
    pace: Duration,
    beside: Beside,
    first: bool,
    lost: impl Fn(usize) -> bool,
) -> (Sim, Vec<Duration>) {
    let mut sim = Sim::fixed("rtp", 50 * MS);
    let (mut number, mut own, mut sent) = (1000, 0, Vec::new());
    for datagram in 0..300 {
        let at = pace * datagram as u32;
        if datagram % 5 == 0 && (first || datagram > 0) {
            let one_row = !matches!(beside, Beside::Own(_));
            let bytes = match beside {
                Beside::Own(from) => packet(FEC, SSRC, from.wrapping_add(own), &[0xde; 1320]),
                Beside::OneRow => packet(FEC, SSRC, number, &[0xde; 1320]),
                Beside::KeepAlive(size) => packet(33, SSRC, number, &vec![0; size]),
                Beside::OtherKeepAlive => packet(20, SSRC, number, &[]),
            };
            sim.packet(at, &bytes);
            (own, number) = (own + 1, number + u16::from(one_row));
        }
        if !lost(datagram) {
            sim.packet(at, &packet(33, SSRC, number, &ts(datagram)));
            sent.push(at);
        }
        number += 1;
    }
    sim.run_until(3000 * MS);
    (sim, sent)
}

/// Checks that every datagram of the stream comes out at once, and nothing else.
fn is_clean(beside: Beside, first: bool, foreign: u64) -> Counters {
    let (sim, sent) = play(beside, first, |_| false);
    let delivered = sim.delivered(<[u8]>::to_vec);
    let expected: Vec<Vec<u8>> = (0..300).map(ts).collect();
    assert!(delivered.iter().map(|(_, payload)| payload).eq(&expected), "{beside:?}: {}", delivered.len());
    let waited = delivered.iter().zip(&sent).map(|((out, _), came)| *out - *came).max();
    assert!(waited <= Some(12 * MS), "{beside:?}: {waited:?}");
    let counters = sim.check_counters();
    assert_eq!(counters.expected, counters.delivered + counters.lost);
    let seen = (counters.delivered, counters.lost, counters.foreign, counters.rejected, counters.sessions);
    assert_eq!(seen, (300, 0, foreign, 0, 1), "{beside:?}");
    assert_eq!((counters.reordered, sim.relay.held()), (0, 0), "{beside:?}");
    counters
}

/// Other packets also take their sequence numbers while the first packets of the stream are
/// collected, and after an early gap.
#[test]
fn foreign_packets_take_their_numbers_from_the_beginning() {
    for pace in [MS / 10, MS, 2 * MS, 4 * MS] {
        for lost in [usize::MAX, 3, 12] {
            for beside in [Beside::OneRow, Beside::OtherKeepAlive, Beside::KeepAlive(0)] {
                let (sim, sent) = play_at(pace, beside, true, |datagram| datagram == lost);
                let context = format!("{beside:?} each {pace:?}, without {lost}");
                assert_eq!(sim.delivered(<[u8]>::to_vec).len(), sent.len(), "{context}");
                let counters = sim.check_counters();
                assert_eq!(counters.lost, u64::from(lost < 300), "{context}: {counters:?}");
            }
        }
    }
}

#[test]
fn fec_with_numbers_of_its_own_does_not_enter_the_numbering() {
    for from in [50_000, 0, 1003, 1150, 980] {
        is_clean(Beside::Own(from), false, 59);
        is_clean(Beside::Own(from), true, 60);
    }
}

#[test]
fn fec_in_the_row_of_the_media_takes_its_numbers() {
    is_clean(Beside::OneRow, false, 59);
    is_clean(Beside::OneRow, true, 60);
}

#[test]
fn keep_alives_take_their_numbers() {
    for beside in [Beside::KeepAlive(0), Beside::KeepAlive(19), Beside::OtherKeepAlive] {
        is_clean(beside, false, 59);
        is_clean(beside, true, 60);
    }
}

#[test]
fn what_is_lost_is_counted_beside_foreign_packets() {
    for (beside, most) in [(Beside::Own(50_000), 10), (Beside::OneRow, 10), (Beside::KeepAlive(0), 10)] {
        let (sim, _) = play(beside, false, |datagram| datagram % 30 == 12);
        let counters = sim.check_counters();
        let seen = (counters.delivered, counters.lost, counters.foreign);
        assert_eq!(seen, (290, most, 59), "{beside:?}");
    }
}

#[test]
fn two_forged_packets_of_another_type_cost_nothing() {
    for place in [100u16, 101, 103, 150] {
        let mut sim = Sim::fixed("rtp", 50 * MS);
        for datagram in 0..300 {
            let at = 4 * MS * datagram as u32;
            sim.packet(at, &packet(33, SSRC, datagram as u16, &ts(datagram)));
            if datagram == 99 || datagram == 120 {
                sim.packet(at, &packet(FEC, SSRC, place, b"forged"));
            }
        }
        sim.run_until(3000 * MS);
        let counters = sim.check_counters();
        assert_eq!((counters.delivered, counters.lost, counters.foreign), (300, 0, 2), "{place}");
    }
}

/// One forged TS packet does not make the others foreign, and no packet of an audio stream is
/// foreign.
#[test]
fn other_payloads_pass_as_they_come() {
    let mut sim = Sim::fixed("rtp", 50 * MS);
    for number in 0..300u16 {
        let at = 20 * MS * u32::from(number);
        match number {
            50 => sim.packet(at, &packet(33, SSRC, number, &ts(0))),
            // comfort noise, DTMF, an empty keep-alive
            60 => sim.packet(at, &packet(13, SSRC, number, &[7])),
            70 => sim.packet(at, &packet(101, SSRC, number, &[1, 2, 3, 4])),
            80 => sim.packet(at, &packet(111, SSRC, number, &[])),
            _ => sim.packet(at, &packet(111, SSRC, number, &[number as u8; 80])),
        }
    }
    sim.run_until(7000 * MS);
    let counters = sim.check_counters();
    assert_eq!((counters.delivered, counters.foreign, counters.lost), (300, 0, 0));
    assert!(!sim.events.iter().any(|(_, event)| matches!(event, Event::Carries { .. })));
}

/// A producer that changes its content permanently is followed, and most of its packets are passed
/// on.
#[test]
fn a_flow_may_change_what_it_carries() {
    let mut sim = Sim::fixed("rtp", 50 * MS);
    for number in 0..600u16 {
        let at = 4 * MS * u32::from(number);
        let bytes = match number {
            0..200 => packet(33, SSRC, number, &ts(number.into())),
            200..500 => packet(96, SSRC, number, &[9; 700]),
            _ => packet(33, SSRC, number, &ts(number.into())),
        };
        sim.packet(at, &bytes);
    }
    sim.run_until(4000 * MS);
    let counters = sim.check_counters();
    assert_eq!((counters.delivered, counters.foreign), (500, 100), "{counters:?}");
    let carries = sim.events.iter().filter_map(|(_, event)| match event {
        Event::Carries { stream, .. } => Some(*stream),
        _ => None,
    });
    assert_eq!(carries.collect::<Vec<_>>(), [true, false, true]);
}
