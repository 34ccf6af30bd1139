//! Source times of packets between two readings of the source's clock, at a constant rate.

use crate::limits::{PACED_JUMP, PACED_OFF, PACED_SPREAD_MAX, PACED_STEP};

use super::{nanos, stamps::Mark};

/// A clock that differs by this much from its own rate and from the arrivals has jumped.
pub(super) const JUMP: i64 = PACED_JUMP.as_nanos() as i64;

/// Intervals of equal rate after which a rate counts as constant, and the relative difference
/// allowed between them.
const STEADY: u32 = 8;
const STEADY_OFF: f64 = 0.02;
/// Consecutive intervals of a different rate that are ignored as pauses or exceptions; after them
/// the rate has changed.
const ODD: u32 = 2;

/// A reading of the clock.
#[derive(Debug, Clone, Copy)]
struct Anchor {
    place: i64,
    time: i64,
    arrived: i64,
}

/// Interpolates source times. Places count the unit whose rate is constant: TS packets for a PCR,
/// packets otherwise.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    next: i64,
    units: i64,
    /// Consecutive packets that take no place.
    beside: i64,
    /// Added to the source's clock to get source times.
    shift: i64,
    last: Option<Anchor>,
    before: Option<Anchor>,
    /// Between the last two readings: nanoseconds per place, nanoseconds in all, and nanoseconds
    /// per place over which packets are spread.
    slope: f64,
    interval: i64,
    spread: f64,
    /// Nanoseconds per place assigned to the packets before the last reading.
    between: f64,
    /// Consecutive intervals with the same slope, and consecutive exceptions after them.
    steady: u32,
    odd: u32,
    /// The last interval contained several places.
    several: bool,
}

/// Continuation of the times while the clock stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Course {
    from: Anchor,
    /// Nanoseconds per place.
    rate: f64,
    /// Nanoseconds per packet.
    pub(super) period: f64,
}

impl Course {
    pub(super) fn time(&self, place: i64) -> i64 {
        self.from.time.saturating_add(((place - self.from.place) as f64 * self.rate) as i64)
    }
}

impl Timeline {
    /// Place of a packet that takes `units` places, after `missing` packets.
    pub(super) fn place(&mut self, missing: i64, units: u32) -> i64 {
        let place = self.ahead(missing);
        self.units = i64::from(units);
        self.next = place + self.units;
        self.beside = 0;
        place
    }

    /// Place of a packet beside the stream, which takes none.
    pub(super) fn place_beside(&mut self, missing: i64) -> i64 {
        self.next = self.ahead(missing);
        self.beside += 1;
        self.next
    }

    /// Place of the next packet, after `missing` packets.
    pub(super) fn ahead(&self, missing: i64) -> i64 {
        self.next + missing * self.units.max(1)
    }

    /// Continuation of the times without the clock, as of a packet at `place`: at the last rate,
    /// if that fits the arrivals.
    pub(super) fn course(&self, place: i64, arrived: i64) -> Option<Course> {
        let from = self.last?;
        let (places, came) = ((place - from.place).max(1) as f64, (arrived - from.arrived).max(0) as f64);
        let fits = self.slope > 0.0 && (places * self.slope - came).abs() < nanos(PACED_STEP) as f64;
        let rate = if fits { self.slope } else { came / places };
        Some(Course { from, rate, period: rate * self.units.max(1) as f64 })
    }

    /// How far off a clock must be to count as a jump.
    pub(super) fn jump(&self) -> i64 {
        if self.is_steady() { nanos(PACED_STEP) } else { JUMP }
    }

    /// Whether several packets share a timestamp.
    pub(super) fn has_several(&self) -> bool {
        self.several
    }

    /// Whether the source's clock shows a constant packet rate.
    pub(super) fn is_steady(&self) -> bool {
        self.steady >= STEADY
    }

    /// How much later the reading arrived, relative to the last one, than expected by the clock.
    pub(super) fn behind(&self, mark: &Mark, arrived: i64) -> i64 {
        let time = mark.time.saturating_add(self.shift);
        self.last.map_or(0, |last| (arrived - last.arrived).saturating_sub(time.saturating_sub(last.time)))
    }

