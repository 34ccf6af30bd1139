//! RTP for MPEG-TS that came without it (RFC 3550, RFC 2250): what RTP outputs send of such streams.
//!
//! Pure. The packet path hands over a turn's deliveries; the packets made of them go to the outputs in `udp`. One
//! datagram in is one out, and all outputs of a channel send the same packets, so that two of them are two paths of one
//! stream.

use std::{mem, ops::Range, time::Instant};

use crate::{
    limits::RTP_GAP_MAX,
    relay::FlowId,
    wire::rtp::{self, PAYLOAD_TYPE_TS},
};

/// TS packets to be sent as one RTP packet.
#[derive(Debug, Clone, Copy)]
pub struct Media<'a> {
    /// Their flow: the streams of two have nothing to do with each other.
    pub flow: FlowId,
    /// Whether a run of their producer begins with them.
    pub starts: bool,
    /// Their number in that run, if they came with one.
    pub number: Option<u64>,
    /// When they came.
    pub arrived: Instant,
    /// The TS packets.
    pub payload: &'a [u8],
}

/// Numbers and stamps the packets of one RTP stream, whatever it carries over time: its SSRC, numbers and clock go on
/// where the source changes, and the marker says that it did (RFC 2250 section 2).
#[derive(Debug)]
pub struct Packetizer {
    ssrc: u32,
    next: u16,
    /// What the clock shows at `epoch`.
    clock_start: u32,
    epoch: Instant,
    /// The flow of the last packet, and the number that its next one should have.
    last: Option<(FlowId, Option<u64>)>,
}

impl Packetizer {
    /// A stream that begins at a number and a time of the caller's choice; RFC 3550 asks for random ones.
    pub fn new(ssrc: u32, first: u16, clock_start: u32, now: Instant) -> Packetizer {
        Packetizer { ssrc, next: first, clock_start, epoch: now, last: None }
    }

    /// A stream that begins at random (RFC 3550 section 5.1).
    pub fn random(now: Instant) -> Packetizer {
        Packetizer::new(rand::random(), rand::random(), rand::random(), now)
    }

    /// Appends the RTP packet of `media` with the time stamp of `at`, which must not run backwards. What was lost of
    /// a numbered stream leaves a gap in the numbers: whoever receives it should know.
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
        self.clock_start.wrapping_add((ticks / 1_000_000_000) as u32) // modulo 2^32, as the wire has it
    }
}

/// How many numbers were left out before this one. A gap that a receiver would take for a new stream is none.
fn gap(expected: u64, number: Option<u64>) -> u16 {
    let missing = number.and_then(|number| number.checked_sub(expected));
    missing.filter(|missing| *missing <= RTP_GAP_MAX).map_or(0, |missing| missing as u16)
}

/// Makes RTP packets of all that a turn delivers.
#[derive(Debug)]
pub struct Wrapper {
    packetizer: Packetizer,
    /// The time stamp of the last packet.
    latest: Instant,
    packets: Vec<u8>,
    places: Vec<Range<usize>>,
    stamps: Vec<Instant>,
}

impl Wrapper {
    /// A stream that begins at random.
    pub fn new(now: Instant) -> Wrapper {
        Wrapper {
            packetizer: Packetizer::random(now),
            latest: now,
            packets: Vec::new(),
            places: Vec::new(),
            stamps: Vec::new(),
        }
    }

    /// The RTP packets of these, in order. Their time stamps are the arrivals', which are steadier than the moments
    /// at which a relay sends; what came late or was rebuilt is stamped as early as what follows it.
    pub fn wrap<'m, 's, I>(&'s mut self, media: I) -> impl Iterator<Item = &'s [u8]> + Clone + use<'s, 'm, I>
    where
        I: DoubleEndedIterator<Item = Media<'m>> + Clone,
    {
        self.packets.clear();
        self.places.clear();
        self.stamp(media.clone());
        for media in media {
            let at = self.stamps.pop().unwrap_or(media.arrived);
            self.latest = self.latest.max(at);
            let start = self.packets.len();
            self.packetizer.emit(&media, self.latest, &mut self.packets);
            self.places.push(start..self.packets.len());
        }
        self.places.iter().map(|place| &self.packets[place.clone()])
    }

    /// The earliest arrival from each on, last first.
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
    use crate::clock;

    const TS: &[u8] = &[0x47; 188];

    fn media(flow: u32, number: Option<u64>, arrived: Instant) -> Media<'static> {
        Media { flow: FlowId(flow), starts: false, number, arrived, payload: TS }
    }

    /// Sequence number, marker and time stamp.
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
        // A gap that ends a stream for most receivers, and numbers that go backwards.
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
            let packets = wrapper.wrap(media).map(|packet| rtp::Packet::parse(packet).unwrap().timestamp());
            packets.collect()
        };
        let first = stamps(&[0])[0];
        let mut since = |arrivals: &[u64]| -> Vec<u32> {
            stamps(arrivals).into_iter().map(|stamp| stamp.wrapping_sub(first) / 90).collect()
        };
        // The second was rebuilt after 300 ms, the third had come in its time.
        assert_eq!(since(&[10, 300, 20, 30]), [10, 20, 20, 30]);
        assert_eq!(since(&[25]), [30]);
        assert_eq!(since(&[]), [0; 0]);
        assert_eq!(since(&[40]), [40]);
    }
}
