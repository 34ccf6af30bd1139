//! A relay on a simulated clock: runs its timers when they are due and records its output.

use std::{
    collections::HashMap,
    env,
    net::SocketAddr,
    str::FromStr,
    time::{Duration, Instant},
};

use rand_pcg::{Pcg32, rand_core::Rng};
use tidecast_core::{
    buffer::Buffer,
    limits::SILENCE_MAX,
    relay::{Config, Counters, FlowId, Hold, How, Input, Output, Relay, Socket},
};
use tidecast_wire::Format;

use crate::steps::Steps;

/// Returns the seed of this run: from the environment, otherwise `usual`.
pub fn seed(usual: u64) -> u64 {
    setting("TIDECAST_SEED", usual)
}

/// Returns a number from the environment.
pub fn setting<T: FromStr>(name: &str, usual: T) -> T {
    env::var(name).ok().map_or(usual, |text| text.parse().ok().unwrap_or_else(|| panic!("{name}={text}")))
}

/// Prints how to repeat the run if the test fails.
pub struct Repeat(pub u64);

impl Drop for Repeat {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("to repeat: TIDECAST_SEED={}", self.0);
        }
    }
}

/// Seeded random choices.
pub struct Dice(Pcg32);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(Pcg32::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15), 7))
    }

    pub fn any(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Returns a number below `end`, which is not 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.any() % end
    }

    pub fn hits(&mut self, probability: f64) -> bool {
        (self.any() >> 11) as f64 / (1_u64 << 53) as f64 <= probability
    }
}

/// An output of the relay.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    Delivered { flow: FlowId, seq: u64, how: How, bytes: Vec<u8>, payload: Vec<u8>, timestamp: Option<u64> },
    Control { flow: FlowId, seq: u64, bytes: Vec<u8> },
    Lost { flow: FlowId, from: u64, count: u64 },
    GapClosed { waited: Duration },
    Transmit { to: SocketAddr, from: Socket, bytes: Vec<u8> },
    Started { flow: FlowId, succeeds: Option<FlowId> },
    Succeeded { flow: FlowId, succeeds: FlowId },
    Unnumbered,
    Collision { first: SocketAddr, other: SocketAddr },
    Ended { flow: FlowId },
    Carries { flow: FlowId, stream: bool },
}

/// One relay, its clock, and its output so far.
pub struct Sim {
    pub relay: Relay,
    pub now: Instant,
    start: Instant,
    pub events: Vec<(Duration, Event)>,
    /// Whether events are recorded.
    pub record: bool,
    due: Option<Instant>,
    stalled: u32,
    /// Maximum time that a gap may wait if more than one packet waits for it.
    pub hold_max: Duration,
    /// Number of packets held back before the last input, if that is quick to determine.
    held: usize,
    /// For each flow, the number after the last one that was delivered or given up.
    passed: HashMap<FlowId, u64>,
    /// Relays that take the same packets with other numbers.
    steps: Option<Box<Steps>>,
}

impl Drop for Sim {
    fn drop(&mut self) {
        if let Some(steps) = self.steps.as_mut().filter(|_| !std::thread::panicking()) {
            steps.compare();
        }
    }
}

pub fn source(host: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, host], 5000))
}

impl Sim {
    pub fn new(config: Config) -> Sim {
        let steps = Steps::beside(&config);
        let mut sim = Sim::bare(config);
        sim.steps = steps;
        sim
    }

    /// Creates a relay without such additional relays.
    pub fn bare(config: Config) -> Sim {
        let start = tidecast_net::clock::now() + Duration::from_secs(1000);
        let hold_max = match config.hold {
            Hold::Fixed(hold) => hold,
            Hold::Auto { max, .. } => max,
        };
        Sim {
            hold_max,
            held: 0,
            passed: HashMap::new(),
            steps: None,
            relay: Relay::new(config),
            now: start,
            start,
            events: Vec::new(),
            record: true,
            due: None,
            stalled: 0,
        }
    }

    pub fn fixed(format: &str, hold: Duration) -> Sim {
        Sim::new(Config { hold: Hold::Fixed(hold), ..config(format) })
    }

    pub fn at(&self, since_start: Duration) -> Instant {
        self.start + since_start
    }

    pub fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    /// Feeds a datagram that arrives at this time after the start.
    pub fn packet(&mut self, at: Duration, bytes: &[u8]) {
        self.packet_from(at, 0, source(1), bytes);
    }

    pub fn packet_from(&mut self, at: Duration, leg: u8, source: SocketAddr, bytes: &[u8]) {
        self.run_until(at);
        if let Some(steps) = &mut self.steps {
            steps.packet(at, leg, source, bytes, self.record);
        }
        self.input(Input::Packet { now: self.now, leg, source, bytes: Buffer::from(bytes) });
    }

    /// Feeds a datagram on a port for repair packets.
    pub fn repair_from(&mut self, at: Duration, leg: u8, source: SocketAddr, bytes: &[u8]) {
        self.run_until(at);
        self.input(Input::Repair { now: self.now, leg, source, bytes: Buffer::from(bytes) });
    }

