//! Identifies the format of each source, if the configuration does not name it: from several of
//! its datagrams, and then remembered. Pure: bytes and times come in, formats come out.
//!
//! [`crate::relay`] and `probe` ask before they parse a datagram. Most datagrams are of a known
//! source, and [`Sources::known`] answers at once. [`Sources::push`] takes all others. A datagram
//! that could be of several formats waits until the next ones of its source have shown which.
//! [`Sources::settled`] returns the datagrams that have waited, in order of arrival.
//!
//! The rules, also described in docs/configuration.md:
//! - native: the magic and the checksum fit; one datagram is enough.
//! - RTP: two packets agree (SSRC, payload type, next number), one has TS packets as payload, or
//!   it is RTCP.
//! - TS: sync bytes stand 188, 192 or 204 bytes apart, wherever the stream was cut into datagrams.
//! - Everything else passes unchanged, including what nothing has confirmed.
//!
//! A known source keeps its format when a datagram is damaged. The format changes when several
//! datagrams in a row show another one, and none shows the old one.

mod grid;
mod look;
mod source;
mod streams;
mod table;

use std::{
    collections::VecDeque,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    ops::Deref,
    time::Instant,
};

use crate::limits::IDENTIFY_HELD_MAX;
use grid::{Grid, Place};
use source::{Arrived, Judgement};
use table::Table;
use tidecast_wire::{
    native,
    ts::{PACKET, SYNC},
};

/// Format of a source's datagrams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceKind {
    /// Native datagrams, or damaged ones.
    Native,
    /// RTP, and protocols that share a port with it.
    Rtp,
    /// A piece of a transport stream without RTP.
    Ts,
    /// Anything else: passed on unchanged. Foreign if only transport streams are expected.
    Raw,
}

/// How a datagram, read as RTP or native, relates to the streams that the owner knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kin {
    /// No such stream is known.
    Stranger,
    /// The stream is known, from the same source.
    Named,
    /// The stream is known RTP, and the number is near its last one.
    Continues,
}

/// A datagram whose format is settled.
#[derive(Debug)]
pub struct Settled<B> {
    /// Leg on which it came.
    pub leg: u8,
    /// Source address.
    pub source: SocketAddr,
    /// Arrival.
    pub arrived: Instant,
    /// Format.
    pub kind: SourceKind,
    /// The datagram.
    pub bytes: B,
}

/// Result of pushing a datagram.
#[derive(Debug)]
pub enum Pushed<B> {
    /// Its format is this.
    Is(SourceKind, B),
    /// It waits.
    Waits,
    /// It follows others that have waited: [`Sources::settled`] returns all of them.
    Settled,
}

/// An incoming datagram.
#[derive(Debug, Clone, Copy)]
pub struct Came {
    /// Arrival.
    pub now: Instant,
    /// Leg on which it came.
    pub leg: u8,
    /// Source address.
    pub source: SocketAddr,
    /// Relation to the known streams.
    pub kin: Kin,
    /// Whether there is memory for it to wait.
    pub room: bool,
}

/// When the native stream of a source was last heard, and its packet count.
pub type Alive = Option<(Instant, u64)>;

/// The sources of a channel.
#[derive(Debug)]
pub struct Sources<B> {
    ts_only: bool,
    table: Table<B>,
    /// For each leg, the source of the last datagram, since the next one is probably from the
    /// same.
    latest: Vec<Latest>,
    settled: VecDeque<Settled<B>>,
}

/// A source that was looked up, with the part of its state that each datagram touches.
#[derive(Debug)]
struct Latest {
    source: SocketAddr,
    /// `None`: its datagrams take the long way.
    kind: Option<SourceKind>,
    grid: Grid,
    whole: bool,
    seen: Instant,
    /// Value of `seen` before the last datagram.
    before: Instant,
    count: u32,
    index: u32,
}

