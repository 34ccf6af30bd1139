//! A model of a bad link: loss (independent, in bursts, or of everything during an outage),
//! reordering, duplicates, delay and jitter, from a seed.
//!
//! Pure: no I/O and no clock, so that the `impair` command, the simulations, the benchmarks and
//! the demo share one model. A packet passes these stages: [`Link::push`] decides whether it is
//! lost; a packet to be reordered is then held back until [`Impairments::distance`] later ones
//! have passed; all packets then enter one delay line, and [`Link::pop`] returns them when they
//! are due.
//!
//! Each kind of decision has its own generator, so the same seed loses the same packets whether or
//! not they are also reordered or delayed.

mod chance;
mod impairments;
pub mod limits;
mod line;
mod outage;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use chance::{Chance, Losses};
pub use impairments::{Bursts, Distribution, ImpairmentError, Impairments};
use line::{Entry, Line};
pub use outage::Outage;
use serde::Serialize;

use crate::limits::{LINK_DELAY_MAX, LINK_PACKETS_MAX, LINK_PAUSE};

/// Counters of the link. `received + duplicated = forwarded + dropped +` [`Link::waiting`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Done {
    /// Packets that entered.
    pub received: u64,
    /// Packets that came out, second copies included.
    pub forwarded: u64,
    /// Packets that never come out, those of [`Done::cut`] and [`Done::overflowed`] included.
    pub dropped: u64,
    /// Second copies created.
    pub duplicated: u64,
    /// Packets that came out after a packet that had entered later; second copies are not counted.
    pub reordered: u64,
    /// Packets dropped not at random but because they entered during an [`Outage`].
    pub cut: u64,
    /// Packets dropped not at random but because [`LINK_PACKETS_MAX`] packets were already
    /// waiting.
    pub overflowed: u64,
}

/// What the link decides about an entering packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It never comes out.
    Dropped,
    /// It comes out once.
    Passed,
    /// It comes out twice, the copies next to each other.
    Duplicated,
}

/// One direction of a bad link that carries packets of type `T`.
#[derive(Debug)]
pub struct Link<T> {
    impairments: Impairments,
    losses: Losses,
    reorders: Chance,
    lates: Chance,
    duplicates: Chance,
    jitters: Chance,
    /// Reordered packets that are held back while later ones pass, the oldest first; all have the
    /// same distance to wait for, so the oldest is also the first to continue.
    aside: VecDeque<Aside<T>>,
    line: Line<T>,
    /// Number of packets that entered the line without being held back.
    passed: u64,
    /// Index after that of the latest-entered packet that came out.
    out_next: u64,
    first_at: Option<Instant>,
    pushed_at: Option<Instant>,
    done: Done,
}

#[derive(Debug)]
struct Aside<T> {
    /// The value of `passed` at which this packet continues.
    until: u64,
    entry: Entry<T>,
}

impl<T: Clone> Link<T> {
    /// Creates a link with these impairments, whose decisions depend only on `seed`. Values that
    /// [`Impairments::check`] refuses are replaced by the nearest valid ones.
    pub fn new(impairments: Impairments, seed: u64) -> Link<T> {
        let impairments = impairments.clamped();
        Link {
            losses: Losses::new(impairments.loss, impairments.burst, impairments.bursts, seed),
            reorders: Chance::new(seed, 1),
            lates: Chance::new(seed, 4),
            duplicates: Chance::new(seed, 2),
            jitters: Chance::new(seed, 3),
            impairments,
            aside: VecDeque::new(),
            line: Line::default(),
            passed: 0,
            out_next: 0,
            first_at: None,
            pushed_at: None,
            done: Done::default(),
        }
    }

