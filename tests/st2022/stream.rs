//! Generated RTP packets of all kinds, their repair packets, and a receiver that recovers them.

use std::collections::{BTreeMap, BTreeSet};

use tidecast_wire::{
    fec::matrix::{Datagram, Decoder, Encoder, News, Shape, Sum, Taken},
    rtp,
    seq::Space,
    st2022::{Repair, Shard},
};

pub const SSRC: u32 = 0x7C0F_FEE2;

/// SplitMix64.
pub struct Dice(pub u64);

impl Dice {
    pub fn any(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.any() % n
    }

    pub fn hits(&mut self, chance: f64) -> bool {
        (self.any() >> 11) as f64 / (1_u64 << 53) as f64 <= chance
    }
}

/// Returns the seeds of a test: the one of the environment, or those from 1 on.
pub fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("TIDECAST_SEED") {
        Ok(seed) => vec![seed.parse().expect("a number")],
        Err(_) => (1..=count).collect(),
    }
}

/// Returns an RTP packet with any marker, CSRC list, extension, padding, one of seven sizes, and a
/// timestamp near those of its neighbours.
pub fn media(number: u64, dice: &mut Dice) -> Vec<u8> {
    let (csrcs, extension, padding) = (dice.below(3) as u8, dice.hits(0.3), dice.hits(0.3));
    let flags = 0x80 | csrcs | u8::from(extension) << 4 | u8::from(padding) << 5;
    let mut packet = vec![flags, dice.any() as u8 & 0x80 | 33];
    packet.extend_from_slice(&(number as u16).to_be_bytes());
    // A video clock whose timestamps are up to a second out of order: nearby packets have nearby
    // timestamps (RFC 3550 section 5.1), and a recovered packet for which this is not so is
    // refused as forged.
    let ticks = (number as u32).wrapping_mul(3003).wrapping_add(dice.below(90_000) as u32);
    packet.extend_from_slice(&ticks.to_be_bytes());
    packet.extend_from_slice(&SSRC.to_be_bytes());
    packet.extend((0..4 * csrcs).map(|_| dice.any() as u8));
    if extension {
        packet.extend_from_slice(&[0xbe, 0xde, 0, 1, 1, 2, 3, 4]);
    }
    let len = [0, 1, 7, 64, 188, 376, 1316][dice.below(7) as usize];
    packet.extend((0..len).map(|_| dice.any() as u8));
    if padding {
        packet.extend_from_slice(&[0, 0, 3]);
    }
    assert!(rtp::Packet::parse(&packet).is_ok());
    packet
}

/// A packet on the wire, in the order of sending.
#[derive(Clone, Debug)]
pub enum Sent {
    Media(u64),
    Repair(Datagram),
}

/// A stream as sent.
#[derive(Default)]
pub struct Stream {
    pub packets: BTreeMap<u64, Vec<u8>>,
    pub sent: Vec<Sent>,
}

impl Stream {
    /// Sends `matrices` whole ones starting at `first`, and the rest of their repair packets.
    pub fn send(&mut self, shape: Shape, first: u64, matrices: u64, dice: &mut Dice) {
        let mut encoder = Encoder::new(shape, dice.any() as u16, dice.any() as u16);
        let mut out = Vec::new();
        for number in first..first + matrices * shape.packets() as u64 {
            let packet = media(number, dice);
            assert_eq!(encoder.media(&packet, &mut out), Taken::Added);
            self.sent.push(Sent::Media(number));
            self.sent.extend(out.drain(..).map(Sent::Repair));
            self.packets.insert(number, packet);
        }
        encoder.flush(&mut out);
        self.sent.extend(out.drain(..).map(Sent::Repair));
    }

    pub fn new(shape: Shape, first: u64, matrices: u64, dice: &mut Dice) -> Stream {
        let mut stream = Stream::default();
        stream.send(shape, first, matrices, dice);
        stream
    }

    pub fn first(&self) -> u64 {
        *self.packets.keys().next().expect("a packet")
    }
}

/// A decoder and all of its output.
pub struct Receiver {
    pub decoder: Decoder,
    pub end: u64,
    pub rebuilt: BTreeMap<u64, Vec<u8>>,
    pub hopeless: BTreeSet<u64>,
    pub nonsense: u64,
}

impl Receiver {
    pub fn new(start: u64) -> Receiver {
        let decoder = Decoder::new(start);
        Receiver { decoder, end: start, rebuilt: BTreeMap::new(), hopeless: BTreeSet::new(), nonsense: 0 }
    }

    pub fn media(&mut self, number: u64, packet: &[u8]) {
        self.end = self.end.max(number + 1);
        let news = self.decoder.media(number, Sum::from(Shard::of(packet).expect("RTP")));
        self.take(news);
    }

    pub fn repair(&mut self, bytes: &[u8]) {
        let repair = Repair::parse(bytes).expect("a repair packet");
        let base = Space::RTP.extend(self.end, repair.base().into());
        if let Ok(news) = self.decoder.repair(base, &repair) {
            self.take(news);
        }
    }

    fn take(&mut self, news: News) {
        self.nonsense += news.nonsense;
        self.hopeless.extend(news.hopeless);
        for number in news.rebuilt {
            let mut packet = Vec::new();
            let shard = self.decoder.rebuilt(number).expect("just rebuilt");
            assert!(shard.emit(number as u16, SSRC, &mut packet));
            assert!(self.rebuilt.insert(number, packet).is_none(), "{number} came back twice");
        }
    }

    pub fn receive(&mut self, sent: &Sent, stream: &Stream) {
        match sent {
            Sent::Media(number) => self.media(*number, &stream.packets[number]),
            Sent::Repair(datagram) => self.repair(&datagram.bytes),
        }
    }
}
