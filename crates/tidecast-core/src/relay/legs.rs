//! The legs of one flow: what each one carried and missed, how far it is behind the first one, and
//! until when a missing number may still come on any of them. Used by `flow` for channels with
//! several legs.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::{LegCounters, peak::Peak};
use crate::limits::{
    LEG_OUT_MIN, LEG_PROGRESS_STEPS, LEG_TURN, LEGS_MAX, REORDER_PACKETS_MIN, SILENCE_MAX, SKEW_GAIN,
};

mod brought;

use brought::{Brought, Copy, Limits};
use tidecast_wire::seq::SeqRange;

/// A leg had passed all numbers below `position` at `at`.
#[derive(Debug, Clone, Copy)]
struct Progress {
    position: u64,
    at: Instant,
}

/// One leg of a flow.
#[derive(Debug)]
struct Leg {
    /// Numbers after its two highest packets in this session; 0 if there are none. The
    /// second one is the leg's position, so that one forged packet does not move it.
    top: [u64; 2],
    /// Its earlier positions, as far back as a gap may wait.
    progress: VecDeque<Progress>,
    /// When it last carried a number of this session, or a late one of the previous session.
    heard: Option<Instant>,
    /// If it was active before this session, how long to wait for its first packet.
    awaited_until: Option<Instant>,
    /// Number after its highest one before the current session.
    before: Option<u64>,
    /// When it first carried a packet of the current session.
    shown: Option<Instant>,
    /// When it last carried a new packet.
    led: Option<Instant>,
    /// Lateness of its packets relative to later ones on the same leg.
    lateness: Peak,
    /// Lag of its packets behind the first leg.
    lag: Peak,
    /// Smoothed lag behind the first leg, in seconds.
    skew: Option<f64>,
    /// Its packets come too late to wait for.
    distant: bool,
    /// Source address of its packets, and when the latest came.
    source: Option<SocketAddr>,
    source_heard: Option<Instant>,
}

impl Leg {
    fn new(now: Instant) -> Leg {
        Leg {
            top: [0; 2],
            progress: VecDeque::new(),
            heard: None,
            awaited_until: None,
            before: None,
            shown: None,
            led: None,
            lateness: Peak::new(now),
            lag: Peak::new(now),
            skew: None,
            distant: false,
            source: None,
            source_heard: None,
        }
    }

    /// Number after the highest one that the leg has confirmed.
    fn position(&self) -> u64 {
        self.top[1]
    }

    /// Notes a packet that ends before `end`.
    fn moved(&mut self, end: u64, now: Instant, patience: Duration) {
        let (before, grain) = (self.position(), patience / LEG_PROGRESS_STEPS);
        if end > self.top[0] {
            self.top = [end, self.top[0]];
        } else if end < self.top[0] && end > self.top[1] {
            self.top[1] = end;
        }
        let position = self.position();
        if position == before || self.progress.back().is_some_and(|last| now < last.at + grain) {
            return;
        }
        while self.progress.front().is_some_and(|first| first.at + patience + grain < now) {
            self.progress.pop_front();
        }
        self.progress.push_back(Progress { position, at: now });
    }

    /// When the leg passed `number`, as far as known; not earlier than it did.
    fn passed(&self, number: u64) -> Option<Instant> {
        if self.position() <= number {
            return None;
        }
        let place = self.progress.partition_point(|progress| progress.position <= number);
        self.progress.get(place).map(|progress| progress.at).or(self.heard)
    }

    /// Until when the leg may still carry `number`; `None` if it will not.
    fn expected_until(&self, number: u64, waits: &Waits) -> Option<Instant> {
        if let Some(passed) = self.passed(number) {
            return Some(passed + waits.reordering(self.lateness.get()));
        }
        let heard = self.heard.filter(|_| !self.distant).map(|heard| heard + waits.out);
        heard.max(self.awaited_until)
    }

    fn lagged(&mut self, lag: Duration, now: Instant) {
        self.lag.saw(lag, now);
        let (lag, before) = (lag.as_secs_f64(), self.skew);
        self.skew = Some(before.map_or(lag, |before| before + (lag - before) * SKEW_GAIN));
        self.distant = false;
    }
}

/// How long to wait for packets of a leg.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waits {
    /// Minimum for a number that the leg has passed.
    pub(super) least: Duration,
    /// Maximum for a number that the leg has passed.
    pub(super) most: Duration,
    /// Maximum after its latest packet.
    pub(super) out: Duration,
}

