//! Tests of the residual losses through the whole core: for each code as in theory, and exactly
//! those that an ideal decoder leaves for the same packets. The observer of the laboratory checks
//! each output: content, order, no duplicate, no packet after it was given up, no gap that waits
//! longer than the hold.

use std::time::Duration;

use tidecast_core::relay::Hold;
use tidecast_link::Impairments;

use crate::{
    harness::{Dice, Repeat, seed, setting},
    lab::{Code, Course, Outcome, Protection, theory},
};

const HOLD: Hold = Hold::Fixed(Duration::from_millis(500));

fn independent(loss: f64) -> Impairments {
    Impairments { loss, ..Impairments::default() }
}

fn bursts(loss: f64, burst: f64) -> Impairments {
    Impairments { burst, ..independent(loss) }
}

/// Runs it, and returns the outcome after comparing it with the ideal decoder; prints it beside
/// the expected loss.
fn run(protection: Protection, model: Impairments, seed: u64, expected: f64) -> Outcome {
    let packets = setting("TIDECAST_SIM_PACKETS", 200_000);
    let _repeat = Repeat(seed);
    let outcome = Course { packets, seed, ..Course::new(protection, model, HOLD) }.run();
    let (measured, deviation) = (outcome.residual(), outcome.deviation());
    println!(
        "{protection}, {:.0} % in bursts of {}: {measured:.3e} lost, +- {deviation:.1e}, {expected:.3e} expected; \
         {} of {packets}, the ideal decoder {}",
        100.0 * model.loss,
        model.burst,
        outcome.lost.len(),
        outcome.ideal,
    );
    assert_eq!(outcome.lost.len() as u64, outcome.ideal, "{protection}: as many as the ideal decoder");
    assert_eq!(outcome.counters.recovered_spurious, 0, "{protection}");
    let again = protection.round_trip.map(|trip| theory::sent_again(trip, model.loss, HOLD));
    let extra = (outcome.overhead - protection.overhead() - again.unwrap_or_default()).abs();
    // In a burst answers are lost as well.
    let share = if model.burst == 1.0 { 0.1 } else { 0.5 };
    let within = again.map_or(0.001, |again| share * again);
    assert!(extra < within, "{protection}: {} sent beyond the media", outcome.overhead);
    outcome
}

/// Checks that the losses are within three standard deviations of theory.
fn as_theory(protection: Protection, models: &[Impairments]) {
    for model in models {
        let expected = theory::residual(protection, model, HOLD).expect("a theory");
        let outcome = run(protection, *model, seed(11), expected);
        let off = (outcome.residual() - expected) / deviation(protection, &outcome, expected);
        assert!(
            off.abs() <= 3.0,
            "{protection}: {} instead of {expected}, {off} deviations",
            outcome.residual()
        );
    }
}

/// Returns the deviation estimated from the outcome; but since few losses are a poor estimate, at
/// least that of losses which occur together within a block or matrix, with independent blocks.
fn deviation(protection: Protection, outcome: &Outcome, expected: f64) -> f64 {
    let together = match protection.code {
        Code::None => 1.0,
        // Packets that are requested together are lost or recovered together.
        Code::Plain => 2.0,
        Code::Native { m, .. } => (m + 1) as f64,
        // Two rows and two columns.
        Code::St2022 { .. } => 4.0,
    };
    outcome.deviation().max((expected * together / outcome.packets as f64).sqrt())
}

/// Checks that the losses are close to a figure that is known to two digits.
fn as_known(protection: Protection, cases: &[(Impairments, f64)]) {
    for (model, known) in cases {
        let outcome = run(protection, *model, seed(5), *known);
        let off = (outcome.residual() - known).abs();
        let within = 3.0 * deviation(protection, &outcome, *known) + 0.05 * known;
        assert!(off <= within, "{protection}: {} instead of {known} +- {within}", outcome.residual());
    }
}

#[test]
fn residual_of_nothing_and_of_two_legs() {
    let models = [independent(0.01), independent(0.05), bursts(0.01, 3.0), bursts(0.05, 20.0)];
    as_theory(Protection::NONE, &models);
    as_theory(Protection::NONE.twice(), &models);
    as_theory(Protection::native(10, 2, 1).twice(), &[independent(0.1), bursts(0.1, 3.0)]);
}

#[test]
fn residual_of_native_10_2() {
    as_theory(Protection::native(10, 2, 1), &[0.01, 0.05, 0.10].map(independent));
}

#[test]
fn residual_of_native_20_4() {
    as_theory(Protection::native(20, 4, 1), &[0.01, 0.05, 0.10].map(independent));
    as_theory(Protection::native(20, 4, 1), &[bursts(0.01, 3.0), bursts(0.01, 8.0)]);
}

