//! The schedule against its rules one by one, and under random gaps, arrivals and times.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::clock;

const MS: Duration = Duration::from_millis(1);

fn terms(now: Instant) -> RequestTerms {
    RequestTerms {
        now,
        hold: 1000 * MS,
        wait: 5 * MS,
        spread: Duration::ZERO,
        round_trip: Some(20 * MS),
        retry: 30 * MS,
        rate: 1000.0,
    }
}

fn numbers(due: &Due) -> Vec<u64> {
    due.requests.iter().map(|request| request.number).collect()
}

/// Polls until nothing is due any more; returns all requests.
fn run(schedule: &mut Schedule, mut terms: RequestTerms) -> Vec<(Duration, u64)> {
    let (start, mut all) = (terms.now, Vec::new());
    while let Some(due) = schedule.due().filter(|_| !schedule.missing.is_empty()) {
        terms.now = terms.now.max(due);
        all.extend(numbers(&schedule.poll(&terms)).into_iter().map(|n| (terms.now - start, n)));
        assert!(all.len() < 100_000);
    }
    all
}

#[test]
fn waits_then_asks_whenever_the_answer_is_overdue_and_at_the_last_moment() {
    let t = clock::now();
    let mut schedule = Schedule::new(1, t);
    let terms = RequestTerms { hold: 300 * MS, round_trip: Some(80 * MS), retry: 90 * MS, ..terms(t) };
    schedule.opened(10..11, 11, None, &terms);
    assert!(
        schedule.poll(&RequestTerms { now: t + 3 * MS, ..terms }).requests.is_empty(),
        "it may only be late"
    );
    let asked: Vec<u128> = run(&mut schedule, terms).iter().map(|(at, _)| at.as_millis()).collect();
    assert_eq!(asked, [5, 95, 185, 215], "the last answer comes at 295 of 300 ms");
}

/// Answers allow further requests, so there is no loss rate beyond which the schedule stops.
#[test]
fn answers_let_more_be_requested() {
    let t = clock::now();
    let mut schedule = Schedule::new(1, t);
    let terms = RequestTerms { rate: 0.0, hold: 200 * MS, ..terms(t) };
    schedule.opened(0..64, 64, None, &terms);
    schedule.showed(64, (0, 64), &terms, |number| number < 64);
    schedule.showed(65, (0, 65), &terms, |number| number < 64);
    let asked = numbers(&schedule.poll(&RequestTerms { now: t + 5 * MS, ..terms })).len();
    assert_eq!((asked, schedule.tokens as u64), (64, 0));
    (0..10).for_each(|number| assert!(schedule.answered(number).is_some()));
    assert_eq!(schedule.tokens as u64, 30);
}

/// One packet shows a gap, the next one proves it; meanwhile all its numbers are waited for.
#[test]
fn what_is_proven_later_is_due_at_the_same_time() {
    let t = clock::now();
    let mut schedule = Schedule::new(1, t);
    schedule.opened(0..64, 64, None, &terms(t));
    schedule.showed(64, (0, 64), &terms(t), |number| number < 64);
    schedule.showed(65, (0, 65), &terms(t + 3 * MS), |number| number < 64);
    assert_eq!(numbers(&schedule.poll(&terms(t + 5 * MS))).len(), 64);
}

/// A request that was not sent leaves no trace: neither in the count, nor in the round trip, nor
/// in the allowances.
#[test]
fn a_request_that_nobody_got_was_none() {
    let t = clock::now();
    let mut schedule = Schedule::new(1, t);
    schedule.opened(10..10 + u64::from(REQUESTS_UNPROVEN), 1000, None, &terms(t));
    for round in 0..50 {
        let now = t + (5 + 10 * round) * MS;
        let due = numbers(&schedule.poll(&terms(now)));
        assert_eq!(due.len(), REQUESTS_UNPROVEN as usize, "round {round}");
        due.iter().for_each(|number| schedule.unsent(*number, now, 10 * MS));
        assert_eq!(schedule.due(), Some(now + 10 * MS));
        assert_eq!(schedule.answered(10), None);
    }
    let now = t + 505 * MS;
    let requests = schedule.poll(&terms(now)).requests;
    assert!(requests.iter().all(|request| request.before == 0), "{requests:?}");
    let answered = schedule.answered(10).expect("it was asked for");
    assert_eq!(answered, Answered { first_asked: now, once: true, times: 1 });
    let all = run(&mut schedule, terms(now));
    assert_eq!(all.len(), 0, "one event draws no more than before: {all:?}");
}

#[test]
fn what_was_not_answered_is_told() {
    let t = clock::now();
    let mut schedule = Schedule::new(1, t);
    let terms = RequestTerms { hold: 10_000 * MS, ..terms(t) };
    schedule.opened(10..12, 12, None, &terms);
    schedule.showed(12, (10, 10), &terms, |number| number < 12);
    schedule.showed(13, (10, 13), &terms, |number| number < 12);
    let mut unanswered = Vec::new();
    while let Some(due) = schedule.due() {
        unanswered.extend(schedule.poll(&RequestTerms { now: due, ..terms }).unanswered);
    }
    assert_eq!(unanswered, [10, 11]);
}

