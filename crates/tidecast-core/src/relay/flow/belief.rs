//! What a flow believes: packets that contradict its numbering wait under probation, and a numbering that is
//! confirmed takes the place of the old one.

use std::time::{Duration, Instant};

use super::{Context, Flow, Numbered, Predecessor, jump::Jump, legs::Former};
use crate::{
    limits::{
        FEC_LEARN_HOLDS, FEC_LEARN_TIME_MIN, LEG_LAG_HOLDS, PACE_PACKETS, SILENCE_MAX, START_AT_ZERO,
        START_GRACE,
    },
    relay::{
        Fec, Output, PacketFormat,
        recover::st2022::Terms,
        recovery::Recovery,
        reorder::{Reorder, Stored},
        session::{Candidate, Grace, Repeat, Silence, Verdict},
    },
};

/// Why a packet is rejected whose number has come with other content.
const CONFLICT: &str = "conflict";

/// The session before the one in force.
#[derive(Debug)]
pub(super) struct Retired {
    pub(super) session: u32,
    /// Its packets below are stragglers; one that goes on from here is alive.
    pub(super) next: u64,
}

impl Flow {
    /// This flow as the predecessor of a new one.
    pub(in crate::relay) fn as_predecessor(&self) -> Predecessor {
        Predecessor { id: self.id, key: self.key, silence: self.silence() }
    }

    /// How long the numbering in force must be silent before another one is believed unconfirmed. At least
    /// the hold; on a flow with some packets a second long enough that its next one had its chance.
    pub(super) fn silence(&self) -> Duration {
        let hold = self.hold.get();
        match self.rate.get() {
            Some(rate) if rate > 1.0 => hold.max(Duration::from_secs_f64(1.25 / rate).min(SILENCE_MAX)),
            _ => hold,
        }
    }

    /// Numbers per second, where packets follow each other so closely that one alone is conspicuous.
    pub(super) fn brisk(&self) -> Option<f64> {
        let fast = |rate: &f64| rate * self.hold.get().as_secs_f64() >= PACE_PACKETS;
        self.rate.get().filter(fast).map(|rate| rate * self.step.get() as f64)
    }

    /// How long numbers that are said to have been used may still come: until the flow's next packet is overdue.
    pub(super) fn patience(&self) -> Duration {
        let interval = self.rate.get().map_or(SILENCE_MAX.as_secs_f64(), |rate| 1.25 / rate);
        // What was promised for repair packets delays no tail of a flow that has none.
        let protected = self.asking.is_some() || self.recover.as_ref().is_some_and(|r| r.window() > 0);
        let hold = if protected { self.hold.get() } else { self.hold.measured() };
        hold.max(Duration::try_from_secs_f64(interval).unwrap_or(SILENCE_MAX))
    }

    /// What packets under probation wait for, given when the numbering that they contradict was alive.
    pub(super) fn silence_since(&self, alive: Option<Instant>) -> Silence {
        let usual = self.predecessor.as_ref().map_or(self.silence(), |old| old.silence);
        let believed_after = if self.brisk().is_some() { usual.max(SILENCE_MAX) } else { usual };
        // A flow that never had a numbering has no rate: its second packet may take longer.
        let kept_for = if self.reorder.is_some() { 2 * usual } else { (2 * usual).max(2 * SILENCE_MAX) };
        Silence { alive, believed_after, kept_for }
    }

    /// A packet that does not fit the numbering in force.
    pub(super) fn on_probation(&mut self, arrived: Numbered, cx: &mut Context<'_>) {
        let at_zero = self.format == PacketFormat::Native && arrived.number == 0;
        let first_of_all = self.reorder.is_none() && self.predecessor.is_none();
        let candidate = Candidate {
            session: arrived.session,
            number: arrived.number,
            span: arrived.span,
            packet: arrived.packet,
            fingerprint: arrived.fingerprint,
            arrived: cx.now,
            leg: arrived.leg,
            stale: false,
            repeat: None,
            conflict: false,
        };
        self.offer(candidate, cx);
        if first_of_all {
            let grace = if at_zero { Duration::ZERO } else { START_GRACE.min(self.hold.get()) };
            self.probation.begin_by(cx.now + grace);
        }
    }

