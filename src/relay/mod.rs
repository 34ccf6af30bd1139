//! The pure core: one [`Relay`] per channel puts the packets of its flows in order, recovers what it can and
//! gives up what is overdue. No I/O and no clock; it knows only `wire`, `fec` and `limits`.
//!
//! Contract: [`Relay::handle_input`], then [`Relay::poll_output`] until it answers [`Output::Timeout`]; call
//! again with [`Input::Timeout`] at that instant, if nothing came before. The same inputs give the same outputs.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap, VecDeque},
    fmt, mem,
    net::SocketAddr,
    ops::Range,
    time::{Duration, Instant},
};

use serde::Serialize;

use crate::{
    buffer::{Buffer, Pool},
    fec::rs::Codes,
    limits::{
        CHANNEL_BYTES_MAX, DEPARTED_MAX, FLOW_IDLE, FLOWS_MAX, NUMBER_MAX, REORDER_PACKETS_MAX, SPENT_MAX,
        SWEEP_INTERVAL,
    },
    wire::{Format, Reject, native},
};

mod arrival;
mod dedup;
mod flow;
mod hold;
mod recover;
mod reorder;
mod session;
mod stats;

use arrival::{Arrival, Body, FlowKey};
use flow::{Context, Flow, Numbered, Predecessor};
pub use hold::Hold;
pub use stats::{Counters, LegCounters};

/// What a channel's core is told at the start.
#[derive(Debug, Clone)]
pub struct Config {
    /// The datagrams' format.
    pub format: Format,
    /// Number of legs.
    pub legs: usize,
    /// The longest time that a gap may delay later packets.
    pub hold: Hold,
    /// Flows at once.
    pub flows_max: usize,
    /// Largest reorder window of one flow, in packets.
    pub window_max: u64,
    /// Memory for packets held back, under probation or kept for recovery, in bytes.
    pub bytes_max: usize,
    /// A flow silent for this long is forgotten.
    pub flow_idle: Duration,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            format: Format::Auto,
            legs: 1,
            hold: Hold::default(),
            flows_max: FLOWS_MAX,
            window_max: REORDER_PACKETS_MAX,
            bytes_max: CHANNEL_BYTES_MAX,
            flow_idle: FLOW_IDLE,
        }
    }
}

/// What the core is told.
#[derive(Debug)]
pub enum Input {
    /// A datagram came in.
    Packet {
        /// When it arrived.
        now: Instant,
        /// On which leg (an index; one too high counts as the last).
        leg: u8,
        /// From where.
        source: SocketAddr,
        /// The UDP payload.
        bytes: Buffer,
    },
    /// Time has passed.
    Timeout {
        /// The present.
        now: Instant,
    },
}

/// What the core answers.
#[derive(Debug)]
pub enum Output {
    /// Pass this packet on.
    Deliver(Delivery),
    /// These numbers were given up.
    Lost {
        /// Of this flow.
        flow: FlowId,
        /// The first of them.
        from: u64,
        /// How many.
        count: u64,
    },
    /// A gap was filled or given up; packets behind it had waited this long.
    GapClosed {
        /// In this flow.
        flow: FlowId,
        /// How long the oldest of them had waited.
        waited: Duration,
    },
    /// A producer's new run begins with the next delivery of this flow.
    SessionStarted {
        /// The flow.
        flow: FlowId,
        /// The flow of the same producer that it takes the place of (same source, new SSRC).
        succeeds: Option<FlowId>,
    },
    /// The flow is forgotten, or its producer said that it ended.
    FlowEnded {
        /// The flow; its id may be used again.
        flow: FlowId,
    },
    /// Nothing more now. Call again at this instant; `None`: only when a packet comes.
    Timeout(Option<Instant>),
}

/// A flow of the channel: unique while the flow lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct FlowId(pub u32);

/// A packet that is passed on.
#[derive(Debug)]
pub struct Delivery {
    /// Its flow.
    pub flow: FlowId,
    /// Its number, extended: it never wraps.
    pub seq: u64,
    /// How it came.
    pub how: How,
    /// The packet.
    pub packet: Packet,
}

