//! Decides which flow replaces another that stops. A player follows one flow of a channel, the
//! *lead*. When another flow starts to send, new or after a pause and from any port or host, its
//! packets are held back on trial (`flow/trial`). If the lead continues, both are independent
//! flows. If the lead's next packet is overdue, the other flow replaces it, and none of its
//! packets is lost.
//!
//! Ports of one host whose transport streams interleave in their continuity counters are one flow.

use std::time::Instant;

use super::{
    FlowId, Packet, PacketFormat, Relay,
    arrival::FlowKey,
    flow::{Context, Flow, TrialVerdict},
};
use crate::limits::{FLOW_PORTS_MAX, TRIALS_MAX};
use tidecast_wire::ts::Fit;

impl Relay {
    /// Sets the flow that a player receives now; succession compares others with it. Without this
    /// call it is the first stream of the channel, and then each flow that replaces it.
    pub fn follow(&mut self, flow: FlowId) {
        if self.live(flow.0).is_some() {
            self.lead = Some(flow.0);
        }
    }

    /// A flow starts to send. If it is a stream and there is a lead, its trial begins.
    pub(super) fn begins(&mut self, index: u32, now: Instant) {
        let Some(flow) = self.live(index).filter(|flow| flow.format.is_stream()) else { return };
        let (on_trial, lead) = (flow.on_trial(), self.lead.filter(|lead| self.live(*lead).is_some()));
        match lead {
            None => self.lead = Some(index),
            Some(lead) if lead == index || on_trial || self.trials.len() >= TRIALS_MAX => {}
            Some(_) => {
                self.trials.push(index);
                let (flow, _) = self.split(index, now);
                flow.try_out(now);
            }
        }
    }

    /// Drops the state about a flow that is about to be removed.
    pub(super) fn leave(&mut self, index: u32) {
        self.trials.retain(|trial| *trial != index);
        self.lead.take_if(|lead| *lead == index);
    }

    /// Decides the trials of flows that start to send, by the behaviour of the lead.
    pub(super) fn judge_trials(&mut self, now: Instant) {
        let mut place = 0;
        while let Some(index) = self.trials.get(place).copied() {
            let lead = self.lead.filter(|lead| *lead != index).and_then(|lead| self.live(lead));
            let verdict = match (lead, self.live(index).filter(|flow| flow.on_trial())) {
                (Some(lead), Some(flow)) => flow.judge(lead, now),
                _ => TrialVerdict::GoesOn,
            };
            if verdict == TrialVerdict::Open {
                place += 1;
                continue;
            }
            self.trials.swap_remove(place);
            match (verdict, self.lead) {
                (TrialVerdict::Stopped, Some(lead)) if self.is_same_stream(index, lead) => {
                    self.join(&[index], lead, now)
                }
                (TrialVerdict::Stopped, Some(lead)) => self.succeed(index, lead, now),
                _ => self.acquit(index, None, now),
            }
            // The verdict may change the trials before this one.
            place = 0;
        }
    }

    /// A flow replaces the lead. The packets that the old lead still holds go out first.
    fn succeed(&mut self, index: u32, lead: u32, now: Instant) {
        let (old, mut cx) = self.split(lead, now);
        let (old_id, ()) = (old.id, old.flush_numbering(&mut cx));
        let floor = old.paced_until(now);
        self.schedule(lead, now);
        let (flow, _) = self.split(index, now);
        flow.release_after(floor);
        self.lead = Some(index);
        self.acquit(index, Some(old_id), now);
    }

    fn acquit(&mut self, index: u32, succeeds: Option<FlowId>, now: Instant) {
        if self.live(index).is_none() {
            return;
        }
        let (flow, mut cx) = self.split(index, now);
        flow.end_trial(succeeds, &mut cx);
        flow.release(&mut cx);
        flow.settle_budget(&mut cx);
        self.schedule(index, now);
    }

    /// When the trial of this flow is to be decided.
    pub(super) fn verdict_due(&self, index: u32) -> Option<Instant> {
        let lead = self.lead.and_then(|lead| self.live(lead))?;
        self.live(index)?.verdict_due(lead)
    }

    /// Whether both are transport streams of one host, and so may be one stream.
    fn may_be_one(flow: &Flow, lead: &Flow) -> bool {
        let ts = |flow: &Flow| flow.format == PacketFormat::Ts && matches!(flow.key, FlowKey::Source(_));
        ts(flow) && ts(lead) && flow.source.ip() == lead.source.ip()
    }

