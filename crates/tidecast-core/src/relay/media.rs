//! Finds format, flow and way of a datagram, and passes it to its flow.

use std::{net::SocketAddr, time::Instant};

use super::{
    Flow, How, Numbered, Output, Packet, PacketFormat, Relay, Stranger, Way,
    arrival::{self, Arrival, Body},
};
use crate::buffer::Buffer;
use tidecast_wire::{Reason, Reject};

impl Relay {
    pub(super) fn packet(&mut self, now: Instant, leg: u8, source: SocketAddr, mut bytes: Buffer) {
        let leg = self.leg(leg);
        self.legs[usize::from(leg)].bytes += bytes.len() as u64;
        self.others.bytes_received += bytes.len() as u64;
        if self.sealed.is_some() {
            return self.sealed_packet(now, leg, source, bytes);
        }
        let mut arrival = match &mut self.sources {
            None => arrival::arrival(&self.config.format, source, &bytes),
            Some(sources) => match sources.known(now, leg, source, &bytes) {
                Some(kind) => arrival::identified(kind, source, &bytes),
                None => return self.identify(now, leg, source, bytes),
            },
        };
        if arrival.is_err() && self.sources.is_some() {
            return self.identify_misfit(now, leg, source, bytes);
        }
        if let (Some(_), Ok(arrival)) = (&self.rist, &mut arrival) {
            self.restore(leg, arrival, &mut bytes);
        }
        self.arrived(now, None, leg, source, &arrival, bytes);
    }

    /// Takes a datagram whose format is known. `waited`: since when it waited for its format, if
    /// it did.
    #[inline(always)]
    pub(super) fn arrived(
        &mut self,
        now: Instant,
        waited: Option<Instant>,
        leg: u8,
        source: SocketAddr,
        arrival: &Result<Arrival, Reject>,
        bytes: Buffer,
    ) {
        let leg_counters = &mut self.legs[usize::from(leg)];
        match arrival {
            Err(reject) => {
                if *reject == Reject::Foreign(Reason::Rtcp)
                    && self.muxed_report(now, leg, source, &bytes).is_ok()
                {
                    return self.spend(bytes);
                }
                let leg_counters = &mut self.legs[usize::from(leg)];
                leg_counters.media += 1;
                self.others.media_received += 1;
                self.reject(*reject);
                self.look_at(reject.reason().as_str(), now, source, &bytes);
                self.spend(bytes);
            }
            Ok(arrival) => match arrival.body {
                Body::Numbered { retransmission: false, .. } | Body::Unnumbered => {
                    leg_counters.media += 1;
                    self.media(now, waited, leg, source, arrival, bytes);
                }
                Body::Numbered { .. } | Body::Repair { .. } => {
                    leg_counters.repair += 1;
                    self.others.repair_received += 1;
                    self.repair(now, leg, source, arrival, bytes);
                }
                Body::Heartbeat { .. } | Body::End { .. } if arrival.format == PacketFormat::Custom => {
                    leg_counters.control += 1;
                    self.others.control_received += 1;
                    self.pass_control(now, leg, source, arrival, bytes);
                }
                Body::Passes => {
                    leg_counters.control += 1;
                    self.others.control_received += 1;
                    self.pass_in_place(now, leg, source, arrival, bytes);
                }
                Body::Mixed | Body::Scaled => self.relative(now, waited, leg, source, arrival, bytes),
                _ => {
                    leg_counters.control += 1;
                    self.others.control_received += 1;
                    self.control(now, leg, source, arrival);
                    self.spend(bytes);
                }
            },
        }
    }

    #[cold]
    pub(super) fn reject(&mut self, reject: Reject) {
        match reject {
            Reject::Corrupt(_) => self.others.corrupt += 1,
            Reject::Foreign(_) => self.others.foreign += 1,
        }
        *self.rejects.entry(reject.reason().as_str()).or_default() += 1;
    }

