//! Turns a parsed datagram of any format into an [`Arrival`]: the flow key, the number and the
//! kind. The rest of the core does not depend on the format.

use std::{net::SocketAddr, ops::Range};

use super::{PacketFormat, dedup::fingerprint};
use crate::{identify::SourceKind, limits::NUMBER_MAX};
use tidecast_wire::{
    self as wire, Datagram, Format, Reject, custom, limits::SPAN_NUMBERS_MAX, native, rtp, seq::Space,
};

/// Identifies a flow within its channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum FlowKey {
    /// A native stream id.
    Stream(u32),
    /// An RTP synchronization source.
    Ssrc(u32),
    /// The id fields of another numbered format.
    Id(custom::Id),
    /// Formats without an id: the sender's address.
    Source(SocketAddr),
}

impl FlowKey {
    /// `==` without a call for the keys of nearly all packets.
    #[inline(always)]
    pub(super) fn is(&self, other: &FlowKey) -> bool {
        match (self, other) {
            (FlowKey::Ssrc(a), FlowKey::Ssrc(b)) | (FlowKey::Stream(a), FlowKey::Stream(b)) => a == b,
            _ => self == other,
        }
    }
}

/// The parts of a datagram that the core uses; borrows nothing.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) key: FlowKey,
    pub(super) format: PacketFormat,
    /// The space of the flow's numbers.
    pub(super) space: Space,
    pub(super) body: Body,
    pub(super) payload: Range<u32>,
    /// Microseconds on the producer's clock, if it has one.
    pub(super) timestamp: Option<u64>,
    /// The producer's clock, for jitter.
    pub(super) clock: Option<Stamp>,
}

/// A timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stamp {
    /// Microseconds.
    Micros(u64),
    /// RTP timestamp; the clock rate depends on the payload type.
    Rtp { payload_type: u8, ticks: u32 },
}

/// The kind of a datagram.
#[derive(Debug)]
pub(super) enum Body {
    /// A media packet with a number.
    Numbered { session: u32, number: u64, span: u64, fingerprint: u32, retransmission: bool },
    /// A media packet without a number: delivered in order of arrival.
    Unnumbered,
    /// A native repair packet; its fields are validated when it is used.
    Repair { session: u32, first: u64 },
    /// A heartbeat, with the next number to be used.
    Heartbeat { session: u32, next: u64 },
    /// The end of a session, with the next number to be used.
    End { session: u32, next: u64 },
    /// Another control datagram: only counted.
    Control,
    /// A datagram of a custom format without a number: sent on in its place.
    Passes,
    /// A datagram with numbers of several streams; it belongs to the first of them.
    Mixed,
    /// A datagram whose number depends on previous ones.
    Scaled,
}

impl Arrival {
    /// Fingerprint of a numbered packet's content.
    #[inline]
    pub(super) fn fingerprint(&self) -> u32 {
        match self.body {
            Body::Numbered { fingerprint, .. } => fingerprint,
            _ => 0,
        }
    }

    /// Whether its number, or the count of its numbers, exceeds the limits.
    pub(super) fn beyond_limits(&self) -> bool {
        match self.body {
            Body::Numbered { number, span, .. } => {
                number >= NUMBER_MAX || span > SPAN_NUMBERS_MAX.min(self.space.window_max())
            }
            _ => false,
        }
    }
}

/// Parses one datagram.
#[inline]
pub(super) fn arrival(format: &Format, source: SocketAddr, bytes: &[u8]) -> Result<Arrival, Reject> {
    // Each branch builds its result in place, since moving one costs more than building it.
    match wire::parse(format, bytes)? {
        Datagram::Native(packet) => native_arrival(&packet),
        Datagram::Rtp(packet) => Ok(rtp_arrival(&packet)),
        Datagram::Custom(packet) => Ok(custom_arrival(source, &packet)),
        Datagram::Ts(_) => Ok(unnumbered(PacketFormat::Ts, source, bytes)),
        Datagram::Raw(_) => Ok(unnumbered(PacketFormat::Raw, source, bytes)),
    }
}

