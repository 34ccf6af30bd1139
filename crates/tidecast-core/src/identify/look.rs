//! What one datagram looks like by itself, regardless of its source.

use std::time::Instant;

use tidecast_wire::{native, rtcp, rtp, ts};

/// The fields of an RTP packet that consecutive packets agree in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) at: Instant,
    pub(super) ssrc: u32,
    pub(super) payload_type: u8,
    pub(super) number: u16,
    pub(super) ticks: u32,
    /// No padding and no contributing sources, as nearly all RTP packets.
    pub(super) usual: bool,
    /// The payload is TS packets, which proves that the header is RTP.
    pub(super) wraps_ts: bool,
    /// Where the payload begins.
    pub(super) start: usize,
}

impl Header {
    /// Reads a datagram as an RTP packet, if it can be one.
    pub(super) fn read(bytes: &[u8], at: Instant) -> Option<Header> {
        let packet = rtp::Packet::parse(bytes).ok()?;
        let payload = packet.payload();
        let whole = bytes[0] == 0x80 && ts::looks_like(payload);
        Some(Header {
            at,
            ssrc: packet.ssrc(),
            payload_type: packet.payload_type(),
            number: packet.sequence(),
            ticks: packet.timestamp(),
            usual: bytes[0] & 0x2f == 0,
            wraps_ts: whole && (packet.payload_type() == rtp::PAYLOAD_TYPE_TS || payload.len() > ts::PACKET),
            start: packet.payload_range().start,
        })
    }
}

/// Whether it is an undamaged native datagram.
pub(super) fn is_native(bytes: &[u8]) -> bool {
    bytes.starts_with(&native::MAGIC) && native::Packet::parse(bytes).is_ok()
}

/// Whether it starts like a native datagram of this version, with a valid kind and valid flags.
pub(super) fn claims_native(bytes: &[u8]) -> bool {
    const VERSION: u8 = native::VERSION << 4;
    const LAST: u8 = VERSION | native::Kind::Nack as u8;
    let [a, b, VERSION..=LAST, flags, ..] = *bytes else { return false };
    [a, b] == native::MAGIC && native::may_be_flags(flags)
}

/// Whether it is RTCP from the first byte to the last (RFC 3550 section A.2).
pub(super) fn is_rtcp(bytes: &[u8]) -> bool {
    rtcp::Compound::parse(bytes).is_ok()
}

/// Whether an RTP receiver takes it for RTCP, damaged or not (RFC 5761 section 4).
pub(super) fn claims_rtcp(bytes: &[u8]) -> bool {
    matches!(rtp::Packet::parse(bytes), Err(rtp::RtpError::Rtcp { .. }))
}

/// Whether it is STUN or DTLS, which share a port with RTP (RFC 7983): neither media nor damaged.
pub(super) fn is_beside_rtp(bytes: &[u8]) -> bool {
    const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
    let stun = bytes.len() >= 20 && bytes[0] < 4 && bytes[4..8] == COOKIE;
    let dtls = bytes.len() >= 13 && matches!(bytes[..3], [20..=63, 0xfe, 0xfc..=0xff]);
    stun || dtls
}
