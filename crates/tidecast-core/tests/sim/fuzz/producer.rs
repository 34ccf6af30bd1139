//! Senders of all formats, whose packets are mostly in sequence.

use tidecast_wire::{
    Format,
    fec::rs::Codes,
    native::{self, Kind, NackRepr, RepairRepr, SourceShard},
    st2022, ts,
};

use super::{number, pick, random};
use crate::{
    formats::{native as datagram, repairs},
    harness::Dice,
};

/// A sender whose packets are mostly in sequence, so that the inner states are reached.
#[derive(Clone)]
pub(super) struct Producer {
    stream: u32,
    session: u32,
    next: u64,
    /// One packet in this many is not in sequence.
    calm: u64,
    block: Vec<(u64, Vec<u8>)>,
    pending: Vec<Vec<u8>>,
}

impl Producer {
    pub(super) fn new(dice: &mut Dice) -> Producer {
        let next = if dice.hits(0.5) { 0 } else { number(dice) };
        Producer {
            stream: dice.below(16) as u32,
            session: dice.below(3) as u32,
            next,
            calm: pick(dice, &[10, 40, 1000, 1000, 4000]),
            block: vec![],
            pending: vec![],
        }
    }

    fn step(&mut self, dice: &mut Dice) -> u64 {
        let step = match dice.below(self.calm) {
            0 => dice.below(20),
            1 => dice.below(3000),
            2 => 0_u64.wrapping_sub(dice.below(500)),
            3 => number(dice),
            _ => 1,
        };
        let number = self.next;
        self.next = self.next.wrapping_add(step);
        if dice.below(8 * self.calm) == 0 {
            self.session = dice.below(3) as u32;
            self.next = if dice.hits(0.6) { 0 } else { number };
        }
        number
    }

    fn native(&mut self, dice: &mut Dice, codes: &mut Codes) -> Vec<u8> {
        if let Some(repair) = self.pending.pop().filter(|_| dice.hits(0.9)) {
            return repair;
        }
        let (stream, session, at) = (self.stream, self.session, self.next);
        let near = at.wrapping_add(dice.below(60)).wrapping_sub(dice.below(60));
        match dice.below(24.max(self.calm / 4)) {
            0 => datagram(Kind::Heartbeat, stream, session, near, 0, b""),
            1 => datagram(Kind::End, stream, session, if dice.hits(0.5) { at } else { number(dice) }, 0, b""),
            2 => self.forged_repair(dice, near),
            3 => {
                let mut out = Vec::new();
                let payload = random(dice, 12);
                let flags = native::RETRANSMISSION;
                native::Repr {
                    kind: Kind::Data,
                    flags,
                    stream,
                    session,
                    sequence: near,
                    timestamp: 9,
                    payload: &payload,
                }
                .emit(&mut out);
                out
            }
            4 => {
                let mut payload = Vec::new();
                let ranges: Vec<(u64, u16)> =
                    (0..dice.below(70)).map(|_| (number(dice), dice.any() as u16)).collect();
                NackRepr { ranges: &ranges }.emit(&mut payload);
                datagram(Kind::Nack, stream, session, 0, 0, &payload)
            }
            _ => self.data(dice, codes),
        }
    }

    fn data(&mut self, dice: &mut Dice, codes: &mut Codes) -> Vec<u8> {
        let sequence = self.step(dice);
        let len = dice.below(60);
        let (timestamp, payload) = (number(dice), random(dice, len));
        self.block.push((timestamp, payload.clone()));
        if self.next != sequence.wrapping_add(1) {
            self.block.clear();
        } else if self.block.len() == 8 {
            let first = self.next.wrapping_sub(8);
            self.pending = repairs(codes, self.session, first, 3, 1, &self.block);
            for repair in &mut self.pending {
                repair[4..8].copy_from_slice(&self.stream.to_be_bytes());
                let end = repair.len() - native::TRAILER;
                let crc = crc32fast::hash(&repair[..end]);
                repair[end..].copy_from_slice(&crc.to_be_bytes());
            }
            self.block.clear();
        }
        datagram(Kind::Data, self.stream, self.session, sequence, timestamp, &payload)
    }

    fn forged_repair(&mut self, dice: &mut Dice, near: u64) -> Vec<u8> {
        let len = SourceShard::HEADER as u64 + dice.below(80);
        let shard = random(dice, len);
        let k_max = if dice.hits(0.9) { 20 } else { 254 };
        let k = 1 + dice.below(k_max) as u8;
        let m = 1 + dice.below(u64::from(255 - k)) as u8;
        let index = dice.below(u64::from(m)) as u8;
        let stride = if dice.hits(0.7) { 1 } else { 1 + dice.below(255) as u8 };
        let mut payload = Vec::new();
        RepairRepr { k, m, index, stride, shard: &shard }.emit(&mut payload);
        let first = if dice.hits(0.9) { near } else { number(dice) };
        datagram(Kind::Repair, self.stream, self.session, first, 0, &payload)
    }

