//! The native datagram, version 1: a 28-byte header, the payload, and a CRC-32 over both. For
//! sensors: small enough for a microcontroller, self-identifying, with numbers that never wrap.
//!
//! `wire::parse` makes a [`Packet`] of a received datagram and passes it to `relay`; `producer`
//! makes datagrams from a [`Repr`]. The payloads of repair and NACK packets are [`Repair`],
//! [`SourceShard`] and [`Nack`].
//!
//! | Offset | Size | Field |
//! |---|---|---|
//! | 0 | 2 | `54 43` ("TC") |
//! | 2 | 1 | version (high 4 bits), kind (low 4 bits) |
//! | 3 | 1 | flags |
//! | 4 | 4 | stream |
//! | 8 | 4 | session |
//! | 12 | 8 | sequence number |
//! | 20 | 8 | timestamp, microseconds since the Unix epoch, or 0 |
//! | 28 | n | payload (and a 16-byte tag after it when the flag "sealed" is set, see [`crate::seal`]) |
//! | 28+n | 4 | CRC-32 (IEEE 802.3) of all bytes before it |

use std::ops::Range;

use super::bytes_at;
use crate::limits::NACK_RANGES_MAX;

/// The first two bytes, "TC".
pub const MAGIC: [u8; 2] = *b"TC";
/// The version of the format.
pub const VERSION: u8 = 1;
/// Bytes before the payload.
pub const HEADER: usize = 28;
/// Bytes after the payload: the checksum.
pub const TRAILER: usize = 4;
/// Position of the flags.
pub const FLAGS: usize = 3;
/// Bytes of the tag of a sealed datagram, which is between payload and checksum.
pub const TAG: usize = 16;
/// Flag: the packet is a retransmission.
pub const RETRANSMISSION: u8 = 1;
/// Flag: a tag precedes the checksum, and the high four flags are the id of its key.
pub const SEALED: u8 = 2;
/// Flag of a sealed data packet: its payload is encrypted.
pub const ENCRYPTED: u8 = 4;
/// Position of the key's id in the flags.
const KEY_ID_SHIFT: u32 = 4;

/// Error in a native datagram, or in its payload.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NativeError {
    /// Not a native datagram.
    #[error("magic {actual:02x?}, expected 54 43")]
    Magic {
        /// The first two bytes.
        actual: [u8; 2],
    },
    /// Another version, whose layout is unknown.
    #[error("version {actual}, expected {VERSION}")]
    Version {
        /// The version in the datagram.
        actual: u8,
    },
    /// A reserved kind.
    #[error("kind {actual} is reserved, expected 0 to 4")]
    Kind {
        /// The kind in the datagram.
        actual: u8,
    },
    /// Shorter than header, tag and checksum.
    #[error("{actual} bytes, expected at least {expected}")]
    Truncated {
        /// Minimum number of bytes.
        expected: usize,
        /// Actual number of bytes.
        actual: usize,
    },
    /// Damaged in transit.
    #[error("checksum {actual:08x}, expected {expected:08x}")]
    Checksum {
        /// Checksum of the received bytes.
        expected: u32,
        /// The checksum in the datagram.
        actual: u32,
    },
    /// A source block without data or without repair, or of more than 255 shards.
    #[error(
        "source block of {k} data and {m} repair shards, expected at least 1 each and at most 255 together"
    )]
    Block {
        /// Data shards.
        k: u8,
        /// Repair shards.
        m: u8,
    },
    /// A repair shard outside of its block.
    #[error("repair shard {index}, expected less than {m}")]
    Index {
        /// The shard's index.
        index: u8,
        /// Repair shards of the block.
        m: u8,
    },
    /// Stride 0: the packets of the block would all have the same number.
    #[error("stride 0, expected at least 1")]
    Stride,
    /// A shard of another length than announced, or too short for its contents.
    #[error("shard of {actual} bytes, expected {expected}")]
    Shard {
        /// Bytes announced or needed.
        expected: usize,
        /// Bytes present.
        actual: usize,
    },
    /// A recovered source shard whose reserved byte or padding is not zero: it was computed from
    /// wrong shards.
    #[error("source shard with padding that is not zero")]
    Padding,
    /// A NACK that is not a list of at most 64 ranges.
    #[error("NACK of {actual} bytes, expected a multiple of {range} of at most {max} ranges", range = Nack::RANGE, max = NACK_RANGES_MAX)]
    Nack {
        /// Bytes of the list.
        actual: usize,
    },
}

/// Kind of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A media packet: one reading, one piece of a stream.
    Data = 0,
    /// A repair shard of a source block; the sequence field holds the block's first number.
    Repair = 1,
    /// A heartbeat; the sequence field holds the next number to be used.
    Heartbeat = 2,
    /// End of the session; the sequence field is as in a heartbeat.
    End = 3,
    /// A receiver requests retransmissions.
    Nack = 4,
}

