//! Native Reed-Solomon recovery: keeps the packets of source blocks that may still need them, and rebuilds
//! what is missing as soon as it is overdue.
//!
//! A rebuilt packet goes back to deduplication like any other, so an original that comes after all is a
//! duplicate. A block whose repair packets have all come and do not suffice is given up at once.
//!
//! Repair packets may be forged, and so may media: what one packet alone says moves nothing. A shape counts when two
//! repair packets have it, and a block is a witness that earlier ones are over when media has come at its end. `solve`
//! makes sense of what does not agree.

use std::{
    collections::VecDeque,
    mem,
    time::{Duration, Instant},
};

use crate::limits::{
    FEC_BLOCKS_MAX, FEC_FORGET_PACKETS, FEC_RIVALS_MAX, FEC_SHAPES_MAX, FEC_SPAN_MAX, FEC_WORK_MAX,
    FEC_WORK_PER_BYTE, FEC_WORK_PER_PACKET, FEC_WORK_START,
};
use tidecast_wire::{
    fec::rs::Codes,
    limits::FEC_LEARN_PACKETS,
    native::{Repair, SourceShard},
};

mod solve;
pub(super) mod st2022;

use solve::Puzzle;

/// A packet that came back.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rebuilt {
    pub(super) number: u64,
    pub(super) flags: u8,
    pub(super) timestamp: u64,
    pub(super) payload: Vec<u8>,
}

/// What recovery has found out; `R` is what its format gives back.
#[derive(Debug)]
pub(super) struct Findings<R = Rebuilt> {
    pub(super) rebuilt: Vec<R>,
    /// Numbers that cannot come back.
    pub(super) hopeless: Vec<u64>,
    /// One past the last number of blocks that miss packets which no higher number has overtaken yet.
    pub(super) awaited: Option<u64>,
    /// How long the repair packet came after the first packet that it protects.
    pub(super) span: Option<Duration>,
    /// Rebuilt data that made no sense: the block's parameters were forged or damaged.
    pub(super) nonsense: u64,
}

impl<R> Default for Findings<R> {
    fn default() -> Findings<R> {
        Findings { rebuilt: Vec::new(), hopeless: Vec::new(), awaited: None, span: None, nonsense: 0 }
    }
}

impl<R> Findings<R> {
    /// The same with each rebuilt packet turned into something else.
    pub(super) fn map<T>(self, turn: impl FnMut(R) -> T) -> Findings<T> {
        let Findings { rebuilt, hopeless, awaited, span, nonsense } = self;
        let rebuilt = rebuilt.into_iter().map(turn).collect();
        Findings { rebuilt, hopeless, awaited, span, nonsense }
    }
}

#[derive(Debug)]
struct Block {
    first: u64,
    k: usize,
    m: usize,
    stride: u64,
    shard_len: usize,
    repairs: Vec<Option<Vec<u8>>>,
    /// Other contents that came of some of them.
    rivals: Vec<(usize, Vec<u8>)>,
    /// What had come when it made no sense: shards, and contents of sources that contradict each other.
    senseless: Option<usize>,
    /// Contents that contradict another one of the same source.
    disputes: usize,
    /// Repair shards that came.
    have: usize,
    /// Source packets that came.
    present: usize,
    /// When enough had come to rebuild, or all repair packets and yet not enough.
    decided: Option<Instant>,
}

impl Block {
    fn new(first: u64, repair: &Repair<'_>) -> Block {
        let mut repairs = Vec::new();
        repairs.resize_with(repair.m(), || None);
        Block {
            first,
            k: repair.k(),
            m: repair.m(),
            stride: repair.stride(),
            shard_len: repair.shard().len(),
            repairs,
            rivals: Vec::new(),
            senseless: None,
            disputes: 0,
            have: 0,
            present: 0,
            decided: None,
        }
    }