    pub(super) fn offer(&mut self, mut candidate: Candidate, cx: &mut Context<'_>) {
        if self.probation.has(&candidate, self.repeat_age()) {
            return self.drop_repeat((candidate, Repeat::Duplicate), cx);
        }
        cx.tighten(&mut candidate.packet);
        let (since_first, since_pair) = match &self.reorder {
            None => (Duration::ZERO, START_GRACE.min(self.hold.get())),
            Some(_) => (self.next_due(), self.hold.reordering()),
        };
        let grace = Grace { since_first, since_pair };
        if let Some(evicted) = self.probation.offer(candidate, self.space, grace) {
            self.refuse(evicted, cx);
        }
    }

    /// A packet under probation is not believed.
    pub(super) fn refuse(&mut self, candidate: Candidate, cx: &mut Context<'_>) {
        match candidate.repeat {
            Some(repeat) => self.drop_repeat((candidate, repeat), cx),
            None => {
                self.counters.rejected += 1;
                if candidate.conflict {
                    self.conflicts(cx);
                }
                cx.spend(candidate.packet);
            }
        }
    }

    /// A packet that is not believed has a number that came with other content.
    pub(super) fn conflicts(&mut self, cx: &mut Context<'_>) {
        self.counters.conflicts += 1;
        *cx.rejects.entry(CONFLICT).or_default() += 1;
    }

