//! The ring between a tap and its readers: bounded in bytes. A chunk is removed when every reader
//! has taken it.
//!
//! The packet path only appends, and wakes waiting readers. A reader that is not woken in time
//! notices by the packets' numbers that chunks are missing.

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
};

use super::{Chunk, Piece};
use crate::limits::TAP_BYTES_MAX;

/// State shared by the tap and its readers.
#[derive(Debug)]
pub(super) struct Ring<P> {
    state: Mutex<State<P>>,
    readers: AtomicUsize,
}

impl<P> Default for Ring<P> {
    fn default() -> Ring<P> {
        let state = State { chunks: VecDeque::new(), bytes: 0, base: 0, cursors: Vec::new(), closed: false };
        Ring { state: Mutex::new(state), readers: AtomicUsize::new(0) }
    }
}

#[derive(Debug)]
struct State<P> {
    chunks: VecDeque<Arc<P>>,
    bytes: usize,
    /// Index of the first chunk in `chunks`, counted over the ring's whole life.
    base: u64,
    /// One cursor per reader, at the reader's index.
    cursors: Vec<Option<Cursor>>,
    closed: bool,
}

#[derive(Debug)]
struct Cursor {
    /// Index of the next chunk to read.
    next: u64,
    waker: Option<Waker>,
}

impl<P: Piece> State<P> {
    fn end(&self) -> u64 {
        self.base + self.chunks.len() as u64
    }

    fn pop(&mut self) {
        if let Some(chunk) = self.chunks.pop_front() {
            self.bytes -= chunk.bytes();
            self.base += 1;
        }
    }

    /// Drops the chunks that every reader has taken.
    fn trim(&mut self) {
        let end = self.end();
        let taken = self.cursors.iter().flatten().map(|cursor| cursor.next).min().unwrap_or(end);
        while self.base < taken {
            self.pop();
        }
    }

    fn wake(&mut self) {
        for cursor in self.cursors.iter_mut().flatten() {
            if let Some(waker) = cursor.waker.take() {
                waker.wake();
            }
        }
    }
}

impl<P: Piece> Ring<P> {
    fn state(&self) -> MutexGuard<'_, State<P>> {
        // No code panics while the state is inconsistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, chunk: Arc<P>) {
        let mut state = self.state();
        state.bytes += chunk.bytes();
        state.chunks.push_back(chunk);
        state.trim();
        while state.bytes > TAP_BYTES_MAX && state.chunks.len() > 1 {
            state.pop();
        }
        state.wake();
    }

    pub(super) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.wake();
    }

    pub(super) fn has_readers(&self) -> bool {
        self.readers.load(Relaxed) > 0
    }

    /// A reader of everything from now on; the next packet has the number `number`.
    pub(super) fn reader(self: &Arc<Ring<P>>, number: u64) -> TapReader<P> {
        let mut state = self.state();
        let cursor = Cursor { next: state.end(), waker: None };
        let free = state.cursors.iter().position(Option::is_none);
        let place = free.unwrap_or(state.cursors.len());
        match free {
            Some(free) => state.cursors[free] = Some(cursor),
            None => state.cursors.push(Some(cursor)),
        }
        self.readers.fetch_add(1, Relaxed);
        TapReader { ring: self.clone(), place, number, start: Vec::new() }
    }
}

/// Reads a tap.
#[derive(Debug)]
pub struct TapReader<P: Piece = Chunk> {
    ring: Arc<Ring<P>>,
    place: usize,
    number: u64,
    start: Vec<Arc<P>>,
}

impl<P: Piece> TapReader<P> {
    pub(super) fn with_start(mut self, start: Vec<Arc<P>>) -> TapReader<P> {
        self.start = start;
        self
    }

    /// Takes the chunks that come before everything else: past data that a player needs to start.
    pub fn take_start(&mut self) -> Vec<Arc<P>> {
        std::mem::take(&mut self.start)
    }

