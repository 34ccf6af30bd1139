//! RTCP and NACKs from strangers must not change the output: two relays get the same media, with
//! losses that are requested and answered, and one of them also gets the strangers' datagrams, in
//! lockstep.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use tidecast_core::{
    limits::REQUEST_DATAGRAMS_PER_SECOND,
    relay::{Asks, Config, Hold, Input, Output, Relay, Socket},
};
use tidecast_wire::{
    native::{self, Kind, NackRepr},
    rtcp::{Block, Compound, Echo, Numbers, Packet, Repr},
    seq::Space,
};

use super::{cases, damaged, number, random};
use crate::{
    formats::{Numbered, native as datagram},
    harness::{Dice, MS, config, source},
};

/// RTP on leg 0 from a RIST sender, native datagrams on leg 1.
const SSRC: u32 = 0x1234_5678;
const SESSION: u32 = 0x0BAD_CAFE;
const STREAM: u32 = 7;
const SENDER: u8 = 1;
const RUN: u64 = 1500;
/// Milliseconds from a request to its answer.
const TRIP: u64 = 20;
/// First address of the strangers.
const STRANGERS: u64 = 3;

/// Returns an SSRC of any stranger; never the media's.
fn ssrc(dice: &mut Dice) -> u32 {
    dice.any() as u32 | 0x8000_0000
}

fn numbers(dice: &mut Dice, most: u64) -> Vec<Numbers> {
    let any = |dice: &mut Dice| Numbers { first: dice.any() as u16, more: number(dice) as u16 };
    (0..dice.below(most)).map(|_| any(dice)).collect()
}

/// Appends one RTCP packet. `media`: the SSRC that requests name.
fn packet(dice: &mut Dice, ssrc: u32, media: u32, out: &mut Vec<u8>) {
    let words = dice.below(4) * 4;
    let padding = random(dice, words);
    let timestamp = number(dice);
    let echo = Echo { ssrc, timestamp, delay: dice.any() as u32, padding: &padding };
    let asked = numbers(dice, 20);
    let (fraction_lost, lost, jitter) = (dice.any() as u8, dice.any() as i16, dice.any() as u32);
    let (highest, last_report, since_report) = (dice.any() as u32, dice.any() as u32, 0);
    let block =
        Block { ssrc: media, fraction_lost, lost: lost.into(), highest, jitter, last_report, since_report };
    let (packets, octets) = (dice.any() as u32, dice.any() as u32);
    let blocks = [block; 2];
    let repr = match dice.below(9) {
        0 => {
            let (ntp, timestamp) = (timestamp, packets ^ octets);
            Repr::SenderReport { ssrc, ntp, timestamp, packets, octets, blocks: &blocks[..1] }
        }
        1 => Repr::ReceiverReport { ssrc, blocks: &blocks },
        2 => Repr::Cname { ssrc, cname: "a stranger" },
        3 => Repr::Bye { ssrc },
        4 | 5 => Repr::GenericNack { sender: ssrc, media, numbers: &asked },
        6 => Repr::RangeNack { media, numbers: &asked[..asked.len().min(16)] },
        7 => Repr::EchoRequest(echo),
        _ => Repr::EchoResponse(echo),
    };
    repr.emit(out);
}

/// Returns an RTCP datagram: mostly valid, with several packets; otherwise damaged, or arbitrary
/// bytes.
pub(super) fn rtcp(dice: &mut Dice, ssrc: u32, media: u32) -> Vec<u8> {
    if dice.below(10) == 0 {
        let len = dice.below(300);
        return random(dice, len);
    }
    let mut out = Vec::new();
    if dice.hits(0.9) {
        Repr::ReceiverReport { ssrc, blocks: &[] }.emit(&mut out);
        Repr::Cname { ssrc, cname: "x" }.emit(&mut out);
    }
    for _ in 0..dice.below(6) {
        packet(dice, ssrc, media, &mut out);
    }
    damaged(dice, out)
}

