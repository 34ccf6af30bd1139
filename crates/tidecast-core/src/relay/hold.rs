//! The hold: how long a gap may delay later packets. And the packet rate of a flow.
//!
//! `hold = "auto"` follows the measurements: how late reordered packets come, how long a source
//! block lasts, and how long a retransmission takes. It rises when a value was measured twice,
//! since one packet may be forged, and falls when two whole windows have not needed it. A flow
//! whose packets may be recovered starts with the maximum, since nothing is measured yet when its
//! first packet is lost.

use std::time::{Duration, Instant};

use super::peak::Repeated;
use crate::limits::{
    HOLD_FALL_WINDOW, HOLD_MAX, HOLD_MAX_RIST, HOLD_MIN, HOLD_SETTLE, HOLD_START, RATE_WINDOW,
    REORDER_PACKETS_MIN, REORDER_PACKETS_START,
};

/// The configured hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// Follows what is measured, within these bounds.
    Auto {
        /// Lower bound.
        min: Duration,
        /// Upper bound.
        max: Duration,
    },
    /// A constant.
    Fixed(Duration),
}

impl Hold {
    /// Upper bound of an automatic hold; none for a constant.
    pub fn bound(&self) -> Option<Duration> {
        match self {
            Hold::Auto { max, .. } => Some(*max),
            Hold::Fixed(_) => None,
        }
    }

    /// Initial value, before anything was measured.
    pub(super) fn start(&self) -> Duration {
        match self {
            Hold::Auto { min, max } => HOLD_START.clamp(*min, (*max).max(*min)),
            Hold::Fixed(hold) => *hold,
        }
    }

    /// Automatic hold within the usual bounds, or within those usual for RIST, whose requests take
    /// time.
    pub fn auto(rist: bool) -> Hold {
        Hold::Auto { min: HOLD_MIN, max: if rist { HOLD_MAX_RIST } else { HOLD_MAX } }
    }

    /// Maximum hold.
    pub(super) fn max(&self) -> Duration {
        match self {
            Hold::Auto { max, .. } => *max,
            Hold::Fixed(hold) => *hold,
        }
    }
}

impl Default for Hold {
    fn default() -> Hold {
        Hold::auto(false)
    }
}

/// Current hold of one flow. Fields that every packet touches stand last, next to the rate.
#[derive(Debug, Clone)]
#[repr(C)]
pub(super) struct HoldEstimate {
    config: Hold,
    /// Lateness of packets.
    lateness: Repeated,
    /// How long source blocks take.
    blocks: Repeated,
    /// Lag of a leg behind another one.
    skew: Repeated,
    /// Maximum time that retransmission has needed, in this window and in the previous one.
    requests: [Duration; 2],
    /// Lower bound until the flow has shown what its recovery needs; zero afterwards.
    promised: Duration,
    /// Whether fewer than two windows have passed: the initial value is kept until then.
    windows: u8,
    /// End of the first window.
    first_window: Instant,
    current: Duration,
    /// End of the promise or of the window, whichever is first.
    rotate_at: Instant,
}

impl HoldEstimate {
    pub(super) fn new(config: Hold, now: Instant) -> HoldEstimate {
        HoldEstimate {
            config,
            current: config.start(),
            lateness: Repeated::default(),
            blocks: Repeated::default(),
            skew: Repeated::default(),
            requests: [Duration::ZERO; 2],
            promised: Duration::ZERO,
            windows: 0,
            first_window: now + HOLD_FALL_WINDOW,
            rotate_at: now + HOLD_FALL_WINDOW,
        }
    }

    /// Raises the hold to its maximum for [`HOLD_SETTLE`] at most: packets of the flow may be
    /// recovered, and the time for that is not measured yet. Has an effect at the start of a flow
    /// only.
    pub(super) fn promise(&mut self, now: Instant) {
        if self.windows == 0 && now < self.first_window {
            self.promised = self.config.max();
            self.rotate_at = self.first_window.min(now + HOLD_SETTLE);
            self.update(now);
        }
    }

    /// Ends the effect of [`HoldEstimate::promise`]: recovery was measured, or there is none.
    pub(super) fn settle(&mut self, now: Instant) {
        if !self.promised.is_zero() {
            self.promised = Duration::ZERO;
            self.rotate_at = self.first_window;
            self.update(now);
        }
    }

    /// Current hold.
    pub(super) fn get(&self) -> Duration {
        self.current
    }

