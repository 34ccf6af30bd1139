//! Packets without numbers: they are delivered in order of arrival. Gaps in a transport stream
//! show in its continuity counters.

use super::{Context, Flow};
use crate::relay::{How, Output, Packet, PacketFormat};
use tidecast_wire::ts::{Continuity, packets::Packets};

impl Flow {
    /// A copy of the continuity state of a transport stream without RTP, to try out following
    /// packets.
    pub(in crate::relay) fn ts_counters(&self) -> Option<(Packets, Continuity)> {
        self.continuity.as_deref().cloned()
    }

    /// Delivers a packet without a number.
    pub(in crate::relay) fn unnumbered(&mut self, packet: Packet, cx: &mut Context<'_>) {
        if self.passed() == 0 {
            self.counters.sessions += 1;
            let key = self.key.to_string();
            let (flow, source) = (self.id, self.source);
            if packet.format == PacketFormat::Ts {
                self.answer(Output::Carries { flow, stream: true }, cx);
            }
            self.answer(Output::SessionStarted { flow, key, source, succeeds: None }, cx);
        }
        if packet.format == PacketFormat::Ts {
            let (packets, continuity) = &mut **self.continuity.get_or_insert_default();
            let found = &mut self.counters.ts_discontinuities;
            packets.push(packet.payload(), |placed| *found += continuity.check(placed.packet));
        }
        self.alive = self.alive.max(Some(packet.arrived));
        self.learn_pause();
        if self.rate.packet(cx.now) {
            self.measured(cx.now);
        }
        self.deliver(self.passed(), 1, How::Received, packet, cx);
    }
}