/// Returns a native NACK for the received stream, or for any; the payload may be invalid.
fn nack(dice: &mut Dice) -> Vec<u8> {
    let mut payload = Vec::new();
    let ranges: Vec<(u64, u16)> = (0..dice.below(70)).map(|_| (number(dice), number(dice) as u16)).collect();
    match dice.below(4) {
        0 => {
            let len = dice.below(700);
            payload = random(dice, len);
        }
        _ => NackRepr { ranges: &ranges }.emit(&mut payload),
    }
    let (stream, session) = match dice.below(3) {
        0 => (dice.any() as u32 | 0x100, dice.any() as u32),
        1 => (STREAM, dice.any() as u32),
        _ => (STREAM, SESSION),
    };
    let bytes = datagram(Kind::Nack, stream, session, number(dice), 0, &payload);
    // A datagram that no longer starts like a native one would count as unnumbered media.
    let (start, rest) = bytes.split_at(4);
    [start, &damaged(dice, rest.to_vec())].concat()
}

fn stranger(dice: &mut Dice) -> SocketAddr {
    source(200 + dice.below(STRANGERS) as u8)
}

/// One of the two relays.
struct Twin {
    relay: Relay,
    due: Option<Instant>,
    /// Its output, with the millisecond of each.
    media: Vec<(u64, String)>,
    /// Retransmissions in transit to it: time, leg, datagram.
    again: Vec<(u64, u8, Vec<u8>)>,
    /// Number of datagrams that it sent to strangers.
    answered: u64,
    requests: u64,
}

impl Twin {
    fn new(config: Config) -> Twin {
        let relay = Relay::new(config);
        Twin { relay, due: None, media: Vec::new(), again: Vec::new(), answered: 0, requests: 0 }
    }

    fn input(&mut self, at: u64, input: Input) {
        self.relay.handle_input(input);
        self.due = loop {
            match self.relay.poll_output() {
                Output::Timeout(due) => break due,
                Output::Transmit { to, from, bytes, .. } if to == source(SENDER) => {
                    self.asked(at, from, &bytes)
                }
                Output::Transmit { .. } => self.answered += 1,
                Output::Deliver(delivery) => {
                    let (flow, bytes) = (delivery.flow, &*delivery.packet.bytes);
                    self.media.push((at, format!("{flow:?} {} {bytes:02x?}", delivery.seq)));
                }
                output => self.media.push((at, format!("{output:?}"))),
            }
        };
    }

    /// The sender answers a request.
    fn asked(&mut self, at: u64, from: Socket, bytes: &[u8]) {
        match from {
            Socket::Media => {
                let packet = native::Packet::parse(bytes).expect("a native datagram");
                let ranges = native::Nack::parse(packet.payload()).expect("a NACK");
                for number in ranges.iter().flat_map(|(first, count)| first..first + u64::from(count)) {
                    self.requests += 1;
                    let mut again = Vec::new();
                    let sent = native_media(number);
                    let repr = native::Packet::parse(&sent).expect("native").repr();
                    native::Repr { flags: native::RETRANSMISSION, ..repr }.emit(&mut again);
                    self.again.push((at + TRIP, 1, again));
                }
            }
            Socket::Control => {
                for packet in Compound::parse(bytes).expect("RTCP").packets() {
                    let Packet::Nack(nack) = packet.expect("valid RTCP") else { continue };
                    for number in nack.ranges().flat_map(|range| range.iter().collect::<Vec<_>>()) {
                        self.requests += 1;
                        let mut again = rtp_media(Space::RTP.extend(at / 2, number.into()));
                        again[11] |= 1;
                        self.again.push((at + TRIP, 0, again));
                    }
                }
            }
        }
    }

    fn timers(&mut self, at: u64, now: Instant) {
        let mut rounds = 0;
        while self.due.is_some_and(|due| due <= now) {
            self.input(at, Input::Timeout { now });
            rounds += 1;
            assert!(rounds < 1000, "a timer fires for ever");
        }
    }
}

fn rtp_media(number: u64) -> Vec<u8> {
    Numbered::Rtp.datagram(SSRC, number, number)
}

fn native_media(number: u64) -> Vec<u8> {
    datagram(Kind::Data, STREAM, SESSION, number, 0, &number.to_be_bytes())
}

/// Returns the media that both relays get in this millisecond.
fn media(dice: &mut Dice, at: u64) -> Vec<(u8, Vec<u8>)> {
    let mut all = Vec::new();
    if at.is_multiple_of(2) {
        all.push((0, rtp_media(at / 2)));
    }
    if at.is_multiple_of(3) {
        all.push((1, native_media(at / 3)));
    }
    all.retain(|_| at < 10 || dice.hits(0.9));
    all
}

