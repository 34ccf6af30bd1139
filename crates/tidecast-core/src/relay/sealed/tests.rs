use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    clock,
    encode::Encoder,
    relay::{Asks, Config, Delivery, Hold, How, Input, Output, Relay},
};
use tidecast_wire::{
    Format,
    fec::native::Fec,
    native::{self, HEADER, Kind, NackRepr, Packet, RETRANSMISSION, Repr, TRAILER},
    seal::{Key, Keyring, Sealer},
};

const MS: Duration = Duration::from_millis(1);
const STREAM: u32 = 7;
/// Time of the first packet, in microseconds.
const TIME: u64 = 1_700_000_000_000_000;

fn key(id: u8) -> Key {
    format!("{id}:{}", format!("{id:02x}").repeat(32)).parse().expect("a key")
}

/// A relay that has keys 1 and 2, and what it has passed on.
struct Bench {
    relay: Relay,
    start: Instant,
    out: Vec<Output>,
}

impl Bench {
    fn new(legs: usize, asks: bool) -> Bench {
        let seal = Some(Arc::new(Keyring::new(vec![key(1), key(2)]).unwrap()));
        let hold = Hold::Fixed(50 * MS);
        let asks = Asks { requests: asks, ..Asks::default() };
        let config = Config { format: Format::Native, seal, hold, ..Config::default() };
        let relay = Relay::new(config.for_legs(vec![asks; legs], 1));
        Bench { relay, start: clock::now(), out: Vec::new() }
    }

    fn input(&mut self, input: Input) {
        self.relay.handle_input(input);
        while let Some(output) = Some(self.relay.poll_output()).filter(|o| !matches!(o, Output::Timeout(_))) {
            self.out.push(output);
        }
        let (counters, held) = (self.relay.totals(), self.relay.held() as u64);
        let accounted = counters.delivered + counters.discarded() + held;
        assert_eq!(counters.media_received + counters.recovered(), accounted);
    }

    fn on_leg(&mut self, leg: u8, after: Duration, datagram: &[u8]) {
        let (now, source) = (self.start + after, "10.0.0.1:4000".parse().unwrap());
        self.input(Input::Packet { now, leg, source, bytes: datagram.into() });
    }

    fn get(&mut self, after: Duration, datagram: &[u8]) {
        self.on_leg(0, after, datagram);
    }

    fn wait(&mut self, until: Duration) {
        self.input(Input::Timeout { now: self.start + until });
    }

    /// Numbers and payloads that were passed on since the last call, and how they came.
    fn delivered(&mut self) -> Vec<(u64, String, How)> {
        let delivered = self.out.drain(..).filter_map(|output| match output {
            Output::Deliver(Delivery { seq, how, packet, .. }) => {
                assert!(Packet::parse(packet.datagram()).unwrap().key_id().is_some(), "still sealed");
                Some((seq, String::from_utf8(packet.payload().to_vec()).unwrap(), how))
            }
            _ => None,
        });
        delivered.collect()
    }

    fn numbers(&mut self) -> Vec<u64> {
        self.delivered().iter().map(|(number, ..)| *number).collect()
    }

    fn rejects(&self, reason: &str) -> u64 {
        self.relay.reject_reasons().get(reason).copied().unwrap_or_default()
    }
}

/// One run of a producer, which sends a packet each millisecond.
struct Run {
    encoder: Encoder,
    sent: Vec<Vec<u8>>,
    start: Instant,
    /// Time of its first packet.
    time: u64,
}

impl Run {
    fn of(key: &Key, session: u32, time: u64, encrypt: bool, fec: Option<Fec>) -> Run {
        let sealer = Arc::new(Sealer::new(key, STREAM, session, encrypt).unwrap());
        let encoder = Encoder::new(STREAM, session, fec).sealed(sealer);
        Run { encoder, sent: Vec::new(), start: clock::now(), time }
    }

    fn new(session: u32, time: u64) -> Run {
        Run::of(&key(1), session, time, true, None)
    }

