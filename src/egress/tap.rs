//! Chunks of payload for everything that is not UDP: built once by the packet path, shared by all readers.
//!
//! A reader that falls behind skips whole chunks, at packet boundaries, and learns how many; it never slows
//! the channel or another reader. A tap is a bounded ring (a broadcast channel) of chunks.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use tokio::sync::broadcast;

use crate::limits::{CHUNK_BYTES_MAX, CHUNK_DELAY_MAX, TAP_CHUNKS};

/// Which of a channel's flows a tap carries.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum Select {
    /// One flow at a time where the packets are media for a player (RTP, MPEG-TS), all flows otherwise.
    #[default]
    Auto,
    /// This one only, by its key.
    Flow(String),
}

/// Payloads of consecutive packets, one after the other.
#[derive(Debug, Clone)]
pub struct Chunk {
    /// The payloads.
    pub bytes: Bytes,
    /// How many packets they are.
    pub packets: u32,
    /// How many packets of the tap came before them: tells a reader that skipped chunks how many packets they held.
    pub first: u64,
}

/// Reads a tap.
pub type TapReader = broadcast::Receiver<Arc<Chunk>>;

/// The packet path's end of a tap.
#[derive(Debug)]
pub struct Tap {
    select: Select,
    sender: broadcast::Sender<Arc<Chunk>>,
    open: BytesMut,
    packets: u32,
    first: u64,
    /// When the open chunk's first packet came.
    since: Option<Instant>,
    flushed: Option<Instant>,
}

impl Tap {
    /// A tap without readers.
    pub fn new(select: Select) -> Tap {
        let (sender, _) = broadcast::channel(TAP_CHUNKS);
        Tap { select, sender, open: BytesMut::new(), packets: 0, first: 0, since: None, flushed: None }
    }

    /// What it carries.
    pub fn select(&self) -> &Select {
        &self.select
    }

    /// A reader that gets everything from now on.
    pub fn reader(&self) -> TapReader {
        self.sender.subscribe()
    }

    /// Whether nobody reads.
    pub fn is_idle(&self) -> bool {
        self.sender.receiver_count() == 0
    }

    /// Adds a packet's payload to the open chunk.
    pub fn push(&mut self, payload: &[u8], now: Instant) {
        if self.open.len() + payload.len() > CHUNK_BYTES_MAX {
            self.flush(now);
        }
        self.open.extend_from_slice(payload);
        self.packets += 1;
        self.since.get_or_insert(now);
    }

    /// Sends the open chunk if it is due, or if `at_once`.
    pub fn turn(&mut self, now: Instant, at_once: bool) {
        if self.since.is_some() && (at_once || self.due().is_some_and(|due| due <= now)) {
            self.flush(now);
        }
    }

    /// When [`Tap::turn`] has something to send: [`CHUNK_DELAY_MAX`] after the chunk before, so that a packet after
    /// a pause waits for nothing, and a stream makes no more chunks than it needs.
    pub fn due(&self) -> Option<Instant> {
        let since = self.since?;
        Some(self.flushed.map_or(since, |flushed| since.max(flushed + CHUNK_DELAY_MAX)))
    }

    /// Sends the open chunk.
    fn flush(&mut self, now: Instant) {
        if self.packets > 0 {
            let chunk = Chunk { bytes: self.open.split().freeze(), packets: self.packets, first: self.first };
            // Without readers there is nobody to miss it.
            let _ = self.sender.send(Arc::new(chunk));
        }
        self.first += u64::from(self.packets);
        self.packets = 0;
        self.since = None;
        self.flushed = Some(now);
    }
}

const _: () = assert!(CHUNK_DELAY_MAX.as_millis() <= Duration::from_millis(20).as_millis());

#[cfg(test)]
mod tests {
    use tokio::sync::broadcast::error::TryRecvError;

    use super::*;

    #[test]
    fn a_packet_after_a_pause_goes_at_once_and_a_stream_in_chunks() {
        let now = crate::clock::now();
        let mut tap = Tap::new(Select::Auto);
        let mut reader = tap.reader();
        tap.push(b"a", now);
        tap.turn(now, false);
        assert_eq!(&*reader.try_recv().unwrap().bytes, b"a");
        tap.push(b"b", now + CHUNK_DELAY_MAX / 4);
        tap.push(b"c", now + CHUNK_DELAY_MAX / 2);
        tap.turn(now + CHUNK_DELAY_MAX / 2, false);
        assert_eq!(reader.try_recv().unwrap_err(), TryRecvError::Empty);
        assert_eq!(tap.due(), Some(now + CHUNK_DELAY_MAX));
        tap.turn(now + CHUNK_DELAY_MAX, false);
        assert_eq!(reader.try_recv().unwrap().packets, 2);
        tap.push(b"d", now + CHUNK_DELAY_MAX);
        tap.turn(now + CHUNK_DELAY_MAX, true);
        assert_eq!(&*reader.try_recv().unwrap().bytes, b"d");
        drop(reader);
        assert!(tap.is_idle());
    }

    #[test]
    fn chunks_are_bounded_in_bytes() {
        let now = crate::clock::now();
        let mut tap = Tap::new(Select::Auto);
        let mut reader = tap.reader();
        tap.push(&vec![0; CHUNK_BYTES_MAX], now);
        tap.push(b"c", now);
        assert_eq!(reader.try_recv().unwrap().bytes.len(), CHUNK_BYTES_MAX);
    }

    #[test]
    fn a_slow_reader_skips_whole_chunks_and_learns_how_many() {
        let now = crate::clock::now();
        let mut tap = Tap::new(Select::Auto);
        let mut reader = tap.reader();
        for i in 0..TAP_CHUNKS as u32 + 10 {
            tap.push(&i.to_be_bytes(), now);
            tap.turn(now, true);
        }
        assert_eq!(reader.try_recv().unwrap_err(), TryRecvError::Lagged(10));
        let chunk = reader.try_recv().unwrap();
        assert_eq!((&*chunk.bytes, chunk.first), (&10u32.to_be_bytes()[..], 10));
    }
}