impl<B: Deref<Target = [u8]>> Sources<B> {
    /// Creates a table without sources. `ts_only`: everything but transport streams is foreign.
    /// `sources_max`: maximum number of known sources.
    pub fn new(legs: usize, ts_only: bool, sources_max: usize) -> Sources<B> {
        Sources {
            ts_only,
            table: Table::new(sources_max),
            latest: Vec::with_capacity(legs.max(1)),
            settled: VecDeque::new(),
        }
    }

    /// Format of a datagram, if its source is known and the datagram fits. A native one is
    /// recognized by itself.
    ///
    /// The owner parses it as that. If it turns out to be damaged, or of an unknown stream, the
    /// owner calls [`Sources::withdraw`] and pushes it.
    #[inline]
    pub fn known(&mut self, now: Instant, leg: u8, source: SocketAddr, bytes: &[u8]) -> Option<SourceKind> {
        if bytes.starts_with(&native::MAGIC) && !self.ts_only {
            return Some(SourceKind::Native);
        }
        let latest = self.latest.get_mut(usize::from(leg)).filter(|latest| latest.source == source)?;
        let kind = latest.kind?;
        let fits = match kind {
            SourceKind::Rtp => bytes.first().is_some_and(|first| first >> 6 == 2),
            SourceKind::Ts if latest.whole && !bytes.len().is_multiple_of(PACKET) => false,
            SourceKind::Ts => latest.grid.follows(bytes) == Place::Stands,
            SourceKind::Raw => !self.ts_only && is_plain(bytes),
            SourceKind::Native => false,
        };
        if !fits {
            return None;
        }
        (latest.before, latest.seen) = (latest.seen, now);
        latest.count = latest.count.saturating_add(1);
        Some(kind)
    }

    /// Reports that the last datagram of a leg does not have the format from [`Sources::known`],
    /// or is of an unknown stream.
    pub fn withdraw(&mut self, leg: u8, bytes: &[u8]) {
        let claims_native = bytes.starts_with(&native::MAGIC) && !self.ts_only;
        if let Some(latest) = self.latest.get_mut(usize::from(leg)).filter(|_| !claims_native) {
            latest.seen = latest.before;
            latest.count = latest.count.saturating_sub(1);
        }
    }

    /// Takes a datagram that [`Sources::known`] does not know. Datagrams that have waited too long
    /// are settled before it.
    ///
    /// `natives` reports on the native stream that a source sent last, since native datagrams do
    /// not pass here.
    pub fn push(&mut self, came: Came, bytes: B, natives: impl Fn(SocketAddr, u32) -> Alive) -> Pushed<B> {
        let Came { now, leg, source, kin, room } = came;
        self.expire(now, &natives);
        let Some(index) = self.find(leg, source, now) else {
            return Pushed::Is(alone(&bytes, kin, self.ts_only, now), bytes);
        };
        let room = room && self.table.held < IDENTIFY_HELD_MAX;
        let entry = self.table.entry(index);
        entry.ask(&natives);
        let held = entry.held();
        let arrived = Arrived { now, bytes: &bytes, kin, held, room, ts_only: self.ts_only };
        let pushed = match entry.known.judge(&arrived) {
            Judgement::Wait(until) => {
                self.table.hold(index, now, until, bytes);
                Pushed::Waits
            }
            Judgement::Alone(kind) => Pushed::Is(kind, bytes),
            Judgement::All(kind) if held == 0 => Pushed::Is(kind, bytes),
            Judgement::All(kind) => {
                self.table.release(index, kind, &mut self.settled);
                self.settled.push_back(Settled { leg, source, arrived: now, kind, bytes });
                Pushed::Settled
            }
        };
        self.remember_latest(leg, source, index);
        pushed
    }

    /// Reports that a source has started this native stream.
    pub fn began_native(&mut self, now: Instant, leg: u8, source: SocketAddr, stream: u32) {
        if let Some(index) = self.find(leg, source, now) {
            let entry = self.table.entry(index);
            let judgement = entry.known.native(now);
            entry.known.stream = stream; // afterwards, since a new format forgets it
            if let Judgement::All(kind) = judgement {
                self.table.release(index, kind, &mut self.settled);
            }
        }
    }