    /// Makes the next packets, with their repair packets.
    fn send(&mut self, count: u64) -> &[Vec<u8>] {
        let begun = self.sent.len();
        for _ in 0..count {
            let number = self.encoder.next_number();
            let at = self.start + MS * number as u32;
            let time = if self.time == 0 { 0 } else { self.time + 1000 * number };
            let out = |datagram: &[u8]| self.sent.push(datagram.to_vec());
            self.encoder.push(at, time, format!("reading {number}").as_bytes(), out).unwrap();
        }
        &self.sent[begun..]
    }
}

/// Passes datagrams on, one a millisecond.
fn play(bench: &mut Bench, from: Duration, datagrams: &[Vec<u8>]) {
    for (place, datagram) in (0..).zip(datagrams) {
        bench.get(from + MS * place, datagram);
    }
}

/// The datagram with a checksum that fits it.
fn checked(mut datagram: Vec<u8>) -> Vec<u8> {
    let body = datagram.len() - TRAILER;
    let crc = crc32fast::hash(&datagram[..body]);
    datagram[body..].copy_from_slice(&crc.to_be_bytes());
    datagram
}

#[test]
fn encrypted_payloads_come_out_in_clear_and_datagrams_as_they_were() {
    for (encrypt, size) in [(false, 10), (true, 10), (true, 1400), (true, 40_000)] {
        let mut bench = Bench::new(1, false);
        let mut run = Run::of(&key(2), 5, TIME, encrypt, None);
        let payload = "x".repeat(size);
        for at in 0..10_u32 {
            let mut datagram = Vec::new();
            let now = run.start + MS * at;
            run.encoder
                .push(now, TIME + u64::from(at), payload.as_bytes(), |d| datagram = d.to_vec())
                .unwrap();
            bench.get(MS * at, &datagram);
            if at > 1 {
                let Some(Output::Deliver(delivery)) = bench.out.last() else { panic!("{:?}", bench.out) };
                assert_eq!(delivery.packet.datagram(), datagram);
                assert_eq!(delivery.packet.payload(), payload.as_bytes());
            }
        }
        assert_eq!(bench.numbers(), (0..10).collect::<Vec<_>>());
    }
}

#[test]
fn what_is_not_sealed_right_is_counted_and_begins_nothing() {
    let mut bench = Bench::new(1, false);
    let datagram = Run::new(5, TIME).send(1)[0].clone();
    let mut unsealed = Vec::new();
    let (kind, flags, sequence, timestamp) = (Kind::Data, 0, 0, TIME);
    Repr { kind, flags, stream: STREAM, session: 5, sequence, timestamp, payload: b"x" }.emit(&mut unsealed);
    let unknown = Run::of(&key(3), 5, TIME, true, None).send(1)[0].clone();
    // Somebody who knows the id of the key alone.
    let other: Key = format!("1:{}", "ff".repeat(32)).parse().unwrap();
    let wrong = Run::of(&other, 5, TIME, true, None).send(1)[0].clone();
    let mut flipped = datagram.clone();
    flipped[HEADER] ^= 1;
    let cut = checked(datagram[..datagram.len() - 5].to_vec());
    for (at, datagram) in [unsealed, unknown, wrong, checked(flipped), cut].iter().enumerate() {
        bench.get(MS * at as u32, datagram);
    }
    bench.get(MS * 9, &datagram[..20]);
    bench.get(MS * 9, b"");
    bench.wait(Duration::from_secs(3));
    assert!(bench.out.is_empty(), "{:?}", bench.out);
    assert_eq!((bench.relay.flow_count(), bench.relay.bytes_held()), (0, 0));
    let counts =
        ["unsealed", "unknown_key", "forged", "truncated", "empty"].map(|reason| bench.rejects(reason));
    assert_eq!(counts, [1, 1, 3, 1, 1]);
    let totals = bench.relay.totals();
    assert_eq!((totals.media_received, totals.rejected, totals.corrupt), (7, 5, 2));
    assert!(bench.relay.refused().contains_key("forged"));
}

