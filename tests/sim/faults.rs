//! The fault matrix: each fault of a real network and of a hostile one, at 500 packets a second, with the wrap of
//! the number space at every packet of the scenario.

use std::{collections::BTreeSet, time::Duration};

use tidecast::relay::{Config, Hold};

use crate::{
    formats::Numbered,
    harness::{Dice, Event, MS, Repeat, Sim, config, seed, setting},
};

const INTERVAL: Duration = Duration::from_millis(2);
/// Faults begin after so many packets: joining in mid-stream is normal.
const QUIET: u64 = 50;
const SESSION: u64 = 200;
const FORGED: u64 = 1 << 60;

/// What the network does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Network {
    Good,
    /// Every second packet overtakes the one before it.
    Swaps,
    /// Every 20th packet comes after so many later ones.
    Late(u64),
    /// Every packet comes twice.
    Duplicates,
    /// One packet in a hundred is lost.
    Loss,
}

/// How the producer starts again after [`SESSION`] packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Restart {
    No,
    Forwards(u64),
    Backwards(u64),
    ToZero,
    NewSession,
}

#[derive(Debug, Clone, Copy)]
struct Case {
    format: Numbered,
    network: Network,
    restart: Restart,
    /// One packet that nobody sent, so far from the number that is due.
    forged: Option<i64>,
    /// None: automatic.
    hold: Option<Duration>,
}

/// One packet as sent.
#[derive(Debug, Clone, Copy)]
struct Sent {
    run: u32,
    number: u64,
    identity: u64,
}

impl Case {
    fn plain(format: Numbered, network: Network) -> Case {
        Case { format, network, restart: Restart::No, forged: None, hold: Some(150 * MS) }
    }

    fn sent(&self, start: u64) -> Vec<Sent> {
        let modulus = self.format.modulus();
        let runs = if self.restart == Restart::No { 1 } else { 2 };
        let second = match self.restart {
            Restart::Forwards(by) => start + SESSION + by,
            Restart::Backwards(by) => start + modulus + SESSION - by,
            Restart::No | Restart::ToZero => 0,
            Restart::NewSession if self.format == Numbered::Native => 0,
            Restart::NewSession => start * 31 + 7,
        };
        let packet = |index: u64| {
            let (run, in_run) = (index / SESSION, index % SESSION);
            let number = [start, second][run as usize] + in_run;
            Sent { run: run as u32, number: number % modulus, identity: run << 32 | in_run }
        };
        (0..runs * SESSION).map(packet).collect()
    }

    fn session(&self, run: u32) -> u32 {
        if self.restart == Restart::NewSession { 1000 + 77 * run } else { 1000 }
    }

    fn datagram(&self, sent: &Sent) -> Vec<u8> {
        self.format.datagram(self.session(sent.run), sent.number, sent.identity)
    }

    /// What arrives, in half intervals, and the identities of what does not.
    fn arrivals(&self, sent: &[Sent], dice: &mut Dice) -> (Vec<(u64, Sent)>, BTreeSet<u64>) {
        let (mut arrivals, mut dropped) = (Vec::new(), BTreeSet::new());
        for (index, packet) in sent.iter().enumerate() {
            let index = index as u64;
            let faulty = index >= QUIET;
            let slot = 2 * index;
            match self.network {
                Network::Swaps if faulty => arrivals.push((2 * (index ^ 1), *packet)),
                Network::Late(by) if faulty && index % 20 == 3 => arrivals.push((slot + 2 * by + 1, *packet)),
                Network::Duplicates if faulty => arrivals.extend([(slot, *packet), (slot + 1, *packet)]),
                Network::Loss if faulty && dice.hits(0.01) => _ = dropped.insert(packet.identity),
                _ => arrivals.push((slot, *packet)),
            }
        }
        if let Some(offset) = self.forged {
            let at = QUIET + 70;
            let number = sent[at as usize].number as i64 + offset;
            let number = number.rem_euclid(self.format.modulus() as i64) as u64;
            arrivals.push((2 * at + 1, Sent { run: 0, number, identity: FORGED }));
        }
        arrivals.sort_by_key(|(slot, _)| *slot);
        (arrivals, dropped)
    }

    fn config(&self) -> Config {
        let hold = self.hold.map_or(Hold::default(), Hold::Fixed);
        Config { hold, ..config(self.format.format()) }
    }

