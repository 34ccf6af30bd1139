//! The FEC side of a flow: what recovery must keep, repair packets, and rebuilt packets on their way back in.

use std::time::Instant;

use super::{Context, Flow, Numbered};
use crate::{
    buffer::Buffer,
    relay::{
        How, Packet, PacketFormat,
        arrival::FlowKey,
        dedup::fingerprint,
        recover::{Findings, Rebuilt, unpadded},
    },
    wire::native::{self, Repair, SourceShard},
};

impl Flow {
    /// A copy of what recovery must keep of a packet that is about to move on.
    pub(super) fn recover_copy(&self, arrived: &Numbered, number: u64, window: u64) -> Option<Vec<u8>> {
        let (recover, reorder) = (self.recover.as_ref()?, self.reorder.as_ref()?);
        let wanted = recover.keeping() && arrived.how != How::Fec && number < reorder.next() + window;
        wanted.then(|| {
            let packet = &arrived.packet;
            let flags = packet.bytes.get(3).copied().unwrap_or(0) & !native::RETRANSMISSION;
            let timestamp = packet.timestamp.unwrap_or(0);
            unpadded(SourceShard { flags, timestamp, payload: packet.payload() })
        })
    }

    pub(super) fn keep_for_recovery(&mut self, number: u64, shard: Vec<u8>, cx: &mut Context<'_>) {
        let end = self.end();
        if let Some(recover) = &mut self.recover {
            let findings = recover.media(number, shard, &mut cx.means(self.hold.reordering(), end));
            self.apply(findings, cx);
        }
    }

    /// A repair packet; used if it is of the session in force and of packets that may have been sent by now.
    pub(in crate::relay) fn repair(
        &mut self,
        session: u32,
        first: u64,
        repair: &Repair<'_>,
        cx: &mut Context<'_>,
    ) {
        let window = self.window(cx.config);
        let (Some(reorder), Some(recover)) = (&self.reorder, &mut self.recover) else { return };
        if session == self.session && first <= reorder.end() + window {
            let means = &mut cx.means(self.hold.reordering(), reorder.end());
            let findings = recover.repair(first, repair, reorder.next(), means);
            self.apply(findings, cx);
        }
    }

    pub(super) fn apply(&mut self, findings: Findings, cx: &mut Context<'_>) {
        if findings.nonsense > 0 {
            *cx.rejects.entry("unusable_repair").or_default() += findings.nonsense;
        }
        if let Some(span) = findings.span {
            self.hold.saw_block(span, cx.now);
        }
        for rebuilt in findings.rebuilt {
            let packet = self.rebuild(&rebuilt, cx.now);
            let fingerprint = fingerprint(&rebuilt.payload, rebuilt.timestamp);
            let (session, number, how) = (self.session, rebuilt.number, How::Fec);
            let (span, leg, clock) = (1, 0, None);
            self.in_session(Numbered { session, number, span, fingerprint, how, packet, leg, clock }, cx);
        }
        if let Some(end) = findings.awaited {
            self.await_until(end, cx);
        }
        if !findings.hopeless.is_empty() {
            self.give_up(&findings.hopeless, cx);
        }
    }

    /// These numbers cannot come back.
    fn give_up(&mut self, hopeless: &[u64], cx: &mut Context<'_>) {
        let window = self.window(cx.config);
        let Some(reorder) = &mut self.reorder else { return };
        for number in hopeless {
            reorder.give_up(*number, window);
        }
        self.poll(cx);
    }

    /// Numbers below `end` have been used, a repair packet says.
    fn await_until(&mut self, end: u64, cx: &mut Context<'_>) {
        let (window, patience) = (self.window(cx.config), self.patience());
        let Some(reorder) = &mut self.reorder else { return };
        if end > reorder.end() && end - reorder.next() <= window {
            reorder.announce(end, cx.now, patience);
        }
    }

    /// The whole datagram of a rebuilt packet, as its producer had sent it.
    fn rebuild(&self, rebuilt: &Rebuilt, now: Instant) -> Packet {
        let FlowKey::Stream(stream) = self.key else { unreachable!("only native flows have recovery") };
        let repr = native::Repr {
            kind: native::Kind::Data,
            flags: rebuilt.flags,
            stream,
            session: self.session,
            sequence: rebuilt.number,
            timestamp: rebuilt.timestamp,
            payload: &rebuilt.payload,
        };
        let mut bytes = Vec::with_capacity(repr.len());
        repr.emit(&mut bytes);
        Packet {
            payload: native::HEADER as u32..(bytes.len() - native::TRAILER) as u32,
            bytes: Buffer::from(bytes),
            timestamp: (rebuilt.timestamp != 0).then_some(rebuilt.timestamp),
            arrived: now,
            format: PacketFormat::Native,
        }
    }

    /// If this number was rebuilt, that was in vain.
    pub(super) fn not_needed(&mut self, number: u64) {
        if let Some(place) = self.rebuilt.iter().position(|n| *n == number) {
            self.rebuilt.swap_remove_back(place);
            self.counters.recovered_spurious += 1;
        }
    }
}
