//! The pure core of a channel: a [`Relay`] orders the packets of its flows, recovers missing ones
//! and gives up what is overdue. It does no I/O and reads no clock; it depends only on `wire`,
//! `fec` and `limits`.
//!
//! Contract: call [`Relay::handle_input`], then [`Relay::poll_output`] until it returns
//! [`Output::Timeout`]. At that instant, call with [`Input::Timeout`], unless another input came
//! before. The same inputs give the same outputs.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap, VecDeque},
    net::SocketAddr,
    time::Instant,
};

use foldhash::quality::RandomState;

use crate::{
    buffer::{Buffer, Pool},
    identify::Sources,
    limits::{SPENT_MAX, SWEEP_INTERVAL},
};
use tidecast_wire::fec::rs::Codes;

mod arrival;
mod budget;
mod bundle;
mod census;
mod control;
mod dedup;
mod drops;
mod flow;
mod hold;
mod hosts;
mod legs;
mod media;
mod paced;
mod peak;
mod places;
mod probation;
mod recovery;
mod refused;
mod reorder;
mod repair;
mod reports;
mod retransmission;
mod rist;
mod sealed;
mod settings;
mod source;
mod stats;
mod succession;
mod table;
mod timers;
mod types;
mod views;

use arrival::FlowKey;
use budget::Budget;
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
use sealed::Sealed;
pub use settings::{DelayError, FecError, HoldError, ReleaseError, RetransmissionError};
pub use stats::{Counters, LegCounters};
pub use types::{
    Asks, Collision, Config, Delivery, Fec, FlowId, FlowState, How, Input, Output, Packet, PacketFormat,
    Retransmission, Socket,
};

/// The core of one channel.
#[derive(Debug)]
pub struct Relay {
    config: Config,
    flows: Vec<Option<Flow>>,
    free: Vec<u32>,
    /// Earliest time at which the flow at the same index in `flows` may be idle: a sweep skips the
    /// flow before that.
    idle_at: Vec<Instant>,
    /// Keys come from the network, so the hash is seeded at random. Nothing depends on its order.
    by_key: HashMap<FlowKey, u32, RandomState>,
    /// What is known of the sealed streams, if the channel takes no others.
    sealed: Option<Box<Sealed>>,
    /// Identifies the format of each source, if the configuration does not name it.
    sources: Option<Box<Sources<Buffer>>>,
    /// Flow of the last datagram; the next one probably belongs to it, too.
    latest: Option<(FlowKey, u32)>,
    /// The flow that players follow, as far as the core knows.
    lead: Option<u32>,
    /// Flows on trial, because the lead may have stopped; at most [`crate::limits::TRIALS_MAX`].
    trials: Vec<u32>,
    /// Count of keys in `by_key` that are further ports of a flow.
    ports: usize,
    /// The RTP flow last heard from each source.
    by_source: HashMap<SocketAddr, u32>,
    /// Flows that ST 2022-1 repair packets may protect; at most
    /// [`crate::limits::ST2022_FLOWS_MAX`].
    protected: Vec<u32>,
    /// Flows in order of creation, to remove those first that never sent a second packet.
    newcomers: VecDeque<(u32, u64)>,
    /// Which host each flow belongs to.
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
    /// Counters of datagrams without a flow, and of removed flows.
    others: Counters,
    departed: VecDeque<FlowState>,
    /// A census in progress.
    census: Option<Box<Ongoing>>,
    legs: Vec<LegCounters>,
    /// Last arrival on each leg, if there are several.
    heard: Vec<Option<Instant>>,
    rejects: BTreeMap<&'static str, u64>,
    /// The latest example for each reason.
    refused: BTreeMap<&'static str, Refused>,
    /// Requests of the flows for RIST senders; empty between two inputs.
    wanted: Vec<Wanted>,
    pace: Pace,
    drops: Drops,
    /// State of the RIST receivers, for channels with RIST legs.
    rist: Option<Box<Rist>>,
    reports: Reports,
    /// Recent datagrams without a number, for channels with several legs.
    copies: Copies,
    /// Disables the short ways of packets.
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
            sealed: config
                .seal
                .as_ref()
                .map(|keyring| Box::new(Sealed::new(keyring.clone(), config.legs, config.flows_max))),
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

    /// Processes one input. Call [`Relay::poll_output`] next, until it returns [`Output::Timeout`].
    /// Time does not run backwards: an input that is older than the one before counts as being of
    /// the same instant. Never panics, whatever bytes come in.
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

    /// Returns the next output; [`Output::Timeout`] when there is nothing more to do now.
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

    /// Ends all flows at the end of the channel: delivers what is held back, and counts the rest as
    /// lost or rejected.
    pub fn finish(&mut self, now: Instant) {
        let now = self.advance(now);
        self.settle_sources(now);
        for index in 0..self.flows.len() as u32 {
            self.remove(index);
        }
    }

    /// Returns the buffers of dropped packets to the pool.
    pub fn reclaim(&mut self, pool: &mut Pool) {
        for buffer in self.spent.drain(..) {
            pool.put(buffer);
        }
    }

    /// Makes time monotonic, whatever order the legs are read in.
    fn advance(&mut self, now: Instant) -> Instant {
        let now = self.now.map_or(now, |before| before.max(now));
        self.now = Some(now);
        self.sweep_at.get_or_insert(now + SWEEP_INTERVAL);
        now
    }

    /// Index of a leg; one that is too high counts as the last leg.
    fn leg(&self, leg: u8) -> u8 {
        leg.min((self.legs.len() - 1).min(usize::from(u8::MAX)) as u8)
    }

    fn spend(&mut self, bytes: Buffer) {
        if self.spent.len() < self.spent.capacity() {
            self.spent.push(bytes);
        }
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod ways_tests;
