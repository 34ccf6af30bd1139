//! The reorder buffer of one session: a ring indexed by number, with a deadline per stored packet.
//!
//! In-order packets pass through at once. A packet after a gap waits; when it has waited for the
//! hold, the gap before it is given up. One exception guards the head against forged numbers: a
//! packet that stands alone while the numbers below it go on arriving does not move the head.
//! `enter` takes packets in, `due` says what goes out and what is given up.

use std::{
    collections::VecDeque,
    ops::Range,
    time::{Duration, Instant},
};

use super::{
    How, Packet,
    dedup::{NumberHistory, Seen},
    places::{Place, Places},
};
use crate::limits::LATENESS_NEIGHBOURS;

mod due;
mod enter;

/// A packet with its place.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) packet: Packet,
    pub(super) how: How,
    /// Numbers that the packet takes; 1 unless the format says otherwise.
    pub(super) span: u64,
    pub(super) fingerprint: u32,
    /// The deadline passed while lower numbers went on arriving, so the packet is likely forged.
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

impl Place for Slot {
    fn is_empty(&self) -> bool {
        matches!(self, Slot::Empty)
    }
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
    /// Delivered before with other content: the producer may count anew.
    Other(Stored),
    /// Too far below the head to know: likewise.
    Behind(Stored),
    /// Given up before it came.
    Late(Stored),
    /// Beyond the window.
    Ahead(Stored),
}

impl Queued {
    /// Whether the packet was taken in.
    #[inline]
    pub(super) fn is_accepted(&self) -> bool {
        matches!(self, Queued::Forward(_) | Queued::Waits | Queued::Replaced(_))
    }
}

/// What a buffer knows of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// It is there, or was.
    Same,
    /// The number is missing, and later ones are there.
    Missing,
    /// The number was given up.
    Lost,
    /// The number is beyond all others, within the window.
    Ahead,
    /// The number has other content, or is far away.
    Other,
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

/// How long the gap at the head may last.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// From when the first packet behind it came, at most.
    pub(super) most: Duration,
    /// If not that long: so long at least, and until then.
    pub(super) until: Option<(Duration, Instant)>,
    /// How fast the numbers go, where packets follow each other so closely that one alone is
    /// conspicuous.
    pub(super) pace: Option<f64>,
}

impl Patience {
    /// When it ends, if the first packet behind the gap came at `since`.
    fn ends(&self, since: Instant) -> Instant {
        let most = since + self.most;
        self.until.map_or(most, |(least, until)| most.min(until.max(since + least)))
    }
}

impl From<Duration> for Patience {
    fn from(hold: Duration) -> Patience {
        Patience { most: hold, until: None, pace: None }
    }
}

/// A stored packet's place in the order of arrival.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    number: u64,
    since: Instant,
    /// When the packet before it came.
    after: Instant,
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
    /// One past the second highest.
    second: u64,
    /// When the head last moved because the packet for it came.
    advanced: Instant,
    /// When a packet last came that was not known before.
    active: Instant,
    history: NumberHistory,
    stored: usize,
    /// No room until the first gap.
    slots: Places<Slot>,
    /// Numbers that a packet takes, as far as bounds are concerned.
    step: u64,
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

/// Slots of the ring, and packets in the history, for a window of so many packets: a power of two.
fn capacity(packets: u64) -> usize {
    (packets as usize).next_power_of_two().max(CAPACITY_MIN)
}

impl Reorder {
    /// A buffer whose first number is `next`.
    pub(super) fn new(next: u64, now: Instant) -> Reorder {
        Reorder {
            next,
            end: next,
            second: next,
            slots: Places::new(),
            step: 1,
            waiting: VecDeque::new(),
            stored: 0,
            bytes: 0,
            covered: 0,
            doubtful_end: next,
            advanced: now,
            active: now,
            announced: None,
            skipped: VecDeque::new(),
            history: NumberHistory::new(CAPACITY_MIN, next),
        }
    }

    /// Packets take so many numbers from now on. Until that is more than one, they are kept by
    /// number.
    pub(super) fn set_step(&mut self, step: u64) {
        if step > 1 || self.slots.is_sorted() {
            self.step = step;
            self.slots.sort(self.next);
            self.history.set_step(step, self.next);
        }
    }

    /// Whether packets take several numbers, or did.
    pub(super) fn is_stepping(&self) -> bool {
        self.slots.is_sorted()
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

    /// Memory of the packets held back, and of places that had to grow for them.
    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.slots.bytes(CAPACITY_MIN)
    }

    /// Frees the places, when nothing is held back.
    pub(super) fn shrink(&mut self) {
        if self.stored == 0 {
            self.slots.clear();
        }
    }

    /// Whether as many packets are held back as the window has: those that take fewer numbers than
    /// usual.
    fn is_full(&self, window: u64) -> bool {
        self.slots.is_sorted() && self.stored as u64 >= window / self.step
    }

    /// Whether the window has no room for a packet of this number, at the head or above it.
    pub(super) fn is_beyond(&self, number: u64, window: u64) -> bool {
        number - self.next >= window || (self.is_full(window) && number != self.next)
    }

    #[inline]
    fn slot(&self, number: u64) -> Option<&Slot> {
        self.slots.get(self.next, number)
    }

    fn get(&self, number: u64) -> Option<&Stored> {
        match self.slot(number) {
            Some(Slot::Stored(stored)) => Some(stored),
            _ => None,
        }
    }

