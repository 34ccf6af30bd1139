//! Arbitrary input: valid datagrams of all formats with any fields, damaged ones, any bytes, at any time, on any
//! leg. Nothing may panic, spin or grow, and what comes out must still make sense.
//!
//! The long form, with overflow checks: `CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS=true TIDECAST_FUZZ_SECONDS=600
//! cargo test --release --test sim fuzz -- --nocapture`.

use std::{
    collections::HashMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use tidecast::{
    buffer::{Buffer, Pool},
    fec::rs::Codes,
    relay::{Asks, Config, Counters, Delay, Fec, FlowId, Hold, Input, Output, Relay, Release},
    wire::{
        self, Format, Reject,
        native::{self, Kind, NackRepr, RepairRepr, SourceShard},
        st2022, ts,
    },
};

use crate::{
    formats::{native as datagram, repairs},
    harness::{Dice, Repeat, setting, source},
};

const FORMATS: [&str; 17] = [
    "auto",
    "auto",
    "native",
    "native",
    "rtp",
    "ts",
    "raw",
    "seq=u16be@4,id=u32be@0",
    "seq=u8@0",
    "seq=u8@0&0x03,id=src",
    "seq=u64be@0,step=u64be@8",
    "seq=u64le@0&0x7fffffffffffffff,id=u8@8,time=u64be@9:s",
    "seq=u64be@0,wrap=3..0xfffffffffffffffd,id=u8@8",
    "seq=u8@0,wrap=10..99,id=u8@1,step=u8@2",
    "seq=u32be@0,step=u16be@4,id=2B@6",
    "artnet",
    "moldudp64",
];

const EXTREMES: [u64; 12] = [
    0,
    1,
    255,
    65_535,
    1 << 32,
    (1 << 62) - 1,
    1 << 62,
    (1 << 63) - 1,
    1 << 63,
    u64::MAX - 65_535,
    u64::MAX - 1,
    u64::MAX,
];

fn budget() -> Duration {
    Duration::from_secs(setting("TIDECAST_FUZZ_SECONDS", 5))
}

/// Runs cases from consecutive seeds until the time is up; one case only, if a seed is given.
fn cases(name: &str, mut case: impl FnMut(&mut Dice) -> u64) {
    let given = std::env::var("TIDECAST_SEED").is_ok();
    let mut seed = crate::harness::seed(1);
    let (started, mut inputs, mut count) = (tidecast::clock::now(), 0, 0);
    while tidecast::clock::now() - started < budget() {
        let repeat = Repeat(seed);
        inputs += case(&mut Dice::new(seed));
        drop(repeat);
        count += 1;
        if given {
            break;
        }
        seed += 1;
    }
    println!("{name}: {inputs} inputs in {count} cases");
}

const RELEASES: [Release; 6] = [
    Release::Asap,
    Release::Asap,
    Release::Paced(Delay::Auto),
    Release::Paced(Delay::Fixed(Duration::ZERO)),
    Release::Paced(Delay::Fixed(Duration::from_millis(100))),
    Release::Paced(Delay::Fixed(Duration::from_secs(20))),
];

fn pick<T: Copy>(dice: &mut Dice, list: &[T]) -> T {
    list[dice.below(list.len() as u64) as usize]
}

/// Mostly small, sometimes extreme.
fn number(dice: &mut Dice) -> u64 {
    match dice.below(8) {
        0 => dice.any(),
        1 => pick(dice, &EXTREMES),
        2 => pick(dice, &EXTREMES).wrapping_sub(dice.below(300)),
        3 => dice.below(100_000),
        _ => dice.below(300),
    }
}

fn random(dice: &mut Dice, len: u64) -> Vec<u8> {
    (0..len).map(|_| dice.any() as u8).collect()
}

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
        fec: pick(dice, &[Fec::Off, Fec::St2022]),
        asks: (0..dice.below(4)).map(|_| asks(dice)).collect(),
        seed: dice.any(),
        hold,
        release: pick(dice, &RELEASES),
        flows_max: pick(dice, &[1, 2, 5, 40, 1000]),
        window_max: pick(dice, &[1, 2, 64, 300, 8192]),
        bytes_max: pick(dice, &[0, 100, 3000, 20_000, 1 << 20, 64 << 20]),
        flow_idle: Duration::from_millis(pick(dice, &[1, 1500, 300_000])),
    }
}

/// A sender whose packets mostly follow each other, so that the inner states are reached.
#[derive(Clone)]
struct Producer {
    stream: u32,
    session: u32,
    next: u64,
    /// One packet in so many does not follow the one before.
    calm: u64,
    block: Vec<(u64, Vec<u8>)>,
    pending: Vec<Vec<u8>>,
}

