//! Native Reed-Solomon recovery: keeps the packets of source blocks that may still need them, and rebuilds
//! what is missing as soon as it is overdue.
//!
//! A rebuilt packet goes back to deduplication like any other, so an original that comes after all is a
//! duplicate. A block whose repair packets have all come and do not suffice is given up at once.

use std::{
    collections::VecDeque,
    mem,
    time::{Duration, Instant},
};

use crate::{
    fec::rs::Codes,
    limits::{DATAGRAM_BYTES_MAX, FEC_BLOCKS_MAX, FEC_FORGET_PACKETS, FEC_LEARN_PACKETS, FEC_SPAN_MAX},
    wire::native::{Repair, SourceShard},
};

/// A packet that came back.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rebuilt {
    pub(super) number: u64,
    pub(super) flags: u8,
    pub(super) timestamp: u64,
    pub(super) payload: Vec<u8>,
}

/// What recovery has found out.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) rebuilt: Vec<Rebuilt>,
    /// Numbers that cannot come back.
    pub(super) hopeless: Vec<u64>,
    /// How long the longest of the blocks finished now took, from its first packet seen to its last.
    pub(super) span: Option<Duration>,
    /// Rebuilt data that made no sense: the block's parameters were forged or damaged.
    pub(super) nonsense: u64,
}

#[derive(Debug)]
struct Block {
    first: u64,
    k: usize,
    m: usize,
    stride: u64,
    shard_len: usize,
    repairs: Vec<Option<Vec<u8>>>,
    have: usize,
    /// When enough had come to rebuild, or all repair packets and yet not enough.
    decided: Option<Instant>,
    opened: Instant,
}

impl Block {
    fn numbers(&self) -> impl Iterator<Item = u64> + use<> {
        let (first, stride) = (self.first, self.stride);
        (0..self.k as u64).map(move |i| first + i * stride)
    }

    fn end(&self) -> u64 {
        self.first + (self.k as u64 - 1) * self.stride + 1
    }

    fn contains(&self, number: u64) -> bool {
        number >= self.first && number < self.end() && (number - self.first).is_multiple_of(self.stride)
    }
}

/// A kept source packet: the shard without its zero padding, and when it came.
#[derive(Debug)]
struct Source {
    number: u64,
    shard: Vec<u8>,
    arrived: Instant,
}

/// A packet's source shard without zero padding.
pub(super) fn unpadded(source: SourceShard<'_>) -> Vec<u8> {
    let mut shard = Vec::with_capacity(source.len());
    source.emit(source.len(), &mut shard);
    shard
}

/// Recovery of one session.
#[derive(Debug)]
pub(super) struct Recover {
    /// Ring of recent packets by number; empty while the session has no FEC.
    sources: Vec<Option<Source>>,
    blocks: VecDeque<Block>,
    bytes: usize,
    /// Numbers below were settled; repair packets for them are of no use.
    start: u64,
    /// The highest number for which a repair packet came.
    last_repair: Option<u64>,
    keeping: bool,
}

impl Recover {
    /// Recovery for a session whose first number is `start`.
    pub(super) fn new(start: u64) -> Recover {
        Recover {
            sources: Vec::new(),
            blocks: VecDeque::new(),
            bytes: 0,
            start,
            last_repair: None,
            keeping: true,
        }
    }

    /// Memory of the packets and repair shards kept.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether repair packets have been seen lately.
    pub(super) fn active(&self) -> bool {
        self.last_repair.is_some()
    }