impl Kind {
    fn from_wire(kind: u8) -> Result<Kind, NativeError> {
        match kind {
            0 => Ok(Kind::Data),
            1 => Ok(Kind::Repair),
            2 => Ok(Kind::Heartbeat),
            3 => Ok(Kind::End),
            4 => Ok(Kind::Nack),
            actual => Err(NativeError::Kind { actual }),
        }
    }
}

/// A native datagram as values, to emit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repr<'a> {
    /// Kind.
    pub kind: Kind,
    /// [`RETRANSMISSION`], [`SEALED`], [`ENCRYPTED`] and the id of the key; bit 3 is reserved.
    pub flags: u8,
    /// Sensor or stream; unique in its group.
    pub stream: u32,
    /// Different at every start of the producer.
    pub session: u32,
    /// Starts at 0 in each session, one more per data packet.
    pub sequence: u64,
    /// Microseconds since the Unix epoch; 0 if the producer has no clock.
    pub timestamp: u64,
    /// Payload of the kind, followed by the tag where [`SEALED`] is set; at most 65,475 bytes, so
    /// that the datagram fits into UDP over IPv4.
    pub payload: &'a [u8],
}

impl Repr<'_> {
    /// Bytes of the datagram.
    #[allow(clippy::len_without_is_empty)] // a datagram has a header: it is never empty
    pub fn len(&self) -> usize {
        HEADER + self.payload.len() + TRAILER
    }

    /// Appends the datagram, with its checksum. It makes no tag: [`crate::seal::Sealer`] does.
    pub fn emit(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.reserve(self.len());
        self.emit_unchecked(out);
        emit_checksum(start, out);
    }

    /// Appends header and payload.
    pub(crate) fn emit_unchecked(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[VERSION << 4 | self.kind as u8, self.flags]);
        out.extend_from_slice(&self.stream.to_be_bytes());
        out.extend_from_slice(&self.session.to_be_bytes());
        out.extend_from_slice(&self.sequence.to_be_bytes());
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        out.extend_from_slice(self.payload);
    }
}

/// Appends the checksum of everything from `start` on.
pub(crate) fn emit_checksum(start: usize, out: &mut Vec<u8>) {
    let crc = crc32fast::hash(&out[start..]);
    out.extend_from_slice(&crc.to_be_bytes());
}

/// The flags of a datagram that is sealed with this key.
pub(crate) fn sealed_flags(key_id: u8, encrypted: bool) -> u8 {
    SEALED | if encrypted { ENCRYPTED } else { 0 } | key_id << KEY_ID_SHIFT
}

/// Whether all flags are as this version writes them: without a tag there is no key.
pub fn may_be_flags(flags: u8) -> bool {
    const KEY_ID: u8 = !0 << KEY_ID_SHIFT;
    let known =
        if flags & SEALED == 0 { RETRANSMISSION } else { RETRANSMISSION | SEALED | ENCRYPTED | KEY_ID };
    flags & !known == 0
}

/// Bytes of the tag in a datagram with these flags.
fn tag_len(flags: u8) -> usize {
    if flags & SEALED == 0 { 0 } else { TAG }
}

/// A checked native datagram: checksum, kind, and the fields of a repair or NACK payload are
/// valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    repr: Repr<'a>,
}