    /// Accepts a packet that enters at `now`.
    pub fn push(&mut self, now: Instant, item: T) -> Fate {
        self.end_pause(now);
        self.pushed_at = Some(now);
        let index = self.done.received;
        self.done.received += 1;
        // All random numbers are drawn for every packet, so that no decision shifts the following
        // ones.
        let lost = self.losses.next();
        let duplicated = self.duplicates.hits(self.impairments.duplicate);
        let reordered = self.reorders.hits(self.impairments.reorder) && self.impairments.distance > 0;
        let late = self.lates.hits(self.impairments.late);
        if self.is_cut(now) || lost || self.overflows() {
            self.done.dropped += 1;
            return Fate::Dropped;
        }
        self.done.duplicated += u64::from(duplicated);
        let entry = Entry { index, duplicated, late, item };
        if reordered {
            let until = self.passed + u64::from(self.impairments.distance);
            self.aside.push_back(Aside { until, entry });
        } else {
            self.enter_line(now, entry);
            self.passed += 1;
            self.return_passed(now);
        }
        if duplicated { Fate::Duplicated } else { Fate::Passed }
    }

    /// Returns the next packet that is due at `now`, if any.
    pub fn pop(&mut self, now: Instant) -> Option<T> {
        self.end_pause(now);
        let due = self.line.pop(now)?;
        self.done.forwarded += 1;
        if due.index < self.out_next {
            self.done.reordered += u64::from(!due.second_copy);
        } else {
            self.out_next = due.index + 1;
        }
        Some(due.item)
    }

    /// Returns when to call [`Link::pop`] next; `None` if nothing is waiting.
    pub fn next_at(&self) -> Option<Instant> {
        let pause_ends = self.pause_ends();
        self.line.next_at().into_iter().chain(pause_ends).min()
    }

    /// Makes all waiting packets due at `now`, in the order in which they would have come out
    /// without further input. Used at the end of the input.
    pub fn flush(&mut self, now: Instant) {
        while let Some(aside) = self.aside.pop_front() {
            self.enter_line(now, aside.entry);
        }
        self.line.hurry(now);
    }

    /// Returns the counters.
    pub fn done(&self) -> Done {
        self.done
    }

    /// Returns the number of packets that have not come out yet, including second copies.
    pub fn waiting(&self) -> u64 {
        self.done.received + self.done.duplicated - self.done.forwarded - self.done.dropped
    }

    /// Returns whether an outage is active, and if so counts the packet.
    fn is_cut(&mut self, now: Instant) -> bool {
        let first = *self.first_at.get_or_insert(now);
        let since = now.saturating_duration_since(first);
        let cut = self.impairments.outage.is_some_and(|outage| outage.covers(since));
        self.done.cut += u64::from(cut);
        cut
    }

    /// Returns whether a packet and a possible second copy exceed the capacity, and if so counts
    /// the packet.
    fn overflows(&mut self) -> bool {
        let full = self.waiting() > LINK_PACKETS_MAX as u64 - 1;
        self.done.overflowed += u64::from(full);
        full
    }

    /// Returns when the held-back packets have waited long enough for paused input.
    fn pause_ends(&self) -> Option<Instant> {
        self.pushed_at.filter(|_| !self.aside.is_empty()).map(|at| at + LINK_PAUSE)
    }

    /// Releases held-back packets once the input has paused for [`LINK_PAUSE`], so that nothing is
    /// lost except the dropped packets. Their delay counts from the end of that wait, however late
    /// this function is called.
    fn end_pause(&mut self, now: Instant) {
        if let Some(end) = self.pause_ends().filter(|end| *end <= now) {
            while let Some(aside) = self.aside.pop_front() {
                self.enter_line(end, aside.entry);
            }
        }
    }

    /// Puts those packets back into the line that enough others have passed.
    fn return_passed(&mut self, now: Instant) {
        while let Some(aside) = self.aside.pop_front_if(|aside| aside.until <= self.passed) {
            self.enter_line(now, aside.entry);
        }
    }

    fn enter_line(&mut self, now: Instant, entry: Entry<T>) {
        let Impairments { delay, jitter, late_by, distribution, overtake, .. } = self.impairments;
        // A product that is too large for a duration also exceeds the limit.
        let jitter =
            (jitter.as_secs_f64() * self.jitters.jitter(distribution)).min(LINK_DELAY_MAX.as_secs_f64());
        let at = now + delay + Duration::from_secs_f64(jitter);
        match entry.late {
            true => self.line.enter(at + late_by, entry),
            false if overtake => self.line.enter(at, entry),
            false => self.line.enter_in_order(at, entry),
        }
    }
}

#[cfg(test)]
mod tests;
