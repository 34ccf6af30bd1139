//! The datagrams that a producer sends and those that arrive, the same for both relays, and the
//! result in each.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tidecast_core::relay::{Asks, Config, Delay, Fec, FlowId, Release, Socket};
use tidecast_wire::{
    fec::{
        matrix::{Encoder, Shape},
        rs::Codes,
    },
    native::{self, Kind},
    rtcp::{Compound, Packet, Repr},
};

use super::kinds::Forged;
use crate::{
    formats::{self, Numbered, repairs},
    harness::{Dice, Event, Sim, config, source},
    retransmission::wanted,
};

/// Half a packet interval, the unit of all times.
pub const SLOT: Duration = Duration::from_millis(1);
/// Number of media packets of a run.
pub const PACKETS: u64 = 280;
/// The first packet around which a datagram is forged.
pub const FORGED_AT: u64 = 150;
/// The producer's session id or SSRC.
pub const SESSION: u32 = 1000;
/// The native stream.
pub const STREAM: u32 = 7;
/// Data packets and repair packets of a native block.
pub const BLOCK: (u64, usize) = (10, 2);
/// Time from a request to its answer.
const ROUND_TRIP: u64 = 6;
/// Interval of a RIST sender's reports.
const REPORT: u64 = 80;
/// The packet after which the producer pauses, and the duration of the pause.
const PAUSE: (u64, u64) = (170, 20);
/// How long a run continues after the last packet.
const TAIL: u64 = 1500;

/// Format of the datagrams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Format {
    Rtp,
    Native,
    Custom16,
    Custom8,
    /// Plain TS, without sequence numbers.
    Ts,
}

/// Additional protection against losses and jitter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protection {
    No,
    /// FEC of the format: native blocks, or ST 2022-1 for RTP.
    Fec,
    /// Retransmission: native NACKs, or RIST for RTP.
    Again,
    Legs,
    Paced,
}

/// One producer, its protection and its losses.
#[derive(Debug, Clone, Copy)]
pub struct Stream {
    pub format: Format,
    pub protection: Protection,
    pub seed: u64,
}

/// A datagram to the relay.
#[derive(Debug, Clone)]
pub enum Incoming {
    /// On the media port of a leg.
    Packet(u8, Vec<u8>),
    Repair(Vec<u8>),
    Control(Vec<u8>),
}

/// Results of a run.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The producer's packets that were delivered.
    pub good: BTreeSet<u64>,
    /// Deliveries in the producer's flow that it never sent.
    pub wrong: u64,
    /// Number of sessions of that flow.
    pub sessions: usize,
    /// Samples of its hold.
    pub holds: Vec<Duration>,
}

impl Stream {
    pub fn numbered(&self) -> Option<Numbered> {
        Some(match self.format {
            Format::Rtp => Numbered::Rtp,
            Format::Native => Numbered::Native,
            Format::Custom16 => Numbered::Custom16,
            Format::Custom8 => Numbered::Custom8,
            Format::Ts => return None,
        })
    }

    pub fn modulus(&self) -> u64 {
        self.numbered().map_or(1 << 16, Numbered::modulus)
    }

    /// Returns the sequence number of a packet; in RTP it wraps.
    pub fn number(&self, index: u64) -> u64 {
        let start = if self.format == Format::Rtp { 65_300 } else { 1000 };
        (start + index) % self.modulus()
    }

    pub fn is_rist(&self) -> bool {
        (self.format, self.protection) == (Format::Rtp, Protection::Again)
    }

    /// Returns when a packet arrives without delay.
    pub fn slot(&self, index: u64) -> u64 {
        2 * index + if index > PAUSE.0 { PAUSE.1 } else { 0 }
    }

    /// Returns a media packet of this session or SSRC.
    pub fn datagram(&self, session: u32, number: u64, content: u64) -> Vec<u8> {
        match self.numbered() {
            Some(Numbered::Native) => {
                let micros = 1_700_000_000_000_000 + 1000 * self.slot(content % (1 << 32));
                formats::native(Kind::Data, STREAM, session, number, micros, &payload(content))
            }
            Some(numbered) => numbered.datagram(session, number, content),
            None => {
                let mut packet = vec![0x47, 0x01, 0x00, 0x10 | (number as u8 & 0x0f)];
                packet.extend(content.to_be_bytes());
                packet.resize(188, 0xff);
                packet
            }
        }
    }

