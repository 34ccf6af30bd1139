//! The largest of what was measured lately, and more than once: one measurement may be forged.
//! Rises at once, and falls when two whole windows have not needed it.

use std::time::{Duration, Instant};

use crate::limits::HOLD_FALL_WINDOW;

/// The largest duration that was measured, or exceeded, twice: in this window or the one before.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Repeated {
    /// The two largest of this window, and of the one before.
    largest: [[Duration; 2]; 2],
}

impl Repeated {
    /// Takes a measurement in. `true`: it may have changed what [`Repeated::get`] gives.
    #[inline]
    pub(super) fn saw(&mut self, value: Duration) -> bool {
        let [first, second] = &mut self.largest[0];
        if value <= *second {
            return false;
        }
        (*first, *second) = (value.max(*first), value.min(*first));
        true
    }

    /// The window is over.
    pub(super) fn rotate(&mut self) {
        self.largest = [[Duration::ZERO; 2], self.largest[0]];
    }

    /// The second largest of both windows.
    pub(super) fn get(&self) -> Duration {
        let [[first, second], [before, before_second]] = self.largest;
        first.min(before).max(second).max(before_second)
    }
}

/// A [`Repeated`] of windows of [`HOLD_FALL_WINDOW`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Peak {
    largest: Repeated,
    rotate_at: Instant,
}

impl Peak {
    pub(super) fn new(now: Instant) -> Peak {
        Peak { largest: Repeated::default(), rotate_at: now + HOLD_FALL_WINDOW }
    }

    /// Takes a measurement in.
    #[inline]
    pub(super) fn saw(&mut self, value: Duration, now: Instant) {
        if now >= self.rotate_at {
            self.rotate(now);
        }
        self.largest.saw(value);
    }

    fn rotate(&mut self, now: Instant) {
        let before = if now < self.rotate_at + HOLD_FALL_WINDOW { self.largest } else { Repeated::default() };
        *self = Peak { largest: before, rotate_at: now + HOLD_FALL_WINDOW };
        self.largest.rotate();
    }

    /// The largest.
    pub(super) fn get(&self) -> Duration {
        self.largest.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn one_measurement_counts_for_nothing() {
        let mut seen = Repeated::default();
        assert!(seen.saw(90 * MS) && seen.get().is_zero());
        assert!(seen.saw(20 * MS) && seen.get() == 20 * MS);
        assert!(seen.saw(30 * MS) && seen.get() == 30 * MS);
        assert!(!seen.saw(30 * MS) && seen.get() == 30 * MS);
        seen.rotate();
        assert_eq!(seen.get(), 30 * MS);
        assert!(seen.saw(80 * MS) && seen.get() == 80 * MS, "one in each window");
        seen.rotate();
        assert_eq!(seen.get(), Duration::ZERO, "one alone");
    }
}
