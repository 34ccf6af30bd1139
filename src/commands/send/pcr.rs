//! Paces a transport stream by its own clock, the PCR (ISO 13818-1, 2.4.3.5).
//!
//! Pure: no clock and no I/O. The input is the bytes of a file, the output is datagrams of seven
//! packets, each with the time at which it is due, interpolated between the PCRs around it; a
//! [`super::pace::Timeline`] converts these times to instants.

use std::collections::VecDeque;
use std::time::Duration;

use crate::limits::{PCR_INTERVAL_MAX, PCR_LOOKAHEAD_PACKETS_MAX};
use tidecast_wire::ts::{self, PACKET as PACKET_BYTES, Pcr, SYNC, packets::Unit};

/// Transport packets in one datagram: the maximum that fits into an Ethernet frame.
pub const DATAGRAM_PACKETS: usize = 7;
/// Reason why a stream cannot be paced by its PCR.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PcrError {
    /// Fewer than two usable PCRs.
    #[error("no usable PCR in {packets} transport packets, expected one at least every {} s; give --rate instead", PCR_INTERVAL_MAX.as_secs())]
    NoPcr {
        /// Packets read.
        packets: u64,
    },
    /// The bytes are not a transport stream.
    #[error("no transport stream: expected 0x47 every {unit} bytes, found none in {bytes} bytes")]
    NoSync {
        /// Number of bytes examined.
        bytes: usize,
        /// Bytes of each packet.
        unit: usize,
    },
}

/// A datagram with the time at which it is due, since the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timed {
    /// When to send it.
    pub due: Duration,
    /// Up to [`DATAGRAM_PACKETS`] whole transport packets.
    pub bytes: Vec<u8>,
}

/// Finds the transport packets in a stream of bytes; skips bytes that do not belong to packets,
/// and those before or after each packet in its unit.
#[derive(Debug, Default)]
pub struct Splitter {
    unit: Unit,
    /// Bytes before the first packet of the input.
    lead: usize,
    /// Number of these bytes that are still to come.
    ahead: usize,
    rest: Vec<u8>,
    /// Bytes skipped since the last packet.
    lost: usize,
    skipped: u64,
}

impl Splitter {
    /// Creates a splitter for input with packets of this unit, after `lead` other bytes
    /// ([`begin`](ts::packets::begin)).
    pub fn new(unit: Unit, lead: usize) -> Splitter {
        Splitter { unit, lead, ahead: lead, ..Splitter::default() }
    }

    /// Takes more bytes and passes on each whole packet.
    ///
    /// # Errors
    /// [`PcrError::NoSync`] if 64 packets' worth of bytes contain no sync byte at the right
    /// position.
    pub fn push(
        &mut self,
        bytes: &[u8],
        mut packet: impl FnMut(&[u8; PACKET_BYTES]),
    ) -> Result<(), PcrError> {
        const SEARCH_BYTES_MAX: usize = 64 * PACKET_BYTES;
        let ahead = self.ahead.min(bytes.len());
        self.ahead -= ahead;
        self.skipped += ahead as u64;
        self.rest.extend_from_slice(&bytes[ahead..]);
        let (unit, front) = (self.unit.bytes(), self.unit.front());
        let mut at = 0;
        while self.rest.len() - at >= unit {
            let Some(chunk) = self.rest[at + front..].first_chunk::<PACKET_BYTES>() else { break };
            // Without synchronization, a sync byte counts only if the next packet's is at its
            // position too.
            let follower = if self.lost == 0 { Some(&SYNC) } else { self.rest.get(at + unit + front) };
            let Some(&follower) = follower else { break };
            if chunk[0] == SYNC && follower == SYNC {
                packet(chunk);
                at += unit;
                self.lost = 0;
            } else {
                at += 1;
                self.lost += 1;
                self.skipped += 1;
            }
            if self.lost > SEARCH_BYTES_MAX {
                return Err(PcrError::NoSync { bytes: self.lost, unit });
            }
        }
        self.rest.drain(..at);
        Ok(())
    }

