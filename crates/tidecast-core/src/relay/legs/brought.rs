//! Which legs brought which of the latest numbers, and when the first of them did. A number is
//! judged when the others had their time: the legs that did not bring it have missed it.

use std::time::{Duration, Instant};

use crate::{
    limits::LEG_NUMBERS_MIN,
    relay::{
        LegCounters,
        places::{Place, Places},
    },
};
use tidecast_wire::seq::SeqRange;

/// One packet, at its first number.
#[derive(Debug, Clone, Copy, Default)]
struct BroughtPacket {
    /// One bit per leg that brought it; none: nobody did.
    legs: u32,
    /// Numbers that it takes.
    span: u32,
    /// When the first one did, in microseconds since `epoch`.
    micros: u64,
}

impl Place for BroughtPacket {
    fn is_empty(&self) -> bool {
        self.legs == 0
    }
}

/// How long the others have to bring a packet, and how many packets are kept at most, of `step`
/// numbers each.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) patience: Duration,
    pub(super) packets_max: u64,
    pub(super) step: u64,
}

/// What a leg's copy of a number is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Copy {
    First,
    /// This long after another leg's.
    Later(Duration),
    /// The same leg brought it before.
    Same,
    /// The number has been judged, or is older than the session.
    Judged,
}

/// The latest numbers of one session.
#[derive(Debug)]
pub(super) struct Brought {
    epoch: Instant,
    /// The first number of the session.
    start: u64,
    /// The first that is not judged.
    base: u64,
    /// One past the highest that came.
    end: u64,
    slots: Places<BroughtPacket>,
    /// The first number that each leg answers for; `None`: it brought nothing yet.
    from: Vec<Option<u64>>,
    /// Nothing is old enough before that.
    judge_at: Option<Instant>,
}

impl Brought {
    pub(super) fn new(legs: usize, start: u64, epoch: Instant) -> Brought {
        let from = vec![None; legs];
        Brought { epoch, start, base: start, end: start, slots: Places::new(), from, judge_at: None }
    }

    /// Memory beyond what each session has.
    pub(super) fn bytes(&self) -> usize {
        self.slots.bytes(LEG_NUMBERS_MIN)
    }

    /// The first number of the session.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// When [`Brought::judge`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.judge_at
    }

    /// Packets take several numbers from now on.
    pub(super) fn sort(&mut self) {
        self.slots.sort(self.base);
    }

    /// A leg brought a packet that takes these numbers. Those that are too old for the limits are
    /// judged early.
    pub(super) fn note(
        &mut self,
        leg: usize,
        SeqRange { first: number, count: span }: SeqRange,
        now: Instant,
        limits: Limits,
        counters: &mut [LegCounters],
    ) -> Copy {
        self.answers_from(leg, number);
        if number < self.base {
            return Copy::Judged;
        }
        self.reserve(number, limits, counters);
        self.end = self.end.max(number + 1);
        let micros = now.saturating_duration_since(self.epoch).as_micros() as u64;
        let bit = 1_u32 << leg;
        let Some(slot) = self.slots.get_mut(number) else {
            self.slots.put(number, BroughtPacket { legs: bit, span: span as u32, micros });
            self.judge_at.get_or_insert(now + limits.patience);
            counters[leg].first += span;
            return Copy::First;
        };
        if slot.legs & bit != 0 {
            return Copy::Same;
        }
        slot.legs |= bit;
        Copy::Later(Duration::from_micros(micros.saturating_sub(slot.micros)))
    }

    /// Whether other legs brought a number, which is not judged yet, and this one did not.
    pub(super) fn by_others(&self, leg: usize, number: u64) -> bool {
        let slot = self.slots.get(self.base, number).filter(|_| number < self.end);
        slot.is_some_and(|slot| slot.legs != 0 && slot.legs & 1 << leg == 0)
    }

    /// A leg answers for numbers from its first one on, unless it was out at the beginning.
    fn answers_from(&mut self, leg: usize, number: u64) {
        let first = if self.base == self.start { number } else { self.start };
        self.from[leg].get_or_insert(first);
    }

    fn reserve(&mut self, number: u64, limits: Limits, counters: &mut [LegCounters]) {
        let packets_max = limits.packets_max.next_power_of_two();
        let numbers_max = packets_max * limits.step;
        if number - self.base >= numbers_max {
            self.judge_to(number + 1 - numbers_max, counters);
        }
        if !self.slots.is_sorted() {
            let numbers = (number - self.base + 1).next_power_of_two() as usize;
            self.slots.reserve(self.base, numbers.max(LEG_NUMBERS_MIN));
        } else if self.slots.len() as u64 >= packets_max
            && let Some(first) = self.slots.first(self.base, self.base, self.end)
        {
            // Packets that take fewer numbers than usual.
            self.judge_to(first + 1, counters);
        }
    }

    /// Judges what is older than `patience`.
    pub(super) fn judge(&mut self, now: Instant, patience: Duration, counters: &mut [LegCounters]) {
        if self.judge_at.is_none_or(|at| now < at) {
            return;
        }
        let mut to = self.base;
        self.judge_at = loop {
            let Some(number) = self.slots.first(self.base, to, self.end) else { break None };
            let Some(slot) = self.slots.get(self.base, number) else { break None };
            let due = self.epoch + Duration::from_micros(slot.micros) + patience;
            if due > now {
                break Some(due);
            }
            to = number + 1;
        };
        self.judge_to(to, counters);
    }

    /// Judges all numbers, and frees their memory.
    pub(super) fn shrink(&mut self, counters: &mut [LegCounters]) {
        self.judge_to(self.end, counters);
        self.slots.clear();
        self.judge_at = None;
    }

    fn judge_to(&mut self, to: u64, counters: &mut [LegCounters]) {
        let end = to.min(self.end);
        let mut from = self.base;
        while let Some(number) = self.slots.first(self.base, from, end) {
            let BroughtPacket { legs: brought, span, .. } = self.slots.take(number);
            for (leg, from) in self.from.iter().enumerate() {
                let answers = from.is_none_or(|from| number >= from);
                counters[leg].missed += if answers && brought & 1 << leg == 0 { u64::from(span) } else { 0 };
            }
            from = number + 1;
        }
        self.base = self.base.max(to);
        self.end = self.end.max(self.base);
    }
}
