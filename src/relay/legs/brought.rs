//! Which legs brought which of the latest numbers, and when the first of them did. A number is judged when the others
//! had their time: the legs that did not bring it have missed it.

use std::time::{Duration, Instant};

use crate::{limits::LEG_NUMBERS_MIN, relay::LegCounters};

/// One number.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    /// One bit per leg that brought it; none: nobody did.
    legs: u32,
    /// When the first one did, in microseconds since `epoch`.
    micros: u64,
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
    /// A ring by number; its length is a power of two.
    slots: Vec<Slot>,
    /// The first number that each leg answers for; `None`: it brought nothing yet.
    from: Vec<Option<u64>>,
    /// Nothing is old enough before that.
    judge_at: Option<Instant>,
}

impl Brought {
    pub(super) fn new(legs: usize, start: u64, epoch: Instant) -> Brought {
        let from = vec![None; legs];
        Brought { epoch, start, base: start, end: start, slots: Vec::new(), from, judge_at: None }
    }

    /// Memory beyond what each session has.
    pub(super) fn bytes(&self) -> usize {
        self.slots.len().saturating_sub(LEG_NUMBERS_MIN) * size_of::<Slot>()
    }

    /// The first number of the session.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// When [`Brought::judge`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.judge_at
    }

    fn index(&self, number: u64) -> usize {
        number as usize & (self.slots.len() - 1)
    }

    /// A leg brought a number. At most `numbers_max` are kept; older ones are judged early. `patience` is how long
    /// the other legs have.
    pub(super) fn note(
        &mut self,
        leg: usize,
        number: u64,
        now: Instant,
        (patience, numbers_max): (Duration, u64),
        counters: &mut [LegCounters],
    ) -> Copy {
        self.answers_from(leg, number);
        if number < self.base {
            return Copy::Judged;
        }
        self.reserve(number, numbers_max, counters);
        self.end = self.end.max(number + 1);
        let micros = now.saturating_duration_since(self.epoch).as_micros() as u64;
        let (index, bit) = (self.index(number), 1_u32 << leg);
        let slot = &mut self.slots[index];
        if slot.legs == 0 {
            *slot = Slot { legs: bit, micros };
            self.judge_at.get_or_insert(now + patience);
            counters[leg].first += 1;
            return Copy::First;
        }
        if slot.legs & bit != 0 {
            return Copy::Same;
        }
        slot.legs |= bit;
        Copy::Later(Duration::from_micros(micros.saturating_sub(slot.micros)))
    }

    /// A leg answers for numbers from its first one on, unless it was out at the beginning.
    fn answers_from(&mut self, leg: usize, number: u64) {
        let first = if self.base == self.start { number } else { self.start };
        self.from[leg].get_or_insert(first);
    }

    fn reserve(&mut self, number: u64, numbers_max: u64, counters: &mut [LegCounters]) {
        let max = numbers_max.next_power_of_two();
        if number - self.base >= max {
            self.judge_to(number + 1 - max, counters);
        }
        let wanted = ((number - self.base + 1).next_power_of_two() as usize).max(LEG_NUMBERS_MIN);
        if wanted <= self.slots.len() {
            return;
        }
        let mut larger = vec![Slot::default(); wanted];
        if !self.slots.is_empty() {
            for number in self.base..self.end {
                larger[number as usize & (wanted - 1)] = self.slots[self.index(number)];
            }
        }
        self.slots = larger;
    }

    /// Judges what is older than `patience`.
    pub(super) fn judge(&mut self, now: Instant, patience: Duration, counters: &mut [LegCounters]) {
        if self.judge_at.is_none_or(|at| now < at) {
            return;
        }
        let (mut number, mut to) = (self.base, self.base);
        self.judge_at = loop {
            if number >= self.end {
                break None;
            }
            let slot = self.slots[self.index(number)];
            let due = self.epoch + Duration::from_micros(slot.micros) + patience;
            number += 1;
            match slot.legs {
                0 => {}
                _ if due > now => break Some(due),
                _ => to = number,
            }
        };
        self.judge_to(to, counters);
    }

    /// Judges all numbers, and frees their memory.
    pub(super) fn shrink(&mut self, counters: &mut [LegCounters]) {
        self.judge_to(self.end, counters);
        (self.slots, self.judge_at) = (Vec::new(), None);
    }

    fn judge_to(&mut self, to: u64, counters: &mut [LegCounters]) {
        for number in self.base..to.min(self.end) {
            let index = self.index(number);
            let brought = std::mem::take(&mut self.slots[index]).legs;
            if brought == 0 {
                continue;
            }
            for (leg, from) in self.from.iter().enumerate() {
                let answers = from.is_none_or(|from| number >= from);
                counters[leg].missed += u64::from(answers && brought & 1 << leg == 0);
            }
        }
        self.base = self.base.max(to);
        self.end = self.end.max(self.base);
    }
}
