//! History for packets that take several numbers: one entry for each packet, and for each gap.

use std::{collections::VecDeque, ops::Range};

/// Consecutive numbers with the same mark.
#[derive(Debug)]
struct Run {
    end: u64,
    mark: u32,
}

/// Marks of the numbers below the head: adjacent runs, the last one ends at the head.
#[derive(Debug)]
pub(super) struct Runs {
    runs: VecDeque<Run>,
    /// Start of the first run.
    start: u64,
    /// Lower numbers are unknown.
    known_from: u64,
    /// Capacity in packets of the usual step.
    packets: usize,
    /// Capacity in numbers.
    reach: u64,
}

impl Runs {
    /// A history with the head at `next` and room for `packets` packets of `step` numbers each.
    pub(super) fn new(packets: usize, step: u64, next: u64) -> Runs {
        Runs { runs: VecDeque::new(), start: next, known_from: next, packets, reach: packets as u64 * step }
    }

    /// Sets the start of the first run.
    pub(super) fn begin(&mut self, start: u64) {
        (self.start, self.known_from) = (start, start);
    }

    /// Capacity in packets.
    pub(super) fn packets(&self) -> usize {
        self.packets
    }

    /// Changes the capacity to `packets` packets of `step` numbers. Forgotten numbers stay
    /// unknown.
    pub(super) fn fit(&mut self, packets: usize, step: u64, next: u64) {
        self.known_from = self.known_from.max(next.saturating_sub(self.reach));
        (self.packets, self.reach) = (packets, packets as u64 * step);
    }

    /// Appends the numbers that the head has passed.
    pub(super) fn push(&mut self, numbers: Range<u64>, mark: u32, merges: bool) {
        if numbers.is_empty() {
            return;
        }
        match self.runs.back_mut() {
            Some(last) if merges && last.mark == mark => last.end = numbers.end,
            _ => self.runs.push_back(Run { end: numbers.end, mark }),
        }
        // If packets take fewer numbers than usual, the number of entries is the limit.
        let entries = self.packets + 2;
        while let Some(first) = self.runs.front()
            && (first.end + self.reach < numbers.end || self.runs.len() > entries)
        {
            self.start = first.end;
            self.runs.pop_front();
        }
    }

    /// The mark of a number below the head `next`.
    pub(super) fn mark(&self, number: u64, next: u64) -> Option<u32> {
        if number < self.known_from.max(self.start) || number + self.reach < next {
            return None;
        }
        let place = self.runs.partition_point(|run| run.end <= number);
        self.runs.get(place).map(|run| run.mark)
    }
}
