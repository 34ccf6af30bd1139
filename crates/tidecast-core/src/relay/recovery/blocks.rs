//! Native Reed-Solomon recovery: keeps the packets of source blocks that may still need them, and
//! recovers missing ones as soon as they are overdue.
//!
//! A recovered packet goes back to deduplication, so an original that comes later is a duplicate.
//! A block is given up at once when all its repair packets have come and do not suffice.
//!
//! Repair packets and media may be forged, so a single packet decides nothing. A block shape
//! counts when two repair packets have it. A block proves that earlier ones are over when media
//! has come at its end. `solve` handles contradictions.

use std::{
    collections::VecDeque,
    mem,
    time::{Duration, Instant},
};

use super::{Findings, Means};
use crate::limits::{
    FEC_BLOCKS_MAX, FEC_FORGET_PACKETS, FEC_RIVALS_MAX, FEC_SHAPES_MAX, FEC_SPAN_MAX, FEC_WORK_MAX,
    FEC_WORK_PER_BYTE, FEC_WORK_PER_PACKET, FEC_WORK_START,
};
use tidecast_wire::{
    limits::FEC_LEARN_PACKETS,
    native::{Repair, SourceShard},
};

mod block;
mod settle;
mod solve;

use block::{Block, Source, numbers, span};

/// A recovered packet.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::relay) struct RebuiltPayload {
    pub(in crate::relay) number: u64,
    pub(in crate::relay) flags: u8,
    pub(in crate::relay) timestamp: u64,
    pub(in crate::relay) payload: Vec<u8>,
}

/// A block shape, and the first number of a repair packet that had it.
#[derive(Debug)]
struct Shape {
    shape: (usize, usize, u64),
    shown_by: (u64, usize),
    /// A second repair packet had it, too.
    twice: bool,
}

/// A packet's source shard without zero padding.
pub(in crate::relay) fn unpadded(source: SourceShard<'_>) -> Vec<u8> {
    let mut shard = Vec::with_capacity(source.len());
    source.emit(source.len(), &mut shard);
    shard
}

/// Recovery of one native session.
#[derive(Debug)]
pub(in crate::relay) struct BlockRecovery {
    /// Ring of recent packets by number; empty while the session has no FEC.
    sources: Vec<Option<Source>>,
    /// Blocks with missing packets.
    blocks: VecDeque<Block>,
    bytes: usize,
    /// The session's first number.
    start: u64,
    learn_until: Instant,
    /// First number of the latest block with a repair packet, and with media at its end.
    newest: u64,
    /// Shapes of the latest repair packets.
    shapes: VecDeque<Shape>,
    /// The highest number for which a repair packet came.
    last_repair: Option<u64>,
    span: u64,
    /// Lower numbers are settled.
    head: u64,
    keeping: bool,
    /// Computation that may be spent on recovery: every kept packet adds to it.
    credit: u64,
}

impl BlockRecovery {
    /// Recovery for a session whose first number is `start`. Until `learn_until` packets are kept
    /// even though no repair packet has come.
    pub(in crate::relay) fn new(start: u64, learn_until: Instant) -> BlockRecovery {
        BlockRecovery {
            sources: Vec::new(),
            blocks: VecDeque::new(),
            bytes: 0,
            start,
            learn_until,
            newest: start,
            shapes: VecDeque::new(),
            last_repair: None,
            span: 0,
            head: u64::MAX,
            keeping: true,
            credit: FEC_WORK_START,
        }
    }

    /// Memory of the kept packets and repair shards, and of a ring beyond its minimum, in bytes.
    pub(in crate::relay) fn bytes(&self) -> usize {
        let usual = 2 * FEC_LEARN_PACKETS as usize;
        self.bytes + self.sources.len().saturating_sub(usual) * size_of::<Option<Source>>()
    }

    /// Numbers spanned by the latest blocks; the reorder window must not be smaller.
    pub(in crate::relay) fn span(&self) -> u64 {
        self.span
    }

    fn index(&self, number: u64) -> usize {
        number as usize & (self.sources.len() - 1)
    }

    fn source(&self, number: u64) -> Option<&Source> {
        if self.sources.is_empty() {
            return None;
        }
        self.sources[self.index(number)].as_ref().filter(|s| s.number == number)
    }

    /// Moves the head to `head`: packets from there on are kept, however late their repair packets
    /// come.
    pub(in crate::relay) fn waits_from(&mut self, head: u64) {
        self.head = head;
    }

