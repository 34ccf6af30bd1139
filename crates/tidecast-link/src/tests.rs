//! Tests that the link behaves as documented, with fixed seeds.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::limits::LINK_PAUSE;
use tidecast_testkit::clock;

const MS: Duration = Duration::from_millis(1);

/// Pushes `0..n` at intervals of `spacing`, popping packets when they are due, then flushes.
/// Returns the fates and the packets that came out.
fn carry(link: &mut Link<u64>, start: Instant, n: u64, spacing: Duration) -> (Vec<Fate>, Vec<u64>) {
    let (mut fates, mut out) = (Vec::new(), Vec::new());
    let mut now = start;
    for item in 0..n {
        fates.push(link.push(now, item));
        out.extend(std::iter::from_fn(|| link.pop(now)));
        now += spacing;
    }
    link.flush(now);
    out.extend(std::iter::from_fn(|| link.pop(now)));
    (fates, out)
}

/// Counts first copies that come after a later number, by comparison with the link's own count.
fn reordered(out: &[u64]) -> u64 {
    let (mut highest, mut seen, mut count) = (None, std::collections::HashSet::new(), 0);
    for item in out {
        if seen.insert(item) && highest > Some(item) {
            count += 1;
        }
        highest = highest.max(Some(item));
    }
    count
}

#[test]
fn the_default_changes_nothing() {
    let mut link = Link::new(Impairments::default(), 1);
    let now = clock::now();
    for item in 0..1000 {
        assert_eq!(link.push(now, item), Fate::Passed);
        assert_eq!(link.pop(now), Some(item));
        assert_eq!(link.next_at(), None);
    }
    assert_eq!(link.done(), Done { received: 1000, forwarded: 1000, ..Done::default() });
}

#[test]
fn shares_are_kept_within_four_sigma() {
    let impairments =
        Impairments { loss: 0.05, reorder: 0.02, distance: 8, duplicate: 0.01, ..Impairments::default() };
    let mut link = Link::new(impairments, 7);
    let n = 300_000;
    let (_, out) = carry(&mut link, clock::now(), n, MS);
    let done = link.done();
    let kept = done.received - done.dropped;
    let near = |count: u64, of: u64, p: f64| {
        let (count, of) = (count as f64, of as f64);
        assert!((count - of * p).abs() < 4.0 * (of * p * (1.0 - p)).sqrt(), "{count} of {of}, expected {p}");
    };
    near(done.dropped, n, 0.05);
    near(done.reordered, kept, 0.02);
    near(done.duplicated, kept, 0.01);
    assert_eq!(done.reordered, reordered(&out));
    assert_eq!(done.forwarded, out.len() as u64);
}

#[test]
fn the_distance_is_exact() {
    let distance = 5;
    let impairments = Impairments { reorder: 0.1, distance, ..Impairments::default() };
    let mut link = Link::new(impairments, 3);
    let (_, out) = carry(&mut link, clock::now(), 20_000, MS);
    let mut highest = None;
    let late: Vec<bool> = out
        .iter()
        .map(|item| {
            let late = highest > Some(*item);
            highest = highest.max(Some(*item));
            late
        })
        .collect();
    let mut seen = 0;
    // The last few may have come out early because of the flush.
    for (place, item) in out.iter().enumerate().take(out.len() - 100).filter(|(place, _)| late[*place]) {
        let overtakers = out[..place].iter().zip(&late).filter(|(other, late)| *other > item && !**late);
        assert_eq!(overtakers.count(), distance as usize, "item {item}");
        seen += 1;
    }
    assert!(seen > 1800, "only {seen} late ones");
}

