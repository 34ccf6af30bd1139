//! Decides when packets leave the reorder buffer, and when gaps are given up.

use std::{
    ops::Range,
    time::{Duration, Instant},
};

use super::{Patience, Poll, Reorder, Skipped, Slot, Stored, Waiting};
use crate::limits::{PACE_FACTOR, SILENCE_MAX, SKIPPED_REMEMBERED};

impl Reorder {
    /// When [`Reorder::poll`] has something to do next, after it has returned `Wait`.
    pub(in crate::relay) fn deadline(&self, patience: impl Into<Patience>) -> Option<Instant> {
        let patience = patience.into();
        let stored = self.waiting.iter().find(|w| w.number >= self.next).map(|w| self.ends(w, &patience));
        [stored, self.announced_until()].into_iter().flatten().min()
    }

    /// Until when announced numbers may arrive.
    fn announced_until(&self) -> Option<Instant> {
        // If the head is a packet that waits to be confirmed, its own deadline applies.
        let announced = self.announced.filter(|a| a.number > self.next && self.get(self.next).is_none())?;
        Some(announced.since.max(self.active) + announced.patience)
    }

    /// When the gap below `first`, the oldest waiting packet, is given up.
    fn ends(&self, first: &Waiting, patience: &Patience) -> Instant {
        let ends = patience.ends(first.since);
        if self.is_conspicuous(first, patience) { ends.max(first.since + SILENCE_MAX) } else { ends }
    }

    /// Cheap check before [`Reorder::waits_longer`]: whether a single packet waits, behind more
    /// than one missing packet.
    #[inline]
    pub(in crate::relay) fn may_be_conspicuous(&self) -> bool {
        self.stored == 1 && (self.end > self.next + 2 || self.step > 1)
    }

    /// Whether a packet is the only one that waits, and so far ahead that the producer cannot have
    /// sent as many numbers since the previous packet: likely forged. Only a long silence confirms
    /// it.
    fn is_conspicuous(&self, first: &Waiting, patience: &Patience) -> bool {
        let Some(pace) = patience.pace.filter(|_| self.stored == 1 && first.number > self.next) else {
            return false;
        };
        let elapsed = first.since.saturating_duration_since(first.after).as_secs_f64();
        let said = self.announced.is_some_and(|announced| announced.number > first.number);
        let plausible = self.step as f64 + PACE_FACTOR * pace * elapsed;
        !said && (first.number - self.next) as f64 > plausible
    }

    /// Whether the gap stays open longer than usual, because the packet behind it is conspicuous.
    pub(in crate::relay) fn waits_longer(&self, patience: &Patience) -> bool {
        self.waiting.iter().find(|w| w.number >= self.next).is_some_and(|w| self.is_conspicuous(w, patience))
    }

    /// Returns what is due at `now`. Call it until it returns `Wait`.
    #[inline]
    pub(in crate::relay) fn poll(&mut self, now: Instant, patience: impl Into<Patience>) -> Poll {
        let patience = patience.into();
        loop {
            if let Some(due) = self.take_head(now, &patience) {
                return due;
            }
            self.forget_passed();
            if self.announced.is_some_and(|a| a.number <= self.next) {
                self.announced = None;
            }
            if let Some(first) = self.waiting.front().copied() {
                if now < self.ends(&first, &patience) {
                    return self.poll_announced(now);
                }
                if let Some(contradicted) = self.contradicted(first) {
                    self.suspect(first.number, contradicted.max(first.since));
                    continue;
                }
                if self.get(self.next).is_some() {
                    return self.pop_head();
                }
                return self.skip(first.number, Some(first.since), now);
            }
            return self.poll_announced(now);
        }
    }

    /// Drops delivered packets from the order of arrival.
    #[inline(always)]
    pub(in crate::relay) fn forget_passed(&mut self) {
        while self.waiting.front().is_some_and(|w| w.number < self.next) {
            self.waiting.pop_front();
        }
    }

    /// Takes the packet at the head, or gives up unrecoverable numbers there.
    #[inline]
    fn take_head(&mut self, now: Instant, patience: &Patience) -> Option<Poll> {
        match self.slot(self.next)? {
            Slot::Empty => None,
            Slot::Hopeless => {
                let mut last = self.next;
                while matches!(self.slot(last), Some(Slot::Hopeless)) {
                    last += 1;
                }
                Some(self.skip(last, self.waiting.front().map(|w| w.since), now))
            }
            Slot::Stored(stored) => {
                let confirmed = !stored.suspect || self.get(self.next + stored.span).is_some();
                let due = || {
                    let waiting = self.waiting.iter().find(|w| w.number == self.next);
                    waiting.is_none_or(|w| now >= patience.ends(w.since))
                };
                (confirmed || due()).then(|| self.pop_head())
            }
        }
    }