#[test]
fn a_number_comes_in_once_whenever_it_is_sent_again() {
    let mut bench = Bench::new(1, false);
    let sent = Run::new(5, TIME).send(300).to_vec();
    play(&mut bench, MS, &sent);
    assert_eq!(bench.numbers().len(), 300);
    bench.get(301 * MS, &sent[299]);
    assert_eq!((bench.relay.totals().duplicate, bench.rejects("replayed")), (1, 0), "the network's copy");
    let flow = |bench: &Bench| format!("{:?}", bench.relay.flows().collect::<Vec<_>>());
    let before = flow(&bench);
    // Long afterwards, while the producer is silent: what looks like a restart is none.
    play(&mut bench, Duration::from_secs(20), &sent);
    assert_eq!(bench.rejects("replayed"), 300);
    assert_eq!(flow(&bench), before, "not even its time");
    bench.wait(Duration::from_secs(40));
    assert!(bench.numbers().is_empty());
}

#[test]
fn packets_held_back_by_somebody_are_late_and_start_nothing() {
    let mut bench = Bench::new(1, false);
    let sent = Run::new(5, TIME).send(300).to_vec();
    let (kept, passed): (Vec<_>, Vec<_>) =
        sent.into_iter().enumerate().partition(|(i, _)| (100..120).contains(i));
    play(&mut bench, MS, &passed.into_iter().map(|(_, datagram)| datagram).collect::<Vec<_>>());
    bench.wait(Duration::from_secs(1));
    assert_eq!(bench.numbers().len(), 280);
    play(&mut bench, Duration::from_secs(20), &kept.into_iter().map(|(_, d)| d).collect::<Vec<_>>());
    bench.wait(Duration::from_secs(40));
    assert!(bench.numbers().is_empty());
    let totals = bench.relay.totals();
    assert_eq!((totals.late + totals.duplicate, totals.lost, totals.sessions), (20, 20, 1));
}

#[test]
fn an_older_session_never_comes_back() {
    // With a clock, whatever the ids are, and without one, by the ids.
    for (old, new) in [((9, TIME), (3, TIME + 1_000_000)), ((3, 0), (4, 0))] {
        let mut bench = Bench::new(1, false);
        let mut before = Run::new(old.0, old.1);
        let mut after = Run::new(new.0, new.1);
        let first = before.send(200).to_vec();
        play(&mut bench, MS, &first[..150]);
        play(&mut bench, 1000 * MS, after.send(100));
        bench.wait(2000 * MS);
        assert_eq!(bench.numbers().len(), 250);
        // What was never let in, too.
        play(&mut bench, Duration::from_secs(10), &first);
        bench.wait(Duration::from_secs(30));
        assert!(bench.numbers().is_empty());
        assert_eq!(bench.relay.totals().sessions, 2);
        play(&mut bench, Duration::from_secs(40), after.send(10));
        assert_eq!(bench.numbers(), (100..110).collect::<Vec<_>>(), "the newest one goes on");
        // A third session, and then the first once more: it is forgotten, and still older.
        let time = if new.1 == 0 { 0 } else { TIME + 60_000_000 };
        play(&mut bench, Duration::from_secs(60), Run::new(11, time).send(10));
        bench.wait(Duration::from_secs(62));
        assert_eq!(bench.numbers().len(), 10);
        let replayed = bench.rejects("replayed");
        play(&mut bench, Duration::from_secs(70), &first);
        assert_eq!(bench.rejects("replayed"), replayed + 200);
        // Even after the flow was forgotten.
        bench.wait(Duration::from_secs(600));
        assert_eq!(bench.relay.flow_count(), 0);
        play(&mut bench, Duration::from_secs(601), &first);
        bench.wait(Duration::from_secs(603));
        assert_eq!((bench.numbers(), bench.relay.flow_count()), (vec![], 0));
    }
}

