//! Tests of several legs: the first copy of each number counts, however late a leg's copies are.

use std::time::Duration;

use tidecast_core::relay::Config;

use crate::{
    formats::Numbered,
    harness::{MS, Sim, config, source},
};

/// Runs one stream of 1,000 packets/s on two legs; the second joins when `from` packets have been
/// sent, and lags.
fn two_legs(format: Numbered, lag: u64, from: u64) -> Sim {
    const PACKETS: u64 = 4000;
    let mut sim = Sim::new(Config { legs: 2, ..config(format.format()) });
    // Both are read in batches of five, as on a tick.
    for batch in 0..(PACKETS + lag) / 5 {
        let at = 5 * MS * batch as u32;
        for n in batch * 5..batch * 5 + 5 {
            if n < PACKETS {
                sim.packet_from(at, 0, source(1), &format.datagram(1, n, n));
            }
        }
        for n in (batch * 5..batch * 5 + 5).filter_map(|n| n.checked_sub(lag)).filter(|n| *n >= from) {
            sim.packet_from(at, 1, source(1), &format.datagram(1, n, n));
        }
    }
    sim.run_until(Duration::from_secs(20));
    let counters = sim.check_counters();
    let context = format!("{format:?}, lag {lag}, from {from}: {counters:?}");
    let delivered = sim.delivered(|payload| format.identity(payload));
    assert_eq!(delivered.len() as u64, PACKETS, "{context}");
    assert!(delivered.iter().map(|(_, n)| *n).eq(0..PACKETS), "{context}");
    assert_eq!((counters.sessions, counters.lost), (1, 0), "{context}");
    sim
}

#[test]
fn a_leg_may_lag_by_any_skew_from_the_start_or_later() {
    for format in [Numbered::Rtp, Numbered::Native, Numbered::Custom16] {
        for lag in [0, 1, 50, 200, 300, 450, 1000] {
            for from in [0, 1000] {
                two_legs(format, lag, from);
            }
        }
    }
}

/// A restart of the producer that arrives on both legs, one after the other, is one restart.
#[test]
fn a_restart_on_two_legs_is_one_restart() {
    for (restart, lag) in [(0, 0), (0, 20), (30_000, 20), (600, 20), (0, 100)] {
        let format = Numbered::Rtp;
        let mut sim = Sim::new(Config { legs: 2, ..config(format.format()) });
        let packet = |n: u64| {
            let number = if n < 1000 { 1000 + n } else { restart + n - 1000 };
            format.datagram(1, number, n)
        };
        for n in 0..2000 + lag {
            let at = 2 * MS * n as u32;
            if n < 2000 {
                sim.packet_from(at, 0, source(1), &packet(n));
            }
            if n >= lag {
                sim.packet_from(at, 1, source(1), &packet(n - lag));
            }
        }
        sim.run_until(Duration::from_secs(20));
        let counters = sim.check_counters();
        let delivered = sim.delivered(|payload| format.identity(payload));
        let context = format!("to {restart}, lag {lag}: {counters:?}");
        assert!(delivered.iter().map(|(_, n)| *n).eq(0..2000), "{context}, delivered {}", delivered.len());
        assert_eq!((counters.sessions, counters.lost), (2, 0), "{context}");
    }
}
