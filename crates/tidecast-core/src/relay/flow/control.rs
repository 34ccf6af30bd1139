//! Control datagrams of custom formats: they announce the next number, which shows losses at the
//! end of what came before, and are sent on in their place among the packets.

use std::{collections::VecDeque, net::SocketAddr, time::Instant};

use super::{Context, Flow};
use crate::{
    limits::CONTROLS_HELD_MAX,
    relay::{Delivery, How, Output, Packet, dedup::fingerprint},
};

/// Control datagrams of one flow.
#[derive(Debug, Default)]
pub(super) struct Controls {
    /// Those that wait for the numbers before them, in order of arrival.
    waiting: VecDeque<(u64, Packet)>,
    /// Content fingerprint, leg and arrival of the last one.
    last: Option<(u32, u8, Instant)>,
    /// Whether one without a number has come.
    passed: bool,
}

impl Flow {
    /// Takes a heartbeat or an end of session. `next`: the next number to be used, on the wire.
    pub(in crate::relay) fn control(
        &mut self,
        (next, end): (u64, bool),
        leg: u8,
        packet: Packet,
        cx: &mut Context<'_>,
    ) {
        self.shows(cx.now);
        if self.is_copy(leg, &packet, cx) {
            return cx.spend(packet);
        }
        let Some(session) = &self.session else {
            self.ended = end;
            return self.pass_control(next, packet, cx);
        };
        let (id, head, number) = (session.id, session.reorder.next(), session.extend(next));
        let is_due = number <= head || number - head > self.window(cx.config);
        self.announced(id, number, end, cx);
        if is_due {
            return self.pass_control(number, packet, cx);
        }
        self.wait_in_place(number, packet, cx);
    }

    /// Takes a datagram without a number; it keeps its place behind the packets that came before
    /// it.
    pub(in crate::relay) fn pass_in_place(
        &mut self,
        source: SocketAddr,
        packet: Packet,
        cx: &mut Context<'_>,
    ) {
        self.shows(cx.now);
        let first = !std::mem::replace(&mut self.controls.get_or_insert_default().passed, true);
        if first && !self.established() {
            let (flow, key) = (self.id, self.key.to_string());
            self.answer(Output::SessionStarted { flow, key, source, succeeds: None }, cx);
        }
        let behind = self.session.as_ref().map(|session| (session.reorder.next(), session.reorder.end()));
        match behind {
            Some((next, end)) if self.held_back() > 0 && end > next => self.wait_in_place(end, packet, cx),
            _ => self.pass_control(behind.map_or(0, |(next, _)| next), packet, cx),
        }
    }

    fn wait_in_place(&mut self, number: u64, packet: Packet, cx: &mut Context<'_>) {
        let controls = self.controls.get_or_insert_default();
        controls.waiting.push_back((number, packet));
        if controls.waiting.len() > CONTROLS_HELD_MAX
            && let Some((number, packet)) = controls.waiting.pop_front()
        {
            self.pass_control(number, packet, cx);
        }
    }

    /// Whether another leg has already carried this datagram.
    fn is_copy(&mut self, leg: u8, packet: &Packet, cx: &Context<'_>) -> bool {
        if self.legs.is_none() {
            return false;
        }
        let content = fingerprint(packet.payload(), 0);
        let until = |at| at + self.hold.max();
        let controls = self.controls.get_or_insert_default();
        let copy = controls
            .last
            .is_some_and(|(other, from, at)| other == content && from != leg && cx.now < until(at));
        if !copy {
            controls.last = Some((content, leg, cx.now));
        }
        copy
    }

    /// Sends those whose place is before this number.
    pub(super) fn pass_controls(&mut self, number: u64, cx: &mut Context<'_>) {
        while let Some(controls) = &mut self.controls
            && let Some((_, packet)) = controls.waiting.pop_front_if(|(next, _)| *next <= number)
        {
            self.pass_control(number, packet, cx);
        }
    }

    /// Sends those for which all lower numbers have passed. The others continue to wait.
    pub(in crate::relay) fn poll_controls(&mut self, cx: &mut Context<'_>) {
        if self.controls.is_some() {
            let next = self.session.as_ref().map_or(u64::MAX, |session| session.reorder.next());
            self.pass_controls(next, cx);
        }
    }

    /// Whether any wait.
    pub(super) fn has_controls(&self) -> bool {
        self.controls.as_ref().is_some_and(|controls| !controls.waiting.is_empty())
    }

    fn pass_control(&mut self, seq: u64, packet: Packet, cx: &mut Context<'_>) {
        let delivery = Delivery::new(self.id, seq, 0, How::Received, packet);
        self.answer(Output::Control(delivery), cx);
    }
}