#[test]
fn a_clock_that_is_set_back_lets_no_earlier_session_in() {
    let mut bench = Bench::new(1, false);
    let second = 1_000_000;
    let old = Run::new(1, TIME + 10 * second).send(100).to_vec();
    play(&mut bench, MS, &old);
    play(&mut bench, 1000 * MS, Run::new(2, TIME + 20 * second).send(100));
    let mut newest = Run::new(3, TIME + 30 * second);
    play(&mut bench, 2000 * MS, newest.send(100));
    newest.time = TIME;
    play(&mut bench, 3000 * MS, newest.send(100));
    bench.wait(4000 * MS);
    assert_eq!(bench.numbers().len(), 400, "the session itself goes on");
    play(&mut bench, Duration::from_secs(30), &old);
    bench.wait(Duration::from_secs(60));
    assert!(bench.numbers().is_empty());
    assert_eq!(bench.rejects("replayed"), 100);
    play(&mut bench, Duration::from_secs(70), Run::new(4, TIME + 31 * second).send(10));
    bench.wait(Duration::from_secs(80));
    assert_eq!(bench.numbers().len(), 10);
}

#[test]
fn a_producer_with_a_clock_begins_no_session_without_it() {
    let mut bench = Bench::new(1, false);
    // Recorded while the clock was not set yet.
    let unset = Run::new(9, 0).send(100).to_vec();
    play(&mut bench, MS, Run::new(3, TIME).send(100));
    play(&mut bench, 1000 * MS, &unset);
    bench.wait(Duration::from_secs(10));
    assert_eq!((bench.numbers().len(), bench.rejects("replayed")), (100, 100));
}

#[test]
fn a_heartbeat_of_a_slower_leg_is_a_copy_although_data_has_come_since() {
    let mut bench = Bench::new(2, false);
    let mut run = Run::new(5, TIME);
    let first = run.send(3).to_vec();
    let mut beat = Vec::new();
    let now = run.start + Duration::from_secs(2);
    run.encoder.poll(now, |datagram| beat = datagram.to_vec());
    let mut next = Vec::new();
    run.encoder.push(now + MS, TIME + 2_100_000, b"next", |datagram| next = datagram.to_vec()).unwrap();
    for leg in [0, 1] {
        first.iter().for_each(|datagram| bench.on_leg(leg, MS, datagram));
    }
    for (leg, after, datagram) in [(0, 2000, &beat), (0, 2010, &next), (1, 2050, &beat), (1, 2060, &next)] {
        bench.on_leg(leg, MS * after, datagram);
    }
    bench.wait(Duration::from_secs(5));
    assert_eq!(bench.numbers(), [0, 1, 2, 3]);
    assert_eq!(bench.relay.totals().rejected, 0);
}

#[test]
fn a_heartbeat_shows_life_once() {
    let mut bench = Bench::new(1, false);
    let mut run = Run::new(5, TIME);
    let data = run.send(10).to_vec();
    play(&mut bench, MS, &data);
    let mut beats = Vec::new();
    for second in 1..4 {
        run.encoder.poll(run.start + Duration::from_secs(second * 2), |beat| beats.push(beat.to_vec()));
    }
    assert_eq!(beats.len(), 3);
    let heard = |bench: &Bench| bench.relay.flows().next().unwrap().last_arrival - bench.start;
    let seconds = |seconds: u64| Duration::from_secs(seconds);
    bench.get(seconds(2), &beats[0]);
    bench.get(seconds(4), &beats[1]);
    assert_eq!(heard(&bench), seconds(4));
    bench.get(seconds(5), &beats[1]);
    bench.get(seconds(5), &beats[0]);
    assert_eq!((heard(&bench), bench.rejects("replayed")), (seconds(4), 1), "sent again, to feign life");
    bench.get(seconds(6), &beats[2]);
    assert_eq!(heard(&bench), seconds(6));
    let mut ends = Vec::new();
    run.encoder.finish(|end| ends.push(end.to_vec()));
    ends.iter().for_each(|end| bench.get(seconds(7), end));
    assert!(bench.relay.flows().next().unwrap().ended);
    assert_eq!(bench.rejects("replayed"), 1, "three ends are no attack");
}

#[test]
fn a_key_is_exchanged_within_a_session_and_between_two() {
    let mut bench = Bench::new(1, false);
    let mut old = Run::of(&key(1), 5, TIME, true, None);
    let mut new = Run::of(&key(2), 5, TIME, true, None);
    let first = old.send(50).to_vec();
    let second = new.send(100)[50..].to_vec();
    play(&mut bench, MS, &[first, second].concat());
    play(&mut bench, 1000 * MS, Run::of(&key(2), 6, TIME + 2_000_000, false, None).send(50));
    bench.wait(2000 * MS);
    assert_eq!(bench.numbers(), (0..100).chain(0..50).collect::<Vec<_>>());
    assert_eq!(bench.relay.totals().rejected, 0);
}

