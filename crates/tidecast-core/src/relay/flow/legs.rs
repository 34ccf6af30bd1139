//! A flow on several legs: whose packets are old because a path is longer, and how long a gap is
//! worth waiting for.

use std::time::{Duration, Instant};

use super::{Config, Context, Flow, Numbered};
use crate::{
    limits::{LEG_LAG_HOLDS, REORDER_PACKETS_MIN, START_GRACE},
    relay::{
        dedup::{NumberHistory, Seen},
        hold::Hold,
        legs::{Course, Waits},
        reorder::{Patience, Queued},
    },
};
use tidecast_wire::seq::SeqRange;

/// The numbering before the one in force, which a longer path may still bring.
#[derive(Debug)]
pub(super) struct Former {
    pub(super) history: NumberHistory,
    pub(super) next: u64,
    /// Where the one in force began, on the wire.
    pub(super) first: u64,
    /// By then every leg has shown the one in force, or is no help.
    pub(super) until: Instant,
}

impl Former {
    /// What became of a number of it, extended.
    fn look(&self, number: u64, fingerprint: u32) -> Seen {
        if number < self.next { self.history.look(number, self.next, fingerprint) } else { Seen::Unknown }
    }
}

impl Flow {
    /// Notes that a leg lives.
    pub(super) fn leg_heard(&self, leg: u8, cx: &mut Context<'_>) {
        if self.legs.is_some()
            && let Some(heard) = cx.heard.get_mut(usize::from(leg))
        {
            *heard = Some(cx.now);
        }
    }

    /// How far a leg is behind the first one.
    pub(in crate::relay) fn skew(&self, leg: usize, since: Instant) -> Option<Duration> {
        self.legs.as_ref()?.skew(leg, since)
    }

    /// Notes a packet of the numbering in force, known or not, and the numbers that it takes.
    pub(super) fn note_leg(&mut self, leg: u8, numbers: SeqRange, cx: &mut Context<'_>) {
        let Some(legs) = &mut self.legs else { return };
        if let Some(lag) = legs.note(leg, numbers, cx.now, cx.legs) {
            self.hold.saw_skew(lag, cx.now);
        }
    }

    /// Counts what the legs have missed by now.
    pub(in crate::relay) fn judge_legs(&mut self, cx: &mut Context<'_>) {
        if let Some(legs) = &mut self.legs {
            legs.judge(cx.now, cx.legs);
        }
    }

    /// Whether what a leg brings is old because its path is longer: it goes on where that leg was,
    /// or the others go on. A producer that counts anew shows on each leg as a step back.
    pub(super) fn lags(&self, leg: u8, number: u64, queued: &Queued, now: Instant) -> bool {
        let (Some(legs), Some(session)) = (&self.legs, &self.session) else { return false };
        let course = legs.course(leg, number);
        let another_leads =
            || now.checked_sub(self.silence()).is_some_and(|since| legs.another_led(leg, since));
        match queued {
            Queued::Duplicate(_) | Queued::Late(_) => course == Course::GoesOn || another_leads(),
            Queued::Other(_) => legs.is_beyond(leg, number) || (course == Course::Unknown && another_leads()),
            Queued::Behind(_) => {
                // What is near is known, so a step back to it is none: the leg is new, or the
                // producer counts anew.
                let near = self.lag_numbers_max().is_none_or(|max| session.reorder.next() - number <= max);
                course == Course::GoesOn || (course == Course::Unknown && near && another_leads())
            }
            _ => false,
        }
    }

    /// How far behind the head a leg may be, in numbers, once the rate is known.
    fn lag_numbers_max(&self) -> Option<u64> {
        let packets = self.rate.packets_within(self.hold.max() * LEG_LAG_HOLDS)?;
        Some(packets * self.step.get())
    }

    /// Lets the history reach as far back as a leg may be behind.
    pub(super) fn remember_lag(&mut self, config: &Config) {
        if let (Some(numbers), Some(session)) = (self.lag_numbers_max(), &mut self.session) {
            session.reorder.remember(numbers.min(config.window_max * self.step.get()));
        }
    }