impl<'a> Packet<'a> {
    /// Checks a datagram.
    ///
    /// # Errors
    /// Another magic or version takes precedence; then too short, a wrong checksum, a reserved
    /// kind, and a repair or NACK payload that contradicts itself. Heartbeats with a payload are
    /// tolerated.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Packet<'a>, NativeError> {
        let Some((header, rest)) = bytes.split_first_chunk::<HEADER>() else {
            return Err(refuse_short(bytes));
        };
        check_start(header)?;
        let Some((body, trailer)) = rest.split_last_chunk::<TRAILER>() else {
            return Err(refuse_short(bytes));
        };
        let (expected, actual) =
            (crc32fast::hash(&bytes[..HEADER + body.len()]), u32::from_be_bytes(*trailer));
        if expected != actual {
            return Err(NativeError::Checksum { expected, actual });
        }
        let kind = Kind::from_wire(header[2] & 0x0f)?;
        check_payload(kind, without_tag(header[3], body)?)?;
        Ok(Packet {
            repr: Repr {
                kind,
                flags: header[3],
                stream: u32::from_be_bytes(bytes_at(header, 4)),
                session: u32::from_be_bytes(bytes_at(header, 8)),
                sequence: u64::from_be_bytes(bytes_at(header, 12)),
                timestamp: u64::from_be_bytes(bytes_at(header, 20)),
                payload: body,
            },
        })
    }

    /// Kind of the datagram.
    pub fn kind(&self) -> Kind {
        self.repr.kind
    }

    /// All flags, including reserved ones.
    pub fn flags(&self) -> u8 {
        self.repr.flags
    }

    /// Whether the packet is a retransmission.
    pub fn is_retransmission(&self) -> bool {
        self.repr.flags & RETRANSMISSION != 0
    }

    /// Sensor or stream.
    pub fn stream(&self) -> u32 {
        self.repr.stream
    }

    /// Run of the producer.
    pub fn session(&self) -> u32 {
        self.repr.session
    }

    /// The number; of a repair packet the first one of its block, of heartbeat and end the next
    /// one to be used.
    pub fn sequence(&self) -> u64 {
        self.repr.sequence
    }

    /// Microseconds since the Unix epoch; 0 for none.
    pub fn timestamp(&self) -> u64 {
        self.repr.timestamp
    }

    /// The payload, without tag and checksum; of an encrypted packet the ciphertext.
    pub fn payload(&self) -> &'a [u8] {
        let body = self.repr.payload;
        &body[..body.len() - tag_len(self.repr.flags)]
    }

    /// Range of the payload in the datagram.
    pub fn payload_range(&self) -> Range<usize> {
        HEADER..HEADER + self.payload().len()
    }

    /// Id of the key that the datagram is sealed with, if it is.
    pub fn key_id(&self) -> Option<u8> {
        (self.repr.flags & SEALED != 0).then_some(self.repr.flags >> KEY_ID_SHIFT)
    }

    /// Whether the payload is encrypted.
    pub fn is_encrypted(&self) -> bool {
        const BOTH: u8 = SEALED | ENCRYPTED;
        self.repr.kind == Kind::Data && self.repr.flags & BOTH == BOTH
    }

    /// The tag, if the datagram is sealed.
    pub(crate) fn tag(&self) -> Option<&'a [u8; TAG]> {
        self.key_id().and(self.repr.payload.last_chunk())
    }

    /// The same as values, for instance to send it with other flags. The tag goes with it.
    pub fn repr(&self) -> Repr<'a> {
        self.repr
    }
}

/// Stream and number of a datagram made by this program, if it is data; nothing is checked.
pub fn data_number(datagram: &[u8]) -> Option<(u32, u64)> {
    let header = datagram.first_chunk::<HEADER>()?;
    let is_data = header[2] & 0x0f == Kind::Data as u8;
    is_data.then(|| (u32::from_be_bytes(bytes_at(header, 4)), u64::from_be_bytes(bytes_at(header, 12))))
}

/// Bytes of the payload in a body of this length, which is everything between header and checksum;
/// `None` if it has no room for its tag.
pub fn payload_len(flags: u8, body: usize) -> Option<usize> {
    body.checked_sub(tag_len(flags))
}

/// Bytes of the payload if the datagram says that it is encrypted, otherwise 0; nothing is checked.
pub fn encrypted_len(datagram: &[u8]) -> usize {
    const BOTH: u8 = SEALED | ENCRYPTED;
    match datagram.first_chunk::<HEADER>() {
        Some([_, _, kind, flags, ..]) if kind & 0x0f == Kind::Data as u8 && flags & BOTH == BOTH => {
            datagram.len().saturating_sub(HEADER + TAG + TRAILER)
        }
        _ => 0,
    }
}

/// The error for a datagram that is too short; its first bytes decide first.
#[cold]
fn refuse_short(bytes: &[u8]) -> NativeError {
    let mut header = [0; HEADER];
    let known = bytes.len().min(HEADER);
    header[..known].copy_from_slice(&bytes[..known]);
    match check_start(&header) {
        Err(error) if known > 2 || matches!(error, NativeError::Magic { .. }) => error,
        _ => NativeError::Truncated { expected: HEADER + TRAILER, actual: bytes.len() },
    }
}

fn check_start(header: &[u8; HEADER]) -> Result<(), NativeError> {
    let magic = bytes_at(header, 0);
    if magic != MAGIC {
        return Err(NativeError::Magic { actual: magic });
    }
    match header[2] >> 4 {
        VERSION => Ok(()),
        actual => Err(NativeError::Version { actual }),
    }
}

fn without_tag(flags: u8, body: &[u8]) -> Result<&[u8], NativeError> {
    let truncated =
        NativeError::Truncated { expected: HEADER + TAG + TRAILER, actual: HEADER + body.len() + TRAILER };
    payload_len(flags, body.len()).map(|len| &body[..len]).ok_or(truncated)
}

fn check_payload(kind: Kind, payload: &[u8]) -> Result<(), NativeError> {
    match kind {
        Kind::Data | Kind::Heartbeat | Kind::End => Ok(()),
        Kind::Repair => Repair::parse(payload).map(drop),
        Kind::Nack => Nack::parse(payload).map(drop),
    }
}

mod payload;
pub use payload::{Nack, NackRepr, Repair, RepairRepr, SourceShard};

#[cfg(test)]
mod tests;
