//! History of the numbers just below the head: delivered (with a fingerprint of the content) or
//! given up.
//!
//! A number that comes again with the same content is a duplicate. The same number with other
//! content means that the producer has restarted its numbering. This distinguishes a restart a few
//! hundred numbers back from a network that duplicates packets.

use std::ops::Range;

mod runs;

use runs::Runs;

/// What the history knows about a number below the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// Before the start of the session, or too long ago.
    Unknown,
    /// Given up.
    Lost,
    /// Delivered with the same content.
    Same,
    /// Delivered with other content.
    Different,
}

const UNKNOWN: u32 = 0;
const LOST: u32 = 1;
/// Set in every fingerprint, so that none equals the two marks above.
const DELIVERED: u32 = 2;

/// Marks of the last numbers below the head, as many as its capacity.
#[derive(Debug)]
pub(super) struct NumberHistory {
    marks: Box<[u32]>,
    /// First number of the session.
    since: u64,
    /// Replaces the marks once packets take several numbers.
    runs: Option<Box<Runs>>,
}

impl NumberHistory {
    /// A history of `capacity` numbers (a power of two) that begins at `since`.
    pub(super) fn new(capacity: usize, since: u64) -> NumberHistory {
        debug_assert!(capacity.is_power_of_two());
        NumberHistory { marks: vec![UNKNOWN; capacity].into_boxed_slice(), since, runs: None }
    }

    /// From now on keeps one entry per packet, because each takes `step` numbers. The capacity in
    /// packets equals the previous one in numbers.
    pub(super) fn set_step(&mut self, step: u64, next: u64) {
        match &mut self.runs {
            Some(runs) => runs.fit(runs.packets(), step, next),
            None => {
                let mut runs = Runs::new(self.marks.len(), step, next);
                let from = self.since.max(next.saturating_sub(self.marks.len() as u64));
                runs.begin(from);
                for number in from..next {
                    runs.push(number..number + 1, self.marks[self.index(number)], false);
                }
                (self.runs, self.marks) = (Some(Box::new(runs)), Box::default());
            }
        }
    }

    fn index(&self, number: u64) -> usize {
        number as usize & (self.marks.len() - 1)
    }

    /// Notes a delivered packet that takes these numbers.
    pub(super) fn delivered(&mut self, numbers: Range<u64>, fingerprint: u32) {
        self.mark(numbers, fingerprint | DELIVERED);
    }

    /// Notes a delivered packet of one number, as long as all packets take one.
    #[inline]
    pub(super) fn delivered_one(&mut self, number: u64, fingerprint: u32) {
        let index = self.index(number);
        self.marks[index] = fingerprint | DELIVERED;
    }

    pub(super) fn lost(&mut self, numbers: Range<u64>) {
        self.mark(numbers, LOST);
    }

    #[inline]
    fn mark(&mut self, numbers: Range<u64>, mark: u32) {
        if let Some(runs) = &mut self.runs {
            return runs.push(numbers, mark, mark == LOST);
        }
        let from = numbers.start.max(numbers.end.saturating_sub(self.marks.len() as u64));
        for number in from..numbers.end {
            let index = self.index(number);
            self.marks[index] = mark;
        }
    }

    /// Looks up `number`, which must be below the head `next`.
    pub(super) fn look(&self, number: u64, next: u64, fingerprint: u32) -> Seen {
        let mark = match &self.runs {
            Some(runs) => runs.mark(number, next).unwrap_or(UNKNOWN),
            None if number < self.since || number + (self.marks.len() as u64) < next => UNKNOWN,
            None => self.marks[self.index(number)],
        };
        match mark {
            UNKNOWN => Seen::Unknown,
            LOST => Seen::Lost,
            mark if mark == fingerprint | DELIVERED => Seen::Same,
            _ => Seen::Different,
        }
    }

    /// Raises the capacity to `capacity` numbers, or packets of `step` numbers (a power of two).
    pub(super) fn grow(&mut self, capacity: usize, step: u64, next: u64) {
        if capacity <= self.capacity() {
            return;
        }
        if let Some(runs) = &mut self.runs {
            return runs.fit(capacity, step, next);
        }
        let mut larger = NumberHistory::new(capacity, self.since);
        for number in self.since.max(next.saturating_sub(self.marks.len() as u64))..next {
            let index = larger.index(number);
            larger.marks[index] = self.marks[self.index(number)];
        }
        // Numbers that the smaller history had forgotten stay unknown.
        *self = larger;
    }

    /// Capacity in numbers, or in packets if they take several numbers.
    #[inline]
    pub(super) fn capacity(&self) -> usize {
        self.runs.as_ref().map_or(self.marks.len(), |runs| runs.packets())
    }
}

/// A short fingerprint of a packet's content: length, timestamp, and both ends of the payload.
/// Excludes header fields that a retransmission changes.
#[inline]
pub(super) fn fingerprint(payload: &[u8], timestamp: u64) -> u32 {
    const ODD: u64 = 0x9E37_79B9_7F4A_7C15;
    let (first, last) = match (payload.first_chunk(), payload.last_chunk()) {
        (Some(first), Some(last)) => (u64::from_le_bytes(*first), u64::from_le_bytes(*last)),
        _ => (short(payload), short(payload)),
    };
    let mut hash = timestamp.wrapping_mul(ODD) ^ payload.len() as u64;
    hash = (hash.rotate_left(23) ^ first).wrapping_mul(ODD);
    hash = (hash.rotate_left(23) ^ last).wrapping_mul(ODD);
    (hash >> 32) as u32
}

/// Packs fewer than eight bytes into a number.
fn short(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn agrees_with_a_map(steps in prop::collection::vec((1u64..40, any::<bool>()), 1..200), start in 0u64..1000) {
            let mut history = NumberHistory::new(64, start);
            let mut model = HashMap::new();
            let mut next = start;
            for (count, lost) in steps {
                if lost {
                    history.lost(next..next + count);
                    for n in next..next + count { model.insert(n, None); }
                    next += count;
                } else {
                    history.delivered(next..next + 1, next as u32 * 4);
                    model.insert(next, Some(next as u32 * 4));
                    next += 1;
                }
                if history.capacity() == 64 && next > start + 300 {
                    history.grow(256, 1, next);
                }
                for number in next.saturating_sub(64)..next {
                    let want = match model.get(&number) {
                        None => Seen::Unknown,
                        Some(None) => Seen::Lost,
                        Some(Some(_)) => Seen::Same,
                    };
                    prop_assert_eq!(history.look(number, next, number as u32 * 4), want, "number {}", number);
                    if want == Seen::Same {
                        prop_assert_eq!(history.look(number, next, number as u32 * 4 + 64), Seen::Different);
                    }
                }
            }
        }
    }

    #[test]
    fn fingerprints_tell_content_apart() {
        let a = fingerprint(b"temperature 21.4", 1);
        assert_eq!(a, fingerprint(b"temperature 21.4", 1));
        assert_ne!(a | DELIVERED, fingerprint(b"temperature 21.5", 1) | DELIVERED);
        assert_ne!(a | DELIVERED, fingerprint(b"temperature 21.4", 2) | DELIVERED);
        fingerprint(b"", 0);
        fingerprint(b"abc", 0);
    }
}
