//! What a player gets first: the tables of its transport stream, then everything since the last random access point of
//! the video, so that its first picture comes at once and not with the next key frame.
//!
//! [`super::Tap`] shows each payload to its [`Start`] and gives it each chunk that it sends; whoever begins to read gets
//! the chunks that are kept, and then those that follow. Pure: bytes and instants come in as arguments.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use super::{Chunk, Piece};
use crate::{
    limits::START_STALE,
    wire::ts::{self, PACKET, access::Access},
};

/// Keeps a stream's chunks since the last point where a decoder can begin.
#[derive(Debug)]
pub(super) struct Start<P> {
    /// Payload bytes that are kept at most.
    bytes_max: usize,
    access: Access,
    kept: VecDeque<Arc<P>>,
    bytes: usize,
    /// Where the picture begins that began last, while it is not known what it is.
    begun: Option<Place>,
    point: Option<Point>,
    heard: Option<Instant>,
}

/// A place in what a tap sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    /// The number of the first packet of its chunk.
    chunk: u64,
    /// Packets of the chunk before it.
    packets: u32,
    /// Bytes of the chunk before it.
    bytes: usize,
}

/// Where a decoder can begin.
#[derive(Debug)]
struct Point {
    place: Place,
    /// The tables in force there: the stream's own packets, so that their counters go on.
    tables: Vec<u8>,
}

impl<P: Piece> Start<P> {
    pub(super) fn new(bytes_max: usize) -> Start<P> {
        Start {
            bytes_max,
            access: Access::default(),
            kept: VecDeque::new(),
            bytes: 0,
            begun: None,
            point: None,
            heard: None,
        }
    }

    /// Keeps a chunk that was sent, if a player may begin with it.
    pub(super) fn keep(&mut self, piece: &Arc<P>) {
        if let Some(place) = self.place() {
            self.bytes += piece.bytes();
            self.kept.push_back(piece.clone());
            self.forget_before(place.chunk);
        } else {
            self.clear();
        }
    }

    /// From where on the stream is kept.
    fn place(&self) -> Option<Place> {
        self.point.as_ref().map(|point| point.place).or(self.begun)
    }

    fn forget_before(&mut self, first: u64) {
        while let Some(piece) = self.kept.pop_front_if(|piece| piece.first() < first) {
            self.bytes -= piece.bytes();
        }
    }

    fn clear(&mut self) {
        self.kept.clear();
        self.bytes = 0;
    }
}

impl Start<Chunk> {
    /// Looks at a payload that is about to be added to the open chunk. Whether it has to be kept.
    pub(super) fn look(&mut self, payload: &[u8], open: &Chunk, now: Instant) -> bool {
        self.heard = Some(now);
        if ts::looks_like(payload) {
            for (index, packet) in payload.as_chunks::<PACKET>().0.iter().enumerate() {
                self.see(packet, open, index * PACKET);
            }
        }
        let Some(place) = self.place() else { return false };
        if self.bytes + open.bytes.len() + payload.len() > self.bytes_max + place.bytes {
            // The next picture to begin with may have room.
            (self.begun, self.point) = (None, None);
            self.clear();
        }
        self.place().is_some()
    }

    fn see(&mut self, packet: &[u8; PACKET], open: &Chunk, offset: usize) {
        let seen = self.access.see(packet);
        if seen.changed {
            (self.begun, self.point) = (None, None);
        }
        if seen.begins {
            let bytes = open.bytes.len() + offset;
            self.begun = Some(Place { chunk: open.first, packets: open.packets, bytes });
        }
        if seen.access
            && let Some(place) = self.begun.take()
        {
            self.point = Some(Point { place, tables: self.access.tables() });
            self.forget_before(place.chunk);
        }
    }

    /// What a reader gets before the chunk that follows; nothing of the open chunk is part of it. `next`: the number of
    /// the first packet of that chunk.
    pub(super) fn chunks(&self, next: u64, now: Instant) -> Vec<Arc<Chunk>> {
        let stale = self.heard.is_none_or(|heard| now.saturating_duration_since(heard) > START_STALE);
        let kept = self.point.as_ref().filter(|_| !stale).and_then(|point| {
            let first = self.kept.front().filter(|chunk| chunk.first == point.place.chunk)?;
            Some(first_chunk(&point.tables, first, point.place))
        });
        match kept {
            Some(first) => std::iter::once(first).chain(self.kept.iter().skip(1).cloned()).collect(),
            None => {
                let bytes = self.access.tables();
                let tables = Chunk { bytes, packets: 0, first: next };
                if tables.bytes.is_empty() { Vec::new() } else { vec![Arc::new(tables)] }
            }
        }
    }
}

/// The tables, and the chunk from this place on.
fn first_chunk(tables: &[u8], chunk: &Chunk, place: Place) -> Arc<Chunk> {
    let bytes = [tables, &chunk.bytes[place.bytes..]].concat();
    Arc::new(Chunk {
        bytes,
        packets: chunk.packets - place.packets,
        first: chunk.first + u64::from(place.packets),
    })
}

#[cfg(test)]
mod tests;