#[test]
fn one_event_draws_16_until_its_neighbours_come() {
    let t = clock::now();
    let mut schedule = Schedule::new(1, t);
    schedule.opened(0..2000, 2000, None, &terms(t));
    assert_eq!(run(&mut schedule, terms(t)).len(), REQUESTS_UNPROVEN as usize);

    let mut schedule = Schedule::new(1, t);
    schedule.opened(0..100, 100, None, &terms(t));
    (101..103).for_each(|number| schedule.came(number, &terms(t), |_| true));
    let asked: BTreeSet<u64> = run(&mut schedule, terms(t)).into_iter().map(|(_, number)| number).collect();
    assert_eq!(asked, (0..100).collect(), "a burst that is real is asked for as a whole");
}

/// A forged packet far ahead shows everything below to be missing. Real losses afterwards are
/// requested as before, each from the time at which it is missed.
#[test]
fn a_forged_number_ahead_mutes_nothing() {
    let (t, lost) = (clock::now(), [113, 130, 131, 157, 190, 240]);
    let (mut schedule, mut asked, mut came) = (Schedule::new(1, t), BTreeSet::new(), BTreeSet::from([99]));
    let hold = 50 * MS;
    for number in 100..300u64 {
        let terms = RequestTerms { hold, ..terms(t + MS * 2 * (number - 100) as u32) };
        let mut takes = |number: u64, schedule: &mut Schedule| {
            let end = came.last().expect("not empty") + 1;
            let held = number.saturating_sub(25).clamp(99, 274);
            let next = (held..).find(|number| !came.contains(number)).expect("one");
            came.insert(number);
            let missing = |number: u64| number >= next && !came.contains(&number);
            schedule.came(number, &terms, missing);
            schedule.showed(number, (next, end), &terms, missing);
            if number > end {
                schedule.opened(end..number, number, None, &terms);
            }
        };
        if number == 110 {
            takes(199, &mut schedule);
        }
        if !lost.contains(&number) && number != 199 {
            takes(number, &mut schedule);
        }
        asked.extend(numbers(&schedule.poll(&terms)));
    }
    assert!(lost.iter().all(|number| asked.contains(number)), "{asked:?}");
    let useless = asked.len() - lost.len();
    assert!(useless <= REQUESTS_UNPROVEN as usize, "{asked:?}");
}

#[test]
fn events_cannot_push_out_each_others_bounds() {
    let t = clock::now();
    let mut schedule = Schedule::new(1, t);
    for event in 0..2000u64 {
        schedule.opened(event * 200..event * 200 + 199, event * 200 + 199, None, &terms(t));
    }
    assert!(schedule.missing.len() <= REQUESTS_TRACKED_MAX && schedule.gaps.len() <= REQUEST_GAPS_MAX);
    assert!(schedule.bytes() < 1 << 19);
}

#[test]
fn an_answer_to_one_of_several_requests_measures_nothing() {
    let t = clock::now();
    let mut schedule = Schedule::new(1, t);
    schedule.opened(1..3, 3, None, &terms(t));
    schedule.poll(&terms(t + 5 * MS));
    assert_eq!(schedule.answered(1), Some(Answered { first_asked: t + 5 * MS, once: true, times: 1 }));
    assert_eq!(schedule.answered(1), None, "each request is answered once");
    schedule.poll(&terms(t + 40 * MS));
    assert_eq!(schedule.answered(2), Some(Answered { first_asked: t + 5 * MS, once: false, times: 2 }));
    assert_eq!(schedule.late_original(2), Some(t), "it was only late");
    assert_eq!(schedule.answered(77), None);
}

#[test]
fn what_repair_packets_cannot_bring_is_asked_for_at_once() {
    let t = clock::now();
    let mut schedule = Schedule::new(1, t);
    let terms = RequestTerms { wait: 300 * MS, ..terms(t) };
    schedule.opened(1..3, 3, None, &terms);
    schedule.hurry(2, t + MS);
    assert_eq!(numbers(&schedule.poll(&RequestTerms { now: t + MS, ..terms })), [2]);
}

#[test]
fn first_requests_are_spread_and_no_two_relays_alike() {
    let t = clock::now();
    let first = |seed| {
        let mut schedule = Schedule::new(seed, t);
        let terms = RequestTerms { spread: 100 * MS, ..terms(t) };
        schedule.opened(1..2, 2, None, &terms);
        schedule.due().unwrap() - t
    };
    let all: BTreeSet<Duration> = (0..50).map(first).collect();
    assert!(all.len() == 50 && all.iter().all(|at| (5 * MS..105 * MS).contains(at)), "{all:?}");
    assert!(all.iter().any(|at| *at < 25 * MS) && all.iter().any(|at| *at > 85 * MS), "{all:?}");
}

