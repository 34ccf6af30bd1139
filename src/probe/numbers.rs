//! Analyses the sequence numbers of a flow: gaps, reordering, duplicates, restarts. Uses numbers
//! and times only.
//!
//! A number below the highest either falls into a gap (it is late) or not (it is a duplicate). The
//! rest of a gap counts as lost once it is old; unlike in a relay, nothing waits, because nothing
//! is delivered.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::losses::Losses;
use crate::limits::{PROBE_GAPS_MAX, PROBE_WINDOW};
use tidecast_core::limits::{JUMP_NUMBERS_MAX, REPEATS_MAX, START_AT_ZERO, WIDE_SPACE};
use tidecast_wire::{seq::Space, step::Step};

/// Meaning of one packet's sequence number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NumberPlace {
    /// The next one, or beyond a new gap.
    Ahead,
    /// It fills a part of a gap; with its distance below the highest number and the time since the
    /// gap opened.
    Behind(u64, Duration),
    /// It was received before.
    Duplicate,
    /// It is far away, perhaps of another numbering.
    Stray,
    /// The second number of another numbering, which starts with the previous packet.
    Restart,
}

/// Numbers that have not been received.
#[derive(Debug, Clone, Copy)]
struct Gap {
    first: u64,
    count: u64,
    opened: Instant,
}

/// One numbering, from its first number on.
#[derive(Debug)]
struct Numbering {
    first: u64,
    highest: u64,
    began: Instant,
    /// The gaps, in the order of their numbers.
    gaps: VecDeque<Gap>,
    /// The number after the last gap that was counted as a loss, or the first number.
    counted: u64,
}

/// The sequence numbers of one flow.
#[derive(Debug)]
pub(super) struct Numbers {
    space: Space,
    /// How many numbers a packet takes: limits in packets are multiplied by it.
    step: Step,
    now: Option<Numbering>,
    /// The numbers of a packet far away, which may start another numbering.
    candidate: Option<(u64, u64)>,
    /// Number of consecutive duplicate packets, and the numbers that they take.
    repeats: usize,
    repeated: (u64, u64),
    /// Expected numbers of numberings that ended.
    expected_before: u64,
    losses: Losses,
    pub(super) restarts: u64,
    pub(super) duplicates: u64,
    pub(super) strays: u64,
    pub(super) reordered: u64,
    pub(super) distance_max: u64,
    pub(super) lateness_max: Duration,
}

impl Numbers {
    pub(super) fn new(space: Space) -> Numbers {
        Numbers {
            space,
            step: Step::default(),
            now: None,
            candidate: None,
            repeats: 0,
            repeated: (0, 0),
            expected_before: 0,
            losses: Losses::default(),
            restarts: 0,
            duplicates: 0,
            strays: 0,
            reordered: 0,
            distance_max: 0,
            lateness_max: Duration::ZERO,
        }
    }

    /// Returns the maximum distance from the highest number at which a number still belongs to the
    /// same numbering.
    fn window(&self) -> u64 {
        let step = self.step.get();
        PROBE_WINDOW.min(self.space.packets_max(step)) * step
    }

    /// Records the producer's announcement of its next number: earlier numbers that were not
    /// received are missing.
    pub(super) fn announce(&mut self, now: Instant, wire: u64) {
        let window = self.window();
        if let Some(numbering) = &mut self.now {
            let next = self.space.extend(numbering.highest + 1, wire);
            if next > numbering.highest + 1 && next - numbering.highest - 1 < window {
                numbering.ahead(now, next, 0, window);
            }
        }
    }

    /// Processes one packet, which takes `step` numbers, at least one.
    pub(super) fn push(&mut self, now: Instant, wire: u64, step: u64) -> NumberPlace {
        self.step.saw(step);
        let (window, near) = (self.window(), START_AT_ZERO * self.step.get());
        let Some(numbering) = &mut self.now else {
            // offset by one wrap, so that numbers before the first are not below 0
            self.begin(now, self.space.modulus().unwrap_or(0) + wire, step);
            return NumberPlace::Ahead;
        };
        let number = self.space.extend(numbering.highest, wire);
        let place = numbering.place(now, number, step, (window, near));
        numbering.forget(window, &mut self.losses);
        match place {
            NumberPlace::Behind(distance, lateness) => {
                self.reordered += 1;
                self.distance_max = self.distance_max.max(distance);
                self.lateness_max = self.lateness_max.max(lateness);
            }
            NumberPlace::Duplicate => return self.repeated(now, number, step),
            NumberPlace::Stray => return self.stray(now, number, step),
            NumberPlace::Ahead | NumberPlace::Restart => {}
        }
        (self.candidate, self.repeats) = (None, 0);
        place
    }

