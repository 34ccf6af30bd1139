//! A number that never changes is none: the flow's packets go out in the order in which they come, as long as no other
//! numbering is believed.

use super::{Context, Flow, Numbered};
use crate::{
    limits::{STANDING_MIN, STANDING_SESSIONS_MIN},
    relay::{How, Output, reorder::Reorder, session::Candidate},
};

impl Flow {
    /// The number as on the wire that the next packet in order has.
    fn wire_next(&self) -> u64 {
        let next = self.reorder.as_ref().map_or(0, Reorder::next);
        self.space.modulus().map_or(next, |m| next % m)
    }

    /// Whether a packet has the number of the last one again.
    pub(super) fn is_last(&self, wire: u64) -> bool {
        let last = self.reorder.as_ref().and_then(|reorder| reorder.next().checked_sub(self.step.get()));
        let Some(last) = last else { return false };
        self.space.modulus().map_or(last, |m| last % m) == wire
    }

    /// After a packet under probation that has the number of the last one: whether there are enough of them.
    pub(super) fn look_for_standing(&mut self, wire: u64, cx: &mut Context<'_>) {
        if let Some(packets) = self.probation.take_standing(wire, STANDING_MIN) {
            self.pass_unnumbered(wire, packets, cx);
        }
    }

    /// Whether a numbering that is believed is the old one's only number again, once more.
    pub(super) fn stands_still(&mut self, session: u32, first: u64) -> bool {
        let again =
            self.reorder.is_some() && session == self.session && self.is_last(first) && self.passed() > 0;
        self.stood = if again { self.stood.saturating_add(1) } else { 0 };
        self.stood >= STANDING_SESSIONS_MIN
    }

    /// From now on packets with this number go out as they come.
    pub(super) fn pass_unnumbered(&mut self, wire: u64, packets: Vec<Candidate>, cx: &mut Context<'_>) {
        if self.standing.is_none() {
            self.answer(Output::Unnumbered { flow: self.id }, cx);
        }
        self.standing = Some(wire);
        for packet in packets {
            if packet.number == wire {
                self.numbered(packet.into(), cx);
            } else {
                self.refuse(packet, cx);
            }
        }
    }

    /// Gives a packet of a flow whose number stands still its place. A packet with another number has to be confirmed.
    pub(super) fn place_standing(&mut self, mut arrived: Numbered, wire: u64, cx: &mut Context<'_>) {
        if arrived.how != How::Received {
            return cx.spend(arrived.packet);
        }
        if arrived.number != wire {
            return self.on_probation(arrived, cx);
        }
        arrived.number = self.wire_next();
        self.in_session(arrived, cx);
    }
}
