//! Handles a packet with a number: whether it belongs to the current session, how the reorder
//! buffer takes it, and the consequences. `belief` handles packets that contradict the session;
//! `pass` has the short ways, which most packets take.

use std::time::{Duration, Instant};

use super::{Context, Flow, Numbered, Session};
use crate::{
    limits::SILENCE_MAX,
    relay::{
        How, Output,
        arrival::Stamp,
        probation::{Candidate, Repeat},
        recovery::Kept,
        reorder::{Known, Queued, Stored},
    },
};
use tidecast_wire::seq::SeqRange;

/// A packet's data, and the state of the buffer when the packet was inserted.
struct Entry {
    /// Extended number, and wire number.
    number: u64,
    wire: u64,
    span: u64,
    how: How,
    leg: u8,
    clock: Option<Stamp>,
    at: Instant,
    /// The head before this packet, and the number after the highest one.
    next: u64,
    end: u64,
    /// Whether packets were held back before it.
    waiting: bool,
    /// How late it is, if a higher number had come before it.
    lateness: Option<Duration>,
    /// How long later packets have waited, if it fills the gap at the head.
    waited: Option<Duration>,
    /// The same number is stored with other content.
    differs: bool,
}

impl Session {
    /// Inserts a packet into the reorder buffer.
    #[inline]
    fn enter(
        &mut self,
        arrived: Numbered,
        number: u64,
        window: u64,
        cx: &mut Context<'_>,
    ) -> (Entry, Queued) {
        let Numbered { number: wire, span, fingerprint, how, mut packet, leg, clock, .. } = arrived;
        let (reorder, at) = (&mut self.reorder, packet.arrived);
        let (next, end, waiting) = (reorder.next(), reorder.end(), reorder.stored() > 0);
        let lateness = if number < end { reorder.lateness(number, at) } else { None };
        let waited = if number == next && waiting { reorder.waited(number, at) } else { None };
        if number != next || waiting {
            cx.tighten(&mut packet);
        }
        let differs = number >= next && reorder.known(number, span, fingerprint, window) == Known::Other;
        let queued = reorder.insert(number, Stored::new(packet, how, span, fingerprint), at, window);
        let entry =
            Entry { number, wire, span, how, leg, clock, at, next, end, waiting, lateness, waited, differs };
        (entry, queued)
    }
}
impl Flow {
    /// Handles a packet with a number.
    pub(in crate::relay) fn numbered(&mut self, arrived: Numbered, cx: &mut Context<'_>) {
        self.ended = false;
        self.leg_heard(arrived.leg, cx);
        if arrived.how == How::Received && !self.admits(&arrived.packet, cx) {
            return self.stranger(arrived, cx);
        }
        let wider = arrived.how == How::Received && self.note_span(arrived.span);
        let in_force = self.session.as_ref().is_some_and(|session| session.id == arrived.session);
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
            match self.session.as_ref().and_then(|session| session.standing) {
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
        let ended = self.session.as_ref().and_then(|session| session.ended_at(arrived.session));
        // A sealed session never goes on after a newer one.
        let over = |next| cx.sealed.is_some() || (lately && arrived.number < next);
        if ended.is_some_and(over) {
            self.counters.late += 1;
            return cx.spend(arrived.packet);
        }
        self.on_probation(arrived, cx);
    }

    /// Handles a packet of the current session.
    pub(super) fn in_session(&mut self, arrived: Numbered, cx: &mut Context<'_>) {
        let window = self.window(cx.config);
        let Some(session) = &self.session else { return };
        let number = session.extend(arrived.number);
        if arrived.how == How::Received {
            if self.is_left_over(&arrived, number, window, cx.now) {
                self.counters.late += 1;
                return cx.spend(arrived.packet);
            }
            self.make_way(number, window, cx);
        }
        if arrived.how == How::Retransmission {
            self.note_answer(number, cx.now);
        }
        if self.legs.is_some() {
            self.remember_lag(cx.config);
        }
        let Some(session) = &mut self.session else { return };
        if let Some(asking) = &mut session.asking {
            asking.heard(arrived.packet.bytes.len());
        }
        let kept = session.recovery_copy(&arrived, number, window);
        let (entry, queued) = session.enter(arrived, number, window, cx);
        self.counters.duplicate += session.reorder.take_covered();
        let accepted = queued.is_accepted();
        let lags = self.legs.is_some() && entry.how == How::Received && self.weigh_legs(&entry, &queued, cx);
        if accepted {
            self.accepted(&entry, cx);
        }
        match queued {
            Queued::Forward(stored) => self.passes(&entry, stored, cx),
            Queued::Waits => {}
            Queued::Replaced(suspect) => self.replaced(suspect, cx),
            queued => self.given_back(&entry, queued, lags, cx),
        }
        if accepted {
            self.after_accepted(&entry, window, cx);
        }
        if let Some(kept) = kept {
            self.show_recovery(number, kept, accepted, cx);
        }
    }

    /// Gives up the oldest gaps if the buffer has no room for the next number.
    fn make_way(&mut self, number: u64, window: u64, cx: &mut Context<'_>) {
        let Some(session) = &self.session else { return };
        let before = session.reorder.next();
        while let Some(Session { reorder, .. }) = &self.session
            && number >= reorder.next()
            && reorder.is_beyond(number, window)
            && number <= reorder.end() + self.step.get()
            && reorder.stored() > 0
        {
            self.skip_oldest(cx);
        }
        if self.session.as_ref().is_some_and(|session| session.reorder.next() > before) {
            self.readmit(window, cx);
        }
    }

    /// Notes the packet for the leg that carried it. `true`: it is old because the leg's path is
    /// longer.
    fn weigh_legs(&mut self, entry: &Entry, queued: &Queued, cx: &mut Context<'_>) -> bool {
        let lags = self.lags(entry.leg, entry.number, queued, cx.now);
        if let Some(legs) = &self.legs
            && (entry.differs || matches!(queued, Queued::Other(_)))
        {
            legs.differs(entry.leg, entry.number, cx.legs);
        }
        if lags || queued.is_accepted() {
            self.note_leg(entry.leg, SeqRange { first: entry.number, count: entry.span }, cx);
        }
        lags
    }

    /// Counts and measures a new packet.
    fn accepted(&mut self, entry: &Entry, cx: &mut Context<'_>) {
        if let Some(clock) = entry.clock {
            self.clock(clock, self.nanos_at(entry.at), cx.config);
        }
        match entry.how {
            How::Fec => {
                self.counters.recovered_fec += 1;
                self.note_recovered(entry.number);
            }
            How::Retransmission => {
                self.counters.recovered_retransmission += 1;
                self.note_recovered(entry.number);
                self.goes_on(entry.leg, cx);
            }
            How::Received => {
                self.received(entry, cx.now);
                self.goes_on(entry.leg, cx);
            }
        }
        self.note_gaps(entry.number, entry.next, entry.end, cx.now);
    }

    /// Measures an original packet, as it was sent.
    fn received(&mut self, entry: &Entry, now: Instant) {
        self.learn_pause();
        if self.rate.packet(now) {
            self.measured(now);
        }
        if entry.number < entry.end {
            self.counters.reordered += 1;
            if let Some(lateness) = entry.lateness {
                self.hold.saw_lateness(lateness, now);
            }
        }
    }

    /// The session continues on this leg, so packets under probation on it are no restart.
    fn goes_on(&mut self, leg: u8, cx: &mut Context<'_>) {
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

    /// Delivers a packet at the head.
    #[inline]
    fn passes(&mut self, entry: &Entry, stored: Stored, cx: &mut Context<'_>) {
        if let Some(waited) = entry.waited {
            self.answer(Output::GapClosed { flow: self.id, waited }, cx);
        }
        self.deliver(entry.number.max(entry.next), stored.span, stored.how, stored.packet, cx);
    }

    /// Rejects a stored packet that stood alone: another packet has its number.
    fn replaced(&mut self, suspect: Stored, cx: &mut Context<'_>) {
        if suspect.packet.bytes.is_empty() {
            return self.void_passed();
        }
        self.counters.rejected += 1;
        self.conflicts(cx);
        cx.spend(suspect.packet);
    }

    /// Handles a packet that the reorder buffer did not accept: it is known, too late, or
    /// contradicts the session.
    fn given_back(&mut self, entry: &Entry, queued: Queued, lags: bool, cx: &mut Context<'_>) {
        let conflict = matches!(queued, Queued::Other(_));
        // A sealed session never begins to count again.
        let lags = lags || cx.sealed.is_some();
        match queued {
            Queued::Forward(_) | Queued::Waits | Queued::Replaced(_) => {}
            // A recovered packet that is no longer missing counts only as a repair packet.
            Queued::Duplicate(stored)
            | Queued::Late(stored)
            | Queued::Other(stored)
            | Queued::Behind(stored)
            | Queued::Ahead(stored)
                if entry.how != How::Received =>
            {
                cx.spend(stored.packet);
            }
            Queued::Late(stored) if lags => {
                let candidate = self.candidate(entry.wire, stored, entry.leg);
                self.drop_repeat((candidate, Repeat::Late(entry.lateness)), cx);
            }
            Queued::Duplicate(stored) | Queued::Other(stored) | Queued::Behind(stored) if lags => {
                self.not_needed(entry.number);
                self.counters.duplicate += 1;
                cx.spend(stored.packet);
            }
            Queued::Duplicate(stored) => {
                self.counters.conflicts += u64::from(entry.differs);
                self.not_needed(entry.number);
                self.note_duplicate(entry.number, entry.how, cx.now);
                self.again(Repeat::Duplicate, entry.number, (entry.wire, entry.leg), stored, cx);
            }
            Queued::Late(stored) => {
                let repeat = Repeat::Late(entry.lateness);
                self.again(repeat, entry.number, (entry.wire, entry.leg), stored, cx);
            }
            // Other content below the head, or a number far ahead: the producer may have restarted
            // its numbering.
            Queued::Other(stored) | Queued::Behind(stored) | Queued::Ahead(stored) => {
                let candidate = self.candidate(entry.wire, stored, entry.leg);
                self.offer(Candidate { conflict, ..candidate }, cx);
                if self.is_last(entry.wire) {
                    self.look_for_standing(entry.wire, cx);
                }
            }
        }
    }

    /// Delivers packets that waited for the accepted one.
    fn after_accepted(&mut self, entry: &Entry, window: u64, cx: &mut Context<'_>) {
        let rebuilding = self.session.as_ref().is_some_and(|session| session.rebuilding);
        if rebuilding || !(entry.waiting || self.held_back() > 0) {
            return;
        }
        if !self.probation.is_empty() {
            // The window may have grown, so a packet just beyond it may fit now.
            self.readmit(window, cx);
        }
        self.poll(cx);
    }

    /// Keeps for recovery what it needs of a packet. `accepted`: its number is new.
    fn show_recovery(&mut self, number: u64, kept: Kept, accepted: bool, cx: &mut Context<'_>) {
        if accepted {
            self.keep_for_recovery(number, kept, cx);
        } else {
            self.compare_for_recovery(number, kept, cx);
        }
    }
}
