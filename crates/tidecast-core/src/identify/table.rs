//! Table of the sources of a channel, with their waiting datagrams. Bounded: sources that sent a
//! single datagram or are idle make room for others; active sources are never removed.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, VecDeque},
    net::SocketAddr,
    time::Instant,
};

use foldhash::quality::RandomState;

use super::{Alive, Settled, SourceKind, source::Source};
use crate::limits::{FLOW_IDLE, SWEEP_INTERVAL};

/// Leg and source address.
type Key = (u8, SocketAddr);

/// A source, and its waiting datagrams.
#[derive(Debug)]
pub(super) struct Entry<B> {
    key: Key,
    /// Serial number among all sources, since an index may be reused.
    serial: u64,
    pub(super) known: Source,
    queue: VecDeque<(Instant, B)>,
    /// Latest time at which the queue is settled.
    until: Option<Instant>,
}

impl<B> Entry<B> {
    /// Number of waiting datagrams.
    pub(super) fn held(&self) -> usize {
        self.queue.len()
    }

    /// Queries the owner about the source's native datagrams.
    pub(super) fn ask(&mut self, natives: &impl Fn(SocketAddr, u32) -> Alive) {
        let known = &mut self.known;
        if known.kind == Some(SourceKind::Native)
            && let Some((seen, count)) = natives(self.key.1, known.stream)
        {
            known.seen = known.seen.max(seen);
            known.count = known.count.max(count.min(u32::MAX.into()) as u32);
        }
    }
}

#[derive(Debug)]
pub(super) struct Table<B> {
    max: usize,
    /// Keys come from the network, so the hash is seeded at random. Nothing depends on its order.
    by_key: HashMap<Key, u32, RandomState>,
    entries: Vec<Entry<B>>,
    /// Indices of the sources in order of creation, to remove those first that never sent a second
    /// datagram.
    newcomers: VecDeque<(u32, u64)>,
    created: u64,
    timers: BinaryHeap<Reverse<(Instant, u32, u64)>>,
    swept: Option<Instant>,
    last_held: u32,
    /// Number of waiting datagrams.
    pub(super) held: usize,
}

impl<B> Table<B> {
    pub(super) fn new(max: usize) -> Table<B> {
        Table {
            max: max.max(1),
            by_key: HashMap::default(),
            entries: Vec::new(),
            newcomers: VecDeque::new(),
            created: 0,
            timers: BinaryHeap::new(),
            swept: None,
            last_held: 0,
            held: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    pub(super) fn entry(&mut self, index: u32) -> &mut Entry<B> {
        &mut self.entries[index as usize]
    }

    /// Index of a known source.
    pub(super) fn get(&self, key: Key) -> Option<u32> {
        self.by_key.get(&key).copied()
    }

    /// Index for a new source; `None` if there are too many.
    pub(super) fn insert(
        &mut self,
        key: Key,
        now: Instant,
        settled: &mut VecDeque<Settled<B>>,
    ) -> Option<u32> {
        let entry =
            Entry { key, serial: self.created, known: Source::new(now), queue: VecDeque::new(), until: None };
        let index = if self.entries.len() < self.max {
            self.entries.push(entry);
            self.entries.len() as u32 - 1
        } else {
            let index = self.make_room(now, settled)?;
            self.entries[index as usize] = entry;
            index
        };
        self.by_key.insert(key, index);
        self.newcomers.push_back((index, self.created));
        self.created += 1;
        Some(index)
    }

    /// Frees an index: that of the oldest source that never sent a second datagram, or of an idle
    /// one.
    fn make_room(&mut self, now: Instant, settled: &mut VecDeque<Settled<B>>) -> Option<u32> {
        while let Some((index, serial)) = self.newcomers.pop_front() {
            let entry = &self.entries[index as usize];
            if entry.serial == serial && !entry.known.confirmed() && entry.held() <= 1 {
                self.remove(index, now, settled);
                return Some(index);
            }
        }
        // No source has become idle since the last sweep, and looking at all of them is expensive.
        if self.swept.is_some_and(|at| now < at + SWEEP_INTERVAL) {
            return None;
        }
        let idle = |entry: &Entry<B>| now.saturating_duration_since(entry.known.seen) >= FLOW_IDLE;
        let index = self.entries.iter().position(idle).map(|index| index as u32);
        match index {
            Some(index) => self.remove(index, now, settled),
            None => self.swept = Some(now),
        }
        index
    }

    fn remove(&mut self, index: u32, now: Instant, settled: &mut VecDeque<Settled<B>>) {
        self.settle(index, now, settled);
        self.by_key.remove(&self.entries[index as usize].key);
    }

    /// Holds a datagram until its source is known, or until `until`.
    pub(super) fn hold(&mut self, index: u32, now: Instant, until: Instant, bytes: B) {
        let entry = &mut self.entries[index as usize];
        entry.queue.push_back((now, bytes));
        self.held += 1;
        self.last_held = index;
        if entry.until.is_none_or(|before| until < before) {
            entry.until = Some(until);
            self.timers.push(Reverse((until, index, entry.serial)));
        }
    }

    pub(super) fn last_held(&mut self) -> Option<&mut B> {
        self.entries.get_mut(self.last_held as usize)?.queue.back_mut().map(|(_, bytes)| bytes)
    }

    /// Passes on the waiting datagrams of a source as this format.
    pub(super) fn release(&mut self, index: u32, kind: SourceKind, settled: &mut VecDeque<Settled<B>>) {
        let entry = &mut self.entries[index as usize];
        let (leg, source) = entry.key;
        entry.until = None;
        self.held -= entry.queue.len();
        settled.extend(entry.queue.drain(..).map(|(arrived, bytes)| Settled {
            leg,
            source,
            arrived,
            kind,
            bytes,
        }));
    }

    /// The waiting datagrams of a source have waited long enough.
    fn settle(&mut self, index: u32, now: Instant, settled: &mut VecDeque<Settled<B>>) {
        let entry = &mut self.entries[index as usize];
        if entry.held() > 0 {
            let kind = entry.known.expire(now, entry.held());
            self.release(index, kind, settled);
        }
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.timers.peek().map(|Reverse((at, ..))| *at)
    }

    /// Settles the source that is due first. `false` if none is due.
    pub(super) fn expire(
        &mut self,
        now: Instant,
        natives: &impl Fn(SocketAddr, u32) -> Alive,
        settled: &mut VecDeque<Settled<B>>,
    ) -> bool {
        if self.due().is_none_or(|due| due > now) {
            return false;
        }
        if let Some(Reverse((at, index, serial))) = self.timers.pop() {
            let entry = &mut self.entries[index as usize];
            if entry.serial == serial && entry.until == Some(at) {
                entry.ask(natives);
                self.settle(index, now, settled);
            }
        }
        true
    }

    pub(super) fn finish(&mut self, now: Instant, settled: &mut VecDeque<Settled<B>>) {
        (0..self.entries.len() as u32).for_each(|index| self.settle(index, now, settled));
        self.timers.clear();
    }
}