    /// Makes room for twice `span` numbers, and for the numbers up to `number` that wait.
    fn reserve(&mut self, span: u64, number: u64) {
        let waiting = (number + 1).saturating_sub(self.head).min(FEC_SPAN_MAX);
        let capacity = (span + span.max(waiting)).next_power_of_two() as usize;
        if capacity <= self.sources.len() {
            return;
        }
        let old = mem::take(&mut self.sources);
        self.sources.resize_with(capacity, || None);
        for source in old.into_iter().flatten() {
            let index = self.index(source.number);
            self.sources[index] = Some(source);
        }
    }

    /// Whether packets are kept at all; if not, [`BlockRecovery::media`] need not be called.
    pub(in crate::relay) fn keeping(&self) -> bool {
        self.keeping
    }

    /// Whether nothing is kept or missing, and no block is known.
    pub(in crate::relay) fn is_idle(&self) -> bool {
        !self.keeping && self.blocks.is_empty() && self.span == 0
    }

    /// Takes a new media packet, as an [`unpadded`] shard.
    pub(in crate::relay) fn media(
        &mut self,
        number: u64,
        shard: Vec<u8>,
        means: &mut Means<'_>,
    ) -> Findings<RebuiltPayload> {
        if self.is_unprotected(number, means.now) {
            self.forget();
        }
        if !self.keeping || number < self.start || means.room < shard.len() {
            return Findings::default();
        }
        let work = FEC_WORK_PER_PACKET + FEC_WORK_PER_BYTE * shard.len() as u64;
        self.credit = (self.credit + work).min(FEC_WORK_MAX);
        self.keep(number, shard, means.now, false);
        if self.blocks.is_empty() { Findings::default() } else { self.settle(means) }
    }

    /// Whether repair packets should have come by now, if there are any.
    fn is_unprotected(&self, number: u64, now: Instant) -> bool {
        match self.last_repair {
            Some(last) => number > last + FEC_FORGET_PACKETS + self.span,
            None => number > self.start + FEC_LEARN_PACKETS || now >= self.learn_until,
        }
    }

    fn keep(&mut self, number: u64, shard: Vec<u8>, now: Instant, rebuilt: bool) {
        // Keeps little for a flow with few packets: there may be thousands, most of them forged.
        let few = (number.saturating_sub(self.start) + 1).min(FEC_LEARN_PACKETS);
        self.reserve(few.max(self.span), number);
        self.bytes += shard.len();
        let index = self.index(number);
        let source = Source { number, shard, arrived: now, rival: None, rebuilt };
        let old = self.sources[index].replace(source);
        self.bytes -= old.as_ref().map_or(0, Source::bytes);
        let left = old.map(|old| old.number);
        if left == Some(number) {
            return;
        }
        for block in &mut self.blocks {
            block.present += usize::from(block.contains(number));
            block.present -= usize::from(left.is_some_and(|left| block.contains(left)));
        }
    }

    /// Takes a packet whose number is known, as an [`unpadded`] shard. If the contents differ, the
    /// one that came in order is right; if both did, it is undecided. A received content takes
    /// precedence over a recovered one.
    pub(in crate::relay) fn came_again(&mut self, number: u64, shard: Vec<u8>, means: &Means<'_>) {
        if !self.keeping || self.sources.is_empty() || means.room < shard.len() {
            return;
        }
        let came = |number: u64| self.source(number).map(|source| source.arrived);
        let (before, after) = (number.checked_sub(1).and_then(came), came(number + 1));
        let index = self.index(number);
        let Some(source) = self.sources[index].as_mut().filter(|source| source.number == number) else {
            return self.keep(number, shard, means.now, false);
        };
        // Whether the first copy came in order, and whether the second one did while the first
        // came early.
        let (first, second) = (after.is_some(), before.is_some_and(|before| before > source.arrived));
        if source.shard == shard || source.rival.is_some() || (first && !second && !source.rebuilt) {
            return;
        }
        self.bytes += shard.len();
        if source.rebuilt || second {
            self.bytes -= source.shard.len();
            (source.shard, source.rebuilt) = (shard, false);
            return;
        }
        source.rival = Some(shard);
        self.blocks.iter_mut().filter(|block| block.contains(number)).for_each(|block| block.disputes += 1);
    }

    /// Frees the memory: the session has no FEC any more, or others need it.
    pub(in crate::relay) fn forget(&mut self) {
        *self = BlockRecovery {
            keeping: false,
            credit: self.credit,
            ..BlockRecovery::new(self.start, self.learn_until)
        };
    }

