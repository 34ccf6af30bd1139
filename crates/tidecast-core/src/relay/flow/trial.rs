//! Trial: when a flow starts to send while another one is followed, its output waits until it is
//! clear whether the other one stops. If so, this flow replaces it, and a player misses none of
//! its packets. `relay::succession` starts and decides trials.

use std::{collections::VecDeque, mem, time::Instant};

use super::{Context, Flow};
use crate::{
    limits::TRIAL_PACKETS_MAX,
    relay::{
        FlowId, How, Output, Packet,
        paced::{PacedItem, PacedPacket},
    },
};

/// Output of a flow on trial.
#[derive(Debug)]
pub(in crate::relay) struct Trial {
    /// Arrival of its first packet.
    since: Instant,
    /// Pause of the flow before that packet, in nanoseconds.
    pause: u64,
    /// In order.
    queue: VecDeque<PacedItem>,
    packets: usize,
    bytes: usize,
}

/// State of the followed flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::relay) enum TrialVerdict {
    /// Not known yet.
    Open,
    /// It continues beside this one.
    GoesOn,
    /// It has stopped.
    Stopped,
}

impl Flow {
    /// Starts a trial.
    pub(in crate::relay) fn try_out(&mut self, now: Instant) {
        let pause = mem::take(&mut self.pause);
        let queue = VecDeque::new();
        self.trial.get_or_insert_with(|| Box::new(Trial { since: now, pause, queue, packets: 0, bytes: 0 }));
    }

    pub(in crate::relay) fn on_trial(&self) -> bool {
        self.trial.is_some()
    }

    /// Packets that wait for the verdict.
    pub(super) fn detained(&self) -> usize {
        self.trial.as_ref().map_or(0, |trial| trial.packets)
    }

    pub(super) fn detained_bytes(&self) -> usize {
        self.trial.as_ref().map_or(0, |trial| trial.bytes)
    }

    /// The waiting packets, in order.
    pub(in crate::relay) fn detained_packets(&self) -> impl Iterator<Item = &Packet> {
        let queue = self.trial.as_ref().map(|trial| trial.queue.iter()).into_iter().flatten();
        queue.filter_map(|item| match item {
            PacedItem::Packet(waiting) => Some(&waiting.packet),
            PacedItem::Other(_) => None,
        })
    }

    /// Holds a packet back until the verdict.
    pub(super) fn detain(&mut self, seq: u64, span: u64, how: How, mut packet: Packet, cx: &mut Context<'_>) {
        cx.tighten(&mut packet);
        if let Some(trial) = &mut self.trial {
            trial.packets += 1;
            trial.bytes += packet.bytes.capacity();
            trial.queue.push_back(PacedItem::Packet(PacedPacket { seq, span, how, packet }));
        }
    }

    /// Holds an answer back, in its place among the packets.
    pub(super) fn detain_answer(&mut self, output: Output) -> Option<Output> {
        match &mut self.trial {
            Some(trial) => {
                trial.queue.push_back(PacedItem::Other(output));
                None
            }
            None => Some(output),
        }
    }

    /// Decides at `now` whether `old`, the followed flow, has stopped.
    pub(in crate::relay) fn judge(&self, old: &Flow, now: Instant) -> TrialVerdict {
        let Some(trial) = &self.trial else { return TrialVerdict::Open };
        let alive = old.alive().unwrap_or(trial.since);
        if alive > trial.since + old.grace(now).max(old.stragglers()) {
            return TrialVerdict::GoesOn;
        }
        let due = self.verdict_due(old).is_some_and(|due| now >= due);
        if trial.packets == 0 || !(due || trial.packets >= TRIAL_PACKETS_MAX) {
            return TrialVerdict::Open;
        }
        if due || alive <= trial.since { TrialVerdict::Stopped } else { TrialVerdict::GoesOn }
    }

    /// When the verdict is due, if `old` does not send.
    pub(in crate::relay) fn verdict_due(&self, old: &Flow) -> Option<Instant> {
        let trial = self.trial.as_ref().filter(|trial| trial.packets > 0)?;
        let due = old.next_due();
        let shared = trial.since + due.min(old.hold.get());
        Some(match old.alive() {
            // This flow is new, so the same outage cannot explain the silence of the old one.
            Some(alive) if trial.pause == 0 => trial.since.max(alive + due),
            // One outage may have silenced both; the old flow gets the time that others get at
            // most.
            Some(alive) => shared.max(alive + due),
            None => shared,
        })
    }

    /// Sends the held output, as the successor of `old` or as an independent flow.
    pub(in crate::relay) fn end_trial(&mut self, old: Option<FlowId>, cx: &mut Context<'_>) {
        let Some(mut trial) = self.trial.take() else { return };
        if old.is_none() {
            self.learn(trial.pause);
        }
        // First report to the outputs what the flow carries: that decides whether it can replace
        // the other one.
        for item in mem::take(&mut trial.queue) {
            match item {
                PacedItem::Other(carries @ Output::Carries { .. }) => self.answer(carries, cx),
                other => trial.queue.push_back(other),
            }
        }
        if let Some(old) = old {
            let starts = trial.queue.iter_mut().find_map(|item| match item {
                PacedItem::Other(Output::SessionStarted { succeeds, .. }) => Some(succeeds),
                _ => None,
            });
            match starts {
                Some(succeeds) => *succeeds = Some(old),
                None => self.answer(Output::Succeeded { flow: self.id, succeeds: old }, cx),
            }
        }
        for item in trial.queue {
            match item {
                PacedItem::Packet(PacedPacket { seq, span, how, packet }) => {
                    self.deliver(seq, span, how, packet, cx)
                }
                PacedItem::Other(output) => self.answer(output, cx),
            }
        }
    }

    /// Takes the waiting packets for another flow. If the session started during the trial, it is
    /// no longer counted.
    pub(in crate::relay) fn yield_packets(&mut self) -> Vec<Packet> {
        let Some(trial) = self.trial.take() else { return Vec::new() };
        let mut packets = Vec::with_capacity(trial.packets);
        for item in trial.queue {
            match item {
                PacedItem::Packet(waiting) => packets.push(waiting.packet),
                PacedItem::Other(Output::SessionStarted { .. }) => self.counters.sessions -= 1,
                PacedItem::Other(_) => {}
            }
        }
        self.counters.media_received -= packets.len() as u64;
        packets
    }
}
