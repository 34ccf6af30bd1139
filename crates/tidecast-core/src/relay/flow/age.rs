//! How long ago numbers came, and how long a flow pauses: both coarsely, so that no packet pays for it. A number that
//! comes again is told from a restart by its age.

use std::{
    mem,
    time::{Duration, Instant},
};

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

/// Where the head was, now and then: a ring, since a flow with few packets makes a mark for each of them.
#[derive(Debug, Default)]
pub(super) struct Ages([Option<Mark>; AGE_MARKS]);

/// Where the next mark goes, and not before when on the flow's time scale: it stands with what every packet touches.
#[derive(Debug, Default)]
pub(super) struct Marking {
    due: u64,
    place: usize,
}

impl Ages {
    /// When `number` had passed, at the latest.
    fn passed(&self, number: u64, next: &Marking) -> Option<Instant> {
        let (newer, older) = self.0.split_at(next.place);
        older.iter().chain(newer).flatten().find(|mark| number < mark.below).map(|mark| mark.at)
    }
}

impl Flow {
    /// The pause before a packet is one of the flow's, and not one that a restart or another flow explains.
    #[inline(always)]
    pub(super) fn learn_pause(&mut self) {
        if self.pause > 0 {
            let pause = mem::take(&mut self.pause);
            self.learn(pause);
        }
    }

    #[cold]
    pub(super) fn learn(&mut self, pause: u64) {
        self.gap = self.gap.max(pause.min(SILENCE_MAX.as_nanos() as u64));
    }

    /// The longest pause between two packets lately.
    fn gap(&self) -> Duration {
        Duration::from_nanos(self.gap)
    }

    /// Whether this flow begins to send again: after a pause that it does not make while it sends.
    #[inline(always)]
    pub(in crate::relay) fn resumes(&self) -> bool {
        self.pause > 0
            && self.format.is_stream()
            && Duration::from_nanos(self.pause) >= (2 * self.gap()).max(START_GRACE)
    }

    /// How long after a later packet of somebody else the next packet of this flow would have come, if it went on.
    pub(in crate::relay) fn next_due(&self) -> Duration {
        let due = self.stragglers() + 2 * self.gap();
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
        self.gap -= self.gap / u64::from(GAP_FALL);
        let at = self.nanos_at(now);
        if let Some(reorder) = &self.reorder
            && at >= self.marking.due
        {
            let place = self.marking.place;
            self.ages.0[place] = Some(Mark { below: reorder.next(), at: now });
            let due = at + (self.repeat_age() / 4).as_nanos() as u64;
            self.marking = Marking { due, place: (place + 1) % AGE_MARKS };
        }
    }

    /// A numbering begins.
    pub(super) fn restart_ages(&mut self) {
        (self.ages, self.marking) = (Ages::default(), Marking::default());
    }

    /// How long ago a number below the head came, at least.
    pub(super) fn age(&self, number: u64, now: Instant) -> Duration {
        let below_head = self.reorder.as_ref().map_or(0, Reorder::next) > number;
        let passed = self.ages.passed(number, &self.marking).or(self.alive.filter(|_| below_head));
        passed.map_or(Duration::ZERO, |passed| now.saturating_duration_since(passed))
    }

    /// A network that delivers twice, and the longer path of a leg, bring a number again within this time.
    pub(super) fn repeat_age(&self) -> Duration {
        let longest = if self.legs.is_some() { self.hold.max() } else { self.hold.get() };
        longest.max(REPEAT_AGE)
    }
}
