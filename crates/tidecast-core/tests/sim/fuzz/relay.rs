//! Feeds a relay of any configuration with arbitrary input.

use std::{
    collections::HashMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use tidecast_core::{
    buffer::{Buffer, Pool},
    relay::{Asks, Config, Counters, Delay, Fec, FlowId, Hold, Input, Output, Relay, Release},
};
use tidecast_wire::{Format, fec::rs::Codes};

use super::{FORMATS, cases, control, damaged, pick, producer::Producer};
use crate::harness::{Dice, source};

const RELEASES: [Release; 6] = [
    Release::Asap,
    Release::Asap,
    Release::Paced(Delay::Auto),
    Release::Paced(Delay::Fixed(Duration::ZERO)),
    Release::Paced(Delay::Fixed(Duration::from_millis(100))),
    Release::Paced(Delay::Fixed(Duration::from_secs(20))),
];

fn asks(dice: &mut Dice) -> Asks {
    Asks { rist: dice.hits(0.5), requests: dice.hits(0.7), shared: dice.hits(0.5) }
}

fn config(dice: &mut Dice) -> Config {
    let millis = Duration::from_millis(pick(dice, &[0, 1, 20, 50, 150, 10_000]));
    let hold = match dice.below(3) {
        0 => Hold::default(),
        1 => Hold::Auto { min: millis, max: Duration::from_millis(dice.below(600)) },
        _ => Hold::Fixed(millis),
    };
    Config {
        format: pick(dice, &FORMATS).parse::<Format>().expect("a valid format"),
        legs: dice.below(4) as usize,
        payload_types: std::sync::Arc::default(),
        fec: pick(dice, &[Fec::Off, Fec::St2022]),
        asks: (0..dice.below(4)).map(|_| asks(dice)).collect(),
        seed: dice.any(),
        hold,
        release: pick(dice, &RELEASES),
        flows_max: pick(dice, &[1, 2, 5, 40, 1000]),
        flows_share: pick(dice, &[1, 25, 100]),
        window_max: pick(dice, &[1, 2, 64, 300, 8192]),
        bytes_max: pick(dice, &[0, 100, 3000, 20_000, 1 << 20, 64 << 20]),
        flow_idle: Duration::from_millis(pick(dice, &[1, 1500, 300_000])),
        seal: None,
    }
}

/// The output of each flow so far.
#[derive(Default)]
struct Watch {
    /// The next number of each flow, and whether it is the session's first.
    due: HashMap<FlowId, Option<u64>>,
    /// Whether each number must be delivered or lost, which holds if packets take one number each.
    gapless: bool,
    /// Whether numbers are meaningful: unnumbered packets of a numbered flow have none.
    numbered: bool,
}

impl Watch {
    fn output(&mut self, output: Output) {
        match output {
            Output::SessionStarted { flow, .. } => {
                self.due.insert(flow, None);
            }
            Output::Deliver(delivery) => {
                assert!(delivery.packet.payload.end as usize <= delivery.packet.bytes.len());
                self.passed(delivery.flow, delivery.seq, 1);
            }
            Output::Control(control) => {
                assert!(control.packet.payload.end as usize <= control.packet.bytes.len());
            }
            Output::Lost { flow, from, count } => {
                assert!(count > 0);
                self.passed(flow, from, count);
            }
            Output::FlowEnded { flow } => {
                self.due.remove(&flow);
            }
            Output::Transmit { .. }
            | Output::Report { .. }
            | Output::GapClosed { .. }
            | Output::Carries { .. }
            | Output::Succeeded { .. }
            | Output::Unnumbered { .. }
            | Output::Collision { .. }
            | Output::Timeout(_) => {}
        }
    }

    fn passed(&mut self, flow: FlowId, from: u64, count: u64) {
        let due = self.due.get_mut(&flow).expect("a session was started");
        if let (Some(due), true) = (*due, self.numbered) {
            assert!(from >= due, "{flow:?}: {from} after {due}");
            assert!(!self.gapless || from == due, "{flow:?}: {from} instead of {due}");
        }
        *due = Some(from + count);
    }
}

struct Run {
    relay: Relay,
    now: Instant,
    due: Option<Instant>,
    watch: Watch,
    bounds: (usize, usize),
}

impl Run {
    fn input(&mut self, input: Input, len: usize) {
        self.relay.handle_input(input);
        self.due = loop {
            match self.relay.poll_output() {
                Output::Timeout(due) => break due,
                output => self.watch.output(output),
            }
        };
        let (flows_max, bytes_max) = self.bounds;
        assert!(self.relay.flow_count() <= flows_max);
        let held = self.relay.bytes_held();
        assert!(held <= bytes_max + len, "{held} bytes held, {bytes_max} allowed, datagram of {len}");
    }

    fn run_until(&mut self, until: Instant) {
        let mut stalled = 0;
        while let Some(due) = self.due.filter(|due| *due <= until) {
            stalled = if due > self.now { 0 } else { stalled + 1 };
            assert!(stalled < 5000, "a timer fires for ever");
            self.now = self.now.max(due);
            self.input(Input::Timeout { now: self.now }, 0);
        }
        self.now = self.now.max(until);
    }

    fn check(&self) {
        let (counters, held) = (self.relay.totals(), self.relay.held() as u64);
        assert_eq!(
            counters.media_received + counters.recovered(),
            counters.delivered + counters.discarded() + held,
            "{counters:?}, held {held}"
        );
        assert!(counters.expected >= counters.lost);
        if self.watch.gapless {
            assert_eq!(counters.expected, counters.delivered + counters.lost, "{counters:?}");
        }
    }
}

fn some_time(dice: &mut Dice) -> Duration {
    match dice.below(40) {
        0 => Duration::from_millis(dice.below(200)),
        1 => Duration::from_millis(dice.below(4000)),
        2 if dice.below(20) == 0 => Duration::from_secs(dice.below(400)),
        3..=9 => Duration::ZERO,
        _ => Duration::from_micros(dice.below(4000)),
    }
}

fn relay_case(dice: &mut Dice, codes: &mut Codes, seen: &mut Counters) -> u64 {
    let config = config(dice);
    let format = config.format.clone();
    let text = format.to_string();
    let numbered = !matches!(format, Format::Auto) && text != "artnet" && !text.contains("wrap");
    let gapless = matches!(format, Format::Native | Format::Rtp) || text.starts_with("seq=u16be@4");
    let mut run = Run {
        bounds: (config.flows_max, config.bytes_max),
        relay: Relay::new(config),
        now: tidecast_net::clock::now() + Duration::from_secs(100_000),
        due: None,
        watch: Watch { numbered, gapless, ..Watch::default() },
    };
    let mut producers: Vec<Producer> = (0..1 + dice.below(5)).map(|_| Producer::new(dice)).collect();
    let mut late: Vec<(u8, SocketAddr, Vec<u8>)> = Vec::new();
    let mut pool = Pool::new(8);
    let steps = 200 + dice.below(1500);
    for step in 0..steps {
        let until = run.now + some_time(dice);
        // A caller that runs timers late must do no harm.
        if dice.hits(0.9) {
            run.run_until(until);
        } else {
            run.now = until;
        }
        let which = dice.below(producers.len() as u64) as usize;
        let made = producers[which].datagram(dice, codes, &format);
        // Datagrams mostly come from one address each, sometimes from another.
        let host = if dice.hits(0.995) { 0 } else { dice.below(3) };
        let mut packet = (dice.below(5) as u8, source(host as u8), damaged(dice, made));
        match dice.below(20) {
            0 => continue,
            1 => {
                late.push(packet);
                continue;
            }
            2 if !late.is_empty() => packet = late.swap_remove(dice.below(late.len() as u64) as usize),
            3 => late.push(packet.clone()),
            _ => {}
        }
        // Legs are read one after the other, so arrivals are not always in order.
        let now =
            run.now - if dice.hits(0.95) { Duration::ZERO } else { Duration::from_millis(dice.below(30)) };
        let mut bytes = Buffer::from(packet.2.as_slice());
        if dice.hits(0.3) && packet.2.len() <= 2048 {
            bytes = pool.get();
            bytes.memory_mut()[..packet.2.len()].copy_from_slice(&packet.2);
            bytes.set_len(packet.2.len());
        }
        let len = bytes.capacity();
        let input = if dice.below(200) == 0 {
            Input::Repair { now, leg: packet.0, source: packet.1, bytes }
        } else {
            Input::Packet { now, leg: packet.0, source: packet.1, bytes }
        };
        run.input(input, len);
        if dice.below(8) == 0 {
            let repair = producers[which].st2022(dice);
            let bytes = Buffer::from(damaged(dice, repair));
            let len = bytes.capacity();
            run.input(Input::Repair { now, leg: packet.0, source: packet.1, bytes }, len);
        }
        if dice.below(8) == 0 {
            // The SSRCs of the producers are small.
            let [ssrc, media] = [dice.below(170) as u32, dice.below(170) as u32];
            let bytes = Buffer::from(control::rtcp(dice, ssrc, media));
            let len = bytes.capacity();
            run.input(Input::Control { now, leg: packet.0, source: packet.1, bytes }, len);
        }
        run.relay.reclaim(&mut pool);
        if step % 16 == 0 {
            run.check();
        }
    }
    run.check();
    run.relay.finish(run.now);
    loop {
        match run.relay.poll_output() {
            Output::Timeout(_) => break,
            output => run.watch.output(output),
        }
    }
    run.check();
    assert_eq!((run.relay.held(), run.relay.bytes_held(), run.relay.flow_count()), (0, 0, 0));
    assert!(run.watch.due.is_empty());
    seen.add(&run.relay.totals());
    steps
}

#[test]
fn fuzz_relay() {
    let (mut codes, mut seen) = (Codes::new(), Counters::default());
    cases("relay", |dice| relay_case(dice, &mut codes, &mut seen));
    println!("{seen:?}");
    if std::env::var("TIDECAST_SEED").is_err() {
        // Input that reaches nothing tests nothing.
        let Counters { recovered_fec, recovered_retransmission, recovered_spurious, reordered, .. } = seen;
        let reached = [recovered_fec, recovered_retransmission, recovered_spurious, reordered];
        assert!(reached.iter().all(|count| *count > 0), "{reached:?}");
        let reached = [seen.duplicate, seen.late, seen.corrupt, seen.foreign, seen.rejected, seen.lost];
        assert!(reached.iter().all(|count| *count > 0), "{reached:?}");
    }
}
