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

use crate::limits::{CHUNK_BYTES_MAX, CHUNK_DELAY_MAX, CHUNK_PACKETS, TAP_CHUNKS};

/// Which of a channel's flows a tap carries.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum Select {
    /// One flow at a time where the packets are media for a player (RTP, MPEG-TS), all flows otherwise.
    #[default]
    Auto,
    /// All flows, interleaved.
    All,
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
    since: Option<Instant>,
}

impl Tap {
    /// A tap without readers.
    pub fn new(select: Select) -> Tap {
        let (sender, _) = broadcast::channel(TAP_CHUNKS);
        Tap { select, sender, open: BytesMut::new(), packets: 0, first: 0, since: None }
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
            self.flush();
        }
        self.open.extend_from_slice(payload);
        self.packets += 1;
        self.since.get_or_insert(now);
        if self.packets >= CHUNK_PACKETS {
            self.flush();
        }
    }

    /// Sends the open chunk if it has waited long enough, or if `at_once`: packets come one by one.
    pub fn turn(&mut self, now: Instant, at_once: bool) {
        if self.since.is_some_and(|since| at_once || now.saturating_duration_since(since) >= CHUNK_DELAY_MAX)
        {
            self.flush();
        }
    }

    /// When [`Tap::turn`] has something to send.
    pub fn due(&self) -> Option<Instant> {
        self.since.map(|since| since + CHUNK_DELAY_MAX)
    }

    /// Sends the open chunk.
    pub fn flush(&mut self) {
        if self.packets > 0 {
            let chunk = Chunk { bytes: self.open.split().freeze(), packets: self.packets, first: self.first };
            // Without readers there is nobody to miss it.
            let _ = self.sender.send(Arc::new(chunk));
        }
        self.first += u64::from(self.packets);
        self.packets = 0;
        self.since = None;
    }
}

const _: () = assert!(CHUNK_DELAY_MAX.as_millis() <= Duration::from_millis(20).as_millis());

#[cfg(test)]
mod tests {
    use tokio::sync::broadcast::error::TryRecvError;

    use super::*;

    #[test]
    fn chunks_end_by_count_by_size_by_age_and_at_once() {
        let now = crate::clock::now();
        let mut tap = Tap::new(Select::All);
        let mut reader = tap.reader();
        for _ in 0..CHUNK_PACKETS {
            tap.push(b"ab", now);
        }
        assert_eq!(reader.try_recv().unwrap().packets, CHUNK_PACKETS);
        tap.push(&vec![0; CHUNK_BYTES_MAX], now);
        tap.push(b"c", now);
        assert_eq!(reader.try_recv().unwrap().bytes.len(), CHUNK_BYTES_MAX);
        tap.turn(now, false);
        assert_eq!(reader.try_recv().unwrap_err(), TryRecvError::Empty);
        assert_eq!(tap.due(), Some(now + CHUNK_DELAY_MAX));
        tap.turn(now + CHUNK_DELAY_MAX, false);
        assert_eq!(&*reader.try_recv().unwrap().bytes, b"c");
        tap.push(b"d", now);
        tap.turn(now, true);
        assert_eq!(&*reader.try_recv().unwrap().bytes, b"d");
        drop(reader);
        assert!(tap.is_idle());
    }

    #[test]
    fn a_slow_reader_skips_whole_chunks_and_learns_how_many() {
        let now = crate::clock::now();
        let mut tap = Tap::new(Select::All);
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
