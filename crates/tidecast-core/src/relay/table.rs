//! The flow table of a channel: finds the flow of a datagram, the predecessor of a new flow, and
//! the flows to remove.

use std::{mem, net::SocketAddr, time::Instant};

use super::{
    FlowId, Output, PacketFormat, Relay,
    arrival::{Arrival, FlowKey},
    flow::{Context, Flow, Predecessor},
};
use crate::{
    host::Host,
    limits::{DEPARTED_MAX, SWEEP_INTERVAL},
};

impl Relay {
    /// Borrows the flow, and separately everything else that it may use.
    #[inline]
    pub(super) fn split(&mut self, index: u32, now: Instant) -> (&mut Flow, Context<'_>) {
        let flow = self.flows[index as usize].as_mut().expect("indices come from the tables of live flows");
        let cx = Context {
            config: &self.config,
            outputs: &mut self.outputs,
            budget: &mut self.budget,
            codes: &mut self.codes,
            spent: &mut self.spent,
            rejects: &mut self.rejects,
            legs: &mut self.legs,
            heard: &mut self.heard,
            wanted: &mut self.wanted,
            pace: &mut self.pace,
            drops: &self.drops,
            sealed: self.sealed.as_deref(),
            now,
        };
        (flow, cx)
    }

    /// The flow at an index from the tables.
    #[inline]
    pub(super) fn flow_mut(&mut self, index: u32) -> &mut Flow {
        self.flows[index as usize].as_mut().expect("indices come from the tables of live flows")
    }

    pub(super) fn live(&self, index: u32) -> Option<&Flow> {
        self.flows.get(index as usize)?.as_ref()
    }

    /// The predecessor of this flow, as long as it exists.
    pub(super) fn predecessor_of(&self, index: u32) -> Option<Predecessor> {
        let predecessor = self.live(index)?.predecessor?;
        self.live(predecessor.id.0).filter(|old| old.key == predecessor.key)?;
        Some(predecessor)
    }

    /// When the numbering that this flow's probation contradicts was last seen.
    pub(super) fn alive(&self, index: u32) -> Option<Instant> {
        let contradicted = self.predecessor_of(index).map_or(index, |predecessor| predecessor.id.0);
        self.live(contradicted)?.alive()
    }

    /// Removes flows that are idle or have ended.
    pub(super) fn sweep(&mut self, now: Instant) {
        for index in 0..self.flows.len() as u32 {
            if self.idle_at[index as usize] > now {
                continue;
            }
            let Some(flow) = self.live(index) else { continue };
            let idle = now.saturating_duration_since(flow.last_arrival);
            if idle >= self.config.flow_idle || (flow.ended() && idle >= SWEEP_INTERVAL) {
                self.remove(index);
            } else if !flow.said_end() {
                self.idle_at[index as usize] =
                    flow.last_arrival.checked_add(self.config.flow_idle).unwrap_or(now);
            }
        }
    }

    pub(super) fn remove(&mut self, index: u32) {
        let Some(now) = self.now else { return };
        if self.live(index).is_none() {
            return;
        }
        let (flow, mut cx) = self.split(index, now);
        flow.flush(&mut cx);
        flow.discharge(cx.budget);
        let flow = self.flows[index as usize].take().expect("checked above");
        if flow.confirmed {
            if self.departed.len() >= DEPARTED_MAX {
                self.departed.pop_front();
            }
            self.departed.push_back(flow.state());
        }
        self.outputs.push_back(Output::FlowEnded { flow: flow.id });
        self.others.add(&flow.counters);
        if let Some(census) = &mut self.census {
            census.ends(index, &flow.counters);
        }
        self.by_key.remove(&flow.key);
        self.hosts.remove(index);
        let ports = flow.ports.iter();
        self.ports -= ports.filter(|key| self.by_key.remove(key).is_some()).count();
        self.leave(index);
        self.protected.retain(|protected| *protected != index);
        self.latest = None;
        if self.by_source.get(&flow.source) == Some(&index) {
            self.by_source.remove(&flow.source);
        }
        self.free.push(index);
    }

    /// Creates a flow for a datagram that has none, if the bound allows.
    #[cold]
    pub(super) fn flow_for(
        &mut self,
        now: Instant,
        leg: u8,
        source: SocketAddr,
        arrival: &Arrival,
    ) -> Option<u32> {
        if arrival.beyond_limits() {
            return None;
        }
        let index = self.new_flow(now, source, arrival)?;
        if let FlowKey::Stream(stream) = arrival.key {
            self.began_native(now, leg, source, stream);
        }
        Some(index)
    }

    /// The flow with this key.
    #[inline(always)]
    pub(super) fn known(&mut self, key: &FlowKey) -> Option<u32> {
        if let Some((latest, index)) = &self.latest
            && latest.is(key)
        {
            return Some(*index);
        }
        self.look_up(key)
    }

    /// The flow of a datagram; creates one if it has none and the bound allows.
    pub(super) fn known_or_new(
        &mut self,
        now: Instant,
        leg: u8,
        source: SocketAddr,
        arrival: &Arrival,
    ) -> Option<u32> {
        self.known(&arrival.key).or_else(|| self.flow_for(now, leg, source, arrival))
    }

    #[inline(never)]
    fn look_up(&mut self, key: &FlowKey) -> Option<u32> {
        let index = *self.by_key.get(key)?;
        self.latest = Some((*key, index));
        Some(index)
    }

    fn new_flow(&mut self, now: Instant, source: SocketAddr, arrival: &Arrival) -> Option<u32> {
        let host = Host::of(source.ip());
        if !self.may_begin(host, now) {
            return None;
        }
        let index = self.free.pop().unwrap_or(self.flows.len() as u32);
        let id = FlowId(index);
        let mut flow = Flow::new(id, arrival.key, source, arrival.format, arrival.space, &self.config, now);
        flow.predecessor = self.predecessor(source, arrival);
        let serial = self.created;
        flow.serial = serial;
        self.created += 1;
        self.remember_newcomer(index, serial);
        if index as usize == self.flows.len() {
            self.flows.push(Some(flow));
            self.idle_at.push(now);
        } else {
            self.idle_at[index as usize] = now;
            self.flows[index as usize] = Some(flow);
        }
        if let Some(census) = &mut self.census {
            census.begins(index);
        }
        self.belongs_to(host, (index, serial), now);
        self.by_key.insert(arrival.key, index);
        self.begins(index, now);
        Some(index)
    }

    /// The RTP flow of the same source, if there is one: a new SSRC may be its next session.
    pub(super) fn predecessor(&self, source: SocketAddr, arrival: &Arrival) -> Option<Predecessor> {
        if arrival.format != PacketFormat::Rtp {
            return None;
        }
        let index = *self.by_source.get(&source)?;
        self.live(index).filter(|old| old.established() && old.source == source).map(Flow::as_predecessor)
    }

    pub(super) fn remember_newcomer(&mut self, index: u32, serial: u64) {
        if self.newcomers.len() >= 2 * self.config.flows_max {
            let mut newcomers = mem::take(&mut self.newcomers);
            newcomers.retain(|entry| self.is_newcomer(entry));
            self.newcomers = newcomers;
        }
        self.newcomers.push_back((index, serial));
    }

    pub(super) fn is_newcomer(&self, (index, serial): &(u32, u64)) -> bool {
        self.live(*index).is_some_and(|flow| flow.serial == *serial && !flow.confirmed)
    }
}
