//! Tests of two paths (ST 2022-7): only packets that both lose are lost, a path may fail and
//! return, and each path's losses are counted.

use std::{collections::BTreeSet, time::Duration};

use tidecast_core::relay::{Config, Fec, Hold};

use crate::{
    formats::Numbered,
    harness::{Dice, Event, MS, Repeat, Sim, config, seed, setting, source},
    st2022::{FIRST, INTERVAL, Sent, ideal, stream},
};

/// One packet on one leg.
#[derive(Debug, Clone, Copy)]
struct Copy {
    at: Duration,
    leg: u8,
    packet: u64,
}

/// Returns the copies of packets that are sent every `interval` on two legs, the second delayed by
/// `skew`, in the order of their arrival, without those that `gone` selects.
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
    /// Feeds the copies of a stream whose packets are numbered by `number`.
    fn receive_copies(&mut self, format: Numbered, copies: &[Copy], number: impl Fn(u64) -> (u32, u64)) {
        for copy in copies {
            let (session, number) = number(copy.packet);
            let bytes = format.datagram(session, number, copy.packet);
            self.packet_from(copy.at, copy.leg, source(1 + copy.leg), &bytes);
        }
        self.run_until(self.elapsed() + Duration::from_secs(5));
    }

    /// Returns the delivered packets, checked to be in order and once each, and the maximum time
    /// without any.
    fn outcome(&self, format: Numbered) -> (BTreeSet<u64>, Duration) {
        let delivered = self.delivered(|payload| format.identity(payload));
        let ordered = delivered.windows(2).all(|pair| pair[0].1 < pair[1].1);
        assert!(ordered, "each once and in order");
        let silence = delivered.windows(2).map(|pair| pair[1].0 - pair[0].0).max();
        (delivered.into_iter().map(|(_, packet)| packet).collect(), silence.unwrap_or_default())
    }

    /// Returns the numbers of an RTP stream that were given up.
    fn given_up(&self) -> BTreeSet<u64> {
        let lost = self.events.iter().filter_map(|(_, event)| match event {
            // Internal numbers start one number space higher.
            Event::Lost { from, count, .. } => Some(from - 65_536..from - 65_536 + count),
            _ => None,
        });
        lost.flatten().collect()
    }

    /// Returns the maximum time that packets waited for a gap.
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
        // The first packets arrive on both legs, so that the start is known.
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
        // A loss on both is certain when the slower one has passed it: it delivered two later
        // packets (a few intervals, because some are lost), 2 ms to the next step, and 50 ms for
        // reordering that may not have been observed yet.
        assert!(sim.longest_wait() <= MS * (skew as u32 + 60), "{:?}: {context}", sim.longest_wait());
    }
}

