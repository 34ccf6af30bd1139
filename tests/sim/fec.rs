//! Native FEC: what is left of independent losses is what the code's arithmetic says, and what comes back is what
//! was sent.

use std::time::Duration;

use tidecast::{
    fec::rs::Codes,
    link::{Fate, Impairments, Link},
    relay::{Config, Hold, How, Input, Output, Relay},
    wire::native::Kind,
};

use crate::{
    formats::{native, repairs},
    harness::{Dice, MS, Repeat, Sim, config, seed, setting, source},
};

const INTERVAL: Duration = Duration::from_micros(100);
const SESSION: u32 = 5;

/// Blocks of `k` media and `m` repair packets, `stride` of them interleaved.
#[derive(Debug, Clone, Copy)]
struct Code {
    k: u64,
    m: u64,
    stride: u64,
}

/// A media packet's timestamp and payload follow from its number: sizes of 16 to 64 bytes, so that 10^7 of them
/// take seconds.
fn media(number: u64, mix: u64) -> (u64, Vec<u8>) {
    let mixed = (number ^ mix).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let len = 16 + (mixed >> 58) as usize % 49;
    let mut payload = vec![mixed as u8; len];
    payload[..8].copy_from_slice(&number.to_be_bytes());
    (1 + (mixed >> 8), payload)
}

impl Code {
    /// The share of media packets lost for good at a loss of `p`, and its standard deviation over so many blocks:
    /// the losses of one block come together, so the block is what varies.
    fn residual(&self, p: f64, blocks: f64) -> (f64, f64) {
        let n = self.k + self.m;
        let chance = |lost: u64| {
            let ways = (0..lost).fold(1.0, |ways, i| ways * (n - i) as f64 / (i + 1) as f64);
            ways * p.powi(lost as i32) * (1.0 - p).powi((n - lost) as i32)
        };
        let (n, k) = (n as f64, self.k as f64);
        let (mut mean, mut square) = (0.0, 0.0);
        for lost in self.m + 1..=self.k + self.m {
            // Of j lost packets those that are media are drawn without replacement: hypergeometric.
            let (j, chance) = (lost as f64, chance(lost));
            let media = j * k / n;
            let variance = media * (1.0 - k / n) * (n - j) / (n - 1.0);
            mean += chance * media;
            square += chance * (variance + media * media);
        }
        (mean / k, (square - mean * mean).max(0.0).sqrt() / k / blocks.sqrt())
    }
}

/// The receiving end, which checks every packet that comes out.
struct Receiver {
    relay: Relay,
    mix: u64,
    next: u64,
    recovered: u64,
}

impl Receiver {
    fn input(&mut self, input: Input) {
        self.relay.handle_input(input);
        loop {
            match self.relay.poll_output() {
                Output::Deliver(delivery) => {
                    let (timestamp, payload) = media(delivery.seq, self.mix);
                    assert_eq!(delivery.packet.payload(), payload, "number {}", delivery.seq);
                    assert_eq!(delivery.packet.timestamp, Some(timestamp), "number {}", delivery.seq);
                    assert!(delivery.seq >= self.next, "{} after {}", delivery.seq, self.next);
                    if delivery.how == How::Fec {
                        let whole = native(Kind::Data, 7, SESSION, delivery.seq, timestamp, &payload);
                        assert_eq!(*delivery.packet.bytes, whole, "the datagram as it was sent");
                        self.recovered += 1;
                    }
                    self.next = delivery.seq + 1;
                }
                Output::Timeout(_) => break,
                _ => {}
            }
        }
    }
}

/// The whole way of `packets` media packets. Gives the share that was lost for good.
fn run(code: Code, loss: f64, packets: u64, seed: u64) -> f64 {
    let group = code.k * code.stride;
    let groups = packets.div_ceil(group);
    // A few more packets show the end.
    let packets = groups * group;
    let mut link = Link::new(Impairments { loss, ..Impairments::default() }, seed);
    let mut receiver = Receiver {
        relay: Relay::new(Config { hold: Hold::Fixed(500 * MS), ..config("auto") }),
        mix: seed,
        next: 0,
        recovered: 0,
    };
    let mut codes = Codes::new();
    let mut now = tidecast::clock::now();
    let (mut lost, mut repairs_lost) = (0, 0);
    let mut blocks: Vec<Vec<(u64, Vec<u8>)>> = vec![Vec::new(); code.stride as usize];
    for number in 0..packets {
        now += INTERVAL;
        let (timestamp, payload) = media(number, seed);
        let datagram = native(Kind::Data, 7, SESSION, number, timestamp, &payload);
        lost += u64::from(link.push(now, datagram) == Fate::Dropped);
        let block = &mut blocks[(number % code.stride) as usize];
        block.push((timestamp, payload));
        if block.len() as u64 == code.k {
            let first = number - (code.k - 1) * code.stride;
            for repair in repairs(&mut codes, SESSION, first, code.m as usize, code.stride as u8, block) {
                repairs_lost += u64::from(link.push(now, repair) == Fate::Dropped);
            }
            block.clear();
        }
        while let Some(bytes) = link.pop(now) {
            receiver.input(Input::Packet { now, leg: 0, source: source(1), bytes: bytes.into() });
        }
    }
    // The tail is made visible, and what was only waited for is given up.
    let heartbeat = native(Kind::Heartbeat, 7, SESSION, packets, 0, b"");
    receiver.input(Input::Packet { now, leg: 0, source: source(1), bytes: heartbeat.into() });
    receiver.input(Input::Timeout { now: now + Duration::from_secs(2) });
    let counters = receiver.relay.totals();
    assert_eq!((counters.media_received, counters.expected), (packets - lost, packets), "{counters:?}");
    assert_eq!(counters.repair_received, groups * code.stride * code.m - repairs_lost);
    assert_eq!(counters.recovered_fec, receiver.recovered);
    assert_eq!(counters.delivered, counters.media_received + counters.recovered_fec);
    assert_eq!(counters.delivered + counters.lost, packets);
    assert_eq!((counters.discarded(), counters.recovered_spurious, receiver.relay.held()), (0, 0, 0));
    counters.lost as f64 / packets as f64
}