    /// Ends the input: a partial packet at its end is dropped and counted. The bytes that follow
    /// are treated like the start of the input.
    pub fn cut(&mut self) {
        (self.ahead, self.lost) = (self.lead, 0);
        self.skipped += self.rest.len() as u64;
        self.rest.clear();
    }

    /// Returns the number of bytes skipped so far because they did not belong to a packet.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }
}

/// The measured speed of an interval between PCRs: this many packets in this many ticks.
#[derive(Debug, Clone, Copy)]
struct Speed {
    ticks: u64,
    packets: u64,
}

impl Speed {
    fn ticks_of(self, packets: u64) -> u64 {
        (u128::from(self.ticks) * u128::from(packets) / u128::from(self.packets)) as u64
    }
}

/// Cuts a transport stream into datagrams and times them by the PCRs of the first PID that has
/// some.
///
/// Packets wait until the PCR after them is known, then share the interval evenly. Before the
/// first PCR, after the last, and across a discontinuity the speed of the neighbouring interval
/// applies.
#[derive(Debug, Default)]
pub struct PcrPacer {
    pid: Option<u16>,
    /// The last PCR; `None` after an interruption of the stream.
    last: Option<u64>,
    speed: Option<Speed>,
    /// Packets that wait for the next PCR; below it the number of those before the last one.
    waiting: Vec<u8>,
    lead: usize,
    /// When the first waiting packet is due, in ticks since the start.
    start: u64,
    packets: u64,
    datagram: Vec<u8>,
    datagram_due: u64,
    ready: VecDeque<Timed>,
}

impl PcrPacer {
    /// Creates a pacer whose first datagram is due at once.
    pub fn new() -> PcrPacer {
        PcrPacer::default()
    }

    /// Takes the next transport packet.
    ///
    /// # Errors
    /// [`PcrError::NoPcr`] if `PCR_LOOKAHEAD_PACKETS_MAX` packets have passed without a known
    /// speed.
    pub fn push(&mut self, packet: &[u8; PACKET_BYTES]) -> Result<(), PcrError> {
        if let Some(pcr) = ts::pcr(packet)
            && *self.pid.get_or_insert(pcr.pid) == pcr.pid
        {
            self.reach(pcr.ticks, pcr.discontinuity);
        }
        self.waiting.extend_from_slice(packet);
        self.packets += 1;
        if self.waiting_packets() >= PCR_LOOKAHEAD_PACKETS_MAX {
            self.interrupt()?;
        }
        Ok(())
    }

    /// Ends a lap: the packets that are pushed next continue smoothly, whatever their PCR is.
    ///
    /// # Errors
    /// [`PcrError::NoPcr`] if the lap had fewer than two usable PCRs.
    pub fn interrupt(&mut self) -> Result<(), PcrError> {
        let speed = self.speed.ok_or(PcrError::NoPcr { packets: self.packets })?;
        self.release(speed);
        self.last = None;
        Ok(())
    }

    /// Ends the stream: the last datagram may be shorter.
    ///
    /// # Errors
    /// [`PcrError::NoPcr`] if the stream had fewer than two usable PCRs.
    pub fn finish(&mut self) -> Result<(), PcrError> {
        self.interrupt()?;
        self.complete();
        Ok(())
    }

    /// Returns the next datagram whose time is known.
    pub fn pop(&mut self) -> Option<Timed> {
        self.ready.pop_front()
    }

    fn waiting_packets(&self) -> usize {
        self.waiting.len() / PACKET_BYTES
    }

    /// Handles a PCR in the next packet: the packets before it can now be timed.
    fn reach(&mut self, value: u64, discontinuity: bool) {
        let interval = self.last.filter(|_| !discontinuity).and_then(|last| interval(last, value));
        let packets = (self.waiting_packets() - self.lead) as u64;
        self.speed = match interval {
            Some(ticks) if packets > 0 => Some(Speed { ticks, packets }),
            _ => self.speed,
        };
        match self.speed {
            Some(speed) => self.release(speed),
            None => self.lead = self.waiting_packets(),
        }
        self.last = Some(value);
    }