impl Producer {
    fn new(dice: &mut Dice) -> Producer {
        let next = if dice.hits(0.5) { 0 } else { number(dice) };
        Producer {
            stream: dice.below(16) as u32,
            session: dice.below(3) as u32,
            next,
            calm: pick(dice, &[10, 40, 1000]),
            block: vec![],
            pending: vec![],
        }
    }

    fn step(&mut self, dice: &mut Dice) -> u64 {
        let step = match dice.below(self.calm) {
            0 => dice.below(20),
            1 => dice.below(3000),
            2 => 0_u64.wrapping_sub(dice.below(500)),
            3 => number(dice),
            _ => 1,
        };
        let number = self.next;
        self.next = self.next.wrapping_add(step);
        if dice.below(8 * self.calm) == 0 {
            self.session = dice.below(3) as u32;
            self.next = if dice.hits(0.6) { 0 } else { number };
        }
        number
    }

    fn native(&mut self, dice: &mut Dice, codes: &mut Codes) -> Vec<u8> {
        if let Some(repair) = self.pending.pop().filter(|_| dice.hits(0.9)) {
            return repair;
        }
        let (stream, session, at) = (self.stream, self.session, self.next);
        let near = at.wrapping_add(dice.below(60)).wrapping_sub(dice.below(60));
        match dice.below(24.max(self.calm / 4)) {
            0 => datagram(Kind::Heartbeat, stream, session, near, 0, b""),
            1 => datagram(Kind::End, stream, session, if dice.hits(0.5) { at } else { number(dice) }, 0, b""),
            2 => self.forged_repair(dice, near),
            3 => {
                let mut out = Vec::new();
                let payload = random(dice, 12);
                let flags = native::RETRANSMISSION;
                native::Repr {
                    kind: Kind::Data,
                    flags,
                    stream,
                    session,
                    sequence: near,
                    timestamp: 9,
                    payload: &payload,
                }
                .emit(&mut out);
                out
            }
            4 => {
                let mut payload = Vec::new();
                let ranges: Vec<(u64, u16)> =
                    (0..dice.below(70)).map(|_| (number(dice), dice.any() as u16)).collect();
                NackRepr { ranges: &ranges }.emit(&mut payload);
                datagram(Kind::Nack, stream, session, 0, 0, &payload)
            }
            _ => self.data(dice, codes),
        }
    }

    fn data(&mut self, dice: &mut Dice, codes: &mut Codes) -> Vec<u8> {
        let sequence = self.step(dice);
        let len = dice.below(60);
        let (timestamp, payload) = (number(dice), random(dice, len));
        self.block.push((timestamp, payload.clone()));
        if self.next != sequence.wrapping_add(1) {
            self.block.clear();
        } else if self.block.len() == 8 {
            let first = self.next.wrapping_sub(8);
            self.pending = repairs(codes, self.session, first, 3, 1, &self.block);
            for repair in &mut self.pending {
                repair[4..8].copy_from_slice(&self.stream.to_be_bytes());
                let end = repair.len() - native::TRAILER;
                let crc = crc32fast::hash(&repair[..end]);
                repair[end..].copy_from_slice(&crc.to_be_bytes());
            }
            self.block.clear();
        }
        datagram(Kind::Data, self.stream, self.session, sequence, timestamp, &payload)
    }

    fn forged_repair(&mut self, dice: &mut Dice, near: u64) -> Vec<u8> {
        let len = SourceShard::HEADER as u64 + dice.below(80);
        let shard = random(dice, len);
        let k_max = if dice.hits(0.9) { 20 } else { 254 };
        let k = 1 + dice.below(k_max) as u8;
        let m = 1 + dice.below(u64::from(255 - k)) as u8;
        let index = dice.below(u64::from(m)) as u8;
        let stride = if dice.hits(0.7) { 1 } else { 1 + dice.below(255) as u8 };
        let mut payload = Vec::new();
        RepairRepr { k, m, index, stride, shard: &shard }.emit(&mut payload);
        let first = if dice.hits(0.9) { near } else { number(dice) };
        datagram(Kind::Repair, self.stream, self.session, first, 0, &payload)
    }

    fn rtp(&mut self, dice: &mut Dice) -> Vec<u8> {
        let sequence = self.step(dice) as u16;
        let first = 0x80 | if dice.hits(0.9) { 0 } else { dice.any() as u8 & 0x3f };
        let ssrc = self.stream * 10 + self.session;
        let mut out = vec![first, dice.any() as u8 & 0x3f];
        out.extend_from_slice(&sequence.to_be_bytes());
        out.extend_from_slice(&(dice.any() as u32).to_be_bytes());
        out.extend_from_slice(&ssrc.to_be_bytes());
        let len = dice.below(60);
        out.extend(random(dice, len));
        out
    }