    /// Records that the producer announced a restart of its numbering.
    pub(super) fn restart(&mut self) {
        let Some(mut numbering) = self.now.take() else { return };
        self.expected_before += numbering.highest - numbering.first + 1;
        numbering.forget(0, &mut self.losses);
        self.restarts += 1;
    }

    fn begin(&mut self, now: Instant, first: u64, step: u64) {
        let highest = first + step.saturating_sub(1);
        self.now = Some(Numbering { first, highest, began: now, gaps: VecDeque::new(), counted: first });
        (self.candidate, self.repeats) = (None, 0);
    }

    /// Handles a duplicate. A burst of duplicates is short; those of a producer that restarted
    /// slightly below continue.
    fn repeated(&mut self, now: Instant, number: u64, step: u64) -> NumberPlace {
        self.duplicates += 1;
        let goes_on = self.repeats > 0 && number == self.repeated.1;
        let first = if goes_on { self.repeated.0 } else { number };
        self.repeats = if goes_on { self.repeats + 1 } else { 1 };
        self.repeated = (first, number + step);
        if self.repeats < REPEATS_MAX {
            return NumberPlace::Duplicate;
        }
        self.duplicates -= REPEATS_MAX as u64;
        self.restart();
        self.begin(now, first, number + step - first);
        NumberPlace::Restart
    }

    fn stray(&mut self, now: Instant, number: u64, step: u64) -> NumberPlace {
        if let Some((first, end)) = self.candidate
            && self.space.extend(end, number) == end
        {
            self.strays -= 1;
            let first = number - (end - first);
            if self.jumps(now, first, number + step - 1) {
                return NumberPlace::Ahead;
            }
            self.restart();
            self.begin(now, first, number + step - first);
            return NumberPlace::Restart;
        }
        self.strays += 1;
        self.candidate = Some((number, number + step));
        NumberPlace::Stray
    }

    /// Returns whether a confirmed numbering ahead is the current one after a jump, by the same
    /// rule as in a relay: in a wide number space the numbers between are lost, since a restarted
    /// producer is unlikely to land there by chance.
    fn jumps(&mut self, now: Instant, first: u64, highest: u64) -> bool {
        let wide = self.space.modulus().is_none_or(|modulus| modulus >= WIDE_SPACE);
        let Some(numbering) = self.now.as_mut().filter(|_| wide) else { return false };
        let Some(missing) = first.checked_sub(numbering.highest + 1) else { return false };
        if missing > JUMP_NUMBERS_MAX {
            return false;
        }
        numbering.gaps.push_back(Gap { first: numbering.highest + 1, count: missing, opened: now });
        numbering.highest = highest;
        (self.candidate, self.repeats) = (None, 0);
        true
    }

    /// Returns the number of expected packets and the losses, as of now; gaps younger than
    /// `settle` are excluded from both.
    pub(super) fn losses(&self, now: Instant, settle: Duration) -> (u64, Losses) {
        let mut losses = self.losses.clone();
        let Some(numbering) = &self.now else { return (self.expected_before, losses) };
        let mut expected = self.expected_before + numbering.highest - numbering.first + 1;
        let mut counted = numbering.counted;
        for gap in &numbering.gaps {
            if now.saturating_duration_since(gap.opened) < settle {
                expected -= gap.count;
                continue;
            }
            losses.add(gap.first - counted, gap.count);
            counted = gap.first + gap.count;
        }
        (expected, losses)
    }
}

impl Numbering {
    fn place(&mut self, now: Instant, number: u64, step: u64, (window, near): (u64, u64)) -> NumberPlace {
        if number > self.highest {
            return self.ahead(now, number, step, window);
        }
        let distance = self.highest - number;
        if distance > window {
            return NumberPlace::Stray;
        }
        if let Some(opened) = self.fill(number, step) {
            return NumberPlace::Behind(distance, now.saturating_duration_since(opened));
        }
        if number < self.first {
            return self.before_first(now, number, step, near);
        }
        NumberPlace::Duplicate
    }

