//! RTP (RFC 3550): the checked view of a media packet, and a representation that emits one.
//!
//! `wire::parse` makes a [`Packet`] of a received datagram and passes it to `relay`; `producer`
//! emits a [`Repr`].

use std::ops::Range;

use super::bytes_at;

pub mod payload_types;

pub use payload_types::PayloadTypes;

/// Bytes of the fixed header (RFC 3550 section 5.1).
pub const HEADER: usize = 12;
/// Payload type of MPEG-TS (RFC 3551, RFC 2250).
pub const PAYLOAD_TYPE_TS: u8 = 33;
/// Clock rate of [`PAYLOAD_TYPE_TS`] (RFC 2250 section 2).
pub const CLOCK_HZ_TS: u64 = 90_000;
const VERSION: u8 = 2;

/// Error in an RTP packet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RtpError {
    /// Not RTP.
    #[error("version {actual}, expected 2")]
    Version {
        /// The version in the datagram.
        actual: u8,
    },
    /// RTCP on the port of the media: its packet types have a separate range (RFC 5761 section 4).
    #[error("RTCP packet type {packet_type}, expected RTP")]
    Rtcp {
        /// The RTCP packet type, 192 to 223.
        packet_type: u8,
    },
    /// Shorter than fixed header, CSRC list and header extension.
    #[error("{actual} bytes, expected at least {expected}")]
    Truncated {
        /// Minimum number of bytes.
        expected: usize,
        /// Actual number of bytes.
        actual: usize,
    },
    /// Padding of zero length (the count includes itself), or longer than the data after the
    /// header.
    #[error("padding of {actual} bytes, expected 1 to {max}")]
    Padding {
        /// Length of the padding, from the last byte.
        actual: usize,
        /// Bytes after the header.
        max: usize,
    },
}

/// A checked RTP packet: header, CSRC list, extension and padding are within it.
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
    /// Another version; RTCP; a header longer than the packet; invalid padding.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Packet<'a>, RtpError> {
        if let [first, packet_type, ..] = *bytes
            && first >> 6 == VERSION
            && (192..=223).contains(&packet_type)
        {
            return Err(RtpError::Rtcp { packet_type });
        }
        if let [first, ..] = *bytes
            && first >> 6 != VERSION
        {
            return Err(RtpError::Version { actual: first >> 6 });
        }
        let Some(header) = bytes.first_chunk::<HEADER>() else {
            return Err(RtpError::Truncated { expected: HEADER, actual: bytes.len() });
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

    /// The synchronization source: identifies a sender, and one run of it.
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

    /// Everything after header, CSRC list and extension, without padding.
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Range of the payload in the datagram.
    pub fn payload_range(&self) -> Range<usize> {
        self.payload_start..self.payload_start + self.payload.len()
    }
}

/// Fixed header, CSRC list (4 bytes each) and header extension (RFC 3550 section 5.3.1), at most
/// all of `bytes`.
fn header_len(header: &[u8; HEADER], bytes: &[u8]) -> Result<usize, RtpError> {
    let actual = bytes.len();
    let mut expected = HEADER + 4 * usize::from(header[0] & 0x0f);
    if header[0] & 0x10 != 0 {
        expected += 4;
        let words: Option<&[u8; 2]> = bytes.get(expected - 2..expected).and_then(<[u8]>::first_chunk);
        expected += 4 * words.map_or(0, |words| usize::from(u16::from_be_bytes(*words)));
    }
    if actual < expected { Err(RtpError::Truncated { expected, actual }) } else { Ok(expected) }
}