    /// Numbers by which a block may span; the reorder window must not be smaller.
    pub(super) fn span(&self) -> u64 {
        self.blocks.iter().map(|b| b.end() - b.first).max().unwrap_or(0)
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

    /// Room for `span` numbers, twice.
    fn reserve(&mut self, span: u64) {
        let capacity = (2 * span.max(FEC_LEARN_PACKETS)).next_power_of_two() as usize;
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

    /// A media packet came in (first copies only), as an [`unpadded`] shard. `room` is the memory still allowed.
    pub(super) fn media(
        &mut self,
        number: u64,
        shard: Vec<u8>,
        now: Instant,
        codes: &mut Codes,
        grace: Duration,
        room: usize,
    ) -> Findings {
        if !self.keep(number, shard, now, room) {
            return Findings::default();
        }
        self.settle(Some(number), now, codes, grace)
    }

    fn keep(&mut self, number: u64, shard: Vec<u8>, now: Instant, room: usize) -> bool {
        let quiet_since = self.last_repair.unwrap_or(self.start);
        let patience = if self.active() { FEC_FORGET_PACKETS } else { FEC_LEARN_PACKETS };
        if number > quiet_since + patience + self.span() {
            self.forget();
        }
        if !self.keeping || number < self.start || room < shard.len() {
            return false;
        }
        self.reserve(0);
        self.bytes += shard.len();
        let index = self.index(number);
        if let Some(old) = self.sources[index].replace(Source { number, shard, arrived: now }) {
            self.bytes -= old.shard.len();
        }
        true
    }

    /// The session has no FEC (any more): frees what was kept for it.
    fn forget(&mut self) {
        self.sources = Vec::new();
        self.blocks.clear();
        self.bytes = 0;
        self.last_repair = None;
        self.keeping = false;
    }

    /// A repair packet for the block that begins at `first`.
    pub(super) fn repair(
        &mut self,
        first: u64,
        repair: &Repair<'_>,
        now: Instant,
        codes: &mut Codes,
        grace: Duration,
        room: usize,
    ) -> Findings {
        let (k, m, stride) = (repair.k(), repair.m(), repair.stride());
        let span = (k as u64 - 1) * stride + 1;
        if span > FEC_SPAN_MAX || repair.shard().len() > DATAGRAM_BYTES_MAX || room < repair.shard().len() {
            return Findings { nonsense: 1, ..Findings::default() };
        }
        self.keeping = true;
        self.last_repair = Some(self.last_repair.unwrap_or(0).max(first + span - 1));
        if first + span <= self.start {
            return Findings::default();
        }
        self.reserve(span);
        let place = self.blocks.iter().position(|b| {
            b.first == first
                && b.k == k
                && b.m == m
                && b.stride == stride
                && b.shard_len == repair.shard().len()
        });
        let place = place.unwrap_or_else(|| self.open(first, repair, now));
        let block = &mut self.blocks[place];
        let slot = &mut block.repairs[repair.index()];
        if slot.is_none() {
            *slot = Some(repair.shard().to_vec());
            block.have += 1;
            self.bytes += repair.shard().len();
        }
        self.settle(None, now, codes, grace)
    }

    fn open(&mut self, first: u64, repair: &Repair<'_>, now: Instant) -> usize {
        if self.blocks.len() >= FEC_BLOCKS_MAX {
            self.close(0);
        }
        let mut block = Block {
            first,
            k: repair.k(),
            m: repair.m(),
            stride: repair.stride(),
            shard_len: repair.shard().len(),
            repairs: Vec::new(),
            have: 0,
            decided: None,
            opened: now,
        };
        block.repairs.resize_with(block.m, || None);
        block.opened = block.numbers().filter_map(|n| self.source(n)).map(|s| s.arrived).min().unwrap_or(now);
        self.blocks.push_back(block);
        self.blocks.len() - 1
    }

    fn close(&mut self, place: usize) {
        if let Some(block) = self.blocks.remove(place) {
            self.bytes -= block.repairs.iter().flatten().map(Vec::len).sum::<usize>();
        }
    }

    /// When [`Recover::poll`] has something to do.
    pub(super) fn deadline(&self, grace: Duration) -> Option<Instant> {
        self.blocks.iter().filter_map(|b| b.decided).min().map(|decided| decided + grace)
    }

    /// Rebuilds or gives up what is overdue: `grace` after the block was decided, since a packet that was
    /// only reordered may still come.
    pub(super) fn poll(&mut self, now: Instant, codes: &mut Codes, grace: Duration) -> Findings {
        self.settle(None, now, codes, grace)
    }

    /// Looks at all blocks, or at those that hold `number`.
    fn settle(&mut self, number: Option<u64>, now: Instant, codes: &mut Codes, grace: Duration) -> Findings {
        let mut findings = Findings::default();
        let mut place = 0;
        while place < self.blocks.len() {
            let concerned = number.is_none_or(|n| self.blocks[place].contains(n));
            if concerned && self.settle_block(place, now, codes, grace, &mut findings) {
                self.close(place);
            } else {
                place += 1;
            }
        }
        findings
    }

    /// Whether the block is finished.
    fn settle_block(
        &mut self,
        place: usize,
        now: Instant,
        codes: &mut Codes,
        grace: Duration,
        findings: &mut Findings,
    ) -> bool {
        let block = &self.blocks[place];
        let missing: Vec<u64> = block.numbers().filter(|n| self.source(*n).is_none()).collect();
        let complete = block.have == block.m;
        if complete {
            findings.span = findings.span.max(Some(now.saturating_duration_since(block.opened)));
        }
        if missing.is_empty() {
            // Kept until all its repair packets have come: a later one must not open the block anew.
            return complete || self.outlived(block);
        }
        if missing.len() > block.have && !complete && !self.outlived(block) {
            return false;
        }
        let decided = *self.blocks[place].decided.get_or_insert(now);
        if now < decided + grace {
            return false;
        }
        let block = &self.blocks[place];
        if missing.len() > block.have {
            findings.hopeless.extend(missing.iter().filter(|n| **n >= self.start));
        } else {
            self.rebuild(place, &missing, now, codes, findings);
        }
        true
    }

    /// Whether repair packets of a later block of the same lane have come: this one's will not.
    fn outlived(&self, block: &Block) -> bool {
        self.blocks.iter().any(|b| b.first + 1 >= block.end() + block.stride)
    }

    fn rebuild(
        &mut self,
        place: usize,
        missing: &[u64],
        now: Instant,
        codes: &mut Codes,
        findings: &mut Findings,
    ) {
        let block = &mut self.blocks[place];
        let repairs = mem::take(&mut block.repairs);
        let (k, m, shard_len) = (block.k, block.m, block.shard_len);
        let numbers: Vec<u64> = block.numbers().collect();
        self.bytes -= repairs.iter().flatten().map(Vec::len).sum::<usize>();
        let padded = |source: &Source| {
            let mut shard = source.shard.clone();
            shard.resize(shard_len, 0);
            shard
        };
        let fits = numbers.iter().filter_map(|n| self.source(*n)).all(|s| s.shard.len() <= shard_len);
        let mut shards: Vec<Option<Vec<u8>>> = numbers.iter().map(|n| self.source(*n).map(padded)).collect();
        shards.extend(repairs);
        if !fits || codes.rebuild(k, m, &mut shards).is_err() {
            findings.nonsense += 1;
            return;
        }
        for (number, shard) in numbers.iter().zip(shards).filter(|(n, _)| missing.contains(n)) {
            let rebuilt = shard.as_deref().map(SourceShard::parse);
            let Some(Ok(source)) = rebuilt else {
                findings.nonsense += 1;
                continue;
            };
            findings.rebuilt.push(Rebuilt {
                number: *number,
                flags: source.flags,
                timestamp: source.timestamp,
                payload: source.payload.to_vec(),
            });
            self.keep(*number, unpadded(source), now, usize::MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[allow(clippy::disallowed_methods)]
    fn t0() -> Instant {
        Instant::now()
    }

    /// Source packets by number and the repair payloads of one block.
    fn block(
        first: u64,
        k: usize,
        m: usize,
        stride: u8,
        sizes: &[usize],
    ) -> (BTreeMap<u64, Rebuilt>, Vec<Vec<u8>>) {
        let packets: BTreeMap<u64, Rebuilt> = (0..k)
            .map(|i| {
                let number = first + i as u64 * u64::from(stride);
                let payload = (0..sizes[i]).map(|b| (b * 7 + i * 13) as u8).collect();
                (number, Rebuilt { number, flags: 0, timestamp: 1_000_000 + i as u64, payload })
            })
            .collect();
        let len = SourceShard::HEADER + sizes[..k].iter().max().unwrap();
        let data: Vec<Vec<u8>> = packets
            .values()
            .map(|p| {
                let mut shard = Vec::new();
                shard_of(p).emit(len, &mut shard);
                shard
            })
            .collect();
        let mut parity = vec![vec![0; len]; m];
        let data: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
        Codes::new().encode(k, m, &data, &mut parity).unwrap();
        let payloads = parity.iter().enumerate().map(|(index, shard)| {
            let mut out = Vec::new();
            crate::wire::native::RepairRepr { k: k as u8, m: m as u8, index: index as u8, stride, shard }
                .emit(&mut out);
            out
        });
        (packets, payloads.collect())
    }

    fn shard_of(p: &Rebuilt) -> SourceShard<'_> {
        SourceShard { flags: p.flags, timestamp: p.timestamp, payload: &p.payload }
    }

    proptest! {
        /// Any m lost of k + m come back byte for byte; one more and the block is hopeless.
        #[test]
        fn rebuilds_or_says_it_cannot(
            k in 1usize..20, m in 1usize..6, stride in 1u8..5,
            sizes in prop::collection::vec(0usize..300, 20), order in any::<u64>(), extra in any::<bool>(),
        ) {
            let now = t0();
            let (packets, repairs) = block(100, k, m, stride, &sizes);
            let mut lost: Vec<usize> = (0..k + m).collect();
            let mut state = order;
            for i in (1..lost.len()).rev() {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                lost.swap(i, (state >> 33) as usize % (i + 1));
            }
            lost.truncate(m + usize::from(extra));
            let mut recover = Recover::new(100);
            let mut codes = Codes::new();
            let mut found = Findings::default();
            let mut take = |f: Findings| {
                found.rebuilt.extend(f.rebuilt);
                found.hopeless.extend(f.hopeless);
                prop_assert_eq!(f.nonsense, 0);
                Ok(())
            };
            for (i, p) in packets.values().enumerate() {
                if !lost.contains(&i) {
                    take(recover.media(p.number, unpadded(shard_of(p)), now, &mut codes, Duration::ZERO, usize::MAX))?;
                }
            }
            for (i, payload) in repairs.iter().enumerate() {
                if !lost.contains(&(k + i)) {
                    let repair = Repair::parse(payload).unwrap();
                    take(recover.repair(100, &repair, now, &mut codes, Duration::ZERO, usize::MAX))?;
                }
            }
            // A later block's repair packet shows that no more will come of this one.
            let (_, later) = block(100_000, 1, 1, stride, &[5]);
            let later = Repair::parse(&later[0]).unwrap();
            take(recover.repair(100_000, &later, now, &mut codes, Duration::ZERO, usize::MAX))?;

            let missing: Vec<u64> = packets.values().enumerate().filter(|(i, _)| lost.contains(i)).map(|(_, p)| p.number).collect();
            let here = |n: &u64| *n < 100_000;
            found.rebuilt.sort_by_key(|r| r.number);
            found.rebuilt.retain(|r| here(&r.number));
            if missing.len() + lost.iter().filter(|i| **i >= k).count() <= m {
                prop_assert_eq!(found.rebuilt.iter().map(|r| r.number).collect::<Vec<_>>(), missing);
                for r in &found.rebuilt {
                    prop_assert_eq!(r, &packets[&r.number]);
                }
            } else if lost.iter().any(|i| *i < k) && lost.iter().filter(|i| **i >= k).count() < m {
                prop_assert!(found.rebuilt.is_empty());
                found.hopeless.retain(here);
                prop_assert_eq!(found.hopeless, missing);
            }
        }
    }

    #[test]
    fn waits_for_a_reordered_original_before_rebuilding() {
        let now = t0();
        let grace = Duration::from_millis(10);
        let (packets, repairs) = block(0, 3, 1, 1, &[4, 4, 4]);
        let mut recover = Recover::new(0);
        let mut codes = Codes::new();
        for n in [0, 2] {
            recover.media(n, unpadded(shard_of(&packets[&n])), now, &mut codes, grace, usize::MAX);
        }
        let repair = Repair::parse(&repairs[0]).unwrap();
        assert!(recover.repair(0, &repair, now, &mut codes, grace, usize::MAX).rebuilt.is_empty());
        assert_eq!(recover.deadline(grace), Some(now + grace));
        let found = recover.poll(now + grace, &mut codes, grace);
        assert_eq!(
            found.rebuilt,
            [Rebuilt { number: 1, flags: 0, timestamp: 1_000_001, payload: packets[&1].payload.clone() }]
        );
        assert_eq!(recover.deadline(grace), None);
    }

    #[test]
    fn sessions_without_repair_packets_keep_nothing() {
        let now = t0();
        let mut recover = Recover::new(0);
        let mut codes = Codes::new();
        let source = SourceShard { flags: 0, timestamp: 0, payload: b"reading" };
        for n in 0..=FEC_LEARN_PACKETS + 1 {
            recover.media(n, unpadded(source), now, &mut codes, Duration::ZERO, usize::MAX);
        }
        assert_eq!(recover.bytes(), 0);
        recover.media(5000, unpadded(source), now, &mut codes, Duration::ZERO, usize::MAX);
        assert_eq!(recover.bytes(), 0);
    }
}