    fn ahead(&mut self, now: Instant, number: u64, step: u64, window: u64) -> NumberPlace {
        let missing = number - self.highest - 1;
        if missing >= window {
            return NumberPlace::Stray;
        }
        if missing > 0 {
            self.gaps.push_back(Gap { first: self.highest + 1, count: missing, opened: now });
        }
        self.highest = number + step - 1;
        NumberPlace::Ahead
    }

    /// Handles a packet below the first number, for packets that were reordered at the very start.
    fn before_first(&mut self, now: Instant, number: u64, step: u64, near: u64) -> NumberPlace {
        let distance = self.first - number;
        if distance > near {
            return NumberPlace::Stray;
        }
        let between = distance.saturating_sub(step);
        if between > 0 {
            self.gaps.push_front(Gap { first: number + step, count: between, opened: self.began });
        }
        (self.first, self.counted) = (number, number);
        NumberPlace::Behind(self.highest - number, now.saturating_duration_since(self.began))
    }

    /// Removes numbers from the gap that contains them. Returns when the gap was opened.
    fn fill(&mut self, number: u64, step: u64) -> Option<Instant> {
        let at = self.gaps.partition_point(|gap| gap.first + gap.count <= number);
        let gap = *self.gaps.get(at).filter(|gap| gap.first <= number)?;
        let (before, end) = (number - gap.first, (number + step).min(gap.first + gap.count));
        let after = Gap { first: end, count: gap.first + gap.count - end, ..gap };
        let before = Gap { count: before, ..gap };
        self.gaps.remove(at);
        for part in [after, before] {
            if part.count > 0 {
                self.gaps.insert(at, part);
            }
        }
        Some(gap.opened)
    }

