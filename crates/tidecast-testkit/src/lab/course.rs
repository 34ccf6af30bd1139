//! One run of the laboratory: a sender at 8 Mbit/s, its links, and a relay, on a simulated clock.

use std::time::{Duration, Instant};

use tidecast_core::relay::{Counters, Hold, Input, Output, Relay};
use tidecast_link::{Impairments, Link};

use super::{
    ideal::Ideal,
    observer::Observer,
    protection::Protection,
    sender::{Packet, Sender, What},
};

/// Time between two media packets at 8 Mbit/s with seven TS packets each.
pub const INTERVAL: Duration = Duration::from_micros(1316);
/// Time before and after the measured packets during which links lose nothing: the relay
/// determines its hold, and everything is released.
const CLEAN: Duration = Duration::from_secs(2);

/// Parameters of a run.
#[derive(Clone, Copy, Debug)]
pub struct Course {
    pub protection: Protection,
    /// Impairments of each leg, independent of the others. An outage affects the first leg only.
    pub model: Impairments,
    pub hold: Hold,
    /// Number of measured media packets; rounded up to whole groups of the code.
    pub packets: u64,
    pub seed: u64,
    /// How much later repair packets arrive than the media that they follow.
    pub late: Duration,
    /// How much longer the delay of each leg is than that of the previous one.
    pub apart: Duration,
    /// Whether links lose packets from the second packet on, before anything is measured.
    pub cold: bool,
}

/// Results of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Number of measured media packets.
    pub packets: u64,
    /// Number of the first of them.
    pub from: u64,
    /// The packets that were not released, in order.
    pub lost: Vec<u64>,
    /// Number of packets that an ideal decoder misses, given the same packets.
    pub ideal: u64,
    /// Runs of lost packets: their number, mean length and maximum length.
    pub runs: (u64, f64, u64),
    /// Delay of media packets beyond that of the links, sorted, in microseconds.
    pub delays: Vec<u32>,
    /// Packets sent in addition to the media, as a share of it.
    pub overhead: f64,
    /// The hold at the end, and the longest wait of a gap.
    pub hold: Duration,
    pub wait: Duration,
    /// The relay's counters, including the periods without losses before and after.
    pub counters: Counters,
}

/// One leg: a link with the impairments for the measured period, and one with only its delay; two
/// more of both for repair packets that arrive late.
struct Leg {
    bad: Link<Packet>,
    clean: Link<Packet>,
    late: Option<[Link<Packet>; 2]>,
}

impl Leg {
    fn new(course: &Course, model: &Impairments, leg: u8) -> Leg {
        let outage = model.outage.filter(|_| leg == 0);
        let delay = model.delay + course.apart * u32::from(leg);
        let bad = Impairments { outage, delay, ..*model };
        let clean = Impairments { delay, ..Impairments::default() };
        // Seeds of legs are far from those of neighbouring runs.
        let seed = course.seed ^ u64::from(leg) << 32;
        let later = |model: Impairments| Impairments { delay: delay + course.late, ..model };
        let late = (!course.late.is_zero())
            .then(|| [Link::new(later(clean), 0), Link::new(later(bad), seed ^ 1 << 47)]);
        Leg { bad: Link::new(bad, seed), clean: Link::new(clean, 0), late }
    }

    fn links(&mut self) -> impl Iterator<Item = &mut Link<Packet>> {
        [&mut self.clean, &mut self.bad].into_iter().chain(self.late.iter_mut().flatten())
    }

    fn link(&mut self, bad: bool, what: What) -> &mut Link<Packet> {
        match (&mut self.late, what) {
            (Some(late), What::Repair(_)) => &mut late[usize::from(bad)],
            _ if bad => &mut self.bad,
            _ => &mut self.clean,
        }
    }

    fn next_at(&self) -> Option<Instant> {
        [&self.clean, &self.bad].into_iter().chain(self.late.iter().flatten()).filter_map(Link::next_at).min()
    }

    fn pop(&mut self, now: Instant) -> Option<Packet> {
        self.links().find_map(|link| link.pop(now))
    }
}

