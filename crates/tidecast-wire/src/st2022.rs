//! SMPTE ST 2022-1 (Pro-MPEG COP3): the checked view of a repair packet, a representation that
//! emits one, and the shard of an RTP packet that the repair packets protect.
//!
//! A repair packet is an RTP header, a FEC header (RFC 2733 with ST 2022-1's extension) and the
//! XOR of the media packets' bytes from 12 on. The low bits of its first two bytes are not its own
//! flags but the XOR of the media packets' flags, so it must never be parsed as RTP. `relay`
//! receives repair packets beside the media, `fec` makes them.

use std::ops::BitXorAssign;

use super::{bytes_at, rtp};

/// Bytes before the XOR of the media packets' bytes: RTP header and FEC header.
pub const HEADER: usize = rtp::HEADER + 16;
/// Default payload type of a repair packet: that of all known senders.
pub const PAYLOAD_TYPE: u8 = 96;
/// Ports of the repair streams above that of the media: columns, rows.
pub const PORTS_ABOVE: [u16; 2] = [2, 4];
const VERSION: u8 = 2;

/// Error in a repair packet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum St2022Error {
    /// Not RTP.
    #[error("version {actual}, expected 2")]
    Version {
        /// The version in the datagram.
        actual: u8,
    },
    /// RTCP (RFC 5761 section 4).
    #[error("RTCP packet type {packet_type}, expected a repair packet")]
    Rtcp {
        /// The RTCP packet type, 192 to 223.
        packet_type: u8,
    },
    /// Shorter than its headers.
    #[error("{actual} bytes, expected at least {expected}")]
    Truncated {
        /// Minimum number of bytes.
        expected: usize,
        /// Actual number of bytes.
        actual: usize,
    },
    /// FEC for RTP of another kind: no header extension, a mask, a further extension or a code
    /// other than XOR.
    #[error("E {extended}, mask {mask:#08x}, N {more}, type {code}; expected 1, 0, 0 and 0 (XOR)")]
    Kind {
        /// The E bit: ST 2022-1's fields follow.
        extended: u8,
        /// RFC 2733's mask of protected numbers.
        mask: u32,
        /// The N bit: reserved for more fields.
        more: u8,
        /// The code: 0 is XOR.
        code: u8,
    },
    /// It protects no packets, or one number repeatedly.
    #[error("protects {count} packets in steps of {offset}, expected at least 1 of each")]
    Protects {
        /// The field NA.
        count: u8,
        /// The field offset.
        offset: u8,
    },
}

/// Which packets of the matrix a repair packet protects (its D bit).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Axis {
    /// Every L-th packet: against bursts.
    Column,
    /// L consecutive packets: fast, against single losses.
    Row,
}

/// Protected fields of an RTP packet's header, in addition to its bytes from 12 on; XORed field by
/// field. The number and the SSRC are not protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    /// P, X and CC: the low 6 bits of the first byte.
    pub flags: u8,
    /// The whole second byte: marker and payload type.
    pub marker_and_type: u8,
    /// Bytes after the fixed header.
    pub length: u16,
    /// The timestamp.
    pub timestamp: u32,
}

impl BitXorAssign for Fields {
    fn bitxor_assign(&mut self, other: Fields) {
        self.flags ^= other.flags;
        self.marker_and_type ^= other.marker_and_type;
        self.length ^= other.length;
        self.timestamp ^= other.timestamp;
    }
}

/// One packet as input of the code, or the XOR of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard<'a> {
    /// Fields of the fixed header.
    pub fields: Fields,
    /// Everything after the fixed header: CSRC list, extension, payload and padding; at most
    /// 65,535 bytes.
    pub body: &'a [u8],
}

impl<'a> Shard<'a> {
    /// The shard of an RTP packet; `None` if it is not RTP or longer than any datagram.
    pub fn of(packet: &'a [u8]) -> Option<Shard<'a>> {
        let (header, body) = packet.split_first_chunk::<{ rtp::HEADER }>()?;
        let length = u16::try_from(body.len()).ok()?;
        let fields = Fields {
            flags: header[0] & 0x3f,
            marker_and_type: header[1],
            length,
            timestamp: u32::from_be_bytes(bytes_at(header, 4)),
        };
        (header[0] >> 6 == VERSION).then_some(Shard { fields, body })
    }

    /// Appends the packet of a recovered shard. Returns `false`, without appending, if the shard
    /// cannot be a packet: its length exceeds its bytes, or bytes after its end are not zero.
    #[must_use]
    pub fn emit(&self, sequence: u16, ssrc: u32, out: &mut Vec<u8>) -> bool {
        let Some((body, padding)) = self.body.split_at_checked(self.fields.length.into()) else {
            return false;
        };
        if padding.iter().any(|byte| *byte != 0) {
            return false;
        }
        out.reserve(rtp::HEADER + body.len());
        out.extend_from_slice(&[VERSION << 6 | self.fields.flags & 0x3f, self.fields.marker_and_type]);
        out.extend_from_slice(&sequence.to_be_bytes());
        out.extend_from_slice(&self.fields.timestamp.to_be_bytes());
        out.extend_from_slice(&ssrc.to_be_bytes());
        out.extend_from_slice(body);
        true
    }
}

/// A checked repair packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repair<'a> {
    repr: Repr<'a>,
}

