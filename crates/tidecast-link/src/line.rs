//! The delay line of a link: packets in transit, ordered by their release times.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
    time::Instant,
};

/// A packet that enters the line.
#[derive(Debug)]
pub(super) struct Entry<T> {
    /// Number of packets that had entered the link before this one.
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
    /// Number of packets that had entered the line before it: packets with the same release time
    /// come out in the order in which they entered, and copies next to each other.
    place: u64,
    pub(super) index: u64,
    pub(super) second_copy: bool,
    pub(super) item: T,
}

/// The packets in transit.
#[derive(Debug)]
pub(super) struct Line<T> {
    heap: BinaryHeap<Reverse<Due<T>>>,
    places: u64,
    /// Latest release time among the packets that keep their order.
    last: Option<Instant>,
}

impl<T> Default for Line<T> {
    fn default() -> Line<T> {
        Line { heap: BinaryHeap::new(), places: 0, last: None }
    }
}

impl<T: Clone> Line<T> {
    /// Adds a packet that comes out at `at`, independently of the others.
    pub(super) fn enter(&mut self, at: Instant, entry: Entry<T>) {
        let Entry { index, duplicated, item, .. } = entry;
        if duplicated {
            self.put(at, index, false, item.clone());
        }
        self.put(at, index, duplicated, item);
    }

    /// Adds a packet that comes out at `at`, or together with the last packet added by this
    /// function if that is later.
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

    /// Returns the next packet that is due at `now`.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Due<T>> {
        self.next_at().filter(|at| *at <= now)?;
        self.heap.pop().map(|Reverse(due)| due)
    }

    /// Returns when the next packet is due.
    pub(super) fn next_at(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse(due)| due.at)
    }

    /// Makes all packets due at `now`, in their order.
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
