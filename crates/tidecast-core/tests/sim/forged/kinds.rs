//! One forged datagram: its type, its position in the numbering, its source and its time.

use std::time::Duration;

use tidecast_wire::{
    native::{Kind, NackRepr, RepairRepr},
    rtcp::{Block, Echo, Numbers, Repr},
    st2022::{self, Axis, Fields, Shard},
};

use super::stream::{
    BLOCK, FORGED_AT, Format, Incoming, PACKETS, Protection, SESSION, STREAM, Stream, feed, report,
};
use crate::{
    formats,
    harness::{Dice, Sim, source},
};

/// A session or SSRC other than the producer's.
const OTHER: u32 = 0x0BAD_0002;

/// Content of a forged media packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// The same as in the producer's packet with that number.
    Copied,
    /// As long as the original, with a similar timestamp.
    Alike,
    Unlike,
}

/// Packets that a forged repair packet claims to protect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// A block or line with the producer's parameters and alignment.
    Own,
    /// The same parameters with any alignment.
    Shifted,
    /// One packet.
    One,
    /// Many more packets than a block.
    Wide,
}

/// The kinds of forged datagrams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    Media { session: u32, content: Content, again: bool },
    Repair { claim: Claim, index: u8 },
    Heartbeat { session: u32 },
    End { session: u32 },
    Nack,
    Report { ssrc: u32 },
    Bye,
    RtcpNack,
    EchoRequest,
    EchoResponse,
    Garbage,
}

/// One forged datagram.
#[derive(Debug, Clone)]
pub struct Forged {
    pub what: What,
    /// Distance from the next number.
    pub position: i64,
    /// Whether it comes from the producer's own address.
    pub true_source: bool,
    /// The producer's packet after which it is sent.
    pub after: u64,
    /// Whether it follows the other datagrams of the same millisecond.
    pub behind: bool,
    incoming: Incoming,
}

/// Columns of the table.
pub const GROUPS: [&str; 5] = ["media", "other session", "repair", "heartbeat, end", "RTCP, NACK, garbage"];

impl What {
    /// Returns its column of the table.
    pub fn group(&self) -> usize {
        match self {
            What::Media { session: SESSION, .. } => 0,
            What::Media { .. } => 1,
            What::Repair { .. } => 2,
            What::Heartbeat { .. } | What::End { .. } => 3,
            _ => 4,
        }
    }

    /// Returns all forgeries that are possible for a stream.
    pub fn all(stream: &Stream) -> Vec<What> {
        let (native, rtp) = (stream.format == Format::Native, stream.format == Format::Rtp);
        let mut all = vec![What::Garbage];
        for content in [Content::Copied, Content::Alike, Content::Unlike] {
            all.push(What::Media { session: SESSION, content, again: false });
            if native || stream.is_rist() {
                all.push(What::Media { session: SESSION, content, again: true });
            }
        }
        if native || rtp {
            all.push(What::Media { session: OTHER, content: Content::Alike, again: false });
        }
        if native || (rtp && stream.protection == Protection::Fec) {
            for claim in [Claim::Own, Claim::Shifted, Claim::One, Claim::Wide] {
                all.extend([0, 1].map(|index| What::Repair { claim, index }));
            }
        }
        if native {
            for session in [SESSION, OTHER] {
                all.extend([What::Heartbeat { session }, What::End { session }]);
            }
            all.push(What::Nack);
        }
        if stream.is_rist() {
            all.extend([SESSION, OTHER].map(|ssrc| What::Report { ssrc }));
            all.extend([What::Bye, What::RtcpNack, What::EchoRequest, What::EchoResponse]);
        }
        all
    }

    /// Returns whether it contains a sequence number.
    pub fn has_place(&self) -> bool {
        matches!(self, What::Media { .. } | What::Repair { .. } | What::Heartbeat { .. } | What::End { .. })
    }
}