    /// The next settled datagram: it has waited long enough, or its format has become known.
    pub fn settled(&mut self) -> Option<Settled<B>> {
        self.settled.pop_front()
    }

    /// When [`Sources::expire`] has something to do.
    pub fn due(&self) -> Option<Instant> {
        self.table.due()
    }

    /// Handles timeouts: settles datagrams that have waited long enough. `natives` as for
    /// [`Sources::push`].
    pub fn expire(&mut self, now: Instant, natives: &impl Fn(SocketAddr, u32) -> Alive) {
        if self.due().is_some_and(|due| due <= now) {
            self.forget_all();
            while self.table.expire(now, natives, &mut self.settled) {}
        }
    }

    /// Settles all waiting datagrams.
    pub fn finish(&mut self, now: Instant) {
        self.forget_all();
        self.table.finish(now, &mut self.settled);
    }

    /// Datagrams that wait, or that are settled but not yet fetched.
    pub fn held(&self) -> usize {
        self.table.held + self.settled.len()
    }

    /// The datagram that was held last, so that it can be moved into less memory.
    pub fn last_held(&mut self) -> Option<&mut B> {
        self.table.last_held()
    }

    /// Number of sources, known or not yet.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether no source has sent anything.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Index of a source; `None` if there are too many.
    fn find(&mut self, leg: u8, source: SocketAddr, now: Instant) -> Option<u32> {
        match self.table.get((leg, source)) {
            Some(index) => {
                self.forget_latest(leg);
                Some(index)
            }
            None => {
                // another one may have to go
                self.forget_all();
                self.table.insert((leg, source), now, &mut self.settled)
            }
        }
    }

    fn remember_latest(&mut self, leg: u8, source: SocketAddr, index: u32) {
        let nobody = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));
        let entry = self.table.entry(index);
        let (known, waits) = (&entry.known, entry.held() > 0);
        let (grid, whole, seen, count) = (known.grid, known.whole, known.seen, known.count);
        let kind = known.kind.filter(|_| !waits && known.is_settled());
        while self.latest.len() <= usize::from(leg) {
            let kind = None;
            self.latest.push(Latest { source: nobody, kind, grid, whole, seen, before: seen, count, index });
        }
        self.latest[usize::from(leg)] =
            Latest { source, kind, grid, whole, seen, before: seen, count, index };
    }

    /// Writes the state changed by the last datagrams back to the table.
    fn forget_latest(&mut self, leg: u8) {
        let Some(latest) = self.latest.get_mut(usize::from(leg)) else { return };
        if latest.kind.take().is_some() {
            let known = &mut self.table.entry(latest.index).known;
            if latest.count > known.count {
                known.fitted();
            }
            (known.grid, known.seen, known.count) = (latest.grid, latest.seen, latest.count);
        }
    }

    fn forget_all(&mut self) {
        for leg in 0..self.latest.len() {
            self.forget_latest(leg as u8);
        }
    }
}

/// Whether a datagram can only be raw, and reveals nothing about its source. A datagram that may
/// be part of a longer transport stream is examined.
#[inline]
fn is_plain(bytes: &[u8]) -> bool {
    bytes.len() < 2 * PACKET && bytes.first().is_some_and(|first| first >> 6 != 2 && *first != SYNC)
}

/// Format of a datagram whose source cannot be remembered.
fn alone(bytes: &[u8], kin: Kin, ts_only: bool, now: Instant) -> SourceKind {
    let header = look::Header::read(bytes, now);
    match header {
        _ if !ts_only && look::is_native(bytes) => SourceKind::Native,
        Some(header) if !ts_only && (header.wraps_ts || kin != Kin::Stranger) => SourceKind::Rtp,
        _ if tidecast_wire::ts::looks_like(bytes) => SourceKind::Ts,
        _ => SourceKind::Raw,
    }
}

#[cfg(test)]
mod tests;
