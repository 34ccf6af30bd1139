//! The fault matrix: each fault of a real network and of an attacker, at 500 packets per second,
//! with the wrap of the number space at every packet of the scenario; without protection, and with
//! each kind of it.

use std::{collections::BTreeSet, time::Duration};

use tidecast_core::relay::{Asks, Config, Delay, Fec, Hold, Release};
use tidecast_wire::{
    fec::{
        matrix::{Encoder, Shape},
        rs::Codes,
    },
    native::Kind,
    st2022::Repair,
};

use crate::{
    formats::{self, Numbered, repairs},
    harness::{Dice, Event, MS, Repeat, Sim, config, seed, setting, source},
    lab::ideal::{Ideal, Line},
};

mod again;

const INTERVAL: Duration = Duration::from_millis(2);
/// Number of packets before faults start: joining in mid-stream is normal.
const QUIET: u64 = 50;
const SESSION: u64 = 200;
const FORGED: u64 = 1 << 60;
/// Numbers within which a step forwards may be a loss: four times the number of packets within the
/// longest hold of these tests.
const WINDOW: u64 = 300;

/// Behaviour of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Network {
    Good,
    /// Every second packet overtakes the previous one.
    Swaps,
    /// Every 20th packet arrives after this many later ones.
    Late(u64),
    /// Every packet is duplicated.
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

/// Additional protection against losses and jitter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protection {
    No,
    /// Two repair packets for each ten.
    Native,
    /// 5x5, columns and rows.
    St2022,
    /// A second leg, delayed by three half intervals, with its own losses.
    Legs,
    /// Retransmission of missing packets, from native producers and RIST senders.
    Again,
    /// Paced release: each packet leaves at its source time.
    Paced,
}

#[derive(Debug, Clone, Copy)]
struct Case {
    format: Numbered,
    protection: Protection,
    network: Network,
    restart: Restart,
    /// One forged packet, with its distance from the next number.
    forged: Option<i64>,
    /// The hold; `None` means automatic.
    hold: Option<Duration>,
}

/// One packet as sent.
#[derive(Debug, Clone, Copy)]
struct Sent {
    run: u32,
    number: u64,
    identity: u64,
}

/// A datagram that arrives.
#[derive(Debug, Clone)]
enum Arrival {
    Media {
        leg: u8,
        sent: Sent,
    },
    /// A repair packet, on a separate port if `beside` is set.
    Repair {
        bytes: Vec<u8>,
        beside: bool,
    },
}

/// All arrivals, by half intervals, and the fate of the media.
#[derive(Debug, Default)]
struct Arrivals {
    all: Vec<(u64, Arrival)>,
    /// Number of media packets among them.
    media: u64,
    /// Identities that never arrive, unless they are recovered.
    dropped: BTreeSet<u64>,
    /// Those of them that are recovered.
    rebuilt: BTreeSet<u64>,
}

impl Case {
    fn plain(format: Numbered, network: Network) -> Case {
        let protection = Protection::No;
        Case { format, protection, network, restart: Restart::No, forged: None, hold: Some(150 * MS) }
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
        if self.restart == Restart::NewSession { 1000 + 78 * run } else { 1000 }
    }

    fn datagram(&self, sent: &Sent) -> Vec<u8> {
        let session = self.session(sent.run);
        if (self.format, self.protection) != (Numbered::Native, Protection::Paced) {
            return self.format.datagram(session, sent.number, sent.identity);
        }
        let place = u64::from(sent.run) * SESSION + sent.identity % (1 << 32);
        let micros = 1_700_000_000_000_000 + INTERVAL.as_micros() as u64 * place;
        formats::native(Kind::Data, 7, session, sent.number, micros, &sent.identity.to_be_bytes())
    }

    /// Returns the media packets that arrive on one leg, in half intervals, and the identities of
    /// those that do not.
    fn media(&self, sent: &[Sent], dice: &mut Dice) -> (Vec<(u64, Sent)>, BTreeSet<u64>) {
        let (mut arrivals, mut dropped) = (Vec::new(), BTreeSet::new());
        for (index, packet) in sent.iter().enumerate() {
            let index = index as u64;
            let faulty = index >= QUIET;
            let slot = 2 * index;
            match self.network {
                Network::Swaps if faulty => arrivals.push((2 * (index ^ 1), *packet)),
                Network::Late(by) if faulty && index % 20 == 3 => arrivals.push((slot + 2 * by + 1, *packet)),
                Network::Duplicates if faulty => arrivals.extend([(slot, *packet), (slot + 1, *packet)]),
                Network::Loss if faulty && dice.hits(0.01) && !self.spares(index % SESSION) => {
                    _ = dropped.insert(packet.identity)
                }
                _ => arrivals.push((slot, *packet)),
            }
        }
        (arrivals, dropped)
    }

