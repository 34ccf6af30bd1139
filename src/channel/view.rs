//! State of a channel for display, put together on request from the core, the ports and the
//! outputs.

use std::{collections::BTreeMap, time::Instant};

use super::{
    Channel,
    port::{self, LegTimes, Port},
    state::{ChannelState, CollisionState, FlowState, LegState, OutputState, PacingState},
    udp::UdpOutput,
};
use crate::limits::{JITTER_RECENT, SURVEY_FLOWS};
use tidecast_core::{
    history::Requests,
    relay::{self, Census},
};
use tidecast_net::SocketError;

impl Channel {
    /// Final state of the channel, with all flows including removed ones; `flows_max` of zero:
    /// without flows.
    pub(super) fn last_state(&mut self, now: Instant, flows_max: usize) -> ChannelState {
        let mut state = self.state(now, flows_max);
        if flows_max > 0 {
            let departed = self.relay.departed().map(|flow| flow_state(flow.clone(), now));
            let flows: Vec<FlowState> = state.flows.iter().cloned().chain(departed).collect();
            state.flows = flows.into();
        }
        state
    }

    /// State of the channel, with at most `flows_max` flows.
    fn state(&mut self, now: Instant, flows_max: usize) -> ChannelState {
        self.begin_survey(now, flows_max);
        loop {
            if let Some(state) = self.go_on_with_survey(now) {
                return state;
            }
        }
    }

    /// Starts a survey of the channel, with at most `flows_max` flows.
    pub(super) fn begin_survey(&mut self, now: Instant, flows_max: usize) {
        let recent = now.checked_sub(JITTER_RECENT).unwrap_or(self.started);
        self.surveyed = Vec::with_capacity(flows_max.min(self.relay.flow_count()));
        self.relay.begin_census(flows_max, recent);
    }

    /// Continues the survey by a few flows. Returns the channel's state when all were seen.
    pub(super) fn go_on_with_survey(&mut self, now: Instant) -> Option<ChannelState> {
        let flows = &mut self.surveyed;
        let mut each = |flow| flows.push(flow_state(flow, now));
        let census = self.relay.go_on_with_census(SURVEY_FLOWS, &mut each)?;
        Some(self.state_with(census, now))
    }

    fn state_with(&mut self, census: Census, now: Instant) -> ChannelState {
        let mut rejects = self.relay.reject_reasons().clone();
        let too_long: u64 = self.ports.iter().map(|port| port.socket.counters().truncated).sum();
        if too_long > 0 {
            rejects.insert("too_long", too_long);
        }
        ChannelState {
            name: self.name.clone(),
            format: self.format.clone(),
            on_demand: self.on_demand,
            age_seconds: now.saturating_duration_since(self.started).as_secs_f64(),
            counters: census.totals,
            held: census.held,
            held_bytes: self.relay.bytes_held(),
            hold_seconds: census.hold.as_secs_f64(),
            hold_max_seconds: self.hold.bound().map(|bound| bound.as_secs_f64()),
            release_delay_seconds: census.pacing.map(|pacing| pacing.delay.as_secs_f64()),
            clock_drift_ppm: census.pacing.map(|pacing| pacing.drift_ppm),
            jitter_seconds: census.jitter.as_secs_f64(),
            rejects,
            refused: self.relay.refused().clone(),
            carries: self.seen.carries(),
            followed: self.followed,
            legs: (0..self.legs)
                .map(|leg| {
                    let times = LegTimes { skew: census.skews[leg], round_trip: census.round_trips[leg] };
                    self.leg_state(leg, times)
                })
                .collect(),
            flow_count: self.relay.flow_count(),
            flows_refused: self.relay.flows_refused(),
            first_format: census.first_format,
            flows: std::mem::take(&mut self.surveyed).into(),
            outputs: self.outputs.iter().map(output_state).collect(),
            losses: self.losses.all(),
        }
    }

    fn leg_state(&mut self, index: usize, times: LegTimes) -> LegState {
        let of_leg = |port: &&mut Port| usize::from(port.leg) == index;
        self.ports.iter_mut().filter(of_leg).for_each(|port| port.socket.read_kernel_drops());
        let ports = self.ports.iter().filter(|port| usize::from(port.leg) == index);
        // The ports for media come first, in the order of the legs.
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
        format: flow.format,
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

fn output_state((output, fault): (&UdpOutput, Option<&SocketError>)) -> OutputState {
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