    /// Takes a repair packet for the block that starts at `first`. `next` is the head: lower
    /// numbers are settled.
    pub(in crate::relay) fn repair(
        &mut self,
        first: u64,
        repair: &Repair<'_>,
        next: u64,
        means: &mut Means<'_>,
    ) -> Findings<RebuiltPayload> {
        let span = span(repair.k(), repair.stride());
        if span > FEC_SPAN_MAX || means.room < repair.shard().len() {
            return Findings { nonsense: 1, ..Findings::default() };
        }
        self.keeping = true;
        let believed = self.saw_shape(first, repair);
        if believed {
            self.span = self.span.max(span);
        }
        if believed && first + span <= means.end {
            self.newest = self.newest.max(first);
        }
        self.last_repair = Some(self.last_repair.unwrap_or(0).max(first + span - 1));
        self.reserve(span.max(FEC_LEARN_PACKETS), first);
        let protected = numbers(first, repair.k(), repair.stride());
        // A single packet may have come early, so the later of the first two counts.
        let began = protected.filter_map(|n| self.source(n)).map(|s| s.arrived).take(2).max();
        if first + span > next {
            self.add(first, repair);
        }
        let mut findings = self.settle(means);
        findings.span = began.filter(|_| believed).map(|began| means.now.saturating_duration_since(began));
        findings
    }

    /// Whether this repair packet's shape is that of the code: another repair packet has had it.
    fn saw_shape(&mut self, first: u64, repair: &Repair<'_>) -> bool {
        let (shape, shown_by) = ((repair.k(), repair.m(), repair.stride()), (first, repair.index()));
        if let Some(seen) = self.shapes.iter_mut().find(|seen| seen.shape == shape) {
            seen.twice |= seen.shown_by != shown_by;
            return seen.twice;
        }
        if self.shapes.len() >= FEC_SHAPES_MAX {
            self.shapes.pop_front();
        }
        self.shapes.push_back(Shape { shape, shown_by, twice: false });
        false
    }

    fn is_believed(&self, shape: (usize, usize, u64)) -> bool {
        self.shapes.iter().any(|seen| seen.shape == shape && seen.twice)
    }

    fn add(&mut self, first: u64, repair: &Repair<'_>) {
        let place = self.blocks.iter().position(|b| b.fits(first, repair));
        let place = place.unwrap_or_else(|| self.open(Block::new(first, repair)));
        let block = &mut self.blocks[place];
        let slot = &mut block.repairs[repair.index()];
        let shard = repair.shard();
        match slot {
            None => {
                *slot = Some(shard.to_vec());
                block.have += 1;
            }
            // One of the two is forged.
            Some(known) if known != shard && block.rivals.len() < FEC_RIVALS_MAX => {
                block.rivals.push((repair.index(), shard.to_vec()));
            }
            Some(_) => return,
        }
        self.bytes += shard.len();
    }

    fn open(&mut self, mut block: Block) -> usize {
        if self.blocks.len() >= FEC_BLOCKS_MAX {
            self.close(0);
        }
        block.present = block.numbers().filter(|n| self.source(*n).is_some()).count();
        self.blocks.push_back(block);
        self.blocks.len() - 1
    }

    fn close(&mut self, place: usize) {
        if let Some(block) = self.blocks.remove(place) {
            let rivals = block.rivals.iter().map(|(_, shard)| shard);
            self.bytes -= block.repairs.iter().flatten().chain(rivals).map(Vec::len).sum::<usize>();
            let believed = self.blocks.iter().filter(|block| self.is_believed(block.shape()));
            if let Some(widest) = believed.map(|b| b.end() - b.first).max() {
                self.span = widest;
            }
        }
    }

    /// Whether blocks have missing packets.
    pub(in crate::relay) fn misses(&self) -> bool {
        !self.blocks.is_empty()
    }

    /// When [`BlockRecovery::poll`] has something to do.
    pub(in crate::relay) fn deadline(&self, grace: Duration) -> Option<Instant> {
        self.blocks.iter().filter_map(|b| b.decided).min().map(|decided| decided + grace)
    }

    /// Recovers or gives up what is overdue: `means.grace` after the block was decided, since a
    /// reordered packet may still come.
    pub(in crate::relay) fn poll(&mut self, means: &mut Means<'_>) -> Findings<RebuiltPayload> {
        self.settle(means)
    }
}

#[cfg(test)]
mod tests;
