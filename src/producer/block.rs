//! Source blocks on the sending side: which packets are protected together, and the repair packets for them.
//!
//! Pure. Numbered packets come from the [`crate::producer::encode::Encoder`]; repair packets go back to it. With
//! stride s, s blocks fill in turn: block j of them protects the numbers `first + i*s`, so that a burst of lost
//! packets takes from each only a part.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::fec::rs::Codes;
use crate::wire::native::{RepairRepr, SourceShard};

/// The shape of native FEC: how many repair packets protect how many media packets, and how they interleave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fec {
    k: u8,
    m: u8,
    stride: u8,
}

/// A shape that the code does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FecError {
    /// Out of range.
    #[error("FEC {k},{m},{stride}: expected K, M and STRIDE of at least 1, and K + M of at most 255")]
    Shape {
        /// Media packets of a block.
        k: u64,
        /// Repair packets of a block.
        m: u64,
        /// Blocks that interleave.
        stride: u64,
    },
}

impl Fec {
    /// `m` repair packets for each `k` media packets, `stride` blocks interleaved (1: none).
    ///
    /// # Errors
    /// [`FecError::Shape`] when one is 0, the stride exceeds 255, or `k + m` exceeds 255.
    pub fn new(k: u64, m: u64, stride: u64) -> Result<Fec, FecError> {
        let shape = FecError::Shape { k, m, stride };
        let byte = |n: u64| u8::try_from(n).ok().filter(|n| *n > 0);
        match (byte(k), byte(m), byte(stride)) {
            (Some(k), Some(m), Some(stride)) if k.checked_add(m).is_some() => Ok(Fec { k, m, stride }),
            _ => Err(shape),
        }
    }

    /// Media packets of a full block.
    pub fn k(&self) -> u8 {
        self.k
    }

    /// Repair packets of a block.
    pub fn m(&self) -> u8 {
        self.m
    }

    /// Blocks that interleave.
    pub fn stride(&self) -> u8 {
        self.stride
    }
}

/// A block that fills.
#[derive(Debug, Default)]
struct Block {
    first: u64,
    /// When its first packet came; `None` while it is empty.
    opened: Option<Instant>,
    /// Source shards, not yet padded; only the first `filled` belong to this block, the others lend their memory.
    sources: Vec<Vec<u8>>,
    filled: usize,
}

impl Block {
    fn take(&mut self, now: Instant, number: u64, source: &SourceShard<'_>) {
        if self.opened.is_none() {
            (self.first, self.opened) = (number, Some(now));
        }
        if self.filled == self.sources.len() {
            self.sources.push(Vec::new());
        }
        let shard = &mut self.sources[self.filled];
        shard.clear();
        source.emit(source.len(), shard);
        self.filled += 1;
    }

    /// Pads the sources to the longest of them.
    fn pad(&mut self) {
        let sources = &mut self.sources[..self.filled];
        let longest = sources.iter().map(Vec::len).max().unwrap_or(0);
        sources.iter_mut().for_each(|s| s.resize(longest, 0));
    }
}

/// The blocks that fill at present, one for each step of the stride.
#[derive(Debug)]
pub(crate) struct Blocks {
    fec: Fec,
    codes: Arc<Mutex<Codes>>,
    blocks: Vec<Block>,
    /// Packets taken since all blocks were empty.
    taken: usize,
    parity: Vec<Vec<u8>>,
}

impl Blocks {
    pub(crate) fn new(fec: Fec, codes: Arc<Mutex<Codes>>) -> Blocks {
        let blocks = (0..fec.stride).map(|_| Block::default()).collect();
        let parity = vec![Vec::new(); usize::from(fec.m)];
        Blocks { fec, codes, blocks, taken: 0, parity }
    }

    /// Takes the packet of the next number; hands out the repair packets of the block that it fills, if any,
    /// each with the block's first number.
    pub(crate) fn push(
        &mut self,
        now: Instant,
        number: u64,
        source: &SourceShard<'_>,
        repair: impl FnMut(u64, &RepairRepr<'_>),
    ) {
        let turn = self.taken % self.blocks.len();
        self.blocks[turn].take(now, number, source);
        self.taken += 1;
        if self.blocks[turn].filled == usize::from(self.fec.k) {
            self.close(turn, repair);
        }
        if self.taken == usize::from(self.fec.k) * self.blocks.len() {
            self.taken = 0;
        }
    }

    /// When the packet came that has waited longest for its block to fill.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.blocks.iter().filter_map(|b| b.opened).min()
    }

    /// Whether the oldest packet has waited for this long.
    pub(crate) fn waited(&self, now: Instant, wait: Duration) -> bool {
        self.oldest().is_some_and(|oldest| now.saturating_duration_since(oldest) >= wait)
    }

    /// Closes all blocks that hold packets, full or not.
    pub(crate) fn close_all(&mut self, mut repair: impl FnMut(u64, &RepairRepr<'_>)) {
        for turn in 0..self.blocks.len() {
            if self.blocks[turn].filled > 0 {
                self.close(turn, &mut repair);
            }
        }
        self.taken = 0;
    }

    fn close(&mut self, turn: usize, mut repair: impl FnMut(u64, &RepairRepr<'_>)) {
        let Fec { m, stride, .. } = self.fec;
        let block = &mut self.blocks[turn];
        block.pad();
        let k = block.filled;
        let sources: Vec<&[u8]> = block.sources[..k].iter().map(Vec::as_slice).collect();
        let mut codes = self.codes.lock().unwrap_or_else(PoisonError::into_inner);
        codes
            .encode(k, usize::from(m), &sources, &mut self.parity)
            .expect("the shape was checked, and all shards are of one length");
        drop(codes);
        for (index, shard) in (0..m).zip(&self.parity) {
            repair(block.first, &RepairRepr { k: k as u8, m, index, stride, shard });
        }
        block.filled = 0;
        block.opened = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_shapes_that_the_code_has_are_accepted() {
        for (k, m, stride) in [(1, 1, 1), (10, 2, 1), (251, 4, 1), (20, 4, 255)] {
            let fec = Fec::new(k, m, stride).expect("a good shape");
            assert_eq!((fec.k().into(), fec.m().into(), fec.stride().into()), (k, m, stride));
        }
        for (k, m, stride) in [(0, 2, 1), (10, 0, 1), (252, 4, 1), (300, 1, 1), (10, 2, 0), (10, 2, 256)] {
            let error = Fec::new(k, m, stride).expect_err("no such shape");
            assert_eq!(error, FecError::Shape { k, m, stride });
            assert!(error.to_string().starts_with(&format!("FEC {k},{m},{stride}: expected")), "{error}");
        }
    }
}
