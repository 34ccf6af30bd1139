//! The FEC side of a flow: what recovery must keep, repair packets, and rebuilt packets on their way back in.

use std::time::{Duration, Instant};

use super::{Context, Flow, Numbered};
use crate::{
    buffer::Buffer,
    relay::{
        How, Packet, PacketFormat,
        arrival::{self, FlowKey},
        dedup::fingerprint,
        recover::{self, Findings, st2022},
        recovery::{Kept, Rebuilt, Recovery},
        reorder::Reorder,
    },
};
use tidecast_wire::{
    Format,
    native::{self, Repair},
    st2022 as wire_st2022,
};

impl Flow {
    /// A copy of what recovery must keep of a packet that is about to move on.
    pub(super) fn recover_copy(&self, arrived: &Numbered, number: u64, window: u64) -> Option<Kept> {
        let (recover, reorder) = (self.recover.as_ref()?, self.reorder.as_ref()?);
        let void = arrived.packet.bytes.is_empty();
        let wanted = arrived.how != How::Fec && !void && number < reorder.next() + window;
        wanted.then(|| recover.kept(&arrived.packet)).flatten()
    }

    pub(super) fn keep_for_recovery(&mut self, number: u64, kept: Kept, cx: &mut Context<'_>) {
        let (end, grace) = (self.witnessed(), self.grace(cx.now));
        let head = self.reorder.as_ref().map_or(0, Reorder::next);
        if let Some(recover) = &mut self.recover {
            recover.waits_from(head);
            let findings = recover.media(number, kept, &mut cx.means(grace, end));
            let protected = recover.keeping();
            self.apply(findings, cx);
            if !protected && self.asking.is_none() {
                self.hold.settle(cx.now);
            }
        }
    }

    /// The same of a number that was known.
    pub(super) fn compare_for_recovery(&mut self, number: u64, kept: Kept, cx: &mut Context<'_>) {
        let end = self.witnessed();
        if let Some(recover) = &mut self.recover {
            recover.came_again(number, kept, &cx.means(Duration::ZERO, end));
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
        let (window, grace) = (self.window(cx.config), self.grace(cx.now));
        let (Some(reorder), Some(Recovery::Native(recover))) = (&self.reorder, self.recover.as_deref_mut())
        else {
            return;
        };
        if session == self.session && first <= reorder.end() + window {
            recover.waits_from(reorder.next());
            let means = &mut cx.means(grace, reorder.witnessed());
            let findings = recover.repair(first, repair, reorder.next(), means);
            self.apply(findings.map(Rebuilt::Native), cx);
        }
    }

    /// An ST 2022-1 repair packet that was found to be this flow's.
    pub(in crate::relay) fn st2022_repair(
        &mut self,
        leg: u8,
        repair: &wire_st2022::Repair<'_>,
        cx: &mut Context<'_>,
    ) {
        let grace = self.grace(cx.now);
        let (Some(reorder), Some(Recovery::St2022(recover))) = (&self.reorder, self.recover.as_deref_mut())
        else {
            return;
        };
        recover.waits_from(reorder.next());
        let means = &mut cx.means(grace, reorder.witnessed());
        let findings = recover.repair(leg, repair, reorder.next(), means);
        self.apply(findings.map(Rebuilt::Rtp), cx);
    }

    /// One past the highest number that came, if ST 2022-1 may recover packets of this flow.
    pub(in crate::relay) fn st2022_end(&self) -> Option<u64> {
        matches!(self.recover.as_deref(), Some(Recovery::St2022(_))).then(|| self.end())
    }

    /// Other flows need the memory: nothing of this one is recovered until its next session.
    pub(in crate::relay) fn stop_recovery(&mut self) {
        self.recover = None;
    }

    pub(super) fn apply(&mut self, findings: Findings<Rebuilt>, cx: &mut Context<'_>) {
        if findings.nonsense > 0 {
            *cx.rejects.entry("unusable_repair").or_default() += findings.nonsense;
        }
        if let Some(span) = findings.span {
            self.hold.saw_block(span, cx.now);
        }
        let rebuilt_some = !findings.rebuilt.is_empty();
        self.rebuilding = rebuilt_some;
        for rebuilt in findings.rebuilt {
            let rebuilt = match rebuilt {
                Rebuilt::Native(rebuilt) => Some(self.rebuilt_native(&rebuilt, cx.now)),
                Rebuilt::Rtp(rebuilt) => self.rebuilt_rtp(rebuilt, cx.now),
            };
            if let Some(numbered) = rebuilt {
                self.in_session(numbered, cx);
            }
        }
        self.rebuilding = false;
        if rebuilt_some {
            self.poll(cx);
        }
        if let Some(end) = findings.awaited {
            self.await_until(end, cx);
        }
        // A request may still bring them.
        if !findings.hopeless.is_empty() && !self.hurry(&findings.hopeless, cx) {
            self.not_to_be_rebuilt(&findings.hopeless, cx);
        }
    }

    /// These numbers cannot come back.
    pub(super) fn give_up(&mut self, hopeless: &[u64], cx: &mut Context<'_>) {
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
        let known = reorder.end();
        if end > known && end - reorder.next() <= window {
            reorder.announce(end, cx.now, patience);
            self.note_tail(known..end, patience, cx);
        }
    }

    /// The whole datagram of a native packet, as its producer had sent it.
    fn rebuilt_native(&self, rebuilt: &recover::Rebuilt, now: Instant) -> Numbered {
        let FlowKey::Stream(stream) = self.key else {
            unreachable!("only native flows recover native packets")
        };
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
        let packet = Packet {
            payload: native::HEADER as u32..(bytes.len() - native::TRAILER) as u32,
            bytes: Buffer::from(bytes),
            timestamp: (rebuilt.timestamp != 0).then_some(rebuilt.timestamp),
            arrived: now,
            format: PacketFormat::Native,
        };
        self.numbered_again(rebuilt.number, fingerprint(&rebuilt.payload, rebuilt.timestamp), packet)
    }

    /// An RTP packet, which came back whole.
    fn rebuilt_rtp(&self, rebuilt: st2022::Rebuilt, now: Instant) -> Option<Numbered> {
        let st2022::Rebuilt { number, packet } = rebuilt;
        let arrival = arrival::arrival(&Format::Rtp, self.source, &packet).ok()?;
        let packet = Packet {
            bytes: Buffer::from(packet),
            payload: arrival.payload.clone(),
            timestamp: arrival.timestamp,
            arrived: now,
            format: PacketFormat::Rtp,
        };
        Some(self.numbered_again(number, arrival.fingerprint(), packet))
    }

    fn numbered_again(&self, number: u64, fingerprint: u32, packet: Packet) -> Numbered {
        let (session, how, span, leg, clock) = (self.session, How::Fec, 1, 0, None);
        Numbered { session, number, span, fingerprint, how, packet, leg, clock }
    }

    /// If this number was rebuilt, that was in vain.
    pub(super) fn not_needed(&mut self, number: u64) {
        if let Some(place) = self.rebuilt.iter().position(|n| *n == number) {
            self.rebuilt.swap_remove_back(place);
            self.counters.recovered_spurious += 1;
        }
    }
}