    /// Takes out of probation what was beyond the window a moment ago.
    pub(super) fn readmit(&mut self, window: u64, cx: &mut Context<'_>) {
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

    /// A number delivered, stored or given up before.
    pub(super) fn repeated(
        &mut self,
        repeat: Repeat,
        (wire, leg): (u64, u8),
        stored: Stored,
        cx: &mut Context<'_>,
    ) {
        let silence = self.silence();
        let candidate = self.candidate(wire, stored, leg);
        for repeat in self.probation.offer_repeat(candidate, repeat, self.space, silence) {
            self.drop_repeat(repeat, cx);
        }
    }

    /// A number that came before. One that came longer ago than any network delivers twice is the producer's, who counts
    /// anew with the same content.
    pub(super) fn again(
        &mut self,
        repeat: Repeat,
        number: u64,
        (wire, leg): (u64, u8),
        stored: Stored,
        cx: &mut Context<'_>,
    ) {
        if self.age(number, cx.now) <= self.repeat_age() {
            if self.is_last_again(number, stored.span) && repeat == Repeat::Duplicate {
                // a run of known numbers cannot begin with the last of all
                return self.drop_repeat((self.candidate(wire, stored, leg), repeat), cx);
            }
            return self.repeated(repeat, (wire, leg), stored, cx);
        }
        let candidate = Candidate { repeat: Some(repeat), ..self.candidate(wire, stored, leg) };
        self.offer(candidate, cx);
        if self.is_last(wire) {
            self.look_for_standing(wire, cx);
        }
    }

    /// Whether these numbers are the last before the head, with nothing held back and no repeats that wait.
    fn is_last_again(&self, number: u64, span: u64) -> bool {
        self.probation.is_empty()
            && self
                .reorder
                .as_ref()
                .is_some_and(|reorder| reorder.is_calm() && number + span == reorder.next())
    }

    /// It was no restart: drops the packet for what it seemed, and learns how late packets come.
    pub(super) fn drop_repeat(&mut self, (candidate, repeat): (Candidate, Repeat), cx: &mut Context<'_>) {
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

    pub(super) fn candidate(&self, wire: u64, stored: Stored, leg: u8) -> Candidate {
        Candidate {
            arrived: stored.packet.arrived,
            session: self.session,
            number: wire,
            span: stored.span,
            packet: stored.packet,
            fingerprint: stored.fingerprint,
            leg,
            stale: false,
            repeat: None,
            conflict: false,
        }
    }

    pub(super) fn reject_probation(&mut self, cx: &mut Context<'_>) {
        let (candidates, repeats) = self.probation.clear();
        for candidate in candidates {
            self.refuse(candidate, cx);
        }
        for repeat in repeats {
            self.drop_repeat(repeat, cx);
        }
    }

    /// Lets time pass for the packets under probation. `alive` is when the numbering in force was last seen:
    /// this flow's own, or its predecessor's. `true`: call [`Flow::begin`].
    pub(in crate::relay) fn poll_probation(&mut self, alive: Option<Instant>, cx: &mut Context<'_>) -> bool {
        if self.probation.is_empty() {
            return false;
        }
        let silence = self.silence_since(alive);
        loop {
            match self.probation.poll(cx.now, silence) {
                Verdict::Wait => return false,
                Verdict::Believe => return true,
                Verdict::Reject(candidate) => self.refuse(candidate, cx),
                Verdict::Repeats(repeats) => {
                    for repeat in repeats {
                        self.drop_repeat(repeat, cx);
                    }
                }
            }
        }
    }

    /// The packets under probation are believed: ends the old numbering and begins theirs.
    pub(in crate::relay) fn begin(&mut self, cx: &mut Context<'_>) {
        let window = self.window(cx.config);
        let Some(believed) = self.probation.take(self.space, window) else { return };
        for candidate in believed.others {
            self.refuse(candidate, cx);
        }
        for repeat in believed.repeats {
            self.drop_repeat(repeat, cx);
        }
        let since = believed.packets.first().map_or(cx.now, |first| first.arrived);
        let elapsed = self.alive.map_or(Duration::ZERO, |alive| since.saturating_duration_since(alive));
        if self.stands_still(believed.session, believed.first) {
            return self.pass_unnumbered(believed.first, believed.packets, cx);
        }
        let stamped = believed.packets.first().and_then(|first| self.stamped_after(&first.packet));
        self.flush_numbering(cx);
        self.predecessor = None;
        let goes_on = self.reorder.is_some() && believed.session == self.session && self.standing.is_none();
        let jump = Jump { first: believed.first, packets: believed.packets.len(), elapsed, stamped };
        if !(goes_on && self.jump(&jump, window, cx)) {
            self.start_session(believed.session, believed.first, since, cx);
        }
        for candidate in believed.packets {
            self.numbered(candidate.into(), cx);
        }
    }

    fn start_session(&mut self, session: u32, first: u64, since: Instant, cx: &mut Context<'_>) {
        let restart = self.reorder.is_some();
        let back =
            self.retired.as_ref().filter(|retired| retired.session == session).map(|retired| retired.next);
        if let Some(ended) = self.reorder.as_ref().filter(|_| session != self.session) {
            self.retired = Some(Box::new(Retired { session: self.session, next: ended.next() }));
        }
        // A native session begins at 0: what is missing below the first packet seen was lost. Of a flow that
        // is seen for the first time, it was sent before anyone listened.
        let near_zero = first < START_AT_ZERO.min(self.window(cx.config));
        let first = if restart && self.format == PacketFormat::Native && near_zero { 0 } else { first };
        // One whole space above zero, so that numbers just before the first one extend downwards.
        let next = self.space.modulus().map_or(first, |m| first + m);
        // A session that was given up too soon goes on where it was.
        let next = back.filter(|back| *back <= next).unwrap_or(next);
        let same_id = restart && session == self.session;
        self.session = session;
        self.begun_by = self.source;
        let mut reorder = Reorder::new(next, since);
        reorder.set_step(self.step.get());
        let ended = self.reorder.replace(reorder);
        self.alive = Some(cx.now);
        let learn_until = cx.now + (cx.config.hold.max() * FEC_LEARN_HOLDS).max(FEC_LEARN_TIME_MIN);
        let recovery = match self.format {
            PacketFormat::Native => Some(Recovery::native(next, learn_until)),
            PacketFormat::Rtp if cx.config.fec != Fec::Off => {
                let (patience, several) = (cx.config.hold.max(), self.legs.is_some());
                let terms = Terms { learn_until, patience, several };
                Some(Recovery::st2022(next, session, terms))
            }
            _ => None,
        };
        self.recover = recovery.map(Box::new);
        self.start_asking(cx);
        if self.recover.is_some() || self.asking.is_some() {
            self.hold.promise(cx.now);
        }
        if let Some(legs) = &mut self.legs {
            legs.start(next, same_id, cx.heard, cx.now);
            self.hopeless.clear();
            self.former = ended.filter(|_| same_id).map(|ended| {
                let (next, until) = (ended.next(), cx.now + self.hold.max() * LEG_LAG_HOLDS);
                Box::new(Former { next, first, until, history: ended.into_history() })
            });
        }
        self.jitter.restart();
        self.restart_ages();
        (self.pause, self.standing) = (0, None);
        self.counters.sessions += 1;
        let key = self.key.to_string();
        let (flow, source) = (self.id, self.source);
        self.answer(Output::SessionStarted { flow, key, source, succeeds: None }, cx);
    }
}
