//! RTCP (RFC 3550 section 6), the generic NACK of RFC 4585 and what RIST simple profile (VSF
//! TR-06-1) adds: the range NACK and the echo that measures the round trip. Checked views of what
//! was received, a [`Repr`] that emits.
//!
//! A datagram on the port above RTP media is a [`Compound`] of packets. Senders answer the NACKs
//! in it from their history, receivers process the reports; both emit [`Repr`]s, concatenated.
//!
//! | Packet | First byte, type | Body in 32-bit words |
//! |---|---|---|
//! | sender report | `80+n` 200 | SSRC, NTP time (2), RTP time, packets, bytes, n blocks of 6 |
//! | receiver report | `80+n` 201 | SSRC, n blocks of 6 |
//! | description | `80+n` 202 | n times: SSRC, items (type u8, length u8, text), zeros to the next word |
//! | bye | `80+n` 203 | n SSRCs, then a reason (length u8, text) if any |
//! | generic NACK | `81` 205 | SSRC of the requester, SSRC of the media, entries {number u16, mask of the next 16 u16} |
//! | range NACK | `80` 204 | SSRC of the media, "RIST", ranges {first u16, how many more u16} |
//! | echo | `82`, `83` 204 | SSRC, "RIST", time (2), microseconds from request to response, padding |

use super::bytes_at;

mod emit;
mod nack;
mod report;

pub use emit::Repr;
pub use nack::{ENTRIES_MAX, Form, Nack, Numbers, RANGES_MAX};
pub use report::{BLOCKS_MAX, Block, Blocks, CNAME_MAX, Description, Echo, ReceiverReport, SenderReport};

/// The port of RTCP above the media's, which is even (RFC 3550 section 11).
pub const PORT_ABOVE: u16 = 1;
/// Bytes of a packet's header, which also contains the length of the packet.
pub const HEADER: usize = 4;
const VERSION: u8 = 2;
const WORD: usize = 4;
/// The name of RIST's application-defined packets.
const NAME: [u8; 4] = *b"RIST";
/// The generic NACK's format among transport feedback (RFC 4585 section 6.2).
const FORMAT_NACK: u8 = 1;

mod kind {
    pub(super) const SENDER_REPORT: u8 = 200;
    pub(super) const RECEIVER_REPORT: u8 = 201;
    pub(super) const DESCRIPTION: u8 = 202;
    pub(super) const BYE: u8 = 203;
    pub(super) const APPLICATION: u8 = 204;
    pub(super) const TRANSPORT_FEEDBACK: u8 = 205;
}

mod subtype {
    pub(super) const RANGE_NACK: u8 = 0;
    pub(super) const ECHO_REQUEST: u8 = 2;
    pub(super) const ECHO_RESPONSE: u8 = 3;
}

/// Error in an RTCP datagram, or in one of its packets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RtcpError {
    /// Not RTCP.
    #[error("version {actual}, expected 2")]
    Version {
        /// The version in the packet.
        actual: u8,
    },
    /// Media, or anything else on the port of the reports (RFC 5761 section 4).
    #[error("packet type {actual}, expected RTCP's 192 to 223")]
    Type {
        /// The packet type in the packet.
        actual: u8,
    },
    /// Shorter than a header, than the length in its header, or than its type requires.
    #[error("{actual} bytes, expected at least {expected}")]
    Truncated {
        /// Minimum number of bytes.
        expected: usize,
        /// Actual number of bytes.
        actual: usize,
    },
    /// Padding before the last packet, not of whole words, or longer than the packet.
    #[error("padding of {actual} bytes, expected whole words in the last packet, {max} bytes at most")]
    Padding {
        /// Length of the padding, from the last byte.
        actual: usize,
        /// Maximum length of the padding.
        max: usize,
    },
    /// A description whose items exceed its end.
    #[error("description of {sources} sources with items beyond its end")]
    Description {
        /// Sources that it announces.
        sources: u8,
    },
    /// A list that is not made of whole entries.
    #[error("list of {actual} bytes, expected a multiple of {entry}")]
    Entries {
        /// Bytes of the list.
        actual: usize,
        /// Bytes of an entry.
        entry: usize,
    },
}