/// How a packet came to be delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// As it was sent.
    Received,
    /// Rebuilt from repair packets.
    Fec,
    /// Sent again by its producer.
    Retransmission,
}

/// The format that a packet turned out to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PacketFormat {
    /// Native datagram.
    Native,
    /// RTP.
    Rtp,
    /// MPEG-TS without RTP.
    Ts,
    /// Another numbered datagram.
    Custom,
    /// Not numbered.
    Raw,
}

impl PacketFormat {
    /// Its name, as in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            PacketFormat::Native => "native",
            PacketFormat::Rtp => "rtp",
            PacketFormat::Ts => "ts",
            PacketFormat::Custom => "custom",
            PacketFormat::Raw => "raw",
        }
    }
}

/// A datagram and what is known of it.
#[derive(Debug)]
pub struct Packet {
    /// The whole datagram.
    pub bytes: Buffer,
    /// Where in it the payload is.
    pub payload: Range<usize>,
    /// Microseconds since the Unix epoch on the producer's clock, if the format has them.
    pub timestamp: Option<u64>,
    /// When it arrived, or was rebuilt.
    pub arrived: Instant,
    /// What it is.
    pub format: PacketFormat,
}

impl Packet {
    /// The payload.
    pub fn payload(&self) -> &[u8] {
        &self.bytes[self.payload.clone()]
    }

    /// Moves a small datagram out of a large buffer, before it is held back.
    fn tighten(&mut self, spent: &mut Vec<Buffer>) {
        if self.bytes.capacity() > 4 * self.bytes.len() {
            let small = Buffer::from(&*self.bytes);
            let slot = mem::replace(&mut self.bytes, small);
            if spent.len() < spent.capacity() {
                spent.push(slot);
            }
        }
    }
}

/// A flow as people see it.
#[derive(Debug, Clone)]
pub struct FlowState {
    /// The flow.
    pub id: FlowId,
    /// Stream id, SSRC, id or source address, as text; `?flow=` takes it.
    pub key: String,
    /// Where its last packet came from.
    pub source: SocketAddr,
    /// The format.
    pub format: PacketFormat,
    /// Session id or SSRC in force.
    pub session: u32,
    /// What was counted.
    pub counters: Counters,
    /// Packets held back.
    pub held: usize,
    /// The hold in force.
    pub hold: Duration,
    /// Interarrival jitter (RFC 3550, A.8).
    pub jitter: Duration,
    /// Packets per second, smoothed.
    pub packets_per_second: Option<f64>,
    /// When its last packet came.
    pub last_arrival: Instant,
    /// Whether its producer said that it ended.
    pub ended: bool,
}

impl fmt::Display for FlowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FlowKey::Stream(id) => write!(f, "{id}"),
            FlowKey::Ssrc(ssrc) => write!(f, "{ssrc:#010x}"),
            FlowKey::Id(id) => write!(f, "{id}"),
            FlowKey::Source(source) => write!(f, "{source}"),
        }
    }
}

/// Memory that the flows of a channel share.
#[derive(Debug)]
struct Budget {
    used: usize,
    max: usize,
}

impl Budget {
    fn recharge(&mut self, before: usize, now: usize) {
        self.used = self.used + now - before;
    }

    fn room(&self) -> usize {
        self.max.saturating_sub(self.used)
    }

    fn exceeded(&self) -> bool {
        self.used > self.max
    }
}

