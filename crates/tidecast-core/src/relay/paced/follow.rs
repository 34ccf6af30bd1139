//! Follows the source's clock across its jumps, while it stands still, and after pauses in which
//! it stood.
//!
//! A clock that stops changes nothing for receivers: the times continue at the last rate and are
//! corrected slowly by the arrivals. The next clock, or the same one when it runs again, is
//! aligned with them.

use crate::limits::{PACED_STEP, SMOOTH_OFF_MAX};

use super::{
    PacedItem, Pacer,
    doubt::{Scale, Step},
    nanos,
    stamps::{Clock, Mark},
    timeline,
};

impl Pacer {
    /// From this packet on another clock gives the times, or none.
    pub(super) fn change(&mut self, before: Clock, missing: i64, arrived: i64) {
        let place = self.timeline.ahead(missing) + self.timeline.beside();
        if let Some(course) = self.timeline.course(place, arrived) {
            self.stood[before as usize] = Some(self.timeline.shift());
            self.set_open(|place| Some(course.time(place)));
            let level = self.base.at(arrived) + self.base.typical();
            let steps = (missing + 1) as f64;
            let last = course.time(place).saturating_add(level) - (course.period * steps) as i64;
            self.smooth.lead(last, course.period);
            self.timeline.shift_to(level, 0);
        }
        self.timeline.forget();
        self.doubt.forget();
        self.open = 0;
    }

    /// Discards all times and measurements: they came from a wrong clock rate.
    pub(super) fn begin_anew(&mut self) {
        self.timeline.forget();
        self.doubt.forget();
        self.smooth.forget();
        self.base.distrust();
        self.delay.forget();
        (self.open, self.stood) = (0, Default::default());
        // Waiting packets leave with the spacing of their arrivals.
        let mut floor = self.left;
        for entry in &mut self.queue {
            floor = floor.max(entry.since - self.base.at(entry.since));
            entry.time = floor;
        }
        self.latest = floor;
    }

    /// Takes a reading of the source's clock at `place`.
    pub(super) fn mark(&mut self, place: i64, mark: Mark, missing: i64, arrived: i64, trusted: bool) {
        let expected = self.timeline.expected(place);
        let jumped = match self.timeline.compare(place, &mark, arrived, self.tolerance()) {
            None => Some(self.join(&mark, missing, arrived)),
            Some(true) => Some(self.go_on_at(expected, arrived)),
            Some(false) => self.correct(&mark, arrived, trusted),
        };
        match jumped {
            Some(time) => {
                self.doubt.forget();
                self.timeline.shift_to(mark.time, time.max(self.timeline.last_time()));
            }
            None if trusted && !self.base.is_free() => self.weigh(&mark, arrived),
            None => {}
        }
        self.settle(place, &mark, jumped.is_some(), arrived);
        let time = self.timeline.time(place - i64::from(mark.offset), i64::MIN);
        if let Some(time) = time.filter(|_| trusted && !self.doubt.is_open()) {
            self.base.sample(arrived, arrived - time, self.delay.get());
        }
    }

    /// Source time of a clock's first reading. If the clock ran on while it was not read, its
    /// earlier shift applies; otherwise the packets before are extrapolated.
    fn join(&mut self, mark: &Mark, missing: i64, arrived: i64) -> i64 {
        let steady = self.smooth.is_steady();
        let (smooth, fresh) = self.smooth.next(arrived, missing);
        if fresh || !steady {
            self.restart();
            return self.here(arrived);
        }
        let (line, here) = (smooth + self.timeline.shift(), self.here(arrived));
        let near = |time: i64, other: i64| time.abs_diff(other) < nanos(PACED_STEP).unsigned_abs();
        let stood = self.stood[self.stamps.clock() as usize].take().filter(|_| !mark.anew);
        let again = stood.map(|shift| mark.time.saturating_add(shift));
        // A stream with a varying rate strays from its line.
        let on = if near(line, here) { line } else { here };
        again.filter(|time| near(*time, line) || near(*time, here)).unwrap_or(on)
    }

    /// Source time after a jump of the clock: the extrapolated time, if that fits the arrival.
    fn go_on_at(&mut self, expected: Option<i64>, arrived: i64) -> i64 {
        let here = self.here(arrived);
        let fits = |time: &i64| match self.timeline.is_steady() {
            true => time.abs_diff(here) <= nanos(PACED_STEP).unsigned_abs(),
            false => {
                let excess = arrived - *time - self.base.at(arrived);
                (-timeline::JUMP..self.delay.get() + timeline::JUMP).contains(&excess)
            }
        };
        if let Some(time) = expected.filter(fits) {
            return time;
        }
        self.restart();
        self.here(arrived)
    }

    /// New source time for a reading that continues at the clock's rate but arrives too late: the
    /// clock stood still in a pause.
    fn correct(&mut self, mark: &Mark, arrived: i64, trusted: bool) -> Option<i64> {
        if !trusted {
            return None;
        }
        let time = mark.time.saturating_add(self.timeline.shift());
        let excess = arrived - time - self.base.at(arrived);
        let behind = self.timeline.behind(mark, arrived);
        if excess > self.delay.get() && behind > self.timeline.jump() && self.is_empty() {
            self.restart();
            let here = self.here(arrived);
            self.resumed = Some(arrived - here);
            return Some(here);
        }
        None
    }

