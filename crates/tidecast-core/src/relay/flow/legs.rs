//! A flow on several legs: which packets are old because a path is longer, and how long to wait
//! for a gap.

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

/// The numbering before the current one; a longer path may still carry packets of it.
#[derive(Debug)]
pub(super) struct Former {
    pub(super) history: NumberHistory,
    pub(super) next: u64,
    /// First wire number of the current numbering.
    pub(super) first: u64,
    /// Time by which every leg should have carried the current numbering; a leg that has not is
    /// no longer considered.
    pub(super) until: Instant,
}

impl Former {
    /// Looks up one of its extended numbers.
    fn look(&self, number: u64, fingerprint: u32) -> Seen {
        if number < self.next { self.history.look(number, self.next, fingerprint) } else { Seen::Unknown }
    }
}

impl Flow {
    /// Notes that a leg is alive.
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

    /// Notes the numbers of a packet of the current numbering, new or known.
    pub(super) fn note_leg(&mut self, leg: u8, numbers: SeqRange, cx: &mut Context<'_>) {
        let Some(legs) = &mut self.legs else { return };
        if let Some(lag) = legs.note(leg, numbers, cx.now, cx.legs) {
            self.hold.saw_skew(lag, cx.now);
        }
    }

    /// Counts what the legs have missed so far.
    pub(in crate::relay) fn judge_legs(&mut self, cx: &mut Context<'_>) {
        if let Some(legs) = &mut self.legs {
            legs.judge(cx.now, cx.legs);
        }
    }

    /// Whether a packet is old because the leg's path is longer: it continues the leg's own
    /// position, or another leg is ahead. A producer that restarts its numbering shows as a step
    /// back on each leg.
    pub(super) fn lags(&self, leg: u8, number: u64, queued: &Queued, now: Instant) -> bool {
        let (Some(legs), Some(session)) = (&self.legs, &self.session) else { return false };
        let course = legs.course(leg, number);
        let another_leads =
            || now.checked_sub(self.silence()).is_some_and(|since| legs.another_led(leg, since));
        match queued {
            Queued::Duplicate(_) | Queued::Late(_) => course == Course::GoesOn || another_leads(),
            Queued::Other(_) => legs.is_beyond(leg, number) || (course == Course::Unknown && another_leads()),
            Queued::Behind(_) => {
                // Near the head all numbers are known, so this is no small step back: the leg is
                // new, or the producer has restarted its numbering.
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

    /// Makes the history reach as far back as a leg may be behind.
    pub(super) fn remember_lag(&mut self, config: &Config) {
        if let (Some(numbers), Some(session)) = (self.lag_numbers_max(), &mut self.session) {
            session.reorder.remember(numbers.min(config.window_max * self.step.get()));
        }
    }

    /// Whether a packet belongs to the previous numbering, which this leg still carries because its
    /// path is longer.
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
        // Packets of one leg also overtake each other across a restart. Such a packet is far from
        // all others of the leg.
        let apart = before.shown.is_none_or(|(_, at)| number.abs_diff(at) >= near);
        let left_over = goes_on
            && apart
            && match former.look(old, arrived.fingerprint) {
                Seen::Same => true,
                Seen::Different => false,
                // The first packets of the new numbering on a leg are near its start. A packet
                // that comes later than reordering explains belongs to the new numbering, after a
                // loss.
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

    /// How long a leg may still carry a number. `reordering`: uses the measured reordering alone.
    fn waits(&self, reordering: bool) -> Waits {
        let least = if reordering { Duration::ZERO } else { self.hold.floor() };
        Waits::new(least, self.hold.max(), self.rate.get())
    }

    /// How long the gap at the head may stay open. If only legs can fill it, until no live leg can
    /// any more; otherwise the hold, and longer if a leg that is behind needs it.
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
        // A retransmission or repair packet may still carry a number that no leg has carried.
        let comes_back = session.asking.is_some() || session.recovers();
        let least = if comes_back { hold } else { Duration::ZERO };
        Patience { most: self.hold.max(), until: Some((least, expected)), pace }
    }

    /// How long after a higher number a lower one may still arrive that was not lost: because of
    /// reordering, or on another leg.
    pub(super) fn grace(&self, now: Instant) -> Duration {
        let reordering = self.hold.reordering();
        let Some(legs) = &self.legs else { return reordering };
        let lag = legs.lag(now, &self.waits(true));
        reordering.max(lag.min(self.hold.get()))
    }

    /// These numbers can be neither recovered nor requested. With several legs they are given up
    /// when no leg can carry them either.
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

    /// Gives up numbers that cannot be recovered and that no leg can carry any more.
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
