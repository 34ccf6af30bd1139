//! Datagrams of every format, whose content identifies their packet and run.

use tidecast_wire::{
    fec::rs::Codes,
    native::{Kind, RepairRepr, Repr, SourceShard},
    rtp,
};

/// A format of sequence numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbered {
    Native,
    Rtp,
    /// A little-endian u16 after four bytes.
    Custom16,
    /// A byte, as in MAVLink.
    Custom8,
}

impl Numbered {
    pub fn format(self) -> &'static str {
        match self {
            Numbered::Native => "auto",
            Numbered::Rtp => "rtp",
            Numbered::Custom16 => "seq=u16le@4,id=u32be@0",
            Numbered::Custom8 => "seq=u8@4,id=u32be@0",
        }
    }

    /// Returns the size of the number space, after which it wraps to 0.
    pub fn modulus(self) -> u64 {
        match self {
            Numbered::Native => 1 << 62,
            Numbered::Rtp | Numbered::Custom16 => 1 << 16,
            Numbered::Custom8 => 1 << 8,
        }
    }

    /// Returns one datagram. `session` is the session id or SSRC, if the format has one;
    /// `identity` is its content.
    pub fn datagram(self, session: u32, number: u64, identity: u64) -> Vec<u8> {
        let payload = identity.to_be_bytes();
        match self {
            Numbered::Native => native(Kind::Data, 7, session, number, identity + 1, &payload),
            Numbered::Rtp => {
                let mut out = Vec::new();
                rtp::Repr {
                    marker: false,
                    payload_type: 33,
                    sequence: number as u16,
                    timestamp: identity.wrapping_mul(180) as u32,
                    ssrc: session,
                    payload: &payload,
                }
                .emit(&mut out);
                out
            }
            Numbered::Custom16 => {
                [&[0, 0, 0, 9], &(number as u16).to_le_bytes()[..], &[0, 0], &payload].concat()
            }
            Numbered::Custom8 => [&[0, 0, 0, 9, number as u8, 0, 0, 0], &payload[..]].concat(),
        }
    }

    /// Returns the identity of a delivered payload's packet.
    pub fn identity(self, payload: &[u8]) -> u64 {
        let end = payload.last_chunk::<8>().expect("a payload with an identity");
        u64::from_be_bytes(*end)
    }
}

pub fn native(
    kind: Kind,
    stream: u32,
    session: u32,
    sequence: u64,
    timestamp: u64,
    payload: &[u8],
) -> Vec<u8> {
    let mut out = Vec::new();
    Repr { kind, flags: 0, stream, session, sequence, timestamp, payload }.emit(&mut out);
    out
}

/// Returns the repair datagrams of a block of (timestamp, payload).
pub fn repairs(
    codes: &mut Codes,
    session: u32,
    first: u64,
    m: usize,
    stride: u8,
    sources: &[(u64, Vec<u8>)],
) -> Vec<Vec<u8>> {
    let len = SourceShard::HEADER + sources.iter().map(|(_, p)| p.len()).max().expect("a block has sources");
    let shard = |(timestamp, payload): &(u64, Vec<u8>)| {
        let mut out = Vec::with_capacity(len);
        SourceShard { flags: 0, timestamp: *timestamp, payload }.emit(len, &mut out);
        out
    };
    let shards: Vec<Vec<u8>> = sources.iter().map(shard).collect();
    let mut parity = vec![Vec::new(); m];
    let slices: Vec<&[u8]> = shards.iter().map(Vec::as_slice).collect();
    codes.encode(sources.len(), m, &slices, &mut parity).expect("a valid block");
    let (k, m) = (sources.len() as u8, m as u8);
    let repair = |(index, shard): (usize, &Vec<u8>)| {
        let mut payload = Vec::new();
        RepairRepr { k, m, index: index as u8, stride, shard }.emit(&mut payload);
        native(Kind::Repair, 7, session, first, 0, &payload)
    };
    parity.iter().enumerate().map(repair).collect()
}