#[test]
fn keys_are_exchanged_while_a_session_goes_on() {
    let mut bench = Bench::new(1, false);
    let ring = |ids: &[u8]| Arc::new(Keyring::new(ids.iter().map(|id| key(*id)).collect()).unwrap());
    let mut old = Run::of(&key(1), 5, TIME, true, None);
    let mut new = Run::of(&key(3), 5, TIME, true, None);
    let (first, second) = (old.send(100).to_vec(), new.send(100).to_vec());
    play(&mut bench, MS, &first[..50]);
    play(&mut bench, 51 * MS, &second[50..60]);
    assert_eq!(bench.rejects("unknown_key"), 10);
    bench.relay.rekey(ring(&[1, 3]));
    play(&mut bench, 61 * MS, &second[50..60]);
    play(&mut bench, 71 * MS, &first[60..70]);
    bench.relay.rekey(ring(&[3]));
    play(&mut bench, 81 * MS, &first[70..80]);
    assert_eq!(bench.rejects("unknown_key"), 20, "the old key is gone");
    play(&mut bench, 91 * MS, &second[70..80]);
    // The same id, but another key.
    let other: Key = format!("3:{}", "ee".repeat(32)).parse().unwrap();
    bench.relay.rekey(Arc::new(Keyring::new(vec![other]).unwrap()));
    play(&mut bench, 101 * MS, &second[80..90]);
    assert_eq!(bench.rejects("forged"), 10);
    bench.relay.rekey(ring(&[3]));
    play(&mut bench, Duration::from_secs(20), &second[50..90]);
    assert_eq!(bench.rejects("replayed"), 30, "what came in with either key");
    bench.wait(Duration::from_secs(40));
    assert_eq!(bench.numbers(), (0..90).collect::<Vec<_>>());
    assert_eq!(bench.relay.totals().sessions, 1);
}

#[test]
fn losses_are_rebuilt_with_their_tags() {
    for encrypt in [false, true] {
        let mut bench = Bench::new(1, false);
        let fec = Fec::new(10, 2, 1).unwrap();
        let mut run = Run::of(&key(1), 5, TIME, encrypt, Some(fec));
        let sent = run.send(200).to_vec();
        let lost = |packet: &Packet<'_>| packet.kind() == Kind::Data && packet.sequence() % 10 == 4;
        let kept: Vec<_> = sent.into_iter().filter(|d| !lost(&Packet::parse(d).unwrap())).collect();
        play(&mut bench, MS, &kept);
        bench.wait(Duration::from_secs(2));
        let delivered = bench.delivered();
        assert_eq!(delivered.len(), 200);
        for (number, payload, how) in delivered {
            let expected = if number % 10 == 4 { How::Fec } else { How::Received };
            assert_eq!((payload, how), (format!("reading {number}"), expected));
        }
    }
}

#[test]
fn a_forged_repair_packet_is_refused_and_one_with_a_wrong_content_rebuilds_nothing() {
    let mut bench = Bench::new(1, false);
    let fec = Fec::new(4, 1, 1).unwrap();
    let mut run = Run::of(&key(1), 5, TIME, true, Some(fec));
    let sealer = Sealer::new(&key(1), STREAM, 5, true).unwrap();
    for block in 0..20_u64 {
        for (place, datagram) in (0..).zip(run.send(4).to_vec()) {
            let at = MS * (block * 5 + place) as u32;
            let packet = Packet::parse(&datagram).unwrap();
            if packet.kind() == Kind::Data && packet.sequence() % 4 == 1 {
                continue;
            }
            if packet.kind() == Kind::Repair {
                let payload = packet.payload_range();
                let mut wrong = datagram.clone();
                wrong[payload.end - 1] ^= 1; // in the tag that is rebuilt
                bench.get(at, &checked(wrong.clone()));
                let mut ours = Vec::new();
                sealer.seal(&Repr { flags: 0, payload: &wrong[payload], ..packet.repr() }, &mut ours);
                bench.get(at, &ours);
                continue;
            }
            bench.get(at, &datagram);
        }
    }
    bench.wait(Duration::from_secs(2));
    assert!(bench.delivered().iter().all(|(number, _, how)| number % 4 != 1 && *how == How::Received));
    assert!(bench.rejects("unusable_repair") > 10, "{:?}", bench.relay.reject_reasons());
    assert_eq!(bench.rejects("forged"), 20);
}

