//! Short ways of packets through a flow with little state: in order while no packet is held back,
//! first behind a gap, last while packets wait for a gap, and into a gap. Nearly all packets take
//! one of them.
//!
//! Each does the same as [`Flow::numbered`] and the polling after an input, without the steps that
//! have no effect in such a flow. [`Flow::look`] decides when that is so, and a test runs both
//! ways side by side.

use std::time::Instant;

use super::{Budget, Config, Context, Flow, Session};
use crate::{
    buffer::Buffer,
    relay::{
        Delivery, How, Output, Packet,
        arrival::{Arrival, Body},
        reorder::{Known, Queued, Stored},
    },
};

/// How much state a session has besides its head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ease {
    /// Any of: probation, recovery, several legs, announcements, packets that take several
    /// numbers.
    Busy,
    /// None, and no packet is held back.
    Calm,
    /// Packets that wait for a gap, and no other.
    Gap,
}

/// The way of a packet through its flow.
pub(in crate::relay) enum Way {
    /// [`Flow::numbered`] or [`Flow::unnumbered`].
    Long,
    /// [`Flow::pass`].
    Pass,
    /// [`Flow::wait`], with this number.
    Wait(u64),
    /// [`Flow::wait`], as the first packet behind a gap: it sets a deadline.
    Open(u64),
    /// [`Flow::fill`], with this number.
    Fill(u64),
    /// The packet is an immediate copy of the last one: it is only counted.
    Repeat,
}

impl Session {
    /// Whether the session has state besides packets of one number each, in order or behind a gap.
    fn is_busy(&self) -> bool {
        !self.reorder.is_quiet() || self.reorder.is_stepping() || self.standing.is_some() || self.recovers()
    }

    /// State of a session that is not busy, with this window.
    fn ease_within(&self, window: u64) -> Ease {
        let reorder = &self.reorder;
        match reorder.stored() {
            _ if !reorder.covers(window) => Ease::Busy,
            0 if reorder.is_calm() => Ease::Calm,
            0 => Ease::Busy,
            // A packet behind a gap may show another gap, to be requested.
            _ if self.asking.is_some() => Ease::Busy,
            _ => Ease::Gap,
        }
    }

    /// Whether the packet repeats the one before the head, and reveals nothing new.
    fn is_twice(&self, number: u64, fingerprint: u32) -> bool {
        self.asking.is_none()
            && self.recovered.is_empty()
            && self.reorder.known(number, 1, fingerprint, self.window) == Known::Same
    }

    /// Whether a packet of one number comes after all stored ones.
    #[inline(always)]
    fn may_append(&self, number: u64) -> bool {
        self.reorder.may_append(number, self.window)
    }

    /// Whether a packet of one number fits into a gap.
    fn may_fill(&self, number: u64) -> bool {
        let reorder = &self.reorder;
        number < reorder.end() && reorder.misses(number) && !reorder.is_beyond(number, self.window)
    }
}

impl Flow {
    /// Decides which ways the next packet may take. Called after an input that took the long way,
    /// and when rate or hold have changed.
    pub(in crate::relay) fn look(&mut self, cx: &Context<'_>) {
        let Some(session) = &self.session else { return };
        let (ease, window) = if self.is_busy() || session.is_busy() {
            (Ease::Busy, 0)
        } else {
            let window = self.window(cx.config);
            (self.ease_of(session, window), window)
        };
        if let Some(session) = &mut self.session {
            (session.ease, session.window) = (ease, window);
        }
    }

    /// Whether the flow has state besides its session.
    fn is_busy(&self) -> bool {
        !self.probation.is_empty()
            || self.pacer.is_some()
            || self.trial.is_some()
            || self.pending() > 0
            || self.legs.is_some()
            || self.has_controls()
    }