    pub fn media(&self, index: u64) -> Vec<u8> {
        self.datagram(SESSION, self.number(index), index)
    }

    /// Returns which of its packets a payload belongs to.
    fn index(&self, payload: &[u8]) -> Option<u64> {
        let content = match self.format {
            Format::Ts => u64::from_be_bytes(payload.get(4..12)?.try_into().ok()?),
            Format::Native => u64::from_be_bytes(payload.get(..8)?.try_into().ok()?),
            _ => u64::from_be_bytes(payload.last_chunk().copied()?),
        };
        let as_sent = self.format != Format::Native || payload == self::payload(content);
        (content < PACKETS && as_sent).then_some(content)
    }

    /// Returns the retransmission of a packet.
    pub fn again(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        if self.format == Format::Rtp {
            bytes[11] |= 1;
            return bytes;
        }
        let Ok(packet) = native::Packet::parse(&bytes) else { return bytes };
        let mut again = Vec::new();
        native::Repr { flags: native::RETRANSMISSION, ..packet.repr() }.emit(&mut again);
        again
    }

    fn config(&self) -> Config {
        let name = self.numbered().map_or("ts", Numbered::format);
        let requests = self.protection == Protection::Again;
        Config {
            fec: if self.protection == Protection::Fec { Fec::St2022 } else { Fec::Off },
            legs: if self.protection == Protection::Legs { 2 } else { 1 },
            asks: vec![Asks { rist: self.is_rist(), requests, shared: false }],
            release: match self.protection {
                Protection::Paced => Release::Paced(Delay::Auto),
                _ => Release::Asap,
            },
            ..config(name)
        }
    }

    /// Returns everything that arrives, by arrival time. One packet in twenty is lost on each leg,
    /// and a few are late.
    fn arrivals(&self) -> BTreeMap<u64, Vec<Incoming>> {
        let mut dice = Dice::new(self.seed);
        let mut all: BTreeMap<u64, Vec<Incoming>> = BTreeMap::new();
        let legs = if self.protection == Protection::Legs { 2 } else { 1 };
        for (leg, index) in (0..legs).flat_map(|leg| (0..PACKETS).map(move |index| (leg, index))) {
            let lost = dice.hits(0.05) && (20..PACKETS - 20).contains(&index);
            let late = if dice.hits(0.03) { 7 } else { 0 };
            if !lost || self.format == Format::Ts {
                let slot = self.slot(index) + 3 * u64::from(leg) + late;
                all.entry(slot).or_default().push(Incoming::Packet(leg, self.media(index)));
            }
        }
        for (index, repair) in self.repairs() {
            if !dice.hits(0.05) {
                all.entry(self.slot(index) + 1).or_default().push(repair);
            }
        }
        all
    }

    fn repairs(&self) -> Vec<(u64, Incoming)> {
        match (self.format, self.protection) {
            (Format::Native, Protection::Fec) => self.native_repairs(),
            (Format::Rtp, Protection::Fec) => self.matrix_repairs(),
            _ => Vec::new(),
        }
    }

    fn native_repairs(&self) -> Vec<(u64, Incoming)> {
        let mut codes = Codes::new();
        let block = |first: u64| {
            let sources: Vec<_> = (first..first + BLOCK.0)
                .map(|index| {
                    let bytes = self.media(index);
                    let packet = native::Packet::parse(&bytes).expect("native");
                    (packet.timestamp(), packet.payload().to_vec())
                })
                .collect();
            let all = repairs(&mut codes, SESSION, self.number(first), BLOCK.1, 1, &sources);
            all.into_iter().map(move |bytes| (first + BLOCK.0 - 1, Incoming::Packet(0, bytes)))
        };
        (0..PACKETS).step_by(BLOCK.0 as usize).flat_map(block).collect()
    }

    fn matrix_repairs(&self) -> Vec<(u64, Incoming)> {
        let shape = Shape::new(5, 5, true).expect("a matrix");
        let (mut encoder, mut all) = (Encoder::new(shape, 3, 4), Vec::new());
        for index in 0..PACKETS {
            let mut made = Vec::new();
            encoder.media(&self.media(index), &mut made);
            all.extend(made.into_iter().map(|repair| (index, Incoming::Repair(repair.bytes))));
        }
        all
    }

