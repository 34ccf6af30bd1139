//! A source block with missing packets, and the packets kept for such blocks.

use std::time::Instant;

use tidecast_wire::native::Repair;

/// A block, its repair packets, and the count of its source packets that came.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) first: u64,
    pub(super) k: usize,
    pub(super) m: usize,
    pub(super) stride: u64,
    pub(super) shard_len: usize,
    pub(super) repairs: Vec<Option<Vec<u8>>>,
    /// Differing contents of repair shards, with their index.
    pub(super) rivals: Vec<(usize, Vec<u8>)>,
    /// If the block could not be solved: how many shards and differing contents it had then.
    pub(super) senseless: Option<usize>,
    /// Count of source packets that came with two contents.
    pub(super) disputes: usize,
    /// Count of repair shards that came.
    pub(super) have: usize,
    /// Count of source packets that came.
    pub(super) present: usize,
    /// When enough had come to recover, or all repair packets without being enough.
    pub(super) decided: Option<Instant>,
}

impl Block {
    pub(super) fn new(first: u64, repair: &Repair<'_>) -> Block {
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

    pub(super) fn fits(&self, first: u64, repair: &Repair<'_>) -> bool {
        (self.first, self.k, self.m, self.stride, self.shard_len)
            == (first, repair.k(), repair.m(), repair.stride(), repair.shard().len())
    }

    pub(super) fn numbers(&self) -> impl Iterator<Item = u64> + use<> {
        numbers(self.first, self.k, self.stride)
    }

    pub(super) fn number(&self, place: usize) -> u64 {
        self.first + place as u64 * self.stride
    }

    pub(super) fn end(&self) -> u64 {
        self.first + span(self.k, self.stride)
    }

    pub(super) fn shape(&self) -> (usize, usize, u64) {
        (self.k, self.m, self.stride)
    }

    /// Grows with everything that may help to solve the block.
    pub(super) fn came(&self) -> usize {
        self.present + self.have + self.rivals.len() + self.disputes
    }

    pub(super) fn contains(&self, number: u64) -> bool {
        number >= self.first && number < self.end() && (number - self.first).is_multiple_of(self.stride)
    }

    /// Whether a repair packet of a block that starts at `later` shows that no more repair packets
    /// of this one will come: blocks of one lane follow each other.
    pub(super) fn outlived(&self, later: u64) -> bool {
        later + 1 >= self.end() + self.stride
    }
}

pub(super) fn numbers(first: u64, k: usize, stride: u64) -> impl Iterator<Item = u64> + use<> {
    (0..k as u64).map(move |i| first + i * stride)
}

/// Count of numbers from a block's first to its last, inclusive.
pub(super) fn span(k: usize, stride: u64) -> u64 {
    (k as u64 - 1) * stride + 1
}

/// A kept source packet: the shard without its zero padding, and its arrival.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) number: u64,
    pub(super) shard: Vec<u8>,
    pub(super) arrived: Instant,
    /// Differing content of the same number: one of the two is forged.
    pub(super) rival: Option<Vec<u8>>,
    pub(super) rebuilt: bool,
}

impl Source {
    pub(super) fn bytes(&self) -> usize {
        self.shard.len() + self.rival.as_ref().map_or(0, Vec::len)
    }
}