impl Forged {
    pub fn new(
        stream: &Stream,
        what: What,
        position: i64,
        true_source: bool,
        (after, behind): (u64, bool),
        dice: &mut Dice,
    ) -> Forged {
        let index = (after + 1).saturating_add_signed(position);
        let incoming = match what {
            What::Media { session, content, again } => {
                let mut bytes = media(stream, session, index, content, dice);
                if again {
                    bytes = stream.again(bytes);
                }
                let leg = if stream.protection == Protection::Legs { (dice.any() & 1) as u8 } else { 0 };
                Incoming::Packet(leg, bytes)
            }
            What::Repair { claim, index: row } if stream.format == Format::Rtp => {
                Incoming::Repair(line(stream, index, claim, row, dice))
            }
            What::Repair { claim, index: place } => {
                Incoming::Packet(0, block(stream, index, claim, place, dice))
            }
            What::Heartbeat { session } => {
                Incoming::Packet(0, word(Kind::Heartbeat, session, stream.number(index)))
            }
            What::End { session } => Incoming::Packet(0, word(Kind::End, session, stream.number(index))),
            What::Nack => {
                let mut payload = Vec::new();
                NackRepr { ranges: &[(stream.number(after.saturating_sub(9)), 9)] }.emit(&mut payload);
                Incoming::Packet(0, formats::native(Kind::Nack, STREAM, SESSION, 0, 0, &payload))
            }
            What::Garbage => {
                let len = 1 + dice.below(200);
                Incoming::Packet(0, (0..len).map(|_| dice.any() as u8 | 0x80).collect())
            }
            _ => Incoming::Control(rtcp(what, dice)),
        };
        Forged { what, position, true_source, after, behind, incoming }
    }

    pub fn slot(&self, stream: &Stream) -> u64 {
        stream.slot(self.after)
    }

    pub fn feed(&self, sim: &mut Sim, at: Duration) {
        let from = source(if self.true_source { 1 } else { 9 });
        feed(sim, at, from, &self.incoming);
    }
}

fn media(stream: &Stream, session: u32, index: u64, content: Content, dice: &mut Dice) -> Vec<u8> {
    let number = stream.number(index);
    let forged = 1 << 60 | dice.any() << 32 >> 4 | index;
    match content {
        Content::Copied if index < PACKETS => stream.datagram(session, number, index),
        Content::Copied | Content::Alike => {
            let mut bytes = stream.datagram(session, number, index);
            if stream.format == Format::Native {
                let packet = tidecast_wire::native::Packet::parse(&bytes).expect("native");
                let payload = vec![0x66; packet.payload().len()];
                bytes = formats::native(Kind::Data, STREAM, session, number, packet.timestamp(), &payload);
            } else if stream.format == Format::Ts {
                bytes[4..12].fill(0xee);
            } else {
                let len = bytes.len();
                bytes[len - 8..].copy_from_slice(&forged.to_be_bytes());
            }
            bytes
        }
        Content::Unlike if stream.format == Format::Native => {
            formats::native(Kind::Data, STREAM, session, number, 0, &[0x66; 400])
        }
        Content::Unlike if stream.format == Format::Ts => vec![0xee; 188],
        Content::Unlike => stream.datagram(session, number, forged),
    }
}

fn word(kind: Kind, session: u32, next: u64) -> Vec<u8> {
    formats::native(kind, STREAM, session, next, 0, &[])
}

fn shard(dice: &mut Dice, len: usize) -> Vec<u8> {
    (0..len).map(|_| dice.any() as u8).collect()
}

