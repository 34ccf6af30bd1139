//! The pure core: one [`Relay`] per channel puts the packets of its flows in order, recovers what it can and
//! gives up what is overdue. No I/O and no clock; it knows only `wire`, `fec` and `limits`.
//!
//! Contract: [`Relay::handle_input`], then [`Relay::poll_output`] until it answers [`Output::Timeout`]; call
//! again with [`Input::Timeout`] at that instant, if nothing came before. The same inputs give the same outputs.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap, VecDeque},
    net::SocketAddr,
    time::{Duration, Instant},
};

use foldhash::quality::RandomState;

use crate::{
    buffer::{Buffer, Pool},
    identify::Sources,
    limits::{NUMBER_MAX, SPENT_MAX, SWEEP_INTERVAL},
};
use tidecast_wire::{Reason, Reject, fec::rs::Codes, native};

mod arrival;
mod bundle;
mod census;
mod control;
mod dedup;
mod drops;
mod flow;
mod hold;
mod hosts;
mod legs;
mod paced;
mod peak;
mod places;
mod probation;
mod recover;
mod recovery;
mod refused;
mod reorder;
mod reports;
mod retransmission;
mod rist;
mod settings;
mod source;
mod st2022;
mod stats;
mod succession;
mod table;
mod types;

use arrival::{Arrival, Body, FlowKey};
pub use census::Census;
use census::Ongoing;
use control::Copies;
use drops::Drops;
use flow::{Flow, Numbered, Stranger, Wanted, Way};
pub use hold::Hold;
pub use hosts::FlowsRefused;
use hosts::Hosts;
pub use paced::{Delay, Pacing, Release};
pub use refused::Refused;
pub use reports::Beside;
use reports::Reports;
use retransmission::Pace;
use rist::Rist;
pub use settings::{DelayError, FecError, HoldError, ReleaseError, RetransmissionError};
pub use stats::{Counters, LegCounters};
pub use types::{
    Asks, Collision, Config, Delivery, Fec, FlowId, FlowState, How, Input, Output, Packet, PacketFormat,
    Retransmission, Socket,
};

/// Why a packet beside the media is of no use that does not come from where the media comes from.
const OTHER_SOURCE: &str = "other_source";

/// Memory that the flows of a channel share.
#[derive(Debug)]
struct Budget {
    used: usize,
    max: usize,
    /// Packets of paced release that it drove out.
    early: u64,
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
    /// Before that, the flow at the same place in `flows` is not idle: a sweep leaves its memory alone.
    idle_at: Vec<Instant>,
    /// Keys come from whoever sends: the hash is seeded at random. Nothing depends on its order.
    by_key: HashMap<FlowKey, u32, RandomState>,
    /// What each source sends, where the configuration does not say.
    sources: Option<Box<Sources<Buffer>>>,
    /// The flow of the last datagram: the next one is likely of the same.
    latest: Option<(FlowKey, u32)>,
    /// The flow that a player follows, as far as is known here.
    lead: Option<u32>,
    /// Flows that begin to send while it may stop; at most [`crate::limits::TRIALS_MAX`].
    trials: Vec<u32>,
    /// Further keys of flows in `by_key`.
    ports: usize,
    /// The RTP flow last heard from each source.
    by_source: HashMap<SocketAddr, u32>,
    /// The flows that ST 2022-1 repair packets may be for; at most [`crate::limits::ST2022_FLOWS_MAX`].
    protected: Vec<u32>,
    /// Flows in the order of their creation, to make room from those that never sent a second packet.
    newcomers: VecDeque<(u32, u64)>,
    /// Whose the flows are.
    hosts: Hosts,
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
    /// A census that is being taken.
    census: Option<Box<Ongoing>>,
    legs: Vec<LegCounters>,
    /// When each leg last brought anything, if there are several.
    heard: Vec<Option<Instant>>,
    rejects: BTreeMap<&'static str, u64>,
    /// What one of each of them looked like lately.
    refused: BTreeMap<&'static str, Refused>,
    /// Requests of the flows for RIST senders; empty between two inputs.
    wanted: Vec<Wanted>,
    pace: Pace,
    drops: Drops,
    /// Of channels with RIST legs.
    rist: Option<Box<Rist>>,
    reports: Reports,
    /// Datagrams without a number that a leg brought lately, of channels with several.
    copies: Copies,
    /// No packet takes a short way.
    #[cfg(test)]
    long_only: bool,
}

