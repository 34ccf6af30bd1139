//! Inserts packets into the reorder buffer: a packet is passed on at once, stored behind a gap, or
//! found to be known.

use std::{mem, time::Instant};

use super::{Queued, Reorder, Slot, Stored, Waiting, capacity};
use crate::relay::dedup::Seen;

impl Reorder {
    /// Inserts a packet that came at `since`. `window` limits how far above the head it may be.
    #[inline]
    pub(in crate::relay) fn insert(
        &mut self,
        number: u64,
        stored: Stored,
        since: Instant,
        window: u64,
    ) -> Queued {
        self.remember(window);
        if number < self.next {
            return self.insert_below(number, stored, since, window);
        }
        if number == self.next && self.stored == 0 {
            return self.forward(stored, since);
        }
        if self.is_beyond(number, window) {
            return Queued::Ahead(stored);
        }
        self.insert_ahead(number, stored, since)
    }
    /// Whether [`Reorder::append`] can insert a packet of one number while others wait.
    #[inline(always)]
    pub(in crate::relay) fn may_append(&self, number: u64, window: u64) -> bool {
        number >= self.end && number - self.next < window && matches!(self.slot(number), Some(Slot::Empty))
    }

    /// Stores a packet above all others.
    #[inline(always)]
    pub(in crate::relay) fn append(&mut self, number: u64, stored: Stored, now: Instant) {
        let after = mem::replace(&mut self.active, now);
        (self.second, self.end) = (self.end, number + 1);
        self.bytes += stored.packet.bytes.capacity();
        self.stored += 1;
        self.slots.put(number, Slot::Stored(stored));
        self.waiting.push_back(Waiting { number, since: now, after });
    }
    /// Passes a packet of one number through an empty, quiet buffer; returns its number.
    #[inline]
    pub(in crate::relay) fn pass(&mut self, fingerprint: u32, now: Instant) -> u64 {
        let number = self.next;
        (self.advanced, self.active) = (now, now);
        self.history.delivered_one(number, fingerprint);
        self.next = number + 1;
        (self.second, self.end) = (number, number + 1);
        number
    }

    #[inline]
    fn forward(&mut self, stored: Stored, since: Instant) -> Queued {
        self.advanced = self.advanced.max(since);
        self.active = self.active.max(since);
        self.step_over(&stored);
        Queued::Forward(stored)
    }

    /// Moves the head past a packet that is being delivered.
    #[inline]
    pub(super) fn step_over(&mut self, delivered: &Stored) {
        let to = self.next + delivered.span;
        let plain = delivered.span == 1 && !self.slots.is_sorted();
        if plain && self.slot(self.next).is_none_or(|slot| matches!(slot, Slot::Empty)) {
            self.history.delivered_one(self.next, delivered.fingerprint);
            self.next = to;
            self.reached(to);
            return;
        }
        self.history.delivered(self.next..to, delivered.fingerprint);
        let beyond = self.clear(to);
        self.next = to;
        self.reached(to);
        if let Some(stored) = beyond {
            self.store(to, stored);
        }
    }

    /// Empties the slots below `to`, whose packets are covered by the delivered one. If a packet
    /// reaches beyond `to`, returns the longest such rest.
    fn clear(&mut self, to: u64) -> Option<Stored> {
        let mut beyond: Option<Stored> = None;
        while let Some(number) = self.slots.first(self.next, self.next, to) {
            let Slot::Stored(mut stored) = self.slots.take(number) else { continue };
            self.stored -= 1;
            self.bytes -= stored.packet.bytes.capacity();
            stored.span = (number + stored.span).saturating_sub(to);
            let longer = beyond.as_ref().map_or(0, |b| b.span) < stored.span;
            self.covered += u64::from(if longer { beyond.replace(stored).is_some() } else { true });
        }
        beyond
    }

    /// Stores the rest of a packet at the head, unless another packet is stored there.
    fn store(&mut self, head: u64, mut stored: Stored) {
        self.reserve(head);
        if let Some(Slot::Stored(_)) = self.slots.get_mut(head) {
            self.covered += 1;
            return;
        }
        stored.suspect = false;
        self.stored += 1;
        self.bytes += stored.packet.bytes.capacity();
        self.slots.put(head, Slot::Stored(stored));
    }

    /// Number of packets dropped since the last call because a longer packet covered their
    /// numbers.
    pub(in crate::relay) fn take_covered(&mut self) -> u64 {
        mem::take(&mut self.covered)
    }

    fn insert_below(&mut self, number: u64, mut stored: Stored, since: Instant, window: u64) -> Queued {
        if number + stored.span > self.next {
            // It begins below the head and ends above it, so the rest is new.
            stored.span -= self.next - number;
            return self.insert(self.next, stored, since, window);
        }
        match self.history.look(number, self.next, stored.fingerprint) {
            Seen::Same => Queued::Duplicate(stored),
            Seen::Lost => Queued::Late(stored),
            Seen::Different => Queued::Other(stored),
            Seen::Unknown => Queued::Behind(stored),
        }
    }

    #[inline]
    fn insert_ahead(&mut self, number: u64, stored: Stored, since: Instant) -> Queued {
        self.reserve(number);
        if let Some(Slot::Stored(there)) = self.slots.get_mut(number) {
            if there.suspect && there.fingerprint != stored.fingerprint {
                self.bytes = self.bytes + stored.packet.bytes.capacity() - there.packet.bytes.capacity();
                return Queued::Replaced(mem::replace(there, stored));
            }
            return Queued::Duplicate(stored);
        }
        if number == self.next {
            // Fills the gap at the head: it is delivered now, and `poll` returns the packets
            // behind it.
            return self.forward(stored, since);
        }
        let after = self.active;
        self.active = after.max(since);
        self.reached(number + stored.span);
        self.bytes += stored.packet.bytes.capacity();
        self.stored += 1;
        self.slots.put(number, Slot::Stored(stored));
        self.waiting.push_back(Waiting { number, since, after });
        Queued::Waits
    }

    /// Makes room for the numbers from the head to this one.
    pub(super) fn reserve(&mut self, number: u64) {
        if !self.slots.is_sorted() {
            self.slots.reserve(self.next, capacity(number - self.next + 1));
        }
    }
}
