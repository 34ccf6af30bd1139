//! Recent maximum that was reached more than once, because a single measurement may be forged. It
//! rises at once, and falls when two whole windows have not needed it.

use std::time::{Duration, Instant};

use crate::limits::HOLD_FALL_WINDOW;

/// The second largest of the recent durations, in this window and the previous one.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Repeated {
    /// The two largest of this window, and of the previous one.
    largest: [[Duration; 2]; 2],
}

impl Repeated {
    /// Adds a measurement. `true` if it may have changed the result of [`Repeated::get`].
    #[inline]
    pub(super) fn saw(&mut self, value: Duration) -> bool {
        let [first, second] = &mut self.largest[0];
        if value <= *second {
            return false;
        }
        (*first, *second) = (value.max(*first), value.min(*first));
        true
    }

    /// Starts the next window.
    pub(super) fn rotate(&mut self) {
        self.largest = [[Duration::ZERO; 2], self.largest[0]];
    }

    /// The second largest of both windows.
    pub(super) fn get(&self) -> Duration {
        let [[first, second], [before, before_second]] = self.largest;
        first.min(before).max(second).max(before_second)
    }
}

/// A [`Repeated`] with windows of [`HOLD_FALL_WINDOW`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Peak {
    largest: Repeated,
    rotate_at: Instant,
}

impl Peak {
    pub(super) fn new(now: Instant) -> Peak {
        Peak { largest: Repeated::default(), rotate_at: now + HOLD_FALL_WINDOW }
    }

    /// Adds a measurement.
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

    /// The current maximum.
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
