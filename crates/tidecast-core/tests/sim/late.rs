//! Tests of late repair packets, legs with different delays, and losses before anything is
//! measured: the residual losses are those of an ideal decoder, as long as the hold is long
//! enough.

use std::time::Duration;

use tidecast_core::relay::Hold;
use tidecast_link::Impairments;

use crate::{
    harness::{MS, Repeat, seed},
    lab::{Course, Outcome, Protection},
};

fn losses(loss: f64, burst: f64) -> Impairments {
    Impairments { loss, burst, ..Impairments::default() }
}

/// Runs it, and checks that no packet is missing that the ideal decoder recovers.
fn as_ideal(course: Course, what: &str) -> Outcome {
    let _repeat = Repeat(course.seed);
    let outcome = course.run();
    let (lost, ideal) = (outcome.lost.len() as u64, outcome.ideal);
    println!("{what}: {lost} lost, the ideal decoder {ideal}, hold {:?}", outcome.hold);
    assert_eq!(lost, ideal, "{what}: lost, and what the ideal decoder leaves");
    outcome
}

/// The hold is long enough, so the delay of the repair packets makes no difference.
#[test]
fn late_repair_packets_are_as_good_as_others() {
    let second = Hold::Fixed(Duration::from_secs(1));
    for protection in [Protection::matrix(5, 5), Protection::columns(10, 10), Protection::native(20, 4, 1)] {
        for (late, hold) in
            [(100, second), (200, second), (500, second), (100, Hold::default()), (200, Hold::default())]
        {
            for model in [losses(0.03, 1.0), losses(0.1, 3.0)] {
                let course =
                    Course { late: late * MS, seed: seed(31), ..Course::new(protection, model, hold) };
                as_ideal(course, &format!("{protection}, {late} ms late, {hold:?}, {model:?}"));
            }
        }
    }
}

/// Each leg carries its own repair packets; only those of the longer one may arrive.
#[test]
fn legs_that_are_apart_are_decoded_as_one() {
    for protection in [Protection::matrix(5, 5), Protection::native(10, 2, 1)] {
        for apart in [0, 100] {
            let course = Course::new(protection.twice(), losses(0.3, 1.0), Hold::default());
            let course = Course { apart: apart * MS, packets: 20_000, seed: seed(32), ..course };
            as_ideal(course, &format!("{}, {apart} ms apart", protection.twice()));
        }
    }
}

/// Losses from the second packet on, before the relay knows the protection of the stream.
#[test]
fn the_first_matrix_and_the_first_block_come_back() {
    let first = seed(1);
    let protections = [
        Protection::matrix(5, 5),
        Protection::matrix(10, 10),
        Protection::matrix(20, 5),
        Protection::columns(5, 20),
        Protection::native(10, 2, 1),
        Protection::native(32, 8, 1),
        Protection::native(20, 4, 4),
        Protection::matrix(5, 5).twice(),
    ];
    for protection in protections {
        for seed in first..first + 20 {
            let model = if seed % 2 == 0 { losses(0.05, 1.0) } else { losses(0.1, 3.0) };
            let course =
                Course { packets: 400, seed, cold: true, ..Course::new(protection, model, Hold::default()) };
            as_ideal(course, &format!("{protection}, seed {seed}"));
        }
    }
}
