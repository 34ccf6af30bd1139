//! How long ago numbers came, and how long a flow pauses: both coarsely, so that no packet pays for it. A number that
//! comes again is told from a restart by its age.

use std::time::{Duration, Instant};

use super::Flow;
use crate::{
    limits::{AGE_MARKS, GAP_FALL, HOLD_START, REPEAT_AGE, SILENCE_MAX, START_GRACE},
    relay::reorder::Reorder,
};

/// All numbers below had passed at that time.
#[derive(Debug, Clone, Copy)]
struct Mark {
    below: u64,
    at: Instant,
}

/// Where the head was, now and then; the oldest first.
#[derive(Debug, Default)]
pub(super) struct Ages([Option<Mark>; AGE_MARKS]);

impl Ages {
    /// The head stands at `below`.
    fn mark(&mut self, below: u64, at: Instant, apart: Duration) {
        let known = self.0.iter().flatten().count();
        if known > 0 && self.0[known - 1].is_some_and(|last| at < last.at + apart) {
            return;
        }
        let mark = Some(Mark { below, at });
        if known < AGE_MARKS {
            self.0[known] = mark;
        } else {
            self.0.rotate_left(1);
            self.0[AGE_MARKS - 1] = mark;
        }
    }

    /// When `number` had passed, at the latest.
    fn passed(&self, number: u64) -> Option<Instant> {
        self.0.iter().flatten().find(|mark| number < mark.below).map(|mark| mark.at)
    }

    /// A numbering begins.
    pub(super) fn restart(&mut self) {
        *self = Ages::default();
    }
}

impl Flow {
    /// The pause before a packet is one of the flow's, and not one that a restart or another flow explains.
    #[cold]
    pub(super) fn learn_pause(&mut self, pause: Duration) {
        self.gap = self.gap.max(pause.min(SILENCE_MAX));
    }

    /// Whether this flow begins to send again: after a pause that it does not make while it sends.
    #[inline]
    pub(in crate::relay) fn resumes(&self) -> bool {
        self.pause.is_some_and(|pause| self.format.is_stream() && pause >= (2 * self.gap).max(START_GRACE))
    }

    /// How long after a later packet of somebody else the next packet of this flow would have come, if it went on.
    pub(in crate::relay) fn next_due(&self) -> Duration {
        let due = self.stragglers() + 2 * self.gap;
        let unknown = self.rate.get().is_none();
        let least = if unknown { self.hold.get().min(HOLD_START) } else { Duration::ZERO };
        due.max(least).clamp(START_GRACE, SILENCE_MAX)
    }

    /// How long after the first packet of a successor one of this flow may still come: it was overtaken, or a leg's path is
    /// longer.
    pub(in crate::relay) fn stragglers(&self) -> Duration {
        self.hold.reordering().max(START_GRACE / 2)
    }

    /// The rate was measured: a moment has passed.
    #[cold]
    pub(super) fn measured(&mut self, now: Instant) {
        self.gap -= self.gap / GAP_FALL;
        let apart = self.repeat_age() / 4;
        if let Some(reorder) = &self.reorder {
            self.ages.mark(reorder.next(), now, apart);
        }
    }

    /// How long ago a number below the head came, at least.
    pub(super) fn age(&self, number: u64, now: Instant) -> Duration {
        let below_head = self.reorder.as_ref().map_or(0, Reorder::next) > number;
        let passed = self.ages.passed(number).or(self.alive.filter(|_| below_head));
        passed.map_or(Duration::ZERO, |passed| now.saturating_duration_since(passed))
    }

    /// A network that delivers twice, and the longer path of a leg, bring a number again within this time.
    pub(super) fn repeat_age(&self) -> Duration {
        let longest = if self.legs.is_some() { self.hold.max() } else { self.hold.get() };
        longest.max(REPEAT_AGE)
    }
}
