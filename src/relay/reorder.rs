//! The reorder buffer of one session: a ring indexed by number, with a deadline per stored packet.
//!
//! In-order packets pass through at once. A packet after a gap waits; when it has waited for the hold, the
//! gap before it is given up. One exception guards the head against forged numbers: a packet that stands
//! alone while the numbers below it go on arriving does not move the head.

use std::{
    collections::VecDeque,
    mem,
    ops::Range,
    time::{Duration, Instant},
};

use super::{
    How, Packet,
    dedup::{History, Seen},
};

/// A packet with its place.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) packet: Packet,
    pub(super) how: How,
    /// Numbers that the packet takes; 1 unless the format says otherwise.
    pub(super) span: u64,
    pub(super) fingerprint: u32,
    /// Its deadline passed while lower numbers went on arriving: likely forged.
    suspect: bool,
}

impl Stored {
    pub(super) fn new(packet: Packet, how: How, span: u64, fingerprint: u32) -> Stored {
        Stored { packet, how, span, fingerprint, suspect: false }
    }
}

#[derive(Debug, Default)]
enum Slot {
    #[default]
    Empty,
    /// Shown to be unrecoverable: not waited for.
    Hopeless,
    Stored(Stored),
}

/// What became of a packet offered to the buffer.
#[derive(Debug)]
pub(super) enum Queued {
    /// In order: pass it on now.
    Forward(Stored),
    /// Waits for what is missing before it.
    Queued,
    /// Took the place of a stored packet that stood alone and had its number: that one is rejected.
    Replaced(Stored),
    /// Delivered or stored before, with the same content.
    Duplicate(Stored),
    /// Delivered before, or too long ago to know, with other content: the producer may count anew.
    Behind(Stored),
    /// Given up before it came.
    Late(Stored),
    /// Beyond the window.
    Ahead(Stored),
}

/// What the buffer wants next.
#[derive(Debug)]
pub(super) enum Poll {
    /// This packet is due.
    Forward(u64, Stored),
    /// These numbers are given up; the oldest packet behind them had waited this long.
    Lost(Range<u64>, Duration),
    /// Nothing now; [`Reorder::deadline`] says when.
    Wait,
}

/// A stored packet's place in the order of arrival.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    number: u64,
    since: Instant,
}

/// Reorder buffer and history of one session.
#[derive(Debug)]
pub(super) struct Reorder {
    /// The head: the number to be delivered next.
    next: u64,
    /// One past the highest number stored or delivered.
    end: u64,
    /// Empty until the first gap.
    slots: Vec<Slot>,
    waiting: VecDeque<Waiting>,
    stored: usize,
    bytes: usize,
    covered: u64,
    /// When the head last moved because the packet for it came.
    advanced: Instant,
    /// A heartbeat's word that numbers below this exist, and when it came.
    announced: Option<Waiting>,
    history: History,
}

const CAPACITY_MIN: usize = 64;

impl Reorder {
    /// A buffer whose first number is `next`.
    pub(super) fn new(next: u64, now: Instant) -> Reorder {
        Reorder {
            next,
            end: next,
            slots: Vec::new(),
            waiting: VecDeque::new(),
            stored: 0,
            bytes: 0,
            covered: 0,
            advanced: now,
            announced: None,
            history: History::new(CAPACITY_MIN, next),
        }
    }

    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// One past the highest number seen.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Packets held back.
    pub(super) fn stored(&self) -> usize {
        self.stored
    }

