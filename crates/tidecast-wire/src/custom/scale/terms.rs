//! Numbers that restart at 0 in each term of a stream (Aeron). A term is completely filled, and
//! its length is a power of two, so the last numbers of a term reveal it.

use crate::limits::{SCALE_START, TERM_NUMBERS_MIN};

/// Position of a stream.
#[derive(Debug, Default)]
pub(super) struct Terms {
    term: Option<u32>,
    /// Number of the first frame in the term.
    base: u64,
    /// The two highest ends of datagrams in this term. A single one may be forged.
    ends: [u64; 2],
    /// Length of a term, once the end of one was seen.
    length: Option<u64>,
    /// A distant term.
    other: Option<u32>,
}

impl Terms {
    /// Number of a datagram. `None` if its term is before the first one.
    pub(super) fn place(&mut self, term: u32, offset: u64, step: u64) -> Option<u64> {
        let Some(current) = self.term else {
            (self.term, self.base) = (Some(term), SCALE_START);
            self.note(offset + step);
            return Some(self.base + offset);
        };
        let ahead = i64::from(term.wrapping_sub(current) as i32);
        match ahead {
            0 => {
                self.other = None;
                self.note(offset + step);
                return Some(self.base + offset);
            }
            1 => {
                self.move_on(1);
                self.term = Some(term);
                self.note(offset + step);
                return Some(self.base + offset);
            }
            _ => {}
        }
        let length = if ahead > 0 { self.length_now() } else { self.length? };
        let base = self.base.checked_add_signed(ahead.checked_mul(length as i64)?)?;
        if ahead > 1 {
            // A second datagram confirms that terms were missed.
            if self.other == Some(term) {
                self.move_on(ahead as u64);
                self.term = Some(term);
                self.note(offset + step);
            } else {
                self.other = Some(term);
            }
        }
        Some(base + offset)
    }

    fn note(&mut self, end: u64) {
        let [first, second] = &mut self.ends;
        if end > *first {
            (*first, *second) = (end, *first);
        } else if end < *first {
            *second = end.max(*second);
        }
    }

    /// Minimum length of a term, judging by the current one.
    fn length_now(&self) -> u64 {
        let end = if self.ends[1] > 0 { self.ends[1] } else { self.ends[0] };
        end.next_power_of_two().max(self.length.unwrap_or(TERM_NUMBERS_MIN))
    }

    fn move_on(&mut self, terms: u64) {
        let length = self.length_now();
        (self.length, self.ends, self.other) = (Some(length), [0; 2], None);
        self.base = self.base.saturating_add(length.saturating_mul(terms));
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    #[test]
    fn terms_follow_each_other() {
        for length in [2048_u64, 1 << 16, 1 << 21] {
            for begin in [0, length - 3 * 45, length / 2] {
                let mut terms = Terms::default();
                let mut next = None;
                let mut offset = begin;
                let mut term = u32::MAX - 1;
                for _ in 0..4 {
                    while offset < length {
                        // the last frame of a term fills it
                        let step = if length - offset < 90 { length - offset } else { 45 };
                        let number = terms.place(term, offset, step).unwrap();
                        assert_eq!(number, *next.get_or_insert(number), "{length} {begin}");
                        next = Some(number + step);
                        offset += step;
                    }
                    (term, offset) = (term.wrapping_add(1), 0);
                }
            }
        }
    }

    #[test]
    fn a_lost_end_and_forged_frames_move_nothing() {
        let mut terms = Terms::default();
        for offset in (0..3600).step_by(45) {
            terms.place(7, offset, 45);
        }
        // the rest of 4,096 is lost, and forged frames come far behind it and in another term
        terms.place(7, 1 << 26, 45);
        assert_eq!(terms.place(9000, 0, 45), Some(SCALE_START + 4096 * 8993));
        assert_eq!(terms.place(8, 0, 45), Some(SCALE_START + 4096));
        assert_eq!(terms.place(7, 4000, 45), Some(SCALE_START + 4000));
        assert_eq!(terms.place(6, 4000, 45), Some(SCALE_START - 96));
        assert_eq!(terms.place(8, 45, 45), Some(SCALE_START + 4096 + 45));
    }

    proptest! {
        #[test]
        fn anything_is_placed_without_a_panic(frames in vec((any::<u32>(), 0u64..1 << 27, 0u64..1 << 27), 0..100), near in any::<bool>()) {
            let mut terms = Terms::default();
            for (term, offset, step) in frames {
                terms.place(if near { term % 5 } else { term }, offset, step);
            }
        }
    }
}
