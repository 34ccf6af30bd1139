//! Trial: what a flow gives out that begins to send, while another one is followed, waits a moment
//! until it is clear whether that one stops. If so, this one takes its place, and a player misses
//! nothing of it. `relay::succession` begins and judges trials.

use std::{collections::VecDeque, mem, time::Instant};

use super::{Context, Flow};
use crate::{
    limits::TRIAL_PACKETS_MAX,
    relay::{
        FlowId, How, Output, Packet,
        paced::{PacedItem, PacedPacket},
    },
};

/// What a flow on trial has given out so far.
#[derive(Debug)]
pub(in crate::relay) struct Trial {
    /// When its first packet came.
    since: Instant,
    /// The pause before, in nanoseconds.
    pause: u64,
    /// In order.
    queue: VecDeque<PacedItem>,
    packets: usize,
    bytes: usize,
}

/// What became of the flow that is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::relay) enum TrialVerdict {
    /// Not known yet.
    Open,
    /// It goes on beside this one.
    GoesOn,
    /// It has stopped.
    Stopped,
}

impl Flow {
    /// Begins a trial.
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

    /// The packets that wait, in order.
    pub(in crate::relay) fn detained_packets(&self) -> impl Iterator<Item = &Packet> {
        let queue = self.trial.as_ref().map(|trial| trial.queue.iter()).into_iter().flatten();
        queue.filter_map(|item| match item {
            PacedItem::Packet(waiting) => Some(&waiting.packet),
            PacedItem::Other(_) => None,
        })
    }

    /// Keeps a packet until the verdict.
    pub(super) fn detain(&mut self, seq: u64, span: u64, how: How, mut packet: Packet, cx: &mut Context<'_>) {
        cx.tighten(&mut packet);
        if let Some(trial) = &mut self.trial {
            trial.packets += 1;
            trial.bytes += packet.bytes.capacity();
            trial.queue.push_back(PacedItem::Packet(PacedPacket { seq, span, how, packet }));
        }
    }

    /// Keeps an answer at its place among the packets.
    pub(super) fn detain_answer(&mut self, output: Output) -> Option<Output> {
        match &mut self.trial {
            Some(trial) => {
                trial.queue.push_back(PacedItem::Other(output));
                None
            }
            None => Some(output),
        }
    }

    /// What is known of `old`, the flow that is followed, at `now`.
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

    /// When the verdict is due, if `old` does not go on.
    pub(in crate::relay) fn verdict_due(&self, old: &Flow) -> Option<Instant> {
        let trial = self.trial.as_ref().filter(|trial| trial.packets > 0)?;
        let due = old.next_due();
        let shared = trial.since + due.min(old.hold.get());
        Some(match old.alive() {
            // What has never sent before has not been silent for the same reason.
            Some(alive) if trial.pause == 0 => trial.since.max(alive + due),
            // Both may have been; then the old one has as long as others have at most.
            Some(alive) => shared.max(alive + due),
            None => shared,
        })
    }

    /// Passes on what has waited: in the place of another flow, or beside it.
    pub(in crate::relay) fn end_trial(&mut self, old: Option<FlowId>, cx: &mut Context<'_>) {
        let Some(mut trial) = self.trial.take() else { return };
        if old.is_none() {
            self.learn(trial.pause);
        }
        // Whether it is a transport stream decides whether it takes the other one's place.
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

    /// Takes out the packets that have waited: they are another flow's, and so is the session if it
    /// has only begun here.
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
