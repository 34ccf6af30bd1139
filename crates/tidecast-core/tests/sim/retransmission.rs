//! Tests of retransmission: relays and a producer that answers, over links that lose in both
//! directions.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use tidecast_core::{
    limits::REQUESTS_MAX,
    relay::{Asks, Config, Counters, Hold, Input, Output, Relay, Socket},
};
use tidecast_link::{Impairments, Link};
use tidecast_wire::{
    native::{self, Kind, Nack},
    rtcp::{Compound, Packet, Repr},
    seq::Space,
};

use crate::{
    formats::{Numbered, native as datagram},
    harness::{Dice, MS, Repeat, config, seed, source},
};

const SESSION: u32 = 0x1234_5678;
const NATIVE: Asks = Asks { rist: false, requests: true, shared: false };
const RIST: Asks = Asks { rist: true, requests: true, shared: false };

/// A relay at the end of its own link from the producer, and the reverse link.
struct Receiver {
    relay: Relay,
    forth: Link<(bool, Vec<u8>)>,
    back: Link<(Socket, Vec<u8>)>,
    due: Option<Instant>,
    /// Delivered numbers, in their order, and those given up.
    delivered: Vec<u64>,
    lost: u64,
    /// The requested numbers, with the time of each request.
    asked: Vec<(Duration, Vec<u64>)>,
    datagrams: Vec<Vec<u8>>,
}

/// One producer and its receivers.
struct World {
    asks: Asks,
    start: Instant,
    now: Instant,
    first: u64,
    sent: BTreeMap<u64, Vec<u8>>,
    receivers: Vec<Receiver>,
    /// Number of retransmitted numbers.
    answered: u64,
    /// Whether the producer answers.
    answers: bool,
    /// Time from which a RIST sender sends RTCP.
    silent_until: Duration,
}

fn media(asks: Asks, number: u64) -> Vec<u8> {
    let format = if asks.rist { Numbered::Rtp } else { Numbered::Native };
    format.datagram(SESSION, number, number)
}

/// Returns the sessions (or SSRCs) and numbers that a datagram requests, near to `near`.
pub fn wanted(socket: Socket, bytes: &[u8], near: u64) -> Vec<(u32, u64)> {
    match socket {
        Socket::Media => {
            let packet = native::Packet::parse(bytes).expect("a native datagram");
            assert_eq!(packet.kind(), Kind::Nack);
            let ranges = Nack::parse(packet.payload()).expect("a NACK");
            let numbers = ranges.iter().flat_map(|(first, count)| first..first + u64::from(count));
            numbers.map(|number| (packet.session(), number)).collect()
        }
        Socket::Control => {
            let compound = Compound::parse(bytes).expect("RTCP");
            let nacks = compound.packets().filter_map(|packet| match packet.expect("valid RTCP") {
                Packet::Nack(nack) => Some(nack),
                _ => None,
            });
            let numbers = nacks.flat_map(|nack| {
                let numbers = nack.ranges().flat_map(|range| range.iter().collect::<Vec<_>>());
                numbers.map(|number| (nack.media(), number)).collect::<Vec<_>>()
            });
            numbers.map(|(media, number)| (media, Space::RTP.extend(near, number.into()))).collect()
        }
    }
}

/// Returns the requested numbers of the current session.
fn wanted_now(socket: Socket, bytes: &[u8], near: u64) -> Vec<u64> {
    let all = wanted(socket, bytes, near);
    assert!(all.iter().all(|(session, _)| *session == SESSION), "{all:?}");
    all.into_iter().map(|(_, number)| number).collect()
}

impl World {
    fn new(asks: Asks, hold: Hold, links: &[(Impairments, Impairments)], seed: u64) -> World {
        let start = tidecast_net::clock::now() + Duration::from_secs(1000);
        let receiver = |(index, (forth, back)): (usize, &(Impairments, Impairments))| {
            let seed = seed + 1000 * index as u64;
            Receiver {
                relay: Relay::new(Config { hold, asks: vec![asks], seed, ..config("auto") }),
                forth: Link::new(*forth, seed),
                back: Link::new(*back, seed + 1),
                due: None,
                delivered: Vec::new(),
                lost: 0,
                asked: Vec::new(),
                datagrams: Vec::new(),
            }
        };
        World {
            asks,
            start,
            now: start,
            first: if asks.rist { 65_000 } else { 0 },
            sent: BTreeMap::new(),
            receivers: links.iter().enumerate().map(receiver).collect(),
            answered: 0,
            answers: true,
            silent_until: Duration::ZERO,
        }
    }

