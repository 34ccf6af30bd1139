//! The short ways of packets through a flow that has nothing to look after: in order while nothing
//! is held back, the first behind a gap, behind the last one while packets wait for a gap, and into
//! one. Nearly all packets take one of them.
//!
//! Each does what [`Flow::numbered`] and then what is due after an input would do, less all that
//! has nothing to do in such a flow; [`Flow::look`] says when that is so, and a test runs both ways
//! side by side.

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

/// What a session has to look after besides its head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ease {
    /// Anything: probation, recovery, several legs, announcements, packets that take several
    /// numbers.
    Busy,
    /// Nothing, and nothing is held back.
    Calm,
    /// Packets that wait for a gap, and nothing else.
    Gap,
}

/// Way of a packet through its flow.
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
    /// The packet came twice in a row: it is counted, and nothing else.
    Repeat,
}

impl Session {
    /// Whether there is something to look after besides packets of one number each, in order or
    /// behind a gap.
    fn is_busy(&self) -> bool {
        !self.reorder.is_quiet() || self.reorder.is_stepping() || self.standing.is_some() || self.recovers()
    }

    /// What a session that is not busy has to look after, with this window.
    fn ease_within(&self, window: u64) -> Ease {
        let reorder = &self.reorder;
        match reorder.stored() {
            _ if !reorder.covers(window) => Ease::Busy,
            0 if reorder.is_calm() => Ease::Calm,
            0 => Ease::Busy,
            // What stands behind a gap may show another one, to be asked for.
            _ if self.asking.is_some() => Ease::Busy,
            _ => Ease::Gap,
        }
    }

    /// Whether the packet before the head comes again, and nothing is to be learned from that.
    fn is_twice(&self, number: u64, fingerprint: u32) -> bool {
        self.asking.is_none()
            && self.rebuilt.is_empty()
            && self.reorder.known(number, 1, fingerprint, self.window) == Known::Same
    }

    /// Whether a packet of one number has its place beyond all others.
    #[inline(always)]
    fn may_append(&self, number: u64) -> bool {
        self.reorder.may_append(number, self.window)
    }

    /// Whether a packet of one number has its place in a gap.
    fn may_fill(&self, number: u64) -> bool {
        let reorder = &self.reorder;
        number < reorder.end() && reorder.misses(number) && !reorder.is_beyond(number, self.window)
    }
}

impl Flow {
    /// Decides which ways the next packet may take; called after an input that took the long way,
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

    /// Whether there is something to look after besides the session.
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
        // The next packet may leave out a number that a foreign one has, or end the longer wait of
        // one that stands alone.
        let alone = || session.reorder.stored() == 1 && session.reorder.waits_longer(&self.gap_patience());
        if ease == Ease::Gap && (self.has_noted() || alone()) { Ease::Busy } else { ease }
    }

    /// [`Flow::look`] in a calm flow when only rate or hold have changed. It has no legs, and its
    /// packets take one number each.
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

    /// The way of a media packet.
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

    /// Whether the packet is a copy of the last one, in a flow that learns nothing from that.
    #[inline(never)]
    fn is_twice(&self, number: u64, arrival: &Arrival, now: Instant) -> bool {
        self.session.as_ref().is_some_and(|session| session.is_twice(number, arrival.fingerprint()))
            && self.age(number, now) <= self.repeat_age()
    }

    /// Whether the packet only has to be stored: no deadline has passed, and no bound is met.
    #[inline(always)]
    fn may_wait(&self, number: u64, bytes: &Buffer, now: Instant, budget: &Budget) -> bool {
        bytes.capacity() <= budget.room()
            && self.scheduled.is_some_and(|at| now < at)
            && self.session.as_ref().is_some_and(|session| session.may_append(number))
    }

    /// Whether the packet only has to be stored, as the first one behind a gap that nobody asks
    /// for.
    #[inline(never)]
    fn may_open(&self, number: u64, bytes: &Buffer, budget: &Budget) -> bool {
        let may_append = |session: &Session| session.asking.is_none() && session.may_append(number);
        bytes.capacity() <= budget.room()
            && self.strangers.is_none()
            && !self.hold.get().is_zero()
            && self.session.as_ref().is_some_and(may_append)
    }

    /// Whether the packet only has to be put into a gap: no deadline has passed, and no bound is
    /// met.
    #[inline(never)]
    fn may_fill(&self, number: u64, bytes: &Buffer, now: Instant, budget: &Budget) -> bool {
        bytes.capacity() <= budget.room()
            && self.strangers.is_none()
            && self.scheduled.is_some_and(|at| now < at)
            && self.session.as_ref().is_some_and(|session| session.may_fill(number))
    }

    /// Takes the packet at the head.
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

    /// Holds the packet back. `true`: rate or hold have changed, so that more may be due.
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

    /// Puts the packet into a gap, and passes on what is in order then. `true`: more may be due,
    /// since rate or hold have changed, or since a packet now waits first that came before the
    /// others and was under probation.
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
        // Before what waited goes out: the age of numbers goes by the head of this moment.
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

    /// Delivers what is in order behind a gap that is filled. Their deadlines need no look: nothing
    /// of them is left.
    fn deliver_ready(&mut self, cx: &mut Context<'_>) {
        while let Some(session) = &mut self.session {
            let Some((number, stored)) = session.reorder.pop_ready() else {
                return session.reorder.forget_passed();
            };
            self.deliver(number, stored.span, stored.how, stored.packet, cx);
        }
    }

    /// Measures a packet that was not known before. `true`: rate or hold have changed.
    #[inline]
    fn measure(&mut self, arrival: &Arrival, now: Instant, config: &Config) -> bool {
        self.note(arrival, now, config) | self.hold.tick(now)
    }

    /// Notes a packet that was not known before. `true`: the rate has changed.
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