    /// Number of the first packet that this reader can get: see [`Piece::first`].
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Identifies the tap, as long as one of its readers exists.
    pub fn tap(&self) -> usize {
        Arc::as_ptr(&self.ring).addr()
    }

    /// The next chunk, if there is one.
    pub fn try_next(&mut self) -> Option<Arc<P>> {
        self.take(&mut self.ring.state())
    }

    /// Waits for the next chunk. `None` if the tap is gone.
    pub async fn next(&mut self) -> Option<Arc<P>> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Arc<P>>> {
        let mut state = self.ring.state();
        if let Some(chunk) = self.take(&mut state) {
            return Poll::Ready(Some(chunk));
        }
        if state.closed {
            return Poll::Ready(None);
        }
        if let Some(cursor) = &mut state.cursors[self.place] {
            cursor.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    fn take(&self, state: &mut State<P>) -> Option<Arc<P>> {
        let base = state.base;
        let cursor = state.cursors[self.place].as_mut()?;
        let index = cursor.next.max(base);
        let chunk = state.chunks.get((index - base) as usize).cloned()?;
        cursor.next = index + 1;
        state.trim();
        Some(chunk)
    }
}

impl<P: Piece> Drop for TapReader<P> {
    fn drop(&mut self) {
        let mut state = self.ring.state();
        state.cursors[self.place] = None;
        state.trim();
        self.ring.readers.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(first: u64, length: usize) -> Arc<Chunk> {
        Arc::new(Chunk { bytes: vec![first as u8; length], packets: 1, first })
    }

    #[test]
    fn a_chunk_leaves_when_every_reader_has_taken_it() {
        let ring = Arc::new(Ring::default());
        let (mut fast, mut slow) = (ring.reader(0), ring.reader(0));
        let first = chunk(0, 1);
        ring.push(first.clone());
        assert_eq!(fast.try_next().unwrap().first, 0);
        assert_eq!(Arc::strong_count(&first), 2);
        assert_eq!(slow.try_next().unwrap().first, 0);
        assert_eq!(Arc::strong_count(&first), 1);
        ring.push(chunk(1, 1));
        assert_eq!(fast.try_next().unwrap().first, 1);
        drop(slow);
        assert!(ring.state().chunks.is_empty());
        assert!(fast.try_next().is_none());
    }

    #[test]
    fn without_readers_nothing_is_kept() {
        let ring = Arc::new(Ring::default());
        ring.push(chunk(0, 1));
        assert!(ring.state().chunks.is_empty() && !ring.has_readers());
        let mut late = ring.reader(1);
        ring.push(chunk(1, 1));
        assert_eq!((late.number(), late.try_next().unwrap().first), (1, 1));
    }

    #[test]
    fn a_slow_reader_skips_whole_chunks_beyond_the_bound() {
        const LENGTH: usize = TAP_BYTES_MAX / 8;
        let ring = Arc::new(Ring::default());
        let (mut slow, mut fast) = (ring.reader(0), ring.reader(0));
        for n in 0..20 {
            ring.push(chunk(n, LENGTH));
            assert_eq!(fast.try_next().unwrap().first, n);
        }
        assert_eq!(ring.state().bytes, TAP_BYTES_MAX);
        let rest: Vec<u64> = std::iter::from_fn(|| slow.try_next()).map(|chunk| chunk.first).collect();
        assert_eq!(rest, (12..20).collect::<Vec<_>>());
        assert_eq!(ring.state().bytes, 0);
    }

    #[tokio::test]
    async fn a_reader_is_woken_and_hears_of_the_end_behind_the_last_chunk() {
        let ring = Arc::new(Ring::default());
        let mut reader = ring.reader(0);
        let reading =
            tokio::spawn(async move { (reader.next().await, reader.next().await, reader.next().await) });
        tokio::task::yield_now().await;
        ring.push(chunk(0, 1));
        tokio::task::yield_now().await;
        ring.push(chunk(1, 1));
        ring.close();
        let (first, second, end) = reading.await.unwrap();
        assert_eq!((first.unwrap().first, second.unwrap().first, end), (0, 1, None));
    }
}