    /// Runs once, optionally with a forged datagram.
    pub fn run(&self, forged: Option<&Forged>) -> Outcome {
        let mut sim = Sim::new(self.config());
        // Packets after a forged one may wait for a number that is long past.
        sim.hold_max = Duration::MAX;
        let (mut coming, mut outcome) = (self.arrivals(), Outcome::default());
        let (end, mut seen) = (self.slot(PACKETS) + TAIL, 0);
        for slot in 0..end {
            let at = SLOT * slot as u32;
            if self.is_rist() && slot.is_multiple_of(REPORT) && slot < end - TAIL {
                sim.control_from(at, 0, source(1), &report(SESSION));
            }
            if slot == forged.map_or(0, |forged| forged.slot(self))
                && let Some(forged) = forged
                && !forged.behind
            {
                forged.feed(&mut sim, at);
            }
            for incoming in coming.remove(&slot).unwrap_or_default() {
                feed(&mut sim, at, source(1), &incoming);
            }
            if let Some(forged) = forged.filter(|forged| forged.behind && forged.slot(self) == slot) {
                forged.feed(&mut sim, at);
            }
            sim.run_until(at);
            if slot.is_multiple_of(50) && slot < end - TAIL {
                outcome.holds.extend(sim.relay.flows().next().map(|flow| flow.hold));
            }
            for place in seen..sim.events.len() {
                if let (_, Event::Transmit { from, to, bytes }) = &sim.events[place]
                    && *to == source(1)
                {
                    self.answer(slot, *from, &bytes.clone(), &mut coming);
                }
            }
            seen = sim.events.len();
        }
        sim.finish();
        sim.check_counters();
        self.judge(&sim, &mut outcome);
        outcome
    }

    fn answer(&self, slot: u64, from: Socket, bytes: &[u8], coming: &mut BTreeMap<u64, Vec<Incoming>>) {
        if from == Socket::Control {
            for packet in Compound::parse(bytes).expect("RTCP").packets().flatten() {
                if let Packet::EchoRequest(echo) = packet {
                    let mut response = Vec::new();
                    Repr::EchoResponse(echo).emit(&mut response);
                    coming.entry(slot + ROUND_TRIP).or_default().push(Incoming::Control(response));
                }
            }
        }
        let sent = (0..PACKETS).take_while(|index| self.slot(*index) <= slot).last().unwrap_or(0);
        for (session, number) in wanted(from, bytes, self.modulus() + self.number(sent)) {
            let index = (0..=sent).find(|index| self.number(*index) == number % self.modulus());
            if let Some(index) = index.filter(|_| session == SESSION) {
                let again = Incoming::Packet(0, self.again(self.media(index)));
                coming.entry(slot + ROUND_TRIP).or_default().push(again);
            }
        }
    }

    fn judge(&self, sim: &Sim, outcome: &mut Outcome) {
        let mut own: Option<FlowId> = None;
        // After the producer has stopped, another one may start.
        let end = SLOT * self.slot(PACKETS) as u32;
        for (at, event) in &sim.events {
            match event {
                Event::Started { flow, .. } => {
                    let own = *own.get_or_insert(*flow);
                    outcome.sessions += usize::from(*flow == own && *at < end);
                }
                Event::Delivered { flow, payload, .. } => match self.index(payload) {
                    Some(index) => _ = outcome.good.insert(index),
                    None => outcome.wrong += u64::from(own == Some(*flow)),
                },
                _ => {}
            }
        }
    }
}

/// Returns a payload whose size and bytes follow from the content.
fn payload(content: u64) -> Vec<u8> {
    let mixed = content.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut payload = vec![mixed as u8; 8 + (mixed >> 59) as usize];
    payload[..8].copy_from_slice(&content.to_be_bytes());
    payload
}

/// Returns a sender's RTCP.
pub fn report(ssrc: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    Repr::ReceiverReport { ssrc, blocks: &[] }.emit(&mut bytes);
    Repr::Cname { ssrc, cname: "producer" }.emit(&mut bytes);
    bytes
}

pub fn feed(sim: &mut Sim, at: Duration, from: std::net::SocketAddr, incoming: &Incoming) {
    match incoming {
        Incoming::Packet(leg, bytes) => sim.packet_from(at, *leg, from, bytes),
        Incoming::Repair(bytes) => sim.repair_from(at, 0, from, bytes),
        Incoming::Control(bytes) => sim.control_from(at, 0, from, bytes),
    }
}
