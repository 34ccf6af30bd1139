//! A channel as people see it: its state, put together from the core, the ports and the outputs when it is asked for.

use std::{collections::BTreeMap, time::Instant};

use super::Channel;
use crate::{
    egress::udp::UdpOutput,
    history::Requests,
    limits::JITTER_RECENT,
    net::{
        Error,
        port::{self, LegTimes, Port},
        state::{ChannelState, CollisionState, FlowState, LegState, OutputState, PacingState},
    },
    relay,
};

impl Channel {
    /// The channel at its end, flows that had ended before included.
    pub(in crate::net) fn last_state(&mut self, now: Instant) -> ChannelState {
        let mut state = self.state(now, usize::MAX);
        state.flows.extend(self.relay.departed().map(|flow| flow_state(flow.clone(), now)));
        state
    }

    /// The channel as it stands, with at most `flows_max` flows.
    pub(in crate::net) fn state(&mut self, now: Instant, flows_max: usize) -> ChannelState {
        let recent = now.checked_sub(JITTER_RECENT).unwrap_or(self.started);
        let ((hold, jitter), pacing) = (self.relay.timing(recent), self.relay.pacing(recent));
        let mut rejects = self.relay.reject_reasons().clone();
        let too_long: u64 = self.ports.iter().map(|port| port.socket.counters().truncated).sum();
        if too_long > 0 {
            rejects.insert("too_long", too_long);
        }
        let flows = self.relay.flows().take(flows_max).map(|flow| flow_state(flow, now)).collect();
        ChannelState {
            name: self.name.clone(),
            format: self.format.clone(),
            on_demand: self.on_demand,
            age_seconds: now.saturating_duration_since(self.started).as_secs_f64(),
            counters: self.relay.totals(),
            held: self.relay.held(),
            held_bytes: self.relay.bytes_held(),
            hold_seconds: hold.as_secs_f64(),
            hold_max_seconds: self.hold.bound().map(|bound| bound.as_secs_f64()),
            release_delay_seconds: pacing.map(|pacing| pacing.delay.as_secs_f64()),
            clock_drift_ppm: pacing.map(|pacing| pacing.drift_ppm),
            jitter_seconds: jitter.as_secs_f64(),
            rejects,
            refused: self.relay.refused().clone(),
            carries: self.seen.carries(),
            followed: self.followed,
            legs: (0..self.legs).map(|leg| self.leg_state(leg, now)).collect(),
            flow_count: self.relay.flow_count(),
            flows,
            outputs: self.outputs.iter().map(output_state).collect(),
            losses: self.losses.all(),
        }
    }

    fn leg_state(&mut self, index: usize, now: Instant) -> LegState {
        let of_leg = |port: &&mut Port| usize::from(port.leg) == index;
        self.ports.iter_mut().filter(of_leg).for_each(|port| port.socket.read_kernel_drops());
        let ports = self.ports.iter().filter(|port| usize::from(port.leg) == index);
        // The media's ports stand first, in the order of the legs.
        let skew = now.checked_sub(JITTER_RECENT).and_then(|since| self.relay.skew(index, since));
        let round_trip = self.relay.round_trip(index as u8); // there are at most LEGS_MAX
        let times = LegTimes { skew, round_trip };
        port::leg_state(&self.ports[index].socket, ports, self.relay.legs()[index].clone(), times)
    }
}

fn flow_state(flow: relay::FlowState, now: Instant) -> FlowState {
    let idle = now.saturating_duration_since(flow.last_arrival).as_secs_f64();
    // The rate is measured when packets come; a flow that has missed ten of them has stopped.
    let stopped = |rate: f64| idle * rate > 10.0 && idle > 1.0;
    FlowState {
        flow: flow.key,
        source: flow.source.to_string(),
        format: flow.format.as_str(),
        session: flow.session,
        counters: flow.counters,
        held: flow.held,
        hold_seconds: flow.hold.as_secs_f64(),
        pacing: flow.pacing.map(pacing_state),
        jitter_seconds: flow.jitter.as_secs_f64(),
        round_trip_seconds: flow.round_trip.map(|trip| trip.as_secs_f64()),
        packets_per_second: flow.packets_per_second.map(|rate| if stopped(rate) { 0.0 } else { rate }),
        idle_seconds: idle,
        ended: flow.ended,
        collision: flow.collision.map(|collision| collision_state(collision, now)),
        unnumbered: flow.unnumbered,
        fec_matrix: flow.fec_matrix.map(|(columns, rows)| [columns, rows]),
    }
}

fn collision_state(collision: relay::Collision, now: Instant) -> CollisionState {
    let relay::Collision { first, other, packets, last } = collision;
    let idle_seconds = now.saturating_duration_since(last).as_secs_f64();
    CollisionState { first: first.to_string(), other: other.to_string(), packets, idle_seconds }
}

fn pacing_state(pacing: relay::Pacing) -> PacingState {
    let relay::Pacing { clock, delay, drift_ppm } = pacing;
    PacingState { clock, delay_seconds: delay.as_secs_f64(), drift_ppm }
}

fn output_state((output, fault): (&UdpOutput, Option<&Error>)) -> OutputState {
    let counters = output.counters();
    let dropped = [
        ("unreachable", counters.unreachable),
        ("full", counters.full),
        ("too_big", counters.too_big),
        ("not_rtp", counters.not_rtp),
    ];
    OutputState {
        address: output.output().to_string(),
        packets: counters.packets,
        bytes: counters.bytes,
        reports: counters.reports,
        dropped: BTreeMap::from(dropped),
        requests: output.requests().map(request_state).unwrap_or_default(),
        invalid: output.requests().map(invalid_state).unwrap_or_default(),
        fault: fault.map(ToString::to_string),
    }
}

fn request_state(requests: &Requests) -> BTreeMap<&'static str, u64> {
    let numbers = &requests.numbers;
    BTreeMap::from([
        ("resent", numbers.resent),
        ("gone", numbers.gone),
        ("recent", numbers.recent),
        ("refused", numbers.refused),
    ])
}

fn invalid_state(requests: &Requests) -> BTreeMap<&'static str, u64> {
    BTreeMap::from([("malformed", requests.malformed), ("foreign", requests.foreign)])
}
