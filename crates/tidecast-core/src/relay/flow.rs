//! The packets of one producer: its current session, packets under probation, and counters. A
//! packet enters through [`numbered`], [`unnumbered`] or the short ways of [`pass`], and leaves
//! through [`release`].

use std::{
    collections::VecDeque,
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::{
    Budget, Config, FlowId, FlowState, PacketFormat,
    arrival::FlowKey,
    hold::{HoldEstimate, Rate},
    legs::Legs,
    paced::Pacer,
    probation::Probation,
    stats::Counters,
};
use crate::jitter::{Jitter, StampClock};
use tidecast_wire::{
    custom::Scale,
    seq::Space,
    step::Step,
    ts::{Continuity, packets::Packets},
};

mod age;
mod ask;
mod begin;
mod belief;
mod content;
mod context;
mod control;
mod heard;
mod jump;
mod legs;
mod numbered;
mod paced;
mod pass;
mod recovery;
mod release;
mod session;
mod sources;
mod standing;
mod trial;
mod unnumbered;
mod window;

pub(super) use ask::Wanted;
use content::{Content, Strangers};
pub(super) use context::{Context, Numbered, Predecessor};
use control::Controls;
pub(super) use pass::Way;
use session::Session;
use sources::OtherSources;
pub(super) use sources::Stranger;
use trial::Trial;
pub(super) use trial::TrialVerdict;

/// State of one producer's flow. The fields that every packet touches come first: with thousands
/// of flows, each further cache line costs more than the work on it.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Flow {
    pub(super) key: FlowKey,
    hold: HoldEstimate,
    rate: Rate,
    jitter: Jitter,
    /// Clock rates of the flow's RTP timestamps.
    clock: StampClock,
    pub(super) id: FlowId,
    pub(super) format: PacketFormat,
    /// Whether more than one packet has come, so that the source is likely not forged.
    pub(super) confirmed: bool,
    ended: bool,
    pub(super) source: SocketAddr,
    /// When the latest packet of the current session came.
    alive: Option<Instant>,
    pub(super) last_arrival: Instant,
    /// Origin of the time scale for jitter and pauses.
    epoch: Instant,
    /// On that scale, in nanoseconds, which are cheaper than durations: the arrival of the last
    /// packet, the longest recent pause between two packets, and the pause before the last packet
    /// if it was longer, otherwise zero.
    heard_at: u64,
    gap: u64,
    pause: u64,
    /// State of each leg, for channels with several.
    legs: Option<Box<Legs>>,
    pub(super) counters: Counters,
    /// What the flow carries, if it is RTP.
    content: Content,
    session: Option<Session>,
    space: Space,
    probation: Probation,
    /// Continuity of a transport stream without RTP.
    continuity: Option<Box<(Packets, Continuity)>>,
    /// Numbers taken by packets that are no media.
    strangers: Option<Box<Strangers>>,
    /// Paced release: holds back packets that are in order until they are due.
    pacer: Option<Box<Pacer>>,
    /// How many numbers each packet takes.
    step: Step,
    /// Control datagrams of a custom format that keep their place among the packets.
    controls: Option<Box<Controls>>,
    /// State that extends numbers of a custom format that a single datagram does not determine.
    scale: Option<Box<Scale>>,
    pub(super) predecessor: Option<Predecessor>,
    /// Serial number among all flows of the channel, in the order of their creation.
    pub(super) serial: u64,
    /// Deadline that is set in the channel's timer.
    pub(super) scheduled: Option<Instant>,
    /// Memory charged to the channel, in bytes.
    charged: usize,
    /// Other addresses that send packets with this flow's id.
    sources: Option<Box<OtherSources>>,
    /// Holds back the output until it is clear whether the followed flow has stopped.
    trial: Option<Box<Trial>>,
    /// Further keys of this flow: other ports of its producer.
    pub(super) ports: VecDeque<FlowKey>,
    /// How often in a row the numbering has restarted with the same number.
    stood: u8,
}

impl Flow {
    pub(super) fn new(
        id: FlowId,
        key: FlowKey,
        source: SocketAddr,
        format: PacketFormat,
        space: Space,
        config: &Config,
        now: Instant,
    ) -> Flow {
        let several = config.legs > 1;
        Flow {
            id,
            key,
            source,
            format,
            space,
            session: None,
            probation: Probation::default(),
            hold: HoldEstimate::new(config.hold, now),
            rate: Rate::new(now),
            jitter: Jitter::default(),
            clock: StampClock::default(),
            continuity: None,
            content: Content::default(),
            strangers: None,
            pacer: Flow::new_pacer(config, now),
            counters: Counters::default(),
            step: Step::default(),
            controls: None,
            scale: None,
            legs: several
                .then(|| Box::new(Legs::new(config.legs, config.hold.max(), config.window_max, now))),
            alive: None,
            last_arrival: now,
            heard_at: 0,
            gap: 0,
            pause: 0,
            sources: None,
            trial: None,
            ports: VecDeque::new(),
            stood: 0,
            confirmed: false,
            ended: false,
            predecessor: None,
            serial: 0,
            scheduled: None,
            charged: 0,
            epoch: now,
        }
    }

    /// When the latest packet of the current session came.
    pub(super) fn alive(&self) -> Option<Instant> {
        self.alive
    }

    /// Whether there is a current numbering.
    pub(super) fn established(&self) -> bool {
        self.session.is_some() || self.passed() > 0
    }

    /// Whether the producer has announced the end of its session, and no packet is held back any
    /// more.
    pub(super) fn ended(&self) -> bool {
        self.ended && self.held() == 0
    }

    /// Whether the producer has announced the end of its session.
    pub(super) fn said_end(&self) -> bool {
        self.ended
    }

    /// Packets held back.
    pub(super) fn held(&self) -> usize {
        self.held_back() + self.probation.len() + self.paced() + self.detained() + self.pending()
            - self.void()
    }

    /// Whether packets are under probation.
    pub(super) fn has_probation(&self) -> bool {
        !self.probation.is_empty()
    }

    /// Whether a packet with this wire number may belong to the current session.
    pub(super) fn is_near(&self, wire: u64) -> bool {
        self.session.as_ref().is_some_and(|session| session.is_near(wire))
    }

    /// Packets that wait in the reorder buffer.
    fn held_back(&self) -> usize {
        self.session.as_ref().map_or(0, |session| session.reorder.stored())
    }

    /// Current hold and interarrival jitter.
    pub(super) fn timing(&self) -> (Duration, Duration) {
        (self.hold.get(), self.jitter.value())
    }

    /// State of the flow, for display.
    pub(super) fn state(&self) -> FlowState {
        let session = self.session.as_ref();
        FlowState {
            id: self.id,
            key: self.key.to_string(),
            source: self.source,
            format: self.format,
            session: session.map_or(0, |session| session.id),
            counters: self.counters.clone(),
            held: self.held(),
            hold: self.hold.get(),
            jitter: self.jitter.value(),
            pacing: self.pacing(),
            round_trip: session.and_then(Session::round_trip),
            packets_per_second: self.rate.get(),
            last_arrival: self.last_arrival,
            ended: self.ended,
            collision: self.collision(),
            unnumbered: session.is_some_and(|session| session.standing.is_some()),
            fec_matrix: session.and_then(Session::fec_matrix),
        }
    }
}
