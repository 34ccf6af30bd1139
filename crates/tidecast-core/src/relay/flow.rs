//! One producer's packets: its numbering in force, the packets under probation, recovery, and its counters.
//! A packet comes in here; `belief` has those that contradict the numbering, `repair` the FEC side, and `release`
//! what goes out and when.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    mem,
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::{
    Budget, Config, Delivery, FlowId, FlowState, How, Output, Packet, PacketFormat,
    arrival::{FlowKey, Stamp},
    drops::Drops,
    hold::{HoldEstimate, Rate},
    legs::Legs,
    paced::Pacer,
    recover::Means,
    recovery::Recovery,
    reorder::{Known, Queued, Reorder, Stored},
    retransmission::{Asking, Pace},
    session::{Candidate, Probation, Repeat},
    stats::{Counters, LegCounters},
};
use crate::{
    buffer::Buffer,
    jitter::{Jitter, MICROSECONDS, StampClock},
    limits::{LOOSE_BYTES_MAX, REBUILT_REMEMBERED, REORDER_PACKETS_START, SILENCE_MAX},
};
use tidecast_wire::{
    custom::{self, Scale, Scaled},
    fec::rs::Codes,
    seq::Space,
    step::Step,
    ts::{Continuity, packets::Packets},
};

mod age;
mod ask;
mod belief;
mod content;
mod control;
mod jump;
mod legs;
mod paced;
mod pass;
mod release;
mod repair;
mod sources;
mod standing;
mod trial;

use age::{Ages, Marking};
pub(super) use ask::Wanted;
use belief::Retired;
use content::{Content, Strangers};
use control::Controls;
use legs::Former;
use pass::Ease;
pub(super) use pass::Way;
use sources::Sources;
pub(super) use sources::Stranger;
use trial::Trial;
pub(super) use trial::Verdict;

/// What a flow may use of its channel while it handles one input.
pub(super) struct Context<'a> {
    pub(super) config: &'a Config,
    pub(super) outputs: &'a mut VecDeque<Output>,
    pub(super) budget: &'a mut Budget,
    pub(super) codes: &'a mut Codes,
    pub(super) spent: &'a mut Vec<Buffer>,
    pub(super) rejects: &'a mut BTreeMap<&'static str, u64>,
    pub(super) legs: &'a mut [LegCounters],
    /// When each leg last brought anything, if there are several.
    pub(super) heard: &'a mut [Option<Instant>],
    /// Requests for the RIST side to send.
    pub(super) wanted: &'a mut Vec<Wanted>,
    pub(super) pace: &'a mut Pace,
    pub(super) drops: &'a Drops,
    pub(super) now: Instant,
}

impl Context<'_> {
    fn means(&mut self, grace: Duration, end: u64) -> Means<'_> {
        Means { now: self.now, codes: self.codes, grace, overdue: 0, room: self.budget.room(), end }
    }

    /// Moves a small datagram out of a large buffer, before it is held back, unless the channel holds back little.
    fn tighten(&mut self, packet: &mut Packet) {
        if self.budget.used > LOOSE_BYTES_MAX && packet.bytes.capacity() > 4 * packet.bytes.len() {
            let small = Buffer::from(&*packet.bytes);
            let slot = mem::replace(&mut packet.bytes, small);
            if self.spent.len() < self.spent.capacity() {
                self.spent.push(slot);
            }
        }
    }

    pub(super) fn spend(&mut self, packet: Packet) {
        if self.spent.len() < self.spent.capacity() {
            self.spent.push(packet.bytes);
        }
    }
}

/// A media packet with a number, on its way into a flow.
#[derive(Debug)]
pub(super) struct Numbered {
    pub(super) session: u32,
    pub(super) number: u64,
    pub(super) span: u64,
    pub(super) fingerprint: u32,
    pub(super) how: How,
    pub(super) packet: Packet,
    pub(super) leg: u8,
    /// The producer's clock.
    pub(super) clock: Option<Stamp>,
}

impl From<Candidate> for Numbered {
    fn from(candidate: Candidate) -> Numbered {
        let Candidate { session, number, span, packet, fingerprint, leg, .. } = candidate;
        Numbered { session, number, span, fingerprint, how: How::Received, packet, leg, clock: None }
    }
}

