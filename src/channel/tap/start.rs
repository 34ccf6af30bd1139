//! What a player gets first: the tables of its transport stream, then everything since the last
//! random access point of the video, so that its first picture comes at once and not with the next
//! key frame.
//!
//! [`super::Tap`] shows each payload to its [`Start`] and gives it each chunk that it sends;
//! whoever begins to read gets the chunks that are kept, and then those that follow. Pure: bytes
//! and instants come in as arguments.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use super::{Chunk, Piece};
use crate::limits::START_STALE;
use tidecast_wire::ts::{
    access::Access,
    packets::{Packets, Placed, Unit},
};

/// Keeps a stream's chunks since the last point where a decoder can begin.
#[derive(Debug)]
pub(super) struct Start<P> {
    /// Payload bytes that are kept at most.
    bytes_max: usize,
    packets: Packets,
    /// What its packets take.
    unit: Unit,
    access: Access,
    kept: VecDeque<Arc<P>>,
    bytes: usize,
    /// Where the picture begins that began last, while it is not known what it is.
    begun: Option<Begun>,
    point: Option<Point>,
    heard: Option<Instant>,
}

/// A place in what a tap sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct StartPlace {
    /// The number of the first packet of its chunk.
    chunk: u64,
    /// Packets of the chunk before it.
    packets: u32,
    /// Bytes of the chunk before it.
    bytes: usize,
}

/// Where a picture begins.
#[derive(Debug)]
struct Begun {
    place: StartPlace,
    /// Bytes of its first packet that came in a payload before that place.
    head: Vec<u8>,
    /// The arrival time stamp in front of its first packet, in a stream that has them.
    stamp: [u8; 4],
}

/// Where a decoder can begin.
#[derive(Debug)]
struct Point {
    place: StartPlace,
    /// What a player gets before: the tables in force there, the stream's own packets, so that
    /// their counters go on; then the head of the first packet.
    before: Vec<u8>,
}

impl<P: Piece> Start<P> {
    pub(super) fn new(bytes_max: usize) -> Start<P> {
        Start {
            bytes_max,
            packets: Packets::default(),
            unit: Unit::default(),
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
    fn place(&self) -> Option<StartPlace> {
        let begun = self.begun.as_ref().map(|begun| begun.place);
        self.point.as_ref().map(|point| point.place).or(begun)
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
    /// Looks at a payload that is about to be added to the open chunk, and may be bytes of a
    /// transport stream. Whether it has to be kept.
    pub(super) fn look(&mut self, payload: &[u8], is_stream: bool, open: &Chunk, now: Instant) -> bool {
        self.heard = Some(now);
        if is_stream {
            let mut packets = std::mem::take(&mut self.packets);
            packets.push(payload, |placed| self.see(&placed, open));
            self.packets = packets;
        }
        let Some(place) = self.place() else { return false };
        if self.bytes + open.bytes.len() + payload.len() > self.bytes_max + place.bytes {
            // The next picture to begin with may have room.
            (self.begun, self.point) = (None, None);
            self.clear();
        }
        self.place().is_some()
    }

    fn see(&mut self, placed: &Placed<'_>, open: &Chunk) {
        self.unit = Unit::with_bytes(placed.unit.len());
        let seen = self.access.see(placed.packet);
        if seen.changed {
            (self.begun, self.point) = (None, None);
        }
        if seen.begins {
            let (early, offset) = (placed.start.min(0).unsigned_abs(), placed.start.max(0) as usize);
            let place =
                StartPlace { chunk: open.first, packets: open.packets, bytes: open.bytes.len() + offset };
            let head = placed.unit[..early.min(placed.unit.len())].to_vec();
            self.begun = Some(Begun { place, head, stamp: stamp(placed.unit) });
        }
        if seen.access
            && let Some(Begun { place, head, stamp }) = self.begun.take()
        {
            let before = [self.tables(stamp), head].concat();
            self.point = Some(Point { place, before });
            self.forget_before(place.chunk);
        }
    }

    /// The tables in force, as the stream has its packets.
    fn tables(&self, stamp: [u8; 4]) -> Vec<u8> {
        let tables = self.access.tables();
        let mut wrapped = Vec::with_capacity(tables.len());
        self.unit.wrap(tables.as_chunks().0, stamp, &mut wrapped);
        wrapped
    }

    /// What a reader gets before the chunk that follows; nothing of the open chunk is part of it.
    /// `next`: the number of the first packet of that chunk.
    pub(super) fn chunks(&self, next: u64, now: Instant) -> Vec<Arc<Chunk>> {
        let stale = self.heard.is_none_or(|heard| now.saturating_duration_since(heard) > START_STALE);
        let kept = self.point.as_ref().filter(|_| !stale).and_then(|point| {
            let first = self.kept.front().filter(|chunk| chunk.first == point.place.chunk)?;
            Some(first_chunk(&point.before, first, point.place))
        });
        match kept {
            Some(first) => std::iter::once(first).chain(self.kept.iter().skip(1).cloned()).collect(),
            None => {
                let bytes = self.tables([0; 4]);
                let tables = Chunk { bytes, packets: 0, first: next };
                if tables.bytes.is_empty() { Vec::new() } else { vec![Arc::new(tables)] }
            }
        }
    }
}

/// The first bytes of a unit.
fn stamp(unit: &[u8]) -> [u8; 4] {
    unit.first_chunk().copied().unwrap_or_default()
}

/// What stands before, and the chunk from this place on.
fn first_chunk(before: &[u8], chunk: &Chunk, place: StartPlace) -> Arc<Chunk> {
    let bytes = [before, &chunk.bytes[place.bytes..]].concat();
    Arc::new(Chunk {
        bytes,
        packets: chunk.packets - place.packets,
        first: chunk.first + u64::from(place.packets),
    })
}

#[cfg(test)]
mod tests;
