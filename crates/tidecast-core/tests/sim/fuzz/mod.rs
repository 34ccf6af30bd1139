//! Arbitrary input: valid datagrams of all formats with any fields, damaged ones, arbitrary bytes,
//! at any time, on any leg. Nothing may panic, loop endlessly or grow without limit, and the
//! output must be consistent.
//!
//! The long form, with overflow checks:
//! `CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS=true TIDECAST_FUZZ_SECONDS=600 cargo test --release -p tidecast-core --test sim fuzz -- --nocapture`.

mod control;
mod parsers;
mod producer;
mod relay;

use std::time::Duration;

use crate::harness::{Dice, Repeat, setting};

const FORMATS: [&str; 17] = [
    "auto",
    "auto",
    "native",
    "native",
    "rtp",
    "ts",
    "raw",
    "seq=u16be@4,id=u32be@0",
    "seq=u8@0",
    "seq=u8@0&0x03,id=src",
    "seq=u64be@0,step=u64be@8",
    "seq=u64le@0&0x7fffffffffffffff,id=u8@8,time=u64be@9:s",
    "seq=u64be@0,wrap=3..0xfffffffffffffffd,id=u8@8",
    "seq=u8@0,wrap=10..99,id=u8@1,step=u8@2",
    "seq=u32be@0,step=u16be@4,id=2B@6",
    "artnet",
    "moldudp64",
];

const EXTREMES: [u64; 12] = [
    0,
    1,
    255,
    65_535,
    1 << 32,
    (1 << 62) - 1,
    1 << 62,
    (1 << 63) - 1,
    1 << 63,
    u64::MAX - 65_535,
    u64::MAX - 1,
    u64::MAX,
];

fn budget() -> Duration {
    Duration::from_secs(setting("TIDECAST_FUZZ_SECONDS", 5))
}

/// Minimum number of cases, even on a slow machine: they reach every counter that a test requires.
const CASES_MIN: u64 = 60;

/// Runs cases from consecutive seeds until the time is up; only one case if a seed is given.
fn cases(name: &str, mut case: impl FnMut(&mut Dice) -> u64) {
    let given = std::env::var("TIDECAST_SEED").is_ok();
    let mut seed = crate::harness::seed(1);
    let (started, mut inputs, mut count) = (tidecast_net::clock::now(), 0, 0);
    while count < CASES_MIN || tidecast_net::clock::now() - started < budget() {
        let repeat = Repeat(seed);
        inputs += case(&mut Dice::new(seed));
        drop(repeat);
        count += 1;
        if given {
            break;
        }
        seed += 1;
    }
    println!("{name}: {inputs} inputs in {count} cases");
}

fn pick<T: Copy>(dice: &mut Dice, list: &[T]) -> T {
    list[dice.below(list.len() as u64) as usize]
}

/// Returns a number that is mostly small, sometimes extreme.
fn number(dice: &mut Dice) -> u64 {
    match dice.below(8) {
        0 => dice.any(),
        1 => pick(dice, &EXTREMES),
        2 => pick(dice, &EXTREMES).wrapping_sub(dice.below(300)),
        3 => dice.below(100_000),
        _ => dice.below(300),
    }
}

fn random(dice: &mut Dice, len: u64) -> Vec<u8> {
    (0..len).map(|_| dice.any() as u8).collect()
}

fn damaged(dice: &mut Dice, mut bytes: Vec<u8>) -> Vec<u8> {
    match dice.below(30) {
        0 if !bytes.is_empty() => {
            let at = dice.below(bytes.len() as u64) as usize;
            bytes[at] ^= 1 << dice.below(8);
        }
        1 => bytes.truncate(dice.below(bytes.len() as u64 + 1) as usize),
        2 => {
            let more = dice.below(40);
            bytes.extend(random(dice, more));
        }
        _ => {}
    }
    bytes
}