    /// Another clock is read from now on.
    pub(super) fn forget(&mut self) {
        *self = Timeline { next: self.next, units: self.units, shift: self.shift, ..Timeline::default() };
    }

    pub(super) fn shift(&self) -> i64 {
        self.shift
    }

    /// Sets the shift so that `clock` on the source's clock is the source time `time`.
    pub(super) fn shift_to(&mut self, clock: i64, time: i64) {
        self.shift = time.saturating_sub(clock);
    }

    /// Source time of the last reading.
    pub(super) fn last_time(&self) -> i64 {
        self.last.map_or(i64::MIN, |last| last.time)
    }

    /// Whether the next reading can still change the time of a packet at this place.
    pub(super) fn is_open(&self, place: i64) -> bool {
        self.last.is_some_and(|last| place >= last.place)
    }

    /// Whether a reading was expected before this place.
    pub(super) fn is_overdue(&self, place: i64) -> bool {
        self.last.is_some_and(|last| (place - last.place) as f64 * self.spread > self.interval as f64)
    }

    /// Time of a packet after the last reading, at the rate before it. Limited to one interval
    /// after the reading; in a steady stream to `latest`, since its clock may have stopped.
    pub(super) fn time(&self, place: i64, latest: i64) -> Option<i64> {
        let last = self.last?;
        let ahead = ((place - last.place) as f64 * self.spread) as i64;
        // As long as the rate is unknown, packets of one timestamp keep the spacing of their
        // arrivals.
        if self.slope <= 0.0 {
            return Some(last.time.max(latest));
        }
        let most = if self.is_steady() { latest.saturating_sub(last.time) } else { 0 };
        Some(last.time.saturating_add(ahead.min(self.interval.max(most))))
    }

    /// Moves all times.
    pub(super) fn move_by(&mut self, by: i64) {
        self.shift = self.shift.saturating_add(by);
        for anchor in [&mut self.last, &mut self.before].into_iter().flatten() {
            anchor.time = anchor.time.saturating_add(by);
        }
    }

    /// Extrapolated time of the last packet that takes no place.
    pub(super) fn expected_beside(&self) -> Option<i64> {
        self.expected(self.next + self.beside - 1)
    }

    /// Consecutive packets that take no place.
    pub(super) fn beside(&self) -> i64 {
        self.beside
    }

    /// Extrapolated time of a place.
    pub(super) fn expected(&self, place: i64) -> Option<i64> {
        let last = self.last.filter(|_| self.slope > 0.0)?;
        Some(last.time.saturating_add(((place - last.place) as f64 * self.slope) as i64))
    }

    /// Whether the clock has jumped: it differs from its own rate and, if that rate is steady,
    /// from the arrivals by more than `tolerance`. `None` if it was not read before.
    pub(super) fn compare(&self, place: i64, mark: &Mark, arrived: i64, tolerance: i64) -> Option<bool> {
        let last = self.last?;
        let time = mark.time.saturating_add(self.shift);
        let by_arrival = time.abs_diff(last.time.saturating_add(arrived - last.arrived));
        let by_rate = self.expected(place).map(|expected| time.abs_diff(expected));
        let jumped = match by_rate.filter(|_| self.is_steady()) {
            Some(by_rate) => {
                // The clock has counted the pause, so the rest is jitter.
                let pause = by_arrival <= nanos(PACED_STEP).unsigned_abs() && 2 * by_arrival <= by_rate;
                by_rate > nanos(PACED_OFF).unsigned_abs() && by_arrival > tolerance.unsigned_abs() && !pause
            }
            // No rate is known yet, and the clock has stood still.
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

    /// A reading makes the times before it final. If `mark.constant`, the rate was constant since
    /// the last reading. Otherwise the packets had the same timestamp; they are spread over at
    /// most [`PACED_SPREAD_MAX`], or over the time in which they came, the last of them at `came`.
    pub(super) fn close(&mut self, place: i64, mark: &Mark, jumped: bool, arrived: i64, came: i64) {
        let time = mark.time.saturating_add(self.shift);
        self.before = self.last.replace(Anchor { place, time, arrived });
        let Some(before) = self.before.filter(|before| place > before.place) else { return };
        // The interval across a jump is unknown; the previous one still applies.
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
