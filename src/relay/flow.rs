//! One producer's packets: its numbering in force, the packets under probation, recovery, and its counters.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::{
    Budget, Config, Delivery, FlowId, FlowState, How, Output, Packet, PacketFormat,
    arrival::FlowKey,
    dedup::fingerprint,
    hold::{HoldEstimate, Rate},
    recover::{Findings, Means, Rebuilt, Recover, unpadded},
    reorder::{Poll, Queued, Reorder, Stored},
    session::{Candidate, Probation, Repeat, Silence, Verdict},
    stats::{Counters, Jitter},
};
use crate::{
    buffer::Buffer,
    fec::rs::Codes,
    limits::{REBUILT_REMEMBERED, SILENCE_MAX, START_AT_ZERO, START_GRACE},
    wire::{
        native::{self, Repair, SourceShard},
        seq::Space,
        ts::Continuity,
    },
};

/// What a flow may use of its channel while it handles one input.
pub(super) struct Context<'a> {
    pub(super) config: &'a Config,
    pub(super) outputs: &'a mut VecDeque<Output>,
    pub(super) budget: &'a mut Budget,
    pub(super) codes: &'a mut Codes,
    pub(super) spent: &'a mut Vec<Buffer>,
    pub(super) now: Instant,
}

impl Context<'_> {
    fn means(&mut self, grace: Duration, end: u64) -> Means<'_> {
        Means { now: self.now, codes: self.codes, grace, room: self.budget.room(), end }
    }

    fn spend(&mut self, packet: Packet) {
        if self.spent.len() < self.spent.capacity() {
            self.spent.push(packet.bytes);
        }
    }
}

/// A media packet with a number, on its way into a flow.
pub(super) struct Numbered {
    pub(super) session: u32,
    pub(super) number: u64,
    pub(super) span: u64,
    pub(super) fingerprint: u32,
    pub(super) how: How,
    pub(super) packet: Packet,
    pub(super) leg: u8,
}