    /// Sends to all receivers through their links, on the port of the media or of RTCP.
    fn send(&mut self, control: bool, bytes: &[u8]) {
        for receiver in &mut self.receivers {
            receiver.forth.push(self.now, (control, bytes.to_vec()));
        }
    }

    fn produce(&mut self, number: u64) {
        let bytes = media(self.asks, number);
        self.sent.insert(number, bytes.clone());
        self.send(false, &bytes);
    }

    /// Sends the producer's reports: RIST senders send them at least every 100 ms.
    fn report(&mut self) {
        if !self.asks.rist || self.now - self.start < self.silent_until {
            return;
        }
        let mut bytes = Vec::new();
        Repr::ReceiverReport { ssrc: SESSION, blocks: &[] }.emit(&mut bytes);
        Repr::Cname { ssrc: SESSION, cname: "producer" }.emit(&mut bytes);
        for receiver in &mut self.receivers {
            // Reports are not lost here: another test covers how a sender is found.
            let input =
                Input::Control { now: self.now, leg: 0, source: source(1), bytes: bytes.clone().into() };
            receiver.relay.handle_input(input);
        }
        self.drain();
    }

    /// Retransmits requested packets to all receivers, because they share the group.
    fn answer(&mut self, socket: Socket, bytes: &[u8]) {
        let near = self.sent.last_key_value().map_or(0, |(number, _)| *number);
        if let Socket::Control = socket {
            self.echo(bytes);
        }
        if !self.answers {
            return;
        }
        for number in wanted_now(socket, bytes, near) {
            let Some(mut again) = self.sent.get(&number).cloned() else { continue };
            self.answered += 1;
            match self.asks.rist {
                true => again[11] |= 1,
                false => {
                    let repr = native::Packet::parse(&again).expect("native").repr();
                    let mut bytes = Vec::new();
                    native::Repr { flags: native::RETRANSMISSION, ..repr }.emit(&mut bytes);
                    again = bytes;
                }
            }
            self.send(false, &again);
        }
    }

    fn echo(&mut self, bytes: &[u8]) {
        let requests: Vec<Packet<'_>> = Compound::parse(bytes).expect("RTCP").packets().flatten().collect();
        for packet in requests {
            if let Packet::EchoRequest(echo) = packet {
                let mut response = Vec::new();
                Repr::EchoResponse(echo).emit(&mut response);
                self.send(true, &response);
            }
        }
    }

    /// Takes the relays' output.
    fn drain(&mut self) {
        let at = self.now - self.start;
        let near = self.sent.last_key_value().map_or(0, |(number, _)| *number);
        let producer: SocketAddr = source(1);
        for receiver in &mut self.receivers {
            receiver.due = loop {
                match receiver.relay.poll_output() {
                    Output::Timeout(due) => break due,
                    Output::Deliver(delivery) => {
                        let last = receiver.delivered.last();
                        assert!(last.is_none_or(|last| *last < delivery.seq), "{} again", delivery.seq);
                        receiver.delivered.push(delivery.seq);
                        receiver.datagrams.push(delivery.packet.bytes.to_vec());
                    }
                    Output::Lost { count, .. } => receiver.lost += count,
                    Output::Transmit { from, to, bytes, .. } => {
                        assert_eq!(to, producer);
                        let numbers = wanted_now(from, &bytes, near);
                        if !numbers.is_empty() {
                            receiver.asked.push((at, numbers));
                        }
                        receiver.back.push(self.now, (from, bytes));
                    }
                    _ => {}
                }
            };
        }
    }

