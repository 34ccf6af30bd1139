//! Tests of `hold = "auto"`: minimal on a clean path, the span of the FEC within two matrices, as
//! good as a long hold, and reduced again when it is no longer needed.

use std::time::Duration;

use tidecast_core::relay::{Config, Counters, Fec, Hold};
use tidecast_link::Impairments;

use crate::{
    formats::Numbered,
    harness::{Dice, Event, MS, Repeat, Sim, config, seed, source},
    lab::{Course, Protection},
    st2022::{FIRST, INTERVAL, Sent, stream},
};

/// The hold starts at 50 ms, falls after two windows of 12 s that did not need it, and then stays
/// at its minimum. If FEC is configured, it starts at its maximum, and falls if no repair packet
/// arrives for two seconds.
#[test]
fn hold_stays_at_its_minimum_on_a_clean_path() {
    for (legs, fec) in [(1, Fec::Off), (2, Fec::Off), (1, Fec::St2022)] {
        let format = Numbered::Rtp;
        let mut sim = Sim::new(Config { legs, fec, ..config(format.format()) });
        let mut holds = Vec::new();
        for n in 0..90_000_u64 {
            for leg in 0..legs {
                sim.packet_from(MS * n as u32, leg as u8, source(1), &format.datagram(1, n, n));
            }
            holds.push(sim.relay.timing(sim.now).0);
        }
        let (start, min) = (Duration::from_millis(50), Duration::from_millis(20));
        let fell = holds.iter().position(|hold| *hold == min).expect("it falls");
        assert!((24_000..24_100).contains(&fell), "after two windows: {fell}");
        // The first packets are still being collected.
        let begun = 20;
        let learnt = begun + holds[begun..].iter().position(|hold| *hold == start).expect("it comes down");
        assert_eq!(fec == Fec::Off, learnt == begun, "nothing was promised");
        assert!(learnt < 2_100 && holds[begun..learnt].iter().all(|hold| *hold == 500 * MS), "{learnt}");
        assert!(holds[learnt..fell].iter().all(|hold| *hold == start));
        assert!(holds[fell..].iter().all(|hold| *hold == min));
        let delivered = sim.delivered(|payload| format.identity(payload));
        let mut delays: Vec<_> = delivered.iter().map(|(at, n)| *at - MS * *n as u32).collect();
        delays.sort();
        assert_eq!((delays.len(), delays[delays.len() / 2]), (90_000, Duration::ZERO));
        assert!(!sim.events.iter().any(|(_, event)| matches!(event, Event::GapClosed { .. })));
    }
}

/// A model of losses.
#[derive(Debug, Clone, Copy)]
enum Losses {
    Independent(f64),
    /// Runs with this mean length.
    Bursts(f64, f64),
    /// Exactly this many consecutive packets, about once per second.
    Runs(u64),
}

impl Losses {
    fn gone(self, count: usize, dice: &mut Dice) -> Vec<bool> {
        let mut bad = false;
        let mut gone = Vec::with_capacity(count);
        for n in 0..count as u64 {
            gone.push(match self {
                Losses::Independent(p) => dice.hits(p),
                Losses::Bursts(p, length) => {
                    let turn = if bad { 1.0 / length } else { p / (1.0 - p) / length };
                    bad ^= dice.hits(turn);
                    bad
                }
                Losses::Runs(length) => n % 761 < length,
            });
        }
        gone
    }
}

fn receive(hold: Hold, sent: &[(u64, Sent)], gone: &[bool]) -> (Counters, Sim) {
    let mut sim = Sim::new(Config { hold, fec: Fec::St2022, ..config("rtp") });
    for ((number, sent), gone) in sent.iter().zip(gone) {
        // Two matrices arrive complete: by then the span is known.
        if *number < FIRST + 200 || !gone {
            sim.receive(INTERVAL * (number - FIRST) as u32, sent);
        }
    }
    sim.run_until(sim.elapsed() + Duration::from_secs(3));
    (sim.check_counters(), sim)
}

/// Losses start with the second matrix.
#[test]
fn hold_by_itself_loses_nothing_that_500_ms_would_save() {
    let seed = seed(3);
    let _repeat = Repeat(seed);
    for (columns, rows) in [(10, 10), (5, 5), (20, 5)] {
        let matrices = 100_000 / (u64::from(columns) * u64::from(rows));
        let sent = stream(columns, rows, matrices);
        for losses in [
            Losses::Independent(0.01),
            Losses::Independent(0.05),
            Losses::Independent(0.10),
            Losses::Bursts(0.02, 3.0),
            Losses::Bursts(0.02, 8.0),
            Losses::Runs(10),
        ] {
            let gone = losses.gone(sent.len(), &mut Dice::new(seed));
            let (fixed, _) = receive(Hold::Fixed(500 * MS), &sent, &gone);
            let (auto, sim) = receive(Hold::default(), &sent, &gone);
            let what = format!("{columns}x{rows}, {losses:?}");
            println!("{what}: {} lost with 500 ms, {} by itself", fixed.lost, auto.lost);
            assert_eq!(
                (auto.delivered, auto.lost, auto.recovered_fec),
                (fixed.delivered, fixed.lost, fixed.recovered_fec),
                "{what}"
            );
            let hold = sim.relay.timing(sim.now).0;
            let span = INTERVAL * 2 * u32::from(columns) * u32::from(rows);
            assert!(hold <= span * 5 / 4, "{what}: {hold:?}");
        }
    }
}

/// The same for native blocks, whose span follows from the first repair packets.
#[test]
fn hold_by_itself_is_as_good_as_500_ms_for_native_blocks() {
    let seed = seed(4);
    let _repeat = Repeat(seed);
    let losses = |loss, burst| Impairments { loss, burst, ..Impairments::default() };
    for protection in
        [Protection::native(10, 2, 1), Protection::native(20, 4, 1), Protection::native(20, 4, 4)]
    {
        for model in [losses(0.01, 1.0), losses(0.05, 1.0), losses(0.1, 1.0), losses(0.02, 8.0)] {
            let run = |hold| Course { seed, ..Course::new(protection, model, hold) }.run();
            let (fixed, auto) = (run(Hold::Fixed(500 * MS)), run(Hold::default()));
            let what = format!("{protection}, {model:?}: {:?} at the end", auto.hold);
            println!("{what}: {} lost with 500 ms, {} by itself", fixed.lost.len(), auto.lost.len());
            assert_eq!(auto.lost, fixed.lost, "{what}");
        }
    }
}
