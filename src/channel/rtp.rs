//! Wraps MPEG-TS in RTP (RFC 3550, RFC 2250), for RTP outputs of streams that come without it.
//!
//! Pure. The packet path passes a turn's deliveries; the resulting packets go to the outputs in
//! `udp`. An RTP packet contains one to seven whole TS packets of 188 bytes. A datagram of up to
//! seven becomes one packet, a larger one several, and TS packets that span datagrams are
//! collected. Extra bytes around TS packets of 192 or 204 bytes are removed, since RFC 2250 only
//! allows 188. All outputs of a channel send the same packets, so that two of them can serve as
//! two paths of one stream.

use std::{mem, ops::Range, time::Instant};

use crate::limits::RTP_GAP_MAX;
use tidecast_core::relay::FlowId;
use tidecast_wire::{
    rtp::{self, PAYLOAD_TYPE_TS},
    ts::{PACKET, packets::Packets},
};

/// Maximum TS packets in an RTP packet: what fits into 1,500 bytes (SMPTE ST 2022-2 section 7.1).
const TS_PACKETS_MAX: usize = 7;

/// Bytes of a transport stream to send as RTP, from one datagram.
#[derive(Debug, Clone, Copy)]
pub struct Media<'a> {
    /// Flow of the bytes; different flows are independent streams.
    pub flow: FlowId,
    /// Whether a run of the producer starts with them.
    pub starts: bool,
    /// Number in that run, if the packet had one.
    pub number: Option<u64>,
    /// Arrival of the datagram.
    pub arrived: Instant,
    /// The bytes.
    pub payload: &'a [u8],
}

/// Assigns numbers and timestamps to the packets of one RTP stream. Its SSRC, numbers and clock
/// continue when the source changes, and the marker signals the change (RFC 2250 section 2).
#[derive(Debug)]
pub struct Packetizer {
    ssrc: u32,
    next: u16,
    /// Clock value at `epoch`.
    clock_start: u32,
    epoch: Instant,
    /// Flow of the last packet, and the number expected next in that flow.
    last: Option<(FlowId, Option<u64>)>,
}

impl Packetizer {
    /// A stream that starts with a given number and time; RFC 3550 requires random ones.
    pub fn new(ssrc: u32, first: u16, clock_start: u32, now: Instant) -> Packetizer {
        Packetizer { ssrc, next: first, clock_start, epoch: now, last: None }
    }

    /// A stream with a random start (RFC 3550 section 5.1).
    pub fn random(now: Instant) -> Packetizer {
        Packetizer::new(rand::random(), rand::random(), rand::random(), now)
    }

    /// Appends the RTP packet of `media` with the timestamp of `at`, which must not decrease. A
    /// loss in a numbered stream leaves a gap in the numbers, so that receivers notice it.
    pub fn emit(&mut self, media: &Media<'_>, at: Instant, out: &mut Vec<u8>) {
        let goes_on = self.last.filter(|(flow, _)| *flow == media.flow && !media.starts);
        if let Some((_, Some(expected))) = goes_on {
            self.next = self.next.wrapping_add(gap(expected, media.number));
        }
        let marker = self.last.is_some() && goes_on.is_none();
        let (payload_type, sequence, timestamp) = (PAYLOAD_TYPE_TS, self.next, self.timestamp(at));
        rtp::Repr { marker, payload_type, sequence, timestamp, ssrc: self.ssrc, payload: media.payload }
            .emit(out);
        self.next = self.next.wrapping_add(1);
        self.last = Some((media.flow, media.number.map(|number| number + 1)));
    }

    fn timestamp(&self, at: Instant) -> u32 {
        let ticks = at.saturating_duration_since(self.epoch).as_nanos() * u128::from(rtp::CLOCK_HZ_TS);
        self.clock_start.wrapping_add((ticks / 1_000_000_000) as u32) // modulo 2^32, as on the wire
    }
}

/// Count of numbers missing before this one. Zero if the gap is so large that a receiver would
/// assume a new stream.
fn gap(expected: u64, number: Option<u64>) -> u16 {
    let missing = number.and_then(|number| number.checked_sub(expected));
    missing.filter(|missing| *missing <= RTP_GAP_MAX).map_or(0, |missing| missing as u16)
}

/// Makes RTP packets of a turn's deliveries.
#[derive(Debug)]
pub struct Wrapper {
    packetizer: Packetizer,
    /// The followed flow, and its TS packets that were not sent yet.
    flow: Option<FlowId>,
    stream: Packets,
    pending: Vec<u8>,
    /// Timestamp of the last packet.
    latest: Instant,
    packets: Vec<u8>,
    places: Vec<Range<usize>>,
    /// For each datagram, the count of packets up to its end.
    ends: Vec<usize>,
    stamps: Vec<Instant>,
}

/// The RTP packets of one datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Made<'a> {
    packets: &'a [u8],
    places: &'a [Range<usize>],
}