    /// Whether a leg still brings the numbering before the one in force: its path is longer.
    pub(super) fn is_left_over(
        &mut self,
        arrived: &Numbered,
        number: u64,
        window: u64,
        now: Instant,
    ) -> bool {
        let Some((legs, session)) = self.legs.as_mut().zip(self.session.as_mut()) else { return false };
        if session.former.as_ref().is_some_and(|former| now >= former.until) {
            session.former = None;
        }
        let Some((former, before)) = session.former.as_ref().zip(legs.before(arrived.leg)) else {
            return false;
        };
        let near = REORDER_PACKETS_MIN * self.step.get();
        let old = self.space.extend(before.end, arrived.number);
        let goes_on = old + near >= before.end && old < before.end + window;
        // Within a leg packets overtake each other, across a restart too: then one stands apart
        // from all that it brings.
        let apart = before.shown.is_none_or(|(_, at)| number.abs_diff(at) >= near);
        let left_over = goes_on
            && apart
            && match former.look(old, arrived.fingerprint) {
                Seen::Same => true,
                Seen::Different => false,
                // The first that a leg brings of the new one is near its beginning; what comes
                // later than reordering explains is a new one behind a loss.
                Seen::Lost | Seen::Unknown => {
                    let first = self.space.extend(before.end, former.first);
                    let soon = START_GRACE.max(self.hold.reordering());
                    let next = session.reorder.next();
                    before.shown.is_none_or(|(shown, _)| now < shown + soon)
                        && (old.abs_diff(first) >= near || number.abs_diff(next) >= window)
                }
            };
        legs.left_over(arrived.leg, left_over.then_some(before.end.max(old + arrived.span)), now);
        left_over
    }

    /// How long a leg may still bring a number. `reordering`: what was seen of it is enough.
    fn waits(&self, reordering: bool) -> Waits {
        let least = if reordering { Duration::ZERO } else { self.hold.floor() };
        Waits::new(least, self.hold.max(), self.rate.get())
    }

    /// How long the gap at the head may last. Where legs alone can fill it, until none of those
    /// that live can any more; else the hold, and as much longer as a leg needs that is behind.
    pub(super) fn gap_patience(&self) -> Patience {
        let doubtful = self.session.as_ref().is_some_and(|session| session.reorder.may_be_conspicuous());
        let (hold, pace) = (self.hold.get(), if doubtful { self.brisk() } else { None });
        let usual = Patience { pace, ..Patience::from(hold) };
        let (Some(legs), Some(session), Hold::Auto { .. }) = (&self.legs, &self.session, self.hold.config())
        else {
            return usual;
        };
        let Some(expected) = legs.expected_until(session.reorder.next(), &self.waits(false)) else {
            return usual;
        };
        // A number that no leg brought may still come back.
        let comes_back = session.asking.is_some() || session.recovers();
        let least = if comes_back { hold } else { Duration::ZERO };
        Patience { most: self.hold.max(), until: Some((least, expected)), pace }
    }

    /// How long after a later number one may still come that was not lost: by reordering, or on
    /// another leg.
    pub(super) fn grace(&self, now: Instant) -> Duration {
        let reordering = self.hold.reordering();
        let Some(legs) = &self.legs else { return reordering };
        let lag = legs.lag(now, &self.waits(true));
        reordering.max(lag.min(self.hold.get()))
    }

    /// These numbers can be neither rebuilt nor asked for: on several legs they are given up when
    /// no leg can bring them either.
    pub(super) fn not_to_be_rebuilt(&mut self, hopeless: &[u64], cx: &mut Context<'_>) {
        if self.legs.is_none() {
            return self.give_up(hopeless, cx);
        }
        if let Some(session) = &mut self.session {
            let next = session.reorder.next();
            session.hopeless.extend(hopeless.iter().filter(|number| **number >= next));
        }
        self.poll(cx);
    }

    /// Gives up what can come back in no other way, and not come on any leg.
    pub(super) fn poll_hopeless(&mut self, cx: &mut Context<'_>) {
        let (window, waits) = (self.window(cx.config), self.waits(true));
        let (Some(legs), Some(session)) = (&self.legs, &mut self.session) else { return };
        session.hopeless = session.hopeless.split_off(&session.reorder.next());
        let due = |number: &u64| legs.expected_until(*number, &waits).is_none_or(|until| until <= cx.now);
        while let Some(number) = session.hopeless.first().copied().filter(due) {
            session.hopeless.pop_first();
            session.reorder.give_up(number, window);
        }
    }

    /// When [`Flow::poll_hopeless`] has something to do.
    pub(super) fn hopeless_deadline(&self) -> Option<Instant> {
        let (number, legs) = (self.session.as_ref()?.hopeless.first()?, self.legs.as_ref()?);
        legs.expected_until(*number, &self.waits(true))
    }
}
