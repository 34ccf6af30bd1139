//! Tests of answers without sockets; those with a real socket are tested with the producer and
//! with `send`.

use proptest::{collection::vec, prelude::*};

use super::*;
use tidecast_core::limits::RETRANSMIT_BYTES_MIN;
use tidecast_wire::native::NackRepr;

const MS: Duration = Duration::from_millis(1);
const SESSION: u32 = 77;

fn data(stream: u32, sequence: u64, flags: u8, len: usize) -> Vec<u8> {
    let (mut out, payload) = (Vec::new(), vec![sequence as u8; len]);
    let timestamp = 1000 + sequence;
    Repr { kind: Kind::Data, flags, stream, session: SESSION, sequence, timestamp, payload: &payload }
        .emit(&mut out);
    out
}

fn nack(stream: u32, session: u32, ranges: &[(u64, u16)]) -> Vec<u8> {
    let (mut out, mut payload) = (Vec::new(), Vec::new());
    NackRepr { ranges }.emit(&mut payload);
    let (kind, sequence, timestamp) = (Kind::Nack, 0, 0);
    Repr { kind, flags: 0, stream, session, sequence, timestamp, payload: &payload }.emit(&mut out);
    out
}

fn say(answers: &mut Answers, now: Instant, datagram: &[u8]) -> Vec<Vec<u8>> {
    let mut again = Vec::new();
    answers.handle(now, datagram, &mut again);
    again
}

#[test]
fn what_is_asked_for_comes_with_the_flag_and_a_checksum_of_its_own() {
    let (mut answers, now) = (Answers::new(SESSION, Settings::default()), clock::now());
    for stream in [1, 2] {
        (0..5).for_each(|number| answers.keep(now, &data(stream, number, 0, 10)));
    }
    let again = say(&mut answers, now, &nack(2, SESSION, &[(1, 2), (4, 3), (0, 0)]));
    assert_eq!(again, [1, 2, 4].map(|number| data(2, number, RETRANSMISSION, 10)));
    let Requests { numbers, malformed, foreign } = answers.requests();
    assert_eq!((numbers.requested, numbers.resent, numbers.gone), (5, 3, 2));
    assert_eq!((malformed, foreign), (0, 0));
    assert_eq!(say(&mut answers, now, &nack(3, SESSION, &[(0, 5), (u64::MAX, 5)])), [[0u8; 0]; 0]);
}

#[test]
fn only_data_is_kept() {
    let (mut answers, now) = (Answers::new(SESSION, Settings::default()), clock::now());
    for kind in [Kind::Repair, Kind::Heartbeat, Kind::End, Kind::Nack] {
        let mut out = Vec::new();
        let (stream, session, sequence, timestamp) = (1, SESSION, 0, 0);
        Repr { kind, flags: 0, stream, session, sequence, timestamp, payload: &[] }.emit(&mut out);
        answers.keep(now, &out);
    }
    answers.keep(now, b"TC");
    assert_eq!(say(&mut answers, now, &nack(1, SESSION, &[(0, 1)])), [[0u8; 0]; 0]);
}

#[test]
fn what_is_no_request_to_this_session_is_counted_and_dropped() {
    let (mut answers, now) = (Answers::new(SESSION, Settings::default()), clock::now());
    answers.keep(now, &data(1, 0, 0, 10));
    let good = nack(1, SESSION, &[(0, 1)]);
    let mut damaged = good.clone();
    damaged[30] ^= 1;
    for (datagram, malformed, foreign) in [
        (nack(1, SESSION + 1, &[(0, 1)]), 0, 1),
        (data(1, 0, 0, 10), 0, 2),
        (b"hello".to_vec(), 0, 3),
        (damaged, 1, 3),
        (good[..31].to_vec(), 2, 3),
    ] {
        assert_eq!(say(&mut answers, now, &datagram), [[0u8; 0]; 0], "{datagram:02x?}");
        let requests = answers.requests();
        assert_eq!((requests.malformed, requests.foreign), (malformed, foreign), "{datagram:02x?}");
    }
    assert_eq!(answers.requests().numbers.requested, 0);
    assert_eq!(say(&mut answers, now, &good).len(), 1);
}

#[test]
fn a_flood_is_held_to_the_share() {
    let (mut answers, start) = (Answers::new(SESSION, Settings::default()), clock::now());
    let (mut sent, mut again) = (0, 0);
    for number in 0..2000u64 {
        let now = start + number as u32 * 5 * MS;
        let datagram = data(1, number, 0, 1000);
        sent += datagram.len();
        answers.keep(now, &datagram);
        for _ in 0..4 {
            let asks = nack(1, SESSION, &[(number.saturating_sub(30), 31)]);
            again += say(&mut answers, now, &asks).iter().map(Vec::len).sum::<usize>();
        }
    }
    let allowed = RETRANSMIT_BYTES_MIN as usize + sent / 2;
    assert!((allowed - 2 * 1032..=allowed).contains(&again), "{again} bytes again, {allowed} allowed");
    let numbers = answers.requests().numbers;
    assert_eq!(numbers.requested, numbers.resent + numbers.gone + numbers.recent + numbers.refused);
}

#[test]
fn one_request_cannot_ask_for_everything() {
    let (mut answers, now) = (Answers::new(SESSION, Settings::default()), clock::now());
    (0..2000).for_each(|number| answers.keep(now, &data(1, number, 0, 1)));
    let again = say(&mut answers, now, &nack(1, SESSION, &[(0, u16::MAX), (0, u16::MAX)]));
    let numbers = answers.requests().numbers;
    assert_eq!((again.len(), numbers.resent), (REQUEST_NUMBERS_MAX, REQUEST_NUMBERS_MAX as u64));
    assert_eq!(numbers.requested, 2 * u64::from(u16::MAX));
}

proptest! {
    #[test]
    fn whatever_comes_what_goes_out_was_sent(
        datagrams in vec((vec((0..40u64, 0..9u16), 0..9), any::<prop::sample::Index>(), 0..3u8), 1..60),
    ) {
        let (mut answers, mut now) = (Answers::new(SESSION, Settings::default()), clock::now());
        for (number, (ranges, at, flip)) in datagrams.into_iter().enumerate() {
            answers.keep(now, &data(1, number as u64, 0, 50));
            let mut datagram = nack(1, SESSION, &ranges);
            let at = at.index(datagram.len());
            datagram[at] ^= flip;
            let before = answers.requests();
            let again = say(&mut answers, now, &datagram);
            let after = answers.requests();
            for packet in &again {
                let sequence = Packet::parse(packet).unwrap().sequence();
                prop_assert!(sequence <= number as u64);
                prop_assert_eq!(packet, &data(1, sequence, RETRANSMISSION, 50));
            }
            let dropped = after.malformed + after.foreign - before.malformed - before.foreign;
            prop_assert_eq!(dropped, u64::from(flip != 0));
            prop_assert_eq!(after.numbers.resent - before.numbers.resent, again.len() as u64);
            now += MS;
        }
    }
}
