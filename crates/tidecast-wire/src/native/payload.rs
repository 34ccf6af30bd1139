//! Payloads of repair and NACK datagrams, and the source shards from which repair shards are
//! computed.
//!
//! `producer` makes source shards of its data packets, computes repair shards with `fec` and sends
//! them as [`RepairRepr`]; `relay` makes the same source shards of received packets, and turns
//! recovered ones into packets.

use super::{NativeError, Packet, RETRANSMISSION, Repr};
use crate::{bytes_at, limits::NACK_RANGES_MAX};

// `Self::HEADER` cannot be a const argument in an impl with a lifetime.
const REPAIR_HEADER: usize = 6;
const SHARD_HEADER: usize = 12;

/// The payload of a repair packet, checked: one repair shard of the block that protects the `k`
/// numbers `first + i * stride`, where `first` is the packet's sequence field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repair<'a> {
    repr: RepairRepr<'a>,
}

/// The payload of a repair packet as values, to emit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RepairRepr<'a> {
    /// Data shards of the block, at least 1.
    pub k: u8,
    /// Repair shards of the block, at least 1; `k + m` is at most 255.
    pub m: u8,
    /// Index of this repair shard, in `0..m`.
    pub index: u8,
    /// Distance between protected numbers, at least 1; more than 1 interleaves blocks.
    pub stride: u8,
    /// The shard, at most 65,535 bytes.
    pub shard: &'a [u8],
}

impl<'a> Repair<'a> {
    /// Bytes before the shard.
    pub const HEADER: usize = REPAIR_HEADER;

    /// Checks the payload of a repair packet.
    ///
    /// # Errors
    /// Too short; `k` or `m` 0; `k + m` above 255; stride 0; an index that is not below `m`; a
    /// shard that is not exactly as long as announced, or shorter than the header of a source
    /// shard.
    pub fn parse(payload: &'a [u8]) -> Result<Repair<'a>, NativeError> {
        let Some((header, shard)) = payload.split_first_chunk::<REPAIR_HEADER>() else {
            return Err(NativeError::Shard {
                expected: Self::HEADER + SourceShard::HEADER,
                actual: payload.len(),
            });
        };
        let [k, m, index, stride, ..] = *header;
        let announced = usize::from(u16::from_be_bytes(bytes_at(header, 4)));
        if k == 0 || m == 0 || k.checked_add(m).is_none() {
            return Err(NativeError::Block { k, m });
        }
        if index >= m {
            return Err(NativeError::Index { index, m });
        }
        if stride == 0 {
            return Err(NativeError::Stride);
        }
        if shard.len() != announced {
            return Err(NativeError::Shard { expected: announced, actual: shard.len() });
        }
        if announced < SourceShard::HEADER {
            return Err(NativeError::Shard { expected: SourceShard::HEADER, actual: announced });
        }
        Ok(Repair { repr: RepairRepr { k, m, index, stride, shard } })
    }

    /// Data shards of the block.
    pub fn k(&self) -> usize {
        self.repr.k.into()
    }

    /// Repair shards of the block.
    pub fn m(&self) -> usize {
        self.repr.m.into()
    }

    /// Index of this repair shard, in `0..m`.
    pub fn index(&self) -> usize {
        self.repr.index.into()
    }

    /// Distance between protected numbers.
    pub fn stride(&self) -> u64 {
        self.repr.stride.into()
    }

    /// The shard.
    pub fn shard(&self) -> &'a [u8] {
        self.repr.shard
    }

    /// The same as values.
    pub fn repr(&self) -> RepairRepr<'a> {
        self.repr
    }
}

impl RepairRepr<'_> {
    /// Appends the payload of a repair packet. A receiver drops it if the fields are not as
    /// described.
    pub fn emit(&self, out: &mut Vec<u8>) {
        debug_assert!(self.shard.len() <= usize::from(u16::MAX), "a shard's length has 16 bits");
        out.extend_from_slice(&[self.k, self.m, self.index, self.stride]);
        out.extend_from_slice(&(self.shard.len() as u16).to_be_bytes());
        out.extend_from_slice(self.shard);
    }
}

