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
use crate::limits::SKIPPED_REMEMBERED;

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
    /// Stored: it waits for what is missing before it.
    Waits,
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

/// A producer's word that the numbers below `number` have been used.
#[derive(Debug, Clone, Copy)]
struct Announced {
    number: u64,
    since: Instant,
    /// How long after that, or after the last packet that came, the missing ones may still come.
    patience: Duration,
}

/// Numbers given up, and since when they had been missed.
#[derive(Debug)]
struct Skipped {
    numbers: Range<u64>,
    since: Instant,
}

/// Reorder buffer and history of one session. What a packet in order touches stands first.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Reorder {
    /// The head: the number to be delivered next.
    next: u64,
    /// One past the highest number stored or delivered.
    end: u64,
    /// When the head last moved because the packet for it came.
    advanced: Instant,
    /// When a packet last came that was not known before.
    active: Instant,
    history: History,
    stored: usize,
    /// Empty until the first gap.
    slots: Vec<Slot>,
    waiting: VecDeque<Waiting>,
    bytes: usize,
    covered: u64,
    /// One past the highest number that was shown to be unrecoverable, or whose packet is suspect.
    doubtful_end: u64,
    announced: Option<Announced>,
    /// The latest gaps that were given up, to learn how late their packets come.
    skipped: VecDeque<Skipped>,
}

const CAPACITY_MIN: usize = 64;

