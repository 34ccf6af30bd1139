//! State of a channel's core for display: counters, flows, memory.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{Counters, Flow, FlowState, LegCounters, Refused, Relay};

impl Relay {
    /// Counters of all flows together, forgotten ones included.
    pub fn totals(&self) -> Counters {
        let mut totals = self.others.clone();
        for flow in self.flows.iter().flatten() {
            totals.add(&flow.counters);
        }
        totals.media_received += self.undecided() as u64;
        totals
    }

    /// Counters of each leg.
    pub fn legs(&self) -> &[LegCounters] {
        &self.legs
    }

    /// Round-trip time to the producers on a leg, once echoes or answered requests have measured
    /// it.
    pub fn round_trip(&self, leg: u8) -> Option<Duration> {
        let echo = self.rist.as_ref().and_then(|rist| rist.round_trip(leg));
        let flows = || self.flows.iter().flatten().filter_map(|flow| flow.round_trip_on(leg)).max();
        echo.or_else(flows)
    }

    /// Counts of corrupt and foreign datagrams and of useless repair packets, by reason.
    pub fn reject_reasons(&self) -> &BTreeMap<&'static str, u64> {
        &self.rejects
    }

    /// One example of a refused datagram for each reason.
    pub fn refused(&self) -> &BTreeMap<&'static str, Refused> {
        &self.refused
    }

    /// States of the flows, in the order of their ids.
    pub fn flows(&self) -> impl Iterator<Item = FlowState> + '_ {
        self.flows.iter().flatten().map(Flow::state)
    }

    /// Final states of the flows that were removed most recently, oldest first.
    pub fn departed(&self) -> impl Iterator<Item = &FlowState> {
        self.departed.iter()
    }

    /// The longest current hold of all flows, and the largest interarrival jitter of those heard
    /// since `since`.
    pub fn timing(&self, since: Instant) -> (Duration, Duration) {
        let flows = self.flows.iter().flatten();
        flows.fold((Duration::ZERO, Duration::ZERO), |(longest, largest), flow| {
            let (hold, jitter) = flow.timing();
            let jitter = if flow.last_arrival >= since { jitter } else { Duration::ZERO };
            (longest.max(hold), largest.max(jitter))
        })
    }

    /// Count of packets of paced release that left early because memory had reached its bound.
    pub fn released_early(&self) -> u64 {
        self.budget.early
    }

    /// Number of flows.
    pub fn flow_count(&self) -> usize {
        self.by_key.len() - self.ports
    }

    /// Count of packets that are held back in all flows.
    pub fn held(&self) -> usize {
        self.undecided() + self.flows.iter().flatten().map(Flow::held).sum::<usize>()
    }

    /// Memory of packets that are held back or kept for recovery, in bytes.
    pub fn bytes_held(&self) -> usize {
        self.budget.used
    }
}
