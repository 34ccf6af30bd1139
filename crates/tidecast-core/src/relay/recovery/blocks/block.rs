//! A source block that misses packets, and the packets that are kept for such blocks.

use std::time::Instant;

use tidecast_wire::native::Repair;

/// A block, its repair packets, and how many of its packets came.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) first: u64,
    pub(super) k: usize,
    pub(super) m: usize,
    pub(super) stride: u64,
    pub(super) shard_len: usize,
    pub(super) repairs: Vec<Option<Vec<u8>>>,
    /// Other contents that came of some of them.
    pub(super) rivals: Vec<(usize, Vec<u8>)>,
    /// What had come when it made no sense: shards, and contents of sources that contradict each
    /// other.
    pub(super) senseless: Option<usize>,
    /// Contents that contradict another one of the same source.
    pub(super) disputes: usize,
    /// Repair shards that came.
    pub(super) have: usize,
    /// Source packets that came.
    pub(super) present: usize,
    /// When enough had come to rebuild, or all repair packets and yet not enough.
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

    /// Grows with all that may make more sense of it.
    pub(super) fn came(&self) -> usize {
        self.present + self.have + self.rivals.len() + self.disputes
    }

    pub(super) fn contains(&self, number: u64) -> bool {
        number >= self.first && number < self.end() && (number - self.first).is_multiple_of(self.stride)
    }

    /// Whether a repair packet of a block that begins at `later` shows that no more will come of
    /// this one: blocks of one lane follow each other.
    pub(super) fn outlived(&self, later: u64) -> bool {
        later + 1 >= self.end() + self.stride
    }
}

pub(super) fn numbers(first: u64, k: usize, stride: u64) -> impl Iterator<Item = u64> + use<> {
    (0..k as u64).map(move |i| first + i * stride)
}

/// Numbers from a block's first to its last, both included.
pub(super) fn span(k: usize, stride: u64) -> u64 {
    (k as u64 - 1) * stride + 1
}

/// A kept source packet: the shard without its zero padding, and when it came.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) number: u64,
    pub(super) shard: Vec<u8>,
    pub(super) arrived: Instant,
    /// Another content that came for the same number: one of the two is forged.
    pub(super) rival: Option<Vec<u8>>,
    pub(super) rebuilt: bool,
}

impl Source {
    pub(super) fn bytes(&self) -> usize {
        self.shard.len() + self.rival.as_ref().map_or(0, Vec::len)
    }
}
