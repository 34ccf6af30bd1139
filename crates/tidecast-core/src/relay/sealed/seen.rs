//! Which numbers of a session have come: all below the highest one, except for the gaps. That has
//! no window in which a number must come, and costs nothing where nothing is lost.

use std::{collections::VecDeque, ops::Range, time::Instant};

use crate::limits::{REPEAT_AGE, SEALED_GAPS_MAX, SEALED_START_NUMBERS};

/// When a number came before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// It is new.
    Never,
    /// A moment ago: a network that duplicates packets does that.
    Lately,
    /// Longer ago, or so long that it is no longer known.
    Before,
}

/// The numbers of one session that a leg has carried.
#[derive(Debug)]
pub(super) struct Seen {
    next: u64,
    /// Numbers below `next` that have not come, ascending.
    gaps: VecDeque<Range<u64>>,
    /// Numbers from here on may have come a moment ago.
    lately: u64,
    /// Value of `next` at `marked`.
    mark: u64,
    marked: Option<Instant>,
}

impl Seen {
    /// Numbers just below the first one may have been overtaken by it.
    pub(super) fn new(first: u64) -> Seen {
        let gap = first.saturating_sub(SEALED_START_NUMBERS)..first;
        let gaps = if gap.is_empty() { VecDeque::new() } else { VecDeque::from([gap]) };
        Seen { next: first, gaps, lately: first, mark: first, marked: None }
    }

    /// The number after the highest one.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Notes a number that has come now.
    #[inline]
    pub(super) fn take(&mut self, number: u64, now: Instant) -> When {
        self.tick(now);
        if number == self.next {
            self.next = number.saturating_add(1);
            return When::Never;
        }
        if number > self.next {
            self.open(self.next..number);
            self.next = number.saturating_add(1);
            return When::Never;
        }
        if self.fill(number) {
            return When::Never;
        }
        if number >= self.lately { When::Lately } else { When::Before }
    }

    /// After [`REPEAT_AGE`] the numbers that had come are no longer new.
    fn tick(&mut self, now: Instant) {
        let Some(marked) = self.marked else {
            self.marked = Some(now);
            return;
        };
        let age = now.saturating_duration_since(marked);
        if age >= REPEAT_AGE {
            self.lately = if age < 2 * REPEAT_AGE { self.mark } else { self.next };
            (self.mark, self.marked) = (self.next, Some(now));
        }
    }

    fn open(&mut self, gap: Range<u64>) {
        if self.gaps.len() >= SEALED_GAPS_MAX {
            self.gaps.pop_front();
        }
        self.gaps.push_back(gap);
    }

    /// Takes a number out of its gap, if it is in one.
    #[cold]
    fn fill(&mut self, number: u64) -> bool {
        let place = self.gaps.partition_point(|gap| gap.end <= number);
        let Some(gap) = self.gaps.get_mut(place).filter(|gap| gap.contains(&number)) else { return false };
        let rest = number + 1..gap.end;
        gap.end = number;
        let before = !gap.is_empty();
        match (before, rest.is_empty()) {
            (true, true) => {}
            (false, true) => {
                self.gaps.remove(place);
            }
            (false, false) => *gap = rest,
            (true, false) => {
                self.gaps.insert(place + 1, rest);
                if self.gaps.len() > SEALED_GAPS_MAX {
                    self.gaps.pop_front();
                }
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, time::Duration};

    use proptest::prelude::*;

    use super::*;
    use crate::clock;

    proptest! {
        #[test]
        fn a_number_is_new_once(numbers in prop::collection::vec(0u64..400, 1..600), first in 0u64..SEALED_START_NUMBERS) {
            let now = clock::now();
            let (mut seen, mut model) = (Seen::new(first), BTreeSet::new());
            for number in std::iter::once(first).chain(numbers) {
                let expected = if model.insert(number) { When::Never } else { When::Lately };
                let found = seen.take(number, now);
                prop_assert_eq!(found == When::Never, expected == When::Never, "number {}", number);
            }
        }
    }

    #[test]
    fn a_copy_is_recent_for_a_while() {
        let now = clock::now();
        let mut seen = Seen::new(100);
        assert_eq!(seen.take(100, now), When::Never);
        assert_eq!(seen.take(100, now + REPEAT_AGE / 2), When::Lately);
        assert_eq!(seen.take(101, now + REPEAT_AGE), When::Never);
        assert_eq!(seen.take(101, now + REPEAT_AGE), When::Lately);
        assert_eq!(seen.take(101, now + REPEAT_AGE + Duration::from_secs(60)), When::Before);
        assert_eq!(seen.take(99, now), When::Never, "overtaken by the first");
    }

    #[test]
    fn the_oldest_gaps_are_given_up() {
        let now = clock::now();
        let mut seen = Seen::new(0);
        for number in (0..4 * SEALED_GAPS_MAX as u64).step_by(2) {
            seen.take(number, now);
        }
        assert_eq!(seen.gaps.len(), SEALED_GAPS_MAX);
        assert_eq!(seen.take(1, now + 2 * REPEAT_AGE), When::Before);
        assert_eq!(seen.take(4 * SEALED_GAPS_MAX as u64 - 3, now), When::Never);
    }
}
