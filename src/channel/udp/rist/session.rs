//! The sending side of a RIST session: media with an even SSRC, a history of sent packets,
//! reports, and answers to receivers. Pure: time comes in as an argument, datagrams go out as
//! bytes.

use std::time::{Duration, Instant};

use tidecast_core::history::{Answer, History, Requests, Settings};
use tidecast_core::limits::REQUEST_NUMBERS_MAX;
use tidecast_wire::{
    rtcp::{Compound, Echo, Nack, Packet, Repr},
    rtp,
};

/// Bit of the SSRC that marks a retransmission; clear in media (TR-06-1).
const AGAIN: u32 = 1;
/// Offset of the SSRC's last byte.
const SSRC_LOW: usize = 11;
/// Seconds from 1900, the NTP epoch, to 1970.
const NTP_TO_UNIX: u64 = 2_208_988_800;

/// Key of a packet: its SSRC and its number.
type Key = (u32, u16);

/// The stream that is being sent.
#[derive(Debug, Clone, Copy)]
struct Stream {
    ssrc: u32,
    /// Timestamp of the last packet.
    timestamp: u32,
    /// When the last packet was sent; `None` before the first one.
    at: Option<Instant>,
    packets: u32,
    octets: u32,
}

/// State of a RIST sender.
#[derive(Debug)]
pub(super) struct Session {
    cname: String,
    /// SSRC of the sender before it has media to send.
    ssrc: u32,
    stream: Option<Stream>,
    history: History<Key>,
    /// Media packets that are being sent, and then go to the history.
    fresh: Vec<(Key, Vec<u8>)>,
    malformed: u64,
    foreign: u64,
}

impl Session {
    /// A session without media; SSRC and name should be random (RFC 3550 section 8, RFC 7022).
    pub(super) fn new(settings: Settings, ssrc: u32, name: u64) -> Session {
        Session {
            cname: format!("tidecast-{name:016x}"),
            ssrc: ssrc & !AGAIN,
            stream: None,
            history: History::new(settings),
            fresh: Vec::new(),
            malformed: 0,
            foreign: 0,
        }
    }

    /// Adds a packet to send. Its SSRC is made even, since an odd one would mark it as a
    /// retransmission.
    pub(super) fn media(&mut self, packet: &[u8]) {
        let Ok(parsed) = rtp::Packet::parse(packet) else { return }; // was checked on arrival
        let (ssrc, timestamp) = (parsed.ssrc() & !AGAIN, parsed.timestamp());
        let stream = match &mut self.stream {
            Some(stream) if stream.ssrc == ssrc => stream,
            other => other.insert(Stream { ssrc, timestamp, at: None, packets: 0, octets: 0 }),
        };
        stream.timestamp = timestamp;
        stream.packets = stream.packets.wrapping_add(1);
        stream.octets = stream.octets.wrapping_add(parsed.payload().len() as u32);
        let mut bytes = packet.to_vec();
        bytes[SSRC_LOW] &= !(AGAIN as u8);
        self.fresh.push(((ssrc, parsed.sequence()), bytes));
    }

    /// Whether the stream that is being sent has not been reported yet.
    pub(super) fn is_new(&self) -> bool {
        self.stream.is_some_and(|stream| stream.at.is_none())
    }

    /// Packets that are being sent.
    pub(super) fn fresh(&self) -> impl Iterator<Item = &[u8]> {
        self.fresh.iter().map(|(_, packet)| &packet[..])
    }

    /// Moves the sent packets to the history.
    pub(super) fn sent(&mut self, now: Instant) {
        if let Some(stream) = self.stream.as_mut().filter(|_| !self.fresh.is_empty()) {
            stream.at = Some(now);
        }
        for (key, packet) in self.fresh.drain(..) {
            self.history.keep(now, key, packet);
        }
    }

    /// Appends a report and the sender's CNAME: a sender report once there is media, before that
    /// an empty receiver report.
    pub(super) fn report(&self, now: Instant, unix: Duration, out: &mut Vec<u8>) {
        let report = match self.stream {
            Some(Stream { ssrc, timestamp, at: Some(at), packets, octets }) => {
                let since = now.saturating_duration_since(at).as_nanos() * u128::from(rtp::CLOCK_HZ_TS);
                let timestamp = timestamp.wrapping_add((since / 1_000_000_000) as u32); // modulo 2^32
                Repr::SenderReport { ssrc, ntp: ntp(unix), timestamp, packets, octets, blocks: &[] }
            }
            _ => Repr::ReceiverReport { ssrc: self.name(), blocks: &[] },
        };
        report.emit(out);
        Repr::Cname { ssrc: self.name(), cname: &self.cname }.emit(out);
    }

    /// Appends the last report, with a BYE.
    pub(super) fn bye(&self, now: Instant, unix: Duration, out: &mut Vec<u8>) {
        self.report(now, unix, out);
        Repr::Bye { ssrc: self.name() }.emit(out);
    }

    fn name(&self) -> u32 {
        self.stream.map_or(self.ssrc, |stream| stream.ssrc)
    }

    /// Handles a datagram of a receiver. Appends retransmissions for the media's target to
    /// `again`, and answers for the receiver to `reply`.
    pub(super) fn handle(
        &mut self,
        now: Instant,
        datagram: &[u8],
        again: &mut Vec<Vec<u8>>,
        reply: &mut Vec<u8>,
    ) {
        let Ok(compound) = Compound::parse(datagram) else {
            self.malformed += 1;
            return;
        };
        let mut damaged = false;
        for packet in compound.packets() {
            match packet {
                Ok(Packet::Nack(nack)) => self.answer(now, &nack, again),
                Ok(Packet::EchoRequest(echo)) => Repr::EchoResponse(Echo { delay: 0, ..echo }).emit(reply),
                Ok(_) => {} // reports and CNAMEs change nothing
                Err(_) => damaged = true,
            }
        }
        self.malformed += u64::from(damaged);
    }

    fn answer(&mut self, now: Instant, nack: &Nack<'_>, again: &mut Vec<Vec<u8>>) {
        let ssrc = nack.media() & !AGAIN;
        let mut left = REQUEST_NUMBERS_MAX;
        for numbers in nack.ranges() {
            let looked_at = left.min(numbers.count() as usize);
            for number in numbers.iter().take(looked_at) {
                if let Answer::Again(packet) = self.history.ask(now, (ssrc, number)) {
                    let mut packet = packet.to_vec();
                    packet[SSRC_LOW] |= AGAIN as u8;
                    again.push(packet);
                }
            }
            left -= looked_at;
            self.history.refuse(u64::from(numbers.count()) - looked_at as u64);
        }
    }

    /// Counts a datagram from an unexpected sender.
    pub(super) fn foreign(&mut self) {
        self.foreign += 1;
    }

    /// Requests so far, and their outcomes.
    pub(super) fn requests(&self) -> Requests {
        Requests { numbers: *self.history.counters(), malformed: self.malformed, foreign: self.foreign }
    }
}

/// A wall-clock time in NTP's 32.32 fixed point, which wraps in 2036.
fn ntp(unix: Duration) -> u64 {
    let fraction = (u64::from(unix.subsec_nanos()) << 32) / 1_000_000_000;
    (unix.as_secs().wrapping_add(NTP_TO_UNIX) << 32) | fraction
}

#[cfg(test)]
mod tests;
