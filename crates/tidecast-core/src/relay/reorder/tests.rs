//! The reorder buffer against a simple model, and its rules one by one.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{buffer::Buffer, relay::PacketFormat};

const MS: Duration = Duration::from_millis(1);
const HOLD: Duration = Duration::from_millis(50);
const WINDOW: u64 = 256;

#[allow(clippy::disallowed_methods)]
fn t0() -> Instant {
    Instant::now()
}

fn packet(number: u64, content: u32, now: Instant) -> Stored {
    let bytes = Buffer::from([number.to_be_bytes().as_slice(), &content.to_be_bytes()].concat());
    let packet = Packet {
        payload: 0..bytes.len() as u32,
        bytes,
        timestamp: None,
        arrived: now,
        format: PacketFormat::Raw,
    };
    Stored::new(packet, How::Received, 1, number as u32 * 8 + content * 4)
}

/// What comes out of the buffer after a packet is inserted; losses as ranges.
#[derive(Debug, PartialEq, Eq, Clone)]
enum Out {
    Got(u64),
    Lost(Range<u64>),
}

fn drain(reorder: &mut Reorder, now: Instant, out: &mut Vec<Out>) {
    loop {
        match reorder.poll(now, HOLD) {
            Poll::Forward(number, _) => out.push(Out::Got(number)),
            Poll::Lost(range, _) => out.push(Out::Lost(range)),
            Poll::Wait => break,
        }
    }
}

fn offer(reorder: &mut Reorder, number: u64, now: Instant, out: &mut Vec<Out>) -> &'static str {
    let kind = match reorder.insert(number, packet(number, 0, now), now, WINDOW) {
        Queued::Forward(_) => {
            out.push(Out::Got(number));
            "forward"
        }
        Queued::Waits => "queued",
        Queued::Replaced(_) => "replaced",
        Queued::Duplicate(_) => "duplicate",
        Queued::Other(_) | Queued::Behind(_) => "behind",
        Queued::Late(_) => "late",
        Queued::Ahead(_) => "ahead",
    };
    drain(reorder, now, out);
    kind
}

proptest! {
    /// For any arrivals in any order: delivered numbers ascend, each number is delivered or lost
    /// exactly once, and nothing waits longer than the hold.
    #[test]
    fn each_number_once_ascending_and_in_time(
        steps in prop::collection::vec((0u64..40, 0u64..12), 1..400)
    ) {
        let start = t0();
        let mut reorder = Reorder::new(0, start);
        let mut now = start;
        let mut out = Vec::new();
        let mut arrived: BTreeMap<u64, Instant> = BTreeMap::new();
        let mut base = 0u64;
        for (ahead, wait) in steps {
            now += wait as u32 * MS;
            drain(&mut reorder, now, &mut out);
            let number = base + ahead;
            base += u64::from(ahead < 8);
            let kind = offer(&mut reorder, number, now, &mut out);
            if kind == "queued" || kind == "forward" {
                arrived.insert(number, now);
            }
            let next = reorder.next();
            for (waiting, at) in arrived.range(next..) {
                // Lower numbers that came later may have restarted its wait.
                let since = arrived.range(..waiting).map(|(_, at)| *at).max().unwrap_or(*at).max(*at);
                prop_assert!(now <= since + HOLD, "{} waited longer than the hold at {:?}", waiting, now - start);
            }
        }
        loop {
            match reorder.flush(now) {
                Poll::Forward(n, _) => out.push(Out::Got(n)),
                Poll::Lost(r, _) => out.push(Out::Lost(r)),
                Poll::Wait => break,
            }
        }
        let mut expected = 0;
        for item in out {
            match item {
                Out::Got(n) => {
                    prop_assert_eq!(n, expected);
                    prop_assert!(arrived.contains_key(&n));
                    expected = n + 1;
                }
                Out::Lost(r) => {
                    prop_assert_eq!(r.start, expected);
                    prop_assert!(r.start < r.end);
                    expected = r.end;
                }
            }
        }
        prop_assert_eq!(reorder.stored(), 0);
        reorder.shrink();
        prop_assert_eq!(reorder.bytes(), 0);
    }
}

#[test]
fn a_gap_is_skipped_when_the_oldest_packet_behind_it_has_waited() {
    let now = t0();
    let mut reorder = Reorder::new(10, now);
    let mut out = Vec::new();
    offer(&mut reorder, 10, now, &mut out);
    offer(&mut reorder, 12, now + MS, &mut out);
    offer(&mut reorder, 13, now + 40 * MS, &mut out);
    assert_eq!(reorder.deadline(HOLD), Some(now + MS + HOLD));
    drain(&mut reorder, now + HOLD, &mut out);
    assert_eq!(out, [Out::Got(10)]);
    drain(&mut reorder, now + MS + HOLD, &mut out);
    assert_eq!(out, [Out::Got(10), Out::Lost(11..12), Out::Got(12), Out::Got(13)]);
    assert_eq!(offer(&mut reorder, 11, now + 60 * MS, &mut out), "late");
    assert_eq!(offer(&mut reorder, 12, now + 60 * MS, &mut out), "duplicate");
    assert_eq!(offer(&mut reorder, 14 + WINDOW, now + 60 * MS, &mut out), "ahead");
}