    /// Times all waiting packets at this speed.
    fn release(&mut self, speed: Speed) {
        let waiting = std::mem::take(&mut self.waiting);
        for (i, packet) in (0..).zip(waiting.chunks_exact(PACKET_BYTES)) {
            if self.datagram.is_empty() {
                self.datagram_due = self.start + speed.ticks_of(i);
            }
            self.datagram.extend_from_slice(packet);
            if self.datagram.len() == DATAGRAM_PACKETS * PACKET_BYTES {
                self.complete();
            }
        }
        self.start += speed.ticks_of((waiting.len() / PACKET_BYTES) as u64);
        self.lead = 0;
        // Its memory is reused for the next interval.
        self.waiting = waiting;
        self.waiting.clear();
    }

    fn complete(&mut self) {
        if !self.datagram.is_empty() {
            let bytes = std::mem::take(&mut self.datagram);
            self.ready.push_back(Timed { due: duration(self.datagram_due), bytes });
        }
    }
}

/// Returns the ticks from one PCR to the next across the wrap; `None` if the interval is
/// implausible.
fn interval(from: u64, to: u64) -> Option<u64> {
    let ticks = (to + Pcr::WRAP - from % Pcr::WRAP) % Pcr::WRAP;
    (ticks > 0 && ticks <= PCR_INTERVAL_MAX.as_secs() * Pcr::HZ).then_some(ticks)
}