/// The core of one channel.
#[derive(Debug)]
pub struct Relay {
    config: Config,
    flows: Vec<Option<Flow>>,
    free: Vec<u32>,
    by_key: HashMap<FlowKey, u32>,
    /// The RTP flow last heard from each source.
    by_source: HashMap<SocketAddr, u32>,
    /// Flows in the order of their creation, to make room from those that never sent a second packet.
    newcomers: VecDeque<(u32, u64)>,
    /// Flows created so far.
    created: u64,
    timers: BinaryHeap<Reverse<(Instant, u32)>>,
    outputs: VecDeque<Output>,
    budget: Budget,
    codes: Codes,
    spent: Vec<Buffer>,
    now: Option<Instant>,
    sweep_at: Option<Instant>,
    /// What belongs to no flow, or to flows that are forgotten.
    others: Counters,
    departed: VecDeque<FlowState>,
    legs: Vec<LegCounters>,
    rejects: BTreeMap<&'static str, u64>,
}

impl Relay {
    /// The core for one channel.
    pub fn new(config: Config) -> Relay {
        Relay {
            flows: Vec::new(),
            free: Vec::new(),
            by_key: HashMap::new(),
            by_source: HashMap::new(),
            newcomers: VecDeque::new(),
            created: 0,
            timers: BinaryHeap::new(),
            outputs: VecDeque::new(),
            budget: Budget { used: 0, max: config.bytes_max },
            codes: Codes::new(),
            spent: Vec::with_capacity(SPENT_MAX),
            now: None,
            sweep_at: None,
            others: Counters::default(),
            departed: VecDeque::new(),
            legs: vec![LegCounters::default(); config.legs.max(1)],
            rejects: BTreeMap::new(),
            config,
        }
    }

    /// Takes one input. Call [`Relay::poll_output`] next, until it answers `Timeout`.
    pub fn handle_input(&mut self, input: Input) {
        match input {
            Input::Packet { now, leg, source, bytes } => {
                let now = self.advance(now);
                self.packet(now, leg, source, bytes);
            }
            Input::Timeout { now } => {
                let now = self.advance(now);
                self.timeout(now);
            }
        }
    }

    /// The next output; [`Output::Timeout`] when there is nothing more to do now.
    pub fn poll_output(&mut self) -> Output {
        if let Some(output) = self.outputs.pop_front() {
            return output;
        }
        let timer = self.timers.peek().map(|Reverse((at, _))| *at);
        let sweep = self.sweep_at.filter(|_| !self.by_key.is_empty());
        Output::Timeout([timer, sweep].into_iter().flatten().min())
    }

    /// Delivers everything that is held back, and counts the rest; for the end of the channel.
    pub fn finish(&mut self, now: Instant) {
        self.advance(now);
        for index in 0..self.flows.len() as u32 {
            self.remove(index);
        }
    }

    /// Hands the memory of packets that were dropped to the pool.
    pub fn reclaim(&mut self, pool: &mut Pool) {
        for buffer in self.spent.drain(..) {
            pool.put(buffer);
        }
    }

    /// What was counted, of all flows together.
    pub fn totals(&self) -> Counters {
        let mut totals = self.others.clone();
        for flow in self.flows.iter().flatten() {
            totals.add(&flow.counters);
        }
        totals
    }

    /// What each leg brought in.
    pub fn legs(&self) -> &[LegCounters] {
        &self.legs
    }