    fn run(&self, start: u64, seed: u64) {
        let sent = self.sent(start);
        let (arrivals, dropped) = self.arrivals(&sent, &mut Dice::new(seed));
        let mut sim = Sim::new(self.config());
        for (slot, packet) in &arrivals {
            sim.packet(INTERVAL / 2 * *slot as u32, &self.datagram(packet));
        }
        let end = sim.elapsed();
        sim.run_until(end + Duration::from_secs(2));
        self.check(&mut sim, start, &sent, &dropped);
    }

    fn check(&self, sim: &mut Sim, start: u64, sent: &[Sent], dropped: &BTreeSet<u64>) {
        let context = || format!("{self:?} from number {start}");
        let delivered = sim.delivered(|payload| self.format.identity(payload));
        let expected: Vec<u64> =
            sent.iter().map(|p| p.identity).filter(|identity| !dropped.contains(identity)).collect();
        let got: Vec<u64> = delivered.iter().map(|(_, identity)| *identity).collect();
        if got != expected {
            let place = got.iter().zip(&expected).take_while(|(a, b)| a == b).count();
            let show = |list: &[u64]| {
                let around = list.iter().skip(place.saturating_sub(3)).take(12);
                around.map(|i| format!("{}/{}", i >> 32, i & 0xffff)).collect::<Vec<_>>().join(" ")
            };
            panic!(
                "{}: delivered {} of {}; from place {place}:\n {}\ninstead of\n {}\n{:?}",
                context(),
                got.len(),
                expected.len(),
                show(&got),
                show(&expected),
                sim.relay.totals(),
            );
        }
        let hold = self.hold.unwrap_or(50 * MS);
        let silence = delivered.windows(2).map(|w| (w[1].0 - w[0].0, w[0].1)).max().unwrap();
        assert!(silence.0 <= hold + 10 * MS, "{}: silent for {silence:?}", context());
        let counters = sim.check_counters();
        assert_eq!(sim.relay.held(), 0, "{}", context());
        assert_eq!(counters.delivered, expected.len() as u64, "{}", context());
        if self.format != Numbered::Custom8 && self.restart != Restart::ToZero {
            assert_eq!(counters.expected, counters.delivered + counters.lost, "{}", context());
            assert_eq!(counters.lost, self.visible(sent, dropped), "{}: {counters:?}", context());
            let sessions = 1 + u64::from(self.restart != Restart::No);
            assert_eq!(counters.sessions, sessions, "{}", context());
        }
        assert_eq!(counters.rejected, u64::from(self.forged.is_some()), "{}: {counters:?}", context());
        if self.restart == Restart::NewSession && self.format == Numbered::Rtp {
            let succeeded =
                sim.events.iter().any(|(_, event)| matches!(event, Event::Started { succeeds: Some(_), .. }));
            assert!(succeeded, "{}", context());
        }
        sim.finish();
        assert_eq!(sim.relay.bytes_held(), 0, "{}", context());
    }

    /// Losses that a receiver can know of: with a packet of the run before and after them. A native session is
    /// known to begin at 0.
    fn visible(&self, sent: &[Sent], dropped: &BTreeSet<u64>) -> u64 {
        let runs = 0..=sent.last().unwrap().run;
        let in_run = |run| {
            let of_run: Vec<bool> =
                sent.iter().filter(|p| p.run == run).map(|p| dropped.contains(&p.identity)).collect();
            let first = of_run.iter().position(|dropped| !dropped).unwrap();
            let last = of_run.iter().rposition(|dropped| !dropped).unwrap();
            let from_zero = self.format == Numbered::Native && self.restart == Restart::NewSession && run > 0;
            let seen = if from_zero { 0 } else { first };
            of_run[seen..last].iter().filter(|dropped| **dropped).count() as u64
        };
        runs.map(in_run).sum()
    }

    /// The start numbers with which the wrap falls on each packet sent. `TIDECAST_SIM_PHASES=all`: all.
    fn phases(&self, step: usize) -> Vec<u64> {
        let modulus = self.format.modulus();
        if self.format == Numbered::Native {
            return vec![1000, 123_456_789_012];
        }
        if setting("TIDECAST_SIM_PHASES", String::new()) == "all" || self.format == Numbered::Custom8 {
            return (0..modulus).collect();
        }
        let wraps = self.sent(0).iter().map(|p| (modulus - p.number) % modulus).collect::<BTreeSet<_>>();
        // A restart at 0 from near it, on either side: within the reorder window, at its edge, and beyond.
        let near = (0..1200).filter(|_| self.restart == Restart::ToZero).map(|n| modulus - SESSION - 700 + n);
        wraps.into_iter().chain(near).map(|start| start % modulus).step_by(step).collect()
    }

