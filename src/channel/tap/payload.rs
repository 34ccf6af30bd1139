//! Payloads for players: the chunks of a tap, and the first chunks for a new reader.

use std::time::Instant;

use super::{Begin, Piece, Tap, TapReader, start::Start};
use crate::limits::{CHUNK_BYTES_MAX, START_CHUNK_BYTES};
use tidecast_wire::ts::packets::Unit;

/// A tap of payloads.
pub type PayloadTap = Tap<Chunk>;

/// Payloads of consecutive packets, one after the other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chunk {
    /// The payloads.
    pub bytes: Vec<u8>,
    /// Count of the packets.
    pub packets: u32,
    /// Count of the tap's packets before it: shows a reader that skipped chunks how many packets
    /// they held.
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

impl PayloadTap {
    /// Keeps up to `bytes_max` bytes of a transport stream for new readers; `standing`: even
    /// without readers, so that the first reader finds them.
    pub fn with_start(mut self, bytes_max: usize, standing: bool) -> Tap {
        (self.start, self.standing) = (Some(Start::new(bytes_max)), standing);
        self
    }

    /// A reader that starts there and gets everything from now on.
    pub fn reader_from(&mut self, begin: Begin, now: Instant) -> TapReader {
        if self.start.is_none() {
            return self.reader();
        }
        // The open chunk belongs to the kept data, and may be old.
        self.flush(now);
        let start = self.start.as_ref().filter(|_| begin == Begin::Picture);
        let chunks = start.map(|start| start.chunks(self.open.first, now));
        self.reader().with_start(chunks.unwrap_or_default())
    }

    /// Adds a packet's payload to the open chunk, if there is a reader or one may start with it.
    pub fn push(&mut self, payload: &[u8], now: Instant) {
        let whole = Unit::of_whole(payload).is_some();
        self.push_part(payload, whole, now);
    }

    /// Adds the next bytes of a transport stream, whose packets may span payloads.
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

#[cfg(test)]
mod tests;
