//! Reports, descriptions and echoes: views of what peers report about themselves and about what
//! they received.

use super::{RtcpError, WORD, fixed};
use crate::bytes_at;

/// Report blocks that one packet can hold: their count has 5 bits.
pub const BLOCKS_MAX: usize = 31;
/// Bytes of a CNAME: its length has 8 bits.
pub const CNAME_MAX: usize = 255;
const BLOCK: usize = 24;
const CNAME: u8 = 1;

/// A receiver's report on one source (RFC 3550 section 6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// The source.
    pub ssrc: u32,
    /// Share of packets lost since the last report, in 1/256.
    pub fraction_lost: u8,
    /// Packets lost since the beginning, 24 bits; less than 0 if duplicates came.
    pub lost: i32,
    /// Extended highest sequence number received.
    pub highest: u32,
    /// Interarrival jitter, in units of the media's clock.
    pub jitter: u32,
    /// The middle 32 bits of the NTP time in the last sender report; 0 if none came.
    pub last_report: u32,
    /// Time since that report came, in 1/65536 s.
    pub since_report: u32,
}

impl Block {
    pub(super) const LOST: std::ops::RangeInclusive<i32> = -0x80_0000..=0x7f_ffff;

    fn read(bytes: &[u8; BLOCK]) -> Block {
        let loss = u32::from_be_bytes(bytes_at(bytes, 4));
        Block {
            ssrc: u32::from_be_bytes(bytes_at(bytes, 0)),
            fraction_lost: (loss >> 24) as u8,
            lost: (loss << 8).cast_signed() >> 8,
            highest: u32::from_be_bytes(bytes_at(bytes, 8)),
            jitter: u32::from_be_bytes(bytes_at(bytes, 12)),
            last_report: u32::from_be_bytes(bytes_at(bytes, 16)),
            since_report: u32::from_be_bytes(bytes_at(bytes, 20)),
        }
    }
}

/// The report blocks of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocks<'a> {
    bytes: &'a [[u8; BLOCK]],
}

impl<'a> Blocks<'a> {
    /// `count` blocks; what follows them is a profile-specific extension, and ignored.
    fn parse(count: u8, body: &'a [u8]) -> Result<Blocks<'a>, RtcpError> {
        let (words, _) = super::words(body, usize::from(count) * BLOCK / WORD)?;
        Ok(Blocks { bytes: words.as_flattened().as_chunks().0 })
    }

    /// The blocks in their order.
    pub fn iter(&self) -> impl Iterator<Item = Block> + use<'a> {
        self.bytes.iter().map(Block::read)
    }
}

/// Sender report: counts of sent packets and bytes, with timestamps (RFC 3550 section 6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderReport<'a> {
    /// The sender.
    pub ssrc: u32,
    /// Wall clock, seconds since 1900 in 32.32 fixed point.
    pub ntp: u64,
    /// The same instant in units of the media's clock.
    pub timestamp: u32,
    /// Packets sent.
    pub packets: u32,
    /// Bytes of payload sent.
    pub octets: u32,
    /// Report blocks.
    pub blocks: Blocks<'a>,
}

impl<'a> SenderReport<'a> {
    pub(super) fn parse(count: u8, body: &'a [u8]) -> Result<SenderReport<'a>, RtcpError> {
        let (info, rest) = fixed::<24>(body)?;
        Ok(SenderReport {
            ssrc: u32::from_be_bytes(bytes_at(info, 0)),
            ntp: u64::from_be_bytes(bytes_at(info, 4)),
            timestamp: u32::from_be_bytes(bytes_at(info, 12)),
            packets: u32::from_be_bytes(bytes_at(info, 16)),
            octets: u32::from_be_bytes(bytes_at(info, 20)),
            blocks: Blocks::parse(count, rest)?,
        })
    }
}

/// Receiver report: loss, jitter and the latest sender report (RFC 3550 section 6.4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiverReport<'a> {
    /// The receiver.
    pub ssrc: u32,
    /// Report blocks; often none.
    pub blocks: Blocks<'a>,
}

impl<'a> ReceiverReport<'a> {
    pub(super) fn parse(count: u8, body: &'a [u8]) -> Result<ReceiverReport<'a>, RtcpError> {
        let (ssrc, rest) = fixed::<WORD>(body)?;
        Ok(ReceiverReport { ssrc: u32::from_be_bytes(*ssrc), blocks: Blocks::parse(count, rest)? })
    }
}

/// The names of sources (RFC 3550 section 6.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Description<'a> {
    sources: u8,
    chunks: &'a [u8],
}

impl<'a> Description<'a> {
    pub(super) fn parse(sources: u8, body: &'a [u8]) -> Result<Description<'a>, RtcpError> {
        let mut rest = body;
        for _ in 0..sources {
            rest = chunk(rest).ok_or(RtcpError::Description { sources })?.behind;
        }
        Ok(Description { sources, chunks: body })
    }

    /// SSRC and canonical name of each source that has one.
    pub fn cnames(&self) -> impl Iterator<Item = (u32, &'a [u8])> + use<'a> {
        let mut rest = self.chunks;
        (0..self.sources).filter_map(move |_| {
            let chunk = chunk(rest)?;
            rest = chunk.behind;
            Some((chunk.ssrc, chunk.cname?))
        })
    }
}

/// One source of a description.
struct Chunk<'a> {
    ssrc: u32,
    cname: Option<&'a [u8]>,
    behind: &'a [u8],
}

/// Reads one source: its items end with a zero, and zeros fill the current word. If the packet
/// ends instead of that zero, this is tolerated: the text ended at a word boundary, and its sender
/// omitted the zeros.
fn chunk(bytes: &[u8]) -> Option<Chunk<'_>> {
    let (ssrc, items) = bytes.split_first_chunk::<WORD>()?;
    let (mut rest, mut cname) = (items, None);
    while let [kind, len, behind @ ..] = rest
        && *kind != 0
    {
        let (text, behind) = behind.split_at_checked((*len).into())?;
        if *kind == CNAME {
            cname = cname.or(Some(text));
        }
        rest = behind;
    }
    let used = items.len() - rest.len();
    let behind = match rest {
        [] => rest,
        [0, ..] => items.get((used + 1).next_multiple_of(WORD)..)?,
        _ => return None,
    };
    Some(Chunk { ssrc: u32::from_be_bytes(*ssrc), cname, behind })
}

/// An echo request or response (TR-06-1, RTT echo).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echo<'a> {
    /// SSRC of the media.
    pub ssrc: u32,
    /// Copied from the request: the requester's clock.
    pub timestamp: u64,
    /// Microseconds from the request's arrival to the response; 0 in a request.
    pub delay: u32,
    /// Whole words that make the echo as long as a media packet, if the requester asks for that.
    pub padding: &'a [u8],
}

impl<'a> Echo<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Result<Echo<'a>, RtcpError> {
        let (fields, padding) = fixed::<20>(body)?;
        Ok(Echo {
            ssrc: u32::from_be_bytes(bytes_at(fields, 0)),
            timestamp: u64::from_be_bytes(bytes_at(fields, 8)),
            delay: u32::from_be_bytes(bytes_at(fields, 16)),
            padding,
        })
    }
}