struct Run {
    legs: Vec<Leg>,
    /// Link for requests in the reverse direction.
    back: Link<Vec<u8>>,
    /// Whether the links lose packets now.
    bad: bool,
    relay: Relay,
    due: Option<Instant>,
    sender: Sender,
    observer: Observer,
    ideal: Ideal,
    seed: u64,
    now: Instant,
    sent: u64,
    /// Number of media packets that the relay received.
    arrived: u64,
}

impl Course {
    /// Creates a run with the usual parameters: no delay between legs or repair packets, and no
    /// losses at the start.
    pub fn new(protection: Protection, model: Impairments, hold: Hold) -> Course {
        let (packets, seed, late, apart, cold) = (50_000, 1, Duration::ZERO, Duration::ZERO, false);
        Course { protection, model, hold, packets, seed, late, apart, cold }
    }

    /// Returns the number of packets in a period without losses and in the measured one, in whole
    /// groups.
    fn lengths(&self) -> (u64, u64) {
        let group = self.protection.group();
        let clean = (CLEAN.as_micros() / INTERVAL.as_micros()) as u64;
        ((clean.div_ceil(group) + 2) * group, self.packets.div_ceil(group) * group)
    }

    /// Runs it. Panics, with the seed, if an output is wrong or a counter is inconsistent.
    pub fn run(&self) -> Outcome {
        let (clean, packets) = self.lengths();
        // Half of the round trip is in each direction.
        let way = self.protection.round_trip.unwrap_or_default() / 2;
        let model = Impairments { delay: self.model.delay.max(way), ..self.model };
        let numbers = if self.cold { 1..packets } else { clean..clean + packets };
        let start = tidecast_net::clock::now();
        let hold = match self.hold {
            Hold::Fixed(hold) => hold,
            Hold::Auto { max, .. } => max,
        };
        let observer =
            Observer::new(self.seed, hold, start, INTERVAL).measuring(numbers.clone(), model.delay);
        let mut run = Run {
            legs: (0..self.protection.legs).map(|leg| Leg::new(self, &model, leg)).collect(),
            // Requests are rare: a burst of losses in the forward direction is over before the
            // next request.
            back: Link::new(Impairments { burst: 1.0, outage: None, ..model }, self.seed ^ 1 << 48),
            bad: false,
            relay: Relay::new(Sender::config(self.protection, self.hold)),
            due: None,
            sender: Sender::new(self.protection.code, self.seed),
            observer,
            ideal: Ideal::default(),
            seed: self.seed,
            now: start,
            sent: 0,
            arrived: 0,
        };
        let end = packets + 2 * clean;
        let mut wire = Vec::new();
        for number in 0..end {
            let at = start + INTERVAL * number as u32;
            run.advance(at);
            run.sender.send(at, number, &mut wire);
            run.bad = numbers.contains(&number);
            run.send(at, &wire);
            wire.clear();
        }
        let longest = model.delay + self.late + self.apart * u32::from(self.protection.legs);
        run.advance(start + INTERVAL * end as u32 + longest + hold + CLEAN);
        run.outcome(numbers, end)
    }
}

impl Run {
    /// Sends a packet on all legs.
    fn send(&mut self, at: Instant, wire: &[Packet]) {
        for packet in wire {
            for leg in &mut self.legs {
                self.sent += 1;
                leg.link(self.bad, packet.what).push(at, packet.clone());
            }
        }
    }

    /// Advances the time: delivers packets and runs timers when they are due.
    fn advance(&mut self, until: Instant) {
        loop {
            let arrival = self.legs.iter().filter_map(Leg::next_at).chain(self.back.next_at()).min();
            let Some(at) = arrival.into_iter().chain(self.due).min().filter(|at| *at <= until) else { break };
            self.now = self.now.max(at);
            if self.due.is_some_and(|due| due <= self.now) {
                self.input(Input::Timeout { now: self.now });
            }
            while let Some(request) = self.back.pop(self.now) {
                let again = self.sender.answer(&request);
                self.send(self.now, &again);
            }
            self.arrive();
        }
    }

