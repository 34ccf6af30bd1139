//! How a channel's core stands, for those who ask.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{Counters, Flow, FlowState, LegCounters, Refused, Relay};

impl Relay {
    /// What was counted, of all flows together.
    pub fn totals(&self) -> Counters {
        let mut totals = self.others.clone();
        for flow in self.flows.iter().flatten() {
            totals.add(&flow.counters);
        }
        totals.media_received += self.undecided() as u64;
        totals
    }

    /// What each leg brought in.
    pub fn legs(&self) -> &[LegCounters] {
        &self.legs
    }

    /// The round trip to the producers on a leg, as echoes or answered requests have measured it.
    pub fn round_trip(&self, leg: u8) -> Option<Duration> {
        let echo = self.rist.as_ref().and_then(|rist| rist.round_trip(leg));
        let flows = || self.flows.iter().flatten().filter_map(|flow| flow.round_trip_on(leg)).max();
        echo.or_else(flows)
    }

    /// Corrupt and foreign datagrams, and repair packets of no use, by what was wrong with them.
    pub fn reject_reasons(&self) -> &BTreeMap<&'static str, u64> {
        &self.rejects
    }

    /// What the datagrams of those reasons look like, one of each.
    pub fn refused(&self) -> &BTreeMap<&'static str, Refused> {
        &self.refused
    }

    /// The flows, in the order of their ids.
    pub fn flows(&self) -> impl Iterator<Item = FlowState> + '_ {
        self.flows.iter().flatten().map(Flow::state)
    }

    /// The last states of the latest flows that ended or were forgotten, oldest first.
    pub fn departed(&self) -> impl Iterator<Item = &FlowState> {
        self.departed.iter()
    }

    /// The longest hold in force, and the largest interarrival jitter of the flows heard since `since`.
    pub fn timing(&self, since: Instant) -> (Duration, Duration) {
        let flows = self.flows.iter().flatten();
        flows.fold((Duration::ZERO, Duration::ZERO), |(longest, largest), flow| {
            let (hold, jitter) = flow.timing();
            let jitter = if flow.last_arrival >= since { jitter } else { Duration::ZERO };
            (longest.max(hold), largest.max(jitter))
        })
    }

    /// Packets that left before their time because memory had reached its bound.
    pub fn released_early(&self) -> u64 {
        self.budget.early
    }

    /// How many flows there are.
    pub fn flow_count(&self) -> usize {
        self.by_key.len() - self.ports
    }

    /// Packets held back in all flows.
    pub fn held(&self) -> usize {
        self.undecided() + self.flows.iter().flatten().map(Flow::held).sum::<usize>()
    }

    /// Memory of what is held back or kept for recovery, in bytes.
    pub fn bytes_held(&self) -> usize {
        self.budget.used
    }
}