/// One data packet as input of the code: everything that a receiver must recover, zero-padded to
/// the block's shard length, so that packets of different sizes are recovered exactly.
///
/// flags u8, 0 u8, payload length u16, timestamp u64, payload, zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceShard<'a> {
    /// Flags of the packet, except the retransmission flag.
    pub flags: u8,
    /// The packet's timestamp.
    pub timestamp: u64,
    /// The packet's payload, followed by its tag if it is sealed; at most 65,457 bytes, so that a
    /// repair packet fits into a datagram.
    pub payload: &'a [u8],
}

impl<'a> SourceShard<'a> {
    /// Bytes before the payload.
    pub const HEADER: usize = SHARD_HEADER;

    /// The shard of a data packet.
    pub fn of(packet: &Packet<'a>) -> SourceShard<'a> {
        let Repr { flags, timestamp, payload, .. } = packet.repr();
        SourceShard { flags, timestamp, payload }
    }

    /// Bytes of the shard without padding: the block's shard length is the maximum of these.
    #[allow(clippy::len_without_is_empty)] // there is always a header
    pub fn len(&self) -> usize {
        Self::HEADER + self.payload.len()
    }

    /// Appends the shard, padded to `shard_len` (which is at least [`SourceShard::len`]); the
    /// retransmission flag is cleared, since an original and its retransmission are the same
    /// shard.
    pub fn emit(&self, shard_len: usize, out: &mut Vec<u8>) {
        debug_assert!(self.len() <= shard_len && self.payload.len() <= usize::from(u16::MAX));
        let end = out.len() + shard_len;
        out.extend_from_slice(&[self.flags & !RETRANSMISSION, 0]);
        out.extend_from_slice(&(self.payload.len() as u16).to_be_bytes());
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        out.extend_from_slice(self.payload);
        out.resize(end, 0);
    }

    /// Reads a recovered shard.
    ///
    /// # Errors
    /// A shard too short for its payload, or with a reserved byte or padding that is not zero. No
    /// checksum covers a recovered packet, so only this, and the tag of a sealed one, show that
    /// the shards did not belong together.
    pub fn parse(shard: &'a [u8]) -> Result<SourceShard<'a>, NativeError> {
        let Some((header, rest)) = shard.split_first_chunk::<SHARD_HEADER>() else {
            return Err(NativeError::Shard { expected: Self::HEADER, actual: shard.len() });
        };
        let len = usize::from(u16::from_be_bytes(bytes_at(header, 2)));
        let Some((payload, padding)) = rest.split_at_checked(len) else {
            return Err(NativeError::Shard { expected: Self::HEADER + len, actual: shard.len() });
        };
        if header[1] != 0 || padding.iter().any(|&byte| byte != 0) {
            return Err(NativeError::Padding);
        }
        Ok(SourceShard { flags: header[0], timestamp: u64::from_be_bytes(bytes_at(header, 4)), payload })
    }
}

/// The checked payload of a NACK: ranges of requested numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nack<'a> {
    ranges: &'a [[u8; Nack::RANGE]],
}

/// The payload of a NACK as values, to emit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NackRepr<'a> {
    /// First number and count of each range; at most [`NACK_RANGES_MAX`] of them.
    pub ranges: &'a [(u64, u16)],
}

impl<'a> Nack<'a> {
    /// Bytes of one range.
    pub const RANGE: usize = 10;

    /// Checks the payload of a NACK.
    ///
    /// # Errors
    /// A length that is not a multiple of a range's, or more than [`NACK_RANGES_MAX`] ranges.
    pub fn parse(payload: &'a [u8]) -> Result<Nack<'a>, NativeError> {
        match payload.as_chunks() {
            (ranges, []) if ranges.len() <= NACK_RANGES_MAX => Ok(Nack { ranges }),
            _ => Err(NativeError::Nack { actual: payload.len() }),
        }
    }

    /// First number and count of each range. A count may be 0, and a range may end beyond
    /// `u64::MAX`: the contents are not validated.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u16)> + use<'a> {
        self.ranges
            .iter()
            .map(|range| (u64::from_be_bytes(bytes_at(range, 0)), u16::from_be_bytes(bytes_at(range, 8))))
    }
}

impl NackRepr<'_> {
    /// Appends the payload of a NACK; ranges beyond [`NACK_RANGES_MAX`] are omitted, for the next
    /// NACK.
    pub fn emit(&self, out: &mut Vec<u8>) {
        for (first, count) in self.ranges.iter().take(NACK_RANGES_MAX) {
            out.extend_from_slice(&first.to_be_bytes());
            out.extend_from_slice(&count.to_be_bytes());
        }
    }
}
