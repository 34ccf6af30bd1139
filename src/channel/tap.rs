//! What a channel delivers, for everything that is not UDP: collected in pieces once by the packet
//! path, shared by all readers. A piece is a [`Chunk`] of payload for players, or a [`Batch`] that
//! tells of each packet for programs.
//!
//! A reader that falls behind skips whole chunks, at packet boundaries, and learns how many packets
//! they held; it never slows the channel or another reader.

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

/// What a tap hands to its readers at once.
pub trait Piece: fmt::Debug + Send + Sync + 'static {
    /// Memory that it takes, in bytes.
    fn bytes(&self) -> usize;

    /// How many packets it holds.
    fn packets(&self) -> u32;

    /// How many packets of the tap came before them: tells a reader that skipped pieces how many
    /// packets they held.
    fn first(&self) -> u64;

    /// The number of the packet that comes after these.
    fn end(&self) -> u64 {
        self.first() + u64::from(self.packets())
    }

    /// The empty piece that follows, in the memory of one that nobody reads any more if there is
    /// one.
    fn following(&self, spent: Option<Self>) -> Self
    where
        Self: Sized;

    /// Whether there is nothing in it.
    fn is_empty(&self) -> bool;
}

/// Which of a channel's flows a tap carries.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Select {
    /// One flow at a time where the packets are media for a player (RTP, MPEG-TS), all flows
    /// otherwise.
    #[default]
    Auto,
    /// This one only.
    Flow(FlowWanted),
}

/// Where a reader of a tap begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Begin {
    /// With the tables of a transport stream and the last picture that a decoder can begin with,
    /// where the tap has them; as [`Begin::Live`] otherwise.
    #[default]
    Picture,
    /// With what comes from now on.
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
    /// The last piece that went out: its memory is used again when nobody reads it any more.
    sent: Option<Arc<P>>,
    /// When the first packet of the open piece came.
    since: Option<Instant>,
    flushed: Option<Instant>,
    /// What readers get first.
    start: Option<Start<P>>,
    /// It stays without readers.
    standing: bool,
}

impl<P: Piece + Default> Tap<P> {
    /// A tap without readers, whose pieces leave `delay` after each other; zero: at each turn.
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
    /// What it carries.
    pub fn select(&self) -> &Select {
        &self.select
    }

    /// A reader that gets everything from now on.
    pub fn reader(&self) -> TapReader<P> {
        self.ring.reader(self.open.first())
    }

    /// Whether nobody needs it.
    pub fn is_idle(&self) -> bool {
        !self.standing && !self.ring.has_readers()
    }

    /// Adds something of this size to the open piece.
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

    /// Sends the open piece if it is due, or if `at_once`. A little early is due too, so that
    /// pieces of many channels find to each other and leave in one turn.
    pub fn turn(&mut self, now: Instant, at_once: bool) {
        let soon = now + self.early();
        if self.due().is_some_and(|due| at_once || due <= soon) {
            self.flush(now);
        }
    }

    fn early(&self) -> Duration {
        (self.delay / CHUNK_SLACK).min(CHUNK_EARLY_MAX)
    }

    /// When [`Tap::turn`] has something to send: `delay` after the piece before, so that a packet
    /// after a pause waits for nothing, and a stream makes no more pieces than it needs.
    pub fn due(&self) -> Option<Instant> {
        let waits = !self.standing || self.ring.has_readers();
        let since = self.since.filter(|_| waits)?;
        Some(self.flushed.map_or(since, |flushed| since.max(flushed + self.delay)))
    }

    /// Sends the open piece. The next one has the memory of the one before, if everybody has read
    /// that.
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
