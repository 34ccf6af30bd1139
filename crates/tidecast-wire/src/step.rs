//! Measures how many numbers the datagrams of a stream take. Bounds in packets are multiplied by
//! it to become distances between numbers.

use crate::limits::STEP_PACKETS;

/// Measure of one stream, kept by its owner: the second largest count among the latest datagrams.
/// It covers streams with varying datagrams, and a single datagram does not change it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    step: u64,
    /// The two largest counts of the current period, and of the previous one.
    largest: [[u64; 2]; 2],
    /// Datagrams until the end of the current period.
    left: u32,
}

impl Default for Step {
    fn default() -> Step {
        Step { step: 1, largest: [[0; 2]; 2], left: STEP_PACKETS }
    }
}

impl Step {
    /// Numbers that a datagram takes; 1 before the first one.
    #[inline]
    pub fn get(&self) -> u64 {
        self.step
    }

    /// Notes a datagram that takes `span` numbers, at least one. `true` if the measure has
    /// changed.
    #[inline]
    pub fn saw(&mut self, span: u64) -> bool {
        let plain = span == 1 && self.step == 1 && self.largest[0][0] > 0;
        !plain && self.note(span)
    }

    fn note(&mut self, span: u64) -> bool {
        let before = self.step;
        if self.largest == [[0; 2]; 2] {
            // The first datagram is the only evidence.
            self.largest[0] = [span; 2];
        } else if self.left == 0 {
            self.largest = [[0; 2], self.largest[0]];
            self.left = STEP_PACKETS;
        }
        self.left -= 1;
        let [first, second] = &mut self.largest[0];
        if span > *first {
            (*first, *second) = (span, *first);
        } else {
            *second = span.max(*second);
        }
        let [[a, b], [c, d]] = self.largest;
        self.step = a.min(c).max(b).max(d).max(1);
        self.step != before
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn after(spans: impl IntoIterator<Item = u64>) -> Step {
        let mut step = Step::default();
        spans.into_iter().for_each(|span| _ = step.saw(span));
        step
    }

    #[test]
    fn a_constant_count_is_known_from_the_first_datagram_on() {
        for span in [1, 2, 20, 100, 65_507] {
            for count in [1, 2, 255, 256, 257, 1000] {
                assert_eq!(after(vec![span; count]).get(), span, "after {count}");
            }
        }
    }

    #[test]
    fn one_large_count_moves_nothing_and_two_do() {
        let mut step = after([1; 10]);
        assert!(!step.saw(60_000));
        assert_eq!(step.get(), 1);
        assert!(step.saw(100));
        assert_eq!(step.get(), 100);
    }

    #[test]
    fn large_counts_are_forgotten() {
        let packets = STEP_PACKETS as usize;
        let mut step = after([1, 80, 80]);
        (0..packets).for_each(|_| _ = step.saw(2));
        assert_eq!(step.get(), 80);
        (0..packets).for_each(|_| _ = step.saw(2));
        assert_eq!(step.get(), 2);
    }

    proptest! {
        /// At least the second largest of the latest 256 is covered.
        #[test]
        fn most_of_the_latest_are_covered(spans in prop::collection::vec(1_u64..200, 2..900)) {
            let step = after(spans.iter().copied());
            let latest = &spans[spans.len().saturating_sub(STEP_PACKETS as usize)..];
            let larger = latest.iter().filter(|span| **span > step.get()).count();
            prop_assert!(larger <= 1, "{} of {} above {}", larger, latest.len(), step.get());
        }
    }
}