    #[inline(always)]
    fn media(
        &mut self,
        now: Instant,
        waited: Option<Instant>,
        leg: u8,
        source: SocketAddr,
        arrival: &Arrival,
        bytes: Buffer,
    ) {
        let known = if arrival.beyond_limits() { None } else { self.known(&arrival.key) };
        let index = match known {
            None if waited.is_none() && self.is_strange(arrival) => {
                self.legs[usize::from(leg)].media -= 1;
                return self.identify_misfit(now, leg, source, bytes);
            }
            None => self.flow_for(now, leg, source, arrival),
            known => known,
        };
        let Some(index) = index else {
            self.others.media_received += 1;
            self.others.rejected += 1;
            return self.spend(bytes);
        };
        if !self.trials.is_empty() || arrival.format == PacketFormat::Ts {
            self.before_stream(index, arrival, &bytes, now);
        }
        let flow = self.flow_mut(index);
        if !flow.is_from(leg, source) {
            let stranger = flow.whose(leg, source, arrival, now);
            if stranger != Stranger::Ours {
                return self.other_address(index, now, leg, source, arrival, bytes, stranger);
            }
        }
        flow.heard(source, leg, arrival.format, now);
        if flow.resumes() {
            self.begins(index, now);
        }
        // Only what a packet in order needs is borrowed here: the whole context costs as much as
        // the rest.
        let Some(Some(flow)) = self.flows.get_mut(index as usize) else { return };
        let long = !self.trials.is_empty();
        #[cfg(test)]
        let long = long || self.long_only;
        let way = if long { Way::Long } else { flow.way(arrival, &bytes, now, &self.budget) };
        let Arrival { timestamp, format, clock, .. } = *arrival;
        let arrived = waited.unwrap_or(now);
        let packet = Packet { bytes, payload: arrival.payload.clone(), timestamp, arrived, format };
        if let Way::Pass = way {
            let delivery = flow.pass(arrival, packet, now, &self.config);
            return self.outputs.push_back(Output::Deliver(delivery));
        }
        let (flow, mut cx) = self.split(index, now);
        match (way, &arrival.body) {
            (Way::Repeat, _) => {
                flow.counters.duplicate += 1;
                return cx.spend(packet);
            }
            (Way::Wait(number), _) => {
                if !flow.wait(number, arrival, packet, &mut cx) {
                    return;
                }
            }
            (Way::Open(number), _) => {
                if !flow.wait(number, arrival, packet, &mut cx) {
                    flow.look(&cx);
                    return self.schedule(index, now);
                }
            }
            (Way::Fill(number), _) => {
                if !flow.fill(number, arrival, packet, &mut cx) {
                    return;
                }
            }
            (Way::Long, &Body::Numbered { session, number, span, fingerprint, .. }) => {
                let how = How::Received;
                let packet = Numbered { session, number, span, fingerprint, how, packet, leg, clock };
                flow.numbered(packet, &mut cx);
            }
            _ => flow.unnumbered(packet, &mut cx),
        }
        self.follow_up(index, now);
    }

    /// Handles a packet with a flow's id from another source address; it waits or is rejected.
    #[cold]
    #[expect(clippy::too_many_arguments, reason = "what belongs to one datagram")]
    fn other_address(
        &mut self,
        index: u32,
        now: Instant,
        leg: u8,
        source: SocketAddr,
        arrival: &Arrival,
        bytes: Buffer,
        stranger: Stranger,
    ) {
        let (flow, mut cx) = self.split(index, now);
        let &Body::Numbered { session, number, span, fingerprint, .. } = &arrival.body else { return };
        if stranger == Stranger::Collides {
            flow.collides(leg, source, now);
            *cx.rejects.entry(Flow::COLLISION).or_default() += 1;
            let first = flow.source_on(leg);
            self.look_at(Flow::COLLISION, now, source, &bytes);
            self.look_also_at(Flow::COLLISION, first);
            return self.spend(bytes);
        }
        let Arrival { timestamp, format, clock, .. } = *arrival;
        let packet = Packet { bytes, payload: arrival.payload.clone(), timestamp, arrived: now, format };
        let how = How::Received;
        let packet = Numbered { session, number, span, fingerprint, how, packet, leg, clock };
        flow.wait_for_source(source, packet, &mut cx);
        self.follow_up(index, now);
    }

    /// Runs before a packet of a stream is accepted, if several streams may be one, or one may
    /// replace another.
    #[inline]
    fn before_stream(&mut self, index: u32, arrival: &Arrival, bytes: &Buffer, now: Instant) {
        if arrival.format == PacketFormat::Ts
            && self.lead.is_some_and(|lead| lead != index || !self.trials.is_empty())
        {
            self.weigh_ports(index, bytes, now);
        }
    }
}