/// The flow that a new one takes the place of, if its producer stops sending there (same source, new SSRC).
#[derive(Debug, Clone, Copy)]
pub(super) struct Predecessor {
    pub(super) id: FlowId,
    /// The slot may have passed to another flow.
    pub(super) key: FlowKey,
    /// How long it must be silent for a single packet to be believed.
    silence: Duration,
}

/// One producer. In the order of its fields what every packet touches stands together: with thousands of flows, each
/// further cache line costs more than the work on it.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Flow {
    pub(super) key: FlowKey,
    /// The session before this one: its stragglers are late, they start nothing.
    retired: Option<Box<Retired>>,
    hold: HoldEstimate,
    rate: Rate,
    jitter: Jitter,
    /// What its RTP time stamps count.
    clock: StampClock,
    pub(super) id: FlowId,
    session: u32,
    space: Space,
    pub(super) format: PacketFormat,
    /// More than one packet has come: not a made-up source.
    pub(super) confirmed: bool,
    ended: bool,
    /// Which ways the next packet may take, and the window then.
    ease: Ease,
    window: u64,
    pub(super) source: SocketAddr,
    /// When the numbering in force last showed itself.
    alive: Option<Instant>,
    pub(super) last_arrival: Instant,
    /// Start of the time scale for jitter and pauses.
    epoch: Instant,
    /// When the last packet came on that scale, the longest pause between two packets lately, and the pause before the
    /// last packet if it was longer, or zero; all in nanoseconds, which cost less than durations.
    heard_at: u64,
    gap: u64,
    pause: u64,
    marking: Marking,
    /// What each leg has brought, for channels with several.
    legs: Option<Box<Legs>>,
    reorder: Option<Reorder>,
    pub(super) counters: Counters,
    /// What an RTP flow carries.
    content: Content,
    probation: Probation,
    recover: Option<Box<Recovery>>,
    /// Of a transport stream without RTP.
    continuity: Option<Box<(Packets, Continuity)>>,
    /// Of what does not belong to the stream that an RTP flow carries.
    strangers: Option<Box<Strangers>>,
    /// Holds back what is in order until it is due, for paced release.
    pacer: Option<Box<Pacer>>,
    /// Of flows that may ask for missing packets.
    asking: Option<Box<Asking>>,
    /// How many numbers its packets take.
    step: Step,
    /// Where the numbering in force came from when it began, or was jumped to.
    begun_by: SocketAddr,
    /// Control datagrams of a custom format.
    controls: Option<Box<Controls>>,
    /// How the numbers of a custom format run that one datagram does not tell.
    scale: Option<Box<Scale>>,
    /// Numbers rebuilt lately, to know a rebuild that was not needed.
    rebuilt: VecDeque<u64>,
    former: Option<Box<Former>>,
    /// Numbers that cannot be rebuilt, but may still come on a leg.
    hopeless: BTreeSet<u64>,
    /// Several rebuilt packets are on their way in: no gap is given up before all of them are there.
    rebuilding: bool,
    pub(super) predecessor: Option<Predecessor>,
    /// Of all flows of the channel, in the order of their creation.
    pub(super) serial: u64,
    /// The deadline that the channel's timer knows of.
    pub(super) scheduled: Option<Instant>,
    /// Memory that was charged to the channel.
    charged: usize,
    ages: Ages,
    /// Who else sends packets with its id.
    sources: Option<Box<Sources>>,
    /// What it gives out waits until it is clear whether the flow that is followed stops.
    trial: Option<Box<Trial>>,
    /// Further keys of the same flow: other ports of its producer.
    pub(super) ports: VecDeque<FlowKey>,
    /// The number of all its packets, if that never changes.
    standing: Option<u64>,
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
            session: 0,
            retired: None,
            reorder: None,
            probation: Probation::default(),
            recover: None,
            hold: HoldEstimate::new(config.hold, now),
            rate: Rate::new(now),
            jitter: Jitter::default(),
            clock: StampClock::default(),
            continuity: None,
            content: Content::default(),
            strangers: None,
            pacer: Flow::new_pacer(config, now),
            asking: None,
            counters: Counters::default(),
            step: Step::default(),
            begun_by: source,
            controls: None,
            scale: None,
            rebuilt: VecDeque::new(),
            legs: several
                .then(|| Box::new(Legs::new(config.legs, config.hold.max(), config.window_max, now))),
            former: None,
            hopeless: BTreeSet::new(),
            rebuilding: false,
            alive: None,
            last_arrival: now,
            heard_at: 0,
            gap: 0,
            pause: 0,
            marking: Marking::default(),
            ages: Ages::default(),
            sources: None,
            trial: None,
            ports: VecDeque::new(),
            standing: None,
            stood: 0,
            confirmed: false,
            ended: false,
            ease: Ease::Busy,
            window: 0,
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
        self.reorder.is_some() || self.passed() > 0
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

    /// Whether a packet with this number on the wire may well be of the numbering in force.
    pub(super) fn is_near(&self, wire: u64) -> bool {
        let near = |reorder: &Reorder| {
            self.space.extend(reorder.next(), wire).abs_diff(reorder.next()) < REORDER_PACKETS_START
        };
        self.reorder.as_ref().is_some_and(near)
    }

    /// One past the highest number of the numbering in force that came.
    fn end(&self) -> u64 {
        self.reorder.as_ref().map_or(0, Reorder::end)
    }

    /// The same, as far as a neighbour vouches for it.
    fn witnessed(&self) -> u64 {
        self.reorder.as_ref().map_or(0, Reorder::witnessed)
    }

    fn held_back(&self) -> usize {
        self.reorder.as_ref().map_or(0, Reorder::stored)
    }

    /// How far ahead of the head a packet is still plausible, in numbers.
    fn window(&self, config: &Config) -> u64 {
        let fec = self.recover.as_ref().map_or(0, |recover| recover.window());
        self.plain_window(config).max(fec.min(self.window_max(config)))
    }

    /// The window while no source block is known.
    fn plain_window(&self, config: &Config) -> u64 {
        // A leg that comes back may be ahead of the others by the longest hold.
        let least = if self.legs.is_some() { self.hold.max() * 5 / 16 } else { Duration::ZERO };
        let step = self.step.get();
        self.rate.window(self.hold.get().max(least), self.packets_max(config)) * step
    }

    fn window_max(&self, config: &Config) -> u64 {
        self.packets_max(config) * self.step.get()
    }

    /// The largest window in packets.
    fn packets_max(&self, config: &Config) -> u64 {
        config.window_max.min(self.space.packets_max(self.step.get()))
    }

    /// Notes how many numbers a packet takes. `true`: what is near in packets may now be further away in numbers.
    #[inline]
    fn note_span(&mut self, span: u64) -> bool {
        let before = self.step.get();
        self.step.saw(span) && self.fit_step(before)
    }

    fn fit_step(&mut self, before: u64) -> bool {
        let step = self.step.get();
        if let Some(reorder) = &mut self.reorder {
            reorder.set_step(step);
        }
        if let Some(legs) = &mut self.legs {
            legs.set_step(step);
        }
        step > before
    }

    /// Where a datagram of a custom format stands whose number does not tell alone.
    pub(super) fn place_scaled(&mut self, packet: &custom::Packet<'_>) -> Scaled {
        if self.scale.is_none() {
            self.scale = Scale::of(packet).map(Box::new);
        }
        self.scale.as_mut().map_or(Scaled::Unknown, |scale| scale.place(packet))
    }

    /// Notes where a media packet comes from.
    #[inline(always)]
    pub(super) fn heard(&mut self, source: SocketAddr, leg: u8, format: PacketFormat, now: Instant) {
        self.counters.media_received += 1;
        self.confirmed |= self.counters.media_received > 1;
        let at = self.nanos_at(now);
        let pause = at.saturating_sub(self.heard_at);
        self.pause = if pause > self.gap { pause } else { 0 };
        (self.heard_at, self.last_arrival) = (at, now);
        self.format = format;
        if let Some(legs) = &mut self.legs {
            legs.heard_from(leg, source, now);
        }
    }

    /// Something else than a media packet showed that its producer is alive.
    pub(super) fn shows(&mut self, now: Instant) {
        (self.heard_at, self.last_arrival) = (self.nanos_at(now), now);
    }

    /// The flow's time scale: nanoseconds since it began.
    #[inline(always)]
    fn nanos_at(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.epoch).as_nanos() as u64
    }

    /// The producer's clock against the arrival, for the jitter.
    #[inline(always)]
    fn clock(&mut self, stamp: Stamp, arrived: u64, config: &Config) {
        let (ticks, rate) = match stamp {
            Stamp::Micros(micros) => (micros, MICROSECONDS),
            Stamp::Rtp { payload_type, ticks } => {
                let known = self.clock.rate_of(payload_type);
                let rate = known.or_else(|| self.learn_rate(payload_type, ticks, arrived, config));
                let Some(rate) = rate else { return };
                (u64::from(ticks), rate)
            }
        };
        self.jitter.update(arrived as f64 * 1e-9, ticks, rate);
    }

    #[inline(never)]
    fn learn_rate(&mut self, payload_type: u8, ticks: u32, arrived: u64, config: &Config) -> Option<u32> {
        self.clock.learn(payload_type, ticks, Duration::from_nanos(arrived), &config.payload_types)
    }

    /// Where a transport stream without RTP stands: a copy, to try out what may follow.
    pub(super) fn ts_counters(&self) -> Option<(Packets, Continuity)> {
        self.continuity.as_deref().cloned()
    }

    /// A packet without a number: passed on as it comes.
    pub(super) fn unnumbered(&mut self, packet: Packet, cx: &mut Context<'_>) {
        if self.passed() == 0 {
            self.counters.sessions += 1;
            let key = self.key.to_string();
            let (flow, source) = (self.id, self.source);
            if packet.format == PacketFormat::Ts {
                self.answer(Output::Carries { flow, stream: true }, cx);
            }
            self.answer(Output::SessionStarted { flow, key, source, succeeds: None }, cx);
        }
        if packet.format == PacketFormat::Ts {
            let (packets, continuity) = &mut **self.continuity.get_or_insert_default();
            let found = &mut self.counters.ts_discontinuities;
            packets.push(packet.payload(), |placed| *found += continuity.check(placed.packet));
        }
        self.alive = self.alive.max(Some(packet.arrived));
        self.learn_pause();
        if self.rate.packet(cx.now) {
            self.measured(cx.now);
        }
        self.deliver(self.passed(), 1, How::Received, packet, cx);
    }

    /// Passes on a packet that takes `span` numbers, now or when it is due.
    #[inline]
    fn deliver(&mut self, seq: u64, span: u64, how: How, packet: Packet, cx: &mut Context<'_>) {
        if self.trial.is_some() {
            return self.detain(seq, span, how, packet, cx);
        }
        if self.keeps_out(&packet, cx) {
            // a number without a packet has no memory to give back
            if !packet.bytes.is_empty() {
                cx.spend(packet);
            }
            return;
        }
        if self.controls.is_some() {
            self.pass_controls(seq, cx);
        }
        if self.pacer.is_some() {
            return self.pace(seq, span, how, packet, cx);
        }
        self.counters.expected += span;
        self.counters.delivered += 1;
        cx.outputs.push_back(Output::Deliver(Delivery::new(self.id, seq, span, how, packet)));
    }

    /// A packet with a number.
    pub(super) fn numbered(&mut self, arrived: Numbered, cx: &mut Context<'_>) {
        self.ended = false;
        self.leg_heard(arrived.leg, cx);
        if arrived.how == How::Received && !self.admits(&arrived.packet, cx) {
            return self.stranger(arrived, cx);
        }
        let wider = arrived.how == How::Received && self.note_span(arrived.span);
        let in_force = self.reorder.is_some() && arrived.session == self.session;
        if in_force
            && !self.probation.is_empty()
            && arrived.how == How::Received
            && self.probation.goes_on(arrived.session, arrived.number, self.space)
        {
            return self.on_probation(arrived, cx);
        }
        if in_force {
            if self.strangers.is_some() {
                self.fill_before(&arrived, cx);
            }
            match self.standing {
                None => self.in_session(arrived, cx),
                Some(wire) => self.place_standing(arrived, wire, cx),
            }
            if wider && !self.probation.is_empty() {
                self.readmit(self.window(cx.config), cx);
            }
            return;
        }
        if arrived.how != How::Received {
            return cx.spend(arrived.packet);
        }
        let lately = self.alive.is_some_and(|alive| cx.now < alive + SILENCE_MAX);
        let retired = self.retired.as_ref().filter(|retired| retired.session == arrived.session);
        if retired.is_some_and(|retired| lately && arrived.number < retired.next) {
            self.counters.late += 1;
            return cx.spend(arrived.packet);
        }
        self.on_probation(arrived, cx);
    }

    /// A packet of the session in force.
    fn in_session(&mut self, mut arrived: Numbered, cx: &mut Context<'_>) {
        let (at, how, window) = (arrived.packet.arrived, arrived.how, self.window(cx.config));
        let span = arrived.span;
        let Some(reorder) = &self.reorder else { return };
        let number = self.space.extend(reorder.next(), arrived.number);
        if how == How::Received {
            if self.is_left_over(&arrived, number, window, cx.now) {
                self.counters.late += 1;
                return cx.spend(arrived.packet);
            }
            self.make_way(number, window, cx);
        }
        if how == How::Retransmission {
            self.note_answer(number, cx);
        }
        let several = self.legs.is_some();
        if several {
            self.remember_lag(cx);
        }
        if let Some(asking) = &mut self.asking {
            asking.heard(arrived.packet.bytes.len());
        }
        let Some(reorder) = &self.reorder else { return };
        let (next, end, waiting) = (reorder.next(), reorder.end(), reorder.stored() > 0);
        let lateness = if number < end { reorder.lateness(number, at) } else { None };
        let waited = if number == next && waiting { reorder.waited(number, at) } else { None };
        let kept = self.recover_copy(&arrived, number, window);
        if number != next || waiting {
            cx.tighten(&mut arrived.packet);
        }
        let stored = Stored::new(arrived.packet, how, span, arrived.fingerprint);
        let Some(reorder) = &mut self.reorder else { return };
        let differs =
            number >= next && reorder.known(number, span, arrived.fingerprint, window) == Known::Other;
        let queued = reorder.insert(number, stored, at, window);
        self.counters.duplicate += reorder.take_covered();
        let accepted = matches!(queued, Queued::Forward(_) | Queued::Waits | Queued::Replaced(_));
        let conflict = matches!(queued, Queued::Other(_));
        let lags = several && how == How::Received && self.lags(arrived.leg, number, &queued, cx.now);
        if let Some(legs) = &self.legs
            && how == How::Received
            && (differs || conflict)
        {
            legs.differs(arrived.leg, number, cx.legs);
        }
        if several && how == How::Received && (accepted || lags) {
            self.note_leg(arrived.leg, (number, span), cx);
        }
        if accepted {
            if let Some(clock) = arrived.clock {
                self.clock(clock, self.nanos_at(at), cx.config);
            }
            self.accepted(number, end, arrived.leg, how, lateness, cx);
            self.note_gaps(number, next, end, cx);
        }
        match queued {
            Queued::Forward(stored) => {
                if let Some(waited) = waited {
                    self.answer(Output::GapClosed { flow: self.id, waited }, cx);
                }
                self.deliver(number.max(next), stored.span, stored.how, stored.packet, cx);
            }
            Queued::Waits => {}
            Queued::Replaced(suspect) if suspect.packet.bytes.is_empty() => self.void_passed(),
            Queued::Replaced(suspect) => {
                self.counters.rejected += 1;
                self.conflicts(cx);
                cx.spend(suspect.packet);
            }
            // A recovered packet that nobody misses any more is counted as repair only.
            Queued::Duplicate(stored)
            | Queued::Late(stored)
            | Queued::Other(stored)
            | Queued::Behind(stored)
            | Queued::Ahead(stored)
                if how != How::Received =>
            {
                cx.spend(stored.packet);
            }
            Queued::Late(stored) if lags => {
                let candidate = self.candidate(arrived.number, stored, arrived.leg);
                self.drop_repeat((candidate, Repeat::Late(lateness)), cx);
            }
            Queued::Duplicate(stored) | Queued::Other(stored) | Queued::Behind(stored) if lags => {
                self.not_needed(number);
                self.counters.duplicate += 1;
                cx.spend(stored.packet);
            }
            Queued::Duplicate(stored) => {
                self.counters.conflicts += u64::from(differs);
                self.not_needed(number);
                self.note_duplicate(number, how, cx);
                self.again(Repeat::Duplicate, number, (arrived.number, arrived.leg), stored, cx);
            }
            Queued::Late(stored) => {
                self.again(Repeat::Late(lateness), number, (arrived.number, arrived.leg), stored, cx)
            }
            // Content that is not known below the head, or a number far ahead: the producer may count anew.
            Queued::Other(stored) | Queued::Behind(stored) | Queued::Ahead(stored) => {
                let candidate = self.candidate(arrived.number, stored, arrived.leg);
                self.offer(Candidate { conflict, ..candidate }, cx);
                if self.is_last(arrived.number) {
                    self.look_for_standing(arrived.number, cx);
                }
            }
        }
        if accepted && !self.rebuilding && (waiting || self.held_back() > 0) {
            if !self.probation.is_empty() {
                // The window may have grown since: what was just beyond it belongs here.
                self.readmit(window, cx);
            }
            self.poll(cx);
        }
        match kept {
            Some(kept) if accepted => self.keep_for_recovery(number, kept, cx),
            Some(kept) => self.compare_for_recovery(number, kept, cx),
            None => {}
        }
    }

    /// Gives up the oldest gaps when the buffer is too full for the number that goes on behind it.
    fn make_way(&mut self, number: u64, window: u64, cx: &mut Context<'_>) {
        let next = self.reorder.as_ref().map_or(0, Reorder::next);
        while let Some(reorder) = &self.reorder
            && number >= reorder.next()
            && reorder.is_beyond(number, window)
            && number <= reorder.end() + self.step.get()
            && reorder.stored() > 0
        {
            self.skip_oldest(cx);
        }
        if self.reorder.as_ref().is_some_and(|reorder| reorder.next() > next) {
            self.readmit(window, cx);
        }
    }

    /// Counts and measures a packet that was not known before.
    fn accepted(
        &mut self,
        number: u64,
        end: u64,
        leg: u8,
        how: How,
        lateness: Option<Duration>,
        cx: &mut Context<'_>,
    ) {
        match how {
            How::Fec => {
                self.counters.recovered_fec += 1;
                if self.rebuilt.len() >= REBUILT_REMEMBERED {
                    self.rebuilt.pop_front();
                }
                return self.rebuilt.push_back(number);
            }
            How::Retransmission => self.counters.recovered_retransmission += 1,
            How::Received => {
                self.learn_pause();
                if self.rate.packet(cx.now) {
                    self.measured(cx.now);
                }
                if number < end {
                    self.counters.reordered += 1;
                    if let Some(lateness) = lateness {
                        self.hold.saw_lateness(lateness, cx.now);
                    }
                }
            }
        }
        self.alive = Some(cx.now);
        if !self.probation.is_empty() {
            self.probation.interrupted(leg, cx.now, self.stragglers());
            while let Some(repeat) = self.probation.pop_repeat() {
                self.drop_repeat(repeat, cx);
            }
        }
        if let Some(legs) = &mut self.legs {
            legs.led(leg, cx.now);
        }
        self.hold.tick(cx.now);
    }

    /// The hold in force, and the interarrival jitter.
    pub(super) fn timing(&self) -> (Duration, Duration) {
        (self.hold.get(), self.jitter.value())
    }

    /// For the state that people look at.
    pub(super) fn state(&self) -> FlowState {
        FlowState {
            id: self.id,
            key: self.key.to_string(),
            source: self.source,
            format: self.format,
            session: self.session,
            counters: self.counters.clone(),
            held: self.held(),
            hold: self.hold.get(),
            jitter: self.jitter.value(),
            pacing: self.pacing(),
            round_trip: self.asking.as_ref().and_then(|asking| asking.round_trip.get()),
            packets_per_second: self.rate.get(),
            last_arrival: self.last_arrival,
            ended: self.ended,
            collision: self.collision(),
            unnumbered: self.standing.is_some(),
            fec_matrix: self.recover.as_ref().and_then(|recover| recover.matrix()),
        }
    }
}