    /// A repair packet of SMPTE ST 2022-1 around the numbers in use.
    fn st2022(&mut self, dice: &mut Dice) -> Vec<u8> {
        let near = self.next.wrapping_sub(dice.below(120)) as u16;
        let len = dice.below(60);
        let body = random(dice, len);
        let fields = st2022::Fields {
            flags: if dice.hits(0.9) { 0 } else { dice.any() as u8 & 0x3f },
            marker_and_type: dice.any() as u8,
            length: if dice.hits(0.8) { dice.below(60) } else { dice.any() } as u16,
            timestamp: dice.any() as u32,
        };
        let axis = if dice.hits(0.5) { st2022::Axis::Row } else { st2022::Axis::Column };
        let (offset, count) = (1 + dice.below(20) as u8, 1 + dice.below(20) as u8);
        let (sequence, timestamp) = (dice.any() as u16, dice.any() as u32);
        let mut out = Vec::new();
        st2022::Repr {
            axis,
            payload_type: st2022::PAYLOAD_TYPE,
            sequence,
            timestamp,
            ssrc: 0,
            base: near,
            offset,
            count,
            shard: st2022::Shard { fields, body: &body },
        }
        .emit(&mut out);
        out
    }

    /// Fields of all widths at the places where the layouts above look.
    fn custom(&mut self, dice: &mut Dice, format: &Format) -> Vec<u8> {
        let text = format.to_string();
        let step = if dice.hits(0.8) { 1 + dice.below(4) } else { number(dice) };
        let at = self.step(dice);
        let mut out = random(dice, 48);
        out[8] = self.stream as u8;
        if text == "artnet" {
            out[..8].copy_from_slice(b"Art-Net\0");
            out[12] = at as u8;
            out[14..16].fill(0);
        } else if text == "moldudp64" {
            out[..10].fill(self.session as u8);
            out[10..18].copy_from_slice(&at.to_be_bytes());
            out[18..20].copy_from_slice(&(step as u16).to_be_bytes());
        } else if text.starts_with("seq=u16be@4") {
            out[..4].fill(self.stream as u8);
            out[4..6].copy_from_slice(&(at as u16).to_be_bytes());
        } else if text.starts_with("seq=u8") {
            out[..3].copy_from_slice(&[at as u8, self.stream as u8, step as u8]);
        } else if text.starts_with("seq=u32") {
            out[..4].copy_from_slice(&(at as u32).to_be_bytes());
            out[4..6].copy_from_slice(&(step as u16).to_be_bytes());
            out[6..8].fill(self.stream as u8);
        } else {
            let number = if text.contains("le@") { at.to_le_bytes() } else { at.to_be_bytes() };
            out[..8].copy_from_slice(&number);
            if text.contains("step") {
                out[8..16].copy_from_slice(&step.to_be_bytes());
            }
        }
        let len = 20 + dice.below(28);
        out.truncate(len as usize);
        out
    }

    fn datagram(&mut self, dice: &mut Dice, codes: &mut Codes, format: &Format) -> Vec<u8> {
        match (format, dice.below(20)) {
            (_, 0) => {
                let len = dice.below(400);
                random(dice, len)
            }
            (Format::Native, _) | (Format::Auto, 1..=12) => self.native(dice, codes),
            (Format::Rtp, _) | (Format::Auto, 13..=17) => self.rtp(dice),
            (Format::Custom(_), _) => self.custom(dice, format),
            _ => transport_stream(dice),
        }
    }
}

fn transport_stream(dice: &mut Dice) -> Vec<u8> {
    let packets = 1 + dice.below(7);
    let mut out = random(dice, packets * ts::PACKET as u64);
    for packet in out.chunks_mut(ts::PACKET) {
        packet[0] = ts::SYNC;
        packet[1] &= 0x81;
    }
    out
}

fn damaged(dice: &mut Dice, mut bytes: Vec<u8>) -> Vec<u8> {
    match dice.below(30) {
        0 if !bytes.is_empty() => {
            let at = dice.below(bytes.len() as u64) as usize;
            bytes[at] ^= 1 << dice.below(8);
        }
        1 => bytes.truncate(dice.below(bytes.len() as u64 + 1) as usize),
        2 => {
            let more = dice.below(40);
            bytes.extend(random(dice, more));
        }
        _ => {}
    }
    bytes
}