    /// Memory of the packets held back.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn index(&self, number: u64) -> usize {
        number as usize & (self.slots.len() - 1)
    }

    fn slot(&self, number: u64) -> Option<&Slot> {
        (number >= self.next && number < self.next + self.slots.len() as u64)
            .then(|| &self.slots[self.index(number)])
    }

    fn get(&self, number: u64) -> Option<&Stored> {
        match self.slot(number) {
            Some(Slot::Stored(stored)) => Some(stored),
            _ => None,
        }
    }

    /// Offers a packet. `window` bounds how far ahead of the head it may be.
    pub(super) fn insert(&mut self, number: u64, stored: Stored, now: Instant, window: u64) -> Queued {
        if number < self.next {
            return self.insert_below(number, stored, now);
        }
        if number == self.next && self.stored == 0 {
            return self.forward(stored, now);
        }
        if number - self.next >= window {
            return Queued::Ahead(stored);
        }
        self.insert_ahead(number, stored, now, window)
    }

    fn forward(&mut self, stored: Stored, now: Instant) -> Queued {
        self.advanced = now;
        self.step_over(&stored);
        Queued::Forward(stored)
    }

    /// Moves the head over a packet that is being delivered.
    fn step_over(&mut self, stored: &Stored) {
        for number in self.next..self.next + stored.span {
            self.history.delivered(number, stored.fingerprint);
            if !self.slots.is_empty() {
                self.clear(number);
            }
        }
        self.next += stored.span;
        self.end = self.end.max(self.next);
    }

    /// Empties a slot that the head moves over. A packet there is covered by the one just delivered.
    fn clear(&mut self, number: u64) {
        let index = self.index(number);
        if let Slot::Stored(stored) = mem::take(&mut self.slots[index]) {
            self.stored -= 1;
            self.bytes -= stored.packet.bytes.capacity();
            self.covered += 1;
        }
    }

    /// Packets dropped since the last call because one with several numbers had covered theirs.
    pub(super) fn take_covered(&mut self) -> u64 {
        mem::take(&mut self.covered)
    }

    fn insert_below(&mut self, number: u64, mut stored: Stored, now: Instant) -> Queued {
        if number + stored.span > self.next && self.stored == 0 {
            // It begins below the head and reaches beyond it: the rest is new.
            stored.span -= self.next - number;
            return self.forward(stored, now);
        }
        match self.history.look(number, self.next, stored.fingerprint) {
            Seen::Same => Queued::Duplicate(stored),
            Seen::Lost => Queued::Late(stored),
            Seen::Different | Seen::Unknown => Queued::Behind(stored),
        }
    }

    fn insert_ahead(&mut self, number: u64, stored: Stored, now: Instant, window: u64) -> Queued {
        self.reserve(window);
        let index = self.index(number);
        if let Slot::Stored(there) = &mut self.slots[index] {
            if there.suspect && there.fingerprint != stored.fingerprint {
                self.bytes = self.bytes + stored.packet.bytes.capacity() - there.packet.bytes.capacity();
                return Queued::Replaced(mem::replace(there, stored));
            }
            return Queued::Duplicate(stored);
        }
        if number == self.next {
            // Fills the gap at the head: delivered now, then poll() gives what waited behind it.
            return self.forward(stored, now);
        }
        self.end = self.end.max(number + stored.span);
        self.bytes += stored.packet.bytes.capacity();
        self.stored += 1;
        self.slots[index] = Slot::Stored(stored);
        self.waiting.push_back(Waiting { number, since: now });
        Queued::Queued
    }

    /// Room for `window` numbers from the head on, and as long a history.
    fn reserve(&mut self, window: u64) {
        let capacity = (window as usize).next_power_of_two().max(CAPACITY_MIN);
        if capacity <= self.slots.len() {
            return;
        }
        let mut larger: Vec<Slot> = Vec::new();
        larger.resize_with(capacity, Slot::default);
        for number in self.next..self.next + self.slots.len() as u64 {
            let index = self.index(number);
            larger[number as usize & (capacity - 1)] = mem::take(&mut self.slots[index]);
        }
        self.slots = larger;
        self.history.grow(capacity, self.next);
    }

    /// How long ago the first packet above `number` came that still waits: how late `number` is.
    pub(super) fn lateness(&self, number: u64, now: Instant) -> Option<Duration> {
        let above = self.waiting.iter().find(|w| w.number > number)?;
        Some(now.saturating_duration_since(above.since))
    }

    /// The producer says that all numbers below `next` have been used.
    pub(super) fn announce(&mut self, next: u64, now: Instant) {
        if next > self.next && self.announced.is_none_or(|before| before.number < next) {
            self.announced = Some(Waiting { number: next, since: now });
        }
    }

    /// Recovery has shown that this number cannot come back: it is not waited for.
    pub(super) fn give_up(&mut self, number: u64, window: u64) {
        if number < self.next || number - self.next >= window {
            return;
        }
        self.reserve(window);
        let index = self.index(number);
        if matches!(self.slots[index], Slot::Empty) {
            self.slots[index] = Slot::Hopeless;
            self.end = self.end.max(number + 1);
        }
    }

    /// When [`Reorder::poll`] has something to do, once it has nothing more to do now.
    pub(super) fn deadline(&self, hold: Duration) -> Option<Instant> {
        let stored = self.waiting.iter().find(|w| w.number >= self.next).map(|w| w.since + hold);
        let announced = self.announced.map(|a| a.since.max(self.advanced) + hold);
        [stored, announced].into_iter().flatten().min()
    }

    /// What is due at `now`. Call until it answers `Wait`.
    pub(super) fn poll(&mut self, now: Instant, hold: Duration) -> Poll {
        loop {
            if let Some(due) = self.take_head(now, hold) {
                return due;
            }
            while self.waiting.front().is_some_and(|w| w.number < self.next) {
                self.waiting.pop_front();
            }
            if self.announced.is_some_and(|a| a.number <= self.next) {
                self.announced = None;
            }
            if let Some(first) = self.waiting.front().copied() {
                if now < first.since + hold {
                    return self.poll_announced(now, hold);
                }
                if let Some(contradicted) = self.contradicted(first) {
                    self.suspect(first.number, contradicted.max(first.since));
                    continue;
                }
                if self.get(self.next).is_some() {
                    return self.pop_head();
                }
                return self.skip(first.number, now.saturating_duration_since(first.since));
            }
            return self.poll_announced(now, hold);
        }
    }

    /// The packet at the head, or the hopeless numbers there.
    fn take_head(&mut self, now: Instant, hold: Duration) -> Option<Poll> {
        match self.slot(self.next)? {
            Slot::Empty => None,
            Slot::Hopeless => {
                let mut last = self.next;
                while matches!(self.slot(last), Some(Slot::Hopeless)) {
                    last += 1;
                }
                let waited =
                    self.waiting.front().map_or(Duration::ZERO, |w| now.saturating_duration_since(w.since));
                Some(self.skip(last, waited))
            }
            Slot::Stored(stored) => {
                let confirmed = !stored.suspect || self.get(self.next + stored.span).is_some();
                let due = || {
                    let waiting = self.waiting.iter().find(|w| w.number == self.next);
                    waiting.is_none_or(|w| now >= w.since + hold)
                };
                (confirmed || due()).then(|| self.pop_head())
            }
        }
    }

    fn pop_head(&mut self) -> Poll {
        let index = self.index(self.next);
        let number = self.next;
        match mem::take(&mut self.slots[index]) {
            Slot::Stored(stored) => {
                self.stored -= 1;
                self.bytes -= stored.packet.bytes.capacity();
                self.step_over(&stored);
                Poll::Forward(number, stored)
            }
            _ => unreachable!("the head's slot was checked by the caller"),
        }
    }

    /// Gives up everything from the head to the first stored packet, at most to `to`.
    fn skip(&mut self, to: u64, waited: Duration) -> Poll {
        let from = self.next;
        let mut number = from;
        while number < to {
            match self.slot(number) {
                Some(Slot::Stored(_)) => break,
                Some(_) => {
                    let index = self.index(number);
                    self.slots[index] = Slot::Empty;
                    number += 1;
                }
                // Beyond the ring nothing is stored.
                None => number = to,
            }
        }
        self.history.lost(from..number);
        self.next = number;
        self.end = self.end.max(number);
        Poll::Lost(from..number, waited)
    }

    /// When, since `waiting` came, a lower number last arrived, if `waiting` has no neighbour to confirm it.
    fn contradicted(&self, waiting: Waiting) -> Option<Instant> {
        let stored = self.get(waiting.number)?;
        let below = waiting.number.checked_sub(1).is_some_and(|n| n < self.next || self.get(n).is_some());
        if below || self.get(waiting.number + stored.span).is_some() {
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

    /// Marks a packet that nothing confirms, and lets it wait again from `since` on.
    fn suspect(&mut self, number: u64, since: Instant) {
        let index = self.index(number);
        if let Slot::Stored(stored) = &mut self.slots[index] {
            stored.suspect = true;
        }
        self.waiting.pop_front();
        let place = self.waiting.partition_point(|w| w.since <= since);
        self.waiting.insert(place, Waiting { number, since });
    }

    fn poll_announced(&mut self, now: Instant, hold: Duration) -> Poll {
        match self.announced {
            // While lower numbers go on arriving, the heartbeat may have overtaken them, or be forged.
            Some(_) if self.get(self.next).is_some() => Poll::Wait,
            Some(announced) if now >= announced.since.max(self.advanced) + hold => {
                self.skip(announced.number, Duration::ZERO)
            }
            _ => Poll::Wait,
        }
    }

    /// Gives up the oldest gap, to stay within a bound. `None` when nothing is held back.
    pub(super) fn skip_oldest(&mut self, now: Instant) -> Option<Poll> {
        let first = self.waiting.iter().filter(|w| w.number >= self.next).map(|w| w.number).min()?;
        if first == self.next {
            return Some(self.pop_head());
        }
        let waited = self.waiting.front().map_or(Duration::ZERO, |w| now.saturating_duration_since(w.since));
        Some(self.skip(first, waited))
    }

    /// What is still held back, in order, with the gaps between; for the end of a session.
    pub(super) fn flush(&mut self, now: Instant) -> Poll {
        match self.skip_oldest(now) {
            Some(poll) => poll,
            None => match self.announced.take() {
                Some(announced) if announced.number > self.next => {
                    self.skip(announced.number, Duration::ZERO)
                }
                _ => Poll::Wait,
            },
        }
    }

    /// Gives up everything below `number` after [`Reorder::flush`]: the producer went on there.
    pub(super) fn jump(&mut self, number: u64) -> Range<u64> {
        let from = self.next;
        self.slots.fill_with(Slot::default);
        self.waiting.clear();
        self.history.lost(from..number);
        self.next = number;
        self.end = number;
        from..number
    }
}

#[cfg(test)]
#[path = "reorder_tests.rs"]
mod tests;
