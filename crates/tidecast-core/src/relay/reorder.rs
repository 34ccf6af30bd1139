//! Reorder buffer of one session: a ring indexed by number, with a deadline for each stored
//! packet.
//!
//! Packets in order pass through at once. A packet after a gap waits; when it has waited for the
//! hold, the gap before it is given up. One exception protects the head against forged numbers: a
//! single packet does not move the head while lower numbers keep arriving. `enter` inserts
//! packets; `due` decides what is delivered and what is given up.

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

/// A packet in the buffer.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) packet: Packet,
    pub(super) how: How,
    /// Count of numbers that the packet takes; 1 unless the format specifies another count.
    pub(super) span: u64,
    pub(super) fingerprint: u32,
    /// Its deadline passed while lower numbers kept arriving, so it is likely forged.
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
    /// Cannot be recovered, so it is not waited for.
    Hopeless,
    Stored(Stored),
}

impl Place for Slot {
    fn is_empty(&self) -> bool {
        matches!(self, Slot::Empty)
    }
}

/// Result of inserting a packet.
#[derive(Debug)]
pub(super) enum Queued {
    /// In order: deliver it now.
    Forward(Stored),
    /// Stored until the gap before it is closed or given up.
    Waits,
    /// Replaces a stored packet of the same number that stood alone; the returned one is rejected.
    Replaced(Stored),
    /// Already delivered or stored, with the same content.
    Duplicate(Stored),
    /// Already delivered with other content: the producer may have restarted its numbering.
    Other(Stored),
    /// Too far below the head to be known: the producer may have restarted its numbering.
    Behind(Stored),
    /// Its number was already given up.
    Late(Stored),
    /// Beyond the window.
    Ahead(Stored),
}

impl Queued {
    /// Whether the buffer accepted the packet.
    #[inline]
    pub(super) fn is_accepted(&self) -> bool {
        matches!(self, Queued::Forward(_) | Queued::Waits | Queued::Replaced(_))
    }
}

/// What the buffer knows about a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// The packet is stored, or was delivered.
    Same,
    /// The number is missing, and higher ones are stored.
    Missing,
    /// The number was given up.
    Lost,
    /// The number is above all others, within the window.
    Ahead,
    /// The number has other content, or is outside the window.
    Other,
}

/// Next action of the buffer.
#[derive(Debug)]
pub(super) enum Poll {
    /// Deliver this packet.
    Forward(u64, Stored),
    /// Count these numbers as lost; the oldest packet behind them has waited this long.
    Lost(Range<u64>, Duration),
    /// Nothing to do until [`Reorder::deadline`].
    Wait,
}

/// How long the gap at the head may stay open.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Maximum time after the first packet behind the gap came.
    pub(super) most: Duration,
    /// Allows an earlier end: at this instant, but after at least this duration.
    pub(super) until: Option<(Duration, Instant)>,
    /// Numbers per second, where packets follow each other so closely that a single one far ahead
    /// is conspicuous.
    pub(super) pace: Option<f64>,
}

impl Patience {
    /// End of the gap, if the first packet behind it came at `since`.
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

/// A stored packet's entry in the order of arrival.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    number: u64,
    since: Instant,
    /// When the previous packet came.
    after: Instant,
}

/// A producer's announcement that all numbers below `number` have been used.
#[derive(Debug, Clone, Copy)]
struct Announced {
    number: u64,
    since: Instant,
    /// How long missing numbers may still arrive, after the announcement or after the last packet.
    patience: Duration,
}

/// Numbers that were given up, and since when they had been missing.
#[derive(Debug)]
struct Skipped {
    numbers: Range<u64>,
    since: Instant,
}

/// Reorder buffer and history of one session. The fields that every packet in order touches come
/// first.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Reorder {
    /// The head: the number to be delivered next.
    next: u64,
    /// Number after the highest one stored or delivered.
    end: u64,
    /// Number after the second highest one.
    second: u64,
    /// When the head last moved because its packet came.
    advanced: Instant,
    /// When a new packet last came.
    active: Instant,
    history: NumberHistory,
    stored: usize,
    /// Empty until the first gap.
    slots: Places<Slot>,
    /// Numbers per packet, by which bounds are scaled.
    step: u64,
    waiting: VecDeque<Waiting>,
    bytes: usize,
    covered: u64,
    /// Number after the highest one that cannot be recovered, or whose packet is suspect.
    doubtful_end: u64,
    announced: Option<Announced>,
    /// The latest gaps that were given up, to learn how late their packets come.
    skipped: VecDeque<Skipped>,
}

const CAPACITY_MIN: usize = 64;

