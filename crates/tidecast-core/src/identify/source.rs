//! State of one source, and the decision about its next datagram.

use std::time::{Duration, Instant};

use super::{
    Kin, SourceKind,
    grid::{Grid, Syncs, fills_payload},
    look::{self, Header},
    streams::Streams,
};
use crate::limits::{
    IDENTIFY_CHANGE, IDENTIFY_DATAGRAMS, IDENTIFY_INTERVALS, IDENTIFY_SILENCE, IDENTIFY_SYNCS, IDENTIFY_TIME,
};
use tidecast_wire::ts::{PACKET, SYNC, looks_like};

mod known;

/// A datagram, and what its owner knows about it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrived<'a> {
    pub(super) now: Instant,
    pub(super) bytes: &'a [u8],
    pub(super) kin: Kin,
    /// Datagrams of the source that already wait.
    pub(super) held: usize,
    /// Whether another one may wait.
    pub(super) room: bool,
    /// Only transport streams are expected: everything else is foreign.
    pub(super) ts_only: bool,
}

/// Decision about a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judgement {
    /// This datagram and the waiting ones have this format.
    All(SourceKind),
    /// This datagram has this format; the waiting ones continue to wait.
    Alone(SourceKind),
    /// This datagram waits, at most until this time.
    Wait(Instant),
}

/// A source of datagrams.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) kind: Option<SourceKind>,
    /// When the format became known, when it was last seen, and in how many datagrams.
    pub(super) since: Instant,
    pub(super) seen: Instant,
    pub(super) count: u32,
    /// Grid of a transport stream.
    pub(super) grid: Grid,
    /// Its datagrams are whole TS packets, and no others are expected: any other datagram is
    /// foreign.
    pub(super) whole: bool,
    /// A stream of a native source.
    pub(super) stream: u32,
    /// Datagrams that could have been RTP have waited in vain.
    tried: bool,
    /// It was unnumbered for long, so two packets that agree may be chance.
    wary: bool,
    /// Number of consecutive datagrams that do not show its format.
    off: u8,
    /// Number of them that contradict its format.
    missed: u8,
    evidence: Option<Box<Evidence>>,
}

/// Common features of its datagrams.
#[derive(Debug, Default)]
struct Evidence {
    streams: Streams,
    /// Sync bytes, as long as the grid is not known.
    syncs: Option<Box<Syncs>>,
    /// Consecutive datagrams that continue an RTP stream, or show a transport stream.
    rtp_run: u8,
    ts_run: u8,
    /// A datagram waits that cannot be RTP.
    no_rtp: bool,
}

impl Source {
    pub(super) fn new(now: Instant) -> Source {
        Source {
            kind: None,
            since: now,
            seen: now,
            count: 0,
            grid: Grid::default(),
            whole: false,
            stream: 0,
            tried: false,
            wary: false,
            off: 0,
            missed: 0,
            evidence: None,
        }
    }

    /// Whether more than one datagram has come, so that the source is likely not forged.
    pub(super) fn confirmed(&self) -> bool {
        self.count > 1
    }

    /// Whether datagrams of its format need not be examined.
    pub(super) fn is_settled(&self) -> bool {
        self.kind != Some(SourceKind::Raw)
            || self.count >= IDENTIFY_DATAGRAMS as u32 && self.evidence.is_none()
    }

    /// Decides about a datagram.
    pub(super) fn judge(&mut self, arrived: &Arrived<'_>) -> Judgement {
        if !arrived.ts_only && look::is_native(arrived.bytes) {
            return self.native(arrived.now);
        }
        match self.kind {
            // Damaged: no other format starts like this.
            None if !arrived.ts_only && look::claims_native(arrived.bytes) => {
                Judgement::Alone(SourceKind::Native)
            }
            Some(SourceKind::Ts) => self.of_ts(arrived),
            Some(kind @ (SourceKind::Rtp | SourceKind::Native)) => self.of_numbered(kind, arrived),
            Some(SourceKind::Raw) if self.tried || self.count >= IDENTIFY_DATAGRAMS as u32 => {
                self.of_raw(arrived)
            }
            _ => self.open(arrived),
        }
    }

    /// The datagrams have waited long enough: returns their format.
    pub(super) fn expire(&mut self, now: Instant, held: usize) -> SourceKind {
        let no_rtp = self.evidence.as_ref().is_some_and(|evidence| evidence.no_rtp);
        match self.kind {
            Some(SourceKind::Ts) => SourceKind::Ts,
            Some(SourceKind::Rtp) if !no_rtp => SourceKind::Rtp,
            Some(kind @ (SourceKind::Rtp | SourceKind::Native)) if now < self.seen + self.silence() => kind,
            _ => self.give_up(now, held),
        }
    }

    /// A native datagram has come from this source.
    pub(super) fn native(&mut self, now: Instant) -> Judgement {
        match self.kind {
            None | Some(SourceKind::Native) => self.fits(SourceKind::Native, now),
            // One native datagram does not change the format of the source, but is certainly
            // undamaged.
            Some(_) if self.off + 1 < IDENTIFY_CHANGE => {
                self.off += 1;
                Judgement::Alone(SourceKind::Native)
            }
            Some(_) => self.become_(SourceKind::Native, now),
        }
    }