/// A repair packet as values, to emit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repr<'a> {
    /// Column or row.
    pub axis: Axis,
    /// Payload type of the repair stream, 7 bits.
    pub payload_type: u8,
    /// Number in the repair stream, which is numbered separately.
    pub sequence: u16,
    /// RTP timestamp of the repair packet itself.
    pub timestamp: u32,
    /// SSRC of the repair stream: 0 in all known senders.
    pub ssrc: u32,
    /// The first protected number (SNBase).
    pub base: u16,
    /// Step from one protected number to the next, at least 1: L for a column, 1 for a row.
    pub offset: u8,
    /// Protected packets (NA), at least 1: D for a column, L for a row.
    pub count: u8,
    /// XOR of the protected packets' shards.
    pub shard: Shard<'a>,
}

impl<'a> Repair<'a> {
    /// Checks a datagram. The index and the number's extension bits have no meaning for XOR and
    /// RTP, and are ignored.
    ///
    /// # Errors
    /// Not RTP; RTCP; too short; FEC of another kind; a packet that protects nothing.
    pub fn parse(bytes: &'a [u8]) -> Result<Repair<'a>, St2022Error> {
        if let [first, packet_type, ..] = *bytes
            && first >> 6 == VERSION
            && (192..=223).contains(&packet_type)
        {
            return Err(St2022Error::Rtcp { packet_type });
        }
        if let [first, ..] = *bytes
            && first >> 6 != VERSION
        {
            return Err(St2022Error::Version { actual: first >> 6 });
        }
        let Some((header, body)) = bytes.split_first_chunk::<HEADER>() else {
            return Err(St2022Error::Truncated { expected: HEADER, actual: bytes.len() });
        };
        check_kind(header)?;
        let (offset, count) = (header[25], header[26]);
        if offset == 0 || count == 0 {
            return Err(St2022Error::Protects { count, offset });
        }
        Ok(Repair { repr: Repr::read(header, body) })
    }

    /// The packet as values.
    pub fn repr(&self) -> Repr<'a> {
        self.repr
    }

    /// Column or row.
    pub fn axis(&self) -> Axis {
        self.repr.axis
    }

    /// The first protected number, as on the wire; [`super::seq::Space::RTP`] extends it.
    pub fn base(&self) -> u16 {
        self.repr.base
    }

    /// Step from one protected number to the next, at least 1.
    pub fn offset(&self) -> u64 {
        self.repr.offset.into()
    }

    /// Protected packets, at least 1.
    pub fn count(&self) -> u64 {
        self.repr.count.into()
    }

    /// XOR of the protected packets' shards.
    pub fn shard(&self) -> Shard<'a> {
        self.repr.shard
    }
}

fn check_kind(header: &[u8; HEADER]) -> Result<(), St2022Error> {
    let extended = header[16] >> 7;
    let mask = u32::from_be_bytes(bytes_at(header, 16)) & 0x00ff_ffff;
    let (more, code) = (header[24] >> 7, header[24] >> 3 & 0b111);
    let expected = (extended, mask, more, code) == (1, 0, 0, 0);
    if expected { Ok(()) } else { Err(St2022Error::Kind { extended, mask, more, code }) }
}

impl<'a> Repr<'a> {
    fn read(header: &[u8; HEADER], body: &'a [u8]) -> Repr<'a> {
        let fields = Fields {
            flags: header[0] & 0x3f,
            marker_and_type: header[1] & 0x80 | header[16] & 0x7f,
            length: u16::from_be_bytes(bytes_at(header, 14)),
            timestamp: u32::from_be_bytes(bytes_at(header, 20)),
        };
        Repr {
            axis: if header[24] & 0x40 == 0 { Axis::Column } else { Axis::Row },
            payload_type: header[1] & 0x7f,
            sequence: u16::from_be_bytes(bytes_at(header, 2)),
            timestamp: u32::from_be_bytes(bytes_at(header, 4)),
            ssrc: u32::from_be_bytes(bytes_at(header, 8)),
            base: u16::from_be_bytes(bytes_at(header, 12)),
            offset: header[25],
            count: header[26],
            shard: Shard { fields, body },
        }
    }

    /// Appends the packet. A receiver drops it if offset or count is 0.
    pub fn emit(&self, out: &mut Vec<u8>) {
        debug_assert!(self.offset > 0 && self.count > 0, "a repair packet that protects nothing");
        let fields = self.shard.fields;
        let axis = if self.axis == Axis::Row { 0x40 } else { 0 };
        out.reserve(HEADER + self.shard.body.len());
        out.push(VERSION << 6 | fields.flags & 0x3f);
        out.push(fields.marker_and_type & 0x80 | self.payload_type & 0x7f);
        out.extend_from_slice(&self.sequence.to_be_bytes());
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        out.extend_from_slice(&self.ssrc.to_be_bytes());
        out.extend_from_slice(&self.base.to_be_bytes());
        out.extend_from_slice(&fields.length.to_be_bytes());
        out.extend_from_slice(&[0x80 | fields.marker_and_type & 0x7f, 0, 0, 0]);
        out.extend_from_slice(&fields.timestamp.to_be_bytes());
        out.extend_from_slice(&[axis, self.offset, self.count, 0]);
        out.extend_from_slice(self.shard.body);
    }
}

#[cfg(test)]
mod tests;