    /// Returns whether this packet of a run must not be lost. Where a run begins and ends is known
    /// from its first packets and its last one: losses outside of them, which may or may not be
    /// recovered, cannot be detected. A restarted producer no longer has the packets that are
    /// still requested from its previous run.
    fn spares(&self, place: u64) -> bool {
        let last = if self.protection == Protection::Again { 80 } else { 1 };
        self.protection != Protection::No && (place < 2 || place + last >= SESSION)
    }

    /// Returns everything that arrives.
    fn arrivals(&self, sent: &[Sent], dice: &mut Dice) -> Arrivals {
        let (mut media, dropped) = self.media(sent, dice);
        if let Some(offset) = self.forged {
            let at = QUIET + 70;
            let number = sent[at as usize].number as i64 + offset;
            let number = number.rem_euclid(self.format.modulus() as i64) as u64;
            media.push((2 * at + 1, Sent { run: 0, number, identity: FORGED }));
        }
        let on = |leg| move |(slot, sent)| (slot + 3 * u64::from(leg), Arrival::Media { leg, sent });
        let mut arrivals =
            Arrivals { all: media.into_iter().map(on(0)).collect(), dropped, ..Arrivals::default() };
        if self.protection == Protection::Legs {
            let (media, dropped) = self.media(sent, dice);
            arrivals.all.extend(media.into_iter().map(on(1)));
            arrivals.dropped = &arrivals.dropped & &dropped;
        }
        arrivals.media = arrivals.all.len() as u64;
        self.add_repairs(sent, dice, &mut arrivals);
        arrivals.all.sort_by_key(|(slot, _)| *slot);
        arrivals
    }

    /// Adds the repair packets, each half an interval after its last media packet, and the packets
    /// that an ideal decoder recovers with them.
    fn add_repairs(&self, sent: &[Sent], dice: &mut Dice, arrivals: &mut Arrivals) {
        let mut ideal = Ideal::default();
        for (first, run) in sent.chunks(SESSION as usize).enumerate() {
            let base = first as u64 * SESSION;
            for (index, line, bytes) in self.repairs(run) {
                if self.network != Network::Loss || !dice.hits(0.01) {
                    ideal.repair(Line { base: base + line.base, ..line });
                    let beside = self.protection == Protection::St2022;
                    arrivals.all.push((2 * (base + index) + 1, Arrival::Repair { bytes, beside }));
                }
            }
        }
        let came = sent.iter().enumerate().filter(|(_, packet)| !arrivals.dropped.contains(&packet.identity));
        came.for_each(|(index, _)| ideal.media(index as u64));
        let left = ideal.left(0..sent.len() as u64);
        let left: BTreeSet<u64> = left.into_iter().map(|index| sent[index as usize].identity).collect();
        arrivals.rebuilt = &arrivals.dropped - &left;
    }

    /// Returns the repair packets of a run: the packet that each follows, the packets of the run
    /// that it protects, and the datagram.
    fn repairs(&self, run: &[Sent]) -> Vec<(u64, Line, Vec<u8>)> {
        match self.protection {
            Protection::Native => self.native_repairs(run),
            Protection::St2022 => self.matrix_repairs(run),
            _ => Vec::new(),
        }
    }

    fn native_repairs(&self, run: &[Sent]) -> Vec<(u64, Line, Vec<u8>)> {
        let (mut codes, mut all) = (Codes::new(), Vec::new());
        for (block, packets) in run.chunks(10).enumerate() {
            let sources: Vec<(u64, Vec<u8>)> =
                packets.iter().map(|p| (p.identity + 1, p.identity.to_be_bytes().to_vec())).collect();
            let session = self.session(packets[0].run);
            let datagrams = repairs(&mut codes, session, packets[0].number, 2, 1, &sources);
            let base = 10 * block as u64;
            let line =
                |index: usize| Line { base, offset: 1, count: packets.len() as u64, index: index as u32 };
            all.extend(datagrams.into_iter().enumerate().map(|(i, bytes)| (base + 9, line(i), bytes)));
        }
        all
    }

    fn matrix_repairs(&self, run: &[Sent]) -> Vec<(u64, Line, Vec<u8>)> {
        let shape = Shape::new(5, 5, true).expect("a matrix");
        let (mut encoder, mut all) = (Encoder::new(shape, 3, 4), Vec::new());
        for (index, packet) in run.iter().enumerate() {
            let mut repairs = Vec::new();
            encoder.media(&self.datagram(packet), &mut repairs);
            for repair in repairs {
                let parsed = Repair::parse(&repair.bytes).expect("a repair packet");
                let back = (packet.number as u16).wrapping_sub(parsed.base());
                let base = index as u64 - u64::from(back);
                let line = Line { base, offset: parsed.offset(), count: parsed.count(), index: 0 };
                all.push((index as u64, line, repair.bytes));
            }
        }
        all
    }

