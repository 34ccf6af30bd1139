//! The losses of a flow: their number, lengths and distances, which determine the FEC that is
//! needed.

use std::collections::{BTreeMap, VecDeque};

use crate::limits::PROBE_LOSSES_MAX;

/// Lengths up to this are counted individually, longer ones by powers of two.
const EXACT_MAX: u64 = 64;

/// Losses in the order of their sequence numbers.
#[derive(Debug, Clone, Default)]
pub(super) struct Losses {
    lost: u64,
    runs: u64,
    longest: u64,
    histogram: BTreeMap<u64, u64>,
    /// The most recent losses: for each, the received packets before it, and its length.
    recent: VecDeque<(u64, u64)>,
}

impl Losses {
    /// Adds one loss of `lost` consecutive numbers after `came` received ones.
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

    /// Adds the losses of another flow.
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

    /// Returns the number of lost packets.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    /// Returns the number of losses, regardless of their lengths.
    pub(super) fn runs(&self) -> u64 {
        self.runs
    }

    /// Returns the length of the longest loss.
    pub(super) fn longest(&self) -> u64 {
        self.longest
    }

    /// Returns the lengths and how often each occurred; above 64 by powers of two.
    pub(super) fn histogram(&self) -> Vec<(u64, u64)> {
        self.histogram.iter().map(|(length, count)| (*length, *count)).collect()
    }

    /// Returns, for each of the most recent losses, the received packets before it, and its
    /// length.
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
