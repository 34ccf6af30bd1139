//! The largest of what was measured lately: rises at once, and falls when two whole windows have not needed it.

use std::time::{Duration, Instant};

use crate::limits::HOLD_FALL_WINDOW;

/// A largest duration within one to two windows of [`HOLD_FALL_WINDOW`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Peak {
    /// In this window, and in the one before.
    largest: [Duration; 2],
    rotate_at: Instant,
}

impl Peak {
    pub(super) fn new(now: Instant) -> Peak {
        Peak { largest: [Duration::ZERO; 2], rotate_at: now + HOLD_FALL_WINDOW }
    }

    /// Takes a measurement in.
    #[inline]
    pub(super) fn saw(&mut self, value: Duration, now: Instant) {
        if now >= self.rotate_at {
            self.rotate(now);
        }
        self.largest[0] = self.largest[0].max(value);
    }

    fn rotate(&mut self, now: Instant) {
        let before = if now < self.rotate_at + HOLD_FALL_WINDOW { self.largest[0] } else { Duration::ZERO };
        *self = Peak { largest: [Duration::ZERO, before], rotate_at: now + HOLD_FALL_WINDOW };
    }

    /// The largest.
    pub(super) fn get(&self) -> Duration {
        self.largest[0].max(self.largest[1])
    }
}
