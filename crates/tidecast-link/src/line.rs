//! The delay line of a link: packets on their way, by the time of their release.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
    time::Instant,
};

/// A packet that enters the line.
#[derive(Debug)]
pub(super) struct Entry<T> {
    /// How many packets had entered the link before this one.
    pub(super) index: u64,
    pub(super) duplicated: bool,
    /// Whether others may overtake it.
    pub(super) late: bool,
    pub(super) item: T,
}

/// A packet in the line.
#[derive(Debug)]
pub(super) struct Due<T> {
    at: Instant,
    /// How many had entered the line before it: those of one time come out as they went in, and
    /// copies together.
    place: u64,
    pub(super) index: u64,
    pub(super) second_copy: bool,
    pub(super) item: T,
}

/// Packets on their way.
#[derive(Debug)]
pub(super) struct Line<T> {
    heap: BinaryHeap<Reverse<Due<T>>>,
    places: u64,
    /// The latest time of release of those that keep their order.
    last: Option<Instant>,
}

impl<T> Default for Line<T> {
    fn default() -> Line<T> {
        Line { heap: BinaryHeap::new(), places: 0, last: None }
    }
}

impl<T: Clone> Line<T> {
    /// A packet that comes out at `at`, whatever the others do.
    pub(super) fn enter(&mut self, at: Instant, entry: Entry<T>) {
        let Entry { index, duplicated, item, .. } = entry;
        if duplicated {
            self.put(at, index, false, item.clone());
        }
        self.put(at, index, duplicated, item);
    }

    /// A packet that comes out at `at`, or together with the last that entered this way if that
    /// comes later.
    pub(super) fn enter_in_order(&mut self, at: Instant, entry: Entry<T>) {
        let at = self.last.map_or(at, |last| at.max(last));
        self.last = Some(at);
        self.enter(at, entry);
    }

    fn put(&mut self, at: Instant, index: u64, second_copy: bool, item: T) {
        let place = self.places;
        self.places += 1;
        self.heap.push(Reverse(Due { at, place, index, second_copy, item }));
    }

    /// The next packet that is due at `now`.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Due<T>> {
        self.next_at().filter(|at| *at <= now)?;
        self.heap.pop().map(|Reverse(due)| due)
    }

    /// When the next packet is due.
    pub(super) fn next_at(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse(due)| due.at)
    }

    /// Makes all of them due at `now`, in the order that they have.
    pub(super) fn hurry(&mut self, now: Instant) {
        let mut all: Vec<Due<T>> =
            std::mem::take(&mut self.heap).into_iter().map(|Reverse(due)| due).collect();
        all.sort_unstable();
        for due in all {
            self.put(due.at.min(now), due.index, due.second_copy, due.item);
        }
        self.last = self.last.map(|last| last.min(now));
    }
}

impl<T> Ord for Due<T> {
    fn cmp(&self, other: &Due<T>) -> Ordering {
        (self.at, self.place).cmp(&(other.at, other.place))
    }
}

impl<T> PartialOrd for Due<T> {
    fn partial_cmp(&self, other: &Due<T>) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Due<T> {
    fn eq(&self, other: &Due<T>) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T> Eq for Due<T> {}