fn duration(ticks: u64) -> Duration {
    Duration::from_secs(ticks / Pcr::HZ) + Duration::from_nanos(ticks % Pcr::HZ * 1000 / 27)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidecast_testkit::ts::{clocked as packet, stream};

    fn drain(pacer: &mut PcrPacer) -> Vec<Timed> {
        std::iter::from_fn(|| pacer.pop()).collect()
    }

    fn pace(packets: &[[u8; PACKET_BYTES]]) -> Vec<Timed> {
        let mut pacer = PcrPacer::new();
        packets.iter().for_each(|p| pacer.push(p).expect("a good packet"));
        pacer.finish().expect("a good stream");
        drain(&mut pacer)
    }

    fn millis(timed: &[Timed]) -> Vec<f64> {
        timed.iter().map(|t| t.due.as_secs_f64() * 1e3).collect()
    }

    #[test]
    fn a_stream_lasts_as_long_as_its_pcrs_say_and_keeps_its_bytes() {
        // 250 intervals of 40 ms, 70 packets each, then one packet at exactly 10 s.
        let packets = stream(12_345, 250, Pcr::HZ / 25, 70);
        let timed = pace(&packets);
        assert_eq!(timed.last().expect("datagrams").due, Duration::from_secs(10));
        assert!(timed[..timed.len() - 1].iter().all(|t| t.bytes.len() == 1316));
        let bytes: Vec<u8> = timed.iter().flat_map(|t| t.bytes.clone()).collect();
        assert_eq!(bytes, packets.concat());
        for (i, ms) in millis(&timed).iter().enumerate() {
            assert!((ms - 4.0 * i as f64).abs() < 1e-3, "datagram {i} at {ms} ms");
        }
    }

    #[test]
    fn the_wrap_of_the_pcr_changes_nothing() {
        let plain = pace(&stream(0, 50, Pcr::HZ / 25, 14));
        let wrapping = pace(&stream(Pcr::WRAP - 20 * Pcr::HZ / 25, 50, Pcr::HZ / 25, 14));
        assert_eq!(millis(&plain), millis(&wrapping));
    }

    #[test]
    fn a_variable_rate_is_followed() {
        let mut packets = stream(0, 1, Pcr::HZ / 10, 7);
        packets.pop();
        packets.extend(stream(Pcr::HZ / 10, 1, Pcr::HZ / 10, 70));
        let due = millis(&pace(&packets));
        assert_eq!(due[..4], [0.0, 100.0, 110.0, 120.0]);
    }

    #[test]
    fn packets_before_the_first_pcr_take_the_first_known_speed() {
        let mut packets: Vec<_> = (0..14).map(|i| packet(i, None)).collect();
        packets.extend(stream(0, 2, Pcr::HZ / 100, 7));
        assert_eq!(millis(&pace(&packets)), [0.0, 10.0, 20.0, 30.0, 40.0]);
    }

    #[test]
    fn a_discontinuity_neither_stalls_nor_bursts() {
        let smooth = [0.0, 10.0, 20.0, 30.0, 40.0, 50.0];
        let first = stream(0, 2, Pcr::HZ / 100, 7);
        // Announced by the flag; not announced but far ahead; and backwards.
        for (value, flag) in [(Pcr::HZ / 2, true), (500 * Pcr::HZ, false), (Pcr::WRAP - 77, false)] {
            let mut packets = first[..14].to_vec();
            let mut second = stream(value, 3, Pcr::HZ / 100, 7);
            second[0] = packet(0, Some((value, flag)));
            packets.extend(second);
            assert_eq!(millis(&pace(&packets)), smooth, "jump to {value}");
        }
    }

    #[test]
    fn looping_continues_smoothly_and_fills_datagrams_across_laps() {
        // 15 packets per lap: datagrams contain packets of two laps.
        let lap = stream(900, 2, Pcr::HZ / 100, 7);
        let mut pacer = PcrPacer::new();
        for _ in 0..7 {
            lap.iter().for_each(|p| pacer.push(p).expect("a good packet"));
            pacer.interrupt().expect("a known speed");
        }
        let timed = drain(&mut pacer);
        assert_eq!(timed.len(), 15);
        for (i, ms) in millis(&timed).iter().enumerate() {
            assert!((ms - 10.0 * i as f64).abs() < 1e-3, "datagram {i} at {ms} ms");
        }
    }

    #[test]
    fn another_pid_with_pcrs_does_not_disturb() {
        let mut packets = stream(0, 2, Pcr::HZ / 100, 7);
        let mut other = packet(0, Some((777 * Pcr::HZ, false)));
        other[2] = 0x55;
        packets[3] = other;
        assert_eq!(millis(&pace(&packets)), [0.0, 10.0, 20.0]);
    }

    #[test]
    fn a_stream_without_pcr_is_refused_with_advice() {
        let mut pacer = PcrPacer::new();
        (0..20).for_each(|i| pacer.push(&packet(i, None)).expect("still looking"));
        let error = pacer.finish().expect_err("no speed");
        assert_eq!(error, PcrError::NoPcr { packets: 20 });
        assert!(error.to_string().contains("--rate"), "{error}");

        let mut endless = PcrPacer::new();
        let error = (0..).find_map(|i| endless.push(&packet(i, None)).err());
        assert_eq!(error, Some(PcrError::NoPcr { packets: PCR_LOOKAHEAD_PACKETS_MAX as u64 }));
    }

    #[test]
    fn the_splitter_finds_packets_through_any_cut_and_steps_over_rubbish() {
        let packets = stream(0, 3, Pcr::HZ / 100, 7);
        let mut bytes = packets[..9].concat();
        bytes.extend([SYNC, 1, 2, 3, SYNC]);
        bytes.extend(packets[9..].concat());
        bytes.extend([SYNC, 9]);
        for cut in [1, 5, 187, 188, 189, 1000, bytes.len()] {
            let mut splitter = Splitter::default();
            let mut found = Vec::new();
            for part in bytes.chunks(cut) {
                splitter.push(part, |p| found.push(*p)).expect("in sync");
            }
            splitter.cut();
            // The inserted bytes start with a sync byte, which costs packet 9.
            assert_eq!(found.len(), packets.len(), "cut by {cut}");
            assert_eq!(found[..9], packets[..9]);
            assert_eq!(found[10..], packets[10..], "cut by {cut}");
            assert_eq!(splitter.skipped(), 5 + 2, "cut by {cut}");
        }
        let mut splitter = Splitter::default();
        let error = splitter.push(&[0; 20_000], |_| panic!("no packet here"));
        assert_eq!(error, Err(PcrError::NoSync { bytes: 64 * PACKET_BYTES + 1, unit: PACKET_BYTES }));
    }
}
