//! A datagram of a known source: it fits, is damaged, or shows together with others that the
//! source has changed its format.

use super::{Arrived, Judgement, Source, is_whole};
use crate::{
    identify::{
        Kin, SourceKind,
        grid::{Grid, Place},
        look::{self, Header},
        streams::Link,
    },
    limits::{
        IDENTIFY_CHANGE, IDENTIFY_DATAGRAMS, IDENTIFY_LASTING, IDENTIFY_SILENCE, IDENTIFY_SYNCS,
        IDENTIFY_TIME,
    },
};
use tidecast_wire::ts::{PACKET, looks_like};

impl Source {
    /// Decides about a datagram of a source of RTP or native datagrams.
    pub(super) fn of_numbered(&mut self, kind: SourceKind, arrived: &Arrived<'_>) -> Judgement {
        let Arrived { now, bytes, kin, held, .. } = *arrived;
        let header = Header::read(bytes, now);
        match kind {
            SourceKind::Rtp if header.is_some() && kin != Kin::Stranger => return self.fits(kind, now),
            // Useless for a player, or damaged: parsing it as RTP gives the reason.
            SourceKind::Rtp if header.is_none() && (kin != Kin::Stranger || beside_rtp(bytes)) => {
                return Judgement::Alone(kind);
            }
            SourceKind::Native if kin != Kin::Stranger || look::claims_native(bytes) => {
                return Judgement::Alone(kind);
            }
            _ => {}
        }
        let silent = self.seen + self.silence();
        if now >= silent {
            *self = Source::new(now);
            return self.open(arrived);
        }
        let (shown, _) = self.weigh(arrived, header);
        let evidence = self.evidence.get_or_insert_default();
        evidence.no_rtp = header.is_none() || evidence.no_rtp && held > 0;
        evidence.ts_run = if shown == Some(SourceKind::Ts) { evidence.ts_run + 1 } else { 0 };
        if let Some(kind) = shown.filter(|kind| *kind != SourceKind::Ts || evidence.ts_run >= IDENTIFY_CHANGE)
        {
            return self.become_(kind, now);
        }
        let short = kind == SourceKind::Rtp && !evidence.no_rtp;
        if held + 1 >= IDENTIFY_DATAGRAMS {
            return Judgement::All(self.give_up(now, held + 1));
        }
        if !arrived.room {
            return Judgement::Alone(kind);
        }
        Judgement::Wait(if short { now + IDENTIFY_TIME } else { silent.min(now + IDENTIFY_SILENCE) })
    }

    /// Decides about a datagram of a source of transport streams.
    pub(super) fn of_ts(&mut self, arrived: &Arrived<'_>) -> Judgement {
        let Arrived { now, bytes, held, .. } = *arrived;
        if self.whole && !bytes.len().is_multiple_of(PACKET) {
            self.off = self.off.saturating_add(1);
            if self.off < IDENTIFY_CHANGE {
                return Judgement::Alone(SourceKind::Raw);
            }
            self.whole = false;
        }
        match self.grid.follows(bytes) {
            Place::Stands => return self.fits(SourceKind::Ts, now),
            Place::Between => {
                self.off = self.off.saturating_add(1);
                return Judgement::All(SourceKind::Ts);
            }
            Place::Off => {}
        }
        let header = Header::read(bytes, now);
        if let Some((grid, _)) = Grid::find(bytes, header.as_ref()) {
            self.grid = grid;
            return self.fits(SourceKind::Ts, now);
        }
        let evidence = self.evidence.get_or_insert_default();
        if let Some(header) = header.filter(|_| !arrived.ts_only)
            && evidence.streams.note(header).certain
        {
            return self.become_(SourceKind::Rtp, now);
        }
        if bytes.len() < 2 * PACKET {
            // too short for a grid, damaged, or after a loss
            let grid = evidence.syncs.get_or_insert_default().push(bytes);
            if let Some(grid) = grid.or_else(|| Grid::single(bytes)) {
                self.grid = grid;
                return self.fits(SourceKind::Ts, now);
            }
            (self.off, self.missed) = (self.off.saturating_add(1), self.missed + 1);
            if self.off < 2 * IDENTIFY_LASTING || self.missed < IDENTIFY_CHANGE {
                self.grid.pass(bytes.len());
                return Judgement::All(SourceKind::Ts);
            }
            *self = Source::new(now);
            return self.open(arrived);
        }
        if held + 1 >= IDENTIFY_DATAGRAMS {
            return Judgement::All(self.give_up(now, held + 1));
        }
        if arrived.room { Judgement::Wait(now + IDENTIFY_TIME) } else { Judgement::Alone(SourceKind::Ts) }
    }

    /// Decides about a datagram of an unnumbered source: it passes, and changes the format only if
    /// others agree.
    pub(super) fn of_raw(&mut self, arrived: &Arrived<'_>) -> Judgement {
        let Arrived { now, bytes, kin, ts_only, .. } = *arrived;
        if now >= self.seen + self.silence() && self.count >= IDENTIFY_DATAGRAMS as u32 {
            (self.count, self.since, self.wary) = (0, now, true);
        }
        let settled = self.count >= IDENTIFY_DATAGRAMS as u32;
        (self.seen, self.count) = (now, self.count.saturating_add(1));
        let header = Header::read(bytes, now);
        let grid = Grid::find(bytes, header.as_ref());
        let single = Grid::single(bytes);
        if header.is_none() && grid.is_none() && single.is_none() && self.evidence.is_none() {
            return Judgement::All(SourceKind::Raw);
        }
        let wary = self.wary;
        let evidence = self.evidence.get_or_insert_default();
        let link = header.filter(|_| !ts_only).map(|header| evidence.streams.note(header));
        let sure = !ts_only && (header.is_some_and(|header| header.wraps_ts) || look::is_rtcp(bytes));
        let continues = if sure { Some(true) } else { link.map_or(Some(false), |link| link.continues) };
        evidence.rtp_run = match continues {
            Some(true) => evidence.rtp_run.saturating_add(1),
            Some(false) => 0,
            None => evidence.rtp_run,
        };
        let agrees = |link: Link| if wary { link.certain } else { link.agreed };
        let early = !settled && (sure || kin == Kin::Continues || link.is_some_and(agrees));
        if (evidence.rtp_run >= IDENTIFY_LASTING || early) && !ts_only {
            return self.become_(SourceKind::Rtp, now);
        }
        let syncs = grid.map_or(0, |(_, syncs)| syncs);
        let sure = syncs >= usize::from(IDENTIFY_SYNCS) || syncs > 0 && is_whole(bytes);
        let early = sure && (!settled || ts_only) || single.is_some() && ts_only;
        let found = grid.map(|(grid, _)| grid).or(single);
        evidence.ts_run = if found.is_some() { evidence.ts_run.saturating_add(1) } else { 0 };
        if let Some(grid) = found.filter(|_| early || evidence.ts_run >= IDENTIFY_LASTING) {
            self.grid = grid;
            let judgement = self.become_(SourceKind::Ts, now);
            self.whole = ts_only && looks_like(bytes);
            return judgement;
        }
        self.drop_evidence_in_time();
        if sure || single.is_some() {
            Judgement::All(SourceKind::Ts)
        } else {
            Judgement::All(SourceKind::Raw)
        }
    }
}

/// Whether it is RTCP, STUN or DTLS on the port of the media.
fn beside_rtp(bytes: &[u8]) -> bool {
    look::claims_rtcp(bytes) || look::is_beside_rtp(bytes)
}