/// One path damages payloads: the copy that arrives first is passed on, the other one is a
/// duplicate, and a mismatch is counted for its leg, whether the first one was delivered or waits
/// for a gap.
#[test]
fn paths_that_disagree_are_counted_and_still_one_stream() {
    let seed = seed(19);
    let _repeat = Repeat(seed);
    for format in [Numbered::Native, Numbered::Rtp, Numbered::Custom16] {
        for (damages, loss, damage) in
            [(1, 0.0, 0.1), (1, 0.05, 0.1), (0, 0.05, 0.1), (1, 0.05, 1.0), (1, 0.0, 0.0)]
        {
            let (packets, skew, mut dice) = (5000, MS * 20, Dice::new(seed));
            let mut fate =
                |n: u64| [dice.hits(loss), dice.hits(loss), dice.hits(damage)].map(|hit| hit && n > 100);
            let fates: Vec<_> = (0..packets).map(&mut fate).collect();
            let lost = |leg: u8, n: u64| fates[n as usize][usize::from(leg)];
            let mut sim = two(format, Hold::default());
            for copy in copies(packets, MS, skew, lost) {
                let damaged = copy.leg == damages && fates[copy.packet as usize][2];
                let identity = copy.packet | u64::from(damaged) << 40;
                let bytes = format.datagram(1, copy.packet, identity);
                sim.packet_from(copy.at, copy.leg, source(1 + copy.leg), &bytes);
            }
            sim.run_until(sim.elapsed() + Duration::from_secs(5));
            let counters = sim.check_counters();
            let both = fates.iter().filter(|[first, second, _]| !first && !second);
            let differ = both.clone().filter(|fate| fate[2]).count() as u64;
            let context = format!("{format:?}, leg {damages} damages {damage}, loss {loss}: {counters:?}");
            let differing: Vec<u64> = sim.relay.legs().iter().map(|leg| leg.differing).collect();
            assert_eq!(differing, [0, differ], "the second leg is later: {context}");
            assert_eq!(counters.duplicate, both.count() as u64, "{context}");
            assert_eq!((counters.sessions, counters.rejected), (1, 0), "{context}");
        }
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

/// The producer restarts while both legs lead alternately, or one is far behind: the whole new
/// session is delivered, and nothing of the old one in its place.
#[test]
fn paths_bring_a_restart_as_one() {
    let seed = seed(11);
    let _repeat = Repeat(seed);
    let mut failures = Vec::new();
    for (format, session, first) in [
        (Numbered::Native, 2, 0),
        (Numbered::Rtp, 2, 30_000),
        (Numbered::Rtp, 2, 1900),
        (Numbered::Rtp, 1, 30_000),
        (Numbered::Rtp, 1, 600),
        (Numbered::Rtp, 1, 1700),
        (Numbered::Rtp, 1, 1900),
        (Numbered::Custom16, 1, 0),
        (Numbered::Custom16, 1, 1900),
    ] {
        for skew in [0, 3, 10, 50, 200, 450] {
            for (jitter, interval, in_order) in
                [(0, 1, true), (4, 1, true), (4, 1, false), (4, 2, true), (4, 2, false), (0, 5, true)]
            {
                let mut dice = Dice::new(seed + skew + 7 * jitter + first);
                let mut copies = copies(5000, MS * interval, MS * skew as u32, |_, _| false);
                // The leading path changes constantly; each keeps the order, or lets packets
                // overtake.
                let mut last = [Duration::ZERO; 2];
                for copy in &mut copies {
                    let last = &mut last[usize::from(copy.leg)];
                    copy.at += Duration::from_micros(dice.below(jitter * 1000 + 1));
                    copy.at = if in_order { copy.at.max(*last) } else { copy.at };
                    *last = copy.at;
                }
                copies.sort_by_key(|copy| copy.at);
                let number = |n| if n < 1000 { (1, 1000 + n) } else { (session, first + (n - 1000)) };
                let mut sim = two(format, Hold::default());
                sim.receive_copies(format, &copies, number);
                let counters = sim.check_counters();
                let delivered: Vec<u64> =
                    sim.delivered(|payload| format.identity(payload)).into_iter().map(|(_, n)| n).collect();
                if !delivered.iter().copied().eq(0..5000) || counters.sessions != 2 || counters.lost > 0 {
                    let at = delivered.iter().zip(0..).find(|(n, i)| **n != *i);
                    failures.push(format!(
                        "{format:?} to {session}:{first}, skew {skew}, jitter {jitter}, in order {in_order}, \
                         interval {interval}: \
                         {} delivered, first other {at:?}, {} lost, {} late, {} rejected, {} sessions",
                        delivered.len(),
                        counters.lost,
                        counters.late,
                        counters.rejected,
                        counters.sessions
                    ));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}:\n{}", failures.len(), failures.join("\n"));
}

/// A number lost on both is given up when both have passed it, not at the maximum hold. If one leg
/// is down, it is given up when the other one has passed it.
#[test]
fn paths_give_up_early_what_both_have_passed() {
    let lost = |n: u64| n > 30_000 && n.is_multiple_of(500);
    for (skew, out) in [(0, false), (10, false), (100, false), (450, false), (450, true), (100, true)] {
        // The second leg is down from packet 50,000 on.
        let copies = copies(60_000, MS, MS * skew, |leg, n| lost(n) || (out && leg == 1 && n > 50_000));
        let format = Numbered::Rtp;
        let mut sim = two(format, Hold::default());
        sim.receive_copies(format, &copies, |n| (1, n));
        let counters = sim.check_counters();
        let numbers = (0..60_000).filter(|n| lost(*n)).count() as u64;
        assert_eq!((counters.lost, counters.delivered), (numbers, 60_000 - numbers), "skew {skew}");
        let waits = |from: u64, to: u64| {
            let within = (MS * from as u32)..(MS * to as u32);
            let waits =
                sim.events.iter().filter(|(at, _)| within.contains(at)).filter_map(
                    |(_, event)| match event {
                        Event::GapClosed { waited } => Some(*waited),
                        _ => None,
                    },
                );
            waits.max().unwrap_or_default()
        };
        // Two more packets of the slower leg, 2 ms to the next step, and the minimum hold.
        assert!(waits(30_600, 50_000) <= MS * (skew + 25), "skew {skew}: {:?}", waits(30_600, 50_000));
        if out {
            // A leg counts as down 100 ms after its last packet.
            assert!(waits(50_700, 60_000) <= MS * 25, "skew {skew}: {:?}", waits(50_700, 60_000));
        }
    }
}

/// Two legs with ST 2022-1: the output equals that of an ideal decoder for all packets of both
/// legs. Packets that the slower leg still delivers are not recovered, and permanent losses do not
/// wait for the maximum hold. That holds for legs whose skew is short compared with the decoder's
/// memory (three matrices, or 128 packets): for later repair packets the media is no longer
/// stored.
#[test]
fn paths_with_fec_lose_what_an_ideal_decoder_loses() {
    let seed = seed(17);
    let _repeat = Repeat(seed);
    for (loss, skew) in [(0.0, 50), (0.3, 0), (0.3, 20)] {
        let (columns, rows) = (5, 5);
        let matrices = 1200;
        let sent = stream(columns, rows, matrices);
        let end = FIRST + matrices * 25;
        let mut dice = Dice::new(seed + skew);
        let mut copies = Vec::new();
        let mut received = BTreeSet::new();
        for (place, (number, _)) in sent.iter().enumerate() {
            for leg in [0_u8, 1] {
                // The start, while the spans are unknown, and the end arrive complete.
                if *number < FIRST + 1000 || *number >= end - 50 || !dice.hits(loss) {
                    let at = INTERVAL * (number - FIRST) as u32 + MS * (skew as u32) * u32::from(leg);
                    copies.push((at, leg, place));
                    received.insert(place);
                }
            }
        }
        copies.sort_by_key(|(at, _, place)| (*at, *place));
        let mut sim = Sim::new(Config { legs: 2, fec: Fec::St2022, ..config("rtp") });
        for (at, leg, place) in copies {
            match &sent[place].1 {
                Sent::Media(_, bytes) => sim.packet_from(at, leg, source(1 + leg), bytes),
                Sent::Repair(bytes) => sim.repair_from(at, leg, source(1 + leg), bytes),
            }
        }
        sim.run_until(sim.elapsed() + Duration::from_secs(3));
        let counters = sim.check_counters();
        let left = ideal(received.iter().map(|place| &sent[*place]), end);
        let context =
            format!("loss {loss}, skew {skew}: {counters:?}, longest wait {:?}", sim.longest_wait());
        println!("{context}");
        let given_up = sim.given_up();
        assert_eq!(given_up, left, "{context}");
        assert_eq!(counters.delivered, end - FIRST - counters.lost, "{context}");
        assert_eq!((counters.recovered_spurious, counters.late, counters.sessions), (0, 0, 1), "{context}");
        assert!(loss == 0.0 || counters.recovered_fec > 100, "{context}");
        // Two matrices, the lag of the slower leg with its allowance, and the observed reordering.
        assert!(sim.longest_wait() <= INTERVAL * 50 + MS * (skew as u32 * 9 / 4 + 25), "{context}");
    }
}