    fn fits(&self, first: u64, repair: &Repair<'_>) -> bool {
        (self.first, self.k, self.m, self.stride, self.shard_len)
            == (first, repair.k(), repair.m(), repair.stride(), repair.shard().len())
    }

    fn numbers(&self) -> impl Iterator<Item = u64> + use<> {
        numbers(self.first, self.k, self.stride)
    }

    fn number(&self, place: usize) -> u64 {
        self.first + place as u64 * self.stride
    }

    fn end(&self) -> u64 {
        self.first + span(self.k, self.stride)
    }

    fn shape(&self) -> (usize, usize, u64) {
        (self.k, self.m, self.stride)
    }

    /// Grows with all that may make more sense of it.
    fn came(&self) -> usize {
        self.present + self.have + self.rivals.len() + self.disputes
    }

    fn contains(&self, number: u64) -> bool {
        number >= self.first && number < self.end() && (number - self.first).is_multiple_of(self.stride)
    }

    /// Whether a repair packet of a block that begins at `later` shows that no more will come of this one:
    /// blocks of one lane follow each other.
    fn outlived(&self, later: u64) -> bool {
        later + 1 >= self.end() + self.stride
    }
}

fn numbers(first: u64, k: usize, stride: u64) -> impl Iterator<Item = u64> + use<> {
    (0..k as u64).map(move |i| first + i * stride)
}

/// Numbers from a block's first to its last, both included.
fn span(k: usize, stride: u64) -> u64 {
    (k as u64 - 1) * stride + 1
}

/// A kept source packet: the shard without its zero padding, and when it came.
#[derive(Debug)]
struct Source {
    number: u64,
    shard: Vec<u8>,
    arrived: Instant,
    /// Another content that came for the same number: one of the two is forged.
    rival: Option<Vec<u8>>,
    rebuilt: bool,
}

impl Source {
    fn bytes(&self) -> usize {
        self.shard.len() + self.rival.as_ref().map_or(0, Vec::len)
    }
}

/// A shape of blocks, and a repair packet that had it.
#[derive(Debug)]
struct Shape {
    shape: (usize, usize, u64),
    shown_by: (u64, usize),
    /// Another one had it, too.
    twice: bool,
}

/// A packet's source shard without zero padding.
pub(super) fn unpadded(source: SourceShard<'_>) -> Vec<u8> {
    let mut shard = Vec::with_capacity(source.len());
    source.emit(source.len(), &mut shard);
    shard
}

/// What recovery works with besides its own state.
#[derive(Debug)]
pub(super) struct Means<'a> {
    pub(super) now: Instant,
    pub(super) codes: &'a mut Codes,
    /// How long a packet that was only reordered may still come after its block was decided.
    pub(super) grace: Duration,
    /// Numbers below are overdue whatever the grace: a gap's deadline has passed.
    pub(super) overdue: u64,
    /// Memory still allowed, in bytes.
    pub(super) room: usize,
    /// One past the highest number that came and that does not stand alone.
    pub(super) end: u64,
}

/// Recovery of one session.
#[derive(Debug)]
pub(super) struct Recover {
    /// Ring of recent packets by number; empty while the session has no FEC.
    sources: Vec<Option<Source>>,
    /// Blocks that miss packets.
    blocks: VecDeque<Block>,
    bytes: usize,
    /// The session's first number.
    start: u64,
    learn_until: Instant,
    /// The first number of the latest block for which a repair packet came, with media at its end.
    newest: u64,
    /// The shapes of the latest repair packets.
    shapes: VecDeque<Shape>,
    /// The highest number for which a repair packet came.
    last_repair: Option<u64>,
    span: u64,
    /// Nothing below is waited for any more.
    head: u64,
    keeping: bool,
    /// Work that may be spent on rebuilding: every packet kept adds to it.
    credit: u64,
}