    /// Whether the restart is so small a step backwards that its packets have the numbers which the old run was
    /// about to use, or still waits for, before they can be confirmed.
    fn ambiguous(&self, start: u64) -> bool {
        let sent = self.sent(start);
        let (Some(old), Some(new)) = (sent.get(SESSION as usize - 1), sent.get(SESSION as usize)) else {
            return false;
        };
        let back = (old.number + self.format.modulus() - new.number) % self.format.modulus();
        // What a gap of the old run still waits for may be a number of the new one.
        let waiting = self.hold.unwrap_or(50 * MS).as_micros().div_ceil(INTERVAL.as_micros()) as u64;
        let confirmed_after = if self.network == Network::Good { 1 } else { waiting.max(64) };
        self.restart != Restart::NewSession && back < confirmed_after
    }

    fn run_phases(&self, step: usize) {
        let seed = seed(1);
        let _repeat = Repeat(seed);
        for start in self.phases(step).into_iter().filter(|start| !self.ambiguous(*start)) {
            self.run(start, seed ^ start);
        }
    }
}

const NETWORKS: [Network; 6] =
    [Network::Good, Network::Swaps, Network::Late(8), Network::Late(40), Network::Duplicates, Network::Loss];
const RESTARTS: [Restart; 4] =
    [Restart::Forwards(30_000), Restart::Backwards(400), Restart::ToZero, Restart::NewSession];
const DISTURBED: [Network; 4] = [Network::Good, Network::Swaps, Network::Late(8), Network::Loss];
const FORGERIES: [i64; 3] = [2000, -2000, 20_000];

fn networks(format: Numbered, hold: Option<Duration>, step: usize) {
    for network in NETWORKS {
        // The automatic hold has to learn of 80 ms first.
        if hold.is_some() || network != Network::Late(40) {
            Case { hold, ..Case::plain(format, network) }.run_phases(step);
        }
    }
}

fn restarts(format: Numbered, hold: Option<Duration>, step: usize) {
    for restart in RESTARTS {
        // The custom formats have no session id.
        let has_session = matches!(format, Numbered::Native | Numbered::Rtp);
        for network in DISTURBED {
            if has_session || restart != Restart::NewSession {
                Case { restart, hold, ..Case::plain(format, network) }.run_phases(step);
            }
        }
    }
}

fn forgeries(format: Numbered, hold: Option<Duration>, step: usize) {
    for offset in FORGERIES {
        for network in DISTURBED {
            Case { forged: Some(offset), hold, ..Case::plain(format, network) }.run_phases(step);
        }
    }
}

const FIXED: Option<Duration> = Some(Duration::from_millis(150));

#[test]
fn rtp_networks() {
    networks(Numbered::Rtp, FIXED, 1);
}

#[test]
fn rtp_restarts() {
    restarts(Numbered::Rtp, FIXED, 1);
}

#[test]
fn rtp_forgeries() {
    forgeries(Numbered::Rtp, FIXED, 1);
}

#[test]
fn rtp_with_automatic_hold() {
    networks(Numbered::Rtp, None, 16);
    restarts(Numbered::Rtp, None, 16);
    forgeries(Numbered::Rtp, None, 16);
}

#[test]
fn native() {
    for hold in [FIXED, None] {
        networks(Numbered::Native, hold, 1);
        restarts(Numbered::Native, hold, 1);
        forgeries(Numbered::Native, hold, 1);
    }
}

#[test]
fn custom_u16() {
    for hold in [FIXED, None] {
        networks(Numbered::Custom16, hold, 16);
        restarts(Numbered::Custom16, hold, 16);
        forgeries(Numbered::Custom16, hold, 16);
    }
}

/// In a space of 256 numbers most jumps look like reordering, so only what a network does to it is tried.
#[test]
fn custom_u8() {
    networks(Numbered::Custom8, FIXED, 1);
}

/// Numbers at which a run over all phases has failed once: a restart to just beyond the window as it was, while a
/// loss lets the rate, and so the window, move.
#[test]
fn failed_once() {
    let case =
        Case { restart: Restart::ToZero, hold: None, ..Case::plain(Numbered::Custom16, Network::Loss) };
    for start in 65_236..65_252 {
        if !case.ambiguous(start) {
            case.run(start, 1 ^ start);
        }
    }
}
