//! Estimates how long ago a number came, and how long a flow pauses; both are coarse, so that they
//! cost nothing per packet. The age of a repeated number distinguishes a duplicate from a restart.

use std::{
    mem,
    time::{Duration, Instant},
};

use super::{Flow, Session};
use crate::limits::{AGE_MARKS, GAP_FALL, HOLD_START, REPEAT_AGE, SILENCE_MAX, START_GRACE};

/// All numbers below `below` had passed at `at`.
#[derive(Debug, Clone, Copy)]
struct Mark {
    below: u64,
    at: Instant,
}

/// Recent positions of the head, with their times. A ring, since a flow with few packets makes a
/// mark for each packet.
#[derive(Debug, Default)]
pub(super) struct Ages([Option<Mark>; AGE_MARKS]);

/// Index of the next mark, and the earliest time for it on the flow's time scale.
#[derive(Debug, Default)]
pub(super) struct Marking {
    due: u64,
    place: usize,
}

impl Ages {
    /// Latest time by which `number` had passed.
    fn passed(&self, number: u64, next: &Marking) -> Option<Instant> {
        let (newer, older) = self.0.split_at(next.place);
        older.iter().chain(newer).flatten().find(|mark| number < mark.below).map(|mark| mark.at)
    }
}

impl Session {
    /// Marks the position of the head if a mark is due. `nanos` is `now` on the flow's time scale;
    /// marks are `interval` apart.
    fn mark(&mut self, now: Instant, nanos: u64, interval: Duration) {
        if nanos < self.marking.due {
            return;
        }
        let place = self.marking.place;
        self.ages.0[place] = Some(Mark { below: self.reorder.next(), at: now });
        let due = nanos + interval.as_nanos() as u64;
        self.marking = Marking { due, place: (place + 1) % AGE_MARKS };
    }

    /// Latest time by which a number below the head had passed. `alive`: arrival of the last
    /// packet.
    fn passed(&self, number: u64, alive: Option<Instant>) -> Option<Instant> {
        let below_head = self.reorder.next() > number;
        self.ages.passed(number, &self.marking).or(alive.filter(|_| below_head))
    }
}

impl Flow {
    /// The pause before the last packet was an ordinary one of this flow, not caused by a restart
    /// or another flow.
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

    /// The longest recent pause between two packets.
    fn gap(&self) -> Duration {
        Duration::from_nanos(self.gap)
    }

    /// Whether this flow starts to send again, after a pause longer than its ordinary ones.
    #[inline(always)]
    pub(in crate::relay) fn resumes(&self) -> bool {
        self.pause > 0
            && self.format.is_stream()
            && Duration::from_nanos(self.pause) >= (2 * self.gap()).max(START_GRACE)
    }

    /// Time by which the next packet of this flow would have come after a later packet of another
    /// flow, if it were still sending.
    pub(in crate::relay) fn next_due(&self) -> Duration {
        let due = self.stragglers() + 2 * self.gap();
        let unknown = self.rate.get().is_none();
        let least = if unknown { self.hold.get().min(HOLD_START) } else { Duration::ZERO };
        due.max(least).clamp(START_GRACE, SILENCE_MAX)
    }

    /// Time after the first packet of a successor in which packets of this flow may still come:
    /// they were overtaken, or a leg's path is longer.
    pub(in crate::relay) fn stragglers(&self) -> Duration {
        self.hold.reordering().max(START_GRACE / 2)
    }

    /// The rate was measured again, so some time has passed.
    #[cold]
    pub(super) fn measured(&mut self, now: Instant) {
        self.gap -= self.gap / u64::from(GAP_FALL);
        let (nanos, interval) = (self.nanos_at(now), self.repeat_age() / 4);
        if let Some(session) = &mut self.session {
            session.mark(now, nanos, interval);
        }
    }

    /// Minimum time since a number below the head came.
    pub(super) fn age(&self, number: u64, now: Instant) -> Duration {
        let passed = self.session.as_ref().and_then(|session| session.passed(number, self.alive));
        passed.map_or(Duration::ZERO, |passed| now.saturating_duration_since(passed))
    }

    /// Time within which a network that duplicates packets, or the longer path of a leg, repeats a
    /// number.
    pub(super) fn repeat_age(&self) -> Duration {
        let longest = if self.legs.is_some() { self.hold.max() } else { self.hold.get() };
        longest.max(REPEAT_AGE)
    }
}