#[test]
fn the_same_seed_decides_the_same_and_kinds_do_not_disturb_each_other() {
    let start = clock::now();
    let run = |impairments, seed| carry(&mut Link::new(impairments, seed), start, 2000, MS);
    for bursts in [Bursts::Geometric, Bursts::Fixed] {
        let alone = Impairments { loss: 0.1, burst: 2.0, bursts, ..Impairments::default() };
        let all = Impairments {
            reorder: 0.1,
            distance: 3,
            late: 0.1,
            late_by: 7 * MS,
            duplicate: 0.1,
            jitter: 5 * MS,
            distribution: Distribution::Pareto,
            overtake: true,
            ..alone
        };
        assert_eq!(run(all, 9), run(all, 9));
        assert_ne!(run(all, 9).0, run(all, 10).0);
        let lost = |fates: Vec<Fate>| -> Vec<bool> { fates.iter().map(|f| *f == Fate::Dropped).collect() };
        assert_eq!(lost(run(all, 9).0), lost(run(alone, 9).0));
    }
}

#[test]
fn delay_and_jitter_are_bounded_and_keep_order() {
    let impairments = Impairments { delay: 20 * MS, jitter: 7 * MS, ..Impairments::default() };
    let mut link = Link::new(impairments, 5);
    let start = clock::now();
    let (mut now, mut sum) = (start, Duration::ZERO);
    for item in 0..1000_u32 {
        link.push(start + 30 * MS * item, item);
        now = link.next_at().unwrap();
        let took = now - (start + 30 * MS * item);
        assert!(took >= 20 * MS && took < 27 * MS, "{took:?}");
        assert_eq!(link.pop(now - Duration::from_nanos(1)), None);
        assert_eq!(link.pop(now), Some(item));
        sum += took;
    }
    let mean = sum.as_secs_f64() / 1000.0;
    assert!((mean - 0.0235).abs() < 4.0 * 0.007 / 12_f64.sqrt() / 1000_f64.sqrt(), "{mean}");

    let items: Vec<u32> = (0..1000).collect();
    for item in &items {
        link.push(now, *item);
    }
    let out: Vec<u32> = std::iter::from_fn(|| link.pop(now + 27 * MS)).collect();
    assert_eq!(out, items);
    assert_eq!(link.done().reordered, 0);
}

#[test]
fn a_pause_of_the_input_frees_what_waits_for_later_packets() {
    let impairments = Impairments { reorder: 1.0, distance: 3, delay: 2 * MS, ..Impairments::default() };
    let start = clock::now();
    // Whether the pause is noticed by pop or by the next push makes no difference.
    for polled in [true, false] {
        let mut link = Link::new(impairments, 1);
        link.push(start, 'a');
        assert_eq!(link.next_at(), Some(start + LINK_PAUSE));
        assert_eq!(link.pop(start + LINK_PAUSE - MS), None);
        if polled {
            assert_eq!(link.pop(start + LINK_PAUSE), None, "the delay comes on top");
        }
        link.push(start + LINK_PAUSE, 'b');
        assert_eq!(link.next_at(), Some(start + LINK_PAUSE + 2 * MS));
        assert_eq!(link.pop(start + LINK_PAUSE + 2 * MS), Some('a'));
        assert_eq!(link.waiting(), 1);
        link.flush(start + LINK_PAUSE + 2 * MS);
        assert_eq!(link.pop(start + LINK_PAUSE + 2 * MS), Some('b'));
        assert_eq!(link.done(), Done { received: 2, forwarded: 2, ..Done::default() });
    }
}

#[test]
fn a_full_link_drops_and_says_so() {
    let impairments = Impairments { delay: MS, duplicate: 1.0, ..Impairments::default() };
    let mut link = Link::new(impairments, 1);
    let now = clock::now();
    let n = LINK_PACKETS_MAX as u64;
    for _ in 0..n {
        link.push(now, ());
    }
    let done = link.done();
    assert_eq!(link.waiting(), n);
    assert_eq!((done.dropped, done.overflowed, done.duplicated), (n / 2, n / 2, n / 2));
    link.flush(now);
    assert_eq!(std::iter::from_fn(|| link.pop(now)).count() as u64, n);
    assert_eq!(link.push(now, ()), Fate::Duplicated);
}

