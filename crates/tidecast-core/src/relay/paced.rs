//! Paced release: each packet of a flow goes out at its source time plus a constant delay, for
//! receivers without a buffer of their own. It follows the reorder buffer: a packet that a flow
//! delivers waits in a [`Pacer`] until it is due.
//!
//! `stamps` reads the source's clock (with `counter`, `rate` and `order`). `follow` turns the
//! readings into source times, `doubt` detects steps of that clock, `timeline` interpolates
//! between two readings, `base` estimates the offset between the source's clock and ours, and
//! `delay` sets the delay. All times here are nanoseconds: source times count on the clock of this
//! flow's source, brought near to ours at the start; arrivals count from the creation of the
//! pacer.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{How, Output, Packet};
use crate::limits::{PACED_LATE, PACED_OFF, PACED_SLACK, PACED_STEP};
use tidecast_wire::rtp::PayloadTypes;

mod base;
mod counter;
mod delay;
mod doubt;
mod follow;
mod order;
mod rate;
mod smooth;
mod stamps;
mod timeline;

use base::Base;
pub use delay::Delay;
use delay::DelayInForce;
use doubt::Doubt;
use smooth::Smooth;
use stamps::{BesideStamp, Clock, Stamps};
use timeline::Timeline;

/// When packets leave once they are in order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Release {
    /// Immediately.
    #[default]
    Asap,
    /// At their source times plus this delay.
    Paced(Delay),
}

/// A duration in nanoseconds. Durations here stay below some days, so it fits.
fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX / 4)
}

/// State of one flow's release, for reports.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pacing {
    /// The clock of the source that gives the times.
    pub clock: &'static str,
    /// Time from the fastest possible arrival of a packet to its release.
    pub delay: Duration,
    /// How much faster the source's clock runs than ours, in parts per million.
    pub drift_ppm: f64,
}

impl Pacing {
    /// Merges the state of two flows: the longer delay, and the larger drift.
    pub(super) fn most(self, other: Pacing) -> Pacing {
        let off = if other.drift_ppm.abs() > self.drift_ppm.abs() { other } else { self };
        Pacing { delay: self.delay.max(other.delay), ..off }
    }
}

/// A packet that waits for its time.
#[derive(Debug)]
pub(super) struct PacedPacket {
    pub(super) seq: u64,
    pub(super) span: u64,
    pub(super) how: How,
    pub(super) packet: Packet,
}

/// An entry that leaves the pacer, in order.
#[derive(Debug)]
pub(super) enum PacedItem {
    Packet(PacedPacket),
    /// An answer of the flow that keeps its place between two packets.
    Other(Output),
}

/// Whether a released packet was on time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Punctual {
    /// Released at its time.
    Yes,
    /// Arrived after its time.
    Late,
}

#[derive(Debug)]
struct PacedEntry {
    item: PacedItem,
    /// Source time.
    time: i64,
    /// Place on the timeline.
    place: i64,
    /// When it entered the pacer.
    since: i64,
}

/// The packets of one flow that wait for their time.
#[derive(Debug)]
pub(super) struct Pacer {
    epoch: Instant,
    queue: VecDeque<PacedEntry>,
    /// Entries at the end of the queue whose times the next clock reading may still change.
    open: usize,
    packets: usize,
    bytes: usize,
    /// Source times of the last entry that came in, and of the last that left.
    latest: i64,
    left: i64,
    /// Earliest time at which an entry may leave: another flow still has packets to send first.
    floor: i64,
    /// The number that follows the last packet.
    next: Option<u64>,
    /// Entries that have come in so far.
    entries: u64,
    stamps: Stamps,
    timeline: Timeline,
    smooth: Smooth,
    base: Base,
    delay: DelayInForce,
    /// The timeline's shift for each clock when that clock last stopped.
    stood: [Option<i64>; Clock::COUNT],
    /// The transit time of the first packet after a pause.
    resumed: Option<i64>,
    doubt: Doubt,
}