impl Waits {
    /// For a flow with this many packets per second.
    pub(super) fn new(least: Duration, most: Duration, rate: Option<f64>) -> Waits {
        let three = rate.map_or(SILENCE_MAX.as_secs_f64(), |rate| 3.0 / rate);
        let out = Duration::try_from_secs_f64(three).unwrap_or(SILENCE_MAX).clamp(LEG_OUT_MIN, SILENCE_MAX);
        Waits { least, most, out }
    }

    fn reordering(&self, lateness: Duration) -> Duration {
        (lateness * 3 / 2).max(self.least).min(self.most)
    }
}

/// State of a leg in the previous session, packets of which it may still carry.
#[derive(Debug, Clone, Copy)]
pub(super) struct Before {
    /// Number after the highest one of that session on this leg.
    pub(super) end: u64,
    /// When it first carried the current session, and its position there.
    pub(super) shown: Option<(Instant, u64)>,
}

/// The legs of one flow.
#[derive(Debug)]
pub(super) struct Legs {
    legs: Vec<Leg>,
    brought: Brought,
    limits: Limits,
}

/// Position of a number relative to the leg's earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Course {
    /// The leg has carried nothing in this session.
    Unknown,
    /// Above the earlier ones, or slightly below, as reordering explains.
    GoesOn,
    /// Far below the earlier ones.
    Back,
}

impl Legs {
    /// Legs of a flow whose gaps stay open for `patience` at most.
    pub(super) fn new(legs: usize, patience: Duration, packets_max: u64, now: Instant) -> Legs {
        let legs = legs.min(LEGS_MAX);
        Legs {
            legs: (0..legs).map(|_| Leg::new(now)).collect(),
            brought: Brought::new(legs, 0, now),
            limits: Limits { patience, packets_max, step: 1 },
        }
    }

    /// From now on packets take `step` numbers each.
    pub(super) fn set_step(&mut self, step: u64) {
        self.limits.step = step;
        if step > 1 {
            self.brought.sort();
        }
    }

