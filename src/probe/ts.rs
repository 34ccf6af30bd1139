//! Analyses a transport stream packet by packet, in the order of arrival: programmes, PIDs,
//! continuity, and PCR.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{
    kinds::kind,
    report::{PcrReport, PidReport, ProgramReport, TsReport},
};
use crate::limits::{PCR_INTERVAL_ALLOWED, PROBE_PROGRAMS_MAX};
use tidecast_core::jitter::Deviation;
use tidecast_wire::{
    limits::TS_PIDS_MAX,
    ts::{
        Continuity, PACKET, Pcr,
        packets::{Packets, Unit},
        pcr,
        psi::{PID_PAT, Section, Sections, TABLE_PAT, TABLE_PMT},
    },
};

const PID_NULL: u16 = 0x1fff;

/// One transport stream.
#[derive(Debug, Default)]
pub(super) struct TransportStream {
    stream: Packets,
    pids: BTreeMap<u16, Pid>,
    programs: BTreeMap<u16, Program>,
    first: Option<Instant>,
    last: Option<Instant>,
    packets: u64,
    errors: u64,
    /// Payloads that do not consist of whole TS packets.
    misaligned: u64,
}

#[derive(Debug, Default)]
struct Program {
    pmt: u16,
    pcr: Option<u16>,
}

#[derive(Debug, Default)]
struct Pid {
    packets: u64,
    continuity: Continuity,
    scrambled: bool,
    kind: Option<String>,
    program: Option<u16>,
    tables: Option<Sections>,
    clock: Option<Box<Clock>>,
}

/// Content of a section.
enum Listed {
    /// Programme numbers and the PIDs of their PMTs.
    Programs(Vec<(u16, u16)>),
    /// A programme's number, the PID of its PCR, and its PIDs with their kinds of content.
    Streams(u16, Option<u16>, Vec<(u16, String)>),
}

impl Listed {
    /// Reads a section of a table that is read on this PID.
    fn of(number: u16, section: Section<'_>) -> Option<Listed> {
        match section.table() {
            TABLE_PAT if number == PID_PAT => {
                Some(Listed::Programs(section.programs().take(PROBE_PROGRAMS_MAX).collect()))
            }
            TABLE_PMT if number != PID_PAT => {
                let named =
                    section.streams().map(|stream| (stream.pid, kind(stream.kind, stream.descriptors)));
                Some(Listed::Streams(section.number(), section.clock(), named.collect()))
            }
            _ => None,
        }
    }
}

/// The PCR of a PID.
#[derive(Debug, Default)]
struct Clock {
    last: Option<(Instant, u64)>,
    count: u64,
    interval_max: Duration,
    too_rare: u64,
    discontinuities: u64,
    announced: u64,
    jitter: Deviation,
    deviation: f64,
    jitter_max: f64,
}

impl TransportStream {
    /// Processes the payload of one datagram.
    pub(super) fn push(&mut self, now: Instant, payload: &[u8]) {
        self.first.get_or_insert(now);
        self.last = Some(now);
        self.misaligned += u64::from(Unit::of_whole(payload).is_none());
        let mut stream = std::mem::take(&mut self.stream);
        stream.push(payload, |placed| self.packet(now, placed.packet));
        self.stream = stream;
    }

    fn packet(&mut self, now: Instant, packet: &[u8; PACKET]) {
        self.packets += 1;
        if packet[1] & 0x80 != 0 {
            self.errors += 1;
            return;
        }
        let number = u16::from_be_bytes([packet[1] & 0x1f, packet[2]]);
        if self.pids.len() >= TS_PIDS_MAX && !self.pids.contains_key(&number) {
            return;
        }
        let pid = self.pids.entry(number).or_default();
        pid.packets += 1;
        pid.scrambled |= packet[3] & 0xc0 != 0;
        pid.continuity.check(packet);
        if let Some(pcr) = pcr(packet) {
            pid.clock.get_or_insert_default().push(now, pcr);
        }
        self.table(number, packet);
    }

    /// Reads PAT and PMTs.
    fn table(&mut self, number: u16, packet: &[u8; PACKET]) {
        let pid = self.pids.entry(number).or_default();
        if number == PID_PAT {
            pid.tables.get_or_insert_default();
        }
        let Some(tables) = &mut pid.tables else { return };
        let mut found = Vec::new();
        tables.take(packet, |section| {
            found.extend(Listed::of(number, section));
            false
        });
        for listed in found {
            match listed {
                Listed::Programs(programs) => self.association(programs),
                Listed::Streams(program, clock, streams) => self.map(program, clock, streams),
            }
        }
    }

