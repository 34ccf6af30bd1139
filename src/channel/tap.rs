//! What a channel delivers, for everything that is not UDP: collected in pieces once by the packet path, shared by all
//! readers. A piece is a [`Chunk`] of payload for players, or a [`Batch`] that tells of each packet for programs.
//!
//! A reader that falls behind skips whole chunks, at packet boundaries, and learns how many packets they held; it
//! never slows the channel or another reader.

mod last;
mod records;
mod ring;
mod start;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use super::wanted::FlowWanted;
use crate::limits::{CHUNK_BYTES_MAX, CHUNK_EARLY_MAX, CHUNK_SLACK, START_CHUNK_BYTES};
pub use last::LastValues;
pub use records::{Batch, Event, FlowName, Info, Record};
use ring::Ring;
pub use ring::TapReader;
use start::Start;
use tidecast_wire::ts::packets::Unit;

/// What a tap hands to its readers at once.
pub trait Piece: fmt::Debug + Send + Sync + 'static {
    /// Memory that it takes, in bytes.
    fn bytes(&self) -> usize;

    /// How many packets it holds.
    fn packets(&self) -> u32;

    /// How many packets of the tap came before them: tells a reader that skipped pieces how many packets they held.
    fn first(&self) -> u64;

    /// The number of the packet that comes after these.
    fn end(&self) -> u64 {
        self.first() + u64::from(self.packets())
    }

    /// The empty piece that follows, in the memory of one that nobody reads any more if there is one.
    fn following(&self, spent: Option<Self>) -> Self
    where
        Self: Sized;

    /// Whether there is nothing in it.
    fn is_empty(&self) -> bool;
}

/// Which of a channel's flows a tap carries.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Select {
    /// One flow at a time where the packets are media for a player (RTP, MPEG-TS), all flows otherwise.
    #[default]
    Auto,
    /// This one only.
    Flow(FlowWanted),
}

/// Where a reader of a tap begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Begin {
    /// With the tables of a transport stream and the last picture that a decoder can begin with, where the tap has
    /// them; as [`Begin::Live`] otherwise.
    #[default]
    Picture,
    /// With what comes from now on.
    Live,
}

/// Payloads of consecutive packets, one after the other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chunk {
    /// The payloads.
    pub bytes: Vec<u8>,
    /// How many packets they are.
    pub packets: u32,
    /// How many packets of the tap came before them: tells a reader that skipped chunks how many packets they held.
    pub first: u64,
}

impl Piece for Chunk {
    fn bytes(&self) -> usize {
        self.bytes.len()
    }

    fn packets(&self) -> u32 {
        self.packets
    }

    fn first(&self) -> u64 {
        self.first
    }

    fn following(&self, spent: Option<Chunk>) -> Chunk {
        let mut bytes = spent.map_or_else(|| Vec::with_capacity(self.bytes.len()), |spent| spent.bytes);
        bytes.clear();
        Chunk { bytes, packets: 0, first: self.end() }
    }

    fn is_empty(&self) -> bool {
        self.packets == 0
    }
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

    /// Sends the open piece if it is due, or if `at_once`. A little early is due too, so that pieces of many channels
    /// find to each other and leave in one turn.
    pub fn turn(&mut self, now: Instant, at_once: bool) {
        let soon = now + self.early();
        if self.due().is_some_and(|due| at_once || due <= soon) {
            self.flush(now);
        }
    }

    fn early(&self) -> Duration {
        (self.delay / CHUNK_SLACK).min(CHUNK_EARLY_MAX)
    }

    /// When [`Tap::turn`] has something to send: `delay` after the piece before, so that a packet after
    /// a pause waits for nothing, and a stream makes no more pieces than it needs.
    pub fn due(&self) -> Option<Instant> {
        let waits = !self.standing || self.ring.has_readers();
        let since = self.since.filter(|_| waits)?;
        Some(self.flushed.map_or(since, |flushed| since.max(flushed + self.delay)))
    }

    /// Sends the open piece. The next one has the memory of the one before, if everybody has read that.
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

impl Tap {
    /// The same tap, keeping so many bytes of a transport stream for readers that begin; `standing`: also while nobody
    /// reads, so that the first reader finds them.
    pub fn with_start(mut self, bytes_max: usize, standing: bool) -> Tap {
        (self.start, self.standing) = (Some(Start::new(bytes_max)), standing);
        self
    }

    /// A reader that begins there and gets everything from now on.
    pub fn reader_from(&mut self, begin: Begin, now: Instant) -> TapReader {
        if self.start.is_none() {
            return self.reader();
        }
        // The open chunk belongs to what is kept, and may be old.
        self.flush(now);
        let start = self.start.as_ref().filter(|_| begin == Begin::Picture);
        let chunks = start.map(|start| start.chunks(self.open.first, now));
        self.reader().with_start(chunks.unwrap_or_default())
    }

    /// Adds a packet's payload to the open chunk, if somebody reads it or may begin with it.
    pub fn push(&mut self, payload: &[u8], now: Instant) {
        let whole = Unit::of_whole(payload).is_some();
        self.push_part(payload, whole, now);
    }

    /// The same with the next bytes of a transport stream, whose packets may span payloads.
    pub fn push_stream(&mut self, payload: &[u8], now: Instant) {
        self.push_part(payload, true, now);
    }

