//! Source times of packets between two readings of the source's clock: the rate between them is constant.

use crate::limits::{PACED_JUMP, PACED_SPREAD_MAX, PACED_STEP};

use super::{nanos, stamps::Mark};

/// A clock that is so much off both its own rate and ours has jumped.
pub(super) const JUMP: i64 = PACED_JUMP.as_nanos() as i64;

/// Intervals of one rate after which it is constant, and how far they may be off each other.
const STEADY: u32 = 8;
const STEADY_OFF: f64 = 0.02;

/// The clock was read here.
#[derive(Debug, Clone, Copy)]
struct Anchor {
    place: i64,
    time: i64,
    arrived: i64,
}

/// Places count what the rate is constant in: transport packets for a PCR, packets otherwise.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    next: i64,
    units: i64,
    /// From the source's clock to source times.
    shift: i64,
    last: Option<Anchor>,
    before: Option<Anchor>,
    /// Nanoseconds per place, and in all, between the last two readings; how packets are spread then.
    slope: f64,
    interval: i64,
    spread: f64,
    /// Intervals in a row with the same slope.
    steady: u32,
}

/// Where the times lead to while the clock stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Course {
    from: Anchor,
    /// Nanoseconds per place.
    rate: f64,
    /// Per packet.
    pub(super) period: f64,
}

impl Course {
    pub(super) fn time(&self, place: i64) -> i64 {
        self.from.time.saturating_add(((place - self.from.place) as f64 * self.rate) as i64)
    }
}

impl Timeline {
    /// The place of a packet that takes so many, after so many that are missing.
    pub(super) fn place(&mut self, missing: i64, units: u32) -> i64 {
        let place = self.ahead(missing);
        self.units = i64::from(units);
        self.next = place + self.units;
        place
    }

    /// Where the next packet stands after so many that are missing.
    pub(super) fn ahead(&self, missing: i64) -> i64 {
        self.next + missing * self.units.max(1)
    }

    /// How the times go on without the clock, as of a packet at `place`: at the rate before, if that fits what comes.
    pub(super) fn course(&self, place: i64, arrived: i64) -> Option<Course> {
        let from = self.last?;
        let (places, came) = ((place - from.place).max(1) as f64, (arrived - from.arrived).max(0) as f64);
        let fits = self.slope > 0.0 && (places * self.slope - came).abs() < nanos(PACED_STEP) as f64;
        let rate = if fits { self.slope } else { came / places };
        Some(Course { from, rate, period: rate * self.units.max(1) as f64 })
    }

    /// How far off a clock must be to have jumped.
    pub(super) fn jump(&self) -> i64 {
        if self.steady >= STEADY { nanos(PACED_STEP) } else { JUMP }
    }

    /// How much later than its clock says it came after the last reading.
    pub(super) fn behind(&self, mark: &Mark, arrived: i64) -> i64 {
        let time = mark.time.saturating_add(self.shift);
        self.last.map_or(0, |last| (arrived - last.arrived).saturating_sub(time.saturating_sub(last.time)))
    }

    /// Another clock is read from here on.
    pub(super) fn forget(&mut self) {
        *self = Timeline { next: self.next, units: self.units, shift: self.shift, ..Timeline::default() };
    }

    pub(super) fn shift(&self) -> i64 {
        self.shift
    }

    /// What the source's clock calls `clock` is `time`.
    pub(super) fn shift_to(&mut self, clock: i64, time: i64) {
        self.shift = time.saturating_sub(clock);
    }

    /// The time of the last reading.
    pub(super) fn last_time(&self) -> i64 {
        self.last.map_or(i64::MIN, |last| last.time)
    }

    /// Whether the time of a packet there will be known better when the clock is read again.
    pub(super) fn is_open(&self, place: i64) -> bool {
        self.last.is_some_and(|last| place >= last.place)
    }

    /// Whether the clock should have been read before this place.
    pub(super) fn is_overdue(&self, place: i64) -> bool {
        self.last.is_some_and(|last| (place - last.place) as f64 * self.spread > self.interval as f64)
    }

    /// The time of a packet by the last reading and the rate before it.
    pub(super) fn time(&self, place: i64) -> Option<i64> {
        let last = self.last?;
        let ahead = ((place - last.place) as f64 * self.spread) as i64;
        Some(last.time.saturating_add(ahead.min(self.interval)))
    }

    /// Where the rate leads to.
    pub(super) fn expected(&self, place: i64) -> Option<i64> {
        let last = self.last.filter(|_| self.slope > 0.0)?;
        Some(last.time.saturating_add(((place - last.place) as f64 * self.slope) as i64))
    }

    /// Whether the clock has jumped; `None` if it was not read before.
    pub(super) fn compare(&self, place: i64, mark: &Mark, arrived: i64) -> Option<bool> {
        let last = self.last?;
        let time = mark.time.saturating_add(self.shift);
        let off = |expected: i64| time.abs_diff(expected) > self.jump().unsigned_abs();
        let by_rate = self.expected(place).is_none_or(off);
        let by_arrival = off(last.time.saturating_add(arrived - last.arrived));
        Some(mark.anew || (by_rate && by_arrival))
    }

    /// The clock is read: what stands before is settled. `constant`: the rate was constant since the last reading;
    /// otherwise the packets had the same time stamp, and are spread over no more than [`PACED_SPREAD_MAX`].
    pub(super) fn close(&mut self, place: i64, time: i64, jumped: bool, constant: bool, arrived: i64) {
        self.before = self.last.replace(Anchor { place, time, arrived });
        let Some(before) = self.before.filter(|before| place > before.place) else { return };
        // The interval across a jump is not known; the one before it holds.
        if jumped && self.slope > 0.0 {
            return;
        }
        let places = (place - before.place) as f64;
        let whole = time.saturating_sub(before.time).max(0);
        let slope = whole as f64 / places;
        let same = (slope - self.slope).abs() <= slope * STEADY_OFF;
        self.steady = if same { self.steady.saturating_add(1) } else { 0 };
        self.slope = slope;
        self.interval = if constant { whole } else { whole.min(nanos(PACED_SPREAD_MAX)) };
        self.spread = self.interval as f64 / places;
    }

    /// The times between the last two readings.
    pub(super) fn between(&self) -> Option<Course> {
        let from = self.before?;
        Some(Course { from, rate: self.spread, period: 0.0 })
    }
}
