//! A sender of media whose content is derived from its number, and of the repair packets of the
//! encoders that users run.

use std::{rc::Rc, time::Instant};

use tidecast_core::{
    encode,
    relay::{self, Asks, Config, Hold},
};
use tidecast_wire::fec::native::Fec;
use tidecast_wire::{
    self as wire, Datagram, Format,
    fec::matrix::{self, Shape, Taken},
    native::{self, Kind},
    rtp,
    seq::Space,
    st2022::Repair,
};

use super::{
    ideal::Line,
    protection::{Code, Protection},
};

/// The first RTP sequence number, chosen so that it wraps in the second matrix.
const FIRST: u64 = 65_400;
const SSRC: u32 = 0x5EED_0001;
const SESSION: u32 = 5;
const STREAM: u32 = 7;

/// Purpose of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A media packet with its number, counted from 0.
    Media(u64),
    /// A retransmitted media packet.
    Again(u64),
    /// A repair packet.
    Repair(Line),
}

/// A packet on the wire.
#[derive(Clone, Debug)]
pub struct Packet {
    pub what: What,
    pub bytes: Rc<[u8]>,
    /// Whether it goes to a separate port beside the media.
    pub beside: bool,
}

enum Encoder {
    None,
    Native(encode::Encoder),
    St2022(matrix::Encoder),
}

/// Sends one stream.
pub struct Sender {
    code: Code,
    encoder: Encoder,
    seed: u64,
}

impl Sender {
    /// Creates a sender of generated content.
    pub fn new(code: Code, seed: u64) -> Sender {
        let encoder = match code {
            Code::None => Encoder::None,
            Code::Plain => Encoder::Native(encode::Encoder::new(STREAM, SESSION, None)),
            Code::Native { k, m, stride } => {
                let fec = Fec::new(k, m, stride).expect("a shape");
                Encoder::Native(encode::Encoder::new(STREAM, SESSION, Some(fec)))
            }
            Code::St2022 { columns, rows, row_fec } => {
                let shape = Shape::new(columns, rows, row_fec).expect("a matrix");
                Encoder::St2022(matrix::Encoder::new(shape, 7, 9))
            }
        };
        Sender { code, encoder, seed }
    }

    /// Returns the relay's configuration for such a stream.
    pub fn config(protection: Protection, hold: Hold) -> Config {
        let (format, fec) = match protection.code {
            Code::Native { .. } | Code::Plain => ("auto", relay::Fec::Off),
            Code::None => ("rtp", relay::Fec::Off),
            Code::St2022 { .. } => ("rtp", relay::Fec::St2022),
        };
        let format = format.parse().expect("a format");
        let asks = vec![Asks { requests: protection.round_trip.is_some(), ..Asks::default() }];
        Config { format, fec, hold, asks, legs: protection.legs.into(), ..Config::default() }
    }

    /// Returns 16 to 64 bytes derived from the number: short, so that a short run has many
    /// packets.
    fn payload(&self, number: u64) -> Vec<u8> {
        let mixed = (number ^ self.seed).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut payload = vec![mixed as u8; 16 + (mixed >> 58) as usize % 49];
        payload[..8].copy_from_slice(&number.to_be_bytes());
        payload
    }

    fn timestamp(&self, number: u64) -> u64 {
        1_000_000 + number * 1316
    }

    /// Returns the media packet of a number as sent.
    pub fn media(&self, number: u64) -> Vec<u8> {
        let (payload, mut out) = (self.payload(number), Vec::new());
        match self.encoder {
            Encoder::Native(_) => {
                let (timestamp, sequence) = (self.timestamp(number), number);
                native::Repr {
                    kind: Kind::Data,
                    flags: 0,
                    stream: STREAM,
                    session: SESSION,
                    sequence,
                    timestamp,
                    payload: &payload,
                }
                .emit(&mut out);
            }
            _ => rtp::Repr {
                marker: number % 9 == 4,
                payload_type: 33,
                sequence: (FIRST + number) as u16,
                timestamp: number as u32 * 118,
                ssrc: SSRC,
                payload: &payload,
            }
            .emit(&mut out),
        }
        out
    }

    /// Sends the next media packet, and the repair packets that follow it.
    pub fn send(&mut self, now: Instant, number: u64, out: &mut Vec<Packet>) {
        let media = self.media(number);
        let (payload, timestamp) = (self.payload(number), self.timestamp(number));
        let mut repairs = Vec::new();
        match &mut self.encoder {
            Encoder::None => {}
            Encoder::Native(encoder) => {
                let mut all = Vec::new();
                encoder.push(now, timestamp, &payload, |bytes| all.push(bytes.to_vec())).expect("it fits");
                let mut all = all.into_iter();
                assert_eq!(all.next().as_ref(), Some(&media), "the packet is what was meant");
                repairs.extend(all.map(|bytes| (native_line(&bytes), bytes)));
            }
            Encoder::St2022(encoder) => {
                let mut all = Vec::new();
                assert_eq!(encoder.media(&media, &mut all), Taken::Added);
                repairs
                    .extend(all.into_iter().map(|repair| (matrix_line(&repair.bytes, number), repair.bytes)));
            }
        }
        let beside = matches!(self.code, Code::St2022 { .. });
        out.push(Packet { what: What::Media(number), bytes: media.into(), beside: false });
        out.extend(repairs.into_iter().map(|(line, bytes)| Packet {
            what: What::Repair(line),
            bytes: bytes.into(),
            beside,
        }));
    }

    /// Returns the retransmissions for a request.
    pub fn answer(&self, request: &[u8]) -> Vec<Packet> {
        let Ok(Datagram::Native(request)) = wire::parse(&Format::Auto, request) else { panic!("native") };
        assert_eq!((request.kind(), request.session()), (Kind::Nack, SESSION));
        let wanted = native::Nack::parse(request.payload()).expect("a request");
        let numbers = wanted.iter().flat_map(|(first, count)| first..first + u64::from(count));
        let again = |number| Packet {
            what: What::Again(number),
            bytes: self.media_again(number).into(),
            beside: false,
        };
        numbers.map(again).collect()
    }

    /// Returns a retransmitted media packet.
    pub fn media_again(&self, number: u64) -> Vec<u8> {
        let (media, mut out) = (self.media(number), Vec::new());
        let Ok(Datagram::Native(packet)) = wire::parse(&Format::Auto, &media) else { panic!("native") };
        native::Repr { flags: native::RETRANSMISSION, ..packet.repr() }.emit(&mut out);
        out
    }

    /// Returns the number of a delivered datagram, from its content.
    pub fn number(payload: &[u8]) -> u64 {
        u64::from_be_bytes(*payload.first_chunk().expect("a payload with a number"))
    }
}

fn native_line(bytes: &[u8]) -> Line {
    let Ok(Datagram::Native(packet)) = wire::parse(&Format::Auto, bytes) else { panic!("native") };
    let repair = native::Repair::parse(packet.payload()).expect("a repair packet");
    let (offset, count) = (repair.stride(), repair.k() as u64);
    Line { base: packet.sequence(), offset, count, index: repair.index() as u32 }
}

fn matrix_line(bytes: &[u8], latest: u64) -> Line {
    let repair = Repair::parse(bytes).expect("a repair packet");
    let base = Space::RTP.extend(FIRST + latest, repair.base().into()) - FIRST;
    Line { base, offset: repair.offset(), count: repair.count(), index: 0 }
}
