//! Paced release within a flow: packets that are in order wait for their time, and are counted
//! accordingly.

use std::time::Instant;

use super::{Context, Flow};
use crate::{
    limits::PACED_SLACK,
    relay::{
        Config, Delivery, How, Output, Packet,
        paced::{PacedItem, PacedPacket, Pacer, Pacing, Punctual, Release},
    },
};

impl Flow {
    pub(super) fn new_pacer(config: &Config, now: Instant) -> Option<Box<Pacer>> {
        match config.release {
            Release::Asap => None,
            Release::Paced(delay) => {
                let types = config.payload_types.clone();
                Some(Box::new(Pacer::new(delay, config.hold.start(), types, now)))
            }
        }
    }

    /// Packets that wait for their time.
    pub(super) fn paced(&self) -> usize {
        self.pacer.as_ref().map_or(0, |pacer| pacer.packets())
    }

    pub(super) fn paced_bytes(&self) -> usize {
        self.pacer.as_ref().map_or(0, |pacer| pacer.bytes())
    }

    /// State of the release.
    pub(in crate::relay) fn pacing(&self) -> Option<Pacing> {
        self.pacer.as_ref().map(|pacer| pacer.state())
    }

    /// Packets that are in order: delivered, or waiting for their time.
    pub(super) fn passed(&self) -> u64 {
        self.counters.delivered + self.paced() as u64 + self.detained() as u64
    }

    /// When the next packet is due, as known at `now`.
    pub(super) fn paced_deadline(&self, now: Instant) -> Option<Instant> {
        self.pacer.as_ref()?.deadline(now)
    }

    /// When the last waiting packet is due, as known at `now`.
    pub(in crate::relay) fn paced_until(&self, now: Instant) -> Option<Instant> {
        self.pacer.as_ref()?.end(now)
    }

    /// Sends nothing before `floor`: another flow has packets to send first.
    pub(in crate::relay) fn release_after(&mut self, floor: Option<Instant>) {
        if let (Some(pacer), Some(floor)) = (self.pacer.as_mut().filter(|pacer| pacer.is_empty()), floor) {
            // Each flow has its own timer; the slack makes sure that this flow's fires second.
            pacer.not_before(floor + 2 * PACED_SLACK);
        }
    }

    /// Holds a packet back until it is due.
    pub(super) fn pace(&mut self, seq: u64, span: u64, how: How, mut packet: Packet, cx: &mut Context<'_>) {
        cx.tighten(&mut packet);
        let hold = self.hold.measured();
        if let Some(pacer) = &mut self.pacer {
            pacer.push(PacedPacket { seq, span, how, packet }, hold, cx.now);
        }
    }

    /// Sends an answer that is no packet, in its place among the packets.
    pub(super) fn answer(&mut self, output: Output, cx: &mut Context<'_>) {
        let Some(output) = self.detain_answer(output) else { return };
        let output = match &mut self.pacer {
            Some(pacer) => pacer.follow(output, cx.now),
            None => Some(output),
        };
        cx.outputs.extend(output);
    }

    /// Sends the packets that are due.
    pub(in crate::relay) fn release(&mut self, cx: &mut Context<'_>) {
        while let Some((item, punctual)) = self.pacer.as_mut().and_then(|pacer| pacer.pop(cx.now)) {
            let late = punctual == Punctual::Late && matches!(item, PacedItem::Packet(_));
            self.counters.released_late += u64::from(late);
            self.pass_on(item, cx);
        }
    }

    /// Sends the first waiting packet early, to make room.
    pub(super) fn release_early(&mut self, cx: &mut Context<'_>) {
        if let Some(item) = self.pacer.as_mut().and_then(|pacer| pacer.take()) {
            self.counters.released_early += u64::from(matches!(item, PacedItem::Packet(_)));
            self.pass_on(item, cx);
        }
    }

    /// The flow ends: sends everything that waits.
    pub(super) fn release_all(&mut self, cx: &mut Context<'_>) {
        self.release(cx);
        while self.pacer.as_ref().is_some_and(|pacer| !pacer.is_empty()) {
            self.release_early(cx);
        }
    }

    fn pass_on(&mut self, item: PacedItem, cx: &mut Context<'_>) {
        match item {
            PacedItem::Packet(PacedPacket { seq, span, how, packet }) => {
                self.counters.expected += span;
                self.counters.delivered += 1;
                cx.outputs.push_back(Output::Deliver(Delivery::new(self.id, seq, span, how, packet)));
            }
            PacedItem::Other(output) => cx.outputs.push_back(output),
        }
    }
}