impl Relay {
    /// The core for one channel.
    pub fn new(config: Config) -> Relay {
        Relay {
            flows: Vec::new(),
            free: Vec::new(),
            idle_at: Vec::new(),
            by_key: HashMap::default(),
            sources: source::sources(&config),
            latest: None,
            lead: None,
            trials: Vec::new(),
            ports: 0,
            by_source: HashMap::new(),
            protected: Vec::new(),
            newcomers: VecDeque::new(),
            hosts: Hosts::default(),
            created: 0,
            timers: BinaryHeap::new(),
            outputs: VecDeque::new(),
            budget: Budget { used: 0, max: config.bytes_max, early: 0 },
            codes: Codes::new(),
            spent: Vec::with_capacity(SPENT_MAX),
            now: None,
            sweep_at: None,
            others: Counters::default(),
            departed: VecDeque::new(),
            census: None,
            legs: vec![LegCounters::default(); config.legs.max(1)],
            heard: vec![None; config.legs.max(1)],
            rejects: BTreeMap::new(),
            refused: BTreeMap::new(),
            wanted: Vec::new(),
            pace: Pace::default(),
            drops: Drops::default(),
            reports: Reports::default(),
            rist: config.asks.iter().any(|asks| asks.rist).then(|| Box::new(Rist::new(config.seed))),
            copies: Copies::default(),
            #[cfg(test)]
            long_only: false,
            config,
        }
    }

    /// Takes one input. Call [`Relay::poll_output`] next, until it answers `Timeout`.
    #[inline]
    pub fn handle_input(&mut self, input: Input) {
        match input {
            Input::Packet { now, leg, source, bytes } => {
                let now = self.advance(now);
                self.packet(now, leg, source, bytes);
            }
            Input::Repair { now, leg, source, bytes } => {
                let now = self.advance(now);
                self.st2022(now, leg, source, bytes);
            }
            Input::Control { now, leg, source, bytes } => {
                let now = self.advance(now);
                self.rtcp(now, leg, source, bytes);
            }
            Input::Report { now, leg, source, bytes } => {
                let now = self.advance(now);
                self.report(now, leg, source, bytes);
            }
            Input::Dropped { now, leg, count } => {
                let (now, leg) = (self.advance(now), self.leg(leg));
                self.drops.note(now, leg, count);
            }
            Input::Timeout { now } => {
                let now = self.advance(now);
                self.timeout(now);
            }
        }
    }

    /// The next output; [`Output::Timeout`] when there is nothing more to do now.
    #[inline]
    pub fn poll_output(&mut self) -> Output {
        self.outputs.pop_front().unwrap_or_else(|| Output::Timeout(self.next_timeout()))
    }

    fn next_timeout(&self) -> Option<Instant> {
        let timer = self.timers.peek().map(|Reverse((at, _))| *at);
        let sweep = self.sweep_at.filter(|_| !self.by_key.is_empty());
        let rist = self.rist.as_ref().and_then(|rist| rist.due());
        let source = self.sources.as_ref().and_then(|sources| sources.due());
        [timer, sweep, rist, source].into_iter().flatten().min()
    }

    /// Delivers everything that is held back, and counts the rest; for the end of the channel.
    pub fn finish(&mut self, now: Instant) {
        let now = self.advance(now);
        self.settle_sources(now);
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
        totals.media_received += self.undecided() as u64;
        totals
    }

