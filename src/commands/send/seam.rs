//! Makes a repeated transport stream continuous where one lap ends and the next one starts:
//! continuity counters, PCR, PTS and DTS continue, so that players do not notice the transition.
//!
//! Pure: no clock and no I/O.

use std::collections::BTreeMap;

use tidecast_wire::ts::{self, PACKET, Pcr, stamps};

/// Maximum time between two timestamps of one PID, in ticks of 90 kHz (ISO/IEC 13818-1 section
/// 2.7.4: 700 ms). A longer pause says nothing about when the next timestamp is due.
const STEP_MAX: u64 = stamps::HZ * 7 / 10;
/// Maximum by which the lap of one PID may be longer than that of the first, in ticks of 90 kHz:
/// audio of a file outlasts its video by less. PIDs with a larger difference have clocks that jump
/// within the file.
const LONGER_MAX: u64 = 10 * stamps::HZ;

/// The transition between laps.
#[derive(Debug, Default)]
pub struct Seam {
    pids: BTreeMap<u16, Pid>,
    /// Offset of all times in this lap, in ticks of 90 kHz.
    offset: u64,
    laps: u64,
}

/// State of a PID.
#[derive(Debug, Default)]
struct Pid {
    /// The last counter sent.
    counter: Option<u8>,
    /// Offset of the counters in this lap.
    shift: u8,
    /// Whether a packet of the PID has occurred in this lap.
    seen: bool,
    clock: Span,
    stamps: Span,
}

/// The times of one PID in one lap, in ticks of 90 kHz.
#[derive(Debug, Default)]
struct Span {
    ends: Option<(u64, u64)>,
    /// Increments from one time to the next, except jumps.
    steps: Share,
    /// The increments in proportion to the bytes of the PES packets, if all have a length: PES
    /// packets of audio contain more than one frame, and the last one fewer.
    by_bytes: Share,
    /// Bytes of the last PES packet.
    length: u16,
}

/// A number of ticks for a number of parts.
#[derive(Debug, Default)]
struct Share {
    ticks: u64,
    parts: u64,
}

impl Seam {
    /// Returns the packet to send.
    pub fn pass(&mut self, packet: &[u8; PACKET]) -> [u8; PACKET] {
        let mut out = *packet;
        let Some((counter, counts)) = ts::counter(packet) else { return out };
        let pid = self.pids.entry(ts::pid(packet)).or_default();
        if let Some(pcr) = ts::pcr(packet) {
            pid.clock.reach(pcr.ticks / (Pcr::HZ / stamps::HZ), 0);
        }
        if let Some(pes) = stamps::pes_start(packet) {
            pid.stamps.reach(pes.decoding_time, pes.length);
        }
        let first = !std::mem::replace(&mut pid.seen, true);
        if let Some(last) = pid.counter.filter(|_| first) {
            pid.shift = last.wrapping_add(counts.into()).wrapping_sub(counter);
            ts::clear_discontinuity(&mut out);
        }
        let counter = counter.wrapping_add(pid.shift) & 0x0f;
        pid.counter = Some(counter);
        if self.laps > 0 {
            ts::set_counter(&mut out, counter);
            stamps::shift(&mut out, self.offset);
        }
        out
    }

    /// Ends a lap. Returns whether the next lap's clocks continue: they do not if the lap had
    /// none.
    pub fn lap(&mut self) -> bool {
        let length = self.length();
        self.offset = (self.offset + length.unwrap_or(0)) % stamps::WRAP;
        self.laps += 1;
        for pid in self.pids.values_mut() {
            *pid = Pid { counter: pid.counter, shift: pid.shift, ..Pid::default() };
        }
        length.is_some()
    }

    /// Returns the duration of the lap: that of the clock, or longer if the timestamps of a PID
    /// continue for longer.
    fn length(&self) -> Option<u64> {
        let clocks = self.pids.values().filter_map(|pid| pid.clock.length());
        let mut all = clocks.chain(self.pids.values().filter_map(|pid| pid.stamps.length()));
        let first = all.next()?;
        let longer = all.map(|length| (length + stamps::WRAP - first) % stamps::WRAP);
        let most = longer.filter(|longer| *longer <= LONGER_MAX).max().unwrap_or(0);
        Some((first + most) % stamps::WRAP)
    }
}

impl Span {
    fn reach(&mut self, time: u64, length: u16) {
        let (first, last) = self.ends.unwrap_or((time, time));
        let step = (time + stamps::WRAP - last) % stamps::WRAP;
        if (1..=STEP_MAX).contains(&step) {
            self.steps.add(step, 1);
            self.by_bytes.add(step, self.length.into());
        }
        self.ends = Some((first, time));
        self.length = length;
    }

