//! Taps: deliveries of a channel for all readers except UDP outputs. The packet path collects them
//! in pieces once, and all readers share the pieces. A piece is a [`Chunk`] of payload for
//! players, or a [`Batch`] of records of each packet for programs.
//!
//! A reader that falls behind skips whole pieces, at packet boundaries, and learns the count of
//! their packets; it never slows the channel or another reader.

mod last;
mod payload;
mod records;
mod ring;
mod start;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use super::wanted::FlowWanted;
use crate::limits::{CHUNK_BYTES_MAX, CHUNK_EARLY_MAX, CHUNK_SLACK};
pub use last::LastValues;
pub use payload::Chunk;
pub use records::{Batch, Event, FlowName, Info, Record};
use ring::Ring;
pub use ring::TapReader;
use start::Start;

/// A unit that a tap passes to its readers.
pub trait Piece: fmt::Debug + Send + Sync + 'static {
    /// Memory in use, in bytes.
    fn bytes(&self) -> usize;

    /// Count of its packets.
    fn packets(&self) -> u32;

    /// Count of the tap's packets before it: shows a reader that skipped pieces how many packets
    /// they held.
    fn first(&self) -> u64;

    /// Number of the packet that follows.
    fn end(&self) -> u64 {
        self.first() + u64::from(self.packets())
    }

    /// The empty piece that follows, in the memory of a `spent` one without readers if there is
    /// one.
    fn following(&self, spent: Option<Self>) -> Self
    where
        Self: Sized;

    /// Whether it is empty.
    fn is_empty(&self) -> bool;
}

/// Selection of a channel's flows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Select {
    /// One flow at a time where the packets are media for a player (RTP, MPEG-TS), all flows
    /// otherwise.
    #[default]
    Auto,
    /// This flow only.
    Flow(FlowWanted),
}

/// Where a reader of a tap starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Begin {
    /// With the tables of a transport stream and the latest picture that decoding can start with,
    /// if the tap has them; otherwise as [`Begin::Live`].
    #[default]
    Picture,
    /// With the next packet.
    Live,
}

/// The packet path's end of a tap.
#[derive(Debug)]
pub struct Tap<P: Piece = Chunk> {
    select: Select,
    /// How long packets are collected.
    delay: Duration,
    ring: Arc<Ring<P>>,
    open: P,
    /// The last sent piece: its memory is reused once all readers have dropped it.
    sent: Option<Arc<P>>,
    /// When the first packet of the open piece came.
    since: Option<Instant>,
    flushed: Option<Instant>,
    /// What new readers get first.
    start: Option<Start<P>>,
    /// The tap stays without readers.
    standing: bool,
}

impl<P: Piece + Default> Tap<P> {
    /// Creates a tap without readers. It sends pieces with an interval of `delay`; zero for each
    /// turn.
    pub fn new(select: Select, delay: Duration) -> Tap<P> {
        Tap {
            select,
            delay,
            ring: Arc::default(),
            open: P::default(),
            sent: None,
            since: None,
            flushed: None,
            start: None,
            standing: false,
        }
    }
}

impl<P: Piece> Tap<P> {
    /// The selection that it carries.
    pub fn select(&self) -> &Select {
        &self.select
    }

    /// A reader of everything from now on.
    pub fn reader(&self) -> TapReader<P> {
        self.ring.reader(self.open.first())
    }

    /// Whether it is no longer needed.
    pub fn is_idle(&self) -> bool {
        !self.standing && !self.ring.has_readers()
    }

    /// Adds data of this size to the open piece.
    fn add(&mut self, bytes: usize, now: Instant, add: impl FnOnce(&mut P)) {
        self.make_room(bytes, CHUNK_BYTES_MAX, now);
        add(&mut self.open);
        self.since.get_or_insert(now);
    }

    fn make_room(&mut self, bytes: usize, max: usize, now: Instant) {
        if self.open.bytes() + bytes > max {
            self.flush(now);
        }
    }

    /// Sends the open piece if it is due, or if `at_once`. It counts as due slightly early, so
    /// that pieces of many channels are sent in the same turn.
    pub fn turn(&mut self, now: Instant, at_once: bool) {
        let soon = now + self.early();
        if self.due().is_some_and(|due| at_once || due <= soon) {
            self.flush(now);
        }
    }

    fn early(&self) -> Duration {
        (self.delay / CHUNK_SLACK).min(CHUNK_EARLY_MAX)
    }

    /// When [`Tap::turn`] has something to send: `delay` after the previous piece. So a packet
    /// after a pause is sent at once, and a stream makes no more pieces than necessary.
    pub fn due(&self) -> Option<Instant> {
        let waits = !self.standing || self.ring.has_readers();
        let since = self.since.filter(|_| waits)?;
        Some(self.flushed.map_or(since, |flushed| since.max(flushed + self.delay)))
    }

    /// Sends the open piece. The next one reuses the memory of the previous one, if all readers
    /// have dropped that.
    fn flush(&mut self, now: Instant) {
        let next = self.open.following(self.sent.take().and_then(Arc::into_inner));
        let piece = std::mem::replace(&mut self.open, next);
        if !piece.is_empty() {
            let piece = Arc::new(piece);
            if let Some(start) = &mut self.start {
                start.keep(&piece);
            }
            self.sent = Some(piece.clone());
            self.ring.push(piece);
        }
        self.since = None;
        self.flushed = Some(now);
    }
}

impl<P: Piece> Drop for Tap<P> {
    fn drop(&mut self) {
        self.ring.close();
    }
}
