//! Tests of native FEC packet by packet: when losses are recovered, and when they are given up.
//! `residual` tests how many are recovered.

use std::time::Duration;

use tidecast_core::relay::{Config, Hold};
use tidecast_wire::{fec::rs::Codes, native::Kind};

use crate::{
    formats::{native, repairs},
    harness::{MS, Sim, config},
};

const SESSION: u32 = 5;

/// Returns a media packet's timestamp and payload, which follow from its number: sizes of 16 to 64
/// bytes.
fn media(number: u64, mix: u64) -> (u64, Vec<u8>) {
    let mixed = (number ^ mix).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let len = 16 + (mixed >> 58) as usize % 49;
    let mut payload = vec![mixed as u8; len];
    payload[..8].copy_from_slice(&number.to_be_bytes());
    (1 + (mixed >> 8), payload)
}

/// One block of three packets, with the second lost; the repair packet arrives before the third.
#[test]
fn fec_repair_packets_may_overtake() {
    let mut sim = Sim::new(Config { hold: Hold::Fixed(100 * MS), ..config("auto") });
    let mut codes = Codes::new();
    let block: Vec<_> = (0..3).map(|n| media(n, 1)).collect();
    let repair = repairs(&mut codes, SESSION, 0, 1, 1, &block).remove(0);
    let data = |n: u64| native(Kind::Data, 7, SESSION, n, block[n as usize].0, &block[n as usize].1);
    sim.packet(MS, &data(0));
    sim.packet(3 * MS, &repair);
    sim.packet(4 * MS, &data(2));
    sim.run_until(200 * MS);
    let numbers = sim.delivered(|payload| payload[7]);
    assert_eq!(numbers.iter().map(|(_, n)| *n).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(numbers.iter().all(|(at, _)| *at <= 4 * MS), "rebuilt at once: {numbers:?}");
    assert_eq!(sim.check_counters().lost, 0);
}

/// A block whose repair packets have arrived but do not suffice is not waited for; but packets
/// that no later packet has overtaken may still be in transit.
#[test]
fn fec_what_cannot_come_back_is_skipped_at_once() {
    let mut sim = Sim::new(Config { hold: Hold::Fixed(100 * MS), ..config("auto") });
    let mut codes = Codes::new();
    let packets: Vec<_> = (0..10).map(|n| media(n, 1)).collect();
    let mut repair =
        |first: usize| repairs(&mut codes, SESSION, first as u64, 1, 1, &packets[first..first + 5]).remove(0);
    let data = |n: u64| native(Kind::Data, 7, SESSION, n, packets[n as usize].0, &packets[n as usize].1);
    // A previous block has shown the parameters of the code.
    (0..5).for_each(|n| sim.packet(MS, &data(n)));
    sim.packet(MS, &repair(0));
    sim.packet(MS, &data(5));
    sim.packet(2 * MS, &data(8));
    sim.packet(3 * MS, &repair(5));
    assert_eq!(sim.delivered(|p| p[7]).last(), Some(&(MS, 5)), "9 may be what the repair packet is for");
    sim.packet(5 * MS, &data(9));
    let all: Vec<_> = sim.delivered(|p| p[7]).into_iter().skip(6).collect();
    assert_eq!(all, [(5 * MS, 8), (5 * MS, 9)], "6 and 7 are given up");
    assert_eq!(sim.check_counters().lost, 2);
}

/// A forged repair packet far ahead, or for packets that have not been sent yet, has no effect.
#[test]
fn fec_forged_repair_packets_cost_nothing() {
    let mut sim = Sim::new(Config { hold: Hold::Fixed(50 * MS), ..config("auto") });
    let mut codes = Codes::new();
    let garbage: Vec<_> = (0..9).map(|n| media(n, 99)).collect();
    let mut block = Vec::new();
    for n in 0..500_u64 {
        let at = MS * (10 * n as u32);
        let (timestamp, payload) = media(n, 1);
        if n % 10 != 3 {
            sim.packet(at, &native(Kind::Data, 7, SESSION, n, timestamp, &payload));
        }
        block.push((timestamp, payload));
        if block.len() == 10 {
            for repair in repairs(&mut codes, SESSION, n - 9, 2, 1, &block) {
                sim.packet(at + MS, &repair);
            }
            block.clear();
        }
        if n == 200 {
            for first in [n + 3, n + 40, n + 5000, 1 << 61] {
                for forged in repairs(&mut codes, SESSION, first, 1, 1, &garbage) {
                    sim.packet(at + 2 * MS, &forged);
                }
            }
        }
    }
    sim.run_until(Duration::from_secs(10));
    let counters = sim.check_counters();
    assert_eq!(counters.delivered + counters.lost, 500, "{counters:?}");
    // The hold of 50 ms is shorter than the block: each loss is given up before its repair packets
    // arrive.
    assert_eq!(counters.lost, 50, "{counters:?}");
}
