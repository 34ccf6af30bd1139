//! A model of a bad link: loss (alone or in bursts), reordering, duplicates, delay and jitter, from a seed.
//!
//! Pure: no I/O and no clock, so that the `impair` command, the simulations and the demo share one model.
//! A packet's way: [`Link::push`] decides whether it is lost; a packet that is to be reordered then waits
//! aside until [`Impairments::distance`] later ones have passed; then all go through one delay line in
//! order, and [`Link::pop`] hands them out when they are due.
//!
//! Every kind of decision has a generator of its own, so the same seed loses the same packets whether or
//! not they are also reordered or delayed.

mod chance;
mod impairments;

use std::{collections::VecDeque, time::Instant};

use chance::{Chance, Losses};
pub use impairments::{Error, Impairments};
use serde::Serialize;

use crate::limits::{LINK_PACKETS_MAX, LINK_PAUSE};

/// What the link did so far. `received + duplicated = forwarded + dropped +` [`Link::waiting`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Done {
    /// Packets that entered.
    pub received: u64,
    /// Packets that came out, second copies included.
    pub forwarded: u64,
    /// Packets that never come out, those of [`Done::overflowed`] included.
    pub dropped: u64,
    /// Second copies that were made.
    pub duplicated: u64,
    /// Packets that came out after one that had entered later; their second copies are not counted.
    pub reordered: u64,
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
    duplicates: Chance,
    jitters: Chance,
    /// Reordered packets that let later ones pass, the oldest first; all have the same distance to go, so
    /// the oldest is also the first to come back.
    aside: VecDeque<Aside<T>>,
    /// Packets on their way, by time of release, which never decreases.
    line: VecDeque<Due<T>>,
    /// Packets that went straight into the line.
    passed: u64,
    /// One more than the index of the latest-entered packet that came out.
    out_next: u64,
    pushed_at: Option<Instant>,
    done: Done,
}

#[derive(Debug)]
struct Entry<T> {
    /// How many packets had entered before this one.
    index: u64,
    duplicated: bool,
    item: T,
}

#[derive(Debug)]
struct Aside<T> {
    /// The value of `passed` at which this one goes on.
    until: u64,
    entry: Entry<T>,
}

#[derive(Debug)]
struct Due<T> {
    at: Instant,
    index: u64,
    second_copy: bool,
    item: T,
}

impl<T: Clone> Link<T> {
    /// A link with these impairments, whose decisions follow from `seed` alone. Values beyond what
    /// [`Impairments::check`] allows are brought to the nearest possible ones.
    pub fn new(impairments: Impairments, seed: u64) -> Link<T> {
        let impairments = impairments.clamped();
        Link {
            losses: Losses::new(impairments.loss, impairments.burst, seed),
            reorders: Chance::new(seed, 1),
            duplicates: Chance::new(seed, 2),
            jitters: Chance::new(seed, 3),
            impairments,
            aside: VecDeque::new(),
            line: VecDeque::new(),
            passed: 0,
            out_next: 0,
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
        let late = self.reorders.hits(self.impairments.reorder) && self.impairments.distance > 0;
        if lost || self.overflows() {
            self.done.dropped += 1;
            return Fate::Dropped;
        }
        self.done.duplicated += u64::from(duplicated);
        let entry = Entry { index, duplicated, item };
        if late {
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
        let due = self.line.pop_front_if(|due| due.at <= now)?;
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
        self.line.front().map(|due| due.at).into_iter().chain(pause_ends).min()
    }

    /// Makes everything that waits due at `now`, in the order in which it would have come out without
    /// further input: for the end of the input.
    pub fn flush(&mut self, now: Instant) {
        while let Some(aside) = self.aside.pop_front() {
            self.enter_line(now, aside.entry);
        }
        for due in &mut self.line {
            due.at = due.at.min(now);
        }
    }

    /// What the link did so far.
    pub fn done(&self) -> Done {
        self.done
    }

    /// Packets that have not come out yet, second copies included.
    pub fn waiting(&self) -> u64 {
        self.done.received + self.done.duplicated - self.done.forwarded - self.done.dropped
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

    /// Once the input has paused for [`LINK_PAUSE`], packets aside wait no longer, so that nothing is lost
    /// beyond what was dropped. It counts from the pause's end, however late it is noticed.
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

    /// The delay line keeps order: jitter bunches packets, as a queue in a router does, and never lets one
    /// overtake another. Only [`Impairments::reorder`] reorders.
    fn enter_line(&mut self, now: Instant, entry: Entry<T>) {
        let jitter = self.impairments.jitter.mul_f64(self.jitters.draw());
        let at = now + self.impairments.delay + jitter;
        let at = self.line.back().map_or(at, |last| at.max(last.at));
        let Entry { index, duplicated, item } = entry;
        if duplicated {
            self.line.push_back(Due { at, index, second_copy: false, item: item.clone() });
        }
        self.line.push_back(Due { at, index, second_copy: duplicated, item });
    }
}

#[cfg(test)]
mod tests;