    /// Whether a packet is stored that ends where `number` begins.
    fn ends_at(&self, number: u64) -> bool {
        match self.slots.last_sorted(number) {
            Some((first, Slot::Stored(stored))) => first >= self.next && first + stored.span >= number,
            _ => number.checked_sub(1).is_some_and(|below| self.get(below).is_some()),
        }
    }

    /// What is known of a packet that is not to be taken in yet.
    pub(super) fn known(&self, number: u64, span: u64, fingerprint: u32, window: u64) -> Known {
        if number < self.next {
            return match self.history.look(number, self.next, fingerprint) {
                Seen::Same => Known::Same,
                Seen::Lost => Known::Lost,
                Seen::Different | Seen::Unknown => Known::Other,
            };
        }
        if number - self.next >= window {
            return Known::Other;
        }
        match self.get(number) {
            Some(stored) if stored.fingerprint == fingerprint => Known::Same,
            Some(_) => Known::Other,
            None if number + span <= self.end => Known::Missing,
            None => Known::Ahead,
        }
    }

    /// Whether this number may still come: not delivered, not given up and not stored.
    pub(super) fn misses(&self, number: u64) -> bool {
        number >= self.next && matches!(self.slot(number), None | Some(Slot::Empty))
    }

    /// Whether only gaps and packets that are not in doubt stand ahead of the head.
    pub(super) fn is_quiet(&self) -> bool {
        self.doubtful_end <= self.next && self.announced.is_none()
    }

    /// Whether, besides being quiet, nothing is held back: then [`Reorder::pass`] is all that a
    /// packet at the head needs, if the history covers the window.
    pub(super) fn is_calm(&self) -> bool {
        self.stored == 0 && self.end == self.next && self.waiting.is_empty()
    }

    /// Lets the history remember at least so many numbers.
    #[inline]
    pub(super) fn remember(&mut self, numbers: u64) {
        if !self.covers(numbers) {
            self.history.grow(capacity(numbers / self.step), self.step, self.next);
        }
    }

    /// What became of the numbers below the head, for when the session has ended.
    pub(super) fn into_history(self) -> NumberHistory {
        self.history
    }

    /// Whether the history remembers as many numbers as the window has.
    pub(super) fn covers(&self, window: u64) -> bool {
        let packets = if self.step == 1 { window } else { window / self.step };
        self.history.capacity() >= capacity(packets)
    }

    /// Since when the packet waits whose deadline is next.
    pub(super) fn oldest_since(&self) -> Option<Instant> {
        self.waiting.front().map(|waiting| waiting.since)
    }

    /// How long packets above `number`, which came at `at`, have waited for it.
    pub(super) fn waited(&self, number: u64, at: Instant) -> Option<Duration> {
        let since = self.waiting.iter().find(|w| w.number > number).map(|w| w.since);
        Some(at.saturating_duration_since(since?))
    }

    /// How late `number` is that came at `at`: since when it is missed, or had been missed when it
    /// was given up.
    pub(super) fn lateness(&self, number: u64, at: Instant) -> Option<Duration> {
        let since = if number < self.next {
            self.skipped.iter().rev().find(|s| s.numbers.contains(&number)).map(|s| s.since)
        } else {
            self.missed_since(number)
        };
        Some(at.saturating_duration_since(since?))
    }

    /// Since when `number` is missed: since the first two neighbours above it are there, or since
    /// no lower number has come any more. What stands alone above numbers that go on arriving came
    /// early, or is forged: nobody is late then.
    fn missed_since(&self, number: u64) -> Option<Instant> {
        let (mut lowest, mut below, mut pair): (Option<Waiting>, _, _) = (None, self.advanced, None);
        let first = if number == self.next { self.first_stored() } else { None };
        for waiting in self.waiting.iter().filter(|w| w.number >= self.next) {
            if waiting.number < number {
                below = below.max(waiting.since);
                continue;
            }
            if lowest.is_none_or(|lowest| waiting.number < lowest.number) {
                lowest = Some(*waiting);
            }
            if pair.is_none()
                && let Some(stored) = self.get(waiting.number)
                && let Some(neighbour) = self.get(waiting.number + stored.span)
            {
                pair = Some(waiting.since.max(neighbour.packet.arrived));
            }
            if pair.is_some() && lowest.is_some_and(|lowest| Some(lowest.number) == first) {
                break; // none below, and none that is lower
            }
        }
        let lowest = lowest?;
        let near = lowest.number - number <= LATENESS_NEIGHBOURS * self.step;
        let alone = near.then(|| lowest.since.max(below));
        [pair, alone].into_iter().flatten().min()
    }

    /// One past the highest number that came, or past the second highest, if the highest stands
    /// alone: it may be forged.
    pub(super) fn witnessed(&self) -> u64 {
        if self.second + 1 >= self.end { self.end } else { self.second }
    }

    /// Notes that all numbers up to `past`, or one just below it, have come.
    #[inline]
    fn reached(&mut self, past: u64) {
        if past > self.end {
            (self.second, self.end) = (self.end, past);
        } else if past < self.end {
            self.second = self.second.max(past);
        }
    }

    /// The producer says that all numbers below `next` have been used; those that are missing may
    /// still come within `patience`. What it says last counts.
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
        if self.slots.get_mut(number).is_none() {
            self.slots.put(number, Slot::Hopeless);
            self.doubtful_end = self.doubtful_end.max(number + 1);
        }
    }
}

#[cfg(test)]
mod tests;