    /// Counts gaps as losses if they are `window` below the highest number or too many.
    fn forget(&mut self, window: u64, losses: &mut Losses) {
        while let Some(gap) = self.gaps.front().copied() {
            let old = gap.first + gap.count + window <= self.highest;
            if !old && window > 0 && self.gaps.len() <= PROBE_GAPS_MAX {
                return;
            }
            losses.add(gap.first - self.counted, gap.count);
            self.counted = gap.first + gap.count;
            self.gaps.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidecast_net::clock;

    const SETTLE: Duration = Duration::from_millis(50);

    /// Pushes numbers 1 ms apart. Returns the expected and lost numbers one second later.
    fn after(space: Space, numbers: &[u64]) -> (Numbers, u64, Losses) {
        let start = clock::now();
        let mut all = Numbers::new(space);
        for (i, number) in numbers.iter().enumerate() {
            all.push(start + Duration::from_millis(i as u64), *number, 1);
        }
        let end = start + Duration::from_millis(numbers.len() as u64) + SETTLE;
        let (expected, losses) = all.losses(end, SETTLE);
        (all, expected, losses)
    }

    #[test]
    fn gaps_count_by_their_length_and_wraps_are_none() {
        let (numbers, expected, losses) = after(Space::RTP, &[65533, 65534, 1, 2, 4, 5]);
        assert_eq!((expected, losses.lost(), losses.longest()), (9, 3, 2));
        assert_eq!(losses.histogram(), [(1, 1), (2, 1)]);
        assert_eq!((numbers.reordered, numbers.restarts, numbers.duplicates), (0, 0, 0));
    }

    #[test]
    fn late_packets_fill_gaps_and_say_how_late() {
        let (numbers, expected, losses) = after(Space::FULL, &[1, 2, 6, 7, 4, 8, 4]);
        assert_eq!((expected, losses.lost()), (8, 2));
        assert_eq!(losses.histogram(), [(1, 2)], "3 and 5 are apart");
        assert_eq!((numbers.reordered, numbers.distance_max, numbers.duplicates), (1, 3, 1));
        assert_eq!(numbers.lateness_max, Duration::from_millis(2));
    }

    #[test]
    fn what_was_swapped_at_the_start_is_no_restart() {
        for space in [Space::RTP, Space::FULL] {
            let (numbers, expected, losses) = after(space, &[2, 0, 1, 3]);
            assert_eq!((expected, losses.lost()), (4, 0), "{space:?}");
            assert_eq!((numbers.reordered, numbers.restarts), (2, 0));
        }
    }

    #[test]
    fn a_jump_is_a_loss_once_confirmed_and_one_forged_packet_is_none() {
        let (numbers, expected, losses) = after(Space::FULL, &[1, 2, 50_000, 3, 4]);
        assert_eq!((expected, losses.lost(), numbers.strays, numbers.restarts), (4, 0, 1, 0));
        let jump = [1, 2, 50_000, 50_001, 50_003];
        for wide in [Space::FULL, Space::new(1 << 32).expect("a space")] {
            let (numbers, expected, losses) = after(wide, &jump);
            assert_eq!((expected, losses.lost(), numbers.strays, numbers.restarts), (50_003, 49_998, 0, 0));
        }
        let (numbers, expected, losses) = after(Space::RTP, &jump);
        assert_eq!(
            (expected, losses.lost(), numbers.strays, numbers.restarts),
            (6, 1, 0, 1),
            "a small space"
        );
        let (numbers, expected, losses) = after(Space::FULL, &[1, 2, 1 << 41, (1 << 41) + 1]);
        assert_eq!((expected, losses.lost(), numbers.restarts), (4, 0, 1), "too far");
        let again: Vec<u64> = (0..100).chain(50..150).collect();
        let (numbers, expected, losses) = after(Space::FULL, &again);
        assert_eq!((expected, losses.lost(), numbers.duplicates, numbers.restarts), (200, 0, 0, 1));
    }

    #[test]
    fn young_gaps_are_neither_expected_nor_lost() {
        let start = clock::now();
        let mut numbers = Numbers::new(Space::FULL);
        numbers.push(start, 1, 1);
        numbers.push(start, 5, 1);
        assert_eq!(numbers.losses(start, SETTLE).0, 2);
        let (expected, losses) = numbers.losses(start + SETTLE, SETTLE);
        assert_eq!((expected, losses.lost()), (5, 3));
    }

    #[test]
    fn packets_of_several_numbers() {
        let start = clock::now();
        let mut numbers = Numbers::new(Space::FULL);
        for (number, step) in [(10, 5), (15, 5), (25, 5), (20, 5)] {
            numbers.push(start, number, step);
        }
        let (expected, losses) = numbers.losses(start + SETTLE, SETTLE);
        assert_eq!((expected, losses.lost(), numbers.reordered), (20, 0, 1));
        numbers.announce(start + SETTLE, 40);
        let (expected, losses) = numbers.losses(start + 2 * SETTLE, SETTLE);
        assert_eq!((expected, losses.lost()), (30, 10), "a heartbeat closes the tail");
    }

    /// The same packets with K numbers each lead to the same results.
    #[test]
    fn numbers_are_no_packets() {
        let runs: [&[u64]; 4] = [
            &[5, 3, 4, 2, 6, 7, 9, 8, 12, 13],
            &[1, 2, 50_000, 3, 4, 60_000, 60_001, 60_003],
            &[100, 60, 101, 102, 8000, 8001, 40],
            &[
                1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 3, 4, 5, 6, 7, 8, 9,
                10, 11, 12, 13, 14, 15, 16, 17, 18,
            ],
        ];
        for run in runs {
            let told = |step: u64| {
                let start = clock::now();
                let mut numbers = Numbers::new(Space::FULL);
                let at = |n: usize| start + Duration::from_millis(n as u64);
                let places = run.iter().enumerate().map(|(n, number)| {
                    match numbers.push(at(n), number * step, step) {
                        NumberPlace::Behind(distance, lateness) => {
                            NumberPlace::Behind((distance + 1) / step, lateness)
                        }
                        place => place,
                    }
                });
                let places: Vec<NumberPlace> = places.collect();
                let (expected, losses) = numbers.losses(at(run.len()) + SETTLE, SETTLE);
                (
                    places,
                    expected / step,
                    losses.lost() / step,
                    numbers.restarts,
                    numbers.strays,
                    numbers.duplicates,
                )
            };
            for step in [20, 100] {
                let (one, many) = (told(1), told(step));
                assert_eq!(
                    (one.1, one.2, one.3, one.4, one.5),
                    (many.1, many.2, many.3, many.4, many.5),
                    "{step}"
                );
                assert_eq!(one.0.len(), many.0.len());
            }
        }
    }

    #[test]
    fn old_gaps_are_counted_and_memory_is_bounded() {
        let every_second: Vec<u64> = (0..60_000).map(|i| i * 2).collect();
        let (numbers, expected, losses) = after(Space::FULL, &every_second);
        assert_eq!((expected, losses.lost()), (119_999, 59_999));
        assert!(numbers.now.unwrap().gaps.len() <= PROBE_GAPS_MAX);
    }
}