    /// Runs everything that is due now in links and relays.
    fn turn(&mut self) {
        for index in 0..self.receivers.len() {
            while let Some((control, bytes)) = self.receivers[index].forth.pop(self.now) {
                let (now, leg, source, bytes) = (self.now, 0, source(1), bytes.into());
                self.receivers[index].relay.handle_input(match control {
                    true => Input::Control { now, leg, source, bytes },
                    false => Input::Packet { now, leg, source, bytes },
                });
                self.drain();
            }
            while let Some((socket, bytes)) = self.receivers[index].back.pop(self.now) {
                self.answer(socket, &bytes);
            }
            if self.receivers[index].due.is_some_and(|due| due <= self.now) {
                self.receivers[index].relay.handle_input(Input::Timeout { now: self.now });
                self.drain();
            }
        }
    }

    /// Advances the time in steps of a millisecond.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.now += MS;
            if (self.now - self.start).as_millis().is_multiple_of(80) {
                self.report();
            }
            self.turn();
        }
    }

    /// Sends this many numbers, one per millisecond; then delivers what is in transit.
    fn run(&mut self, count: u64) {
        self.report();
        for number in self.first..self.first + count {
            self.produce(number);
            self.pass(MS);
        }
        if !self.asks.rist {
            // A heartbeat makes a lost tail visible.
            for _ in 0..3 {
                self.send(false, &datagram(Kind::Heartbeat, 7, SESSION, count, 0, b""));
                self.pass(400 * MS);
            }
        }
        self.pass(Duration::from_secs(2));
    }

    fn counters(&self, index: usize) -> Counters {
        let relay = &self.receivers[index].relay;
        let counters = relay.totals();
        let held = relay.held() as u64;
        assert_eq!(
            counters.media_received + counters.recovered(),
            counters.delivered + counters.discarded() + held,
            "{counters:?}"
        );
        assert_eq!(counters.expected, counters.delivered + counters.lost, "{counters:?}");
        counters
    }
}

fn lossy(loss: f64, burst: f64, delay: Duration) -> Impairments {
    Impairments { loss, burst, delay, ..Impairments::default() }
}

/// 10 % of loss in both directions, independent and in bursts of 20, with a round trip of 30 ms
/// and a hold of 1 s.
#[test]
fn nothing_is_missing_in_the_end() {
    let seed = seed(3);
    let _repeat = Repeat(seed);
    for (asks, burst) in [(NATIVE, 1.0), (NATIVE, 20.0), (RIST, 1.0), (RIST, 20.0)] {
        let links = [(lossy(0.1, burst, 15 * MS), lossy(0.1, 1.0, 15 * MS))];
        let mut world = World::new(asks, Hold::Fixed(1000 * MS), &links, seed);
        let count = 20_000;
        world.run(count);
        let counters = world.counters(0);
        println!("{asks:?}, bursts of {burst}: {counters:?}");
        // Losses before the first and after the last received packet cannot be detected.
        let ends = if asks.rist { 200 } else { 0 };
        assert_eq!(counters.lost, 0, "{counters:?}");
        assert!(counters.delivered >= count - ends, "{counters:?}");
        assert!(counters.recovered_retransmission >= count / 20, "{counters:?}");
        assert_eq!((counters.late, counters.rejected, counters.sessions), (0, 0, 1), "{counters:?}");
        let came = &world.receivers[0];
        assert!(came.datagrams.windows(2).all(|pair| pair[0] != pair[1]));
        assert_eq!(world.receivers[0].relay.flow_count(), 1);
        // The packets equal those sent: the SSRC of a RIST retransmission is restored; a native
        // retransmission is marked.
        let above = if asks.rist { 1 << 16 } else { 0 };
        let expected = came.delivered.iter().map(|number| media(asks, *number - above));
        let unlike = expected.zip(&came.datagrams).filter(|(sent, came)| sent != *came).count() as u64;
        assert_eq!(unlike, if asks.rist { 0 } else { counters.recovered_retransmission });
        let trip = world.receivers[0].relay.round_trip(0).expect("measured");
        assert!(trip >= 30 * MS && trip < 40 * MS, "{trip:?}");
    }
}

