//! One producer's packets: its session in force, the packets under probation, and its counters. A packet comes in through
//! [`numbered`], [`unnumbered`] or the short ways of [`pass`], and goes out through [`release`].

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

/// One producer. In the order of its fields what every packet touches stands together: with thousands of flows, each
/// further cache line costs more than the work on it.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Flow {
    pub(super) key: FlowKey,
    hold: HoldEstimate,
    rate: Rate,
    jitter: Jitter,
    /// What its RTP time stamps count.
    clock: StampClock,
    pub(super) id: FlowId,
    pub(super) format: PacketFormat,
    /// More than one packet has come: not a made-up source.
    pub(super) confirmed: bool,
    ended: bool,
    pub(super) source: SocketAddr,
    /// When the session in force last showed itself.
    alive: Option<Instant>,
    pub(super) last_arrival: Instant,
    /// Start of the time scale for jitter and pauses.
    epoch: Instant,
    /// When the last packet came on that scale, the longest pause between two packets lately, and the pause before the
    /// last packet if it was longer, or zero; all in nanoseconds, which cost less than durations.
    heard_at: u64,
    gap: u64,
    pause: u64,
    /// What each leg has brought, for channels with several.
    legs: Option<Box<Legs>>,
    pub(super) counters: Counters,
    /// What an RTP flow carries.
    content: Content,
    session: Option<Session>,
    space: Space,
    probation: Probation,
    /// Of a transport stream without RTP.
    continuity: Option<Box<(Packets, Continuity)>>,
    /// Of what does not belong to the stream that an RTP flow carries.
    strangers: Option<Box<Strangers>>,
    /// Holds back what is in order until it is due, for paced release.
    pacer: Option<Box<Pacer>>,
    /// How many numbers its packets take.
    step: Step,
    /// Control datagrams of a custom format.
    controls: Option<Box<Controls>>,
    /// How the numbers of a custom format run that one datagram does not tell.
    scale: Option<Box<Scale>>,
    pub(super) predecessor: Option<Predecessor>,
    /// Of all flows of the channel, in the order of their creation.
    pub(super) serial: u64,
    /// The deadline that the channel's timer knows of.
    pub(super) scheduled: Option<Instant>,
    /// Memory that was charged to the channel.
    charged: usize,
    /// Who else sends packets with its id.
    sources: Option<Box<OtherSources>>,
    /// What it gives out waits until it is clear whether the flow that is followed stops.
    trial: Option<Box<Trial>>,
    /// Further keys of the same flow: other ports of its producer.
    pub(super) ports: VecDeque<FlowKey>,
    /// How many times in a row it began again with the same number.
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

    /// When the numbering in force last showed itself.
    pub(super) fn alive(&self) -> Option<Instant> {
        self.alive
    }

    /// Whether a numbering is in force.
    pub(super) fn established(&self) -> bool {
        self.session.is_some() || self.passed() > 0
    }

    /// Whether the producer said that its session is over, and nothing is held back any more.
    pub(super) fn ended(&self) -> bool {
        self.ended && self.held() == 0
    }

    /// Whether its producer said that its session is over.
    pub(super) fn said_end(&self) -> bool {
        self.ended
    }

    /// Packets held back.
    pub(super) fn held(&self) -> usize {
        self.held_back() + self.probation.len() + self.paced() + self.detained() + self.pending()
            - self.void()
    }

    /// Whether packets wait for what they are.
    pub(super) fn has_probation(&self) -> bool {
        !self.probation.is_empty()
    }

    /// Whether a packet with this number on the wire may well be of the session in force.
    pub(super) fn is_near(&self, wire: u64) -> bool {
        self.session.as_ref().is_some_and(|session| session.is_near(wire))
    }

    /// Packets that wait in the reorder buffer.
    fn held_back(&self) -> usize {
        self.session.as_ref().map_or(0, |session| session.reorder.stored())
    }

    /// The hold in force, and the interarrival jitter.
    pub(super) fn timing(&self) -> (Duration, Duration) {
        (self.hold.get(), self.jitter.value())
    }

    /// For the state that people look at.
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