/// The next event of a random run.
#[derive(Debug, Clone)]
enum Step {
    /// This many numbers are lost, and the next one comes.
    Lose(u64),
    /// The next number comes.
    Next,
    /// One of the missing numbers comes.
    Fill(prop::sample::Index),
    /// The head moves by this much.
    Settle(u64),
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => (1u64..300).prop_map(Step::Lose),
        6 => Just(Step::Next),
        3 => any::<prop::sample::Index>().prop_map(Step::Fill),
        1 => (1u64..50).prop_map(Step::Settle),
        8 => (0u64..60).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 1..300)
}

/// Plain model: which numbers are missing and since when, and when each was requested.
#[derive(Default)]
struct Model {
    missing: BTreeMap<u64, Instant>,
    asked: BTreeMap<u64, Vec<Instant>>,
    total: Vec<Instant>,
}

impl Model {
    fn check(&mut self, due: &Due, terms: &RequestTerms) {
        for Request { number, before } in &due.requests {
            let since = self.missing.get(number).copied();
            let since = since.unwrap_or_else(|| panic!("{number} is not missing"));
            let times = self.asked.entry(*number).or_default();
            assert_eq!(times.len(), usize::from(*before));
            assert!(times.len() < usize::from(REQUESTS_MAX), "{number} again");
            let round_trip = terms.round_trip.unwrap_or_default();
            let last_moment = since + terms.hold - round_trip - REQUEST_WAIT_MIN;
            let again = |last: &Instant| (*last + terms.retry).min(last_moment.max(*last + RETRY_MIN * 2));
            let earliest = times.last().map_or(since + terms.wait, again);
            assert!(terms.now + REQUEST_SLACK >= earliest, "{number} too early");
            assert!(terms.now + terms.round_trip.unwrap_or_default() < since + terms.hold, "in vain");
            times.push(terms.now);
            self.total.push(terms.now);
        }
        let lately = self.total.iter().filter(|at| **at + Duration::from_secs(1) > terms.now).count();
        let bound = per_second(terms.rate) + f64::from(REQUESTS_PER_EVENT).max(per_second(terms.rate) / 4.0);
        assert!(lately as f64 <= bound + 1.0, "{lately} in a second");
    }
}

proptest! {
    #[test]
    fn keeps_its_rules(steps in steps(), rate in prop::sample::select(vec![0.0, 50.0, 1000.0, 20_000.0])) {
        let t = clock::now();
        let (mut schedule, mut model, mut now, mut end) = (Schedule::new(3, t), Model::default(), t, 0);
        let mut events = 0;
        for step in steps {
            let terms = RequestTerms { rate, ..terms(now) };
            let came = |schedule: &mut Schedule, model: &mut Model, number: u64| {
                model.missing.remove(&number);
                schedule.came(number, &terms, |n| model.missing.contains_key(&n));
            };
            match step {
                Step::Lose(count) => {
                    model.missing.extend((end..end + count).map(|number| (number, now)));
                    came(&mut schedule, &mut model, end + count);
                    schedule.opened(end..end + count, end + count, None, &terms);
                    (end, events) = (end + count + 1, events + 1);
                }
                Step::Next => {
                    came(&mut schedule, &mut model, end);
                    end += 1;
                }
                Step::Fill(index) if !model.missing.is_empty() => {
                    let number = *index.get(&model.missing.keys().copied().collect::<Vec<_>>());
                    came(&mut schedule, &mut model, number);
                }
                Step::Fill(_) => {}
                Step::Settle(count) => {
                    let next = model.missing.first_key_value().map_or(end, |(n, _)| (n + count).min(end));
                    model.missing = model.missing.split_off(&next);
                    schedule.settled_below(next);
                }
                Step::Pass(millis) => {
                    let until = now + MS * millis as u32;
                    while let Some(due) = schedule.due().filter(|due| *due <= until) {
                        now = now.max(due);
                        let terms = RequestTerms { now, ..terms };
                        let before = schedule.missing.len();
                        let due = schedule.poll(&terms);
                        model.check(&due, &terms);
                        let stuck = schedule.due() == Some(now) && schedule.missing.len() == before;
                        prop_assert!(!stuck || !due.requests.is_empty(), "a timer for ever");
                    }
                    now = until;
                }
            }
            prop_assert!(schedule.missing.len() <= REQUESTS_TRACKED_MAX);
        }
    }

    /// With enough time and neighbours, every number that stays missing is requested.
    #[test]
    fn forgets_nothing(gaps in prop::collection::vec((1u64..40, 1u64..5), 1..15)) {
        let t = clock::now();
        let (mut schedule, mut end, mut missing) = (Schedule::new(3, t), 0, BTreeSet::new());
        let terms = RequestTerms { rate: 1e6, ..terms(t) };
        for (lost, then) in gaps {
            missing.extend(end..end + lost);
            schedule.came(end + lost, &terms, |n| missing.contains(&n));
            schedule.opened(end..end + lost, end + lost, None, &terms);
            for number in end + lost + 1..=end + lost + then {
                schedule.came(number, &terms, |n| missing.contains(&n));
            }
            end += lost + then + 1;
        }
        let asked: BTreeSet<u64> = run(&mut schedule, terms).into_iter().map(|(_, n)| n).collect();
        prop_assert_eq!(asked, missing);
    }
}