/// One checked packet of a [`Compound`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Packet<'a> {
    /// Sender report: counts of sent packets and bytes, with timestamps.
    SenderReport(SenderReport<'a>),
    /// Receiver report: loss, jitter and the latest sender report.
    ReceiverReport(ReceiverReport<'a>),
    /// Source description: the names of sources.
    Description(Description<'a>),
    /// BYE: sources that end their streams.
    Bye(Bye<'a>),
    /// NACK: sequence numbers that a receiver requests.
    Nack(Nack<'a>),
    /// Requests an echo, to measure the round trip.
    EchoRequest(Echo<'a>),
    /// The response to an echo request.
    EchoResponse(Echo<'a>),
}

/// BYE: sources that end their streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bye<'a> {
    sources: &'a [[u8; WORD]],
}

impl<'a> Bye<'a> {
    /// Their SSRCs, at most 31.
    pub fn sources(&self) -> impl Iterator<Item = u32> + use<'a> {
        self.sources.iter().map(|source| u32::from_be_bytes(*source))
    }
}

/// A datagram of RTCP packets with consistent lengths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compound<'a> {
    bytes: &'a [u8],
}

impl<'a> Compound<'a> {
    /// Checks that packets fill the datagram (RFC 3550 A.2), but not that a report comes first:
    /// feedback without a report is common (RFC 5506).
    ///
    /// # Errors
    /// A packet of another version or without an RTCP type, or one that exceeds the datagram;
    /// invalid padding.
    pub fn parse(bytes: &'a [u8]) -> Result<Compound<'a>, RtcpError> {
        let mut rest = Raw::split(bytes)?.1;
        while !rest.is_empty() {
            rest = Raw::split(rest)?.1;
        }
        Ok(Compound { bytes })
    }

    /// The packets of known types in order; each is checked separately, so a damaged one does not
    /// affect others.
    pub fn packets(&self) -> impl Iterator<Item = Result<Packet<'a>, RtcpError>> + use<'a> {
        let mut rest = self.bytes;
        std::iter::from_fn(move || {
            let (raw, behind) = Raw::split(rest).ok()?;
            rest = behind;
            Some(raw.read())
        })
        .filter_map(Result::transpose)
    }
}

/// A packet's header and body.
struct Raw<'a> {
    /// The low 5 bits of the first byte: a count, a subtype or a format.
    count: u8,
    kind: u8,
    body: &'a [u8],
}

impl<'a> Raw<'a> {
    /// The first packet, without padding, and what follows it.
    fn split(bytes: &'a [u8]) -> Result<(Raw<'a>, &'a [u8]), RtcpError> {
        let Some(header) = bytes.first_chunk::<HEADER>() else {
            return Err(RtcpError::Truncated { expected: HEADER, actual: bytes.len() });
        };
        if header[0] >> 6 != VERSION {
            return Err(RtcpError::Version { actual: header[0] >> 6 });
        }
        if !(192..=223).contains(&header[1]) {
            return Err(RtcpError::Type { actual: header[1] });
        }
        let len = HEADER + WORD * usize::from(u16::from_be_bytes(bytes_at(header, 2)));
        let Some((packet, behind)) = bytes.split_at_checked(len) else {
            return Err(RtcpError::Truncated { expected: len, actual: bytes.len() });
        };
        let mut body = &packet[HEADER..];
        if header[0] & 0x20 != 0 {
            body = without_padding(body, behind)?;
        }
        Ok((Raw { count: header[0] & 0x1f, kind: header[1], body }, behind))
    }

    /// The packet; `None` if its type is unknown.
    fn read(&self) -> Result<Option<Packet<'a>>, RtcpError> {
        Ok(Some(match self.kind {
            kind::SENDER_REPORT => Packet::SenderReport(SenderReport::parse(self.count, self.body)?),
            kind::RECEIVER_REPORT => Packet::ReceiverReport(ReceiverReport::parse(self.count, self.body)?),
            kind::DESCRIPTION => Packet::Description(Description::parse(self.count, self.body)?),
            kind::BYE => Packet::Bye(Bye { sources: words(self.body, self.count.into())?.0 }),
            kind::APPLICATION => return self.read_application(),
            kind::TRANSPORT_FEEDBACK if self.count == FORMAT_NACK => {
                Packet::Nack(Nack::parse(Form::Generic, self.body)?)
            }
            _ => return Ok(None),
        }))
    }

    fn read_application(&self) -> Result<Option<Packet<'a>>, RtcpError> {
        let ([_, name], _) = words(self.body, 2)? else { return Ok(None) };
        if *name != NAME {
            return Ok(None);
        }
        Ok(Some(match self.count {
            subtype::RANGE_NACK => Packet::Nack(Nack::parse(Form::Range, self.body)?),
            subtype::ECHO_REQUEST => Packet::EchoRequest(Echo::parse(self.body)?),
            subtype::ECHO_RESPONSE => Packet::EchoResponse(Echo::parse(self.body)?),
            _ => return Ok(None),
        }))
    }
}

/// Padding is allowed only in the last packet, includes its own count byte, and keeps the packet a
/// multiple of a word.
fn without_padding<'a>(body: &'a [u8], behind: &[u8]) -> Result<&'a [u8], RtcpError> {
    let actual = usize::from(body.last().copied().unwrap_or(0));
    let max = if behind.is_empty() { body.len() } else { 0 };
    let possible = (1..=max).contains(&actual) && actual.is_multiple_of(WORD);
    if possible { Ok(&body[..body.len() - actual]) } else { Err(RtcpError::Padding { actual, max }) }
}

/// The first `count` words of a body, and what follows them.
fn words(body: &[u8], count: usize) -> Result<(&[[u8; WORD]], &[u8]), RtcpError> {
    let truncated = RtcpError::Truncated { expected: HEADER + WORD * count, actual: HEADER + body.len() };
    let (words, behind) = body.split_at_checked(WORD * count).ok_or(truncated)?;
    Ok((words.as_chunks().0, behind))
}

/// The first `N` bytes of a body, and what follows them.
fn fixed<const N: usize>(body: &[u8]) -> Result<(&[u8; N], &[u8]), RtcpError> {
    let truncated = RtcpError::Truncated { expected: HEADER + N, actual: HEADER + body.len() };
    body.split_first_chunk().ok_or(truncated)
}

#[cfg(test)]
mod tests;
