//! First chunks for a new player: the tables of its transport stream, then everything since the
//! latest random access point of the video, so that its first picture comes at once and not with
//! the next key frame.
//!
//! [`super::Tap`] passes each payload and each sent chunk to its [`Start`]. A new reader gets the
//! kept chunks, and then those that follow. Pure: bytes and instants come in as arguments.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use super::{Chunk, Piece};
use crate::limits::START_STALE;
use tidecast_wire::ts::{
    access::Access,
    packets::{Packets, Placed, Unit},
};

/// Keeps a stream's chunks since the latest point at which decoding can start.
#[derive(Debug)]
pub(super) struct Start<P> {
    /// Maximum payload bytes to keep.
    bytes_max: usize,
    packets: Packets,
    /// Size of its TS packets.
    unit: Unit,
    access: Access,
    kept: VecDeque<Arc<P>>,
    bytes: usize,
    /// Start of the latest picture, while its type is unknown.
    begun: Option<Begun>,
    point: Option<Point>,
    heard: Option<Instant>,
}

/// A position in the output of a tap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct StartPlace {
    /// Number of the first packet of its chunk.
    chunk: u64,
    /// Packets before it in the chunk.
    packets: u32,
    /// Bytes before it in the chunk.
    bytes: usize,
}

/// Start of a picture.
#[derive(Debug)]
struct Begun {
    place: StartPlace,
    /// Bytes of its first packet from a payload before that position.
    head: Vec<u8>,
    /// Arrival timestamp in front of its first packet, in a stream with such stamps.
    stamp: [u8; 4],
}

/// A point at which decoding can start.
#[derive(Debug)]
struct Point {
    place: StartPlace,
    /// Bytes that a player gets before it: the tables that apply there, as the stream's own
    /// packets, so that their continuity counters fit; then the head of the first packet.
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

    /// Keeps a sent chunk, if a player may start with it.
    pub(super) fn keep(&mut self, piece: &Arc<P>) {
        if let Some(place) = self.place() {
            self.bytes += piece.bytes();
            self.kept.push_back(piece.clone());
            self.forget_before(place.chunk);
        } else {
            self.clear();
        }
    }

    /// Position from which on the stream is kept.
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
    /// Examines a payload that is about to be added to the open chunk, and may be part of a
    /// transport stream. Returns whether it must be kept.
    pub(super) fn look(&mut self, payload: &[u8], is_stream: bool, open: &Chunk, now: Instant) -> bool {
        self.heard = Some(now);
        if is_stream {
            let mut packets = std::mem::take(&mut self.packets);
            packets.push(payload, |placed| self.see(&placed, open));
            self.packets = packets;
        }
        let Some(place) = self.place() else { return false };
        if self.bytes + open.bytes.len() + payload.len() > self.bytes_max + place.bytes {
            // The next random access point may fit into the memory.
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

    /// The tables that currently apply, as packets of the stream.
    fn tables(&self, stamp: [u8; 4]) -> Vec<u8> {
        let tables = self.access.tables();
        let mut wrapped = Vec::with_capacity(tables.len());
        self.unit.wrap(tables.as_chunks().0, stamp, &mut wrapped);
        wrapped
    }

    /// Chunks for a new reader, up to the open chunk. `next`: number of the first packet of the
    /// open chunk.
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

/// The first bytes of a packet with a timestamp.
fn stamp(unit: &[u8]) -> [u8; 4] {
    unit.first_chunk().copied().unwrap_or_default()
}

/// The bytes in `before`, and the chunk from this position on.
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