    /// Whether the packets of a flow on trial continue the transport stream of the lead.
    fn is_same_stream(&self, index: u32, lead: u32) -> bool {
        let (Some(flow), Some(lead)) = (self.live(index), self.live(lead)) else { return false };
        Self::may_be_one(flow, lead) && lead.ts_fit(flow.detained_packets().map(Packet::payload)).goes_on()
    }

    /// Checks, before a TS packet without RTP is accepted, whether it shows that two ports are one
    /// stream.
    pub(super) fn weigh_ports(&mut self, index: u32, payload: &[u8], now: Instant) {
        match self.lead {
            Some(lead) if lead == index => self.join_ports(lead, payload, now),
            Some(lead) => {
                let (Some(flow), Some(old)) = (self.live(index), self.live(lead)) else { return };
                let rest = !flow.on_trial() && Self::may_be_one(flow, old);
                if rest && flow.ts_fit([payload]).broken > 0 && old.ts_fit([payload]).goes_on() {
                    self.begins(index, now);
                }
            }
            None => {}
        }
    }

    /// The lead sends a packet. Flows on trial whose packets fill the gap before it are other
    /// ports of the same stream.
    fn join_ports(&mut self, lead: u32, payload: &[u8], now: Instant) {
        let Some(old) = self.live(lead) else { return };
        let may_be = |index: &u32| self.live(*index).is_some_and(|flow| Self::may_be_one(flow, old));
        let ports: Vec<u32> = self.trials.iter().copied().filter(may_be).collect();
        let fills = |ports: &[u32]| {
            let between = self.detained_by_arrival(ports);
            old.ts_fit(between.iter().copied()).goes_on()
                && old.ts_fit(between.into_iter().chain([payload])).goes_on()
        };
        let one = || ports.iter().find(|port| fills(&[**port])).map(|port| vec![*port]);
        let joined = if fills(&ports) { Some(ports.clone()) } else { one() };
        if let Some(joined) = joined {
            self.join(&joined, lead, now);
        }
    }

    /// Payloads of several flows on trial, in order of arrival.
    fn detained_by_arrival(&self, ports: &[u32]) -> Vec<&[u8]> {
        let flows = ports.iter().filter_map(|index| self.live(*index));
        let mut all: Vec<_> = flows.flat_map(Flow::detained_packets).collect();
        all.sort_by_key(|packet| packet.arrived);
        all.into_iter().map(Packet::payload).collect()
    }

    /// Merges several ports into one flow: the lead takes over their packets since the trial
    /// began.
    fn join(&mut self, ports: &[u32], lead: u32, now: Instant) {
        let (mut packets, mut keys) = (Vec::new(), Vec::new());
        for index in ports {
            let (flow, _) = self.split(*index, now);
            packets.extend(flow.yield_packets());
            keys.push((flow.key, flow.source));
            self.remove(*index);
        }
        packets.sort_by_key(|packet| packet.arrived);
        let (old, mut cx) = self.split(lead, now);
        old.joined(packets, &mut cx);
        old.settle_budget(&mut cx);
        for (key, source) in keys {
            self.flow_mut(lead).source = source;
            self.add_port(lead, key);
        }
        self.schedule(lead, now);
    }

    fn add_port(&mut self, index: u32, key: FlowKey) {
        let Some(flow) = self.flows[index as usize].as_mut() else { return };
        let ports = &mut flow.ports;
        ports.push_back(key);
        let oldest = if ports.len() > FLOW_PORTS_MAX { ports.pop_front() } else { None };
        self.by_key.insert(key, index);
        self.ports += 1;
        if let Some(oldest) = oldest {
            self.ports -= usize::from(self.by_key.remove(&oldest).is_some());
        }
        self.latest = None;
    }
}

impl Flow {
    /// How well payloads continue this flow's transport stream.
    fn ts_fit<'a>(&self, payloads: impl IntoIterator<Item = &'a [u8]>) -> Fit {
        let (Some((mut packets, mut counters)), mut fit) = (self.ts_counters(), Fit::default()) else {
            return Fit::default();
        };
        for payload in payloads {
            packets.push(payload, |placed| counters.fit(placed.packet, &mut fit));
        }
        fit
    }

    /// Accepts packets that came from another port.
    fn joined(&mut self, packets: Vec<Packet>, cx: &mut Context<'_>) {
        self.counters.media_received += packets.len() as u64;
        for packet in packets {
            self.shows(self.last_arrival.max(packet.arrived));
            self.unnumbered(packet, cx);
        }
    }
}
