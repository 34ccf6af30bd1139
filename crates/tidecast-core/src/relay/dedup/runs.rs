//! The history where packets take several numbers: one entry for each packet, and for each gap.

use std::{collections::VecDeque, ops::Range};

/// Numbers of one fate.
#[derive(Debug)]
struct Run {
    end: u64,
    mark: u32,
}

/// What became of the numbers below the head: runs without a hole between them, the head's last.
#[derive(Debug)]
pub(super) struct Runs {
    runs: VecDeque<Run>,
    /// Where the first run begins.
    start: u64,
    /// What is below is not known.
    known_from: u64,
    /// Packets of the usual step that are remembered.
    packets: usize,
    /// The numbers that they take.
    reach: u64,
}

impl Runs {
    /// A history whose head is `next`: it remembers so many packets, of which each takes `step`
    /// numbers.
    pub(super) fn new(packets: usize, step: u64, next: u64) -> Runs {
        Runs { runs: VecDeque::new(), start: next, known_from: next, packets, reach: packets as u64 * step }
    }

    /// What comes first begins at `start`.
    pub(super) fn begin(&mut self, start: u64) {
        (self.start, self.known_from) = (start, start);
    }

    /// Packets that are remembered.
    pub(super) fn packets(&self) -> usize {
        self.packets
    }

    /// Remembers so many packets of `step` numbers from now on. What was forgotten stays so.
    pub(super) fn fit(&mut self, packets: usize, step: u64, next: u64) {
        self.known_from = self.known_from.max(next.saturating_sub(self.reach));
        (self.packets, self.reach) = (packets, packets as u64 * step);
    }

    /// The next numbers, in the order of the head.
    pub(super) fn push(&mut self, numbers: Range<u64>, mark: u32, merges: bool) {
        if numbers.is_empty() {
            return;
        }
        match self.runs.back_mut() {
            Some(last) if merges && last.mark == mark => last.end = numbers.end,
            _ => self.runs.push_back(Run { end: numbers.end, mark }),
        }
        // Of packets that take fewer numbers than usual there are no more entries for that.
        let entries = self.packets + 2;
        while let Some(first) = self.runs.front()
            && (first.end + self.reach < numbers.end || self.runs.len() > entries)
        {
            self.start = first.end;
            self.runs.pop_front();
        }
    }

    /// The mark of a number below the head, `next`.
    pub(super) fn mark(&self, number: u64, next: u64) -> Option<u32> {
        if number < self.known_from.max(self.start) || number + self.reach < next {
            return None;
        }
        let place = self.runs.partition_point(|run| run.end <= number);
        self.runs.get(place).map(|run| run.mark)
    }
}
