//! Tests that numbers and packets are distinguished: beside the simulation of a scenario two more
//! relays take the same packets as a custom format, one with a single number each, the other with
//! K numbers each and all numbers K times as large. Both must have the same output at the same
//! times, and the counters of numbers must be K times as large.
//!
//! `TIDECAST_SIM_STEPS=N` does that for each Nth simulation of a test (1: all; 0: none).

use std::{
    cell::Cell,
    net::SocketAddr,
    time::{Duration, Instant},
};

use tidecast_core::relay::{Config, Counters, Fec, FlowState, LegCounters};
use tidecast_wire::{self as wire, Datagram, Format, native};

use crate::harness::{Event, Sim, setting};

/// Numbers that a packet takes, alternately.
const STEPS: [u64; 4] = [20, 2, 100, 7];
/// Bytes before those of the scenario's own datagram.
const HEADER: usize = 28;
/// Larger numbers are left out, because they cannot be multiplied.
const NUMBER_MAX: u64 = 1 << 54;
/// Value of the step in a control datagram.
const END: u32 = u32::MAX;

thread_local! {
    /// Simulations of this thread, which is that of a test.
    static SIMULATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The parts of a datagram that a custom format has.
#[derive(Debug, Clone, Copy)]
struct Parts {
    id: u64,
    number: u64,
    kind: Kind,
    micros: u64,
    /// Size of the number space; `None` if numbers do not wrap.
    modulus: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Media,
    Heartbeat,
    End,
}

impl Parts {
    /// Returns the parts, or `None` for a datagram without a number.
    fn read(format: &Format, bytes: &[u8]) -> Option<Parts> {
        let media = |id, number, micros, modulus| Parts { id, number, kind: Kind::Media, micros, modulus };
        let parts = match wire::parse(format, bytes).ok()? {
            Datagram::Native(packet) => {
                let parts = media(packet.stream().into(), packet.sequence(), packet.timestamp(), None);
                match packet.kind() {
                    native::Kind::Data if !packet.is_retransmission() => parts,
                    native::Kind::Heartbeat => Parts { kind: Kind::Heartbeat, ..parts },
                    native::Kind::End => Parts { kind: Kind::End, ..parts },
                    _ => return None,
                }
            }
            Datagram::Rtp(packet) => {
                let micros = u64::from(packet.timestamp()) * 100 / 9;
                media(packet.ssrc().into(), packet.sequence().into(), micros, Some(1 << 16))
            }
            Datagram::Custom(packet) if packet.numbered() && packet.step() == 1 => {
                let nobody = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
                let id = packet
                    .id(nobody)
                    .unwrap_or_default()
                    .as_bytes()
                    .iter()
                    .fold(0, |id, byte| id << 8 | u64::from(*byte));
                media(id, packet.number(), 0, packet.space().modulus())
            }
            _ => return None,
        };
        (parts.number < NUMBER_MAX).then_some(parts)
    }

    /// Returns the datagram with its numbers multiplied by `step`.
    fn datagram(&self, step: u64, bytes: &[u8]) -> Vec<u8> {
        let takes = match self.kind {
            Kind::Media => step as u32,
            Kind::Heartbeat => 0,
            Kind::End => END,
        };
        let mut out = Vec::with_capacity(HEADER + bytes.len());
        out.extend((self.number * step).to_be_bytes());
        out.extend(takes.to_be_bytes());
        out.extend(self.id.to_be_bytes());
        out.extend(self.micros.to_be_bytes());
        out.extend(bytes);
        out
    }
}

/// The two relays beside a simulation.
pub struct Steps {
    config: Config,
    step: u64,
    /// The relays with one number each and with `step`, once the first packet has shown the number
    /// space.
    both: Option<[Sim; 2]>,
    modulus: Option<u64>,
}

impl Steps {
    /// Creates the relays for a new simulation, if it is one that is selected.
    pub fn beside(config: &Config) -> Option<Box<Steps>> {
        let count = SIMULATIONS.replace(SIMULATIONS.get() + 1);
        let every = setting("TIDECAST_SIM_STEPS", 6);
        if every == 0 || !count.is_multiple_of(every) {
            return None;
        }
        let step = STEPS[(count / every) as usize % STEPS.len()];
        // Memory is proportional to the packets, but not exactly.
        let config = Config { fec: Fec::Off, bytes_max: usize::MAX / 2, ..config.clone() };
        Some(Box::new(Steps { config, step, both: None, modulus: None }))
    }

    /// Feeds a datagram of the simulation.
    pub fn packet(&mut self, at: Duration, leg: u8, source: SocketAddr, bytes: &[u8], record: bool) {
        let Some(parts) = Parts::read(&self.config.format, bytes) else { return };
        let (config, step) = (&self.config, self.step);
        let both = self.both.get_or_insert_with(|| {
            self.modulus = parts.modulus;
            [1, step].map(|step| {
                let mut sim = Sim::bare(Config { format: format(parts.modulus, step), ..config.clone() });
                sim.record = record;
                sim
            })
        });
        if parts.modulus == self.modulus {
            for (sim, step) in both.iter_mut().zip([1, step]) {
                sim.packet_from(at, leg, source, &parts.datagram(step, bytes));
            }
        }
    }

    /// Records that the kernel dropped datagrams.
    pub fn dropped(&mut self, at: Duration, leg: u8, count: u64) {
        self.both.iter_mut().flatten().for_each(|sim| sim.dropped(at, leg, count));
    }

    /// Advances the time.
    pub fn run_until(&mut self, at: Duration) {
        self.both.iter_mut().flatten().for_each(|sim| sim.run_until(at));
    }

    /// Compares the outputs at the end of the simulation.
    pub fn compare(&mut self) {
        let Some([one, many]) = &mut self.both else { return };
        let step = self.step;
        for (place, pair) in one.events.iter().zip(&many.events).enumerate() {
            assert_eq!(times(pair.0, step), plain(pair.1), "event {place} with {step} numbers a packet");
        }
        assert_eq!(one.events.len(), many.events.len(), "{step} numbers a packet");
        let counters = |sim: &Sim, step| {
            let legs: Vec<_> = sim.relay.legs().iter().map(|leg| leg_times(leg, step)).collect();
            let flows: Vec<_> =
                sim.relay.flows().map(|flow| flow_times(flow, sim.at(Duration::ZERO), step)).collect();
            (counters_times(&sim.check_counters(), step), legs, flows, sim.relay.held())
        };
        assert_eq!(counters(one, step), counters(many, 1), "{step} numbers a packet");
    }
}

/// Returns a custom format whose packets contain how many numbers they take.
fn format(modulus: Option<u64>, step: u64) -> Format {
    let wrap = modulus.map_or(String::new(), |modulus| format!(",wrap=0..{}", modulus * step - 1));
    let text = format!("seq=u64be@0{wrap},step=u32be@8,id=u64be@12,time=u64be@20:us");
    text.parse().expect("a layout")
}

fn times((at, event): &(Duration, Event), step: u64) -> (Duration, Event) {
    let event = match plain(&(*at, event.clone())).1 {
        Event::Delivered { flow, seq, how, bytes, payload, timestamp } => {
            Event::Delivered { flow, seq: seq * step, how, bytes, payload, timestamp }
        }
        Event::Control { flow, seq, bytes } => Event::Control { flow, seq: seq * step, bytes },
        Event::Lost { flow, from, count } => Event::Lost { flow, from: from * step, count: count * step },
        other => other,
    };
    (*at, event)
}

/// Returns the event without its sequence number.
fn plain((at, event): &(Duration, Event)) -> (Duration, Event) {
    let event = match event.clone() {
        Event::Delivered { flow, seq, how, bytes, timestamp, .. } => {
            let (bytes, payload) = (bytes[HEADER..].to_vec(), Vec::new());
            Event::Delivered { flow, seq, how, bytes, payload, timestamp }
        }
        Event::Control { flow, seq, bytes } => Event::Control { flow, seq, bytes: bytes[HEADER..].to_vec() },
        other => other,
    };
    (*at, event)
}

fn counters_times(counters: &Counters, step: u64) -> Counters {
    let (expected, lost) = (counters.expected * step, counters.lost * step);
    Counters { expected, lost, ..counters.clone() }
}

fn leg_times(leg: &LegCounters, step: u64) -> LegCounters {
    LegCounters { first: leg.first * step, missed: leg.missed * step, ..leg.clone() }
}

/// Returns the public state of a flow, with times since the start.
fn flow_times(flow: FlowState, start: Instant, step: u64) -> impl PartialEq + std::fmt::Debug {
    let counters = counters_times(&flow.counters, step);
    let arrived = flow.last_arrival - start;
    let rate = flow.packets_per_second.map(f64::to_bits);
    (flow.key, counters, flow.held, flow.hold, flow.jitter, rate, arrived, flow.ended)
}

/// Packets that take different counts of numbers, in bursts, reordered, lost and duplicated, on
/// one leg and on two: all that were not lost are delivered in order.
mod varying {
    use tidecast_core::relay::{Config, Hold};

    use super::HEADER;
    use crate::harness::{Dice, MS, Repeat, Sim, config, seed, source};
    use std::time::Duration;

    fn datagram(number: u64, span: u64, identity: u64) -> Vec<u8> {
        let mut out = vec![0; HEADER];
        out[..8].copy_from_slice(&number.to_be_bytes());
        out[8..12].copy_from_slice(&(span as u32).to_be_bytes());
        out.extend(identity.to_be_bytes());
        out
    }

    #[test]
    fn packets_that_vary_come_out_in_order() {
        let seed = seed(11);
        let _repeat = Repeat(seed);
        for (legs, largest) in [(1, 3), (1, 100), (2, 20), (1, 5000), (2, 100)] {
            let mut dice = Dice::new(seed ^ largest);
            let layout = "seq=u64be@0,step=u32be@8,id=u64be@12";
            let hold = Hold::Fixed(200 * MS);
            let mut sim = Sim::new(Config { legs, hold, ..config(layout) });
            let (mut number, mut at, mut sent, mut lost) = (7, 0, Vec::new(), 0);
            for n in 0..3000_u64 {
                // Small counts for a while, then large ones for a while.
                let most = if n / 100 % 2 == 0 { 1 + largest / 50 } else { largest };
                let span = 1 + dice.below(most);
                at += if dice.hits(0.1) { dice.below(20) } else { dice.below(2) };
                let gone = n > 10 && n < 2990 && dice.hits(0.01);
                for leg in (0..legs).filter(|_| !gone) {
                    let late = if n > 10 && dice.hits(0.05) { 1 + dice.below(30) } else { 0 };
                    sent.push((at + late, leg as u8, number, span, n));
                }
                lost += if gone { span } else { 0 };
                number += span;
            }
            sent.sort_by_key(|(at, ..)| *at);
            for (at, leg, number, span, n) in &sent {
                sim.packet_from(MS * *at as u32, *leg, source(1), &datagram(*number, *span, *n));
            }
            sim.run_until(sim.elapsed() + Duration::from_secs(3));
            let what = format!("{legs} legs, up to {largest} numbers");
            let out = sim.delivered(|bytes| u64::from_be_bytes(*bytes.last_chunk().unwrap()));
            let out: Vec<u64> = out.into_iter().map(|(_, n)| n).collect();
            let mut came: Vec<u64> = sent.iter().map(|(.., n)| *n).collect();
            came.sort_unstable();
            came.dedup();
            assert_eq!(out, came, "{what}");
            let counters = sim.check_counters();
            assert_eq!(
                (counters.sessions, counters.lost, counters.expected),
                (1, lost, number - 7),
                "{what}"
            );
        }
    }
}