    /// Silence after which a source no longer sends its format.
    fn silence(&self) -> Duration {
        let passed = self.seen.saturating_duration_since(self.since);
        let intervals = self.count.saturating_sub(1).max(1);
        (passed / intervals * IDENTIFY_INTERVALS).max(IDENTIFY_SILENCE)
    }

    /// The datagram has the expected format.
    fn fits(&mut self, kind: SourceKind, now: Instant) -> Judgement {
        if self.kind != Some(kind) {
            return self.become_(kind, now);
        }
        (self.seen, self.off, self.missed, self.evidence) = (now, 0, 0, None);
        self.count = self.count.saturating_add(1);
        Judgement::All(kind)
    }

    /// Datagrams of the expected format have passed without being examined here.
    pub(super) fn fitted(&mut self) {
        if self.kind != Some(SourceKind::Raw) {
            (self.off, self.missed, self.evidence) = (0, 0, None);
        }
    }

    fn become_(&mut self, kind: SourceKind, now: Instant) -> Judgement {
        *self = Source { kind: Some(kind), count: self.count, grid: self.grid, ..Source::new(now) };
        self.count = self.count.saturating_add(1);
        Judgement::All(kind)
    }

    /// Nothing has shown the format: the datagrams are passed on unchanged.
    fn give_up(&mut self, now: Instant, held: usize) -> SourceKind {
        if self.kind != Some(SourceKind::Raw) {
            (self.kind, self.since, self.count, self.wary) = (Some(SourceKind::Raw), now, 0, false);
        }
        (self.tried, self.seen, self.off) = (true, now, 0);
        self.count = self.count.saturating_add(held as u32);
        SourceKind::Raw
    }

    /// Decides about a datagram of a source with little or no history.
    fn open(&mut self, arrived: &Arrived<'_>) -> Judgement {
        let Arrived { now, bytes, held, .. } = *arrived;
        let header = Header::read(bytes, now);
        let (kind, doubtful) = self.weigh(arrived, header);
        if let Some(kind) = kind {
            let judgement = self.become_(kind, now);
            self.whole = arrived.ts_only && held == 0 && looks_like(bytes);
            return judgement;
        }
        if doubtful || header.is_some() || held > 0 || arrived.ts_only {
            if held + 1 < IDENTIFY_DATAGRAMS && arrived.room {
                return Judgement::Wait(now + IDENTIFY_TIME);
            }
            return Judgement::All(self.give_up(now, held + 1));
        }
        self.seen = now;
        self.count = self.count.saturating_add(1);
        if Grid::single(bytes).is_some() {
            return Judgement::Alone(SourceKind::Ts);
        }
        self.kind = Some(SourceKind::Raw);
        self.drop_evidence_in_time();
        Judgement::All(SourceKind::Raw)
    }

    /// What a datagram shows together with previous ones, and whether it may be part of a
    /// transport stream.
    fn weigh(&mut self, arrived: &Arrived<'_>, header: Option<Header>) -> (Option<SourceKind>, bool) {
        let Arrived { bytes, kin, ts_only, .. } = *arrived;
        let numbered = header.is_some_and(|header| header.wraps_ts || kin == Kin::Continues);
        if !ts_only && (numbered || look::is_rtcp(bytes)) {
            return (Some(SourceKind::Rtp), false);
        }
        let grid = Grid::find(bytes, header.as_ref());
        if let Some((grid, syncs)) = grid
            && (syncs >= usize::from(IDENTIFY_SYNCS) || is_whole(bytes))
        {
            self.grid = grid;
            return (Some(SourceKind::Ts), true);
        }
        if header.is_some() || bytes.contains(&SYNC) || self.evidence.is_some() {
            let evidence = self.evidence.get_or_insert_default();
            let single = Grid::single(bytes).filter(|_| ts_only);
            let in_rtp = header.is_some_and(|header| fills_payload(bytes, &header));
            if !in_rtp && let Some(grid) = evidence.syncs.get_or_insert_default().push(bytes).or(single) {
                self.grid = grid;
                return (Some(SourceKind::Ts), true);
            }
            if let Some(header) = header.filter(|_| !ts_only)
                && evidence.streams.note(header).agreed
            {
                return (Some(SourceKind::Rtp), false);
            }
        }
        (None, grid.is_some())
    }

    /// Frees the evidence of a settled source if it shows nothing; otherwise keeps only the runs.
    fn drop_evidence_in_time(&mut self) {
        let idle = |evidence: &Evidence| {
            evidence.rtp_run == 0 && evidence.ts_run == 0 && evidence.streams.is_empty()
        };
        if self.count < IDENTIFY_DATAGRAMS as u32 {
            return;
        }
        match &mut self.evidence {
            Some(evidence) if idle(evidence) => self.evidence = None,
            Some(evidence) => evidence.syncs = None,
            None => {}
        }
    }
}

/// Whether it consists of whole TS packets, judging by the first two sync bytes.
fn is_whole(bytes: &[u8]) -> bool {
    let at = |place: usize| bytes.get(place) == Some(&SYNC);
    [(PACKET, 0), (192, 4), (204, 0)]
        .iter()
        .any(|(size, first)| bytes.len().is_multiple_of(*size) && at(*first) && at(*first + *size))
}