    fn rtp(&mut self, dice: &mut Dice) -> Vec<u8> {
        let sequence = self.step(dice) as u16;
        let first = 0x80 | if dice.hits(0.9) { 0 } else { dice.any() as u8 & 0x3f };
        let ssrc = self.stream * 10 + self.session;
        let mut out = vec![first, dice.any() as u8 & 0x3f];
        out.extend_from_slice(&sequence.to_be_bytes());
        out.extend_from_slice(&(dice.any() as u32).to_be_bytes());
        out.extend_from_slice(&ssrc.to_be_bytes());
        let len = dice.below(60);
        out.extend(random(dice, len));
        out
    }

    /// Returns a repair packet of SMPTE ST 2022-1 around the current numbers.
    pub(super) fn st2022(&mut self, dice: &mut Dice) -> Vec<u8> {
        let near = self.next.wrapping_sub(dice.below(120)) as u16;
        let len = dice.below(60);
        let body = random(dice, len);
        let fields = st2022::Fields {
            flags: if dice.hits(0.9) { 0 } else { dice.any() as u8 & 0x3f },
            marker_and_type: dice.any() as u8,
            length: if dice.hits(0.8) { dice.below(60) } else { dice.any() } as u16,
            timestamp: dice.any() as u32,
        };
        let axis = if dice.hits(0.5) { st2022::Axis::Row } else { st2022::Axis::Column };
        let (offset, count) = (1 + dice.below(20) as u8, 1 + dice.below(20) as u8);
        let (sequence, timestamp) = (dice.any() as u16, dice.any() as u32);
        let mut out = Vec::new();
        st2022::Repr {
            axis,
            payload_type: st2022::PAYLOAD_TYPE,
            sequence,
            timestamp,
            ssrc: 0,
            base: near,
            offset,
            count,
            shard: st2022::Shard { fields, body: &body },
        }
        .emit(&mut out);
        out
    }

    /// Returns fields of all widths at the positions of the layouts above.
    fn custom(&mut self, dice: &mut Dice, format: &Format) -> Vec<u8> {
        let text = format.to_string();
        let step = if dice.hits(0.8) { 1 + dice.below(4) } else { number(dice) };
        let at = self.step(dice);
        let mut out = random(dice, 48);
        out[8] = self.stream as u8;
        if text == "artnet" {
            out[..8].copy_from_slice(b"Art-Net\0");
            out[12] = at as u8;
            out[14..16].fill(0);
        } else if text == "moldudp64" {
            out[..10].fill(self.session as u8);
            out[10..18].copy_from_slice(&at.to_be_bytes());
            out[18..20].copy_from_slice(&(step as u16).to_be_bytes());
        } else if text.starts_with("seq=u16be@4") {
            out[..4].fill(self.stream as u8);
            out[4..6].copy_from_slice(&(at as u16).to_be_bytes());
        } else if text.starts_with("seq=u8") {
            out[..3].copy_from_slice(&[at as u8, self.stream as u8, step as u8]);
        } else if text.starts_with("seq=u32") {
            out[..4].copy_from_slice(&(at as u32).to_be_bytes());
            out[4..6].copy_from_slice(&(step as u16).to_be_bytes());
            out[6..8].fill(self.stream as u8);
        } else {
            let number = if text.contains("le@") { at.to_le_bytes() } else { at.to_be_bytes() };
            out[..8].copy_from_slice(&number);
            if text.contains("step") {
                out[8..16].copy_from_slice(&step.to_be_bytes());
            }
        }
        let len = 20 + dice.below(28);
        out.truncate(len as usize);
        out
    }

    pub(super) fn datagram(&mut self, dice: &mut Dice, codes: &mut Codes, format: &Format) -> Vec<u8> {
        match (format, dice.below(20)) {
            (_, 0) => {
                let len = dice.below(400);
                random(dice, len)
            }
            (Format::Native, _) | (Format::Auto, 1..=12) => self.native(dice, codes),
            (Format::Rtp, _) | (Format::Auto, 13..=17) => self.rtp(dice),
            (Format::Custom(_), _) => self.custom(dice, format),
            _ => transport_stream(dice),
        }
    }
}

fn transport_stream(dice: &mut Dice) -> Vec<u8> {
    let packets = 1 + dice.below(7);
    let mut out = random(dice, packets * ts::PACKET as u64);
    for packet in out.chunks_mut(ts::PACKET) {
        packet[0] = ts::SYNC;
        packet[1] &= 0x81;
    }
    out
}