    fn ease_of(&self, session: &Session, window: u64) -> Ease {
        let ease = session.ease_within(window);
        // The next packet may leave out a number that a foreign one has taken, or end the longer
        // wait of a single conspicuous packet.
        let alone = || session.reorder.stored() == 1 && session.reorder.waits_longer(&self.gap_patience());
        if ease == Ease::Gap && (self.has_noted() || alone()) { Ease::Busy } else { ease }
    }

    /// [`Flow::look`] for a calm flow in which only rate or hold have changed. It has no legs, and
    /// its packets take one number each.
    #[cold]
    fn fit_window(&mut self, config: &Config) {
        let most = config.window_max.min(self.space.packets_max(1));
        let window = self.rate.window(self.hold.get(), most);
        debug_assert_eq!(window, self.plain_window(config));
        if let Some(session) = &mut self.session
            && session.window != window
        {
            session.window = window;
            if !session.reorder.covers(window) {
                session.ease = Ease::Busy;
            }
        }
    }

    /// Chooses the way of a media packet.
    #[inline(always)]
    pub(in crate::relay) fn way(
        &self,
        arrival: &Arrival,
        bytes: &Buffer,
        now: Instant,
        budget: &Budget,
    ) -> Way {
        let (Body::Numbered { session: id, number, span: 1, .. }, Some(session)) =
            (&arrival.body, &self.session)
        else {
            return Way::Long;
        };
        if *id != session.id || session.ease == Ease::Busy || self.needs_look(arrival, bytes) {
            return Way::Long;
        }
        let next = session.reorder.next();
        let number = session.extend(*number);
        match session.ease {
            Ease::Calm if number == next => Way::Pass,
            Ease::Calm if number + 1 == next && self.is_twice(number, arrival, now) => Way::Repeat,
            Ease::Calm if self.may_open(number, bytes, budget) => Way::Open(number),
            Ease::Gap if self.may_wait(number, bytes, now, budget) => Way::Wait(number),
            Ease::Gap if self.may_fill(number, bytes, now, budget) => Way::Fill(number),
            _ => Way::Long,
        }
    }

    /// Whether the packet is a copy of the last one and reveals nothing new.
    #[inline(never)]
    fn is_twice(&self, number: u64, arrival: &Arrival, now: Instant) -> bool {
        self.session.as_ref().is_some_and(|session| session.is_twice(number, arrival.fingerprint()))
            && self.age(number, now) <= self.repeat_age()
    }

    /// Whether the packet needs only to be stored: no deadline has passed, and no bound is
    /// reached.
    #[inline(always)]
    fn may_wait(&self, number: u64, bytes: &Buffer, now: Instant, budget: &Budget) -> bool {
        bytes.capacity() <= budget.room()
            && self.scheduled.is_some_and(|at| now < at)
            && self.session.as_ref().is_some_and(|session| session.may_append(number))
    }

    /// Whether the packet needs only to be stored, as the first one behind a gap that is not
    /// requested.
    #[inline(never)]
    fn may_open(&self, number: u64, bytes: &Buffer, budget: &Budget) -> bool {
        let may_append = |session: &Session| session.asking.is_none() && session.may_append(number);
        bytes.capacity() <= budget.room()
            && self.strangers.is_none()
            && !self.hold.get().is_zero()
            && self.session.as_ref().is_some_and(may_append)
    }

    /// Whether the packet needs only to be put into a gap: no deadline has passed, and no bound is
    /// reached.
    #[inline(never)]
    fn may_fill(&self, number: u64, bytes: &Buffer, now: Instant, budget: &Budget) -> bool {
        bytes.capacity() <= budget.room()
            && self.strangers.is_none()
            && self.scheduled.is_some_and(|at| now < at)
            && self.session.as_ref().is_some_and(|session| session.may_fill(number))
    }