impl<'a> Made<'a> {
    /// The packets, in order.
    pub fn packets(self) -> impl Iterator<Item = &'a [u8]> {
        self.places.iter().map(move |place| &self.packets[place.clone()])
    }
}

impl Wrapper {
    /// A stream with a random start.
    pub fn new(now: Instant) -> Wrapper {
        Wrapper {
            packetizer: Packetizer::random(now),
            flow: None,
            stream: Packets::default(),
            pending: Vec::new(),
            latest: now,
            packets: Vec::new(),
            places: Vec::new(),
            ends: Vec::new(),
            stamps: Vec::new(),
        }
    }

    /// The RTP packets of these datagrams, in order: for each datagram, those that it completes.
    /// Their timestamps are the arrivals, which are steadier than the times at which a relay
    /// sends. A packet that came late or was recovered gets a timestamp not later than that of
    /// the next packet.
    pub fn wrap<'m, 's, I>(&'s mut self, media: I) -> impl Iterator<Item = Made<'s>> + Clone + use<'s, 'm, I>
    where
        I: DoubleEndedIterator<Item = Media<'m>> + Clone,
    {
        self.packets.clear();
        self.places.clear();
        self.ends.clear();
        self.stamp(media.clone());
        for media in media {
            let at = self.stamps.pop().unwrap_or(media.arrived);
            self.latest = self.latest.max(at);
            self.datagram(media);
            self.ends.push(self.places.len());
        }
        let ranges = self.ends.iter().scan(0, |from, end| Some(std::mem::replace(from, *end)..*end));
        ranges.map(|range| Made { packets: &self.packets, places: &self.places[range] })
    }

    fn datagram(&mut self, mut media: Media<'_>) {
        if media.starts || self.flow.replace(media.flow) != Some(media.flow) {
            self.stream = Packets::default();
            self.pending.clear();
        }
        let mut stream = mem::take(&mut self.stream);
        stream.push(media.payload, |placed| {
            self.pending.extend_from_slice(placed.packet);
            if self.pending.len() >= TS_PACKETS_MAX * PACKET {
                self.emit(&mut media);
            }
        });
        // No TS packet is incomplete, so there is nothing to wait for.
        if stream.is_between() && !self.pending.is_empty() {
            self.emit(&mut media);
        }
        self.stream = stream;
    }

    fn emit(&mut self, media: &mut Media<'_>) {
        let start = self.packets.len();
        let packet = Media { payload: &self.pending, ..*media };
        self.packetizer.emit(&packet, self.latest, &mut self.packets);
        self.places.push(start..self.packets.len());
        self.pending.clear();
        media.starts = false;
    }

    /// The earliest arrival from each datagram on, in reverse order.
    fn stamp<'m>(&mut self, media: impl DoubleEndedIterator<Item = Media<'m>>) {
        let mut stamps = mem::take(&mut self.stamps);
        stamps.clear();
        let earlier = |earliest: &mut Option<Instant>, media: Media<'_>| {
            let at = earliest.map_or(media.arrived, |earliest| earliest.min(media.arrived));
            Some(*earliest.insert(at))
        };
        stamps.extend(media.rev().scan(None, earlier));
        self.stamps = stamps;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use tidecast_net::clock;
    use tidecast_wire::ts::packets::Unit;

    const TS: &[u8] = &[0x47; 188];