/// Returns each packet that comes out, with the time that it took.
fn times(impairments: Impairments, seed: u64, n: u32, spacing: Duration) -> Vec<(u32, Duration)> {
    let mut link = Link::new(impairments, seed);
    let start = clock::now();
    let mut out = Vec::new();
    let mut pop = |link: &mut Link<u32>, until: Option<Instant>| {
        while let Some(at) = link.next_at().filter(|at| until.is_none_or(|until| *at < until)) {
            out.extend(link.pop(at).map(|item| (item, at - (start + spacing * item))));
        }
    };
    for item in 0..n {
        pop(&mut link, Some(start + spacing * item));
        link.push(start + spacing * item, item);
    }
    pop(&mut link, None);
    out
}

#[test]
fn late_packets_come_later_by_their_time_and_the_others_do_not_wait() {
    let impairments =
        Impairments { late: 0.1, late_by: 30 * MS, delay: 5 * MS, jitter: MS, ..Impairments::default() };
    let out = times(impairments, 4, 20_000, MS);
    let late: Vec<_> = out.iter().filter(|(_, took)| *took >= 30 * MS).collect();
    assert!((1800..2200).contains(&late.len()), "{} of 20,000", late.len());
    assert!(late.iter().all(|(_, took)| (35 * MS..36 * MS).contains(took)));
    let others = out.iter().filter(|(_, took)| *took < 30 * MS);
    assert!(others.clone().all(|(_, took)| (5 * MS..6 * MS).contains(took)));
    assert!(others.clone().map(|(item, _)| item).is_sorted(), "only the late ones are overtaken");
    let items: Vec<u64> = out.iter().map(|(item, _)| u64::from(*item)).collect();
    assert!(reordered(&items) >= late.len() as u64 - 1, "the last one may have nobody behind it");
}

#[test]
fn jitter_keeps_the_order_unless_packets_may_overtake() {
    for distribution in [Distribution::Uniform, Distribution::Pareto] {
        let queued = Impairments { jitter: 20 * MS, distribution, ..Impairments::default() };
        let free = Impairments { overtake: true, ..queued };
        let [queued, free] = [queued, free].map(|impairments| times(impairments, 8, 5000, MS));
        assert!(queued.iter().map(|(item, _)| item).is_sorted());
        let items: Vec<u64> = free.iter().map(|(item, _)| u64::from(*item)).collect();
        assert!(reordered(&items) > 2000, "{}", reordered(&items));
        // Packets that may overtake do not wait for others, so the mean is that of the
        // distribution. The variances of the two distributions are 1/12 and 3/4.
        let sum: Duration = free.iter().map(|(_, took)| *took).sum();
        let mean = sum.as_secs_f64() / 5000.0;
        let deviation = if distribution == Distribution::Uniform { 1.0 / 12.0 } else { 0.75_f64 }.sqrt();
        assert!((mean - 0.010).abs() < 4.0 * 0.020 * deviation / 5000_f64.sqrt(), "{distribution:?}: {mean}");
        let longest = free.iter().map(|(_, took)| *took).max().unwrap();
        assert_eq!(longest > 100 * MS, distribution == Distribution::Pareto, "{longest:?}");
    }
}

#[test]
fn outages_let_nothing_in_and_shift_no_other_loss() {
    let outage = Outage { from: 100 * MS, length: 50 * MS, every: Some(400 * MS) };
    let alone = Impairments { loss: 0.1, delay: 20 * MS, ..Impairments::default() };
    let cut = Impairments { outage: Some(outage), ..alone };
    let start = clock::now();
    let run = |impairments| {
        let mut link = Link::new(impairments, 6);
        let fates = carry(&mut link, start, 1000, MS).0;
        (fates, link.done())
    };
    let ((alone, _), (fates, done)) = (run(alone), run(cut));
    for (n, (fate, alone)) in fates.iter().zip(&alone).enumerate() {
        let inside = (100..150).contains(&(n % 400)) || (500..550).contains(&n);
        assert_eq!(*fate == Fate::Dropped, inside || *alone == Fate::Dropped, "packet {n}");
    }
    assert_eq!(done.cut, 150);
    assert_eq!(done.forwarded, done.received - done.dropped);
}

