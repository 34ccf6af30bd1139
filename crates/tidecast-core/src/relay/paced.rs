//! Paced release: a flow's packets go out at their source times plus a constant delay, for
//! receivers without a buffer. Stands behind reordering: what a flow delivers waits in a [`Pacer`]
//! until it is due.
//!
//! `stamps` reads the source's clock (`counter`, `rate`, `order`), `follow` follows it, `doubt`
//! notices its steps, `timeline` gives every packet a time between two readings, `base` follows how
//! that clock stands to ours, `delay` says how much later packets go out. All times here are
//! nanoseconds: source times on the scale of this flow's source, brought near to ours at the start;
//! arrivals since the pacer began.

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

/// When packets that are in order go out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Release {
    /// At once.
    #[default]
    Asap,
    /// At their source times plus this delay.
    Paced(Delay),
}

/// Nanoseconds of a duration; none here is longer than some days.
fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX / 4)
}

/// How the release of one flow stands, for people.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pacing {
    /// Which clock of the source gives the times.
    pub clock: &'static str,
    /// From a packet's fastest possible arrival to its release.
    pub delay: Duration,
    /// How much faster than ours the source's clock runs, in parts per million.
    pub drift_ppm: f64,
}

impl Pacing {
    /// The longer delay, and the clock that is off more.
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

/// What leaves the pacer, in order.
#[derive(Debug)]
pub(super) enum PacedItem {
    Packet(PacedPacket),
    /// An answer that stands between two packets.
    Other(Output),
}

/// What a released packet counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Punctual {
    /// In its time.
    Yes,
    /// It came when its time had passed.
    Late,
}

#[derive(Debug)]
struct PacedEntry {
    item: PacedItem,
    /// Its source time.
    time: i64,
    /// Its place on the timeline.
    place: i64,
    /// When it came here.
    since: i64,
}

/// The packets of one flow that wait for their time.
#[derive(Debug)]
pub(super) struct Pacer {
    epoch: Instant,
    queue: VecDeque<PacedEntry>,
    /// Entries at the end whose times are not final: the next mark will say.
    open: usize,
    packets: usize,
    bytes: usize,
    /// The source time of the last entry taken in, and of the last that left.
    latest: i64,
    left: i64,
    /// Nothing leaves before: what another flow still has to give out comes first.
    floor: i64,
    /// The number after the last packet taken in.
    next: Option<u64>,
    /// Entries taken in so far.
    entries: u64,
    stamps: Stamps,
    timeline: Timeline,
    smooth: Smooth,
    base: Base,
    delay: DelayInForce,
    /// The shift of the timeline by each clock when it last stood.
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

    /// Their memory.
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

    /// Takes a packet in. `hold`: the longest that a gap delays later packets at present.
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
        // A recovered packet came when its repair packet did: that says nothing of the path.
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
        // What comes beside a stream of single packets has its time already.
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
        // What it needs is not known before its time is.
        if !(open && self.timeline.is_overdue(place)) {
            let needed = now - self.latest - self.base.at(now);
            self.delay.needs(needed, nanos(hold) + (arrived - time - self.base.at(now)).max(0), now);
        }
        self.need_of_the_first(now);
    }

    /// Packets between the last one and this one, as far as they may be its missing neighbours.
    fn missing(&mut self, waiting: &PacedPacket) -> i64 {
        const BELIEVED: u64 = 10_000;
        let (gap, span) = (self.next.and_then(|next| waiting.seq.checked_sub(next)), waiting.span.max(1));
        self.next = Some(waiting.seq + span);
        let missing = gap.map(|numbers| numbers / span).filter(|packets| *packets < BELIEVED);
        missing.unwrap_or(0) as i64
    }

    /// Takes in an answer that keeps its place among the packets. Given back if nothing waits.
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

    /// The time of a packet that does not set the clock: what its time stamp says if that fits,
    /// together with the packet before or where the packets lead to, or when it came.
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

    /// What a time may be off that of an arrival.
    fn tolerance(&self) -> i64 {
        (nanos(PACED_OFF) + 2 * self.base.typical()).min(nanos(PACED_STEP))
    }

    fn due(&self, time: i64, now: i64) -> i64 {
        time.saturating_add(self.base.at(now)).saturating_add(self.delay.at(now)).max(self.floor)
    }

    /// What is due at `now`.
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

    /// The first that waits, whether it is due or not.
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

    /// When [`Pacer::pop`] has something, as of `now`.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        let due = self.due(self.queue.front()?.time, self.at(now));
        Some(self.instant(due))
    }

    fn instant(&self, at: i64) -> Instant {
        self.epoch + Duration::from_nanos(at.max(0) as u64)
    }

    /// When the last that waits is due.
    pub(super) fn end(&self, now: Instant) -> Option<Instant> {
        let due = self.due(self.queue.back()?.time, self.at(now));
        Some(self.instant(due))
    }

    /// Nothing leaves before `floor`.
    pub(super) fn not_before(&mut self, floor: Instant) {
        self.floor = self.at(floor);
    }
}

#[cfg(test)]
mod tests;
