//! The short ways of packets through a flow that has nothing to look after: in order while nothing is held back, the
//! first behind a gap, behind the last one while packets wait for a gap, and into one. Nearly all packets take one of
//! them.
//!
//! Each does what [`Flow::numbered`] and then what is due after an input would do, less all that has nothing to do in
//! such a flow; [`Flow::look`] says when that is so, and a test runs both ways side by side.

use std::time::Instant;

use super::{Budget, Config, Context, Flow};
use crate::{
    buffer::Buffer,
    relay::{
        Delivery, How, Output, Packet,
        arrival::{Arrival, Body},
        reorder::{Known, Queued, Reorder, Stored},
    },
};

/// What a flow has to look after besides its head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ease {
    /// Anything: probation, recovery, several legs, announcements, packets that take several numbers.
    Busy,
    /// Nothing, and nothing is held back.
    Calm,
    /// Packets that wait for a gap, and nothing else.
    Gap,
}

/// The way that a packet takes.
pub(in crate::relay) enum Way {
    /// [`Flow::numbered`] or [`Flow::unnumbered`].
    Long,
    /// [`Flow::pass`].
    Pass,
    /// [`Flow::wait`], with this number.
    Wait(u64),
    /// The same, as the first one behind a gap: it sets a deadline.
    Open(u64),
    /// [`Flow::fill`], with this number.
    Fill(u64),
    /// It came twice in a row: counted, and nothing else.
    Repeat,
}

impl Flow {
    /// After an input that took the long way, and when rate or hold have changed: which ways the next one may take.
    pub(in crate::relay) fn look(&mut self, cx: &Context<'_>) {
        self.ease = Ease::Busy;
        let Some(reorder) = self.reorder.as_ref().filter(|reorder| reorder.is_quiet()) else { return };
        let recovers = self.recover.as_ref().is_some_and(|recover| !recover.is_idle());
        let waits =
            !self.probation.is_empty() || self.pacer.is_some() || self.trial.is_some() || self.pending() > 0;
        if recovers || waits || self.legs.is_some() || self.standing.is_some() {
            return;
        }
        if reorder.is_stepping() || self.has_controls() {
            return;
        }
        self.window = self.window(cx.config);
        self.ease = match reorder.stored() {
            _ if !reorder.covers(self.window) => Ease::Busy,
            0 if reorder.is_calm() => Ease::Calm,
            0 => Ease::Busy,
            // The next one may leave out a number that a foreign packet has.
            _ if self.has_noted() => Ease::Busy,
            // The next one may end the longer wait of a packet that stands alone.
            1 if reorder.waits_longer(&self.gap_patience()) => Ease::Busy,
            // What stands behind a gap may show another one, to be asked for.
            _ if self.asking.is_some() => Ease::Busy,
            _ => Ease::Gap,
        };
    }