    /// Current hold, without [`HoldEstimate::promise`].
    pub(super) fn measured(&self) -> Duration {
        match self.config {
            Hold::Auto { min, max } => self.needed().clamp(min, max.max(min)),
            Hold::Fixed(hold) => hold,
        }
    }

    /// The configured hold.
    pub(super) fn config(&self) -> Hold {
        self.config
    }

    /// Maximum hold.
    pub(super) fn max(&self) -> Duration {
        self.config.max()
    }

    /// Minimum hold: its value when nothing needs more.
    pub(super) fn floor(&self) -> Duration {
        match self.config {
            Hold::Auto { min, max } if self.windows < 2 => HOLD_START.clamp(min, max.max(min)),
            Hold::Auto { min, .. } => min,
            Hold::Fixed(hold) => hold,
        }
    }

    /// How long after a higher number a reordered packet may still arrive, as measured; zero on a
    /// path that has not reordered.
    pub(super) fn reordering(&self) -> Duration {
        (self.lateness.get() * 5 / 4).min(self.current)
    }

    /// A packet came this long after the first one that showed it missing. More than the maximum
    /// hold is ignored, since no hold would have waited for it.
    pub(super) fn saw_lateness(&mut self, lateness: Duration, now: Instant) {
        if lateness > self.config.max() {
            return;
        }
        if self.lateness.saw(lateness) {
            self.update(now);
        }
    }

    /// A source block needed this long from its first gap to its last repair packet.
    pub(super) fn saw_block(&mut self, span: Duration, now: Instant) {
        self.blocks.saw(span);
        self.update(now);
    }

    /// A leg carried a number this long after another leg. A packet that the other one misses
    /// comes this late.
    #[inline]
    pub(super) fn saw_skew(&mut self, lag: Duration, now: Instant) {
        if self.skew.saw(lag) {
            self.update(now);
        }
    }

    /// Measured duration of source blocks.
    pub(super) fn blocks(&self) -> Duration {
        self.blocks.get()
    }

    /// Takes the time that requests for a packet need, including repetitions.
    pub(super) fn saw_requests(&mut self, need: Duration, now: Instant) {
        self.requests[0] = self.requests[0].max(need);
        self.update(now);
    }

    /// Lowers the hold when a window ends. Returns whether one has ended.
    #[inline]
    pub(super) fn tick(&mut self, now: Instant) -> bool {
        let due = now >= self.rotate_at;
        if due {
            self.update(now);
        }
        due
    }

    fn update(&mut self, now: Instant) {
        if now >= self.rotate_at && self.rotate_at < self.first_window {
            (self.promised, self.rotate_at) = (Duration::ZERO, self.first_window);
        }
        if now >= self.rotate_at {
            self.promised = Duration::ZERO;
            [&mut self.lateness, &mut self.blocks, &mut self.skew].into_iter().for_each(Repeated::rotate);
            self.requests = [Duration::ZERO, self.requests[0]];
            self.windows = self.windows.saturating_add(1);
            self.rotate_at = now + HOLD_FALL_WINDOW;
        }
        let Hold::Auto { min, max } = self.config else { return };
        self.current = self.needed().max(self.promised).clamp(min, max.max(min));
    }

    /// Hold required by the measurements.
    fn needed(&self) -> Duration {
        let late = self.lateness.get() * 3 / 2;
        let block = self.blocks() * 5 / 4;
        let skew = self.skew.get() * 5 / 4;
        let requests = self.requests[0].max(self.requests[1]);
        let floor = if self.windows < 2 { HOLD_START } else { Duration::ZERO };
        late.max(block).max(skew).max(requests).max(floor)
    }
}

/// Smoothed packet rate of one flow.
#[derive(Debug, Clone)]
#[repr(C)]
pub(super) struct Rate {
    per_second: Option<f64>,
    since: Instant,
    /// [`RATE_WINDOW`] later.
    until: Instant,
    count: u32,
}

impl Rate {
    pub(super) fn new(now: Instant) -> Rate {
        Rate { per_second: None, since: now, until: now + RATE_WINDOW, count: 0 }
    }

    /// Counts one packet. Returns whether the rate was measured again.
    #[inline]
    pub(super) fn packet(&mut self, now: Instant) -> bool {
        let measured = now >= self.until && self.count > 0;
        if measured {
            self.measure(now);
        }
        self.count += 1;
        measured
    }