    /// Follows a step of the clock that the arrivals have confirmed, from its first packet on.
    fn weigh(&mut self, mark: &Mark, arrived: i64) {
        let time = mark.time.saturating_add(self.timeline.shift());
        let excess = arrived - time - self.base.at(arrived);
        let scale = Scale { typical: self.base.typical(), arrived, entries: self.entries };
        if let Some(step) = self.doubt.weigh(excess, scale) {
            self.step(step);
        }
    }

    /// The first entry is due, so the question whether it is late must be settled now.
    pub(super) fn decide(&mut self) {
        let first = self.entries - self.queue.len() as u64;
        if let Some(step) = self.doubt.leaves(first) {
            self.step(step);
        }
    }

    /// Moves all times from an entry on.
    fn step(&mut self, Step { by, entries }: Step) {
        match self.stamps.clock() {
            Clock::Arrival => self.smooth.move_by(by),
            _ => self.timeline.move_by(by),
        }
        let count = self.queue.len().min((self.entries - entries) as usize);
        let first = self.queue.len() - count;
        let mut floor = if first == 0 { self.left } else { self.queue[first - 1].time };
        for entry in self.queue.iter_mut().skip(first) {
            floor = floor.max(entry.time.saturating_add(by));
            entry.time = floor;
        }
        self.latest = floor;
    }

    /// How many of the packets beside the stream stand in for packets of the stream: all of them,
    /// or none if they are additional.
    pub(super) fn in_place(&self, missing: i64, arrived: i64) -> i64 {
        let beside = self.timeline.beside();
        if beside == 0 {
            return 0;
        }
        let here = self.here(arrived);
        let off = |packets: i64| {
            let time = match self.stamps.clock() {
                Clock::Arrival => self.smooth.ahead(packets + 1).map(|time| time + self.timeline.shift()),
                _ => self.timeline.expected(self.timeline.ahead(packets)),
            };
            time.map_or(0, |time| time.abs_diff(here))
        };
        if off(missing + beside) < off(missing) { beside } else { 0 }
    }

    /// Source time of a packet with this arrival and the usual transit time.
    pub(super) fn here(&self, arrived: i64) -> i64 {
        arrived - self.base.at(arrived) - self.base.typical()
    }

    /// Source time of a packet that carries none: smoothed arrivals.
    pub(super) fn by_arrival(&mut self, arrived: i64, missing: i64) -> i64 {
        // After a pause the line restarts at the arrival; after a stall it continues.
        let ahead = self.smooth.ahead(missing + 1).filter(|_| !self.base.is_free());
        if let Some(ahead) = ahead.filter(|ahead| arrived - ahead < nanos(SMOOTH_OFF_MAX)) {
            let excess = arrived - ahead - self.timeline.shift() - self.base.at(arrived);
            let scale = Scale { typical: self.base.typical(), arrived, entries: self.entries };
            let doubted = self.doubt.doubts(excess, scale.typical);
            let step = self.doubt.weigh(excess.max(0), scale);
            if doubted {
                self.smooth.go_on(missing);
                if let Some(step) = step {
                    self.step(step);
                }
                return self.smooth.ahead(0).map_or(0, |time| time + self.timeline.shift());
            }
        }
        let (smooth, fresh) = self.smooth.next(arrived, missing);
        if fresh {
            self.doubt.forget();
            self.restart();
            self.timeline.shift_to(smooth, self.here(arrived));
        }
        let time = smooth + self.timeline.shift();
        self.base.sample(arrived, arrived - time, self.delay.get());
        time
    }

    /// Restarts base and delay if no packet waits, so that no receiver notices.
    pub(super) fn restart(&mut self) {
        if self.is_empty() {
            self.base.restart();
            self.delay.restart();
        }
    }

    /// The packets after a pause may catch up with their times, as in a burst. Then the first one
    /// was late and the delay must cover it.
    pub(super) fn need_of_the_first(&mut self, now: i64) {
        if let Some(transit) = self.resumed {
            self.delay.needs(transit - self.base.at(now), 0, now);
        }
    }

    /// Sets the times of all entries whose times are not final, and keeps them in order.
    fn set_open(&mut self, time: impl Fn(i64) -> Option<i64>) {
        if self.open == 0 {
            return;
        }
        let first = self.queue.len() - self.open;
        let mut floor = if first == 0 { self.left } else { self.queue[first - 1].time };
        for entry in self.queue.iter_mut().skip(first) {
            if let (PacedItem::Packet(_), Some(time)) = (&entry.item, time(entry.place)) {
                floor = floor.max(time);
            }
            entry.time = floor;
        }
        self.latest = floor;
    }

    /// Makes the times of the packets since the last reading final.
    fn settle(&mut self, place: i64, mark: &Mark, jumped: bool, arrived: i64) {
        let came = self.queue.back().filter(|_| self.open > 0).map_or(i64::MIN / 2, |last| last.since);
        self.timeline.close(place, mark, jumped, arrived, came);
        let settled = self.timeline.between();
        self.set_open(|place| settled.map(|course| course.time(place)));
        if self.open > 0 {
            let (oldest, last) = (self.queue[self.queue.len() - self.open].time, self.queue.back());
            let waited = last.map_or(0, |last| last.since - last.time);
            let needed = (arrived - oldest).max(waited) - self.base.at(arrived);
            self.delay.needs(needed, 0, arrived);
        }
        self.open = 0;
    }
}