    /// Corrupt and foreign datagrams by what was wrong with them.
    pub fn reject_reasons(&self) -> &BTreeMap<&'static str, u64> {
        &self.rejects
    }

    /// The flows, in the order of their ids.
    pub fn flows(&self) -> impl Iterator<Item = FlowState> + '_ {
        self.flows.iter().flatten().map(Flow::state)
    }

    /// The last states of the latest flows that ended or were forgotten, oldest first.
    pub fn departed(&self) -> impl Iterator<Item = &FlowState> {
        self.departed.iter()
    }

    /// One flow.
    pub fn flow(&self, id: FlowId) -> Option<FlowState> {
        self.flows.get(id.0 as usize)?.as_ref().map(Flow::state)
    }

    /// How many flows there are.
    pub fn flow_count(&self) -> usize {
        self.by_key.len()
    }

    /// Packets held back in all flows.
    pub fn held(&self) -> usize {
        self.flows.iter().flatten().map(Flow::held).sum()
    }

    /// Memory of what is held back or kept for recovery, in bytes.
    pub fn bytes_held(&self) -> usize {
        self.budget.used
    }

    /// Time does not run backwards, whatever order the legs are read in.
    fn advance(&mut self, now: Instant) -> Instant {
        let now = self.now.map_or(now, |before| before.max(now));
        self.now = Some(now);
        self.sweep_at.get_or_insert(now + SWEEP_INTERVAL);
        now
    }

    fn packet(&mut self, now: Instant, leg: u8, source: SocketAddr, bytes: Buffer) {
        let arrival = arrival::arrival(&self.config.format, source, &bytes);
        let leg = leg.min((self.legs.len() - 1).min(usize::from(u8::MAX)) as u8);
        let leg_counters = &mut self.legs[usize::from(leg)];
        leg_counters.bytes += bytes.len() as u64;
        self.others.bytes_received += bytes.len() as u64;
        match arrival {
            Err(reject) => {
                leg_counters.media += 1;
                self.others.media_received += 1;
                self.reject(reject);
                self.spend(bytes);
            }
            Ok(Arrival { body: Body::Numbered { retransmission: false, .. } | Body::Unnumbered, .. }) => {
                leg_counters.media += 1;
                self.media(now, leg, source, arrival.expect("matched above"), bytes);
            }
            Ok(Arrival { body: Body::Numbered { .. } | Body::Repair { .. }, .. }) => {
                leg_counters.repair += 1;
                self.others.repair_received += 1;
                self.repair(now, leg, source, arrival.expect("matched above"), bytes);
            }
            Ok(arrival) => {
                leg_counters.control += 1;
                self.others.control_received += 1;
                self.control(now, &arrival);
                self.spend(bytes);
            }
        }
    }

    fn spend(&mut self, bytes: Buffer) {
        if self.spent.len() < self.spent.capacity() {
            self.spent.push(bytes);
        }
    }

    fn reject(&mut self, reject: Reject) {
        match reject {
            Reject::Corrupt(_) => self.others.corrupt += 1,
            Reject::Foreign(_) => self.others.foreign += 1,
        }
        *self.rejects.entry(reject.reason().as_str()).or_default() += 1;
    }

    fn media(&mut self, now: Instant, leg: u8, source: SocketAddr, arrival: Arrival, bytes: Buffer) {
        let index = if arrival.beyond_limits() { None } else { self.flow_for(now, source, &arrival) };
        let Some(index) = index else {
            self.others.media_received += 1;
            self.others.rejected += 1;
            return self.spend(bytes);
        };
        let (flow, mut cx) = self.split(index, now);
        flow.counters.media_received += 1;
        flow.confirmed |= flow.counters.media_received > 1;
        flow.last_arrival = now;
        flow.source = source;
        flow.format = arrival.format;
        if let Some((ticks, per_second)) = arrival.clock {
            flow.clock(ticks, per_second, now);
        }
        let Arrival { payload, timestamp, format, body, .. } = arrival;
        let packet = Packet { bytes, payload, timestamp, arrived: now, format };
        match body {
            Body::Numbered { session, number, span, fingerprint, .. } => {
                let how = How::Received;
                flow.numbered(Numbered { session, number, span, fingerprint, how, packet, leg }, &mut cx);
            }
            _ => flow.unnumbered(packet, &mut cx),
        }
        self.follow_up(index, now);
    }

    /// A repair packet, or a retransmission.
    fn repair(&mut self, now: Instant, leg: u8, source: SocketAddr, arrival: Arrival, bytes: Buffer) {
        let known = self.by_key.get(&arrival.key).copied();
        let Some(index) = known.filter(|_| !arrival.beyond_limits()) else { return self.spend(bytes) };
        let (flow, mut cx) = self.split(index, now);
        match arrival.body {
            Body::Numbered { session, number, span, fingerprint, .. } => {
                let Arrival { payload, timestamp, format, .. } = arrival;
                let packet = Packet { bytes, payload, timestamp, arrived: now, format };
                let how = How::Retransmission;
                flow.numbered(Numbered { session, number, span, fingerprint, how, packet, leg }, &mut cx);
            }
            Body::Repair { session, first } if first < NUMBER_MAX => {
                flow.source = source;
                if let Ok(repair) = native::Repair::parse(&bytes[arrival.payload.clone()]) {
                    flow.repair(session, first, &repair, &mut cx);
                }
                self.spend(bytes);
            }
            _ => self.spend(bytes),
        }
        self.follow_up(index, now);
    }

    fn control(&mut self, now: Instant, arrival: &Arrival) {
        let Some(index) = self.by_key.get(&arrival.key).copied() else { return };
        let (session, next, end) = match arrival.body {
            Body::Heartbeat { session, next } => (session, next, false),
            Body::End { session, next } => (session, next, true),
            _ => return,
        };
        let (flow, mut cx) = self.split(index, now);
        flow.last_arrival = now;
        flow.announced(session, next, end, &mut cx);
        self.follow_up(index, now);
    }

    /// The flow and everything that it may use besides.
    fn split(&mut self, index: u32, now: Instant) -> (&mut Flow, Context<'_>) {
        let flow = self.flows[index as usize].as_mut().expect("indices come from the tables of live flows");
        let cx = Context {
            config: &self.config,
            outputs: &mut self.outputs,
            budget: &mut self.budget,
            codes: &mut self.codes,
            spent: &mut self.spent,
            now,
        };
        (flow, cx)
    }

    fn live(&self, index: u32) -> Option<&Flow> {
        self.flows.get(index as usize)?.as_ref()
    }

    /// The flow that this one follows if it is believed, as long as it lives.
    fn predecessor_of(&self, index: u32) -> Option<Predecessor> {
        let predecessor = self.live(index)?.predecessor?;
        self.live(predecessor.id.0).filter(|old| old.key == predecessor.key)?;
        Some(predecessor)
    }

    /// When the numbering that this flow's probation contradicts was last alive.
    fn alive(&self, index: u32) -> Option<Instant> {
        let contradicted = self.predecessor_of(index).map_or(index, |predecessor| predecessor.id.0);
        self.live(contradicted)?.alive()
    }

    /// After an input: what probation, deadlines and bounds now ask for, and the next timer.
    fn follow_up(&mut self, index: u32, now: Instant) {
        let alive = self.alive(index);
        let (flow, mut cx) = self.split(index, now);
        if flow.poll_probation(alive, &mut cx) {
            self.begin(index, now);
        }
        let (flow, mut cx) = self.split(index, now);
        flow.poll(&mut cx);
        flow.settle_budget(&mut cx);
        self.schedule(index);
    }

    /// A numbering is believed. What its predecessor still holds goes out first, unless that one goes on.
    fn begin(&mut self, index: u32, now: Instant) {
        let alive = self.alive(index);
        let succeeds = self.predecessor_of(index);
        let (flow, _) = self.split(index, now);
        let succeeds = succeeds.filter(|old| !flow.goes_on(old, alive)).map(|old| old.id);
        if let Some(old) = succeeds {
            let (old, mut cx) = self.split(old.0, now);
            old.flush_numbering(&mut cx);
        }
        let (flow, mut cx) = self.split(index, now);
        flow.begin(succeeds, &mut cx);
        let (source, format) = (flow.source, flow.format);
        if format == PacketFormat::Rtp {
            if self.by_source.len() >= 2 * self.config.flows_max {
                self.by_source.clear();
            }
            self.by_source.insert(source, index);
        }
    }

    fn schedule(&mut self, index: u32) {
        let alive = self.alive(index);
        let Some(flow) = self.flows[index as usize].as_mut() else { return };
        if let Some(at) = flow.deadline(alive)
            && flow.scheduled.is_none_or(|scheduled| at < scheduled)
        {
            flow.scheduled = Some(at);
            self.timers.push(Reverse((at, index)));
        }
    }

    fn timeout(&mut self, now: Instant) {
        while let Some(Reverse((at, index))) = self.timers.peek().copied() {
            if at > now {
                break;
            }
            self.timers.pop();
            let Some(flow) = self.flows.get_mut(index as usize).and_then(Option::as_mut) else { continue };
            if flow.scheduled == Some(at) {
                flow.scheduled = None;
                self.follow_up(index, now);
            }
        }
        if self.sweep_at.is_some_and(|at| at <= now) {
            self.sweep(now);
            self.sweep_at = Some(now + SWEEP_INTERVAL);
        }
    }

    /// Forgets flows that are idle or have ended.
    fn sweep(&mut self, now: Instant) {
        for index in 0..self.flows.len() as u32 {
            let Some(flow) = self.live(index) else { continue };
            let idle = now.saturating_duration_since(flow.last_arrival);
            if idle >= self.config.flow_idle || (flow.ended() && idle >= SWEEP_INTERVAL) {
                self.remove(index);
            }
        }
    }

    fn remove(&mut self, index: u32) {
        let Some(now) = self.now else { return };
        if self.live(index).is_none() {
            return;
        }
        let (flow, mut cx) = self.split(index, now);
        flow.flush(&mut cx);
        flow.discharge(cx.budget);
        let flow = self.flows[index as usize].take().expect("checked above");
        if flow.confirmed {
            if self.departed.len() >= DEPARTED_MAX {
                self.departed.pop_front();
            }
            self.departed.push_back(flow.state());
        }
        self.outputs.push_back(Output::FlowEnded { flow: flow.id });
        self.others.add(&flow.counters);
        self.by_key.remove(&flow.key);
        if self.by_source.get(&flow.source) == Some(&index) {
            self.by_source.remove(&flow.source);
        }
        self.free.push(index);
    }

    /// The flow of a datagram: an old one, or a new one if the bound allows.
    fn flow_for(&mut self, now: Instant, source: SocketAddr, arrival: &Arrival) -> Option<u32> {
        if let Some(index) = self.by_key.get(&arrival.key) {
            return Some(*index);
        }
        if self.by_key.len() >= self.config.flows_max && !self.make_room() {
            return None;
        }
        let index = self.free.pop().unwrap_or(self.flows.len() as u32);
        let id = FlowId(index);
        let mut flow = Flow::new(id, arrival.key, source, arrival.format, arrival.space, &self.config, now);
        flow.predecessor = self.predecessor(source, arrival);
        flow.serial = self.created;
        self.created += 1;
        self.remember_newcomer(index, flow.serial);
        if index as usize == self.flows.len() {
            self.flows.push(Some(flow));
        } else {
            self.flows[index as usize] = Some(flow);
        }
        self.by_key.insert(arrival.key, index);
        Some(index)
    }

    /// The RTP flow of the same source, if there is one: a new SSRC may be its next session.
    fn predecessor(&self, source: SocketAddr, arrival: &Arrival) -> Option<Predecessor> {
        if arrival.format != PacketFormat::Rtp {
            return None;
        }
        let index = *self.by_source.get(&source)?;
        self.live(index).filter(|old| old.established() && old.source == source).map(Flow::as_predecessor)
    }

    fn remember_newcomer(&mut self, index: u32, serial: u64) {
        if self.newcomers.len() >= 2 * self.config.flows_max {
            let mut newcomers = mem::take(&mut self.newcomers);
            newcomers.retain(|entry| self.is_newcomer(entry));
            self.newcomers = newcomers;
        }
        self.newcomers.push_back((index, serial));
    }

    fn is_newcomer(&self, (index, serial): &(u32, u64)) -> bool {
        self.live(*index).is_some_and(|flow| flow.serial == *serial && !flow.confirmed)
    }

    /// Forgets the oldest flow that never sent a second packet. Flows in use are never pushed out.
    fn make_room(&mut self) -> bool {
        while let Some(entry) = self.newcomers.pop_front() {
            if self.is_newcomer(&entry) {
                self.remove(entry.0);
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests;