impl Pacer {
    pub(super) fn new(delay: Delay, hold: Duration, types: Arc<PayloadTypes>, now: Instant) -> Pacer {
        Pacer {
            epoch: now,
            queue: VecDeque::new(),
            open: 0,
            packets: 0,
            bytes: 0,
            latest: i64::MIN / 2,
            left: i64::MIN / 2,
            floor: i64::MIN,
            next: None,
            entries: 0,
            stamps: Stamps::new(types),
            timeline: Timeline::default(),
            smooth: Smooth::default(),
            base: Base::new(),
            delay: DelayInForce::new(delay, nanos(hold)),
            stood: [None; Clock::COUNT],
            resumed: None,
            doubt: Doubt::default(),
        }
    }

    /// Packets that wait.
    pub(super) fn packets(&self) -> usize {
        self.packets
    }

    /// Memory of the waiting packets, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn state(&self) -> Pacing {
        let delay = Duration::from_nanos(self.delay.get().max(0) as u64);
        Pacing { clock: self.stamps.clock_name(), delay, drift_ppm: -self.base.drift() * 1e6 }
    }

    fn at(&self, instant: Instant) -> i64 {
        match instant.checked_duration_since(self.epoch) {
            Some(after) => nanos(after),
            None => -nanos(self.epoch.saturating_duration_since(instant)),
        }
    }

    /// Adds a packet. `hold`: the longest time by which a gap can delay later packets at present.
    pub(super) fn push(&mut self, waiting: PacedPacket, hold: Duration, now: Instant) {
        let (now, arrived) = (self.at(now), self.at(waiting.packet.arrived));
        let mut missing = self.missing(&waiting);
        let reading = self.stamps.read(&waiting.packet, arrived);
        if reading.refuted {
            self.begin_anew();
        } else if let Some(before) = reading.instead_of {
            self.change(before, missing, arrived);
        }
        let place = match reading.beside {
            Some(_) => self.timeline.place_beside(missing),
            None => {
                missing += self.in_place(missing, arrived);
                self.timeline.place(missing, reading.units)
            }
        };
        // A recovered packet arrives with its repair packet, so it gives no information about the
        // path's delay.
        let trusted = waiting.how == How::Received;
        let time = match reading.mark {
            Some(mark) => {
                self.mark(place + i64::from(mark.offset), mark, missing, arrived, trusted);
                self.timeline.time(place, i64::MIN)
            }
            None => match reading.beside {
                Some(beside) => Some(self.beside(reading.clock, beside, arrived)),
                None if reading.clock == Clock::Arrival => None,
                None => self.timeline.time(place, arrived - self.base.at(arrived)),
            },
        };
        let time = time.unwrap_or_else(|| self.by_arrival(arrived, missing));
        self.latest = self.latest.max(time);
        self.packets += 1;
        self.bytes += waiting.packet.bytes.capacity();
        // A packet beside a stream whose packets have one timestamp each already has its final
        // time.
        let settled = reading.beside.is_some() && !self.timeline.has_several();
        let open = self.timeline.is_open(place) && !settled;
        self.entries += 1;
        self.queue.push_back(PacedEntry {
            item: PacedItem::Packet(waiting),
            time: self.latest,
            place,
            since: now,
        });
        self.open = if open { self.open + 1 } else { 0 };
        // The delay that a packet needs is known once its time is final.
        if !(open && self.timeline.is_overdue(place)) {
            let needed = now - self.latest - self.base.at(now);
            self.delay.needs(needed, nanos(hold) + (arrived - time - self.base.at(now)).max(0), now);
        }
        self.need_of_the_first(now);
    }

    /// Packets missing before this one. A large gap counts as none: it is a jump, not a loss.
    fn missing(&mut self, waiting: &PacedPacket) -> i64 {
        const BELIEVED: u64 = 10_000;
        let (gap, span) = (self.next.and_then(|next| waiting.seq.checked_sub(next)), waiting.span.max(1));
        self.next = Some(waiting.seq + span);
        let missing = gap.map(|numbers| numbers / span).filter(|packets| *packets < BELIEVED);
        missing.unwrap_or(0) as i64
    }

    /// Adds an answer that keeps its place among the packets. Returns it if nothing waits.
    pub(super) fn follow(&mut self, output: Output, now: Instant) -> Option<Output> {
        if self.is_empty() && self.floor == i64::MIN {
            return Some(output);
        }
        let since = self.at(now);
        let place = self.queue.back().map_or(0, |entry| entry.place);
        let time = self.latest;
        self.entries += 1;
        self.queue.push_back(PacedEntry { item: PacedItem::Other(output), time, place, since });
        self.open += usize::from(self.open > 0);
        None
    }

    /// Source time of a packet that does not set the clock. Of its own timestamp, the time of the
    /// packet before and the extrapolated time, takes the closest to its arrival; the arrival
    /// itself if none of them fits.
    fn beside(&self, clock: Clock, beside: BesideStamp, arrived: i64) -> i64 {
        let here = self.here(arrived);
        let near = |time: &i64| time.abs_diff(here) <= self.tolerance().unsigned_abs();
        let shifted = |time: i64| time.saturating_add(self.timeline.shift());
        let ahead = match clock {
            Clock::Arrival => self.smooth.ahead(self.timeline.beside()).map(shifted),
            _ => self.timeline.expected_beside(),
        };
        let times = [beside.time.map(shifted), Some(self.latest), ahead].into_iter().flatten();
        times.min_by_key(|time| time.abs_diff(here)).filter(near).unwrap_or(here)
    }

    /// How far a time may be off the arrival.
    fn tolerance(&self) -> i64 {
        (nanos(PACED_OFF) + 2 * self.base.typical()).min(nanos(PACED_STEP))
    }

    fn due(&self, time: i64, now: i64) -> i64 {
        time.saturating_add(self.base.at(now)).saturating_add(self.delay.at(now)).max(self.floor)
    }

    /// Takes the first entry if it is due at `now`.
    pub(super) fn pop(&mut self, now: Instant) -> Option<(PacedItem, Punctual)> {
        let now = self.at(now);
        let mut due = self.due(self.queue.front()?.time, now);
        if due <= now + nanos(PACED_SLACK) && self.doubt.is_open() {
            self.decide();
            due = self.due(self.queue.front()?.time, now);
        }
        if due > now + nanos(PACED_SLACK) {
            return None;
        }
        let entry = self.queue.front()?;
        let late = entry.since > due + nanos(PACED_LATE);
        let item = self.take()?;
        Some((item, if late { Punctual::Late } else { Punctual::Yes }))
    }

    /// Takes the first entry, due or not.
    pub(super) fn take(&mut self) -> Option<PacedItem> {
        let entry = self.queue.pop_front()?;
        self.open = self.open.min(self.queue.len());
        self.left = self.left.max(entry.time);
        if let PacedItem::Packet(waiting) = &entry.item {
            self.packets -= 1;
            self.bytes -= waiting.packet.bytes.capacity();
            self.base.hold_still();
            self.resumed = None;
        }
        if self.queue.is_empty() {
            self.floor = i64::MIN;
        }
        Some(entry.item)
    }

    /// When [`Pacer::pop`] returns the next entry, as known at `now`.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        let due = self.due(self.queue.front()?.time, self.at(now));
        Some(self.instant(due))
    }

    fn instant(&self, at: i64) -> Instant {
        self.epoch + Duration::from_nanos(at.max(0) as u64)
    }

    /// When the last entry is due.
    pub(super) fn end(&self, now: Instant) -> Option<Instant> {
        let due = self.due(self.queue.back()?.time, self.at(now));
        Some(self.instant(due))
    }

    /// Keeps all entries until `floor`.
    pub(super) fn not_before(&mut self, floor: Instant) {
        self.floor = self.at(floor);
    }
}

#[cfg(test)]
mod tests;