#[test]
fn requests_are_sealed_and_their_answers_taken() {
    let mut bench = Bench::new(1, true);
    let mut run = Run::new(5, TIME);
    let sent = run.send(60).to_vec();
    let kept: Vec<_> = sent.iter().enumerate().filter(|(i, _)| *i != 30).map(|(_, d)| d.clone()).collect();
    play(&mut bench, MS, &kept);
    bench.wait(75 * MS);
    let requests = bench.out.iter().filter_map(|output| match output {
        Output::Transmit { bytes, .. } => Some(bytes.clone()),
        _ => None,
    });
    let requests: Vec<_> = requests.collect();
    assert!(!requests.is_empty());
    let sealer = Sealer::new(&key(1), STREAM, 5, false).unwrap();
    let packet = Packet::parse(&requests[0]).unwrap();
    assert!(sealer.knows(&packet, &requests[0]));
    let mut forged = Vec::new();
    let mut payload = Vec::new();
    NackRepr { ranges: &[(30, 1)] }.emit(&mut payload);
    Repr { payload: &payload, flags: 0, ..packet.repr() }.emit(&mut forged);
    assert!(!sealer.knows(&Packet::parse(&forged).unwrap(), &forged));
    let mut again = sent[30].clone();
    again[native::FLAGS] |= RETRANSMISSION;
    let again = checked(again);
    bench.get(76 * MS, &again);
    bench.get(76 * MS, &again);
    bench.wait(500 * MS);
    let delivered = bench.delivered();
    assert_eq!(delivered.len(), 60);
    assert_eq!(delivered[30].2, How::Retransmission);
    assert_eq!(bench.relay.totals().rejected, 0);
}

#[test]
fn copies_of_two_legs_complete_each_other() {
    let mut bench = Bench::new(2, false);
    let sent = Run::new(5, TIME).send(100).to_vec();
    for (place, datagram) in (0..).zip(&sent) {
        for leg in [0, 1].into_iter().filter(|leg| place % 7 != 3 + u32::from(*leg)) {
            bench.on_leg(leg, MS * place, datagram);
        }
    }
    bench.wait(Duration::from_secs(2));
    assert_eq!(bench.numbers(), (0..100).collect::<Vec<_>>());
    assert_eq!(bench.relay.totals().rejected, 0);
    for leg in [0, 1] {
        (0..)
            .zip(&sent)
            .for_each(|(place, datagram)| bench.on_leg(leg, Duration::from_secs(20) + MS * place, datagram));
    }
    bench.wait(Duration::from_secs(40));
    assert_eq!((bench.numbers(), bench.relay.totals().sessions), (vec![], 1));
}

#[test]
fn as_many_streams_are_remembered_as_there_may_be_flows() {
    let seal = Some(Arc::new(Keyring::new(vec![key(1)]).unwrap()));
    let config = Config { format: Format::Native, seal, flows_max: 4, ..Config::default() };
    let mut relay = Relay::new(config);
    let (start, source) = (clock::now(), "10.0.0.1:4000".parse().unwrap());
    for stream in 0..20 {
        let sealer = Sealer::new(&key(1), stream, 5, false).unwrap();
        let mut bytes = Vec::new();
        let (kind, flags, session, sequence) = (Kind::Data, 0, 5, 0);
        let repr = Repr { kind, flags, stream, session, sequence, timestamp: TIME, payload: b"x" };
        sealer.seal(&repr, &mut bytes);
        let now = start + MS * stream;
        relay.handle_input(Input::Packet { now, leg: 0, source, bytes: bytes.into() });
    }
    assert_eq!(relay.sealed.as_ref().unwrap().streams.len(), 4);
}