/// A RIST sender over links that lose as much in both directions: the residual loss is at most
/// that of librist with its usual buffer of a second (0.13 % at 30 % and 100 ms).
#[test]
fn heavy_losses_in_both_directions_leave_little() {
    let seed = seed(7);
    let _repeat = Repeat(seed);
    let cases = [
        (0.1, 100, 1e-4),
        (0.2, 100, 3e-4),
        (0.3, 100, 1.3e-3),
        (0.1, 300, 1e-3),
        (0.2, 300, 6e-3),
        (0.3, 300, 3e-2),
    ];
    for (loss, trip, most) in cases {
        let link = || lossy(loss, 1.0, MS * trip / 2);
        let mut world = World::new(RIST, Hold::auto(true), &[(link(), link())], seed);
        world.run(20_000);
        let counters = world.counters(0);
        let left = counters.lost as f64 / counters.expected as f64;
        println!("{loss} both ways, {trip} ms: {left:.1e} left, {} answers, {counters:?}", world.answered);
        assert!(left <= most, "{loss}, {trip} ms: {left}");
    }
}

/// The sender's RTCP arrives before its media, as with librist: losses from the second packet on
/// are recovered.
#[test]
fn a_flow_begins_with_the_round_trip_that_is_known() {
    let seed = seed(8);
    let _repeat = Repeat(seed);
    let links = [(lossy(0.0, 1.0, 50 * MS), lossy(0.0, 1.0, 50 * MS))];
    let mut world = World::new(RIST, Hold::auto(true), &links, seed);
    world.report();
    world.pass(Duration::from_secs(1));
    for number in world.first..world.first + 500 {
        match (number - world.first) % 10 {
            5 => _ = world.sent.insert(number, media(RIST, number)),
            _ => world.produce(number),
        }
        world.pass(MS);
    }
    world.pass(Duration::from_secs(2));
    let counters = world.counters(0);
    assert_eq!((counters.lost, counters.recovered_retransmission), (0, 50), "{counters:?}");
    assert_eq!(counters.numbers_requested, 50, "each once: the round trip is known");
}

/// A single packet this far ahead, within the window or not, does not cause a flood of requests.
/// GStreamer's first report arrives up to a second after its media. Earlier losses can be
/// requested only then, and must not appear to have been requested before: the answer would lead
/// to a measured round trip of half a second.
#[test]
fn what_was_lost_before_the_first_report_is_asked_for_after_it() {
    let seed = seed(3);
    let _repeat = Repeat(seed);
    let links = [(lossy(0.1, 1.0, MS), lossy(0.0, 1.0, MS))];
    let mut world = World::new(RIST, Hold::Fixed(1000 * MS), &links, seed);
    world.silent_until = 700 * MS;
    world.run(3000);
    let (counters, came) = (world.counters(0), &world.receivers[0]);
    println!("{counters:?}");
    assert_eq!(counters.lost, 0, "{counters:?}");
    assert!(counters.recovered_retransmission >= 200, "{counters:?}");
    assert!(came.asked.iter().all(|(at, _)| *at >= 700 * MS), "{:?}", came.asked[0]);
    let trip = came.relay.round_trip(0).expect("measured");
    assert!(trip < 10 * MS, "{trip:?}");
}

#[test]
fn a_forged_packet_draws_at_most_64_numbers() {
    for (asks, ahead) in [(NATIVE, 2000), (NATIVE, 20_000), (RIST, 2000), (RIST, 20_000), (NATIVE, 100)] {
        let links = [(lossy(0.0, 1.0, 5 * MS), lossy(0.0, 1.0, 5 * MS))];
        let mut world = World::new(asks, Hold::Fixed(1000 * MS), &links, 1);
        world.answers = false;
        world.report();
        for number in world.first..world.first + 3000 {
            world.produce(number);
            if number == world.first + 1000 {
                let bytes = media(asks, number + ahead);
                world.send(false, &bytes);
            }
            world.pass(MS);
        }
        world.pass(Duration::from_secs(2));
        let asked: usize = world.receivers[0].asked.iter().map(|(_, numbers)| numbers.len()).sum();
        assert!(asked <= 64, "{asks:?} +{ahead}: {asked} numbers");
        let counters = world.counters(0);
        assert!(counters.lost <= 1 && counters.delivered >= 2999, "{counters:?}");
    }
}

