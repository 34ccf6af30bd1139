//! Output of a flow: packets that are due, gaps that are overdue, and packets released early to
//! stay within a memory bound.

use std::time::{Duration, Instant};

use super::{Budget, Context, Flow, Session};
use crate::relay::{Delivery, How, Output, Packet, recovery::Means, reorder::Poll};

impl Flow {
    /// Takes the next number to be used, from a heartbeat or an end of session.
    pub(in crate::relay) fn announced(&mut self, id: u32, next: u64, end: bool, cx: &mut Context<'_>) {
        let (window, patience) = (self.window(cx.config), self.patience());
        let Some(Session { reorder, .. }) = self.session.as_mut().filter(|session| session.id == id) else {
            return;
        };
        if next < reorder.end() {
            return;
        }
        self.ended = end;
        // A number beyond the window is forged, or the loss is so large that the next packet
        // starts a new numbering.
        if next - reorder.next() <= window {
            let known = reorder.end();
            reorder.announce(next, cx.now, patience);
            self.note_tail(known..next, patience, cx.now);
        }
    }

    /// Delivers what is due and gives up what is overdue.
    pub(in crate::relay) fn poll(&mut self, cx: &mut Context<'_>) {
        let mut looked_at = None;
        if self.session.as_ref().is_some_and(|session| !session.hopeless.is_empty()) {
            self.poll_hopeless(cx);
        }
        while let Some(session) = &mut self.session {
            if let Some((number, stored)) = session.reorder.pop_ready() {
                self.counters.duplicate += session.reorder.take_covered();
                self.deliver(number, stored.span, stored.how, stored.packet, cx);
                continue;
            }
            // Every gap that reaches the head may be overdue; recovery is tried before it is given
            // up.
            let head = session.reorder.next();
            if looked_at != Some(head) && session.awaits_repair() {
                looked_at = Some(head);
                self.poll_recovery(cx);
                continue;
            }
            let patience = self.gap_patience();
            let Some(session) = &mut self.session else { break };
            let polled = session.reorder.poll(cx.now, patience);
            if !self.apply_poll(polled, cx) {
                break;
            }
        }
        self.poll_controls(cx);
    }

    fn poll_recovery(&mut self, cx: &mut Context<'_>) {
        let (grace, patience) = (self.grace(cx.now), self.gap_patience());
        let Some(Session { recovery: Some(recovery), reorder, .. }) = &mut self.session else { return };
        let Some(due) = recovery.deadline(grace) else { return };
        // Recovery is tried before a gap is given up; an expired deadline makes recovery due.
        let expired = reorder.deadline(patience).is_some_and(|at| at <= cx.now);
        if expired || due <= cx.now {
            let overdue = if expired { reorder.first_stored().unwrap_or(u64::MAX) } else { 0 };
            let findings = recovery.poll(&mut Means { overdue, ..cx.means(grace, reorder.witnessed()) });
            self.apply(findings, cx);
        }
    }

    /// Delivers a packet that takes `span` numbers, now or when it is due.
    #[inline(always)]
    pub(super) fn deliver(&mut self, seq: u64, span: u64, how: How, packet: Packet, cx: &mut Context<'_>) {
        let waits = self.trial.is_some() || self.controls.is_some() || self.pacer.is_some();
        if waits || !self.is_surely_media(&packet) {
            return self.deliver_with_care(seq, span, how, packet, cx);
        }
        self.hand_out(seq, span, how, packet, cx);
    }

