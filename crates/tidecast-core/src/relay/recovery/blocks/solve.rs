//! Recovers the missing packets of a source block even if one of its packets is forged. The result
//! is checked with a spare repair packet if there is one, and must look like packets of this
//! stream. If it does not, each packet is left out in turn: the one without which all others agree
//! is forged.

use super::{Block, Source};
use crate::limits::{FEC_FIT_SOURCES, FEC_FIT_SPANS, FEC_FIT_TIME};
use tidecast_wire::{fec::rs::Codes, native::SourceShard};

/// A block and the source packets kept for it.
pub(super) struct Puzzle<'a> {
    block: &'a Block,
    /// Indexed by place in the block.
    sources: Vec<Option<&'a Source>>,
    missing: Vec<usize>,
    /// Places with two differing contents.
    disputed: Vec<usize>,
}

/// One hypothesis about which packets are genuine.
#[derive(Debug, Clone, Copy, Default)]
struct Idea {
    /// For disputed sources, the second content is genuine.
    others: bool,
    /// This source is forged.
    source: Option<usize>,
    /// This repair shard is forged; a differing content of it may be genuine.
    repair: Option<(usize, Option<usize>)>,
}

/// Result of a hypothesis: the missing shards, and whether a spare repair packet confirms them.
type Solved = (Vec<Vec<u8>>, bool);

impl<'a> Puzzle<'a> {
    pub(super) fn new(block: &'a Block, source: impl Fn(u64) -> Option<&'a Source>) -> Puzzle<'a> {
        let sources: Vec<_> = block.numbers().map(source).collect();
        let places = |wanted: &dyn Fn(&Option<&Source>) -> bool| {
            sources.iter().enumerate().filter(|(_, source)| wanted(source)).map(|(at, _)| at).collect()
        };
        let missing = places(&|source| source.is_none());
        let disputed = places(&|source| source.is_some_and(|source| source.rival.is_some()));
        Puzzle { block, sources, missing, disputed }
    }

    /// The numbers that are missing.
    pub(super) fn missing(&self) -> Vec<u64> {
        self.missing.iter().map(|at| self.block.number(*at)).collect()
    }

    /// The missing shards, if exactly one result is consistent. Deducts the computation from
    /// `credit`.
    pub(super) fn solve(&self, codes: &mut Codes, credit: &mut u64) -> Option<Vec<Vec<u8>>> {
        let plain = Idea::default();
        if !self.disputed.is_empty() && !self.can_erase_disputed() {
            return self.only([plain, Idea { others: true, ..plain }].into_iter(), codes, credit);
        }
        let rivals = &self.block.rivals;
        if let Some((shards, confirmed)) = self.attempt(&plain, codes, credit)
            && (confirmed || rivals.is_empty())
        {
            return Some(shards);
        }
        let rivals = rivals.iter().enumerate().map(|(rival, (at, _))| (*at, Some(rival)));
        let repairs = (0..self.block.m).filter(|at| self.block.repairs[*at].is_some()).map(|at| (at, None));
        let repairs = rivals.chain(repairs).map(|repair| Idea { repair: Some(repair), ..plain });
        let sources = (0..self.block.k).filter(|at| self.sources[*at].is_some());
        let sources = sources.map(|at| Idea { source: Some(at), ..plain });
        self.only([plain].into_iter().chain(repairs).chain(sources), codes, credit)
    }

    fn can_erase_disputed(&self) -> bool {
        self.missing.len() + self.disputed.len() <= self.block.have
    }

    /// The common result of all hypotheses that work out, if they agree; if a spare repair packet
    /// confirms some of them, only those count.
    fn only(
        &self,
        ideas: impl Iterator<Item = Idea>,
        codes: &mut Codes,
        credit: &mut u64,
    ) -> Option<Vec<Vec<u8>>> {
        let solved: Vec<Solved> = ideas.filter_map(|idea| self.attempt(&idea, codes, credit)).collect();
        let confirmed = solved.iter().any(|(_, confirmed)| *confirmed);
        let mut best = solved.into_iter().filter(|(_, this)| *this == confirmed).map(|(shards, _)| shards);
        let first = best.next()?;
        best.all(|other| other == first).then_some(first)
    }

    fn attempt(&self, idea: &Idea, codes: &mut Codes, credit: &mut u64) -> Option<Solved> {
        let Block { k, m, shard_len, .. } = *self.block;
        let mut data: Vec<Option<&[u8]>> = self.sources.iter().map(|s| s.map(|s| &s.shard[..])).collect();
        for at in &self.disputed {
            data[*at] = match self.sources[*at].and_then(|source| source.rival.as_deref()) {
                _ if self.can_erase_disputed() => None,
                Some(other) if idea.others => Some(other),
                _ => data[*at],
            };
        }
        if let Some(forged) = idea.source {
            data[forged] = None;
        }
        let mut repairs: Vec<Option<&[u8]>> = self.block.repairs.iter().map(Option::as_deref).collect();
        if let Some((at, other)) = idea.repair {
            repairs[at] = other.map(|other| &self.block.rivals[other].1[..]);
        }
        let spare =
            repairs.iter().flatten().count().checked_sub(data.iter().filter(|d| d.is_none()).count())?;
        // A known shard that is computed as well: if the result differs, something is forged.
        let check = (spare > 0).then(|| data.iter().position(Option::is_some)).flatten();
        let known = check.and_then(|at| data[at].take());
        let erased: Vec<usize> = (0..k).filter(|at| data[*at].is_none()).collect();
        *credit = credit.checked_sub(Codes::work(k, m, erased.len(), shard_len))?;
        let shards = codes.missing(k, m, &data, &repairs).ok()?;
        let (mut wanted, mut others) = (Vec::with_capacity(self.missing.len()), Vec::new());
        for (at, shard) in erased.into_iter().zip(shards) {
            if Some(at) == check {
                known.filter(|known| same(known, &shard))?;
            } else if self.sources[at].is_none() {
                wanted.push(shard);
            } else {
                others.push(shard);
            }
        }
        let fits = self.fits(&data, &wanted) && self.fits(&data, &others);
        fits.then_some((wanted, check.is_some()))
    }

    /// Whether these shards may be packets of the same stream as the known ones.
    fn fits(&self, known: &[Option<&[u8]>], shards: &[Vec<u8>]) -> bool {
        let known: Vec<SourceShard<'_>> =
            known.iter().flatten().filter_map(|shard| SourceShard::parse(shard).ok()).collect();
        let stamps = || known.iter().map(|source| source.timestamp);
        let ascend = stamps().is_sorted() && known.len() >= FEC_FIT_SOURCES;
        let around = stamps().min().zip(stamps().max()).filter(|(first, _)| ascend && *first > 0);
        let timely = |stamp: u64| {
            around.is_none_or(|(first, last)| {
                let spans = (last - first).saturating_mul(FEC_FIT_SPANS).max(FEC_FIT_TIME.as_micros() as u64);
                (first.saturating_sub(spans)..=last.saturating_add(spans)).contains(&stamp)
            })
        };
        shards.iter().all(|shard| {
            SourceShard::parse(shard).is_ok_and(|source| {
                timely(source.timestamp)
                    && (known.is_empty() || known.iter().any(|known| known.flags == source.flags))
            })
        })
    }
}

/// Whether `shard` equals `known` apart from zero padding.
fn same(known: &[u8], shard: &[u8]) -> bool {
    shard.starts_with(known) && shard[known.len()..].iter().all(|byte| *byte == 0)
}
