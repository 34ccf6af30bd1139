//! The short way of a packet in order through a flow that keeps nothing back: what nearly all packets take.
//!
//! It does what [`Flow::numbered`] would do and what is due after an input, less all that has nothing to do in such a
//! flow. [`Flow::look_calm`] says when that is so; the tests run both ways against each other.

use super::{Context, Flow};
use crate::relay::{Delivery, How, Packet, recover::Recover, reorder::Reorder};

impl Flow {
    /// After an input that did not take the short way: whether the next one may.
    pub(in crate::relay) fn look_calm(&mut self, cx: &Context<'_>) {
        self.calm = self.reorder.as_ref().is_some_and(Reorder::is_calm)
            && self.probation.is_empty()
            && self.legs.is_empty()
            && self.recover.as_deref().is_none_or(Recover::is_idle)
            && self.reorder.as_ref().is_some_and(|reorder| reorder.covers(self.window(cx.config)));
    }

    /// Whether a packet with these numbers takes the short way.
    #[inline]
    pub(in crate::relay) fn passes(&self, session: u32, number: u64, span: u64) -> bool {
        let next = |reorder: &Reorder| self.space.extend(reorder.next(), number) == reorder.next();
        self.calm && session == self.session && span == 1 && self.reorder.as_ref().is_some_and(next)
    }

    /// Takes the packet at the head, if [`Flow::passes`].
    #[inline]
    pub(in crate::relay) fn pass(
        &mut self,
        fingerprint: u32,
        clock: Option<(u64, u32)>,
        packet: Packet,
        cx: &Context<'_>,
    ) -> Delivery {
        let seq = self.reorder.as_mut().map_or(0, |reorder| reorder.pass(fingerprint, cx.now));
        self.ended = false;
        self.alive = Some(cx.now);
        if let Some(clock) = clock {
            self.clock(clock, cx.now);
        }
        if self.rate.packet(cx.now) | self.hold.tick(cx.now) {
            self.look_calm(cx);
        }
        self.counters.expected += 1;
        self.counters.delivered += 1;
        Delivery { flow: self.id, seq, how: How::Received, packet }
    }
}
