//! Limits the flows of a channel per host. Each host has a guaranteed share of the flow table.
//! Flows beyond that are lent once few free places remain: a lent flow is removed when another
//! host within its share needs the place. So an attacker who forges flows cannot shut out other
//! hosts, and a gateway with many sensors may use the places that no other host needs.
//!
//! Only a new flow is checked. Packets of known flows cost nothing.

use std::{collections::HashMap, hash::RandomState, time::Instant};

use serde::Serialize;

use super::Relay;
use crate::{
    host::Host,
    limits::{FLOW_REST, FLOWS_LOOK},
};

/// The host of each flow.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    /// Host and start of each flow, by index of the flow.
    of: Vec<(Host, Instant)>,
    /// Addresses come from the network, so the hash is seeded at random.
    counts: HashMap<Host, usize, RandomState>,
    /// Index at which the next search for silent flows starts.
    hand: usize,
    /// Flows that are lent, by index and serial number, oldest first.
    lent: Vec<(u32, u64)>,
    refused: FlowsRefused,
}

/// Counts of datagrams that were refused a new flow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FlowsRefused {
    /// Refused because the table was full of flows in use.
    pub full: u64,
    /// Refused because the table was full and the host had its share or more.
    pub share: u64,
}

impl Hosts {
    fn count(&self, host: Host) -> usize {
        self.counts.get(&host).copied().unwrap_or_default()
    }

    fn add(&mut self, index: u32, host: Host, now: Instant) {
        match self.of.get_mut(index as usize) {
            Some(of) => *of = (host, now),
            None => self.of.push((host, now)), // indices are used one after the other
        }
        *self.counts.entry(host).or_default() += 1;
    }

    pub(super) fn remove(&mut self, index: u32) {
        let Some((host, _)) = self.of.get(index as usize) else { return };
        if let Some(count) = self.counts.get_mut(host) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(host);
            }
        }
    }
}

impl Relay {
    /// Counts of datagrams that were refused a new flow so far.
    pub fn flows_refused(&self) -> FlowsRefused {
        self.hosts.refused
    }

    /// Number of flows that is guaranteed to one host.
    fn flows_share(&self) -> usize {
        (self.config.flows_max * self.config.flows_share).div_ceil(100).max(1)
    }

    /// Whether this host may start another flow; removes a flow for it if that is allowed.
    pub(super) fn may_begin(&mut self, host: Host, now: Instant) -> bool {
        let is_full = self.flow_count() >= self.config.flows_max;
        let within = self.is_within(host);
        if !is_full || self.forget_newcomer(host, within) {
            return true;
        }
        if within && (self.forget_lent() || self.forget_silent(now)) {
            return true;
        }
        let refused = &mut self.hosts.refused;
        *(if within { &mut refused.full } else { &mut refused.share }) += 1;
        false
    }

    /// Whether a host has less than its share.
    fn is_within(&self, host: Host) -> bool {
        self.hosts.count(host) < self.flows_share()
    }

    /// Notes the host of a new flow. The flow is lent if the host is beyond its share and no more
    /// places are free than one share.
    pub(super) fn belongs_to(&mut self, host: Host, (index, serial): (u32, u64), now: Instant) {
        let free = self.config.flows_max.saturating_sub(self.flow_count());
        if !self.is_within(host) && free <= self.flows_share() {
            if self.hosts.lent.len() >= 2 * self.config.flows_max {
                let mut lent = std::mem::take(&mut self.hosts.lent);
                lent.retain(|(index, serial)| self.live(*index).is_some_and(|flow| flow.serial == *serial));
                self.hosts.lent = lent;
            }
            self.hosts.lent.push((index, serial));
        }
        self.hosts.add(index, host, now);
    }

    /// Removes the newest lent flow whose host is still beyond its share.
    fn forget_lent(&mut self) -> bool {
        while let Some((index, serial)) = self.hosts.lent.pop() {
            let lives = self.live(index).is_some_and(|flow| flow.serial == serial);
            if lives && self.hosts.count(self.hosts.of[index as usize].0) > self.flows_share() {
                self.remove(index);
                return true;
            }
        }
        false
    }

    /// Removes an old flow that never sent a second packet. For a host beyond its share, one of
    /// its own; for others, one of a host beyond its share, or else the oldest.
    fn forget_newcomer(&mut self, host: Host, within: bool) -> bool {
        while self.newcomers.front().is_some_and(|entry| !self.is_newcomer(entry)) {
            self.newcomers.pop_front();
        }
        let share = self.flows_share();
        let gives_way = |entry: &&(u32, u64)| {
            let (of, _) = self.hosts.of[entry.0 as usize];
            self.is_newcomer(entry) && if within { self.hosts.count(of) > share } else { of == host }
        };
        let chosen = self.newcomers.iter().take(FLOWS_LOOK).find(gives_way).copied();
        let Some((index, _)) = chosen.or(self.newcomers.front().copied().filter(|_| within)) else {
            return false;
        };
        self.remove(index);
        true
    }

    /// Removes a flow that has been silent for longer than it was active, so it is no longer in
    /// use. Each search continues where the last one ended.
    fn forget_silent(&mut self, now: Instant) -> bool {
        for _ in 0..FLOWS_LOOK.min(self.flows.len()) {
            self.hosts.hand = (self.hosts.hand + 1) % self.flows.len();
            let index = self.hosts.hand;
            let Some(flow) = &self.flows[index] else { continue };
            let silent = now.saturating_duration_since(flow.last_arrival);
            let heard = flow.last_arrival.saturating_duration_since(self.hosts.of[index].1);
            if silent >= FLOW_REST && silent > heard {
                self.remove(index as u32);
                return true;
            }
        }
        false
    }
}