/// Returns a forged native repair packet.
fn block(stream: &Stream, index: u64, claim: Claim, place: u8, dice: &mut Dice) -> Vec<u8> {
    let (k, m) = (BLOCK.0 as u8, BLOCK.1 as u8);
    let (first, k, m, stride) = match claim {
        Claim::Own => (index - index % BLOCK.0, k, m, 1),
        Claim::Shifted => (index, k, m, 1),
        Claim::One => (index, 1, 1, 1),
        Claim::Wide => (index, 100, 1 + 9 * place, 1 + 7 * place),
    };
    let own = (first..first + BLOCK.0).map(|index| {
        let bytes = stream.media(index);
        tidecast_wire::native::Packet::parse(&bytes).map_or(0, |packet| packet.payload().len())
    });
    let mut shard = shard(dice, 12 + own.max().unwrap_or(0));
    if claim == Claim::One {
        // The repair packet contains the protected packet itself.
        let len = (shard.len() - 12) as u16;
        shard[..4].copy_from_slice(&[0, 0, (len >> 8) as u8, len as u8]);
    }
    let mut payload = Vec::new();
    RepairRepr { k, m, index: place.min(m - 1), stride, shard: &shard }.emit(&mut payload);
    formats::native(Kind::Repair, STREAM, SESSION, stream.number(first), 0, &payload)
}

/// Returns a forged ST 2022-1 repair packet: a column, or a row if `row`.
fn line(stream: &Stream, index: u64, claim: Claim, row: u8, dice: &mut Dice) -> Vec<u8> {
    let row = row == 1;
    let (base, offset, count) = match (claim, row) {
        (Claim::Own, false) => (index - index % 25 + index % 5, 5, 5),
        (Claim::Own, true) => (index - index % 5, 1, 5),
        (Claim::Shifted, false) => (index, 5, 5),
        (Claim::Shifted, true) => (index, 1, 5),
        (Claim::One, _) => (index, 1, 1),
        (Claim::Wide, false) => (index, 20, 20),
        (Claim::Wide, true) => (index, 1, 20),
    };
    let alike = claim == Claim::One;
    let fields = Fields {
        flags: 0,
        marker_and_type: if alike { 33 } else { dice.any() as u8 & 0x7f },
        length: if alike { 8 } else { dice.any() as u16 & 0x0f },
        timestamp: dice.any() as u32,
    };
    let body = shard(dice, 8);
    let mut out = Vec::new();
    st2022::Repr {
        axis: if row { Axis::Row } else { Axis::Column },
        payload_type: 96,
        sequence: dice.any() as u16,
        timestamp: 0,
        ssrc: 0,
        base: stream.number(base) as u16,
        offset,
        count,
        shard: Shard { fields, body: &body },
    }
    .emit(&mut out);
    out
}

fn rtcp(what: What, dice: &mut Dice) -> Vec<u8> {
    let mut bytes = report(match what {
        What::Report { ssrc } => ssrc,
        _ => OTHER,
    });
    let echo = Echo { ssrc: SESSION, timestamp: dice.any() % (1 << 32), delay: 0, padding: &[] };
    let numbers = [Numbers { first: 100, more: 20 }];
    let block = Block {
        ssrc: SESSION,
        fraction_lost: 3,
        lost: 3,
        highest: 9,
        jitter: 7,
        last_report: 0,
        since_report: 0,
    };
    match what {
        What::Bye => {
            bytes = report(SESSION);
            Repr::Bye { ssrc: SESSION }.emit(&mut bytes);
        }
        What::RtcpNack => {
            Repr::GenericNack { sender: OTHER, media: SESSION, numbers: &numbers }.emit(&mut bytes)
        }
        What::EchoRequest => Repr::EchoRequest(echo).emit(&mut bytes),
        What::EchoResponse => Repr::EchoResponse(echo).emit(&mut bytes),
        _ => Repr::ReceiverReport { ssrc: OTHER, blocks: &[block] }.emit(&mut bytes),
    }
    bytes
}

/// Returns the positions around the next number.
pub fn positions(all: bool) -> Vec<i64> {
    let far = [-20_000, -2000, 200, 500, 2000, 20_000];
    let mut positions: Vec<i64> = match all {
        true => (-130..=130).collect(),
        false => (-6..=12)
            .chain([-101, -40, -25, -10, 16, 20, 24, 33, 50, 64, 80, 98, 99, 100, 101, 120])
            .collect(),
    };
    positions.extend(far);
    positions.retain(|position| FORGED_AT as i64 + position > 0 || position.abs() >= 1000);
    positions
}