    /// Memory beyond the minimum of each flow, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.brought.bytes()
    }

    /// Starts a session with the number `start`. `heard`: last arrival on each leg, of any flow.
    pub(super) fn start(&mut self, start: u64, restart: bool, heard: &[Option<Instant>], now: Instant) {
        self.brought = Brought::new(self.legs.len(), start, now);
        self.set_step(self.limits.step);
        let Limits { patience, .. } = self.limits;
        for (leg, heard) in self.legs.iter_mut().zip(heard) {
            // A leg that has carried nothing yet may be behind.
            let there = heard.is_none_or(|heard| now < heard + patience.max(LEG_OUT_MIN));
            let before = (restart && leg.top[0] > 0).then_some(leg.top[0]).or(leg.before);
            let awaited_until = there.then(|| now + patience);
            let Leg { lateness, lag, skew, source, source_heard, .. } = *leg;
            *leg = Leg { before, awaited_until, lateness, lag, skew, source, source_heard, ..Leg::new(now) };
        }
    }

    /// Notes the source address of a packet.
    pub(super) fn heard_from(&mut self, leg: u8, source: SocketAddr, now: Instant) {
        if let Some(leg) = self.legs.get_mut(usize::from(leg)) {
            leg.source.get_or_insert(source);
            leg.source_heard = Some(now);
        }
    }

    /// From now on the packets of a leg come from `source`.
    pub(super) fn moves(&mut self, leg: u8, source: SocketAddr) {
        if let Some(leg) = self.legs.get_mut(usize::from(leg)) {
            leg.source = Some(source);
        }
    }

    /// When the latest packet of the leg's source came.
    pub(super) fn source_heard(&self, leg: u8) -> Option<Instant> {
        self.legs.get(usize::from(leg))?.source_heard
    }

    /// Source address of the packets of a leg.
    pub(super) fn source(&self, leg: u8) -> Option<SocketAddr> {
        self.legs.get(usize::from(leg))?.source
    }

    /// Notes a packet of the current session. Returns its lag behind another leg's copy, if there
    /// was one.
    pub(super) fn note(
        &mut self,
        leg: u8,
        numbers: SeqRange,
        now: Instant,
        counters: &mut [LegCounters],
    ) -> Option<Duration> {
        let number = numbers.first;
        let Limits { patience, .. } = self.limits;
        self.brought.judge(now, patience, counters);
        let index = usize::from(leg);
        let own = self.legs.get_mut(index)?;
        (own.heard, own.awaited_until) = (Some(now), None);
        let copy = self.brought.note(index, numbers, now, self.limits, counters);
        if copy != Copy::Same
            && let Some(passed) = own.passed(number)
        {
            own.lateness.saw(now.saturating_duration_since(passed).min(patience), now);
        }
        own.moved(number + numbers.count, now, patience);
        match copy {
            Copy::First => own.lagged(Duration::ZERO, now),
            Copy::Later(lag) => own.lagged(lag, now),
            Copy::Judged => own.distant = number >= self.brought.start(),
            Copy::Same => {}
        }
        match copy {
            Copy::Later(lag) => Some(lag),
            _ => None,
        }
    }

    /// A leg carried a known number with other content. Counts it only if other legs carried the
    /// number: a repetition on the same leg may be a restart of the producer.
    pub(super) fn differs(&self, leg: u8, number: u64, counters: &mut [LegCounters]) {
        let index = usize::from(leg);
        if self.brought.by_others(index, number) {
            counters[index].differing += 1;
        }
    }

    /// A leg carried a new packet.
    pub(super) fn led(&mut self, leg: u8, now: Instant) {
        if let Some(leg) = self.legs.get_mut(usize::from(leg)) {
            leg.led = Some(now);
        }
    }

    /// Whether another leg has carried a new packet since then.
    pub(super) fn another_led(&self, leg: u8, since: Instant) -> bool {
        let others = self.legs.iter().enumerate().filter(|(other, _)| *other != usize::from(leg));
        others.map(|(_, other)| other.led).any(|led| led.is_some_and(|led| led > since))
    }

    /// Compares a number with the leg's earlier ones.
    pub(super) fn course(&self, leg: u8, number: u64) -> Course {
        let near = REORDER_PACKETS_MIN * self.limits.step;
        match self.legs.get(usize::from(leg)) {
            Some(leg) if leg.top[0] > 0 && number + near >= leg.position() => Course::GoesOn,
            Some(leg) if leg.top[0] > 0 => Course::Back,
            _ => Course::Unknown,
        }
    }

    /// Whether a number is above all those of the leg.
    pub(super) fn is_beyond(&self, leg: u8, number: u64) -> bool {
        self.legs.get(usize::from(leg)).is_some_and(|leg| leg.top[0] > 0 && number >= leg.top[0])
    }

    /// State of a leg in the previous session, if it was active then.
    pub(super) fn before(&self, leg: u8) -> Option<Before> {
        let leg = self.legs.get(usize::from(leg))?;
        let position = if leg.position() > 0 { leg.position() } else { leg.top[0] };
        Some(Before { end: leg.before?, shown: leg.shown.map(|shown| (shown, position)) })
    }

    /// A leg carried a number of the previous session, which now ends at `end`, or (`None`) one of
    /// the new session.
    pub(super) fn left_over(&mut self, leg: u8, end: Option<u64>, now: Instant) {
        let Some(leg) = self.legs.get_mut(usize::from(leg)) else { return };
        match end {
            Some(end) => (leg.before, leg.heard) = (Some(end), Some(now)),
            None => _ = leg.shown.get_or_insert(now),
        }
    }

    /// Until when `number` may still come on any leg.
    pub(super) fn expected_until(&self, number: u64, waits: &Waits) -> Option<Instant> {
        self.legs.iter().filter_map(|leg| leg.expected_until(number, waits)).max()
    }

    /// How long after one leg another live leg may carry a number, by the largest recent lag.
    pub(super) fn lag(&self, now: Instant, waits: &Waits) -> Duration {
        let lives = |leg: &&Leg| leg.heard.is_some_and(|heard| now < heard + waits.out);
        let lags = || self.legs.iter().filter(lives).map(|leg| leg.lag.get());
        let least = if lags().count() > 1 { LEG_TURN } else { Duration::ZERO };
        lags().max().map_or(least, |lag| (lag * 5 / 4).max(least))
    }

    /// Average lag of a leg behind the first one; `None` if the leg has been silent since `since`.
    pub(super) fn skew(&self, leg: usize, since: Instant) -> Option<Duration> {
        let leg = self.legs.get(leg)?;
        leg.heard.filter(|heard| *heard >= since)?;
        leg.skew.map(Duration::from_secs_f64)
    }

    /// Settles all numbers, and frees their memory.
    pub(super) fn shrink(&mut self, counters: &mut [LegCounters]) {
        self.brought.shrink(counters);
    }

    /// When [`Legs::judge`] has something to do, if nothing comes.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.brought.deadline().map(|at| at + SILENCE_MAX)
    }

    /// Counts overdue numbers as missed.
    pub(super) fn judge(&mut self, now: Instant, counters: &mut [LegCounters]) {
        self.brought.judge(now, self.limits.patience, counters);
    }
}

#[cfg(test)]
mod tests;
