//! Whose the flows of a channel are. So many flows each host may have in any case, its share of the
//! table. What it has beyond that, where as many places do not stay free for others, is lent: it is
//! forgotten when another host within its share needs the place. So whoever makes up flows, as many
//! as he likes, shuts no other host out, and a gateway of many sensors may have the table that
//! nobody else needs.
//!
//! Only a new flow is looked at here. Packets of known flows cost nothing.

use std::{collections::HashMap, hash::RandomState, time::Instant};

use serde::Serialize;

use super::Relay;
use crate::{
    host::Host,
    limits::{FLOW_REST, FLOWS_LOOK},
};

/// Which host each flow belongs to.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    /// Host of each flow and when it began, by index of the flow.
    of: Vec<(Host, Instant)>,
    /// Addresses come from the network, so the hash is seeded at random.
    counts: HashMap<Host, usize, RandomState>,
    /// Index at which the next search for silent flows begins.
    hand: usize,
    /// Flows that are lent, by index and serial number, from the first to the last.
    lent: Vec<(u32, u64)>,
    refused: FlowsRefused,
}

/// Counts of datagrams that were refused a new flow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
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

    /// Whether this host may begin another flow; others are forgotten for it if they may be.
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

    /// Notes whose a new flow is. It is lent if others might need its place: as many as one host's
    /// share are kept for them.
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

    /// Forgets the newest of the flows that were lent, if its host is still beyond its share.
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

    /// Forgets an old flow that never sent a second packet. For a host beyond its share: one of its
    /// own. For others: one of a host beyond its share, or else the oldest.
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

    /// Forgets a flow that has been silent for longer than it was ever heard: it is not in use.
    /// Each search goes on where the last one ended.
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