    /// Takes the packet at the head, if it is stored and not suspect.
    #[inline(always)]
    pub(in crate::relay) fn pop_ready(&mut self) -> Option<(u64, Stored)> {
        match self.slot(self.next)? {
            Slot::Stored(stored) if !stored.suspect => Some(self.take_first()),
            _ => None,
        }
    }

    fn pop_head(&mut self) -> Poll {
        let (number, stored) = self.take_first();
        Poll::Forward(number, stored)
    }

    #[inline(always)]
    fn take_first(&mut self) -> (u64, Stored) {
        let number = self.next;
        match self.slots.take(number) {
            Slot::Stored(stored) => {
                self.stored -= 1;
                self.bytes -= stored.packet.bytes.capacity();
                self.step_over(&stored);
                (number, stored)
            }
            _ => unreachable!("the head's slot was checked by the caller"),
        }
    }

    /// Gives up all numbers from the head to the first stored packet, or to `to`. The first packet
    /// behind them came at `since`.
    fn skip(&mut self, to: u64, since: Option<Instant>, now: Instant) -> Poll {
        let (from, mut number) = (self.next, self.next);
        // No packet is stored beyond the last place.
        while let Some(place) = self.slots.first(from, number, to) {
            number = place;
            if self.get(place).is_some() {
                break;
            }
            self.slots.take(place);
            number += 1;
        }
        if self.get(number).is_none() {
            number = to;
        }
        self.history.lost(from..number);
        if let Some(since) = self.missed_since(from).or(since) {
            if self.skipped.len() >= SKIPPED_REMEMBERED {
                self.skipped.pop_front();
            }
            self.skipped.push_back(Skipped { numbers: from..number, since });
        }
        self.next = number;
        if number > self.end {
            (self.second, self.end) = (number, number);
        }
        Poll::Lost(from..number, since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since)))
    }

    /// When a lower number last arrived after `waiting` came; `None` if a neighbour confirms
    /// `waiting`, or no lower number has come.
    fn contradicted(&self, waiting: Waiting) -> Option<Instant> {
        let stored = self.get(waiting.number)?;
        if waiting.number <= self.next
            || self.ends_at(waiting.number)
            || self.get(waiting.number + stored.span).is_some()
        {
            return None;
        }
        let stored_below = self
            .waiting
            .iter()
            .filter(|w| w.number < waiting.number && w.number >= self.next)
            .map(|w| w.since)
            .max();
        let last = stored_below.map_or(self.advanced, |since| since.max(self.advanced));
        (last > waiting.since).then_some(last)
    }

    /// Marks a packet as suspect and restarts its wait at `since`.
    fn suspect(&mut self, number: u64, since: Instant) {
        if let Some(Slot::Stored(stored)) = self.slots.get_mut(number) {
            stored.suspect = true;
            self.doubtful_end = self.doubtful_end.max(number + 1);
        }
        self.waiting.pop_front();
        let place = self.waiting.partition_point(|w| w.since <= since);
        self.waiting.insert(place, Waiting { number, since, after: since });
    }

    fn poll_announced(&mut self, now: Instant) -> Poll {
        match (self.announced, self.announced_until()) {
            (Some(announced), Some(until)) if now >= until => self.skip(announced.number, None, now),
            _ => Poll::Wait,
        }
    }

    /// The lowest stored number.
    pub(in crate::relay) fn first_stored(&self) -> Option<u64> {
        if self.stored == 0 {
            return None;
        }
        let mut from = self.next;
        loop {
            from = self.slots.first(self.next, from, u64::MAX)?;
            if self.get(from).is_some() {
                return Some(from);
            }
            from += 1;
        }
    }

    /// Gives up the oldest gap to stay within a bound. `None` if no packet is stored.
    pub(in crate::relay) fn skip_oldest(&mut self, now: Instant) -> Option<Poll> {
        let first = self.first_stored()?;
        if first == self.next {
            return Some(self.pop_head());
        }
        Some(self.skip(first, self.waiting.front().map(|w| w.since), now))
    }

    /// Returns all stored packets in order, with the gaps between them; used at the end of a
    /// session.
    pub(in crate::relay) fn flush(&mut self, now: Instant) -> Poll {
        match self.skip_oldest(now) {
            Some(poll) => poll,
            None => match self.announced.take() {
                Some(announced) if announced.number > self.next => self.skip(announced.number, None, now),
                _ => Poll::Wait,
            },
        }
    }

    /// Gives up all numbers below `number` after [`Reorder::flush`], since the producer continues
    /// there.
    pub(in crate::relay) fn jump(&mut self, number: u64) -> Range<u64> {
        let from = self.next;
        self.slots.empty();
        self.waiting.clear();
        self.history.lost(from..number);
        self.next = number;
        (self.second, self.end) = (number, number);
        from..number
    }
}
