//! Records which legs carried which of the latest numbers, and when the first of them did. A
//! number is settled when all legs have had time to carry it: those that did not have missed it.

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
    /// One bit for each leg that carried it; zero if none did.
    legs: u32,
    /// Count of the numbers that it takes.
    span: u32,
    /// First arrival, in microseconds since `epoch`.
    micros: u64,
}

impl Place for BroughtPacket {
    fn is_empty(&self) -> bool {
        self.legs == 0
    }
}

/// How long legs have to carry a packet, and how many packets are kept at most, of `step` numbers
/// each.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) patience: Duration,
    pub(super) packets_max: u64,
    pub(super) step: u64,
}

/// How a leg's copy of a number relates to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Copy {
    First,
    /// This long after another leg's.
    Later(Duration),
    /// The same leg carried it before.
    Same,
    /// The number is already settled, or older than the session.
    Judged,
}

/// The latest numbers of one session.
#[derive(Debug)]
pub(super) struct Brought {
    epoch: Instant,
    /// The first number of the session.
    start: u64,
    /// The lowest number that is not settled.
    base: u64,
    /// Number after the highest received one.
    end: u64,
    slots: Places<BroughtPacket>,
    /// For each leg, the first number that it should carry; `None` if it has carried nothing yet.
    from: Vec<Option<u64>>,
    /// Earliest time at which a number is due to be settled.
    judge_at: Option<Instant>,
}

impl Brought {
    pub(super) fn new(legs: usize, start: u64, epoch: Instant) -> Brought {
        let from = vec![None; legs];
        Brought { epoch, start, base: start, end: start, slots: Places::new(), from, judge_at: None }
    }

    /// Memory beyond the minimum of each session, in bytes.
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

    /// From now on packets take several numbers.
    pub(super) fn sort(&mut self) {
        self.slots.sort(self.base);
    }

    /// Notes the numbers of a packet that a leg carried. Numbers that exceed the limits are
    /// settled early.
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

    /// Whether other legs carried this number, which is not settled yet, and this one did not.
    pub(super) fn by_others(&self, leg: usize, number: u64) -> bool {
        let slot = self.slots.get(self.base, number).filter(|_| number < self.end);
        slot.is_some_and(|slot| slot.legs != 0 && slot.legs & 1 << leg == 0)
    }

    /// A leg is responsible for numbers from its first one on, unless it was down at the start.
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
            // Happens if packets take fewer numbers than usual.
            self.judge_to(first + 1, counters);
        }
    }

    /// Settles numbers older than `patience`.
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

    /// Settles all numbers, and frees their memory.
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