    fn arrive(&mut self) {
        for leg in 0..self.legs.len() {
            while let Some(packet) = self.legs[leg].pop(self.now) {
                match packet.what {
                    What::Media(number) | What::Again(number) => self.ideal.media(number),
                    What::Repair(line) => self.ideal.repair(line),
                }
                self.arrived += u64::from(matches!(packet.what, What::Media(_)));
                let (now, leg, bytes) = (self.now, leg as u8, (*packet.bytes).into());
                let source = std::net::SocketAddr::from(([10, 0, 0, 1], 5000));
                self.input(match packet.beside {
                    false => Input::Packet { now, leg, source, bytes },
                    true => Input::Repair { now, leg, source, bytes },
                });
            }
        }
    }

    fn input(&mut self, input: Input) {
        self.relay.handle_input(input);
        self.due = loop {
            match self.relay.poll_output() {
                Output::Timeout(due) => break due,
                Output::Transmit { bytes, .. } => _ = self.back.push(self.now, bytes),
                output => self.observer.see(self.now, &output, &self.sender),
            }
        };
    }

    fn outcome(mut self, numbers: std::ops::Range<u64>, end: u64) -> Outcome {
        let seed = self.seed;
        let counters = self.relay.totals();
        assert_eq!(
            self.observer.next(),
            end,
            "seed {seed}: everything is delivered or given up: {counters:?}"
        );
        assert_eq!(self.relay.held(), 0, "seed {seed}");
        let (received, recovered) = (counters.media_received, counters.recovered());
        assert_eq!(received, self.arrived, "seed {seed}: {counters:?}");
        assert_eq!(
            received + recovered,
            counters.delivered + counters.discarded(),
            "seed {seed}: {counters:?}"
        );
        assert_eq!((counters.expected, counters.delivered + counters.lost), (end, end), "seed {seed}");
        assert_eq!(counters.lost, self.observer.lost.len() as u64, "seed {seed}: {counters:?}");
        let rejected = (counters.corrupt, counters.foreign, counters.rejected, counters.sessions);
        assert_eq!(rejected, (0, 0, 0, 1), "seed {seed}: {counters:?}");
        self.observer.delays.sort_unstable();
        Outcome {
            packets: numbers.end - numbers.start,
            from: numbers.start,
            ideal: self.ideal.left(numbers).len() as u64,
            runs: self.observer.runs(),
            lost: self.observer.lost,
            delays: self.observer.delays,
            overhead: self.sent as f64 / end as f64 - 1.0,
            hold: self.relay.timing(self.now).0,
            wait: self.observer.wait,
            counters,
        }
    }
}

impl Outcome {
    /// Returns the share of media packets that was lost permanently.
    pub fn residual(&self) -> f64 {
        self.lost.len() as f64 / self.packets as f64
    }

    /// Returns that share for the ideal decoder.
    pub fn ideal_residual(&self) -> f64 {
        self.ideal as f64 / self.packets as f64
    }

    /// Returns the standard deviation of that share, estimated from the distribution of losses
    /// over equal periods that are much longer than any burst.
    pub fn deviation(&self) -> f64 {
        const STRETCHES: usize = 200;
        let mut lost = [0.0; STRETCHES];
        for number in &self.lost {
            lost[((number - self.from) * STRETCHES as u64 / self.packets) as usize] += 1.0;
        }
        let mean = self.lost.len() as f64 / STRETCHES as f64;
        let variance = lost.iter().map(|n| (n - mean) * (n - mean)).sum::<f64>() / (STRETCHES - 1) as f64;
        (variance * STRETCHES as f64).sqrt() / self.packets as f64
    }

    /// Returns the delay that this share of packets did not exceed.
    pub fn delay(&self, share: f64) -> Duration {
        let last = self.delays.len().saturating_sub(1);
        let at = (share * last as f64).round() as usize;
        Duration::from_micros(self.delays.get(at).copied().unwrap_or(0).into())
    }
}
