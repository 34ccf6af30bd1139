//! Source blocks on the sending side: groups packets that are protected together, and makes the
//! repair packets for them.
//!
//! Pure. Numbered packets come from the [`crate::encode::Encoder`], and repair packets go back to
//! it. With stride s, s blocks are filled in turn: block j of them protects the numbers
//! `first + i*s`, so that a burst of losses hits each block only in part. Their repair packets are
//! interleaved as well and sent once the last block is full: sent block by block, a burst of
//! losses would hit one block alone.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tidecast_wire::fec::{native::Fec, rs::Codes};
use tidecast_wire::native::{RepairRepr, SourceShard};

/// A block that is being filled.
#[derive(Debug, Default)]
struct Block {
    first: u64,
    /// Arrival of its first packet; `None` while it is empty.
    opened: Option<Instant>,
    /// Source shards, not yet padded. Only the first `filled` belong to this block; the others are
    /// kept for their memory.
    sources: Vec<Vec<u8>>,
    filled: usize,
    /// Repair shards of a closed block, until those of the other blocks are made.
    parity: Vec<Vec<u8>>,
    closed: bool,
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

    /// Pads the sources to the length of the longest.
    fn pad(&mut self) {
        let sources = &mut self.sources[..self.filled];
        let longest = sources.iter().map(Vec::len).max().unwrap_or(0);
        sources.iter_mut().for_each(|s| s.resize(longest, 0));
    }

    /// Computes the repair shards.
    fn close(&mut self, m: u8, codes: &Mutex<Codes>) {
        self.pad();
        self.parity.resize_with(m.into(), Vec::new);
        let sources: Vec<&[u8]> = self.sources[..self.filled].iter().map(Vec::as_slice).collect();
        let mut codes = codes.lock().unwrap_or_else(PoisonError::into_inner);
        codes
            .encode(self.filled, m.into(), &sources, &mut self.parity)
            .expect("the shape was checked, and all shards are of one length");
        self.closed = true;
    }
}

/// The blocks that are being filled, one for each step of the stride.
#[derive(Debug)]
pub(crate) struct Blocks {
    fec: Fec,
    codes: Arc<Mutex<Codes>>,
    blocks: Vec<Block>,
    /// Packets added since all blocks were empty.
    taken: usize,
}

impl Blocks {
    pub(crate) fn new(fec: Fec, codes: Arc<Mutex<Codes>>) -> Blocks {
        let blocks = (0..fec.stride()).map(|_| Block::default()).collect();
        Blocks { fec, codes, blocks, taken: 0 }
    }

    /// Adds the packet with the next number. If it fills the last block, passes the repair packets
    /// of all blocks to `repair`, each with its block's first number.
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
        if self.blocks[turn].filled == usize::from(self.fec.k()) {
            self.blocks[turn].close(self.fec.m(), &self.codes);
        }
        if self.taken == usize::from(self.fec.k()) * self.blocks.len() {
            self.hand_out(repair);
        }
    }

    /// Arrival of the packet that has waited longest for its block to fill.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.blocks.iter().filter_map(|b| b.opened).min()
    }

    /// Whether the oldest packet has waited for this long.
    pub(crate) fn waited(&self, now: Instant, wait: Duration) -> bool {
        self.oldest().is_some_and(|oldest| now.saturating_duration_since(oldest) >= wait)
    }

    /// Closes all blocks that hold packets, full or not.
    pub(crate) fn close_all(&mut self, repair: impl FnMut(u64, &RepairRepr<'_>)) {
        for block in self.blocks.iter_mut().filter(|block| block.filled > 0 && !block.closed) {
            block.close(self.fec.m(), &self.codes);
        }
        self.hand_out(repair);
    }

    /// Passes on the repair packets of all blocks with packets, interleaved, and empties the
    /// blocks.
    fn hand_out(&mut self, mut repair: impl FnMut(u64, &RepairRepr<'_>)) {
        let (m, stride) = (self.fec.m(), self.fec.stride());
        for index in 0..m {
            for block in self.blocks.iter().filter(|block| block.closed) {
                let (k, shard) = (block.filled as u8, block.parity[usize::from(index)].as_slice());
                repair(block.first, &RepairRepr { k, m, index, stride, shard });
            }
        }
        for block in &mut self.blocks {
            (block.filled, block.opened, block.closed) = (0, None, false);
        }
        self.taken = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The repair packets that a count of payloads causes before the blocks are closed, and on
    /// closing, as (first, index).
    fn order(fec: Fec, payloads: u64) -> [Vec<(u64, u8)>; 2] {
        let mut blocks = Blocks::new(fec, Arc::default());
        let (mut filled, mut closed) = (Vec::new(), Vec::new());
        for number in 0..payloads {
            let source = SourceShard { flags: 0, timestamp: 1, payload: b"x" };
            let now = crate::clock::now();
            blocks.push(now, number, &source, |first, repair| filled.push((first, repair.index)));
            assert_eq!(blocks.oldest().is_none(), (number + 1) % u64::from(fec.k() * fec.stride()) == 0);
        }
        blocks.close_all(|first, repair| closed.push((first, repair.index)));
        assert!(blocks.oldest().is_none());
        [filled, closed]
    }

    #[test]
    fn repair_packets_of_interleaved_blocks_go_out_in_turn() {
        let fec = |k, m, stride| Fec::new(k, m, stride).expect("a good shape");
        let all = vec![(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1)];
        assert_eq!(order(fec(2, 2, 3), 6), [all.clone(), vec![]]);
        // Two blocks are full; the third is closed with one packet.
        assert_eq!(order(fec(2, 2, 3), 5), [vec![], all.clone()]);
        assert_eq!(order(fec(2, 2, 3), 2), [vec![], vec![(0, 0), (1, 0), (0, 1), (1, 1)]]);
        assert_eq!(order(fec(1, 2, 3), 4), [all, vec![(3, 0), (3, 1)]]);
        assert_eq!(order(fec(2, 2, 1), 3), [vec![(0, 0), (0, 1)], vec![(2, 0), (2, 1)]]);
    }
}