    /// Returns the time from the first to the one that would follow the last.
    fn length(&self) -> Option<u64> {
        let (first, last) = self.ends?;
        let step = match self.length {
            0 => self.steps.of(1),
            bytes => self.by_bytes.of(bytes.into()),
        };
        Some((last + step? + stamps::WRAP - first) % stamps::WRAP)
    }
}

impl Share {
    fn add(&mut self, ticks: u64, parts: u64) {
        self.ticks += ticks;
        self.parts += parts;
    }

    /// Returns the ticks for this many parts.
    fn of(&self, parts: u64) -> Option<u64> {
        (self.ticks * parts).checked_div(self.parts)
    }
}

#[cfg(test)]
mod tests {
    use tidecast_wire::ts::Continuity;

    use super::*;

    fn film() -> Vec<[u8; PACKET]> {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/test.ts");
        std::fs::read(file).expect("the fixture").as_chunks().0.to_vec()
    }

    fn laps(film: &[[u8; PACKET]], count: usize) -> Vec<[u8; PACKET]> {
        let mut seam = Seam::default();
        let mut sent = Vec::new();
        for _ in 0..count {
            sent.extend(film.iter().map(|packet| seam.pass(packet)));
            assert!(seam.lap());
        }
        sent
    }

    #[test]
    fn counters_and_clocks_go_on_through_all_laps() {
        let film = film();
        let sent = laps(&film, 40); // more than the 16 values of a counter
        assert_eq!(sent[..film.len()], film, "the first lap is the file itself");
        assert_eq!(Continuity::default().check(&sent.concat()), 0);
        let clock: Vec<u64> = sent.iter().filter_map(|packet| Some(ts::pcr(packet)?.ticks)).collect();
        let longest = clock.windows(2).map(|pair| pair[1] - pair[0]).max().expect("a clock");
        assert!(longest <= Pcr::HZ / 10, "{longest} ticks from one PCR to the next");
        let video = film.iter().find_map(|packet| Some(ts::pcr(packet)?.pid)).expect("a clock");
        let pictures = sent.iter().filter(|packet| ts::pid(packet) == video);
        let times: Vec<u64> =
            pictures.filter_map(|packet| Some(stamps::pes_start(packet)?.decoding_time)).collect();
        assert_eq!(times.len(), 40 * 150, "6 s of 25 pictures a second");
        for pair in times.windows(2) {
            // Its audio is longer than its video.
            assert!((3_600..3_600 * 3).contains(&(pair[1] - pair[0])), "{pair:?}");
        }
    }

    #[test]
    fn a_file_that_ends_anywhere_goes_on_too() {
        let film = film();
        for end in [700, 1_111, 2_003] {
            let sent = laps(&film[end / 7..end], 20);
            assert_eq!(Continuity::default().check(&sent.concat()), 0, "packets {} to {end}", end / 7);
            let clock: Vec<u64> = sent.iter().filter_map(|packet| Some(ts::pcr(packet)?.ticks)).collect();
            assert!(clock.is_sorted(), "packets {} to {end}", end / 7);
        }
    }

    #[test]
    fn the_wrap_of_the_clocks_is_no_end() {
        let mut film = film();
        film.iter_mut().for_each(|packet| stamps::shift(packet, stamps::WRAP - 3 * stamps::HZ));
        let sent = laps(&film, 3);
        let clock: Vec<u64> = sent.iter().filter_map(|packet| Some(ts::pcr(packet)?.ticks)).collect();
        let steps = clock.windows(2).map(|pair| (pair[1] + Pcr::WRAP - pair[0]) % Pcr::WRAP);
        assert!(steps.max().expect("a clock") <= Pcr::HZ / 10);
    }

    #[test]
    fn announced_discontinuities_stay_within_the_file_and_go_at_its_beginning() {
        let announcing = |counter: u8| {
            let mut packet = [0xff; PACKET];
            packet[..6].copy_from_slice(&[0x47, 1, 0, 0x30 | counter, 1, 0x80]);
            packet
        };
        let film = [announcing(3), announcing(9)];
        let mut seam = Seam::default();
        let first = film.map(|packet| seam.pass(&packet));
        assert!(!seam.lap(), "it has no clock");
        let second = film.map(|packet| seam.pass(&packet));
        assert_eq!(first, film);
        let said = second.map(|packet| (packet[3] & 0x0f, packet[5]));
        assert_eq!(said, [(10, 0), (0, 0x80)]);
    }
}