/// What came out of each flow so far.
#[derive(Default)]
struct Watch {
    /// The number that is due in each flow, and whether it is the session's first.
    due: HashMap<FlowId, Option<u64>>,
    /// Whether each number must be delivered or lost: where packets take one number each.
    gapless: bool,
    /// Whether numbers mean anything: unnumbered packets of a numbered flow have none.
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
            Output::Lost { flow, from, count } => {
                assert!(count > 0);
                self.passed(flow, from, count);
            }
            Output::FlowEnded { flow } => {
                self.due.remove(&flow);
            }
            Output::Transmit { .. } | Output::GapClosed { .. } | Output::Timeout(_) => {}
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
        now: tidecast::clock::now() + Duration::from_secs(100_000),
        due: None,
        watch: Watch { numbered, gapless, ..Watch::default() },
    };
    let mut producers: Vec<Producer> = (0..1 + dice.below(5)).map(|_| Producer::new(dice)).collect();
    let mut late: Vec<(u8, SocketAddr, Vec<u8>)> = Vec::new();
    let mut pool = Pool::new(8);
    let steps = 200 + dice.below(1500);
    for step in 0..steps {
        let until = run.now + some_time(dice);
        // An owner that is late with its timers does no harm.
        if dice.hits(0.9) {
            run.run_until(until);
        } else {
            run.now = until;
        }
        let which = dice.below(producers.len() as u64) as usize;
        let made = producers[which].datagram(dice, codes, &format);
        let mut packet = (dice.below(5) as u8, source(dice.below(3) as u8), damaged(dice, made));
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
        // Legs are read one after the other: arrivals are not always in order.
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
        run.relay.reclaim(&mut pool);
        if step % 16 == 0 {
            run.check();
        }
    }
    run.check();
    run.relay.finish(run.now);
    while let output @ (Output::Deliver(_)
    | Output::Lost { .. }
    | Output::GapClosed { .. }
    | Output::SessionStarted { .. }
    | Output::Transmit { .. }
    | Output::FlowEnded { .. }) = run.relay.poll_output()
    {
        run.watch.output(output);
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

/// Every parser on one datagram.
fn parse_all(formats: &[Format], bytes: &[u8], continuity: &mut ts::Continuity) {
    for format in formats {
        match wire::parse(format, bytes) {
            Ok(wire::Datagram::Native(packet)) => {
                assert_eq!(&bytes[packet.payload_range()], packet.payload());
            }
            Ok(wire::Datagram::Rtp(packet)) => assert_eq!(&bytes[packet.payload_range()], packet.payload()),
            Ok(_) => {}
            Err(Reject::Corrupt(reason) | Reject::Foreign(reason)) => assert!(!reason.as_str().is_empty()),
        }
    }
    if let Ok(nack) = native::Nack::parse(bytes) {
        assert_eq!(nack.iter().count() * 10, bytes.len());
    }
    if let Ok(repair) = native::Repair::parse(bytes) {
        assert!(repair.index() < repair.m() && repair.k() + repair.m() <= 255 && repair.stride() > 0);
    }
    if let Ok(shard) = SourceShard::parse(bytes) {
        let mut out = Vec::new();
        shard.emit(bytes.len(), &mut out);
        assert_eq!(out[1..], bytes[1..]);
    }
    if let Ok(repair) = st2022::Repair::parse(bytes) {
        assert!(repair.count() > 0 && repair.offset() > 0);
        let mut out = Vec::new();
        repair.repr().emit(&mut out);
        assert_eq!((out.len(), st2022::Repair::parse(&out)), (bytes.len(), Ok(repair)));
    }
    for packet in bytes.as_chunks::<{ ts::PACKET }>().0 {
        assert!(ts::pcr(packet).is_none_or(|pcr| pcr.ticks < ts::Pcr::WRAP));
    }
    assert!(continuity.check(bytes) <= (bytes.len() / ts::PACKET) as u64);
}

#[test]
fn fuzz_parsers() {
    let formats: Vec<Format> = FORMATS
        .iter()
        .copied()
        .chain(wire::custom::Layout::profiles().iter().map(|(name, _)| *name))
        .map(|text| text.parse().expect("a valid format"))
        .collect();
    let mut codes = Codes::new();
    let mut continuity = ts::Continuity::default();
    cases("parsers", |dice| {
        let mut producer = Producer::new(dice);
        for _ in 0..500 {
            let format = &formats[dice.below(formats.len() as u64) as usize];
            let bytes = match dice.below(20) {
                0 => producer.st2022(dice),
                _ => producer.datagram(dice, &mut codes, format),
            };
            let bytes = damaged(dice, bytes);
            parse_all(&formats, &bytes, &mut continuity);
            // What a datagram carries, as a payload of its own.
            parse_all(&formats, bytes.get(native::HEADER..).unwrap_or(&[]), &mut continuity);
        }
        1000
    });
}