/// Parses a datagram whose format was identified.
#[inline(always)]
pub(super) fn identified(kind: SourceKind, source: SocketAddr, bytes: &[u8]) -> Result<Arrival, Reject> {
    match kind {
        SourceKind::Native => native_arrival(&native::Packet::parse(bytes)?),
        SourceKind::Rtp => Ok(rtp_arrival(&rtp::Packet::parse(bytes)?)),
        SourceKind::Ts => Ok(unnumbered(PacketFormat::Ts, source, bytes)),
        SourceKind::Raw => Ok(unnumbered(PacketFormat::Raw, source, bytes)),
    }
}

/// Converts a range; no datagram is longer than 4 GiB.
fn range(range: Range<usize>) -> Range<u32> {
    range.start as u32..range.end as u32
}

/// A native datagram that was parsed already.
pub(super) fn native(packet: &native::Packet<'_>) -> Result<Arrival, Reject> {
    native_arrival(packet)
}

#[inline(always)]
fn native_arrival(packet: &native::Packet<'_>) -> Result<Arrival, Reject> {
    let (session, number) = (packet.session(), packet.sequence());
    let body = match packet.kind() {
        native::Kind::Data => Body::Numbered {
            session,
            number,
            span: 1,
            fingerprint: fingerprint(packet.payload(), packet.timestamp()),
            retransmission: packet.is_retransmission(),
        },
        native::Kind::Repair => {
            native::Repair::parse(packet.payload())?;
            Body::Repair { session, first: number }
        }
        native::Kind::Heartbeat => Body::Heartbeat { session, next: number },
        native::Kind::End => Body::End { session, next: number },
        native::Kind::Nack => Body::Control,
    };
    let timestamp = (packet.timestamp() != 0).then_some(packet.timestamp());
    Ok(Arrival {
        key: FlowKey::Stream(packet.stream()),
        format: PacketFormat::Native,
        space: Space::FULL,
        body,
        payload: range(packet.payload_range()),
        timestamp,
        clock: timestamp.map(Stamp::Micros),
    })
}

#[inline(always)]
fn rtp_arrival(packet: &rtp::Packet<'_>) -> Arrival {
    let timestamp = packet.timestamp();
    Arrival {
        key: FlowKey::Ssrc(packet.ssrc()),
        format: PacketFormat::Rtp,
        space: Space::RTP,
        body: Body::Numbered {
            session: packet.ssrc(),
            number: u64::from(packet.sequence()),
            span: 1,
            fingerprint: fingerprint(packet.payload(), u64::from(timestamp)),
            retransmission: false,
        },
        payload: range(packet.payload_range()),
        timestamp: None,
        clock: Some(Stamp::Rtp { payload_type: packet.payload_type(), ticks: timestamp }),
    }
}

fn custom_arrival(source: SocketAddr, packet: &custom::Packet<'_>) -> Arrival {
    let (session, number) = (0, packet.number());
    let body = match (packet.numbered(), packet.step()) {
        _ if packet.passes() => Body::Passes,
        (false, _) => Body::Unnumbered,
        _ if packet.scaled() => Body::Scaled,
        (true, 0) if packet.ends() => Body::End { session, next: number },
        (true, 0) => Body::Heartbeat { session, next: number },
        _ if packet.mixed() => Body::Mixed,
        (true, span) => numbered(number, span, packet.payload()),
    };
    let space = packet.space();
    Arrival {
        key: packet.id(source).map_or(FlowKey::Source(source), FlowKey::Id),
        format: PacketFormat::Custom,
        // A number space that ends above the number limit never wraps.
        space: if space.modulus().is_some_and(|m| m > NUMBER_MAX) { Space::FULL } else { space },
        body,
        payload: range(0..packet.payload().len()),
        timestamp: packet.timestamp(),
        clock: packet.timestamp().map(Stamp::Micros),
    }
}

/// The body of a numbered packet of a custom format.
pub(super) fn numbered(number: u64, span: u64, payload: &[u8]) -> Body {
    Body::Numbered { session: 0, number, span, fingerprint: fingerprint(payload, 0), retransmission: false }
}

fn unnumbered(format: PacketFormat, source: SocketAddr, bytes: &[u8]) -> Arrival {
    Arrival {
        key: FlowKey::Source(source),
        format,
        space: Space::FULL,
        body: Body::Unnumbered,
        payload: range(0..bytes.len()),
        timestamp: None,
        clock: None,
    }
}