/// Bytes of padding at the end of `rest`, at most all of it.
fn padding_len(header: &[u8; HEADER], rest: &[u8]) -> Result<usize, RtpError> {
    if header[0] & 0x20 == 0 {
        return Ok(0);
    }
    let (actual, max) = (usize::from(rest.last().copied().unwrap_or(0)), rest.len());
    if (1..=max).contains(&actual) { Ok(actual) } else { Err(RtpError::Padding { actual, max }) }
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    /// Version 2, no marker, payload type 33, number 0x1234, time 0x56789abc, SSRC 0xdeadbeef.
    const FIXED: [u8; 12] = [0x80, 0x21, 0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xad, 0xbe, 0xef];

    fn packet(first: u8, rest: &[u8]) -> Vec<u8> {
        let mut bytes = [&FIXED, rest].concat();
        bytes[0] = first;
        bytes
    }

    #[test]
    fn golden_packet() {
        let bytes = packet(0x80, b"media");
        let parsed = Packet::parse(&bytes).unwrap();
        assert_eq!(
            (parsed.sequence(), parsed.timestamp(), parsed.ssrc()),
            (0x1234, 0x5678_9abc, 0xdead_beef)
        );
        assert_eq!((parsed.payload_type(), parsed.marker()), (PAYLOAD_TYPE_TS, false));
        assert_eq!((parsed.payload(), parsed.payload_range()), (&b"media"[..], 12..17));
        assert!(Packet::parse(&packet(0x80, b"")).unwrap().payload().is_empty());
    }

    #[test]
    fn csrc_list_extension_and_padding_are_no_payload() {
        let csrc = [0xc5; 8];
        let extension = [0xbe, 0xde, 0, 1, 0x10, 0xff, 0, 0];
        let padding = [0, 0, 3];
        let bytes = packet(0xb2, &[&csrc[..], &extension, b"media", &padding].concat());
        let parsed = Packet::parse(&bytes).unwrap();
        assert_eq!((parsed.payload(), parsed.payload_range()), (&b"media"[..], 28..33));
        // all of it padding
        let bytes = packet(0xa0, &[0, 0, 0, 4]);
        assert_eq!(Packet::parse(&bytes).unwrap().payload_range(), 12..12);
        // an extension of no words
        let bytes = packet(0x90, &[0, 0, 0, 0, 7]);
        assert_eq!(Packet::parse(&bytes).unwrap().payload(), [7]);
    }

    #[test]
    fn headers_longer_than_the_packet() {
        let truncated = |bytes: &[u8], expected| {
            let actual = bytes.len();
            assert_eq!(Packet::parse(bytes), Err(RtpError::Truncated { expected, actual }), "{bytes:02x?}");
        };
        (0..12).for_each(|len| truncated(&FIXED[..len], 12));
        truncated(&packet(0x8f, &[0; 59]), 72);
        truncated(&packet(0x90, &[0, 0, 0]), 16);
        truncated(&packet(0x90, &[0, 0, 0, 1, 0, 0, 0]), 20);
        truncated(&packet(0x90, &[0, 0, 0xff, 0xff]), 16 + 4 * 65_535);
        truncated(&packet(0x91, &[0, 0, 0, 0, 0xbe, 0xde, 0]), 20);
    }

    #[test]
    fn padding_that_cannot_be() {
        for (rest, actual) in [(&[][..], 0), (&[0], 0), (&[1, 2, 0], 0), (&[9, 9, 4], 4), (&[255], 255)] {
            let expected = Err(RtpError::Padding { actual, max: rest.len() });
            assert_eq!(Packet::parse(&packet(0xa0, rest)), expected, "{rest:?}");
        }
    }

    #[test]
    fn rtcp_and_other_versions() {
        // sender report, receiver report, generic NACK, and the ends of the range: shorter than an
        // RTP header, but still RTCP
        for packet_type in [192, 200, 201, 205, 223] {
            let rtcp = [0x81, packet_type, 0, 1, 0, 0, 0, 1];
            assert_eq!(Packet::parse(&rtcp), Err(RtpError::Rtcp { packet_type }));
        }
        // types next to the range are media with a marker
        for (second, payload_type) in [(191, 63), (224, 96)] {
            let mut bytes = packet(0x80, b"x");
            bytes[1] = second;
            let parsed = Packet::parse(&bytes).unwrap();
            assert_eq!((parsed.payload_type(), parsed.marker()), (payload_type, true));
        }
        assert_eq!(Packet::parse(&packet(0x47, b"")), Err(RtpError::Version { actual: 1 }));
        assert_eq!(Packet::parse(&[0xc0]), Err(RtpError::Version { actual: 3 }));
    }

    proptest! {
        #[test]
        fn what_was_emitted_is_parsed(
            (marker, sequence, timestamp, ssrc) in any::<(bool, u16, u32, u32)>(),
            payload_type in (0u8..128).prop_filter("RTCP's", |pt| !(64..96).contains(pt)),
            payload in vec(any::<u8>(), 0..1500),
        ) {
            let repr = Repr { marker, payload_type, sequence, timestamp, ssrc, payload: &payload };
            let mut bytes = Vec::new();
            repr.emit(&mut bytes);
            let parsed = Packet::parse(&bytes).unwrap();
            prop_assert_eq!(as_repr(&parsed), repr);
            prop_assert_eq!(parsed.payload_range(), 12..bytes.len());
        }

        #[test]
        fn plain_packets_come_back(second in any::<u8>(), rest in vec(any::<u8>(), 10..100)) {
            let bytes = [&[0x80, second], &rest[..]].concat();
            if let Ok(parsed) = Packet::parse(&bytes) {
                let mut again = Vec::new();
                as_repr(&parsed).emit(&mut again);
                prop_assert_eq!(again, bytes);
            }
        }

        #[test]
        fn the_payload_lies_within_any_packet(first in 0x80u8..0xc0, rest in vec(0u8..12, 0..100)) {
            let bytes = [&[first], &rest[..]].concat();
            if let Ok(parsed) = Packet::parse(&bytes) {
                prop_assert_eq!(&bytes[parsed.payload_range()], parsed.payload());
                let padding = bytes.len() - parsed.payload_range().end;
                let announced = if first & 0x20 == 0 { 0 } else { usize::from(bytes[bytes.len() - 1]) };
                prop_assert_eq!(padding, announced);
            }
        }
    }

    fn as_repr<'a>(packet: &Packet<'a>) -> Repr<'a> {
        Repr {
            marker: packet.marker(),
            payload_type: packet.payload_type(),
            sequence: packet.sequence(),
            timestamp: packet.timestamp(),
            ssrc: packet.ssrc(),
            payload: packet.payload(),
        }
    }
}
