//! RTP (RFC 3550): the checked view of a media packet, and a representation that emits one.
//!
//! `wire::parse` makes a [`Packet`] of a received datagram and hands it to `relay`; `producer` emits a [`Repr`].

use std::ops::Range;

use super::bytes_at;

/// Bytes of the fixed header (RFC 3550 section 5.1).
pub const HEADER: usize = 12;
/// Payload type of MPEG-TS (RFC 3551, RFC 2250); its clock runs at 90 kHz.
pub const PAYLOAD_TYPE_TS: u8 = 33;
const VERSION: u8 = 2;

/// What is wrong with an RTP packet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not RTP.
    #[error("version {actual}, expected 2")]
    Version {
        /// The version that the datagram names.
        actual: u8,
    },
    /// RTCP on the port of the media: its packet types have a range of their own (RFC 5761 section 4).
    #[error("RTCP packet type {packet_type}, expected RTP")]
    Rtcp {
        /// The RTCP packet type, 192 to 223.
        packet_type: u8,
    },
    /// Shorter than fixed header, CSRC list and header extension.
    #[error("{actual} bytes, expected at least {expected}")]
    Truncated {
        /// Bytes that were expected at least.
        expected: usize,
        /// Bytes that are there.
        actual: usize,
    },
    /// Padding of no length (the count includes itself), or longer than what follows the header.
    #[error("padding of {actual} bytes, expected 1 to {max}")]
    Padding {
        /// The padding's length as the last byte says.
        actual: usize,
        /// Bytes after the header.
        max: usize,
    },
}

/// An RTP packet that was checked: header, CSRC list, extension and padding lie within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    header: &'a [u8; HEADER],
    payload: &'a [u8],
    payload_start: usize,
}

impl<'a> Packet<'a> {
    /// Checks a datagram.
    ///
    /// # Errors
    /// Another version; RTCP; a header longer than the packet; padding that cannot be.
    pub fn parse(bytes: &'a [u8]) -> Result<Packet<'a>, Error> {
        if let [first, packet_type, ..] = *bytes
            && first >> 6 == VERSION
            && (192..=223).contains(&packet_type)
        {
            return Err(Error::Rtcp { packet_type });
        }
        if let [first, ..] = *bytes
            && first >> 6 != VERSION
        {
            return Err(Error::Version { actual: first >> 6 });
        }
        let Some(header) = bytes.first_chunk::<HEADER>() else {
            return Err(Error::Truncated { expected: HEADER, actual: bytes.len() });
        };
        let payload_start = header_len(header, bytes)?;
        let rest = &bytes[payload_start..];
        let payload = &rest[..rest.len() - padding_len(header, rest)?];
        Ok(Packet { header, payload, payload_start })
    }

    /// The 16-bit sequence number, as on the wire; [`super::seq::Space::RTP`] extends it.
    pub fn sequence(&self) -> u16 {
        u16::from_be_bytes(bytes_at(self.header, 2))
    }

    /// The media timestamp, in units of the payload type's clock.
    pub fn timestamp(&self) -> u32 {
        u32::from_be_bytes(bytes_at(self.header, 4))
    }

    /// The synchronization source: which sender, and which run of it.
    pub fn ssrc(&self) -> u32 {
        u32::from_be_bytes(bytes_at(self.header, 8))
    }

    /// The payload type, 7 bits.
    pub fn payload_type(&self) -> u8 {
        self.header[1] & 0x7f
    }

    /// The marker bit.
    pub fn marker(&self) -> bool {
        self.header[1] & 0x80 != 0
    }

    /// What follows header, CSRC list and extension, without padding.
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Where in the datagram the payload stands.
    pub fn payload_range(&self) -> Range<usize> {
        self.payload_start..self.payload_start + self.payload.len()
    }
}

/// Fixed header, CSRC list (4 bytes each) and header extension (RFC 3550 section 5.3.1), at most all of `bytes`.
fn header_len(header: &[u8; HEADER], bytes: &[u8]) -> Result<usize, Error> {
    let actual = bytes.len();
    let mut expected = HEADER + 4 * usize::from(header[0] & 0x0f);
    if header[0] & 0x10 != 0 {
        expected += 4;
        let words: Option<&[u8; 2]> = bytes.get(expected - 2..expected).and_then(<[u8]>::first_chunk);
        expected += 4 * words.map_or(0, |words| usize::from(u16::from_be_bytes(*words)));
    }
    if actual < expected { Err(Error::Truncated { expected, actual }) } else { Ok(expected) }
}

/// Bytes of padding at the end of `rest`, at most all of it.
fn padding_len(header: &[u8; HEADER], rest: &[u8]) -> Result<usize, Error> {
    if header[0] & 0x20 == 0 {
        return Ok(0);
    }
    let (actual, max) = (usize::from(rest.last().copied().unwrap_or(0)), rest.len());
    if (1..=max).contains(&actual) { Ok(actual) } else { Err(Error::Padding { actual, max }) }
}

/// An RTP packet as values, to emit: no CSRC list, no extension, no padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repr<'a> {
    /// The marker bit.
    pub marker: bool,
    /// The payload type, 7 bits.
    pub payload_type: u8,
    /// The sequence number.
    pub sequence: u16,
    /// The media timestamp, in units of the payload type's clock.
    pub timestamp: u32,
    /// The synchronization source.
    pub ssrc: u32,
    /// The payload.
    pub payload: &'a [u8],
}

impl Repr<'_> {
    /// Appends the packet.
    pub fn emit(&self, out: &mut Vec<u8>) {
        out.reserve(HEADER + self.payload.len());
        out.extend_from_slice(&[VERSION << 6, u8::from(self.marker) << 7 | self.payload_type & 0x7f]);
        out.extend_from_slice(&self.sequence.to_be_bytes());
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        out.extend_from_slice(&self.ssrc.to_be_bytes());
        out.extend_from_slice(self.payload);
    }
}