    /// What each leg brought in.
    pub fn legs(&self) -> &[LegCounters] {
        &self.legs
    }

    /// The round trip to the producers on a leg, as echoes or answered requests have measured it.
    pub fn round_trip(&self, leg: u8) -> Option<Duration> {
        let echo = self.rist.as_ref().and_then(|rist| rist.round_trip(leg));
        let flows = || self.flows.iter().flatten().filter_map(|flow| flow.round_trip_on(leg)).max();
        echo.or_else(flows)
    }

    /// Corrupt and foreign datagrams, and repair packets of no use, by what was wrong with them.
    pub fn reject_reasons(&self) -> &BTreeMap<&'static str, u64> {
        &self.rejects
    }

    /// What the datagrams of those reasons look like, one of each.
    pub fn refused(&self) -> &BTreeMap<&'static str, Refused> {
        &self.refused
    }

    /// The flows, in the order of their ids.
    pub fn flows(&self) -> impl Iterator<Item = FlowState> + '_ {
        self.flows.iter().flatten().map(Flow::state)
    }

    /// The last states of the latest flows that ended or were forgotten, oldest first.
    pub fn departed(&self) -> impl Iterator<Item = &FlowState> {
        self.departed.iter()
    }

    /// The longest hold in force, and the largest interarrival jitter of the flows heard since `since`.
    pub fn timing(&self, since: Instant) -> (Duration, Duration) {
        let flows = self.flows.iter().flatten();
        flows.fold((Duration::ZERO, Duration::ZERO), |(longest, largest), flow| {
            let (hold, jitter) = flow.timing();
            let jitter = if flow.last_arrival >= since { jitter } else { Duration::ZERO };
            (longest.max(hold), largest.max(jitter))
        })
    }

    /// Packets that left before their time because memory had reached its bound.
    pub fn released_early(&self) -> u64 {
        self.budget.early
    }

    /// How many flows there are.
    pub fn flow_count(&self) -> usize {
        self.by_key.len() - self.ports
    }

    /// Packets held back in all flows.
    pub fn held(&self) -> usize {
        self.undecided() + self.flows.iter().flatten().map(Flow::held).sum::<usize>()
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

    fn packet(&mut self, now: Instant, leg: u8, source: SocketAddr, mut bytes: Buffer) {
        let leg = self.leg(leg);
        self.legs[usize::from(leg)].bytes += bytes.len() as u64;
        self.others.bytes_received += bytes.len() as u64;
        let mut arrival = match &mut self.sources {
            None => arrival::arrival(&self.config.format, source, &bytes),
            Some(sources) => match sources.known(now, leg, source, &bytes) {
                Some(kind) => arrival::identified(kind, source, &bytes),
                None => return self.identify(now, leg, source, bytes),
            },
        };
        if arrival.is_err() && self.sources.is_some() {
            return self.identify_misfit(now, leg, source, bytes);
        }
        if let (Some(_), Ok(arrival)) = (&self.rist, &mut arrival) {
            self.restore(leg, arrival, &mut bytes);
        }
        self.arrived(now, None, leg, source, &arrival, bytes);
    }

    /// A datagram whose format is known. `waited`: it had to wait for that since then.
    #[inline(always)]
    fn arrived(
        &mut self,
        now: Instant,
        waited: Option<Instant>,
        leg: u8,
        source: SocketAddr,
        arrival: &Result<Arrival, Reject>,
        bytes: Buffer,
    ) {
        let leg_counters = &mut self.legs[usize::from(leg)];
        match arrival {
            Err(reject) => {
                if *reject == Reject::Foreign(Reason::Rtcp)
                    && self.muxed_report(now, leg, source, &bytes).is_ok()
                {
                    return self.spend(bytes);
                }
                let leg_counters = &mut self.legs[usize::from(leg)];
                leg_counters.media += 1;
                self.others.media_received += 1;
                self.reject(*reject);
                self.look_at(reject.reason().as_str(), now, source, &bytes);
                self.spend(bytes);
            }
            Ok(arrival) => match arrival.body {
                Body::Numbered { retransmission: false, .. } | Body::Unnumbered => {
                    leg_counters.media += 1;
                    self.media(now, waited, leg, source, arrival, bytes);
                }
                Body::Numbered { .. } | Body::Repair { .. } => {
                    leg_counters.repair += 1;
                    self.others.repair_received += 1;
                    self.repair(now, leg, source, arrival, bytes);
                }
                Body::Heartbeat { .. } | Body::End { .. } if arrival.format == PacketFormat::Custom => {
                    leg_counters.control += 1;
                    self.others.control_received += 1;
                    self.pass_control(now, leg, source, arrival, bytes);
                }
                Body::Passes => {
                    leg_counters.control += 1;
                    self.others.control_received += 1;
                    self.pass_in_place(now, leg, source, arrival, bytes);
                }
                Body::Mixed | Body::Scaled => self.relative(now, waited, leg, source, arrival, bytes),
                _ => {
                    leg_counters.control += 1;
                    self.others.control_received += 1;
                    self.control(now, leg, source, arrival);
                    self.spend(bytes);
                }
            },
        }
    }

    /// The index of a leg; one too high counts as the last.
    fn leg(&self, leg: u8) -> u8 {
        leg.min((self.legs.len() - 1).min(usize::from(u8::MAX)) as u8)
    }

    fn spend(&mut self, bytes: Buffer) {
        if self.spent.len() < self.spent.capacity() {
            self.spent.push(bytes);
        }
    }

    #[cold]
    fn reject(&mut self, reject: Reject) {
        match reject {
            Reject::Corrupt(_) => self.others.corrupt += 1,
            Reject::Foreign(_) => self.others.foreign += 1,
        }
        *self.rejects.entry(reject.reason().as_str()).or_default() += 1;
    }

    #[inline(always)]
    fn media(
        &mut self,
        now: Instant,
        waited: Option<Instant>,
        leg: u8,
        source: SocketAddr,
        arrival: &Arrival,
        bytes: Buffer,
    ) {
        let known = if arrival.beyond_limits() { None } else { self.known(&arrival.key) };
        let index = match known {
            None if waited.is_none() && self.is_strange(arrival) => {
                self.legs[usize::from(leg)].media -= 1;
                return self.identify_misfit(now, leg, source, bytes);
            }
            None => self.flow_for(now, leg, source, arrival),
            known => known,
        };
        let Some(index) = index else {
            self.others.media_received += 1;
            self.others.rejected += 1;
            return self.spend(bytes);
        };
        if !self.trials.is_empty() || arrival.format == PacketFormat::Ts {
            self.before_stream(index, arrival, &bytes, now);
        }
        let flow = self.flow_mut(index);
        if !flow.is_from(leg, source) {
            let stranger = flow.whose(leg, source, arrival, now);
            if stranger != Stranger::Ours {
                return self.other_address(index, now, leg, source, arrival, bytes, stranger);
            }
        }
        flow.heard(source, leg, arrival.format, now);
        if flow.resumes() {
            self.begins(index, now);
        }
        // What a packet in order needs is borrowed by itself: the whole context costs as much as the rest.
        let Some(Some(flow)) = self.flows.get_mut(index as usize) else { return };
        let long = !self.trials.is_empty();
        #[cfg(test)]
        let long = long || self.long_only;
        let way = if long { Way::Long } else { flow.way(arrival, &bytes, now, &self.budget) };
        let Arrival { timestamp, format, clock, .. } = *arrival;
        let arrived = waited.unwrap_or(now);
        let packet = Packet { bytes, payload: arrival.payload.clone(), timestamp, arrived, format };
        if let Way::Pass = way {
            let delivery = flow.pass(arrival, packet, now, &self.config);
            return self.outputs.push_back(Output::Deliver(delivery));
        }
        let (flow, mut cx) = self.split(index, now);
        match (way, &arrival.body) {
            (Way::Repeat, _) => {
                flow.counters.duplicate += 1;
                return cx.spend(packet);
            }
            (Way::Wait(number), _) => {
                if !flow.wait(number, arrival, packet, &mut cx) {
                    return;
                }
            }
            (Way::Open(number), _) => {
                if !flow.wait(number, arrival, packet, &mut cx) {
                    flow.look(&cx);
                    return self.schedule(index, now);
                }
            }
            (Way::Fill(number), _) => {
                if !flow.fill(number, arrival, packet, &mut cx) {
                    return;
                }
            }
            (Way::Long, &Body::Numbered { session, number, span, fingerprint, .. }) => {
                let how = How::Received;
                let packet = Numbered { session, number, span, fingerprint, how, packet, leg, clock };
                flow.numbered(packet, &mut cx);
            }
            _ => flow.unnumbered(packet, &mut cx),
        }
        self.follow_up(index, now);
    }

    /// A packet with a flow's id that does not come from its address, and waits or is rejected.
    #[cold]
    #[expect(clippy::too_many_arguments, reason = "what belongs to one datagram")]
    fn other_address(
        &mut self,
        index: u32,
        now: Instant,
        leg: u8,
        source: SocketAddr,
        arrival: &Arrival,
        bytes: Buffer,
        stranger: Stranger,
    ) {
        let (flow, mut cx) = self.split(index, now);
        let &Body::Numbered { session, number, span, fingerprint, .. } = &arrival.body else { return };
        if stranger == Stranger::Collides {
            flow.collides(leg, source, now);
            *cx.rejects.entry(Flow::COLLISION).or_default() += 1;
            let first = flow.source_on(leg);
            self.look_at(Flow::COLLISION, now, source, &bytes);
            self.look_also_at(Flow::COLLISION, first);
            return self.spend(bytes);
        }
        let Arrival { timestamp, format, clock, .. } = *arrival;
        let packet = Packet { bytes, payload: arrival.payload.clone(), timestamp, arrived: now, format };
        let how = How::Received;
        let packet = Numbered { session, number, span, fingerprint, how, packet, leg, clock };
        flow.wait_for_source(source, packet, &mut cx);
        self.follow_up(index, now);
    }

    /// What comes beside a flow's media counts only from where the media comes from.
    fn is_elsewhere(&mut self, ours: bool) -> bool {
        if !ours {
            *self.rejects.entry(OTHER_SOURCE).or_default() += 1;
        }
        !ours
    }

    /// A repair packet, or a retransmission.
    #[inline(never)]
    fn repair(&mut self, now: Instant, leg: u8, source: SocketAddr, arrival: &Arrival, bytes: Buffer) {
        let known = self.known(&arrival.key);
        let Some(index) = known.filter(|_| !arrival.beyond_limits()) else { return self.spend(bytes) };
        let ours = self.live(index).is_some_and(|flow| match arrival.body {
            Body::Repair { .. } => flow.is_ours(leg, source),
            _ => flow.is_of_host(leg, source),
        });
        if self.is_elsewhere(ours) {
            return self.spend(bytes);
        }
        let (flow, mut cx) = self.split(index, now);
        match arrival.body {
            Body::Numbered { session, number, span, fingerprint, .. } => {
                let Arrival { timestamp, format, .. } = *arrival;
                let packet =
                    Packet { bytes, payload: arrival.payload.clone(), timestamp, arrived: now, format };
                let how = How::Retransmission;
                let packet = Numbered { session, number, span, fingerprint, how, packet, leg, clock: None };
                flow.numbered(packet, &mut cx);
            }
            Body::Repair { session, first } if first < NUMBER_MAX => {
                if let Ok(repair) = native::Repair::parse(
                    &bytes[arrival.payload.start as usize..arrival.payload.end as usize],
                ) {
                    flow.repair(session, first, &repair, &mut cx);
                }
                self.spend(bytes);
            }
            _ => self.spend(bytes),
        }
        self.follow_up(index, now);
    }

    #[inline(never)]
    fn control(&mut self, now: Instant, leg: u8, source: SocketAddr, arrival: &Arrival) {
        let Some(index) = self.known(&arrival.key) else { return };
        let ours = self.live(index).is_some_and(|flow| flow.is_ours(leg, source));
        let (session, next, end) = match arrival.body {
            Body::Heartbeat { session, next } => (session, next, false),
            Body::End { session, next } => (session, next, true),
            _ => return,
        };
        if self.is_elsewhere(ours) {
            return;
        }
        let (flow, mut cx) = self.split(index, now);
        flow.shows(now);
        flow.announced(session, next, end, &mut cx);
        self.idle_at[index as usize] = now;
        self.follow_up(index, now);
    }

    /// After an input: what probation, deadlines and bounds now ask for, and the next timer.
    fn follow_up(&mut self, index: u32, now: Instant) {
        if self.live(index).is_some_and(Flow::has_probation) {
            let alive = self.alive(index);
            let (flow, mut cx) = self.split(index, now);
            if flow.poll_probation(alive, &mut cx) {
                self.begin(index, now);
            }
        }
        let (flow, mut cx) = self.split(index, now);
        flow.weigh_sources(&mut cx);
        flow.judge_legs(&mut cx);
        flow.poll(&mut cx);
        flow.ask(&mut cx);
        flow.release(&mut cx);
        flow.settle_budget(&mut cx);
        flow.look(&cx);
        self.schedule(index, now);
        if !self.wanted.is_empty() {
            self.send_wanted(now);
        }
        if !self.trials.is_empty() {
            self.judge_trials(now);
        }
    }

    /// Before a packet of a stream is taken in, where several streams may be one or one may take another one's place.
    #[inline]
    fn before_stream(&mut self, index: u32, arrival: &Arrival, bytes: &Buffer, now: Instant) {
        if arrival.format == PacketFormat::Ts
            && self.lead.is_some_and(|lead| lead != index || !self.trials.is_empty())
        {
            self.weigh_ports(index, bytes, now);
        }
    }

    /// A numbering is believed.
    fn begin(&mut self, index: u32, now: Instant) {
        let (flow, mut cx) = self.split(index, now);
        flow.begin(&mut cx);
        if let Some(round_trip) = self.round_trip_known(index) {
            self.flow_mut(index).round_trip_is(round_trip, now);
        }
        let (flow, _) = self.split(index, now);
        let (source, format) = (flow.source, flow.format);
        if format == PacketFormat::Rtp {
            if self.by_source.len() >= 2 * self.config.flows_max {
                self.by_source.clear();
            }
            self.by_source.insert(source, index);
            self.protect(index);
        }
    }

    fn schedule(&mut self, index: u32, now: Instant) {
        let probation = self.live(index).is_some_and(Flow::has_probation);
        let alive = if probation { self.alive(index) } else { None };
        let verdict = if self.trials.is_empty() { None } else { self.verdict_due(index) };
        let Some(flow) = self.flows[index as usize].as_mut() else { return };
        if let Some(at) = flow.deadline(alive, now).into_iter().chain(verdict).min()
            && flow.scheduled.is_none_or(|scheduled| at < scheduled || scheduled <= now)
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
        if self.rist.as_ref().and_then(|rist| rist.due()).is_some_and(|at| at <= now) {
            self.poll_rist(now);
        }
        self.expire_sources(now);
        if self.sweep_at.is_some_and(|at| at <= now) {
            self.sweep(now);
            self.sweep_at = Some(now + SWEEP_INTERVAL);
        }
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod ways_tests;
