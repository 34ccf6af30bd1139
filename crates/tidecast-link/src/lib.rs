//! A model of a bad link: loss (alone, in bursts, or of everything for a time), reordering,
//! duplicates, delay and jitter, from a seed.
//!
//! Pure: no I/O and no clock, so that the `impair` command, the simulations, the benchmarks and the
//! demo share one model. A packet's way: [`Link::push`] decides whether it is lost; a packet that
//! is to be reordered then waits aside until [`Impairments::distance`] later ones have passed; then
//! all go through one delay line, and
//! [`Link::pop`] hands them out when they are due.
//!
//! Every kind of decision has a generator of its own, so the same seed loses the same packets
//! whether or not they are also reordered or delayed.

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

/// What the link did so far. `received + duplicated = forwarded + dropped +` [`Link::waiting`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Done {
    /// Packets that entered.
    pub received: u64,
    /// Packets that came out, second copies included.
    pub forwarded: u64,
    /// Packets that never come out, those of [`Done::cut`] and [`Done::overflowed`] included.
    pub dropped: u64,
    /// Second copies that were made.
    pub duplicated: u64,
    /// Packets that came out after one that had entered later; their second copies are not counted.
    pub reordered: u64,
    /// Dropped not by chance but because they entered during an [`Outage`].
    pub cut: u64,
    /// Dropped not by chance but because [`LINK_PACKETS_MAX`] packets were already waiting.
    pub overflowed: u64,
}

/// What becomes of a packet that enters.
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
    /// Reordered packets that let later ones pass, the oldest first; all have the same distance to
    /// go, so the oldest is also the first to come back.
    aside: VecDeque<Aside<T>>,
    line: Line<T>,
    /// Packets that went straight into the line.
    passed: u64,
    /// One more than the index of the latest-entered packet that came out.
    out_next: u64,
    first_at: Option<Instant>,
    pushed_at: Option<Instant>,
    done: Done,
}

#[derive(Debug)]
struct Aside<T> {
    /// The value of `passed` at which this one goes on.
    until: u64,
    entry: Entry<T>,
}

impl<T: Clone> Link<T> {
    /// A link with these impairments, whose decisions follow from `seed` alone. Values beyond what
    /// [`Impairments::check`] allows are brought to the nearest possible ones.
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

    /// A packet enters at `now`.
    pub fn push(&mut self, now: Instant, item: T) -> Fate {
        self.end_pause(now);
        self.pushed_at = Some(now);
        let index = self.done.received;
        self.done.received += 1;
        // All chances are drawn for every packet, so that no decision shifts those that follow.
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

    /// The next packet that is due at `now`, if there is one.
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

    /// When to call [`Link::pop`] next; `None` when nothing is waiting.
    pub fn next_at(&self) -> Option<Instant> {
        let pause_ends = self.pause_ends();
        self.line.next_at().into_iter().chain(pause_ends).min()
    }

    /// Makes everything that waits due at `now`, in the order in which it would have come out
    /// without further input: for the end of the input.
    pub fn flush(&mut self, now: Instant) {
        while let Some(aside) = self.aside.pop_front() {
            self.enter_line(now, aside.entry);
        }
        self.line.hurry(now);
    }

    /// What the link did so far.
    pub fn done(&self) -> Done {
        self.done
    }

    /// Packets that have not come out yet, second copies included.
    pub fn waiting(&self) -> u64 {
        self.done.received + self.done.duplicated - self.done.forwarded - self.done.dropped
    }

    /// True (and counted) when nothing gets through.
    fn is_cut(&mut self, now: Instant) -> bool {
        let first = *self.first_at.get_or_insert(now);
        let since = now.saturating_duration_since(first);
        let cut = self.impairments.outage.is_some_and(|outage| outage.covers(since));
        self.done.cut += u64::from(cut);
        cut
    }

    /// True (and counted) when a packet and a possible second copy of it find no room.
    fn overflows(&mut self) -> bool {
        let full = self.waiting() > LINK_PACKETS_MAX as u64 - 1;
        self.done.overflowed += u64::from(full);
        full
    }

    /// When the packets aside have waited long enough for an input that has paused.
    fn pause_ends(&self) -> Option<Instant> {
        self.pushed_at.filter(|_| !self.aside.is_empty()).map(|at| at + LINK_PAUSE)
    }

    /// Once the input has paused for [`LINK_PAUSE`], packets aside wait no longer, so that nothing
    /// is lost beyond what was dropped. It counts from the pause's end, however late it is noticed.
    fn end_pause(&mut self, now: Instant) {
        if let Some(end) = self.pause_ends().filter(|end| *end <= now) {
            while let Some(aside) = self.aside.pop_front() {
                self.enter_line(end, aside.entry);
            }
        }
    }

    /// Puts back in line those that have let enough others pass.
    fn return_passed(&mut self, now: Instant) {
        while let Some(aside) = self.aside.pop_front_if(|aside| aside.until <= self.passed) {
            self.enter_line(now, aside.entry);
        }
    }

    fn enter_line(&mut self, now: Instant, entry: Entry<T>) {
        let Impairments { delay, jitter, late_by, distribution, overtake, .. } = self.impairments;
        // A product beyond what a time can be is beyond the bound, too.
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