/// Slots of the ring, or packets in the history, for a window of this many packets: a power of
/// two.
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

    /// Sets how many numbers a packet takes. As long as that is one, packets are kept in a ring by
    /// number.
    pub(super) fn set_step(&mut self, step: u64) {
        if step > 1 || self.slots.is_sorted() {
            self.step = step;
            self.slots.sort(self.next);
            self.history.set_step(step, self.next);
        }
    }

    /// Whether packets take several numbers now, or did before.
    pub(super) fn is_stepping(&self) -> bool {
        self.slots.is_sorted()
    }

    #[inline]
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Number after the highest one seen.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Number of stored packets.
    pub(super) fn stored(&self) -> usize {
        self.stored
    }

    /// Memory of the stored packets, and of the ring beyond its minimum.
    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.slots.bytes(CAPACITY_MIN)
    }

    /// Frees the ring if no packet is stored.
    pub(super) fn shrink(&mut self) {
        if self.stored == 0 {
            self.slots.clear();
        }
    }

    /// Whether the window is full by the count of its packets: they take fewer numbers than usual.
    fn is_full(&self, window: u64) -> bool {
        self.slots.is_sorted() && self.stored as u64 >= window / self.step
    }

    /// Whether the window has no room for a packet with this number, which is not below the head.
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

    /// Whether a stored packet ends where `number` begins.
    fn ends_at(&self, number: u64) -> bool {
        match self.slots.last_sorted(number) {
            Some((first, Slot::Stored(stored))) => first >= self.next && first + stored.span >= number,
            _ => number.checked_sub(1).is_some_and(|below| self.get(below).is_some()),
        }
    }

    /// Looks up a packet without inserting it.
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

    /// Whether this number may still come: neither delivered, nor given up, nor stored.
    pub(super) fn misses(&self, number: u64) -> bool {
        number >= self.next && matches!(self.slot(number), None | Some(Slot::Empty))
    }

    /// Whether no number above the head is in doubt, and no announcement is pending.
    pub(super) fn is_quiet(&self) -> bool {
        self.doubtful_end <= self.next && self.announced.is_none()
    }

    /// Whether the buffer is empty. If it is quiet as well and the history covers the window,
    /// [`Reorder::pass`] is all that a packet at the head needs.
    pub(super) fn is_calm(&self) -> bool {
        self.stored == 0 && self.end == self.next && self.waiting.is_empty()
    }

    /// Makes the history cover at least this many numbers.
    #[inline]
    pub(super) fn remember(&mut self, numbers: u64) {
        if !self.covers(numbers) {
            self.history.grow(capacity(numbers / self.step), self.step, self.next);
        }
    }

    /// History of the numbers below the head, kept after the session has ended.
    pub(super) fn into_history(self) -> NumberHistory {
        self.history
    }

    /// Whether the history covers the window.
    pub(super) fn covers(&self, window: u64) -> bool {
        let packets = if self.step == 1 { window } else { window / self.step };
        self.history.capacity() >= capacity(packets)
    }

    /// When the packet came whose deadline is next.
    pub(super) fn oldest_since(&self) -> Option<Instant> {
        self.waiting.front().map(|waiting| waiting.since)
    }

    /// How long packets above `number` have waited for it, when it comes at `at`.
    pub(super) fn waited(&self, number: u64, at: Instant) -> Option<Duration> {
        let since = self.waiting.iter().find(|w| w.number > number).map(|w| w.since);
        Some(at.saturating_duration_since(since?))
    }

    /// How late `number` is if it comes at `at`: the time since it was missed, or would have been
    /// missed if it was given up.
    pub(super) fn lateness(&self, number: u64, at: Instant) -> Option<Duration> {
        let since = if number < self.next {
            self.skipped.iter().rev().find(|s| s.numbers.contains(&number)).map(|s| s.since)
        } else {
            self.missed_since(number)
        };
        Some(at.saturating_duration_since(since?))
    }

    /// Since when `number` is missed: since two consecutive packets above it are stored, or since
    /// no lower number has come any more. A single packet above numbers that keep arriving came
    /// early, or is forged; then nothing is late.
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

    /// Number after the highest received one. If that is isolated it may be forged; then the number
    /// after the second highest.
    pub(super) fn witnessed(&self) -> u64 {
        if self.second + 1 >= self.end { self.end } else { self.second }
    }

    /// Notes that a packet came that ends at `past`.
    #[inline]
    fn reached(&mut self, past: u64) {
        if past > self.end {
            (self.second, self.end) = (self.end, past);
        } else if past < self.end {
            self.second = self.second.max(past);
        }
    }

    /// The producer announces that all numbers below `next` have been used; missing ones may still
    /// arrive within `patience`. A later announcement replaces this one.
    pub(super) fn announce(&mut self, next: u64, now: Instant, patience: Duration) {
        let since = self.announced.filter(|before| before.number == next).map_or(now, |before| before.since);
        self.announced = (next > self.next).then_some(Announced { number: next, since, patience });
    }

    /// Recovery has shown that this number cannot be recovered, so it is not waited for.
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