    /// Delivers the packet at the head.
    #[inline(always)]
    pub(in crate::relay) fn pass(
        &mut self,
        arrival: &Arrival,
        packet: Packet,
        now: Instant,
        config: &Config,
    ) -> Delivery {
        let seq = match &mut self.session {
            Some(session) => session.reorder.pass(arrival.fingerprint(), now),
            None => 0,
        };
        if self.measure(arrival, now, config) {
            self.fit_window(config);
        }
        self.counters.expected += 1;
        self.counters.delivered += 1;
        Delivery { flow: self.id, seq, span: 1, how: How::Received, packet }
    }

    /// Holds the packet back. `true`: rate or hold have changed, so more may be due.
    #[inline(always)]
    pub(in crate::relay) fn wait(
        &mut self,
        number: u64,
        arrival: &Arrival,
        mut packet: Packet,
        cx: &mut Context<'_>,
    ) -> bool {
        cx.tighten(&mut packet);
        let capacity = packet.bytes.capacity();
        if let Some(session) = &mut self.session {
            let stored = Stored::new(packet, How::Received, 1, arrival.fingerprint());
            session.reorder.append(number, stored, cx.now);
        }
        cx.budget.recharge(0, capacity);
        self.charged += capacity;
        self.measure(arrival, cx.now, cx.config)
    }

    /// Puts the packet into a gap, and delivers the packets that are in order then. `true`: more
    /// may be due, because rate or hold have changed, or because the first waiting packet now is
    /// an older one that was under probation.
    pub(in crate::relay) fn fill(
        &mut self,
        number: u64,
        arrival: &Arrival,
        mut packet: Packet,
        cx: &mut Context<'_>,
    ) -> bool {
        let Some(session) = &mut self.session else { return true };
        let reorder = &mut session.reorder;
        let (lateness, oldest) = (reorder.lateness(number, cx.now), reorder.oldest_since());
        let waited = if number == reorder.next() { reorder.waited(number, cx.now) } else { None };
        cx.tighten(&mut packet);
        let stored = Stored::new(packet, How::Received, 1, arrival.fingerprint());
        let queued = reorder.insert(number, stored, cx.now, session.window);
        // Before the waiting packets leave: the age of numbers depends on the current head.
        let measured = self.note(arrival, cx.now, cx.config);
        self.counters.reordered += 1;
        if let Some(lateness) = lateness {
            self.hold.saw_lateness(lateness, cx.now);
        }
        let changed = measured | self.hold.tick(cx.now);
        if let Queued::Forward(stored) = queued {
            if let Some(waited) = waited {
                cx.outputs.push_back(Output::GapClosed { flow: self.id, waited });
            }
            self.deliver(number, stored.span, stored.how, stored.packet, cx);
            self.deliver_ready(cx);
        }
        self.charge(cx.budget);
        self.look(cx);
        let first = self.session.as_ref().and_then(|session| session.reorder.oldest_since());
        changed || first.zip(oldest).is_some_and(|(first, oldest)| first < oldest)
    }

    /// Delivers the packets that are in order after a gap was filled. Their deadlines no longer
    /// matter.
    fn deliver_ready(&mut self, cx: &mut Context<'_>) {
        while let Some(session) = &mut self.session {
            let Some((number, stored)) = session.reorder.pop_ready() else {
                return session.reorder.forget_passed();
            };
            self.deliver(number, stored.span, stored.how, stored.packet, cx);
        }
    }

    /// Measures a new packet. `true`: rate or hold have changed.
    #[inline]
    fn measure(&mut self, arrival: &Arrival, now: Instant, config: &Config) -> bool {
        self.note(arrival, now, config) | self.hold.tick(now)
    }

    /// Notes a new packet. `true`: the rate has changed.
    #[inline]
    fn note(&mut self, arrival: &Arrival, now: Instant, config: &Config) -> bool {
        self.ended = false;
        self.alive = Some(now);
        self.learn_pause();
        if let Some(clock) = arrival.clock {
            self.clock(clock, self.heard_at, config);
        }
        let measured = self.rate.packet(now);
        if measured {
            self.measured(now);
        }
        measured
    }
}