    fn config(&self) -> Config {
        let hold = self.hold.map_or(Hold::default(), Hold::Fixed);
        let fec = if self.protection == Protection::St2022 { Fec::St2022 } else { Fec::Off };
        let legs = if self.protection == Protection::Legs { 2 } else { 1 };
        let requests = self.protection == Protection::Again;
        let asks = vec![Asks { rist: self.format == Numbered::Rtp && requests, requests, shared: false }];
        let paced = self.protection == Protection::Paced;
        let release = if paced { Release::Paced(Delay::Auto) } else { Release::Asap };
        Config { hold, fec, legs, asks, release, ..config(self.format.format()) }
    }

    fn run(&self, start: u64, seed: u64) {
        let sent = self.sent(start);
        let mut dice = Dice::new(seed);
        let mut arrivals = self.arrivals(&sent, &mut dice);
        let mut sim = Sim::new(self.config());
        if self.protection == Protection::Again {
            self.run_asking(&mut sim, &sent, &mut arrivals, dice);
        } else {
            arrivals.all.iter().for_each(|(slot, arrival)| self.feed(&mut sim, *slot, arrival));
        }
        let end = sim.elapsed();
        sim.run_until(end + Duration::from_secs(2));
        self.check(&mut sim, start, &sent, &arrivals);
    }

    fn feed(&self, sim: &mut Sim, slot: u64, arrival: &Arrival) {
        let at = INTERVAL / 2 * slot as u32;
        match arrival {
            Arrival::Media { leg, sent } => sim.packet_from(at, *leg, source(1), &self.datagram(sent)),
            Arrival::Repair { bytes, beside: false } => sim.packet(at, bytes),
            Arrival::Repair { bytes, beside: true } => sim.repair_from(at, 0, source(1), bytes),
        }
    }

    fn check(&self, sim: &mut Sim, start: u64, sent: &[Sent], arrivals: &Arrivals) {
        let context = || format!("{self:?} from number {start}");
        let dropped = &(&arrivals.dropped - &arrivals.rebuilt);
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
        // If packets may be recovered, the hold starts at its maximum.
        let plain = matches!(self.protection, Protection::No | Protection::Paced);
        let start = if plain && self.format != Numbered::Native { 50 * MS } else { 500 * MS };
        let hold = self.hold.unwrap_or(start);
        let silence = delivered.windows(2).map(|w| (w[1].0 - w[0].0, w[0].1)).max().unwrap();
        let gone = if self.protection == Protection::Paced { self.seems_lost(sent) } else { 0 };
        let most = hold + 10 * MS + INTERVAL * gone as u32;
        assert!(silence.0 <= most, "{}: silent for {silence:?}", context());
        let counters = sim.check_counters();
        assert_eq!(sim.relay.held(), 0, "{}", context());
        assert_eq!(counters.delivered, expected.len() as u64, "{}", context());
        if self.format != Numbered::Custom8 && self.restart != Restart::ToZero {
            assert_eq!(counters.expected, counters.delivered + counters.lost, "{}", context());
            assert_eq!(counters.lost, self.visible(sent, dropped), "{}: {counters:?}", context());
            let sessions = 1 + u64::from(self.restart != Restart::No);
            assert_eq!(counters.sessions, sessions, "{}", context());
        }
        let forged = u64::from(self.forged.is_some());
        // With several legs, a number far below may be a late copy, so it counts as a duplicate.
        let rejected = if self.protection == Protection::Legs {
            counters.rejected.max(forged)
        } else {
            counters.rejected
        };
        assert_eq!(rejected, forged, "{}: {counters:?}", context());
        assert_eq!(counters.media_received, arrivals.media, "{}: {counters:?}", context());
        // A recovered packet that arrives after all counts as a duplicate.
        let spurious = if self.protection == Protection::Again { 0 } else { counters.recovered_spurious };
        let rebuilt = counters.recovered_fec - spurious;
        assert_eq!(rebuilt, arrivals.rebuilt.len() as u64, "{}: {counters:?}", context());
        let discarded = (counters.late, counters.corrupt, counters.foreign);
        assert_eq!(discarded, (0, 0, 0), "{}: {counters:?}", context());
        if self.restart == Restart::NewSession && self.format == Numbered::Rtp {
            let succeeded =
                sim.events.iter().any(|(_, event)| matches!(event, Event::Started { succeeds: Some(_), .. }));
            assert!(succeeded, "{}", context());
        }
        sim.finish();
        assert_eq!(sim.relay.bytes_held(), 0, "{}", context());
    }