#[test]
fn residual_of_native_20_4_stride_4() {
    let protection = Protection::native(20, 4, 4);
    as_theory(protection, &[0.01, 0.05, 0.10].map(independent));
    as_theory(protection, &[bursts(0.01, 3.0), bursts(0.01, 8.0)]);
    as_known(protection, &[(bursts(0.01, 3.0), 1.4e-4), (bursts(0.01, 8.0), 3.2e-3)]);
}

#[test]
fn residual_of_st2022_10x10() {
    let known = [(0.01, 2.0e-6), (0.05, 9.1e-4), (0.10, 1.6e-2)];
    as_known(Protection::matrix(10, 10), &known.map(|(loss, known)| (independent(loss), known)));
}

#[test]
fn residual_of_st2022_20x5() {
    let known = [(3.0, 2.7e-4), (8.0, 9.2e-4)];
    as_known(Protection::matrix(20, 5), &known.map(|(burst, known)| (bursts(0.01, burst), known)));
}

/// Round trips of which this many fit into the hold: a packet stays lost if each request or its
/// answer is lost.
#[test]
fn residual_of_asking_again() {
    let again = |ms| Protection::again(Duration::from_millis(ms));
    // One, two and three requests.
    as_theory(again(300), &[0.01, 0.05, 0.10].map(independent));
    as_theory(again(200), &[0.05, 0.10].map(independent));
    as_theory(again(150), &[0.05, 0.10].map(independent));
}

/// The same with all seven requests: of 10 % loss, independent and in bursts, almost nothing
/// remains.
#[test]
fn residual_of_asking_seven_times() {
    let protection = Protection::again(Duration::from_millis(50));
    for model in [independent(0.1), bursts(0.1, 3.0)] {
        let expected = theory::residual(protection, &independent(0.1), HOLD).expect("a theory");
        let outcome = run(protection, model, seed(9), expected);
        let longest = outcome.runs.2;
        assert!(outcome.residual() < 1e-4, "{model:?}: {} lost, {longest} in a row", outcome.lost.len());
    }
}

/// Returns the closed form for blocks of `n` with independent losses: of j lost packets those that
/// are media are drawn without replacement, so on average k/n of them.
fn closed_form(k: u64, m: u64, loss: f64) -> f64 {
    let n = k + m;
    let chance = |lost: u64| {
        let ways = (0..lost).fold(1.0, |ways, i| ways * (n - i) as f64 / (i + 1) as f64);
        ways * loss.powi(lost as i32) * (1.0 - loss).powi((n - lost) as i32)
    };
    (m + 1..=n).map(|lost| chance(lost) * lost as f64 / n as f64).sum()
}

#[test]
fn theory_agrees_with_the_closed_form() {
    for (k, m, stride) in [(1, 1, 1), (10, 2, 1), (20, 4, 1), (20, 4, 4)] {
        for loss in [0.001, 0.01, 0.05, 0.10, 0.5] {
            let theory =
                theory::residual(Protection::native(k, m, stride), &independent(loss), HOLD).unwrap();
            let closed = closed_form(k, m, loss);
            assert!((theory / closed - 1.0).abs() < 1e-9, "({k}, {m}) at {loss}: {theory}, {closed}");
        }
    }
}

/// Compares the theory for bursts with random draws of a small code's losses, from a separate
/// implementation of the chain.
#[test]
fn theory_agrees_with_drawing() {
    let (loss, burst, mut dice) = (0.1, 3.0, Dice::new(4));
    let (begin, stay) = (loss / burst / (1.0 - loss), 1.0 - 1.0 / burst);
    let (groups, mut missed, mut square) = (400_000, 0.0, 0.0);
    let mut lost = dice.hits(loss);
    for _ in 0..groups {
        // Two blocks of three media packets and one repair packet: a0 b0 a1 b1 a2 b2 A B.
        let mut sent = [false; 8];
        for packet in &mut sent {
            *packet = lost;
            lost = dice.hits(if lost { stay } else { begin });
        }
        let blocks = [[0, 2, 4, 6], [1, 3, 5, 7]].map(|places| places.map(|place| sent[place]));
        let missing = |block: [bool; 4]| {
            let all = block.iter().filter(|lost| **lost).count();
            if all > 1 { all - usize::from(block[3]) } else { 0 }
        };
        let both = blocks.into_iter().map(missing).sum::<usize>() as f64;
        missed += both;
        square += both * both;
    }
    let n = f64::from(groups);
    let mean = missed / n;
    // Neighbouring groups are not independent, but nearly.
    let deviation = ((square / n - mean * mean) / n).sqrt() * 1.2;
    let theory = theory::residual(Protection::native(3, 1, 2), &bursts(loss, burst), HOLD).unwrap() * 6.0;
    assert!((mean - theory).abs() < 4.0 * deviation, "{mean} +- {deviation} instead of {theory}");
}