/// Slots of the ring, and numbers of the history, for a window: a power of two.
fn capacity(window: u64) -> usize {
    (window as usize).next_power_of_two().max(CAPACITY_MIN)
}

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
            doubtful_end: next,
            advanced: now,
            active: now,
            announced: None,
            skipped: VecDeque::new(),
            history: History::new(CAPACITY_MIN, next),
        }
    }

    #[inline]
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

    /// Memory of the packets held back, and of a ring that had to grow for them.
    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.slots.len().saturating_sub(CAPACITY_MIN) * size_of::<Slot>()
    }

    /// Frees the ring, when nothing is held back.
    pub(super) fn shrink(&mut self) {
        if self.stored == 0 {
            self.slots = Vec::new();
        }
    }

    fn index(&self, number: u64) -> usize {
        number as usize & (self.slots.len() - 1)
    }

    fn slot(&self, number: u64) -> Option<&Slot> {
        (number >= self.next && number - self.next < self.slots.len() as u64)
            .then(|| &self.slots[self.index(number)])
    }

    fn get(&self, number: u64) -> Option<&Stored> {
        match self.slot(number) {
            Some(Slot::Stored(stored)) => Some(stored),
            _ => None,
        }
    }

    /// Offers a packet that came at `since`. `window` bounds how far ahead of the head it may be.
    #[inline]
    pub(super) fn insert(&mut self, number: u64, stored: Stored, since: Instant, window: u64) -> Queued {
        if !self.covers(window) {
            self.history.grow(capacity(window), self.next);
        }
        if number < self.next {
            return self.insert_below(number, stored, since, window);
        }
        if number == self.next && self.stored == 0 {
            return self.forward(stored, since);
        }
        if number - self.next >= window {
            return Queued::Ahead(stored);
        }
        self.insert_ahead(number, stored, since)
    }

    /// Whether only gaps and packets that are not in doubt stand ahead of the head.
    pub(super) fn is_quiet(&self) -> bool {
        self.doubtful_end <= self.next && self.announced.is_none()
    }

    /// Whether, besides being quiet, nothing is held back: then [`Reorder::pass`] is all that a packet at the head
    /// needs, if the history covers the window.
    pub(super) fn is_calm(&self) -> bool {
        self.stored == 0 && self.end == self.next && self.waiting.is_empty()
    }

    /// Whether [`Reorder::append`] is all that a packet of one number needs while others wait.
    #[inline]
    pub(super) fn may_append(&self, number: u64, window: u64) -> bool {
        number >= self.end && number - self.next < window && matches!(self.slot(number), Some(Slot::Empty))
    }

    /// Stores a packet beyond all others.
    #[inline]
    pub(super) fn append(&mut self, number: u64, stored: Stored, now: Instant) {
        self.active = now;
        self.end = number + 1;
        self.bytes += stored.packet.bytes.capacity();
        self.stored += 1;
        let index = self.index(number);
        self.slots[index] = Slot::Stored(stored);
        self.waiting.push_back(Waiting { number, since: now });
    }

    /// Whether the history remembers as many numbers as the window has.
    pub(super) fn covers(&self, window: u64) -> bool {
        self.history.capacity() >= capacity(window)
    }

    /// A packet of one number at the head of a calm buffer; its number.
    #[inline]
    pub(super) fn pass(&mut self, fingerprint: u32, now: Instant) -> u64 {
        let number = self.next;
        (self.advanced, self.active) = (now, now);
        self.history.delivered_one(number, fingerprint);
        self.next = number + 1;
        self.end = number + 1;
        number
    }

    #[inline]
    fn forward(&mut self, stored: Stored, since: Instant) -> Queued {
        self.advanced = self.advanced.max(since);
        self.active = self.active.max(since);
        self.step_over(&stored);
        Queued::Forward(stored)
    }

    /// Moves the head over a packet that is being delivered.
    #[inline]
    fn step_over(&mut self, delivered: &Stored) {
        let to = self.next + delivered.span;
        if delivered.span == 1 && self.slot(self.next).is_none_or(|slot| matches!(slot, Slot::Empty)) {
            self.history.delivered_one(self.next, delivered.fingerprint);
            self.next = to;
            self.end = self.end.max(to);
            return;
        }
        self.history.delivered(self.next..to, delivered.fingerprint);
        let beyond = self.clear(to);
        self.next = to;
        self.end = self.end.max(to);
        if let Some(stored) = beyond {
            self.store(to, stored);
        }
    }

    /// Empties the slots below `to`. Packets there are covered by the one being delivered; what one of them
    /// holds beyond is given back.
    fn clear(&mut self, to: u64) -> Option<Stored> {
        let mut beyond: Option<Stored> = None;
        for number in self.next..to.min(self.next + self.slots.len() as u64) {
            let index = self.index(number);
            let Slot::Stored(mut stored) = mem::take(&mut self.slots[index]) else { continue };
            self.stored -= 1;
            self.bytes -= stored.packet.bytes.capacity();
            stored.span = (number + stored.span).saturating_sub(to);
            let longer = beyond.as_ref().map_or(0, |b| b.span) < stored.span;
            self.covered += u64::from(if longer { beyond.replace(stored).is_some() } else { true });
        }
        beyond
    }

    /// Puts the rest of a packet at the head, unless another one is there.
    fn store(&mut self, head: u64, mut stored: Stored) {
        let index = self.index(head);
        if matches!(self.slots[index], Slot::Stored(_)) {
            self.covered += 1;
            return;
        }
        stored.suspect = false;
        self.stored += 1;
        self.bytes += stored.packet.bytes.capacity();
        self.slots[index] = Slot::Stored(stored);
    }

    /// Packets dropped since the last call because one with several numbers had covered theirs.
    pub(super) fn take_covered(&mut self) -> u64 {
        mem::take(&mut self.covered)
    }

    fn insert_below(&mut self, number: u64, mut stored: Stored, since: Instant, window: u64) -> Queued {
        if number + stored.span > self.next {
            // It begins below the head and reaches beyond it: the rest is new.
            stored.span -= self.next - number;
            return self.insert(self.next, stored, since, window);
        }
        match self.history.look(number, self.next, stored.fingerprint) {
            Seen::Same => Queued::Duplicate(stored),
            Seen::Lost => Queued::Late(stored),
            Seen::Different | Seen::Unknown => Queued::Behind(stored),
        }
    }

    #[inline]
    fn insert_ahead(&mut self, number: u64, stored: Stored, since: Instant) -> Queued {
        self.reserve(number);
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
            return self.forward(stored, since);
        }
        self.active = self.active.max(since);
        self.end = self.end.max(number + stored.span);
        self.bytes += stored.packet.bytes.capacity();
        self.stored += 1;
        self.slots[index] = Slot::Stored(stored);
        self.waiting.push_back(Waiting { number, since });
        Queued::Waits
    }

    /// Room for the numbers from the head to this one.
    fn reserve(&mut self, number: u64) {
        let capacity = capacity(number - self.next + 1);
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
    }

    /// How late `number` is that came at `at`: since when packets above it waited, or had waited when it was
    /// given up.
    pub(super) fn lateness(&self, number: u64, at: Instant) -> Option<Duration> {
        let since = if number < self.next {
            self.skipped.iter().rev().find(|s| s.numbers.contains(&number)).map(|s| s.since)
        } else {
            self.waiting.iter().find(|w| w.number > number).map(|w| w.since)
        };
        Some(at.saturating_duration_since(since?))
    }

    /// The producer says that all numbers below `next` have been used; those that are missing may still come
    /// within `patience`. What it says last counts.
    pub(super) fn announce(&mut self, next: u64, now: Instant, patience: Duration) {
        let since = self.announced.filter(|before| before.number == next).map_or(now, |before| before.since);
        self.announced = (next > self.next).then_some(Announced { number: next, since, patience });
    }

    /// Recovery has shown that this number cannot come back: it is not waited for.
    pub(super) fn give_up(&mut self, number: u64, window: u64) {
        if number < self.next || number - self.next >= window {
            return;
        }
        self.reserve(number);
        let index = self.index(number);
        if matches!(self.slots[index], Slot::Empty) {
            self.slots[index] = Slot::Hopeless;
            self.doubtful_end = self.doubtful_end.max(number + 1);
        }
    }

    /// When [`Reorder::poll`] has something to do, once it has nothing more to do now.
    pub(super) fn deadline(&self, hold: Duration) -> Option<Instant> {
        let stored = self.waiting.iter().find(|w| w.number >= self.next).map(|w| w.since + hold);
        [stored, self.announced_until()].into_iter().flatten().min()
    }

    /// Until when the numbers that were announced may come.
    fn announced_until(&self) -> Option<Instant> {
        // While the head is a packet that waits to be confirmed, that one's deadline counts.
        let announced = self.announced.filter(|a| a.number > self.next && self.get(self.next).is_none())?;
        Some(announced.since.max(self.active) + announced.patience)
    }

    /// What is due at `now`. Call until it answers `Wait`.
    #[inline]
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

    /// The packet at the head, or the hopeless numbers there.
    #[inline]
    fn take_head(&mut self, now: Instant, hold: Duration) -> Option<Poll> {
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
                    waiting.is_none_or(|w| now >= w.since + hold)
                };
                (confirmed || due()).then(|| self.pop_head())
            }
        }
    }

    /// The packet at the head, if it is stored and not in doubt.
    #[inline]
    pub(super) fn pop_ready(&mut self) -> Option<(u64, Stored)> {
        match self.slot(self.next)? {
            Slot::Stored(stored) if !stored.suspect => Some(self.take_first()),
            _ => None,
        }
    }

    fn pop_head(&mut self) -> Poll {
        let (number, stored) = self.take_first();
        Poll::Forward(number, stored)
    }

    #[inline]
    fn take_first(&mut self) -> (u64, Stored) {
        let index = self.index(self.next);
        let number = self.next;
        match mem::take(&mut self.slots[index]) {
            Slot::Stored(stored) => {
                self.stored -= 1;
                self.bytes -= stored.packet.bytes.capacity();
                self.step_over(&stored);
                (number, stored)
            }
            _ => unreachable!("the head's slot was checked by the caller"),
        }
    }

    /// Gives up everything from the head to the first stored packet, at most to `to`; packets behind it have
    /// waited `since` then.
    fn skip(&mut self, to: u64, since: Option<Instant>, now: Instant) -> Poll {
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
        if let Some(since) = since {
            if self.skipped.len() >= SKIPPED_REMEMBERED {
                self.skipped.pop_front();
            }
            self.skipped.push_back(Skipped { numbers: from..number, since });
        }
        self.next = number;
        self.end = self.end.max(number);
        Poll::Lost(from..number, since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since)))
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
            self.doubtful_end = self.doubtful_end.max(number + 1);
        }
        self.waiting.pop_front();
        let place = self.waiting.partition_point(|w| w.since <= since);
        self.waiting.insert(place, Waiting { number, since });
    }

    fn poll_announced(&mut self, now: Instant) -> Poll {
        match (self.announced, self.announced_until()) {
            (Some(announced), Some(until)) if now >= until => self.skip(announced.number, None, now),
            _ => Poll::Wait,
        }
    }

    fn first_stored(&self) -> Option<u64> {
        let numbers = self.next..self.next + self.slots.len() as u64;
        if self.stored == 0 { None } else { numbers.into_iter().find(|n| self.get(*n).is_some()) }
    }

    /// Gives up the oldest gap, to stay within a bound. `None` when nothing is held back.
    pub(super) fn skip_oldest(&mut self, now: Instant) -> Option<Poll> {
        let first = self.first_stored()?;
        if first == self.next {
            return Some(self.pop_head());
        }
        Some(self.skip(first, self.waiting.front().map(|w| w.since), now))
    }

    /// What is still held back, in order, with the gaps between; for the end of a session.
    pub(super) fn flush(&mut self, now: Instant) -> Poll {
        match self.skip_oldest(now) {
            Some(poll) => poll,
            None => match self.announced.take() {
                Some(announced) if announced.number > self.next => self.skip(announced.number, None, now),
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