    /// Returns the number of losses that a receiver can detect: those with a packet of the same
    /// run before and after them. A native session is known to start at 0.
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

    /// Returns the numbers that seem to be lost after a restart slightly ahead: if packets leave
    /// at their source times, the times of the missing ones pass.
    fn seems_lost(&self, sent: &[Sent]) -> u64 {
        let runs = sent.get(SESSION as usize - 1).zip(sent.get(SESSION as usize));
        let modulus = self.format.modulus();
        let ahead = runs.map_or(0, |(old, new)| (new.number + modulus - old.number) % modulus);
        if self.restart != Restart::NewSession && ahead < WINDOW { ahead } else { 0 }
    }

    /// Returns the start numbers for which the wrap falls on each packet sent.
    /// `TIDECAST_SIM_PHASES=all` selects all.
    fn phases(&self, step: usize) -> Vec<u64> {
        let modulus = self.format.modulus();
        if self.format == Numbered::Native {
            return vec![1000, 123_456_789_012];
        }
        if setting("TIDECAST_SIM_PHASES", String::new()) == "all" || self.format == Numbered::Custom8 {
            return (0..modulus).collect();
        }
        let wraps = self.sent(0).iter().map(|p| (modulus - p.number) % modulus).collect::<BTreeSet<_>>();
        // A restart at 0 from numbers near 0, on either side: within the reorder window, at its
        // edge, and beyond.
        let near = (0..1200).filter(|_| self.restart == Restart::ToZero).map(|n| modulus - SESSION - 700 + n);
        wraps.into_iter().chain(near).map(|start| start % modulus).step_by(step).collect()
    }

    /// Returns whether the restart is such a small step backwards that its packets have numbers
    /// that the old run was about to use, or still waits for, before they can be confirmed.
    fn ambiguous(&self, start: u64) -> bool {
        let sent = self.sent(start);
        let (Some(old), Some(new)) = (sent.get(SESSION as usize - 1), sent.get(SESSION as usize)) else {
            return false;
        };
        let back = (old.number + self.format.modulus() - new.number) % self.format.modulus();
        // A number for which a gap of the old run still waits may be one of the new run.
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

/// Runs every fault with this protection.
fn protected(protection: Protection, format: Numbered, step: usize) {
    let case = |network| Case { protection, ..Case::plain(format, network) };
    NETWORKS.into_iter().for_each(|network| case(network).run_phases(step));
    let has_session = matches!(format, Numbered::Native | Numbered::Rtp);
    for network in DISTURBED {
        let restarts = RESTARTS.into_iter().filter(|restart| has_session || *restart != Restart::NewSession);
        restarts.for_each(|restart| Case { restart, ..case(network) }.run_phases(step));
        FORGERIES.into_iter().for_each(|by| Case { forged: Some(by), ..case(network) }.run_phases(step));
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
        // The automatic hold first has to learn the delay of 80 ms.
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

/// In a space of 256 numbers most jumps look like reordering, so only faults of the network are
/// tested.
#[test]
fn custom_u8() {
    networks(Numbered::Custom8, FIXED, 1);
}

#[test]
fn native_with_fec() {
    protected(Protection::Native, Numbered::Native, 1);
}

#[test]
fn rtp_with_st2022() {
    protected(Protection::St2022, Numbered::Rtp, 7);
}

#[test]
fn rtp_on_two_legs() {
    protected(Protection::Legs, Numbered::Rtp, 7);
}

#[test]
fn native_on_two_legs() {
    protected(Protection::Legs, Numbered::Native, 1);
}

#[test]
fn custom_u16_on_two_legs() {
    protected(Protection::Legs, Numbered::Custom16, 16);
}

#[test]
fn native_that_asks_again() {
    protected(Protection::Again, Numbered::Native, 1);
}

#[test]
fn rist_that_asks_again() {
    protected(Protection::Again, Numbered::Rtp, 7);
}

#[test]
fn rtp_paced() {
    protected(Protection::Paced, Numbered::Rtp, 7);
}

#[test]
fn native_paced() {
    protected(Protection::Paced, Numbered::Native, 1);
}

#[test]
fn custom_u16_paced() {
    protected(Protection::Paced, Numbered::Custom16, 16);
}

/// A producer restarts its numbering from a lower number, while each leg loses different packets.
#[test]
fn lower_numbers_on_two_legs_that_lose() {
    for format in [Numbered::Rtp, Numbered::Native, Numbered::Custom16] {
        for restart in [Restart::Backwards(400), Restart::ToZero] {
            let case = Case::plain(format, Network::Loss);
            Case { protection: Protection::Legs, restart, ..case }.run_phases(7);
        }
    }
}

/// Numbers at which a run over all phases failed once: a restart to just beyond the previous
/// window, while a loss lets the rate, and therefore the window, change.
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