    fn association(&mut self, programs: Vec<(u16, u16)>) {
        self.name(PID_PAT, None, "PAT".to_owned());
        for (number, pmt) in programs {
            self.programs.entry(number).or_default().pmt = pmt;
            self.name(pmt, Some(number), "PMT".to_owned());
            if let Some(pid) = self.pids.get_mut(&pmt) {
                pid.tables.get_or_insert_default();
            }
        }
        self.programs.retain(|_, program| self.pids.contains_key(&program.pmt));
    }

    fn map(&mut self, number: u16, clock: Option<u16>, streams: Vec<(u16, String)>) {
        let Some(program) = self.programs.get_mut(&number) else { return };
        program.pcr = clock;
        for (pid, kind) in streams {
            self.name(pid, Some(number), kind);
        }
    }

    fn name(&mut self, number: u16, program: Option<u16>, kind: String) {
        if self.pids.len() >= TS_PIDS_MAX && !self.pids.contains_key(&number) {
            return;
        }
        let pid = self.pids.entry(number).or_default();
        (pid.kind, pid.program) = (Some(kind), program);
    }

    /// Returns the results.
    pub(super) fn report(&self) -> TsReport {
        let seconds = match (self.first, self.last) {
            (Some(first), Some(last)) => last.saturating_duration_since(first).as_secs_f64(),
            _ => 0.0,
        };
        let share = |packets: u64| if seconds > 0.0 { packets as f64 * 1504.0 / seconds } else { 0.0 };
        let null = self.pids.get(&PID_NULL).map_or(0, |pid| pid.packets);
        let program = |(number, program): (&u16, &Program)| ProgramReport {
            program: *number,
            pmt_pid: program.pmt,
            pcr_pid: program.pcr.filter(|pid| *pid != PID_NULL),
        };
        TsReport {
            packets: self.packets,
            bits_per_second: share(self.packets),
            null_packets: null,
            transport_errors: self.errors,
            misaligned: self.misaligned,
            continuity_errors: self.pids.values().map(|pid| pid.continuity.total()).sum(),
            programs: self.programs.iter().map(program).collect(),
            pids: self.pids.iter().map(|(number, pid)| pid.report(*number, share(pid.packets))).collect(),
        }
    }
}

impl Pid {
    fn report(&self, number: u16, bits_per_second: f64) -> PidReport {
        let kind = self.kind.clone().unwrap_or_else(|| well_known(number).to_owned());
        PidReport {
            pid: number,
            program: self.program,
            kind,
            packets: self.packets,
            bits_per_second,
            continuity_errors: self.continuity.total(),
            scrambled: self.scrambled,
            pcr: self.clock.as_ref().map(|clock| clock.report()),
        }
    }
}

/// PIDs with a fixed meaning (ISO/IEC 13818-1 table 2-3, EN 300 468 table 1).
fn well_known(pid: u16) -> &'static str {
    match pid {
        0x00 => "PAT",
        0x01 => "CAT",
        0x10 => "NIT",
        0x11 => "SDT",
        0x12 => "EIT",
        0x14 => "TDT",
        PID_NULL => "null packets",
        _ => "unknown",
    }
}

impl Clock {
    fn push(&mut self, now: Instant, pcr: Pcr) {
        self.count += 1;
        let Some((at, ticks)) = self.last.replace((now, pcr.ticks)) else { return };
        if pcr.discontinuity {
            self.announced += 1;
            return;
        }
        let ahead =
            Duration::from_nanos(((pcr.ticks + Pcr::WRAP - ticks) % Pcr::WRAP).saturating_mul(1000) / 27);
        let arrival = now.saturating_duration_since(at);
        // A jump backwards or far ahead is a new time base; after a loss or a pause, time has
        // passed on both clocks.
        if ahead > PCR_INTERVAL_ALLOWED && ahead > arrival * 2 + PCR_INTERVAL_ALLOWED {
            self.discontinuities += 1;
            return;
        }
        self.interval_max = self.interval_max.max(ahead);
        self.too_rare += u64::from(ahead > PCR_INTERVAL_ALLOWED);
        self.vary(arrival.as_secs_f64() - ahead.as_secs_f64());
    }

    /// Updates the deviation of arrivals from the PCR, from one value to the next, and in total.
    fn vary(&mut self, difference: f64) {
        self.jitter.push(difference);
        self.deviation += difference;
        self.jitter_max = self.jitter_max.max(difference.abs());
    }