fn report() -> Vec<u8> {
    let mut bytes = Vec::new();
    Repr::ReceiverReport { ssrc: SSRC, blocks: &[] }.emit(&mut bytes);
    Repr::Cname { ssrc: SSRC, cname: "sender" }.emit(&mut bytes);
    bytes
}

/// Returns the strangers' datagrams of this millisecond.
fn noise(dice: &mut Dice, now: Instant, most: u64) -> Vec<Input> {
    let one = |dice: &mut Dice| {
        let (source, leg) = (stranger(dice), dice.below(4) as u8);
        let (ssrc, media) = (ssrc(dice), if dice.hits(0.5) { SSRC } else { dice.any() as u32 });
        match dice.below(4) {
            0 => Input::Packet { now, leg: 1, source, bytes: nack(dice).into() },
            _ => Input::Control { now, leg, source, bytes: rtcp(dice, ssrc, media).into() },
        }
    };
    (0..dice.below(most)).map(|_| one(dice)).collect()
}

fn case(dice: &mut Dice) -> u64 {
    let asks = |rist| Asks { rist, requests: true, shared: false };
    let hold = if dice.hits(0.5) { Hold::Fixed(150 * MS) } else { Hold::default() };
    let config =
        Config { hold, legs: 2, asks: vec![asks(true), asks(false)], seed: dice.any(), ..config("auto") };
    let (mut alone, mut among) = (Twin::new(config.clone()), Twin::new(config));
    let start = tidecast_net::clock::now() + Duration::from_secs(100_000);
    let (most, mut noises) = (1 + dice.below(12), 0);
    for at in 0..RUN + 1000 {
        let now = start + Duration::from_millis(at);
        let fresh = if at < RUN { media(dice, at) } else { Vec::new() };
        for twin in [&mut alone, &mut among] {
            if at.is_multiple_of(80) {
                let (leg, source, bytes) = (0, source(SENDER), report().into());
                twin.input(at, Input::Control { now, leg, source, bytes });
            }
            let due: Vec<_> = twin.again.extract_if(.., |(due, ..)| *due <= at).collect();
            let again = due.into_iter().map(|(_, leg, bytes)| (leg, bytes));
            for (leg, bytes) in fresh.iter().cloned().chain(again) {
                twin.input(at, Input::Packet { now, leg, source: source(SENDER), bytes: bytes.into() });
            }
        }
        for input in noise(dice, now, most) {
            noises += 1;
            among.input(at, input);
        }
        alone.timers(at, now);
        among.timers(at, now);
    }
    compare(&alone, &among, noises);
    RUN
}

fn compare(alone: &Twin, among: &Twin, noises: u64) {
    let differs = alone.media.iter().zip(&among.media).position(|(a, b)| a != b);
    assert_eq!(
        differs.map(|at| (&alone.media[at], &among.media[at])),
        None,
        "what comes out with and without strangers"
    );
    let most = alone.media.len().min(among.media.len());
    assert_eq!(alone.media[most..], among.media[most..], "what comes out besides");
    let (a, b) = (alone.relay.totals(), among.relay.totals());
    assert_eq!(
        (a.delivered, a.lost, a.recovered(), a.sessions),
        (b.delivered, b.lost, b.recovered(), b.sessions)
    );
    let media = b.media_received - a.media_received;
    assert_eq!(b.discarded() - a.discarded(), media, "{a:?}\n{b:?}");
    assert_eq!(media + b.control_received - a.control_received, noises, "{a:?}\n{b:?}");
    assert_eq!(alone.requests, among.requests);
    assert!(a.recovered() > 50 && a.lost == 0, "nothing was asked for: {a:?}");
    let seconds = (RUN + 1000) as f64 / 1000.0;
    let bound =
        (seconds + 0.1) * REQUEST_DATAGRAMS_PER_SECOND + STRANGERS as f64 * (seconds * 25.0 + 1.0) * 4.0;
    assert!((among.answered as f64) < bound, "{} datagrams to strangers", among.answered);
    assert_eq!(alone.relay.flow_count(), among.relay.flow_count());
}

#[test]
fn strangers_rtcp_and_nacks_change_nothing() {
    cases("strangers", case);
}