    /// The same in a calm flow when only rate or hold have changed. It has no legs, and its packets take one number each.
    #[cold]
    fn fit_window(&mut self, config: &Config) {
        let most = config.window_max.min(self.space.packets_max(1));
        let window = self.rate.window(self.hold.get(), most);
        debug_assert_eq!(window, self.plain_window(config));
        if window == self.window {
            return;
        }
        self.window = window;
        if !self.reorder.as_ref().is_some_and(|reorder| reorder.covers(self.window)) {
            self.ease = Ease::Busy;
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
        let (Body::Numbered { session, number, span: 1, .. }, Some(reorder)) = (&arrival.body, &self.reorder)
        else {
            return Way::Long;
        };
        if *session != self.session || self.ease == Ease::Busy || self.needs_look(arrival, bytes) {
            return Way::Long;
        }
        let number = self.space.extend(reorder.next(), *number);
        match self.ease {
            Ease::Calm if number == reorder.next() => Way::Pass,
            Ease::Calm if number + 1 == reorder.next() && self.is_twice(number, arrival, now) => Way::Repeat,
            Ease::Calm if self.may_open(number, bytes, budget) => Way::Open(number),
            Ease::Gap if self.may_wait(number, bytes, now, budget) => Way::Wait(number),
            Ease::Gap if self.may_fill(number, bytes, now, budget) => Way::Fill(number),
            _ => Way::Long,
        }
    }

    /// Whether the packet is the last one once more, in a flow without anything to learn from that.
    #[inline(never)]
    fn is_twice(&self, number: u64, arrival: &Arrival, now: Instant) -> bool {
        let known = |reorder: &Reorder| reorder.known(number, 1, arrival.fingerprint(), self.window);
        self.asking.is_none()
            && self.rebuilt.is_empty()
            && self.reorder.as_ref().map(known) == Some(Known::Same)
            && self.age(number, now) <= self.repeat_age()
    }

    /// Whether the packet only has to be stored: no deadline has passed, and no bound is met.
    #[inline(always)]
    fn may_wait(&self, number: u64, bytes: &Buffer, now: Instant, budget: &Budget) -> bool {
        bytes.capacity() <= budget.room()
            && self.scheduled.is_some_and(|at| now < at)
            && self.reorder.as_ref().is_some_and(|reorder| reorder.may_append(number, self.window))
    }

    /// Whether the packet only has to be stored, as the first one behind a gap that nobody asks for.
    #[inline(never)]
    fn may_open(&self, number: u64, bytes: &Buffer, budget: &Budget) -> bool {
        bytes.capacity() <= budget.room()
            && self.asking.is_none()
            && self.strangers.is_none()
            && !self.hold.get().is_zero()
            && self.reorder.as_ref().is_some_and(|reorder| reorder.may_append(number, self.window))
    }

    /// Whether the packet only has to be put into a gap: no deadline has passed, and no bound is met.
    #[inline(never)]
    fn may_fill(&self, number: u64, bytes: &Buffer, now: Instant, budget: &Budget) -> bool {
        bytes.capacity() <= budget.room()
            && self.strangers.is_none()
            && self.scheduled.is_some_and(|at| now < at)
            && self.reorder.as_ref().is_some_and(|reorder| {
                number < reorder.end() && reorder.misses(number) && !reorder.is_beyond(number, self.window)
            })
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
        let seq = match &mut self.reorder {
            Some(reorder) => reorder.pass(arrival.fingerprint(), now),
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
        if let Some(reorder) = &mut self.reorder {
            reorder.append(number, Stored::new(packet, How::Received, 1, arrival.fingerprint()), cx.now);
        }
        cx.budget.recharge(0, capacity);
        self.charged += capacity;
        self.measure(arrival, cx.now, cx.config)
    }

    /// Puts the packet into a gap, and passes on what is in order then. `true`: rate or hold have changed, so that more
    /// may be due.
    pub(in crate::relay) fn fill(
        &mut self,
        number: u64,
        arrival: &Arrival,
        mut packet: Packet,
        cx: &mut Context<'_>,
    ) -> bool {
        let Some(reorder) = &mut self.reorder else { return true };
        let lateness = reorder.lateness(number, cx.now);
        let waited = if number == reorder.next() { reorder.waited(number, cx.now) } else { None };
        cx.tighten(&mut packet);
        let stored = Stored::new(packet, How::Received, 1, arrival.fingerprint());
        let queued = reorder.insert(number, stored, cx.now, self.window);
        if let Queued::Forward(stored) = queued {
            if let Some(waited) = waited {
                cx.outputs.push_back(Output::GapClosed { flow: self.id, waited });
            }
            let mut ready = Some((number, stored));
            while let Some((number, stored)) = ready {
                self.deliver(number, stored.span, stored.how, stored.packet, cx);
                ready = self.reorder.as_mut().and_then(Reorder::pop_ready);
            }
            if let Some(reorder) = &mut self.reorder {
                reorder.forget_passed();
            }
        }
        self.counters.reordered += 1;
        if let Some(lateness) = lateness {
            self.hold.saw_lateness(lateness, cx.now);
        }
        let changed = self.measure(arrival, cx.now, cx.config);
        self.charge(cx.budget);
        self.look(cx);
        changed
    }

    /// Notes a packet that was not known before. `true`: rate or hold have changed.
    #[inline]
    fn measure(&mut self, arrival: &Arrival, now: Instant, config: &Config) -> bool {
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
        measured | self.hold.tick(now)
    }
}