    fn push_part(&mut self, payload: &[u8], is_stream: bool, now: Instant) {
        let read = self.ring.has_readers();
        self.make_room(payload.len(), if read { CHUNK_BYTES_MAX } else { START_CHUNK_BYTES }, now);
        let kept = self.start.as_mut().is_some_and(|start| start.look(payload, is_stream, &self.open, now));
        if read || kept || !self.standing {
            self.add(payload.len(), now, |chunk| {
                chunk.bytes.extend_from_slice(payload);
                chunk.packets += 1;
            });
        }
    }
}

impl<P: Piece> Drop for Tap<P> {
    fn drop(&mut self) {
        self.ring.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAY: Duration = Duration::from_millis(20);

    fn tap() -> Tap {
        Tap::new(Select::Auto, DELAY)
    }

    #[test]
    fn a_packet_after_a_pause_goes_at_once_and_a_stream_in_chunks() {
        let now = tidecast_net::clock::now();
        let mut tap = tap();
        let mut reader = tap.reader();
        tap.push(b"a", now);
        tap.turn(now, false);
        assert_eq!(reader.try_next().unwrap().bytes, b"a");
        tap.push(b"b", now + DELAY / 4);
        tap.push(b"c", now + DELAY / 2);
        tap.turn(now + DELAY / 2, false);
        assert_eq!(reader.try_next(), None);
        assert_eq!(tap.due(), Some(now + DELAY));
        tap.turn(now + DELAY, false);
        assert_eq!(reader.try_next().unwrap().packets, 2);
        tap.push(b"d", now + DELAY);
        tap.turn(now + DELAY, true);
        assert_eq!(reader.try_next().unwrap().bytes, b"d");
        drop(reader);
        assert!(tap.is_idle());
    }

    #[test]
    fn below_one_packet_a_delay_each_goes_at_once() {
        let start = tidecast_net::clock::now();
        let mut tap = tap();
        let mut reader = tap.reader();
        for n in 0..10 {
            let now = start + (DELAY + Duration::from_millis(1)) * n;
            tap.push(&[n as u8], now);
            assert_eq!(tap.due(), Some(now));
            tap.turn(now, false);
            assert_eq!(reader.try_next().unwrap().bytes, [n as u8]);
        }
    }

    /// Turns every 5 ms, the packets of 40 Mbit/s: a chunk each `delay`, never more than a turn apart from it.
    #[test]
    fn a_stream_makes_one_chunk_per_delay_at_any_rate() {
        let start = tidecast_net::clock::now();
        for (delay, chunks) in [(0, 200), (20, 50), (50, 20), (100, 10)] {
            let mut tap = Tap::new(Select::Auto, Duration::from_millis(delay));
            let mut reader = tap.reader();
            for turn in 0..200 {
                let now = start + Duration::from_millis(5) * turn;
                for _ in 0..19 {
                    tap.push(&[0; 1316], now);
                }
                tap.turn(now, false);
            }
            tap.turn(start + Duration::from_secs(1), true);
            let sizes: Vec<u32> =
                std::iter::from_fn(|| reader.try_next()).map(|chunk| chunk.packets).collect();
            assert_eq!(sizes.iter().sum::<u32>(), 200 * 19);
            assert!((chunks..=chunks + 1).contains(&sizes.len()), "{delay}: {sizes:?}");
            assert!(sizes.iter().all(|size| *size <= 19 * (delay as u32 / 5).max(1)), "{delay}: {sizes:?}");
        }
    }

    #[test]
    fn chunks_that_are_due_almost_together_leave_together() {
        let start = tidecast_net::clock::now();
        let (mut one, mut other) = (tap(), tap());
        let (mut first, mut second) = (one.reader(), other.reader());
        let later = CHUNK_EARLY_MAX;
        for (tap, at) in [(&mut one, start), (&mut other, start + later)] {
            tap.push(b"a", at);
            tap.turn(at, false);
            tap.push(b"b", start + DELAY / 2);
        }
        for tap in [&mut one, &mut other] {
            tap.turn(start + DELAY, false);
            tap.push(b"c", start + DELAY);
        }
        assert_eq!(
            [&mut first, &mut second].map(|reader| std::iter::from_fn(|| reader.try_next()).count()),
            [2, 2]
        );
        assert_eq!(one.due(), other.due());
    }

    #[test]
    fn chunks_are_bounded_in_bytes() {
        let now = tidecast_net::clock::now();
        let mut tap = tap();
        let mut reader = tap.reader();
        tap.push(&vec![0; CHUNK_BYTES_MAX], now);
        tap.push(b"c", now);
        assert_eq!(reader.try_next().unwrap().bytes.len(), CHUNK_BYTES_MAX);
    }

    #[test]
    fn packets_are_numbered_over_what_nobody_read() {
        let now = tidecast_net::clock::now();
        let mut tap = tap();
        for n in 0..3 {
            tap.push(&[n], now);
            tap.turn(now, true);
        }
        tap.push(&[3], now);
        let mut reader = tap.reader();
        tap.push(&[4], now);
        tap.turn(now, true);
        let chunk = reader.try_next().unwrap();
        assert_eq!((&*chunk.bytes, chunk.first, chunk.end(), reader.number()), (&[3, 4][..], 3, 5, 3));
    }

    #[test]
    fn memory_is_used_again_when_nobody_reads_it_any_more() {
        let now = tidecast_net::clock::now();
        let mut tap = tap();
        let mut reader = tap.reader();
        let mut send = |length: usize| {
            tap.push(&vec![7; length], now);
            tap.turn(now, true);
            reader.try_next().unwrap()
        };
        let place = |chunk: &Chunk| chunk.bytes.as_ptr();
        let kept = send(100);
        let second = place(&send(100));
        let chunk = send(1);
        let third = place(&chunk);
        assert!(third != place(&kept) && third != second);
        drop(chunk);
        let chunk = send(1);
        assert_eq!((place(&chunk), chunk.bytes.capacity()), (second, 100));
        assert_eq!((&*chunk.bytes, &*kept.bytes), (&[7][..], &[7; 100][..]));
        drop(chunk);
        assert_eq!(place(&send(1)), third);
    }
}