/// The producer is silent after the forged packet: nothing contradicts it, and still it causes no
/// more requests.
#[test]
fn a_forged_packet_into_silence_draws_at_most_64_numbers() {
    for asks in [NATIVE, RIST] {
        let links = [(lossy(0.0, 1.0, 5 * MS), lossy(0.0, 1.0, 5 * MS))];
        let mut world = World::new(asks, Hold::Fixed(1000 * MS), &links, 1);
        world.report();
        for number in world.first..world.first + 1000 {
            world.produce(number);
            world.pass(MS);
        }
        world.send(false, &media(asks, world.first + 3000));
        world.pass(Duration::from_secs(3));
        let asked: usize = world.receivers[0].asked.iter().map(|(_, numbers)| numbers.len()).sum();
        assert!((1..=64).contains(&asked), "{asks:?}: {asked} numbers");
    }
}

/// A producer that keeps no history gets requests for at most a share of what it sends.
#[test]
fn requests_are_bounded_by_the_rate() {
    let links = [(lossy(0.4, 1.0, 5 * MS), lossy(0.0, 1.0, 5 * MS))];
    let mut world = World::new(NATIVE, Hold::Fixed(500 * MS), &links, 5);
    world.answers = false;
    world.run(10_000);
    let asked = &world.receivers[0].asked;
    for second in 0..10 {
        let within = asked.iter().filter(|(at, _)| at.as_secs() == second);
        let numbers: usize = within.map(|(_, numbers)| numbers.len()).sum();
        // Half of the 600 packets per second that arrive, and the saved-up allowance.
        assert!(numbers <= 500 + 125, "{numbers} in second {second}");
    }
    let counters = world.counters(0);
    assert_eq!(counters.numbers_requested, asked.iter().map(|(_, n)| n.len() as u64).sum::<u64>());
    assert_eq!(counters.requests_sent, asked.len() as u64);
    let times = |number: u64| asked.iter().filter(|(_, numbers)| numbers.contains(&number)).count();
    assert!((0..10_000).all(|number| times(number) <= usize::from(REQUESTS_MAX)));
}

/// Packets that could arrive only after the gap is given up are not requested, once the round trip
/// is known.
#[test]
fn no_request_that_cannot_be_answered_in_time() {
    let links = [(lossy(0.1, 1.0, 100 * MS), lossy(0.0, 1.0, 100 * MS))];
    let mut world = World::new(NATIVE, Hold::Fixed(150 * MS), &links, 5);
    world.run(5000);
    let (counters, known) = (world.counters(0), Duration::from_millis(600));
    let late = world.receivers[0].asked.iter().filter(|(at, _)| *at > known).count();
    assert_eq!((late, counters.recovered_retransmission), (0, 0), "{counters:?}");
    assert!(counters.lost > 300 && counters.requests_sent > 0, "{counters:?}");
}

/// The automatic hold rises to the time that requests need as soon as the round trip is known.
#[test]
fn the_automatic_hold_leaves_time_to_ask() {
    for asks in [NATIVE, RIST] {
        let links = [(lossy(0.05, 1.0, 40 * MS), lossy(0.05, 1.0, 40 * MS))];
        let mut world = World::new(asks, Hold::Auto { min: 20 * MS, max: 1000 * MS }, &links, 2);
        world.run(20_000);
        let counters = world.counters(0);
        println!("{asks:?}: {:?}, {counters:?}", world.receivers[0].relay.timing(world.start));
        // The first packets are lost before anything was measured.
        let at_first = if asks.rist { 10 } else { 40 };
        assert!(counters.lost <= at_first, "{counters:?}");
        assert!(counters.recovered_retransmission > 800, "{counters:?}");
    }
}

/// Many relays on one group miss the same packets: few send requests, because the answer to one
/// reaches all.
#[test]
fn relays_on_one_group_do_not_ask_all_at_once() {
    let seed = seed(9);
    let _repeat = Repeat(seed);
    let count = 30;
    for shared in [false, true] {
        let asks = Asks { shared, ..NATIVE };
        let links = vec![(lossy(0.0, 1.0, 2 * MS), lossy(0.0, 1.0, 2 * MS)); count];
        let mut world = World::new(asks, Hold::Fixed(500 * MS), &links, seed);
        for number in 0..2000 {
            // Lost before the paths to the relays separate.
            if number % 100 == 50 {
                world.sent.insert(number, media(asks, number));
            } else {
                world.produce(number);
            }
            world.pass(MS);
        }
        world.pass(Duration::from_secs(1));
        let asked: u64 = (0..count).map(|index| world.counters(index).numbers_requested).sum();
        let lost: u64 = (0..count).map(|index| world.counters(index).lost).sum();
        println!("shared {shared}: {asked} requests for 20 numbers, {} answers", world.answered);
        assert_eq!(lost, 0);
        match shared {
            true => assert!(asked <= 20 * count as u64 / 2, "{asked}"),
            false => assert_eq!(asked, 20 * count as u64),
        }
    }
}

