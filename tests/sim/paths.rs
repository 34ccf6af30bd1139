//! Two paths (ST 2022-7): what both lose is lost and nothing else, a path may fail and come back, and each path's losses
//! are counted.

use std::{collections::BTreeSet, time::Duration};

use tidecast::relay::{Config, Hold};

use crate::{
    formats::Numbered,
    harness::{Dice, Event, MS, Repeat, Sim, config, seed, setting, source},
};

/// One packet on one leg.
#[derive(Debug, Clone, Copy)]
struct Copy {
    at: Duration,
    leg: u8,
    packet: u64,
}

/// Copies of packets that are sent every `interval` on two legs, the second one `skew` behind, in the order of their
/// arrival, without those that `gone` names.
fn copies(
    packets: u64,
    interval: Duration,
    skew: Duration,
    mut gone: impl FnMut(u8, u64) -> bool,
) -> Vec<Copy> {
    let mut all = Vec::new();
    for packet in 0..packets {
        for leg in [0, 1] {
            let at = interval * packet as u32 + skew * u32::from(leg);
            if !gone(leg, packet) {
                all.push(Copy { at, leg, packet });
            }
        }
    }
    all.sort_by_key(|copy| copy.at);
    all
}

fn two(format: Numbered, hold: Hold) -> Sim {
    Sim::new(Config { legs: 2, hold, ..config(format.format()) })
}

impl Sim {
    /// Feeds the copies of a stream that numbers its packets by `number`.
    fn receive_copies(&mut self, format: Numbered, copies: &[Copy], number: impl Fn(u64) -> (u32, u64)) {
        for copy in copies {
            let (session, number) = number(copy.packet);
            let bytes = format.datagram(session, number, copy.packet);
            self.packet_from(copy.at, copy.leg, source(1 + copy.leg), &bytes);
        }
        self.run_until(self.elapsed() + Duration::from_secs(5));
    }

    /// What was delivered, which is in order and once each, and the longest time without anything.
    fn outcome(&self, format: Numbered) -> (BTreeSet<u64>, Duration) {
        let delivered = self.delivered(|payload| format.identity(payload));
        let ordered = delivered.windows(2).all(|pair| pair[0].1 < pair[1].1);
        assert!(ordered, "each once and in order");
        let silence = delivered.windows(2).map(|pair| pair[1].0 - pair[0].0).max();
        (delivered.into_iter().map(|(_, packet)| packet).collect(), silence.unwrap_or_default())
    }

    /// The longest that packets waited behind a gap.
    fn longest_wait(&self) -> Duration {
        let waits = self.events.iter().filter_map(|(_, event)| match event {
            Event::GapClosed { waited } => Some(*waited),
            _ => None,
        });
        waits.max().unwrap_or_default()
    }
}

#[test]
fn paths_lose_what_both_lose_and_each_leg_is_told_what_it_missed() {
    let packets = setting("TIDECAST_SIM_PACKETS", 100_000_u64);
    let seed = seed(7);
    let _repeat = Repeat(seed);
    for (loss, skew) in [(0.05, 0), (0.05, 10), (0.05, 50), (0.01, 450)] {
        let mut dice = Dice::new(seed + skew);
        // The first packets come on both legs, so that the beginning is known.
        let lost: Vec<[bool; 2]> =
            (0..packets).map(|n| [(); 2].map(|()| n > 1000 && n + 10 < packets && dice.hits(loss))).collect();
        let copies = copies(packets, MS, MS * skew as u32, |leg, n| lost[n as usize][usize::from(leg)]);
        let format = Numbered::Rtp;
        let mut sim = two(format, Hold::default());
        sim.receive_copies(format, &copies, |n| (1, n));
        let counters = sim.check_counters();
        let on_both = lost.iter().filter(|lost| lost[0] && lost[1]).count() as u64;
        let only = |leg: usize| lost.iter().filter(|lost| lost[leg] && !lost[1 - leg]).count() as u64;
        let (delivered, _) = sim.outcome(format);
        let context = format!("loss {loss}, skew {skew}: {counters:?}");
        assert_eq!((counters.lost, counters.delivered), (on_both, packets - on_both), "{context}");
        assert_eq!(delivered.len() as u64, packets - on_both, "{context}");
        let (p, n) = (loss * loss, packets as f64);
        let deviation = (p * (1.0 - p) * n).sqrt();
        assert!((counters.lost as f64 - p * n).abs() <= 3.0 * deviation, "{context}");
        let legs = sim.relay.legs();
        println!("loss {loss}, skew {skew}: residual {:.3e}, legs {legs:?}", counters.lost as f64 / n);
        assert_eq!([legs[0].missed, legs[1].missed], [only(0), only(1)], "{context}");
        assert_eq!(legs[0].first + legs[1].first, packets - on_both, "{context}");
        if skew > 0 {
            assert_eq!(legs[1].first, only(0), "{context}");
        }
        // What both lost is known when the slower one has passed it: it brought two later ones (a few packets, some
        // of which are lost), 2 ms to the next step, and 50 ms for reordering that may not have shown yet.
        assert!(sim.longest_wait() <= MS * (skew as u32 + 60), "{:?}: {context}", sim.longest_wait());
    }
}

#[test]
fn paths_may_fail_and_come_back() {
    for skew in [0, 10, 50, 450] {
        for (cut, length) in [(0, 10_000), (1, 10_000), (0, 60_000), (1, 60_000)] {
            let out = 5_000..5_000 + length;
            let copies = copies(15_000 + length, MS, MS * skew, |leg, n| leg == cut && out.contains(&n));
            let format = Numbered::Rtp;
            let mut sim = two(format, Hold::default());
            sim.receive_copies(format, &copies, |n| (1, n));
            let counters = sim.check_counters();
            let (delivered, silence) = sim.outcome(format);
            let context = format!("leg {cut} out for {length} ms, skew {skew}: {counters:?}");
            assert_eq!(delivered.len() as u64, 15_000 + length, "{context}");
            assert_eq!((counters.lost, counters.late, counters.sessions), (0, 0, 1), "{context}");
            assert!(silence <= MS * (skew + 1), "silent for {silence:?}, {context}");
            let missed: Vec<u64> = sim.relay.legs().iter().map(|leg| leg.missed).collect();
            let expected = if cut == 0 { [length, 0] } else { [0, length] };
            assert_eq!(missed, expected, "{context}");
        }
    }
}