#[test]
fn a_lone_packet_does_not_move_the_head_while_lower_numbers_arrive() {
    let start = t0();
    let mut reorder = Reorder::new(0, start);
    let mut out = Vec::new();
    for n in 0..200u64 {
        let now = start + n as u32 * 2 * MS;
        drain(&mut reorder, now, &mut out);
        if n == 10 {
            assert!(matches!(reorder.insert(150, packet(150, 1, now), now, WINDOW), Queued::Waits));
        }
        let kind = offer(&mut reorder, n, now, &mut out);
        assert_eq!(kind, if n == 150 { "replaced" } else { "forward" }, "number {n}");
    }
    let want: Vec<Out> = (0..200).map(Out::Got).collect();
    assert_eq!(out, want);
}

#[test]
fn a_lone_packet_is_believed_when_the_numbers_below_fall_silent() {
    let now = t0();
    let mut reorder = Reorder::new(0, now);
    let mut out = Vec::new();
    offer(&mut reorder, 0, now, &mut out);
    offer(&mut reorder, 5, now + MS, &mut out);
    offer(&mut reorder, 1, now + 20 * MS, &mut out);
    drain(&mut reorder, now + MS + HOLD, &mut out);
    assert_eq!(out, [Out::Got(0), Out::Got(1)]);
    drain(&mut reorder, now + 20 * MS + HOLD, &mut out);
    assert_eq!(out[2..], [Out::Lost(2..5), Out::Got(5)]);
}

#[test]
fn hopeless_numbers_are_not_waited_for() {
    let now = t0();
    let mut reorder = Reorder::new(0, now);
    let mut out = Vec::new();
    offer(&mut reorder, 2, now, &mut out);
    reorder.give_up(0, WINDOW);
    drain(&mut reorder, now, &mut out);
    assert_eq!(out, [Out::Lost(0..1)]);
    reorder.give_up(1, WINDOW);
    drain(&mut reorder, now, &mut out);
    assert_eq!(out[1..], [Out::Lost(1..2), Out::Got(2)]);
}

#[test]
fn a_number_beyond_the_window_cannot_be_given_up() {
    let now = t0();
    let mut reorder = Reorder::new(0, now);
    reorder.give_up(WINDOW, WINDOW);
    assert!(reorder.is_quiet(), "nothing is in doubt");
    reorder.give_up(WINDOW - 1, WINDOW);
    assert!(!reorder.is_quiet());
}

#[test]
fn the_memory_of_many_packets_is_freed_when_they_are_out() {
    let now = t0();
    let mut reorder = Reorder::new(0, now);
    let mut out = Vec::new();
    for number in 1..WINDOW {
        offer(&mut reorder, number, now, &mut out);
    }
    drain(&mut reorder, now + HOLD, &mut out);
    assert_eq!((reorder.stored(), reorder.bytes() > 0), (0, true), "the ring stays for the next ones");
    reorder.shrink();
    assert_eq!(reorder.bytes(), 0);
}

#[test]
fn the_history_covers_packets_of_many_numbers() {
    let mut reorder = Reorder::new(0, t0());
    reorder.set_step(160);
    let numbers = 160 * 2 * WINDOW;
    reorder.remember(numbers);
    assert!(reorder.covers(numbers));
}

#[test]
fn a_heartbeat_shows_a_lost_tail() {
    let now = t0();
    let mut reorder = Reorder::new(0, now);
    let mut out = Vec::new();
    offer(&mut reorder, 0, now, &mut out);
    reorder.announce(3, now + MS, HOLD);
    offer(&mut reorder, 1, now + 10 * MS, &mut out);
    drain(&mut reorder, now + MS + HOLD, &mut out);
    assert_eq!(out, [Out::Got(0), Out::Got(1)]);
    drain(&mut reorder, now + 10 * MS + HOLD, &mut out);
    assert_eq!(out[2..], [Out::Lost(2..3)]);
    assert_eq!(reorder.deadline(HOLD), None);
}

#[test]
fn packets_with_several_numbers_move_the_head_by_as_many() {
    let now = t0();
    let mut reorder = Reorder::new(0, now);
    let several = |number, span| Stored { span, ..packet(number, 0, now) };
    assert!(matches!(reorder.insert(0, several(0, 5), now, WINDOW), Queued::Forward(_)));
    assert!(matches!(reorder.insert(7, several(7, 2), now, WINDOW), Queued::Waits));
    assert!(matches!(reorder.insert(5, several(5, 2), now, WINDOW), Queued::Forward(_)));
    assert!(matches!(reorder.poll(now, HOLD), Poll::Forward(7, _)));
    assert_eq!(reorder.next(), 9);
    assert!(matches!(reorder.insert(7, several(7, 2), now, WINDOW), Queued::Duplicate(_)));
    assert!(matches!(reorder.insert(8, several(8, 3), now, WINDOW), Queued::Forward(s) if s.span == 2));
    assert_eq!((reorder.next(), reorder.stored()), (11, 0));
}