    fn report(&self) -> PcrReport {
        PcrReport {
            count: self.count,
            interval_max_seconds: self.interval_max.as_secs_f64(),
            too_rare: self.too_rare,
            discontinuities: self.discontinuities,
            announced_discontinuities: self.announced,
            jitter_seconds: self.jitter.seconds(),
            jitter_max_seconds: self.jitter_max,
            drift_seconds: self.deviation,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidecast_net::clock;
    use tidecast_testkit::ts::{association, packed, section};

    fn stream() -> Vec<u8> {
        std::fs::read(format!("{}/fixtures/test.ts", env!("CARGO_MANIFEST_DIR"))).expect("the fixture")
    }

    /// Plays the fixture at its rate, 600 kbit/s, without the datagrams that `lost` selects.
    fn play(lost: impl Fn(usize) -> bool) -> TsReport {
        let start = clock::now();
        let mut ts = TransportStream::default();
        for (i, datagram) in stream().chunks(7 * PACKET).enumerate().filter(|(i, _)| !lost(*i)) {
            let micros = i as u64 * 7 * 188 * 8 * 1_000_000 / 600_000;
            ts.push(start + Duration::from_micros(micros), datagram);
        }
        ts.report()
    }

    #[test]
    fn a_programme_with_video_and_audio_is_named() {
        let report = play(|_| false);
        let kinds: Vec<(&str, Option<u16>)> =
            report.pids.iter().map(|pid| (pid.kind.as_str(), pid.program)).collect();
        for expected in [("PAT", None), ("PMT", Some(1)), ("H.264 video", Some(1)), ("AAC audio", Some(1))] {
            assert!(kinds.contains(&expected), "{expected:?} in {kinds:?}");
        }
        assert_eq!((report.continuity_errors, report.misaligned, report.programs.len()), (0, 0, 1));
        assert!((report.bits_per_second - 600e3).abs() < 10e3, "{}", report.bits_per_second);
        let pcr_pid = report.programs[0].pcr_pid.expect("a clock");
        let pcr = report.pids.iter().find(|pid| pid.pid == pcr_pid).and_then(|pid| pid.pcr).expect("PCRs");
        assert!(pcr.count > 50 && pcr.discontinuities == 0 && pcr.too_rare == 0, "{pcr:?}");
        assert!(pcr.interval_max_seconds <= 0.1 && pcr.jitter_seconds < 0.02, "{pcr:?}");
    }

    #[test]
    fn map_tables_that_share_a_pid_or_even_a_packet_are_all_read() {
        let map = |number: u16, stream: u8| {
            let fields = [0xe1, stream, 0xf0, 0, 0x1b, 0xe1, stream, 0xf0, 0];
            section(TABLE_PMT, number, &fields)
        };
        let tables = [
            packed(PID_PAT, 0, &association(&[0x20, 0x20, 0x21])),
            packed(0x20, 0, &[map(1, 1), map(2, 2)].concat()),
            packed(0x21, 0, &map(3, 3)),
        ];
        let mut ts = TransportStream::default();
        ts.push(clock::now(), tables.concat().as_flattened());
        let report = ts.report();
        let programs: Vec<_> = report.programs.iter().map(|p| (p.program, p.pmt_pid, p.pcr_pid)).collect();
        assert_eq!(programs, [(1, 0x20, Some(0x101)), (2, 0x20, Some(0x102)), (3, 0x21, Some(0x103))]);
        let video = report.pids.iter().filter(|pid| pid.kind == "H.264 video");
        let video: Vec<_> = video.map(|pid| (pid.pid, pid.program)).collect();
        assert_eq!(video, [(0x101, Some(1)), (0x102, Some(2)), (0x103, Some(3))]);
    }

    #[test]
    fn a_stream_that_is_cut_anywhere_is_whole() {
        let start = clock::now();
        let mut ts = TransportStream::default();
        for (i, datagram) in stream().chunks(1472).enumerate() {
            ts.push(start + Duration::from_micros(i as u64 * 1472 * 8 * 1_000_000 / 600_000), datagram);
        }
        let (report, whole) = (ts.report(), play(|_| false));
        let seen = |report: &TsReport| (report.packets, report.continuity_errors, report.pids.len());
        assert_eq!(seen(&report), seen(&whole));
    }

    #[test]
    fn losses_show_as_continuity_errors() {
        let report = play(|i| i % 20 == 10);
        assert!(report.continuity_errors > 10, "{}", report.continuity_errors);
    }

    #[test]
    fn a_clock_that_jumps_is_a_discontinuity_unless_it_says_so() {
        let start = clock::now();
        let mut clock = Clock::default();
        let pcr = |seconds: f64, discontinuity| Pcr { pid: 1, ticks: (seconds * 27e6) as u64, discontinuity };
        let steps =
            [(0, 5.0, false), (40, 5.04, false), (80, 900.0, false), (120, 900.04, false), (160, 3.0, true)];
        for (at, seconds, announced) in steps {
            clock.push(start + Duration::from_millis(at), pcr(seconds, announced));
        }
        clock.push(start + Duration::from_millis(360), pcr(3.2, false));
        let report = clock.report();
        assert_eq!((report.count, report.discontinuities, report.announced_discontinuities), (6, 1, 1));
        assert_eq!(report.too_rare, 1);
        assert!(report.jitter_max_seconds < 1e-6);
    }
}
