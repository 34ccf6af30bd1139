//! How long ago numbers came, and how long a flow pauses: both coarsely, so that no packet pays for
//! it. A number that comes again is told from a restart by its age.

use std::{
    mem,
    time::{Duration, Instant},
};

use super::{Flow, Session};
use crate::limits::{AGE_MARKS, GAP_FALL, HOLD_START, REPEAT_AGE, SILENCE_MAX, START_GRACE};

/// All numbers below had passed at that time.
#[derive(Debug, Clone, Copy)]
struct Mark {
    below: u64,
    at: Instant,
}

/// Where the head was, now and then: a ring, since a flow with few packets makes a mark for each of
/// them.
#[derive(Debug, Default)]
pub(super) struct Ages([Option<Mark>; AGE_MARKS]);

/// Where the next mark goes, and not before when on the flow's time scale.
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

impl Session {
    /// Notes where the head is, if the next mark is due: `nanos` is `now` on the flow's time scale,
    /// and marks are `interval` apart.
    fn mark(&mut self, now: Instant, nanos: u64, interval: Duration) {
        if nanos < self.marking.due {
            return;
        }
        let place = self.marking.place;
        self.ages.0[place] = Some(Mark { below: self.reorder.next(), at: now });
        let due = nanos + interval.as_nanos() as u64;
        self.marking = Marking { due, place: (place + 1) % AGE_MARKS };
    }

    /// When a number below the head had passed, at the latest. `alive`: when the last packet came.
    fn passed(&self, number: u64, alive: Option<Instant>) -> Option<Instant> {
        let below_head = self.reorder.next() > number;
        self.ages.passed(number, &self.marking).or(alive.filter(|_| below_head))
    }
}

impl Flow {
    /// The pause before a packet is one of the flow's, and not one that a restart or another flow
    /// explains.
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

    /// How long after a later packet of somebody else the next packet of this flow would have come,
    /// if it went on.
    pub(in crate::relay) fn next_due(&self) -> Duration {
        let due = self.stragglers() + 2 * self.gap();
        let unknown = self.rate.get().is_none();
        let least = if unknown { self.hold.get().min(HOLD_START) } else { Duration::ZERO };
        due.max(least).clamp(START_GRACE, SILENCE_MAX)
    }

    /// How long after the first packet of a successor one of this flow may still come: it was
    /// overtaken, or a leg's path is longer.
    pub(in crate::relay) fn stragglers(&self) -> Duration {
        self.hold.reordering().max(START_GRACE / 2)
    }

    /// The rate was measured: a moment has passed.
    #[cold]
    pub(super) fn measured(&mut self, now: Instant) {
        self.gap -= self.gap / u64::from(GAP_FALL);
        let (nanos, interval) = (self.nanos_at(now), self.repeat_age() / 4);
        if let Some(session) = &mut self.session {
            session.mark(now, nanos, interval);
        }
    }

    /// How long ago a number below the head came, at least.
    pub(super) fn age(&self, number: u64, now: Instant) -> Duration {
        let passed = self.session.as_ref().and_then(|session| session.passed(number, self.alive));
        passed.map_or(Duration::ZERO, |passed| now.saturating_duration_since(passed))
    }

    /// A network that delivers twice, and the longer path of a leg, bring a number again within
    /// this time.
    pub(super) fn repeat_age(&self) -> Duration {
        let longest = if self.legs.is_some() { self.hold.max() } else { self.hold.get() };
        longest.max(REPEAT_AGE)
    }
}
