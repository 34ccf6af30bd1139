//! The losses of a flow: how many, how long each was, and how far apart they were, which is what
//! FEC must cope with.

use std::collections::{BTreeMap, VecDeque};

use crate::limits::PROBE_LOSSES_MAX;

/// Lengths up to this are counted one by one, longer ones by powers of two.
const EXACT_MAX: u64 = 64;

/// Losses in the order of their numbers.
#[derive(Debug, Clone, Default)]
pub(super) struct Losses {
    lost: u64,
    runs: u64,
    longest: u64,
    histogram: BTreeMap<u64, u64>,
    /// Of the newest ones: numbers that came before it, and its length.
    recent: VecDeque<(u64, u64)>,
}

impl Losses {
    /// One loss of so many numbers in a row, behind so many that came.
    pub(super) fn add(&mut self, came: u64, lost: u64) {
        self.lost += lost;
        self.runs += 1;
        self.longest = self.longest.max(lost);
        let length = if lost <= EXACT_MAX { lost } else { 1 << lost.ilog2() };
        *self.histogram.entry(length).or_default() += 1;
        if self.recent.len() == PROBE_LOSSES_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back((came, lost));
    }

    /// The losses of another flow.
    pub(super) fn merge(&mut self, other: &Losses) {
        self.lost += other.lost;
        self.runs += other.runs;
        self.longest = self.longest.max(other.longest);
        for (length, count) in &other.histogram {
            *self.histogram.entry(*length).or_default() += count;
        }
        let room = PROBE_LOSSES_MAX.saturating_sub(self.recent.len());
        self.recent.extend(other.recent.iter().take(room));
    }

    /// Numbers lost.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    /// Losses, however long each.
    pub(super) fn runs(&self) -> u64 {
        self.runs
    }

    /// Numbers of the longest.
    pub(super) fn longest(&self) -> u64 {
        self.longest
    }

    /// Lengths and how often each occurred; above 64 by powers of two.
    pub(super) fn histogram(&self) -> Vec<(u64, u64)> {
        self.histogram.iter().map(|(length, count)| (*length, *count)).collect()
    }

    /// Numbers that came before, and length, of the newest ones.
    pub(super) fn recent(&self) -> impl Iterator<Item = (u64, u64)> {
        self.recent.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_add_up_within_bounds() {
        let (mut one, mut other) = (Losses::default(), Losses::default());
        for length in [1, 1, 3, 64, 65, 127, 1000] {
            one.add(10, length);
        }
        (0..5000).for_each(|_| other.add(1, 2));
        one.merge(&other);
        assert_eq!((one.lost(), one.runs(), one.longest()), (1261 + 10_000, 5007, 1000));
        assert_eq!(one.histogram(), [(1, 2), (2, 5000), (3, 1), (64, 3), (512, 1)]);
        assert_eq!(one.recent().count(), PROBE_LOSSES_MAX);
    }
}