fn residual_loss(code: Code) {
    let packets = setting("TIDECAST_SIM_PACKETS", 200_000);
    let seed = seed(11);
    let _repeat = Repeat(seed);
    for loss in [0.01, 0.05, 0.10] {
        let started = tidecast::clock::now();
        let measured = run(code, loss, packets, seed);
        let (mean, deviation) = code.residual(loss, packets as f64 / code.k as f64);
        let off = (measured - mean) / deviation;
        println!(
            "({}, {}, stride {}) at {:.0} %: {measured:.3e} lost, {mean:.3e} expected, {off:+.2} deviations, {:.1} s",
            code.k,
            code.m,
            code.stride,
            100.0 * loss,
            (tidecast::clock::now() - started).as_secs_f64()
        );
        assert!(off.abs() <= 3.0, "{code:?} at {loss}: {measured} instead of {mean} +- {deviation}");
    }
}

#[test]
fn fec_residual_loss_10_2() {
    residual_loss(Code { k: 10, m: 2, stride: 1 });
}

#[test]
fn fec_residual_loss_20_4() {
    residual_loss(Code { k: 20, m: 4, stride: 1 });
}

#[test]
fn fec_residual_loss_20_4_stride_4() {
    residual_loss(Code { k: 20, m: 4, stride: 4 });
}

/// A model of the arithmetic above, by drawing.
#[test]
fn fec_expectation_agrees_with_drawing() {
    let mut dice = Dice::new(3);
    let (code, p, blocks) = (Code { k: 10, m: 2, stride: 1 }, 0.1, 200_000);
    let residual = |_| {
        let lost: Vec<bool> = (0..code.k + code.m).map(|_| dice.hits(p)).collect();
        let all = lost.iter().filter(|l| **l).count() as u64;
        let media = lost[..code.k as usize].iter().filter(|l| **l).count() as f64;
        if all > code.m { media } else { 0.0 }
    };
    let drawn: Vec<f64> = (0..blocks).map(residual).collect();
    let mean = drawn.iter().sum::<f64>() / blocks as f64;
    let variance = drawn.iter().map(|d| (d - mean) * (d - mean)).sum::<f64>() / blocks as f64;
    let (expected, deviation) = code.residual(p, 1.0);
    assert!((mean / 10.0 - expected).abs() < 4.0 * deviation / (blocks as f64).sqrt());
    assert!((variance.sqrt() / 10.0 / deviation - 1.0).abs() < 0.02);
}

/// One block of three, with its second packet lost; the repair packet comes before the third.
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

/// Of a block whose repair packets have come and do not suffice, nothing is waited for; but what no later packet
/// has overtaken may still be on its way.
#[test]
fn fec_what_cannot_come_back_is_skipped_at_once() {
    let mut sim = Sim::new(Config { hold: Hold::Fixed(100 * MS), ..config("auto") });
    let mut codes = Codes::new();
    let block: Vec<_> = (0..5).map(|n| media(n, 1)).collect();
    let repair = repairs(&mut codes, SESSION, 0, 1, 1, &block).remove(0);
    let data = |n: u64| native(Kind::Data, 7, SESSION, n, block[n as usize].0, &block[n as usize].1);
    sim.packet(MS, &data(0));
    sim.packet(2 * MS, &data(3));
    sim.packet(3 * MS, &repair);
    assert_eq!(sim.delivered(|p| p[7]).last(), Some(&(MS, 0)), "4 may be what the repair packet is for");
    sim.packet(5 * MS, &data(4));
    let all: Vec<_> = sim.delivered(|p| p[7]).into_iter().skip(1).collect();
    assert_eq!(all, [(5 * MS, 3), (5 * MS, 4)], "1 and 2 are given up");
    assert_eq!(sim.check_counters().lost, 2);
}

/// A forged repair packet far ahead, or for packets not sent yet, costs nothing.
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
    // The hold of 50 ms is shorter than the block: the loss of each is given up before its repair packets come.
    assert_eq!(counters.lost, 50, "{counters:?}");
}
