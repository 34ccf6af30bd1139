//! Source times of packets between two readings of the source's clock: the rate between them is
//! constant.

use crate::limits::{PACED_JUMP, PACED_OFF, PACED_SPREAD_MAX, PACED_STEP};

use super::{nanos, stamps::Mark};

/// A clock that is so much off both its own rate and ours has jumped.
pub(super) const JUMP: i64 = PACED_JUMP.as_nanos() as i64;

/// Intervals of one rate after which it is constant, and how far they may be off each other.
const STEADY: u32 = 8;
const STEADY_OFF: f64 = 0.02;
/// Intervals of another rate in a row that are pauses, or others than usual; after them the rate is
/// another one.
const ODD: u32 = 2;

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
    /// Packets in a row that take no place.
    beside: i64,
    /// From the source's clock to source times.
    shift: i64,
    last: Option<Anchor>,
    before: Option<Anchor>,
    /// Nanoseconds per place, and in all, between the last two readings; how packets are spread
    /// then.
    slope: f64,
    interval: i64,
    spread: f64,
    /// Nanoseconds per place that the packets before the last reading have got.
    between: f64,
    /// Intervals in a row with the same slope, and then with others.
    steady: u32,
    odd: u32,
    /// The last interval took several places.
    several: bool,
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
        self.beside = 0;
        place
    }

    /// The place of a packet that takes none, since it is none of those whose rate counts.
    pub(super) fn place_beside(&mut self, missing: i64) -> i64 {
        self.next = self.ahead(missing);
        self.beside += 1;
        self.next
    }

    /// Where the next packet stands after so many that are missing.
    pub(super) fn ahead(&self, missing: i64) -> i64 {
        self.next + missing * self.units.max(1)
    }

    /// How the times go on without the clock, as of a packet at `place`: at the rate before, if
    /// that fits what comes.
    pub(super) fn course(&self, place: i64, arrived: i64) -> Option<Course> {
        let from = self.last?;
        let (places, came) = ((place - from.place).max(1) as f64, (arrived - from.arrived).max(0) as f64);
        let fits = self.slope > 0.0 && (places * self.slope - came).abs() < nanos(PACED_STEP) as f64;
        let rate = if fits { self.slope } else { came / places };
        Some(Course { from, rate, period: rate * self.units.max(1) as f64 })
    }

    /// How far off a clock must be to have jumped.
    pub(super) fn jump(&self) -> i64 {
        if self.is_steady() { nanos(PACED_STEP) } else { JUMP }
    }

    /// Whether several packets have the same time stamp.
    pub(super) fn has_several(&self) -> bool {
        self.several
    }

    /// Whether the packets come at a constant rate, by the clock.
    pub(super) fn is_steady(&self) -> bool {
        self.steady >= STEADY
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

    /// The time of a packet by the last reading and the rate before it: within an interval from
    /// there, and in a steady stream up to `latest`, since its clock may stand.
    pub(super) fn time(&self, place: i64, latest: i64) -> Option<i64> {
        let last = self.last?;
        let ahead = ((place - last.place) as f64 * self.spread) as i64;
        // Before a rate is known, packets of one time stamp are as far apart as they come.
        if self.slope <= 0.0 {
            return Some(last.time.max(latest));
        }
        let most = if self.is_steady() { latest.saturating_sub(last.time) } else { 0 };
        Some(last.time.saturating_add(ahead.min(self.interval.max(most))))
    }

    /// All times are others by so much.
    pub(super) fn move_by(&mut self, by: i64) {
        self.shift = self.shift.saturating_add(by);
        for anchor in [&mut self.last, &mut self.before].into_iter().flatten() {
            anchor.time = anchor.time.saturating_add(by);
        }
    }

    /// Where the rate leads to for the last of the packets that take no place.
    pub(super) fn expected_beside(&self) -> Option<i64> {
        self.expected(self.next + self.beside - 1)
    }

    /// Packets in a row that take no place.
    pub(super) fn beside(&self) -> i64 {
        self.beside
    }

    /// Where the rate leads to.
    pub(super) fn expected(&self, place: i64) -> Option<i64> {
        let last = self.last.filter(|_| self.slope > 0.0)?;
        Some(last.time.saturating_add(((place - last.place) as f64 * self.slope) as i64))
    }

    /// Whether the clock has jumped: it is off its own rate, and off the arrivals by more than the
    /// tolerance if its rate is steady. `None` if it was not read before.
    pub(super) fn compare(&self, place: i64, mark: &Mark, arrived: i64, tolerance: i64) -> Option<bool> {
        let last = self.last?;
        let time = mark.time.saturating_add(self.shift);
        let by_arrival = time.abs_diff(last.time.saturating_add(arrived - last.arrived));
        let by_rate = self.expected(place).map(|expected| time.abs_diff(expected));
        let jumped = match by_rate.filter(|_| self.is_steady()) {
            Some(by_rate) => {
                // After a pause that the clock has seen, what is off is jitter.
                let pause = by_arrival <= nanos(PACED_STEP).unsigned_abs() && 2 * by_arrival <= by_rate;
                by_rate > nanos(PACED_OFF).unsigned_abs() && by_arrival > tolerance.unsigned_abs() && !pause
            }
            // Nothing is known yet: the clock has stood.
            None if by_rate.is_none() && arrived - last.arrived > time - last.time => {
                by_arrival > tolerance.unsigned_abs()
            }
            None => {
                let off = |off: u64| off > JUMP.unsigned_abs();
                by_rate.is_none_or(off) && off(by_arrival)
            }
        };
        Some(mark.anew || jumped)
    }

    /// The clock is read: what stands before is settled. `constant`: the rate was constant since
    /// the last reading; otherwise the packets had the same time stamp, and are spread over no more
    /// than [`PACED_SPREAD_MAX`], or over the time in which they came, the last of them at `came`.
    pub(super) fn close(&mut self, place: i64, mark: &Mark, jumped: bool, arrived: i64, came: i64) {
        let time = mark.time.saturating_add(self.shift);
        self.before = self.last.replace(Anchor { place, time, arrived });
        let Some(before) = self.before.filter(|before| place > before.place) else { return };
        // The interval across a jump is not known; the one before it holds.
        if jumped && self.slope > 0.0 {
            self.between = self.spread;
            return;
        }
        let places = (place - before.place) as f64;
        self.several = places > 1.0;
        let whole = time.saturating_sub(before.time).max(0);
        let came = (came - before.arrived) as f64 * places / (places - 1.0).max(1.0);
        let most = if mark.constant { i64::MAX } else { nanos(PACED_SPREAD_MAX).max(came as i64) };
        let interval = whole.min(most);
        let slope = whole as f64 / places;
        let same = (slope - self.slope).abs() <= slope * STEADY_OFF;
        self.between = interval as f64 / places;
        if !same && !mark.constant && self.is_steady() && self.odd < ODD {
            self.odd += 1;
            return;
        }
        self.steady = if same { self.steady.saturating_add(1) } else { 0 };
        (self.odd, self.slope, self.interval, self.spread) = (0, slope, interval, self.between);
    }

    /// The times between the last two readings.
    pub(super) fn between(&self) -> Option<Course> {
        let from = self.before?;
        Some(Course { from, rate: self.between, period: 0.0 })
    }
}