    fn measure(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.since);
        let measured = f64::from(self.count) / elapsed.as_secs_f64();
        self.per_second = Some(self.per_second.map_or(measured, |before| (before + measured) / 2.0));
        self.since = now;
        self.until = now + RATE_WINDOW;
        self.count = 0;
    }

    /// Packets per second, once measured.
    pub(super) fn get(&self) -> Option<f64> {
        self.per_second
    }

    /// Number of packets that come within this time, once the rate is known.
    pub(super) fn packets_within(&self, time: Duration) -> Option<u64> {
        self.per_second.map(|rate| (rate * time.as_secs_f64()) as u64)
    }

    /// Reorder window in packets: how far ahead of the head a packet is plausible.
    pub(super) fn window(&self, hold: Duration, max: u64) -> u64 {
        let plausible = match self.per_second {
            None => REORDER_PACKETS_START,
            Some(rate) => (4.0 * rate * hold.as_secs_f64()) as u64,
        };
        plausible.max(REORDER_PACKETS_MIN).min(max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[allow(clippy::disallowed_methods)]
    fn t0() -> Instant {
        Instant::now()
    }

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn rises_at_once_and_falls_after_two_windows() {
        let t = t0();
        let mut hold = HoldEstimate::new(Hold::default(), t);
        assert_eq!(hold.get(), HOLD_START);
        hold.saw_lateness(100 * MS, t);
        assert_eq!(hold.get(), HOLD_START, "one packet may be forged");
        hold.saw_lateness(110 * MS, t);
        assert_eq!(hold.get(), 150 * MS);
        hold.tick(t + HOLD_FALL_WINDOW);
        assert_eq!(hold.get(), 150 * MS);
        hold.tick(t + 2 * HOLD_FALL_WINDOW);
        assert_eq!(hold.get(), HOLD_MIN);
        hold.saw_block(3000 * MS, t + 2 * HOLD_FALL_WINDOW);
        hold.saw_skew(3000 * MS, t + 2 * HOLD_FALL_WINDOW);
        assert_eq!(hold.get(), HOLD_MIN);
        hold.saw_block(3000 * MS, t + 2 * HOLD_FALL_WINDOW);
        assert_eq!(hold.get(), HOLD_MAX);
    }

    #[test]
    fn a_promise_holds_until_it_is_measured() {
        let t = t0();
        let promised = || {
            let mut hold = HoldEstimate::new(Hold::default(), t);
            hold.promise(t);
            assert_eq!((hold.get(), hold.measured(), hold.floor()), (HOLD_MAX, HOLD_START, HOLD_START));
            hold
        };
        let mut hold = promised();
        (0..2).for_each(|_| hold.saw_block(100 * MS, t + 10 * MS));
        assert_eq!(hold.get(), HOLD_MAX, "the next block may be longer");
        hold.tick(t + HOLD_SETTLE);
        assert_eq!(hold.get(), 125 * MS);
        let mut hold = promised();
        hold.settle(t + 100 * MS);
        assert_eq!(hold.get(), HOLD_START);
        hold.tick(t + HOLD_FALL_WINDOW - MS);
        assert_eq!(hold.windows, 0, "windows are as long as ever");
        hold.tick(t + HOLD_FALL_WINDOW);
        hold.promise(t + HOLD_FALL_WINDOW);
        assert_eq!((hold.windows, hold.get()), (1, HOLD_START), "only at the beginning");
    }

    #[test]
    fn fixed_stays_fixed() {
        let t = t0();
        let mut hold = HoldEstimate::new(Hold::Fixed(80 * MS), t);
        hold.saw_lateness(1000 * MS, t);
        assert_eq!((hold.get(), hold.reordering()), (80 * MS, Duration::ZERO));
        (0..2).for_each(|_| hold.saw_lateness(40 * MS, t));
        assert_eq!((hold.get(), hold.reordering()), (80 * MS, 50 * MS));
        hold.tick(t + HOLD_FALL_WINDOW);
        hold.tick(t + 2 * HOLD_FALL_WINDOW);
        assert_eq!((hold.get(), hold.reordering()), (80 * MS, Duration::ZERO));
    }

    #[test]
    fn window_follows_the_rate() {
        let t = t0();
        let mut rate = Rate::new(t);
        assert_eq!(rate.window(50 * MS, 8192), REORDER_PACKETS_START);
        for i in 0..=1000 {
            rate.packet(t + i * MS);
        }
        assert_eq!(rate.window(100 * MS, 8192), 400);
        assert_eq!(rate.window(100 * MS, 100), 100);
        assert_eq!(rate.window(MS, 8192), REORDER_PACKETS_MIN);
    }
}
