//! A number that never changes does not order packets: they are delivered in order of arrival,
//! until another numbering is believed.

use super::{Context, Flow, Numbered, Session};
use crate::{
    limits::{STANDING_MIN, STANDING_SESSIONS_MIN},
    relay::{How, Output, probation::Candidate},
};

impl Session {
    /// Whether a packet repeats the last number, where packets take `step` numbers.
    fn is_last(&self, wire: u64, step: u64) -> bool {
        self.reorder.next().checked_sub(step).is_some_and(|last| self.on_wire(last) == wire)
    }
}

impl Flow {
    /// Whether a packet repeats the last number.
    pub(super) fn is_last(&self, wire: u64) -> bool {
        self.session.as_ref().is_some_and(|session| session.is_last(wire, self.step.get()))
    }

    /// After a packet under probation that repeats the last number: checks whether enough of them
    /// have come.
    pub(super) fn look_for_standing(&mut self, wire: u64, cx: &mut Context<'_>) {
        if let Some(packets) = self.probation.take_standing(wire, STANDING_MIN) {
            self.pass_unnumbered(wire, packets, cx);
        }
    }

    /// Whether a new numbering starts with the only number of the old one, several times in a row.
    pub(super) fn stands_still(&mut self, session: u32, first: u64) -> bool {
        let same_id = self.session.as_ref().is_some_and(|old| old.id == session);
        let again = same_id && self.is_last(first) && self.passed() > 0;
        self.stood = if again { self.stood.saturating_add(1) } else { 0 };
        self.stood >= STANDING_SESSIONS_MIN
    }

    /// From now on, delivers packets with this number as they come.
    pub(super) fn pass_unnumbered(&mut self, wire: u64, packets: Vec<Candidate>, cx: &mut Context<'_>) {
        let Some(session) = &mut self.session else { return };
        if session.standing.replace(wire).is_none() {
            self.answer(Output::Unnumbered { flow: self.id }, cx);
        }
        for packet in packets {
            if packet.number == wire {
                self.numbered(packet.into(), cx);
            } else {
                self.refuse(packet, cx);
            }
        }
    }

    /// Orders a packet of a flow whose number never changes. A packet with another number must be
    /// confirmed.
    pub(super) fn place_standing(&mut self, mut arrived: Numbered, wire: u64, cx: &mut Context<'_>) {
        if arrived.how != How::Received {
            return cx.spend(arrived.packet);
        }
        if arrived.number != wire {
            return self.on_probation(arrived, cx);
        }
        let Some(session) = &self.session else { return cx.spend(arrived.packet) };
        // The number of the next packet in order.
        arrived.number = session.on_wire(session.reorder.next());
        self.in_session(arrived, cx);
    }
}