impl Recover {
    /// Recovery for a session whose first number is `start`. Until `learn_until` its packets are kept although no
    /// repair packet has come.
    pub(super) fn new(start: u64, learn_until: Instant) -> Recover {
        Recover {
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

    /// Memory of the packets and repair shards kept, and of a ring that had to grow for them.
    pub(super) fn bytes(&self) -> usize {
        let usual = 2 * FEC_LEARN_PACKETS as usize;
        self.bytes + self.sources.len().saturating_sub(usual) * size_of::<Option<Source>>()
    }

    /// Numbers that the latest blocks span; the reorder window must not be smaller.
    pub(super) fn span(&self) -> u64 {
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

    /// Nothing below `head` is waited for any more: from there on packets are kept, however late their repair packets
    /// come.
    pub(super) fn waits_from(&mut self, head: u64) {
        self.head = head;
    }

    /// Room for `span` numbers twice, and for those up to `number` that wait.
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

    /// Whether packets are kept at all; if not, [`Recover::media`] need not be called.
    pub(super) fn keeping(&self) -> bool {
        self.keeping
    }

    /// Whether nothing is kept, nothing is missed and no block is known.
    pub(super) fn is_idle(&self) -> bool {
        !self.keeping && self.blocks.is_empty() && self.span == 0
    }

    /// A media packet came in (first copies only), as an [`unpadded`] shard.
    pub(super) fn media(&mut self, number: u64, shard: Vec<u8>, means: &mut Means<'_>) -> Findings {
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

    /// Whether repair packets should have come by now, if there were any.
    fn is_unprotected(&self, number: u64, now: Instant) -> bool {
        match self.last_repair {
            Some(last) => number > last + FEC_FORGET_PACKETS + self.span,
            None => number > self.start + FEC_LEARN_PACKETS || now >= self.learn_until,
        }
    }

    fn keep(&mut self, number: u64, shard: Vec<u8>, now: Instant, rebuilt: bool) {
        // Little for a flow of few packets: there may be thousands, most of them made up.
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

    /// A number that is known came again, as an [`unpadded`] shard. If it is another one, the one that came in its turn is
    /// right; if both did, nobody knows. What was received counts for more than what was rebuilt.
    pub(super) fn came_again(&mut self, number: u64, shard: Vec<u8>, means: &Means<'_>) {
        if !self.keeping || self.sources.is_empty() || means.room < shard.len() {
            return;
        }
        let came = |number: u64| self.source(number).map(|source| source.arrived);
        let (before, after) = (number.checked_sub(1).and_then(came), came(number + 1));
        let index = self.index(number);
        let Some(source) = self.sources[index].as_mut().filter(|source| source.number == number) else {
            return self.keep(number, shard, means.now, false);
        };
        // The first of two that came in its turn, and the second of two of which the first came before its turn.
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

    /// The session has no FEC (any more), or its memory is needed: frees what was kept for it.
    pub(super) fn forget(&mut self) {
        *self = Recover { keeping: false, credit: self.credit, ..Recover::new(self.start, self.learn_until) };
    }

    /// A repair packet for the block that begins at `first`. `next` is the head: numbers below are settled.
    pub(super) fn repair(
        &mut self,
        first: u64,
        repair: &Repair<'_>,
        next: u64,
        means: &mut Means<'_>,
    ) -> Findings {
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
        // One of two may have come before its time.
        let began = protected.filter_map(|n| self.source(n)).map(|s| s.arrived).take(2).max();
        if first + span > next {
            self.add(first, repair);
        }
        let mut findings = self.settle(means);
        findings.span = began.filter(|_| believed).map(|began| means.now.saturating_duration_since(began));
        findings
    }

    /// Whether this repair packet's shape is the code's: another one has had it.
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

    /// Whether blocks miss packets.
    pub(super) fn misses(&self) -> bool {
        !self.blocks.is_empty()
    }

    /// When [`Recover::poll`] has something to do.
    pub(super) fn deadline(&self, grace: Duration) -> Option<Instant> {
        self.blocks.iter().filter_map(|b| b.decided).min().map(|decided| decided + grace)
    }

    /// Rebuilds or gives up what is overdue: `means.grace` after the block was decided, since a packet that was
    /// only reordered may still come.
    pub(super) fn poll(&mut self, means: &mut Means<'_>) -> Findings {
        self.settle(means)
    }

    fn settle(&mut self, means: &mut Means<'_>) -> Findings {
        let mut findings = Findings::default();
        let mut place = 0;
        while place < self.blocks.len() {
            match self.fate(place, means) {
                Fate::Open => place += 1,
                Fate::Awaited => {
                    findings.awaited = findings.awaited.max(Some(self.blocks[place].end()));
                    place += 1;
                }
                Fate::Over => {
                    let block = &self.blocks[place];
                    findings.nonsense += u64::from(block.senseless.is_some() && block.present < block.k);
                    self.close(place);
                }
                Fate::Hopeless => {
                    findings.hopeless.extend(self.missing(place).filter(|n| *n >= self.start));
                    self.close(place);
                }
                Fate::Rebuild => self.rebuild(place, means, &mut findings),
            }
        }
        findings
    }

    fn missing(&self, place: usize) -> impl Iterator<Item = u64> + '_ {
        self.blocks[place].numbers().filter(|n| self.source(*n).is_none())
    }

    fn fate(&mut self, place: usize, means: &Means<'_>) -> Fate {
        let (newest, believed) = (self.newest, self.is_believed(self.blocks[place].shape()));
        let block = &mut self.blocks[place];
        let missing = block.k - block.present;
        let enough = missing <= block.have && block.senseless != Some(block.came());
        if missing == 0 {
            return Fate::Over;
        }
        // Of what makes no sense, the true one of a repair packet may still come.
        let more = block.have < block.m || (believed && block.senseless.is_some());
        if !enough && more && !block.outlived(newest) {
            block.decided = None;
            return Fate::Open;
        }
        // A single repair packet can claim to be a packet that is still to come.
        if enough && !believed && block.k == 1 && block.end() > means.end {
            block.decided = None;
            return Fate::Open;
        }
        if !enough && block.end() > means.end {
            block.decided = None;
            return if believed { Fate::Awaited } else { Fate::Open };
        }
        let decided = *block.decided.get_or_insert(means.now);
        match enough {
            _ if means.now < decided + means.grace && block.first >= means.overdue => Fate::Open,
            true => Fate::Rebuild,
            // What makes no sense, or is no block of this code, says nothing about what may still come.
            false if believed && block.senseless.is_none() => Fate::Hopeless,
            false => Fate::Over,
        }
    }

    /// Rebuilds what the block misses, and closes it. One that makes no sense may do so when more has come.
    fn rebuild(&mut self, place: usize, means: &mut Means<'_>, findings: &mut Findings) {
        let mut credit = self.credit;
        let puzzle = Puzzle::new(&self.blocks[place], |number| self.source(number));
        let (missing, shards) = (puzzle.missing(), puzzle.solve(means.codes, &mut credit));
        self.credit = credit;
        let Some(shards) = shards else {
            let block = &mut self.blocks[place];
            (block.senseless, block.decided) = (Some(block.came()), None);
            return;
        };
        self.close(place);
        for (number, shard) in missing.into_iter().zip(shards) {
            let Ok(source) = SourceShard::parse(&shard) else { continue };
            let SourceShard { flags, timestamp, payload } = source;
            findings.rebuilt.push(Rebuilt { number, flags, timestamp, payload: payload.to_vec() });
            // One that is ahead of all that came may take the place of one that is still needed.
            if number < means.end {
                self.keep(number, unpadded(source), means.now, true);
            }
        }
    }
}

/// What is to be done with a block.
enum Fate {
    Open,
    /// All repair packets have come, and they may have overtaken media packets.
    Awaited,
    /// It is complete, or of no use any more.
    Over,
    Rebuild,
    Hopeless,
}

#[cfg(test)]
#[path = "recover_tests.rs"]
mod tests;