impl From<Candidate> for Numbered {
    fn from(candidate: Candidate) -> Numbered {
        let Candidate { session, number, span, packet, fingerprint, .. } = candidate;
        Numbered { session, number, span, fingerprint, how: How::Received, packet, leg: 0 }
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
    /// How long after the new flow's first packets it is clear whether the old one goes on.
    grace: Duration,
    /// How long after the new flow's first packet the old one's last may still come.
    stragglers: Duration,
}

/// One producer.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) id: FlowId,
    pub(super) key: FlowKey,
    pub(super) source: SocketAddr,
    pub(super) format: PacketFormat,
    space: Space,
    session: u32,
    /// The session before this one: its stragglers are late, they start nothing.
    retired: Option<u32>,
    reorder: Option<Reorder>,
    probation: Probation,
    recover: Option<Box<Recover>>,
    hold: HoldEstimate,
    rate: Rate,
    jitter: Jitter,
    continuity: Option<Box<Continuity>>,
    pub(super) counters: Counters,
    /// Numbers rebuilt lately, to know a rebuild that was not needed.
    rebuilt: VecDeque<u64>,
    /// Highest number that each leg has brought, for channels with several.
    legs: Vec<u64>,
    /// When the numbering in force last showed itself.
    alive: Option<Instant>,
    pub(super) last_arrival: Instant,
    /// More than one packet has come: not a made-up source.
    pub(super) confirmed: bool,
    ended: bool,
    pub(super) predecessor: Option<Predecessor>,
    /// Of all flows of the channel, in the order of their creation.
    pub(super) serial: u64,
    /// The deadline that the channel's timer knows of.
    pub(super) scheduled: Option<Instant>,
    /// Memory that was charged to the channel.
    charged: usize,
    /// Start of the time scale for jitter.
    epoch: Instant,
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
            continuity: None,
            counters: Counters::default(),
            rebuilt: VecDeque::new(),
            legs: vec![0; if config.legs > 1 { config.legs } else { 0 }],
            alive: None,
            last_arrival: now,
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
        self.reorder.is_some() || self.counters.delivered > 0
    }

    /// This flow as the predecessor of a new one. Its next packet is awaited, if that does not take too long.
    pub(super) fn as_predecessor(&self) -> Predecessor {
        let stragglers = self.hold.reordering().max(START_GRACE / 2);
        let interval = self.rate.get().filter(|rate| *rate > 1.0).map_or(0.0, |rate| 1.25 / rate);
        let grace = (stragglers + Duration::from_secs_f64(interval)).min(self.hold.get()).max(START_GRACE);
        Predecessor { id: self.id, key: self.key, silence: self.silence(), grace, stragglers }
    }

    /// Whether the predecessor, last seen `alive`, goes on beside this flow.
    pub(super) fn goes_on(&self, predecessor: &Predecessor, alive: Option<Instant>) -> bool {
        let last = self.probation.since().map(|since| since + predecessor.stragglers);
        alive.is_some_and(|alive| last.is_some_and(|last| alive > last))
    }

    /// Whether the producer said that its session is over, and nothing is held back any more.
    pub(super) fn ended(&self) -> bool {
        self.ended && self.held() == 0
    }

    /// Packets held back.
    pub(super) fn held(&self) -> usize {
        self.held_back() + self.probation.len()
    }

    /// One past the highest number of the numbering in force that came.
    fn end(&self) -> u64 {
        self.reorder.as_ref().map_or(0, Reorder::end)
    }

    fn held_back(&self) -> usize {
        self.reorder.as_ref().map_or(0, Reorder::stored)
    }

    fn window(&self, config: &Config) -> u64 {
        let max = config.window_max.min(self.space.window_max());
        let fec = self.recover.as_ref().map_or(0, |r| 2 * r.span());
        self.rate.window(self.hold.get(), max).max(fec).min(max)
    }

    /// How long the numbering in force must be silent before another one is believed unconfirmed. At least
    /// the hold; on a flow with some packets a second long enough that its next one had its chance.
    fn silence(&self) -> Duration {
        let hold = self.hold.get();
        match self.rate.get() {
            Some(rate) if rate > 1.0 => hold.max(Duration::from_secs_f64(1.25 / rate).min(SILENCE_MAX)),
            _ => hold,
        }
    }

    /// How long numbers that are said to have been used may still come: until the flow's next packet is overdue.
    fn patience(&self) -> Duration {
        let interval = self.rate.get().map_or(SILENCE_MAX.as_secs_f64(), |rate| 1.25 / rate);
        self.hold.get().max(Duration::try_from_secs_f64(interval).unwrap_or(SILENCE_MAX))
    }

    /// What packets under probation wait for, given when the numbering that they contradict was alive.
    fn silence_since(&self, alive: Option<Instant>) -> Silence {
        let believed_after = self.predecessor.as_ref().map_or(self.silence(), |old| old.silence);
        let usual = 2 * believed_after;
        // A flow that never had a numbering has no rate: its second packet may take longer.
        let kept_for = if self.reorder.is_some() { usual } else { usual.max(2 * SILENCE_MAX) };
        Silence { alive, believed_after, kept_for }
    }

    /// The producer's clock against the arrival, for the jitter.
    pub(super) fn clock(&mut self, ticks: u64, per_second: u32, arrived: Instant) {
        let arrived = arrived.saturating_duration_since(self.epoch).as_secs_f64();
        self.jitter.update(arrived, ticks as f64 / f64::from(per_second));
    }

    /// A packet without a number: passed on as it comes.
    pub(super) fn unnumbered(&mut self, packet: Packet, cx: &mut Context<'_>) {
        if self.counters.delivered == 0 {
            self.counters.sessions += 1;
            cx.outputs.push_back(Output::SessionStarted { flow: self.id, succeeds: None });
        }
        if packet.format == PacketFormat::Ts {
            let continuity = self.continuity.get_or_insert_default();
            self.counters.ts_discontinuities += continuity.check(&packet.bytes[packet.payload.clone()]);
        }
        self.rate.packet(cx.now);
        let seq = self.counters.delivered;
        self.counters.expected += 1;
        self.deliver(seq, How::Received, packet, cx);
    }

    fn deliver(&mut self, seq: u64, how: How, packet: Packet, cx: &mut Context<'_>) {
        self.counters.delivered += 1;
        cx.outputs.push_back(Output::Deliver(Delivery { flow: self.id, seq, how, packet }));
    }

    /// A packet with a number.
    pub(super) fn numbered(&mut self, arrived: Numbered, cx: &mut Context<'_>) {
        self.ended = false;
        let in_force = self.reorder.is_some() && arrived.session == self.session;
        if in_force {
            return self.in_session(arrived, cx);
        }
        if arrived.how != How::Received {
            return cx.spend(arrived.packet);
        }
        let lately = self.alive.is_some_and(|alive| cx.now < alive + SILENCE_MAX);
        if self.retired == Some(arrived.session) && lately {
            self.counters.late += 1;
            return cx.spend(arrived.packet);
        }
        self.on_probation(arrived, cx);
    }

    /// A packet of the session in force.
    fn in_session(&mut self, mut arrived: Numbered, cx: &mut Context<'_>) {
        let (at, how, window) = (arrived.packet.arrived, arrived.how, self.window(cx.config));
        let Some(reorder) = &self.reorder else { return };
        let number = self.space.extend(reorder.next(), arrived.number);
        if how == How::Received {
            self.make_way(number, window, cx);
        }
        let Some(reorder) = &self.reorder else { return };
        let (next, end, waiting) = (reorder.next(), reorder.end(), reorder.stored() > 0);
        let lateness = if number < end { reorder.lateness(number, at) } else { None };
        let shard = self.recover_copy(&arrived, number, window);
        if number != next || waiting {
            arrived.packet.tighten(cx.spent);
        }
        let stored = Stored::new(arrived.packet, how, arrived.span, arrived.fingerprint);
        let Some(reorder) = &mut self.reorder else { return };
        let queued = reorder.insert(number, stored, at, window);
        self.counters.duplicate += reorder.take_covered();
        let accepted = matches!(queued, Queued::Forward(_) | Queued::Waits | Queued::Replaced(_));
        if accepted {
            self.accepted(number, end, arrived.leg, how, lateness, cx);
        }
        match queued {
            Queued::Forward(stored) => {
                self.counters.expected += stored.span;
                if let Some(waited) = lateness.filter(|_| waiting) {
                    cx.outputs.push_back(Output::GapClosed { flow: self.id, waited });
                }
                self.deliver(number.max(next), stored.how, stored.packet, cx);
            }
            Queued::Waits => {}
            Queued::Replaced(suspect) => {
                self.counters.rejected += 1;
                cx.spend(suspect.packet);
            }
            // A recovered packet that nobody misses any more is counted as repair only.
            Queued::Duplicate(stored)
            | Queued::Late(stored)
            | Queued::Behind(stored)
            | Queued::Ahead(stored)
                if how != How::Received =>
            {
                cx.spend(stored.packet);
            }
            Queued::Duplicate(stored) => {
                self.not_needed(number);
                self.repeated(Repeat::Duplicate, arrived.number, stored, cx);
            }
            Queued::Late(stored) => self.repeated(Repeat::Late(lateness), arrived.number, stored, cx),
            Queued::Behind(stored) => self.behind(number, arrived.leg, arrived.number, stored, window, cx),
            Queued::Ahead(stored) => {
                let candidate = self.candidate(arrived.number, stored);
                self.offer(candidate, cx);
            }
        }
        if accepted && (waiting || self.held_back() > 0) {
            self.poll(cx);
        }
        if let Some(shard) = shard.filter(|_| accepted) {
            self.keep_for_recovery(number, shard, cx);
        }
    }

    /// Gives up the oldest gaps when the buffer is too full for the number that goes on behind it.
    fn make_way(&mut self, number: u64, window: u64, cx: &mut Context<'_>) {
        let next = self.reorder.as_ref().map_or(0, Reorder::next);
        while let Some(reorder) = &self.reorder
            && number >= reorder.next()
            && number - reorder.next() >= window
            && number <= reorder.end() + 1
            && reorder.stored() > 0
        {
            self.skip_oldest(cx);
        }
        if self.reorder.as_ref().is_some_and(|reorder| reorder.next() > next) {
            self.readmit(window, cx);
        }
    }

    /// Takes out of probation what was beyond the window a moment ago.
    fn readmit(&mut self, window: u64, cx: &mut Context<'_>) {
        let Some(reorder) = &self.reorder else { return };
        let (next, space, session) = (reorder.next(), self.space, self.session);
        let fits = |candidate: &Candidate| {
            let number = space.extend(next, candidate.number);
            candidate.session == session && number >= next && number - next < window
        };
        for candidate in self.probation.readmit(fits) {
            self.in_session(candidate.into(), cx);
        }
    }

    /// If this number was rebuilt, that was in vain.
    fn not_needed(&mut self, number: u64) {
        if let Some(place) = self.rebuilt.iter().position(|n| *n == number) {
            self.rebuilt.swap_remove_back(place);
            self.counters.recovered_spurious += 1;
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
                self.rate.packet(cx.now);
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
            for repeat in self.probation.interrupted() {
                self.drop_repeat(repeat, cx);
            }
        }
        if let Some(highest) = self.legs.get_mut(usize::from(leg)) {
            *highest = (*highest).max(number);
        }
        self.hold.tick(cx.now);
    }

    /// It was no restart: drops the packet for what it seemed, and learns how late packets come.
    fn drop_repeat(&mut self, (candidate, repeat): (Candidate, Repeat), cx: &mut Context<'_>) {
        match repeat {
            Repeat::Duplicate => self.counters.duplicate += 1,
            Repeat::Late(lateness) => {
                self.counters.late += 1;
                if let Some(lateness) = lateness {
                    self.hold.saw_lateness(lateness, cx.now);
                }
            }
        }
        cx.spend(candidate.packet);
    }

    /// A number delivered, stored or given up before.
    fn repeated(&mut self, repeat: Repeat, wire: u64, stored: Stored, cx: &mut Context<'_>) {
        let silence = self.silence();
        let candidate = self.candidate(wire, stored);
        for repeat in self.probation.offer_repeat(candidate, repeat, self.space, silence) {
            self.drop_repeat(repeat, cx);
        }
    }

    fn candidate(&self, wire: u64, stored: Stored) -> Candidate {
        Candidate {
            arrived: stored.packet.arrived,
            session: self.session,
            number: wire,
            span: stored.span,
            packet: stored.packet,
            fingerprint: stored.fingerprint,
        }
    }

    /// A number below the head with content that is not known: a restart, or a leg that lags behind.
    fn behind(&mut self, number: u64, leg: u8, wire: u64, stored: Stored, window: u64, cx: &mut Context<'_>) {
        let own = self.legs.get(usize::from(leg)).copied().unwrap_or(0);
        let lagging = !self.legs.is_empty() && number > own && number - own < window;
        if lagging {
            self.legs[usize::from(leg)] = number;
            return self.repeated(Repeat::Duplicate, wire, stored, cx);
        }
        let candidate = self.candidate(wire, stored);
        self.offer(candidate, cx);
    }

    /// A packet that does not fit the numbering in force.
    fn on_probation(&mut self, arrived: Numbered, cx: &mut Context<'_>) {
        let at_zero = self.format == PacketFormat::Native && arrived.number == 0;
        let first_of_all = self.reorder.is_none() && self.predecessor.is_none();
        let candidate = Candidate {
            session: arrived.session,
            number: arrived.number,
            span: arrived.span,
            packet: arrived.packet,
            fingerprint: arrived.fingerprint,
            arrived: cx.now,
        };
        self.offer(candidate, cx);
        if first_of_all {
            let grace = if at_zero { Duration::ZERO } else { START_GRACE.min(self.hold.get()) };
            self.probation.begin_by(cx.now + grace);
        }
    }

    fn offer(&mut self, mut candidate: Candidate, cx: &mut Context<'_>) {
        candidate.packet.tighten(cx.spent);
        let grace = match (&self.reorder, &self.predecessor) {
            (None, None) => START_GRACE.min(self.hold.get()),
            (None, Some(predecessor)) => predecessor.grace,
            _ => self.hold.reordering(),
        };
        if let Some(evicted) = self.probation.offer(candidate, self.space, grace) {
            self.counters.rejected += 1;
            cx.spend(evicted.packet);
        }
    }

    /// Lets time pass for the packets under probation. `alive` is when the numbering in force was last seen:
    /// this flow's own, or its predecessor's. `true`: call [`Flow::begin`].
    pub(super) fn poll_probation(&mut self, alive: Option<Instant>, cx: &mut Context<'_>) -> bool {
        if self.probation.is_empty() {
            return false;
        }
        let silence = self.silence_since(alive);
        loop {
            match self.probation.poll(cx.now, silence) {
                Verdict::Wait => return false,
                Verdict::Believe => return true,
                Verdict::Reject(candidate) => {
                    self.counters.rejected += 1;
                    cx.spend(candidate.packet);
                }
                Verdict::Repeats(repeats) => {
                    for repeat in repeats {
                        self.drop_repeat(repeat, cx);
                    }
                }
            }
        }
    }

    /// The packets under probation are believed: ends the old numbering and begins theirs.
    pub(super) fn begin(&mut self, succeeds: Option<FlowId>, cx: &mut Context<'_>) {
        let window = self.window(cx.config);
        let Some(believed) = self.probation.take(self.space, window) else { return };
        let others = believed.others.len() as u64;
        self.counters.rejected += others;
        for candidate in believed.others {
            cx.spend(candidate.packet);
        }
        for repeat in believed.repeats {
            self.drop_repeat(repeat, cx);
        }
        let elapsed = believed
            .packets
            .first()
            .and_then(|first| Some(first.arrived.saturating_duration_since(self.alive?)))
            .unwrap_or_default();
        self.flush_numbering(cx);
        self.predecessor = None;
        let goes_on = self.reorder.is_some() && believed.session == self.session;
        if !(goes_on && self.jump(believed.first, elapsed, window, cx)) {
            self.start_session(believed.session, believed.first, succeeds, cx);
        }
        for candidate in believed.packets {
            self.in_session(candidate.into(), cx);
        }
    }

    /// Whether a jump forwards within one session is what an outage of that length loses; if so, it is
    /// counted as lost and the session goes on.
    fn jump(&mut self, first: u64, elapsed: Duration, window: u64, cx: &mut Context<'_>) -> bool {
        let Some(reorder) = &mut self.reorder else { return false };
        let to = self.space.extend(reorder.next(), first);
        let plausible = 3.0 * self.rate.get().unwrap_or(0.0) * elapsed.as_secs_f64() + window as f64;
        if to < reorder.next() || (to - reorder.next()) as f64 > plausible {
            return false;
        }
        let lost = reorder.jump(to);
        self.count_lost(lost, cx);
        true
    }

    fn start_session(&mut self, session: u32, first: u64, succeeds: Option<FlowId>, cx: &mut Context<'_>) {
        let restart = self.reorder.is_some();
        if restart && session != self.session {
            self.retired = Some(self.session);
        }
        // A native session begins at 0: what is missing below the first packet seen was lost. Of a flow that
        // is seen for the first time, it was sent before anyone listened.
        let near_zero = first < START_AT_ZERO.min(self.window(cx.config));
        let first = if restart && self.format == PacketFormat::Native && near_zero { 0 } else { first };
        // One whole space above zero, so that numbers just before the first one extend downwards.
        let next = self.space.modulus().map_or(first, |m| first + m);
        self.session = session;
        self.reorder = Some(Reorder::new(next, cx.now));
        self.alive = Some(cx.now);
        self.recover = (self.format == PacketFormat::Native).then(|| Box::new(Recover::new(next)));
        self.legs.fill(next);
        self.jitter.restart();
        self.counters.sessions += 1;
        cx.outputs.push_back(Output::SessionStarted { flow: self.id, succeeds });
    }

    /// The next number to be used, from a heartbeat or an end of session.
    pub(super) fn announced(&mut self, session: u32, next: u64, end: bool, cx: &mut Context<'_>) {
        let (window, patience) = (self.window(cx.config), self.patience());
        let Some(reorder) = self.reorder.as_mut().filter(|_| session == self.session) else { return };
        if next < reorder.end() {
            return;
        }
        self.ended = end;
        // One beyond the window is forged, or so much was lost that its next packet begins anew.
        if next - reorder.next() <= window {
            reorder.announce(next, cx.now, patience);
        }
    }

    /// A copy of what recovery must keep of a packet that is about to move on.
    fn recover_copy(&self, arrived: &Numbered, number: u64, window: u64) -> Option<Vec<u8>> {
        let (recover, reorder) = (self.recover.as_ref()?, self.reorder.as_ref()?);
        let wanted = recover.keeping() && arrived.how != How::Fec && number < reorder.next() + window;
        wanted.then(|| {
            let packet = &arrived.packet;
            let flags = packet.bytes.get(3).copied().unwrap_or(0) & !native::RETRANSMISSION;
            let payload = &packet.bytes[packet.payload.clone()];
            unpadded(SourceShard { flags, timestamp: packet.timestamp.unwrap_or(0), payload })
        })
    }

    fn keep_for_recovery(&mut self, number: u64, shard: Vec<u8>, cx: &mut Context<'_>) {
        let end = self.end();
        if let Some(recover) = &mut self.recover {
            let findings = recover.media(number, shard, &mut cx.means(self.hold.reordering(), end));
            self.apply(findings, cx);
        }
    }

    /// A repair packet; used if it is of the session in force and of packets that may have been sent by now.
    pub(super) fn repair(&mut self, session: u32, first: u64, repair: &Repair<'_>, cx: &mut Context<'_>) {
        let window = self.window(cx.config);
        let (Some(reorder), Some(recover)) = (&self.reorder, &mut self.recover) else { return };
        if session == self.session && first <= reorder.end() + window {
            let means = &mut cx.means(self.hold.reordering(), reorder.end());
            let findings = recover.repair(first, repair, reorder.next(), means);
            self.apply(findings, cx);
        }
    }

    fn apply(&mut self, findings: Findings, cx: &mut Context<'_>) {
        if let Some(span) = findings.span {
            self.hold.saw_block(span, cx.now);
        }
        for rebuilt in findings.rebuilt {
            let packet = self.rebuild(&rebuilt, cx.now);
            let fingerprint = fingerprint(&rebuilt.payload, rebuilt.timestamp);
            let (session, number, how) = (self.session, rebuilt.number, How::Fec);
            self.in_session(Numbered { session, number, span: 1, fingerprint, how, packet, leg: 0 }, cx);
        }
        if let Some(end) = findings.awaited {
            self.await_until(end, cx);
        }
        if !findings.hopeless.is_empty() {
            self.give_up(&findings.hopeless, cx);
        }
    }

    /// These numbers cannot come back.
    fn give_up(&mut self, hopeless: &[u64], cx: &mut Context<'_>) {
        let window = self.window(cx.config);
        let Some(reorder) = &mut self.reorder else { return };
        for number in hopeless {
            reorder.give_up(*number, window);
        }
        self.poll(cx);
    }

    /// Numbers below `end` have been used, a repair packet says.
    fn await_until(&mut self, end: u64, cx: &mut Context<'_>) {
        let (window, patience) = (self.window(cx.config), self.patience());
        let Some(reorder) = &mut self.reorder else { return };
        if end > reorder.end() && end - reorder.next() <= window {
            reorder.announce(end, cx.now, patience);
        }
    }

    /// The whole datagram of a rebuilt packet, as its producer had sent it.
    fn rebuild(&self, rebuilt: &Rebuilt, now: Instant) -> Packet {
        let FlowKey::Stream(stream) = self.key else { unreachable!("only native flows have recovery") };
        let repr = native::Repr {
            kind: native::Kind::Data,
            flags: rebuilt.flags,
            stream,
            session: self.session,
            sequence: rebuilt.number,
            timestamp: rebuilt.timestamp,
            payload: &rebuilt.payload,
        };
        let mut bytes = Vec::with_capacity(repr.len());
        repr.emit(&mut bytes);
        Packet {
            payload: native::HEADER..bytes.len() - native::TRAILER,
            bytes: Buffer::from(bytes),
            timestamp: (rebuilt.timestamp != 0).then_some(rebuilt.timestamp),
            arrived: now,
            format: PacketFormat::Native,
        }
    }

    /// Delivers what is due and gives up what is overdue.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) {
        let (grace, hold, end) = (self.hold.reordering(), self.hold.get(), self.end());
        if let Some(recover) = &mut self.recover
            && let Some(due) = recover.deadline(grace)
        {
            // What can be rebuilt is not given up: a deadline that has passed makes it overdue.
            let expired = self.reorder.as_ref().and_then(|r| r.deadline(hold)).is_some_and(|at| at <= cx.now);
            if expired || due <= cx.now {
                let grace = if expired { Duration::ZERO } else { grace };
                let findings = recover.poll(&mut cx.means(grace, end));
                self.apply(findings, cx);
            }
        }
        while let Some(reorder) = &mut self.reorder {
            let polled = reorder.poll(cx.now, self.hold.get());
            if !self.apply_poll(polled, cx) {
                break;
            }
        }
    }

    /// Acts on what the reorder buffer wants. `false`: it wants nothing now.
    fn apply_poll(&mut self, polled: Poll, cx: &mut Context<'_>) -> bool {
        match polled {
            Poll::Forward(number, stored) => {
                self.counters.expected += stored.span;
                self.counters.duplicate += self.reorder.as_mut().map_or(0, Reorder::take_covered);
                self.deliver(number, stored.how, stored.packet, cx);
                true
            }
            Poll::Lost(range, waited) => {
                if !waited.is_zero() {
                    cx.outputs.push_back(Output::GapClosed { flow: self.id, waited });
                }
                self.count_lost(range, cx);
                true
            }
            Poll::Wait => false,
        }
    }

    fn count_lost(&mut self, range: std::ops::Range<u64>, cx: &mut Context<'_>) {
        let count = range.end - range.start;
        if count > 0 {
            self.counters.lost += count;
            self.counters.expected += count;
            cx.outputs.push_back(Output::Lost { flow: self.id, from: range.start, count });
        }
    }

    fn skip_oldest(&mut self, cx: &mut Context<'_>) {
        if let Some(reorder) = &mut self.reorder
            && let Some(polled) = reorder.skip_oldest(cx.now)
        {
            self.apply_poll(polled, cx);
            self.poll(cx);
        }
    }

    /// Delivers what the numbering in force holds back, in order, with its gaps given up.
    pub(super) fn flush_numbering(&mut self, cx: &mut Context<'_>) {
        let end = self.end();
        if let Some(recover) = &mut self.recover {
            let findings = recover.poll(&mut cx.means(Duration::ZERO, end));
            self.apply(findings, cx);
        }
        while let Some(reorder) = &mut self.reorder {
            let polled = reorder.flush(cx.now);
            if !self.apply_poll(polled, cx) {
                break;
            }
        }
    }

    /// The end of the flow: everything goes out or is counted.
    pub(super) fn flush(&mut self, cx: &mut Context<'_>) {
        self.reject_probation(cx);
        self.flush_numbering(cx);
    }

    /// Charges the channel for what this flow keeps. Over the bound, the oldest gaps are given up, then what is
    /// under probation, then what is kept for recovery, until the flow keeps nothing.
    pub(super) fn settle_budget(&mut self, cx: &mut Context<'_>) {
        self.charge(cx.budget);
        while cx.budget.exceeded() && self.charged > 0 {
            if self.held_back() > 0 {
                self.skip_oldest(cx);
            } else if !self.probation.is_empty() {
                self.reject_probation(cx);
            } else {
                if let Some(recover) = &mut self.recover {
                    recover.forget();
                }
                if let Some(reorder) = &mut self.reorder {
                    reorder.shrink();
                }
            }
            self.charge(cx.budget);
        }
    }

    fn reject_probation(&mut self, cx: &mut Context<'_>) {
        let (candidates, repeats) = self.probation.clear();
        self.counters.rejected += candidates.len() as u64;
        for candidate in candidates {
            cx.spend(candidate.packet);
        }
        for repeat in repeats {
            self.drop_repeat(repeat, cx);
        }
    }

    fn charge(&mut self, budget: &mut Budget) {
        let used = self.reorder.as_ref().map_or(0, Reorder::bytes)
            + self.probation.bytes()
            + self.recover.as_ref().map_or(0, |r| r.bytes());
        budget.recharge(self.charged, used);
        self.charged = used;
    }

    /// Takes back what was charged; the flow is about to be dropped.
    pub(super) fn discharge(&mut self, budget: &mut Budget) {
        budget.recharge(self.charged, 0);
        self.charged = 0;
    }

    /// When this flow has something to do, given when its numbering (or its predecessor's) was alive.
    pub(super) fn deadline(&self, alive: Option<Instant>) -> Option<Instant> {
        let probation =
            if self.probation.is_empty() { None } else { self.probation.deadline(self.silence_since(alive)) };
        let reorder = self.reorder.as_ref().and_then(|r| r.deadline(self.hold.get()));
        let recover = self.recover.as_ref().and_then(|r| r.deadline(self.hold.reordering()));
        [probation, reorder, recover].into_iter().flatten().min()
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
            packets_per_second: self.rate.get(),
            last_arrival: self.last_arrival,
            ended: self.ended,
        }
    }
}
