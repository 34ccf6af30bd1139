//! What the packets of a channel carry, judging by their headers. Samples are taken from time to
//! time, for descriptions, announcements and content types.

use std::time::{Duration, Instant};

use crate::limits::CARRIES_MEMORY;
use tidecast_core::relay::{Packet, PacketFormat};
use tidecast_wire::ts::packets::Unit;

/// Kinds of packets seen recently.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Carries {
    /// Payload types of RTP packets with a transport stream, one bit each.
    pub stream_types: u128,
    /// Payload types of other RTP packets, one bit each.
    pub other_types: u128,
    /// Datagrams with only TS packets.
    pub plain_ts: bool,
    /// TS packets in datagrams of another format.
    pub wrapped_ts: bool,
    /// Anything else.
    pub other: bool,
}

impl Carries {
    fn note(&mut self, packet: &Packet) {
        let is_ts = Unit::of_whole(packet.payload()).is_some();
        match packet.format {
            PacketFormat::Rtp => {
                let second = packet.bytes.get(1).copied().unwrap_or_default();
                let types = if is_ts { &mut self.stream_types } else { &mut self.other_types };
                *types |= 1 << (second & 0x7f);
            }
            // A transport stream may be cut at any place, so the payload is not checked.
            PacketFormat::Ts => self.plain_ts = true,
            _ if is_ts => self.wrapped_ts = true,
            _ => self.other = true,
        }
    }

    fn and(self, other: Carries) -> Carries {
        Carries {
            stream_types: self.stream_types | other.stream_types,
            other_types: self.other_types | other.other_types,
            plain_ts: self.plain_ts || other.plain_ts,
            wrapped_ts: self.wrapped_ts || other.wrapped_ts,
            other: self.other || other.other,
        }
    }

    /// Whether nothing was seen.
    pub fn is_nothing(&self) -> bool {
        *self == Carries::default()
    }

    /// Whether a transport stream was seen.
    pub fn is_ts(&self) -> bool {
        self.stream_types != 0 || self.plain_ts || self.wrapped_ts
    }
}

/// The payload types in a bit set.
pub fn types(set: u128) -> impl Iterator<Item = u8> {
    (0..128).filter(move |payload_type| set >> payload_type & 1 == 1)
}

/// Remembers what was seen, for one to two times [`CARRIES_MEMORY`] while packets come.
#[derive(Debug)]
pub struct Seen {
    since: Instant,
    current: Carries,
    before: Carries,
}

impl Seen {
    /// Creates an empty record.
    pub fn new(now: Instant) -> Seen {
        Seen { since: now, current: Carries::default(), before: Carries::default() }
    }

    /// Notes a packet that is sent on.
    pub fn note(&mut self, packet: &Packet, now: Instant) {
        if now.saturating_duration_since(self.since) >= CARRIES_MEMORY {
            let long: Duration = 2 * CARRIES_MEMORY;
            let recent = now.saturating_duration_since(self.since) < long || !self.current.is_nothing();
            let current = std::mem::take(&mut self.current);
            self.before = if recent { current } else { Carries::default() };
            self.since = now;
        }
        self.current.note(packet);
    }

    /// Everything seen recently.
    pub fn carries(&self) -> Carries {
        self.current.and(self.before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidecast_core::buffer::Buffer;
    use tidecast_net::clock;

    fn packet(format: PacketFormat, header: &[u8], payload: &[u8]) -> Packet {
        let bytes = [header, payload].concat();
        let payload = header.len() as u32..bytes.len() as u32;
        Packet { bytes: Buffer::from(bytes), payload, timestamp: None, arrived: clock::now(), format }
    }

    #[test]
    fn what_is_over_is_forgotten() {
        let now = clock::now();
        let mut seen = Seen::new(now);
        assert!(seen.carries().is_nothing());
        let rtp = |payload_type: u8| packet(PacketFormat::Rtp, &[0x80, 0x80 | payload_type], b"sound");
        seen.note(&rtp(0), now);
        seen.note(&rtp(13), now);
        assert_eq!(types(seen.carries().other_types).collect::<Vec<_>>(), [0, 13]);
        seen.note(&rtp(8), now + CARRIES_MEMORY);
        assert_eq!(types(seen.carries().other_types).collect::<Vec<_>>(), [0, 8, 13]);
        seen.note(&rtp(8), now + 2 * CARRIES_MEMORY);
        assert_eq!(types(seen.carries().other_types).collect::<Vec<_>>(), [8]);
    }

    #[test]
    fn transport_streams_are_told_from_others() {
        let now = clock::now();
        let ts = [0x47; 188];
        let of = |packet: Packet| {
            let mut seen = Seen::new(now);
            seen.note(&packet, now);
            seen.carries()
        };
        let rtp = of(packet(PacketFormat::Rtp, &[0x80, 96], &ts));
        assert_eq!((rtp.stream_types, rtp.other_types, rtp.is_ts()), (1 << 96, 0, true));
        assert!(of(packet(PacketFormat::Ts, &[], &ts[..100])).plain_ts);
        assert!(of(packet(PacketFormat::Native, &[0; 40], &ts)).wrapped_ts);
        let raw = of(packet(PacketFormat::Raw, &[], b"text"));
        assert!(raw.other && !raw.is_ts());
    }
}
