//! RTCP packets as values, to emit one after another into a datagram.

use super::report::BLOCKS_MAX;
use super::{
    Block, CNAME_MAX, ENTRIES_MAX, Echo, FORMAT_NACK, HEADER, NAME, Numbers, RANGES_MAX, VERSION, WORD, kind,
    nack, subtype,
};

/// An RTCP packet as values, to emit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repr<'a> {
    /// Sender report: counts of sent packets and bytes, with timestamps.
    SenderReport {
        /// The sender.
        ssrc: u32,
        /// Wall clock, seconds since 1900 in 32.32 fixed point.
        ntp: u64,
        /// The same instant in units of the media's clock.
        timestamp: u32,
        /// Packets sent.
        packets: u32,
        /// Bytes of payload sent.
        octets: u32,
        /// Report blocks, at most [`BLOCKS_MAX`].
        blocks: &'a [Block],
    },
    /// Receiver report: loss, jitter and the latest sender report.
    ReceiverReport {
        /// The receiver.
        ssrc: u32,
        /// Report blocks, at most [`BLOCKS_MAX`].
        blocks: &'a [Block],
    },
    /// The canonical name of one source.
    Cname {
        /// The source.
        ssrc: u32,
        /// Its name, at most [`CNAME_MAX`] bytes.
        cname: &'a str,
    },
    /// BYE: a source that ends its stream.
    Bye {
        /// The source.
        ssrc: u32,
    },
    /// Requests retransmissions, in the form of RFC 4585.
    GenericNack {
        /// The requester.
        sender: u32,
        /// SSRC of the media with the missing packets.
        media: u32,
        /// At most [`ENTRIES_MAX`] entries of 17 neighbours each; in ascending order they take the
        /// fewest.
        numbers: &'a [Numbers],
    },
    /// Requests retransmissions, in the form of TR-06-1.
    RangeNack {
        /// SSRC of the media with the missing packets.
        media: u32,
        /// At most [`RANGES_MAX`] ranges.
        numbers: &'a [Numbers],
    },
    /// Requests an echo.
    EchoRequest(Echo<'a>),
    /// The response to an echo request.
    EchoResponse(Echo<'a>),
}

impl Repr<'_> {
    /// Appends the packet. Blocks, entries and ranges beyond a bound are omitted, for the next
    /// packet; a name is cut.
    pub fn emit(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; HEADER]);
        let (count, kind) = self.emit_body(out);
        out.resize(start + (out.len() - start).next_multiple_of(WORD), 0);
        let words = (out.len() - start - HEADER) / WORD;
        let [high, low] = (words as u16).to_be_bytes();
        out[start..start + HEADER].copy_from_slice(&[VERSION << 6 | count, kind, high, low]);
    }

    /// Appends everything after the header; returns the header's count and type.
    fn emit_body(&self, out: &mut Vec<u8>) -> (u8, u8) {
        match *self {
            Repr::SenderReport { ssrc, ntp, timestamp, packets, octets, blocks } => {
                out.extend_from_slice(&ssrc.to_be_bytes());
                out.extend_from_slice(&ntp.to_be_bytes());
                [timestamp, packets, octets]
                    .iter()
                    .for_each(|field| out.extend_from_slice(&field.to_be_bytes()));
                (emit_blocks(blocks, out), kind::SENDER_REPORT)
            }
            Repr::ReceiverReport { ssrc, blocks } => {
                out.extend_from_slice(&ssrc.to_be_bytes());
                (emit_blocks(blocks, out), kind::RECEIVER_REPORT)
            }
            Repr::Cname { ssrc, cname } => {
                emit_cname(ssrc, cname, out);
                (1, kind::DESCRIPTION)
            }
            Repr::Bye { ssrc } => {
                out.extend_from_slice(&ssrc.to_be_bytes());
                (1, kind::BYE)
            }
            Repr::GenericNack { sender, media, numbers } => {
                out.extend_from_slice(&sender.to_be_bytes());
                out.extend_from_slice(&media.to_be_bytes());
                out.extend(nack::entries(numbers).take(ENTRIES_MAX).flatten());
                (FORMAT_NACK, kind::TRANSPORT_FEEDBACK)
            }
            Repr::RangeNack { media, numbers } => {
                out.extend_from_slice(&media.to_be_bytes());
                out.extend_from_slice(&NAME);
                out.extend(nack::ranges(numbers).take(RANGES_MAX).flatten());
                (subtype::RANGE_NACK, kind::APPLICATION)
            }
            Repr::EchoRequest(echo) => (emit_echo(echo, subtype::ECHO_REQUEST, out), kind::APPLICATION),
            Repr::EchoResponse(echo) => (emit_echo(echo, subtype::ECHO_RESPONSE, out), kind::APPLICATION),
        }
    }
}

/// Appends report blocks; returns their count.
fn emit_blocks(blocks: &[Block], out: &mut Vec<u8>) -> u8 {
    let blocks = &blocks[..blocks.len().min(BLOCKS_MAX)];
    for block in blocks {
        let lost = block.lost.clamp(*Block::LOST.start(), *Block::LOST.end());
        let loss = u32::from(block.fraction_lost) << 24 | lost.cast_unsigned() & 0x00ff_ffff;
        let fields = [block.ssrc, loss, block.highest, block.jitter, block.last_report, block.since_report];
        fields.iter().for_each(|field| out.extend_from_slice(&field.to_be_bytes()));
    }
    blocks.len() as u8
}

/// Appends SSRC and CNAME with the zero that ends a source's items.
fn emit_cname(ssrc: u32, cname: &str, out: &mut Vec<u8>) {
    let text = &cname[..cname.floor_char_boundary(CNAME_MAX)];
    out.extend_from_slice(&ssrc.to_be_bytes());
    out.extend_from_slice(&[1, text.len() as u8]);
    out.extend_from_slice(text.as_bytes());
    out.push(0);
}

/// Appends an echo, and returns its subtype.
fn emit_echo(echo: Echo<'_>, subtype: u8, out: &mut Vec<u8>) -> u8 {
    out.extend_from_slice(&echo.ssrc.to_be_bytes());
    out.extend_from_slice(&NAME);
    out.extend_from_slice(&echo.timestamp.to_be_bytes());
    out.extend_from_slice(&echo.delay.to_be_bytes());
    out.extend_from_slice(echo.padding);
    subtype
}
