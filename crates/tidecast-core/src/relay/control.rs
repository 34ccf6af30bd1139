//! Handles control datagrams before they enter their flow; those of custom formats are sent on.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::{
    Packet, Relay,
    arrival::{Arrival, Body},
    dedup::fingerprint,
};
use crate::{
    buffer::Buffer,
    limits::{CONTROLS_COMPARED_MAX, NUMBER_MAX},
};

/// Recent datagrams without a number, to recognize copies from other legs.
#[derive(Debug, Default)]
pub(super) struct Copies {
    /// Content fingerprint, bit set of the legs that carried it, and the first arrival; in order
    /// of arrival.
    lately: VecDeque<(u32, u32, Instant)>,
}

impl Copies {
    /// Whether another leg carried this datagram within `age`, and this leg did not.
    fn is_copy(&mut self, content: u32, leg: u8, now: Instant, age: Duration) -> bool {
        while self.lately.len() >= CONTROLS_COMPARED_MAX
            || self.lately.front().is_some_and(|(.., at)| now >= *at + age)
        {
            self.lately.pop_front();
        }
        let leg = 1_u32 << (leg % 32);
        let same = |(known, legs, _): &&mut (u32, u32, Instant)| *known == content && *legs & leg == 0;
        match self.lately.iter_mut().find(same) {
            Some((_, legs, _)) => *legs |= leg,
            None => {
                self.lately.push_back((content, leg, now));
                return false;
            }
        }
        true
    }
}

impl Relay {
    /// Takes a native heartbeat or end of session.
    #[inline(never)]
    pub(super) fn control(&mut self, now: Instant, leg: u8, source: SocketAddr, arrival: &Arrival) {
        let Some(index) = self.known(&arrival.key) else { return };
        let ours = self.live(index).is_some_and(|flow| flow.is_ours(leg, source));
        let (session, next, end) = match arrival.body {
            Body::Heartbeat { session, next } => (session, next, false),
            Body::End { session, next } => (session, next, true),
            _ => return,
        };
        if self.is_elsewhere(ours) {
            return;
        }
        let (flow, mut cx) = self.split(index, now);
        flow.shows(now);
        flow.announced(session, next, end, &mut cx);
        self.idle_at[index as usize] = now;
        self.follow_up(index, now);
    }

    /// Takes a datagram of a kind without numbers. It belongs to a flow, so that readers can
    /// select it by that flow.
    pub(super) fn pass_in_place(
        &mut self,
        now: Instant,
        leg: u8,
        source: SocketAddr,
        arrival: &Arrival,
        bytes: Buffer,
    ) {
        let age = self.config.hold.max();
        if self.legs.len() > 1 && self.copies.is_copy(fingerprint(&bytes, 0), leg, now, age) {
            return self.spend(bytes);
        }
        let index = self.known_or_new(now, leg, source, arrival);
        let Some(index) = index else { return self.spend(bytes) };
        let Arrival { timestamp, format, .. } = *arrival;
        let packet = Packet { bytes, payload: arrival.payload.clone(), timestamp, arrived: now, format };
        let (flow, mut cx) = self.split(index, now);
        flow.pass_in_place(source, packet, &mut cx);
        self.idle_at[index as usize] = now;
        self.follow_up(index, now);
    }

    /// Takes a heartbeat or an end of session that is sent on. It creates a flow even before the
    /// first packet, so that receivers see that the producer is alive.
    pub(super) fn pass_control(
        &mut self,
        now: Instant,
        leg: u8,
        source: SocketAddr,
        arrival: &Arrival,
        bytes: Buffer,
    ) {
        let (next, end) = match arrival.body {
            Body::Heartbeat { next, .. } => (next, false),
            Body::End { next, .. } => (next, true),
            _ => return self.spend(bytes),
        };
        let index = self.known_or_new(now, leg, source, arrival);
        let Some(index) = index.filter(|_| next < NUMBER_MAX) else { return self.spend(bytes) };
        let elsewhere = |flow: &super::Flow| flow.established() && flow.source_on(leg) != source;
        let ours = !self.live(index).is_some_and(elsewhere);
        if self.is_elsewhere(ours) {
            return self.spend(bytes);
        }
        let Arrival { timestamp, format, .. } = *arrival;
        let packet = Packet { bytes, payload: arrival.payload.clone(), timestamp, arrived: now, format };
        let (flow, mut cx) = self.split(index, now);
        flow.control((next, end), leg, packet, &mut cx);
        self.idle_at[index as usize] = now;
        self.follow_up(index, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn a_copy_comes_on_another_leg_within_the_time() {
        let (now, age) = (clock::now(), Duration::from_secs(1));
        let mut copies = Copies::default();
        let mut copy = |content, leg, after| copies.is_copy(content, leg, now + after, age);
        assert!(!copy(7, 1, Duration::ZERO));
        assert!(!copy(7, 1, Duration::ZERO), "the same leg: it was sent twice");
        assert!(copy(7, 2, Duration::ZERO) && copy(7, 2, Duration::ZERO), "one copy for each");
        assert!(!copy(7, 2, Duration::ZERO), "and no third one");
        assert!(!copy(8, 2, Duration::ZERO), "another content");
        assert!(!copy(8, 1, age), "too late");
    }
}
