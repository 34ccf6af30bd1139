//! Control datagrams of custom formats on their way into their flow.

use std::{net::SocketAddr, time::Instant};

use super::{
    Packet, Relay,
    arrival::{Arrival, Body},
};
use crate::{buffer::Buffer, limits::NUMBER_MAX};

/// Why a control datagram is of no use that does not come from where the media comes from.
const OTHER_SOURCE: &str = "other_source";

impl Relay {
    /// A heartbeat or an end of session, to be passed on. What comes before all packets makes a flow, too: those behind
    /// the relay see that the producer lives.
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
        let known = self.known(&arrival.key);
        let index = known.or_else(|| self.flow_for(now, leg, source, arrival));
        let Some(index) = index.filter(|_| next < NUMBER_MAX) else { return self.spend(bytes) };
        let elsewhere = |flow: &super::Flow| flow.established() && flow.source_on(leg) != source;
        if self.live(index).is_some_and(elsewhere) {
            *self.rejects.entry(OTHER_SOURCE).or_default() += 1;
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