    /// Records that the kernel dropped datagrams before the next one.
    pub fn dropped(&mut self, at: Duration, leg: u8, count: u64) {
        self.run_until(at);
        if let Some(steps) = &mut self.steps {
            steps.dropped(at, leg, count);
        }
        self.input(Input::Dropped { now: self.now, leg, count });
    }

    /// Feeds a datagram on the port for RTCP.
    pub fn control_from(&mut self, at: Duration, leg: u8, source: SocketAddr, bytes: &[u8]) {
        self.run_until(at);
        self.input(Input::Control { now: self.now, leg, source, bytes: Buffer::from(bytes) });
    }

    fn input(&mut self, input: Input) {
        self.stalled = 0;
        self.relay.handle_input(input);
        self.drain();
    }

    /// Advances the time, and runs all timers when they are due.
    pub fn run_until(&mut self, at: Duration) {
        if let Some(steps) = &mut self.steps {
            steps.run_until(at);
        }
        let until = self.at(at);
        while let Some(due) = self.due.filter(|due| *due <= until) {
            self.stalled = if due > self.now { 0 } else { self.stalled + 1 };
            assert!(self.stalled < 1000, "a timer fires for ever at {:?}", self.elapsed());
            self.now = self.now.max(due);
            self.relay.handle_input(Input::Timeout { now: self.now });
            self.drain();
        }
        self.now = self.now.max(until);
    }

    pub fn finish(&mut self) {
        self.relay.finish(self.now);
        self.drain();
    }

    fn drain(&mut self) {
        let at = self.elapsed();
        self.due = loop {
            let output = self.relay.poll_output();
            self.observe(&output);
            let event = match output {
                Output::Timeout(due) => break due,
                Output::Report { .. } => continue,
                _ if !self.record => continue,
                Output::Deliver(delivery) => Event::Delivered {
                    flow: delivery.flow,
                    seq: delivery.seq,
                    how: delivery.how,
                    payload: delivery.packet.payload().to_vec(),
                    bytes: delivery.packet.bytes.to_vec(),
                    timestamp: delivery.packet.timestamp,
                },
                Output::Control(delivery) => Event::Control {
                    flow: delivery.flow,
                    seq: delivery.seq,
                    bytes: delivery.packet.bytes.to_vec(),
                },
                Output::Lost { flow, from, count } => Event::Lost { flow, from, count },
                Output::Transmit { from, to, bytes, .. } => Event::Transmit { to, from, bytes },
                Output::GapClosed { waited, .. } => Event::GapClosed { waited },
                Output::SessionStarted { flow, succeeds, .. } => Event::Started { flow, succeeds },
                Output::Succeeded { flow, succeeds } => Event::Succeeded { flow, succeeds },
                Output::Unnumbered { .. } => Event::Unnumbered,
                Output::Collision { first, other, .. } => Event::Collision { first, other },
                Output::FlowEnded { flow } => Event::Ended { flow },
                Output::Carries { flow, stream } => Event::Carries { flow, stream },
            };
            self.events.push((at, event));
        };
        self.held = if self.relay.flow_count() <= 4 { self.relay.held() } else { 0 };
    }

    /// Checks that there is no order violation, no duplicate, no delivery after a skip, and no gap
    /// that waits longer than the hold.
    fn observe(&mut self, output: &Output) {
        match output {
            Output::Deliver(delivery) => self.passes(delivery.flow, delivery.seq, 1),
            Output::Lost { flow, from, count } => self.passes(*flow, *from, *count),
            Output::GapClosed { waited, .. } => {
                let alone = self.held <= 1 && *waited <= SILENCE_MAX;
                assert!(*waited <= self.hold_max || alone, "a gap waited {waited:?}");
            }
            // A new run has its own numbers.
            Output::SessionStarted { flow, .. } | Output::FlowEnded { flow } => _ = self.passed.remove(flow),
            _ => {}
        }
    }

    fn passes(&mut self, flow: FlowId, from: u64, count: u64) {
        let next = self.passed.insert(flow, from + count);
        assert!(
            next.is_none_or(|next| from >= next),
            "{flow:?}: {from} at {:?} after {next:?}",
            self.elapsed()
        );
    }

    /// Checks that every datagram and every number is counted exactly once.
    pub fn check_counters(&self) -> Counters {
        let counters = self.relay.totals();
        let held = self.relay.held() as u64;
        assert_eq!(
            counters.media_received + counters.recovered(),
            counters.delivered + counters.discarded() + held,
            "{counters:?}, held {held}"
        );
        let legs = self.relay.legs().iter();
        let received = legs.map(|leg| leg.media + leg.repair + leg.control).sum::<u64>();
        assert_eq!(received, counters.media_received + counters.repair_received + counters.control_received);
        counters
    }

    /// Returns the delivered payloads as converted by `read`.
    pub fn delivered<T>(&self, read: impl Fn(&[u8]) -> T) -> Vec<(Duration, T)> {
        let delivered = self.events.iter().filter_map(|(at, event)| match event {
            Event::Delivered { payload, .. } => Some((*at, read(payload))),
            _ => None,
        });
        delivered.collect()
    }
}

pub fn config(format: &str) -> Config {
    Config { format: format.parse::<Format>().expect("a format"), ..Config::default() }
}

pub const MS: Duration = Duration::from_millis(1);