    /// Delivers a packet that may have to wait, or that may not be for the outputs.
    #[inline(never)]
    fn deliver_with_care(&mut self, seq: u64, span: u64, how: How, packet: Packet, cx: &mut Context<'_>) {
        if self.trial.is_some() {
            return self.detain(seq, span, how, packet, cx);
        }
        if self.keeps_out(&packet, cx) {
            // A number without a packet has no memory to return.
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
        self.hand_out(seq, span, how, packet, cx);
    }

    #[inline(always)]
    fn hand_out(&mut self, seq: u64, span: u64, how: How, packet: Packet, cx: &mut Context<'_>) {
        self.counters.expected += span;
        self.counters.delivered += 1;
        cx.outputs.push_back(Output::Deliver(Delivery::new(self.id, seq, span, how, packet)));
    }

    /// Executes an action of the reorder buffer. `false`: there was none.
    #[inline]
    fn apply_poll(&mut self, polled: Poll, cx: &mut Context<'_>) -> bool {
        match polled {
            Poll::Forward(number, stored) => {
                if let Some(session) = &mut self.session {
                    self.counters.duplicate += session.reorder.take_covered();
                }
                self.deliver(number, stored.span, stored.how, stored.packet, cx);
                true
            }
            Poll::Lost(range, waited) => {
                if !waited.is_zero() {
                    self.answer(Output::GapClosed { flow: self.id, waited }, cx);
                }
                self.count_lost(range, cx);
                true
            }
            Poll::Wait => false,
        }
    }

    pub(super) fn count_lost(&mut self, range: std::ops::Range<u64>, cx: &mut Context<'_>) {
        let count = range.end - range.start;
        if count > 0 {
            self.counters.lost += count;
            self.counters.expected += count;
            self.answer(Output::Lost { flow: self.id, from: range.start, count }, cx);
        }
    }

    pub(super) fn skip_oldest(&mut self, cx: &mut Context<'_>) {
        if let Some(session) = &mut self.session
            && let Some(polled) = session.reorder.skip_oldest(cx.now)
        {
            self.apply_poll(polled, cx);
            self.poll(cx);
        }
    }

    /// Delivers all packets held back of the current numbering, in order, and gives up its gaps.
    pub(in crate::relay) fn flush_numbering(&mut self, cx: &mut Context<'_>) {
        if let Some(Session { recovery: Some(recovery), reorder, .. }) = &mut self.session {
            let findings = recovery.poll(&mut cx.means(Duration::ZERO, reorder.end()));
            self.apply(findings, cx);
        }
        while let Some(session) = &mut self.session {
            let polled = session.reorder.flush(cx.now);
            if !self.apply_poll(polled, cx) {
                break;
            }
        }
        if self.controls.is_some() {
            self.pass_controls(u64::MAX, cx);
        }
    }

    /// Ends the flow: everything is delivered or counted.
    pub(in crate::relay) fn flush(&mut self, cx: &mut Context<'_>) {
        self.reject_pending(cx);
        self.reject_probation(cx);
        self.flush_numbering(cx);
        self.end_trial(None, cx);
        self.release_all(cx);
    }

    /// Charges the channel for the memory of this flow. Over the bound, first packets that wait
    /// for their time leave early, then the oldest gaps are given up, then packets under
    /// probation, then packets kept for recovery, until the flow keeps nothing.
    pub(in crate::relay) fn settle_budget(&mut self, cx: &mut Context<'_>) {
        self.charge(cx.budget);
        while cx.budget.exceeded() && self.charged > 0 {
            if self.on_trial() && self.detained() > 0 {
                self.end_trial(None, cx);
            } else if self.paced() > 0 {
                self.release_early(cx);
                cx.budget.early += 1;
            } else if self.held_back() > 0 {
                self.skip_oldest(cx);
            } else if !self.probation.is_empty() || self.pending() > 0 {
                self.reject_probation(cx);
                self.reject_pending(cx);
            } else {
                if let Some(session) = &mut self.session {
                    session.shrink();
                }
                if let Some(legs) = &mut self.legs {
                    legs.shrink(cx.legs);
                }
            }
            self.charge(cx.budget);
        }
    }

    pub(super) fn charge(&mut self, budget: &mut Budget) {
        let used = self.session.as_ref().map_or(0, Session::bytes)
            + self.probation.bytes()
            + self.pending_bytes()
            + self.detained_bytes()
            + self.legs.as_ref().map_or(0, |legs| legs.bytes())
            + self.paced_bytes();
        budget.recharge(self.charged, used);
        self.charged = used;
    }

    /// Returns what was charged; the flow is about to be removed.
    pub(in crate::relay) fn discharge(&mut self, budget: &mut Budget) {
        budget.recharge(self.charged, 0);
        self.charged = 0;
    }

    /// When this flow has something to do. `alive`: when its numbering (or its predecessor's) was
    /// last seen.
    pub(in crate::relay) fn deadline(&self, alive: Option<Instant>, now: Instant) -> Option<Instant> {
        let probation =
            if self.probation.is_empty() { None } else { self.probation.deadline(self.silence_since(alive)) };
        let session = self.session.as_ref().and_then(|session| self.session_deadline(session, now));
        let legs = self.legs.as_ref().and_then(|legs| legs.deadline());
        let (paced, pending) = (self.paced_deadline(now), self.pending_deadline());
        [probation, session, legs, paced, pending].into_iter().flatten().min()
    }

    fn session_deadline(&self, session: &Session, now: Instant) -> Option<Instant> {
        let reorder = session.reorder.deadline(self.gap_patience());
        let recovery = session.recovery.as_ref().filter(|recovery| recovery.misses());
        let recovery = recovery.and_then(|recovery| recovery.deadline(self.grace(now)));
        let asking = session.asking.as_ref().filter(|asking| !asking.schedule.is_idle());
        let asking = asking.and_then(|asking| asking.schedule.due());
        [reorder, recovery, self.hopeless_deadline(), asking].into_iter().flatten().min()
    }
}