#[test]
fn flushing_keeps_the_order_in_which_packets_would_have_come() {
    let impairments = Impairments {
        late: 0.3,
        late_by: 40 * MS,
        jitter: 30 * MS,
        overtake: true,
        ..Impairments::default()
    };
    let (start, mut flushed) = (clock::now(), Vec::new());
    let mut link = Link::new(impairments, 2);
    (0..200_u32).for_each(|item| _ = link.push(start, item));
    link.flush(start);
    flushed.extend(std::iter::from_fn(|| link.pop(start)));
    let mut waited = Link::new(impairments, 2);
    (0..200_u32).for_each(|item| _ = waited.push(start, item));
    let out: Vec<u32> = std::iter::from_fn(|| waited.next_at().and_then(|at| waited.pop(at))).collect();
    assert_eq!(flushed, out);
    assert!(!out.is_sorted() && out.len() == 200);
}

fn any_outage() -> impl Strategy<Value = Option<Outage>> {
    let outage =
        (0_u32..3000, 1_u32..500, proptest::option::of(1_u32..2000)).prop_map(|(from, length, every)| {
            let every = every.map(|every| MS * (length + every));
            Outage { from: MS * from, length: MS * length, every }
        });
    proptest::option::of(outage)
}

fn any_impairments() -> impl Strategy<Value = Impairments> {
    let losses =
        (0.0..=1.0, 1.0..6.0, prop_oneof![Just(Bursts::Geometric), Just(Bursts::Fixed)], any_outage());
    let orders = (0.0..=1.0, 0_u32..40, 0.0..=1.0, 0_u32..200, 0.0..=1.0);
    let times = (
        0_u32..200,
        0_u32..200,
        prop_oneof![Just(Distribution::Uniform), Just(Distribution::Pareto)],
        any::<bool>(),
    );
    (losses, orders, times).prop_map(
        |(
            (loss, burst, bursts, outage),
            (reorder, distance, late, late_by, duplicate),
            (delay, jitter, distribution, overtake),
        )| {
            let (late_by, delay, jitter) = (MS * late_by, MS * delay, MS * jitter);
            Impairments {
                loss,
                burst,
                bursts,
                reorder,
                distance,
                late,
                late_by,
                duplicate,
                delay,
                jitter,
                distribution,
                overtake,
                outage,
            }
        },
    )
}

proptest! {
    #[test]
    fn the_counters_add_up(
        impairments in any_impairments(),
        seed: u64,
        gaps in proptest::collection::vec((0_u32..150, 0_u32..50), 1..300),
    ) {
        let mut link = Link::new(impairments, seed);
        let (mut now, mut out, mut expected) = (clock::now(), Vec::new(), Vec::new());
        for (item, (gap, polled_after)) in gaps.iter().enumerate() {
            now += MS * *gap;
            let copies = match link.push(now, item as u64) {
                Fate::Dropped => 0,
                Fate::Passed => 1,
                Fate::Duplicated => 2,
            };
            expected.extend(std::iter::repeat_n(item as u64, copies));
            out.extend(std::iter::from_fn(|| link.pop(now + MS * *polled_after)));
            let done = link.done();
            prop_assert_eq!(done.received + done.duplicated, done.forwarded + done.dropped + link.waiting());
            prop_assert_eq!(link.next_at().is_some(), link.waiting() > 0);
        }
        // Calling pop at each next_at empties the link without a flush.
        while let Some(at) = link.next_at() {
            out.extend(link.pop(at));
        }
        let done = link.done();
        prop_assert_eq!(link.waiting(), 0);
        prop_assert_eq!(done.reordered, reordered(&out));
        prop_assert_eq!(done.forwarded, out.len() as u64);
        prop_assert_eq!(done.received + done.duplicated, done.forwarded + done.dropped);
        out.sort_unstable();
        prop_assert_eq!(out, expected);
    }
}