/// Sends the same stream on each leg, both of which lose the same numbers; the second request is
/// answered. Returns on which legs each number was requested, in order.
fn asked_on_two_legs(reports_on: &[u8]) -> (Counters, BTreeMap<u64, Vec<u8>>) {
    let seed = seed(5);
    let _repeat = Repeat(seed);
    let mut dice = Dice::new(seed);
    let hold = Hold::Fixed(1000 * MS);
    let mut relay = Relay::new(Config { hold, legs: 2, asks: vec![RIST; 2], seed, ..config("auto") });
    let start = tidecast_net::clock::now() + Duration::from_secs(1000);
    let (mut asked, mut due): (BTreeMap<u64, Vec<u8>>, _) = (BTreeMap::new(), None);
    let mut again: Vec<(u64, u8, u64)> = Vec::new();
    for at in 0..4000_u64 {
        let now = start + Duration::from_millis(at);
        let mut inputs = Vec::new();
        for leg in reports_on.iter().copied().filter(|_| at.is_multiple_of(80)) {
            let mut bytes = Vec::new();
            Repr::ReceiverReport { ssrc: SESSION, blocks: &[] }.emit(&mut bytes);
            Repr::Cname { ssrc: SESSION, cname: "producer" }.emit(&mut bytes);
            inputs.push(Input::Control { now, leg, source: source(leg), bytes: bytes.into() });
        }
        if at < 3000 && (at < 10 || dice.hits(0.95)) {
            for leg in 0..2 {
                inputs.push(Input::Packet { now, leg, source: source(leg), bytes: media(RIST, at).into() });
            }
        }
        for (_, leg, number) in again.extract_if(.., |(due, ..)| *due <= at) {
            let mut bytes = media(RIST, number);
            bytes[11] |= 1;
            inputs.push(Input::Packet { now, leg, source: source(leg), bytes: bytes.into() });
        }
        inputs.extend(due.is_some_and(|due| due <= now).then_some(Input::Timeout { now }));
        for input in inputs {
            relay.handle_input(input);
            due = loop {
                match relay.poll_output() {
                    Output::Timeout(due) => break due,
                    Output::Transmit { leg, to, from, bytes } => {
                        assert_eq!(to, source(leg), "who is asked is the sender of the leg");
                        for number in wanted_now(from, &bytes, at) {
                            let legs = asked.entry(number).or_default();
                            legs.push(leg);
                            again.extend((legs.len() == 2).then_some((at + 20, leg, number)));
                        }
                    }
                    _ => {}
                }
            };
        }
    }
    (relay.totals(), asked)
}

#[test]
fn two_legs_are_asked_in_turn_and_no_more_often_than_one() {
    let (counters, asked) = asked_on_two_legs(&[0, 1]);
    println!("{} numbers, {counters:?}", asked.len());
    assert_eq!((counters.lost, counters.late), (0, 0), "{counters:?}");
    assert!(asked.len() > 50 && counters.recovered_retransmission == asked.len() as u64, "{counters:?}");
    assert!(asked.values().all(|legs| legs[..2] == [0, 1] && legs.len() <= 3), "{asked:?}");
    assert_eq!(counters.numbers_requested, asked.values().map(|legs| legs.len() as u64).sum::<u64>());
}

#[test]
fn a_leg_whose_sender_does_not_report_is_passed_over() {
    let (counters, asked) = asked_on_two_legs(&[1]);
    assert_eq!((counters.lost, counters.late), (0, 0), "{counters:?}");
    assert!(asked.len() > 50 && asked.values().all(|legs| legs[..2] == [1, 1]), "{asked:?}");
}