    fn media(flow: u32, number: Option<u64>, arrived: Instant) -> Media<'static> {
        Media { flow: FlowId(flow), starts: false, number, arrived, payload: TS }
    }

    /// Emits a packet; returns sequence number, marker and timestamp.
    fn emit(packetizer: &mut Packetizer, media: &Media<'_>) -> (u16, bool, u32) {
        let mut out = Vec::new();
        packetizer.emit(media, media.arrived, &mut out);
        let packet = rtp::Packet::parse(&out).unwrap();
        assert_eq!((packet.ssrc(), packet.payload_type(), packet.payload()), (7, 33, media.payload));
        (packet.sequence(), packet.marker(), packet.timestamp())
    }

    #[test]
    fn numbers_and_clock_go_on_and_wrap() {
        let now = clock::now();
        let mut packetizer = Packetizer::new(7, 65_534, u32::MAX - 900, now);
        let packets: Vec<_> = (0..4)
            .map(|n| emit(&mut packetizer, &media(1, None, now + Duration::from_millis(10) * n)))
            .collect();
        let expected =
            [(65_534, u32::MAX - 900), (65_535, u32::MAX), (0, 899), (1, 1799)].map(|(n, t)| (n, false, t));
        assert_eq!(packets, expected);
    }

    #[test]
    fn lost_numbers_leave_a_gap_and_unnumbered_streams_none() {
        let now = clock::now();
        let mut packetizer = Packetizer::new(7, 100, 0, now);
        let mut sequence = |number| emit(&mut packetizer, &media(1, number, now)).0;
        assert_eq!([5, 6, 9, 10].map(|number| sequence(Some(number))), [100, 101, 104, 105]);
        // A gap at which most receivers end the stream, and numbers that go backwards.
        assert_eq!(sequence(Some(11 + RTP_GAP_MAX)), 106 + RTP_GAP_MAX as u16);
        assert_eq!(sequence(Some(13 + 2 * RTP_GAP_MAX)), 107 + RTP_GAP_MAX as u16);
        assert_eq!(sequence(Some(3)), 108 + RTP_GAP_MAX as u16);
        assert_eq!(
            [None, None, Some(70)].map(&mut sequence),
            [109, 110, 111].map(|n| n + RTP_GAP_MAX as u16)
        );
    }

    #[test]
    fn another_flow_and_another_run_are_marked_and_go_on_in_the_numbers() {
        let now = clock::now();
        let mut packetizer = Packetizer::new(7, 0, 0, now);
        let mut emit = |media: Media<'_>| emit(&mut packetizer, &media);
        assert_eq!(emit(media(1, Some(0), now)), (0, false, 0));
        assert_eq!(emit(media(2, Some(50), now)), (1, true, 0));
        assert_eq!(emit(Media { starts: true, ..media(2, Some(90), now) }), (2, true, 0));
        assert_eq!(emit(media(2, Some(91), now)), (3, false, 0));
    }

    #[test]
    fn time_stamps_never_run_backwards_and_what_came_late_does_not_delay_the_others() {
        let now = clock::now();
        let at = |millis: u64| now + Duration::from_millis(millis);
        let mut wrapper = Wrapper::new(now);
        let mut stamps = |arrivals: &[u64]| -> Vec<u32> {
            let media = arrivals.iter().map(|millis| media(1, None, at(*millis)));
            let packets = wrapper.wrap(media).flat_map(Made::packets);
            packets.map(|packet| rtp::Packet::parse(packet).unwrap().timestamp()).collect()
        };
        let first = stamps(&[0])[0];
        let mut since = |arrivals: &[u64]| -> Vec<u32> {
            stamps(arrivals).into_iter().map(|stamp| stamp.wrapping_sub(first) / 90).collect()
        };
        // The second packet was recovered after 300 ms; the third one came on time.
        assert_eq!(since(&[10, 300, 20, 30]), [10, 20, 20, 30]);
        assert_eq!(since(&[25]), [30]);
        assert_eq!(since(&[]), [0; 0]);
        assert_eq!(since(&[40]), [40]);
    }

    /// TS packets of one PID, numbered.
    fn stream(count: u16, unit: Unit) -> (Vec<u8>, Vec<u8>) {
        let (mut plain, mut wrapped) = (Vec::new(), Vec::new());
        for number in 0..count {
            let mut packet = [number as u8 & 0x3f; PACKET];
            packet[..4].copy_from_slice(&[0x47, 1, 0, 0x10 | number as u8 & 15]);
            plain.extend_from_slice(&packet);
            unit.wrap(&[packet], [0, 1, 2, number as u8], &mut wrapped);
        }
        (plain, wrapped)
    }

    #[test]
    fn a_stream_cut_anywhere_leaves_in_whole_packets_at_most_seven_each() {
        let now = clock::now();
        for (unit, size) in
            [(Unit::Plain, 1472), (Unit::Stamped, 1472), (Unit::Parity, 1000), (Unit::Plain, 1880)]
        {
            let (plain, wrapped) = stream(700, unit);
            let mut wrapper = Wrapper::new(now);
            let (mut sent, mut sizes) = (Vec::new(), Vec::new());
            for payload in wrapped.chunks(size) {
                let media = Media { payload, ..media(1, None, now) };
                for packet in wrapper.wrap(std::iter::once(media)).flat_map(Made::packets) {
                    let payload = rtp::Packet::parse(packet).unwrap().payload();
                    sizes.push(payload.len() / PACKET);
                    sent.extend_from_slice(payload);
                }
            }
            assert!(sent == plain, "{unit:?} in {size}");
            let full = sizes.iter().filter(|size| **size == 7).count();
            assert!(sizes.iter().all(|size| *size <= 7) && full * 7 >= 690 * 7 / 10, "{sizes:?}");
        }
    }

    #[test]
    fn datagrams_of_whole_packets_are_one_packet_each() {
        let now = clock::now();
        let (plain, _) = stream(12, Unit::Plain);
        let mut wrapper = Wrapper::new(now);
        let parts = [&plain[..2 * PACKET], &plain[2 * PACKET..9 * PACKET], &plain[9 * PACKET..]];
        let media = parts.map(|payload| Media { payload, ..media(1, None, now) });
        let made: Vec<usize> = wrapper.wrap(media.into_iter()).map(|made| made.packets().count()).collect();
        assert_eq!(made, [1, 1, 1]);
    }
}
