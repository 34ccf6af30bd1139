//! Recovery within a flow: keeps packets for it, passes repair packets to it, and feeds recovered
//! packets back.

use std::time::{Duration, Instant};

use super::{Context, Flow, Numbered, Session};
use crate::{
    buffer::Buffer,
    relay::{
        How, Packet, PacketFormat,
        arrival::{self, FlowKey},
        dedup::fingerprint,
        recovery::{Findings, Kept, Rebuilt, RebuiltDatagram, RebuiltPayload, Recovery},
    },
};
use tidecast_wire::{
    Format,
    native::{self, Repair},
    st2022,
};

/// Reject reason: repair packets that make no sense, or that give a packet whose tag is wrong.
const UNUSABLE: &str = "unusable_repair";

impl Session {
    /// Copies what recovery needs of a packet that is about to leave.
    pub(super) fn recovery_copy(&self, arrived: &Numbered, number: u64, window: u64) -> Option<Kept> {
        let recovery = self.recovery.as_ref()?;
        let void = arrived.packet.bytes.is_empty();
        let wanted = arrived.how != How::Fec && !void && number < self.reorder.next() + window;
        wanted.then(|| recovery.kept(&arrived.packet)).flatten()
    }
}

impl Flow {
    /// Keeps what recovery needs of a packet that has left.
    pub(super) fn keep_for_recovery(&mut self, number: u64, kept: Kept, cx: &mut Context<'_>) {
        let grace = self.grace(cx.now);
        let Some(Session { recovery: Some(recovery), reorder, asking, .. }) = &mut self.session else {
            return;
        };
        recovery.waits_from(reorder.next());
        let findings = recovery.media(number, kept, &mut cx.means(grace, reorder.witnessed()));
        let needs_hold = recovery.keeping() || asking.is_some();
        self.apply(findings, cx);
        if !needs_hold {
            self.hold.settle(cx.now);
        }
    }

    /// Compares a packet whose number is known with the one kept for recovery.
    pub(super) fn compare_for_recovery(&mut self, number: u64, kept: Kept, cx: &mut Context<'_>) {
        if let Some(Session { recovery: Some(recovery), reorder, .. }) = &mut self.session {
            recovery.came_again(number, kept, &cx.means(Duration::ZERO, reorder.witnessed()));
        }
    }

    /// Takes a repair packet. It is used if it belongs to the current session and protects
    /// packets that may have been sent by now.
    pub(in crate::relay) fn repair(
        &mut self,
        session: u32,
        first: u64,
        repair: &Repair<'_>,
        cx: &mut Context<'_>,
    ) {
        let (window, grace) = (self.window(cx.config), self.grace(cx.now));
        let Some(Session { id, recovery: Some(recovery), reorder, .. }) = &mut self.session else { return };
        let Recovery::Blocks(recovery) = &mut **recovery else { return };
        if session == *id && first <= reorder.end() + window {
            recovery.waits_from(reorder.next());
            let means = &mut cx.means(grace, reorder.witnessed());
            let findings = recovery.repair(first, repair, reorder.next(), means);
            self.apply(findings.map(Rebuilt::Payload), cx);
        }
    }

    /// Takes an ST 2022-1 repair packet that belongs to this flow.
    pub(in crate::relay) fn st2022_repair(
        &mut self,
        leg: u8,
        repair: &st2022::Repair<'_>,
        cx: &mut Context<'_>,
    ) {
        let grace = self.grace(cx.now);
        let Some(Session { recovery: Some(recovery), reorder, .. }) = &mut self.session else { return };
        let Recovery::Matrix(recovery) = &mut **recovery else { return };
        recovery.waits_from(reorder.next());
        let means = &mut cx.means(grace, reorder.witnessed());
        let findings = recovery.repair(leg, repair, reorder.next(), means);
        self.apply(findings.map(Rebuilt::Datagram), cx);
    }

    /// Number after the highest received one, if ST 2022-1 may recover packets of this flow.
    pub(in crate::relay) fn st2022_end(&self) -> Option<u64> {
        let session = self.session.as_ref()?;
        let recovers = matches!(session.recovery.as_deref(), Some(Recovery::Matrix(_)));
        recovers.then(|| session.reorder.end())
    }

    /// Frees the recovery memory for other flows; recovery resumes with the next session.
    pub(in crate::relay) fn stop_recovery(&mut self) {
        if let Some(session) = &mut self.session {
            session.recovery = None;
        }
    }

    pub(super) fn apply(&mut self, findings: Findings<Rebuilt>, cx: &mut Context<'_>) {
        if findings.nonsense > 0 {
            *cx.rejects.entry(UNUSABLE).or_default() += findings.nonsense;
        }
        if let Some(span) = findings.span {
            self.hold.saw_block(span, cx.now);
        }
        if !findings.rebuilt.is_empty() {
            self.take_in_rebuilt(findings.rebuilt, cx);
        }
        if let Some(end) = findings.awaited {
            self.await_until(end, cx);
        }
        // A request may still bring them.
        if !findings.hopeless.is_empty() && !self.hurry(&findings.hopeless, cx.now) {
            self.not_to_be_rebuilt(&findings.hopeless, cx);
        }
    }

    /// Inserts all recovered packets before a gap between them is given up.
    fn take_in_rebuilt(&mut self, packets: Vec<Rebuilt>, cx: &mut Context<'_>) {
        self.set_rebuilding(true);
        for rebuilt in packets {
            let rebuilt = match rebuilt {
                Rebuilt::Payload(rebuilt) => {
                    let native = self.rebuilt_native(&rebuilt, cx);
                    if native.is_none() {
                        *cx.rejects.entry(UNUSABLE).or_default() += 1;
                    }
                    native
                }
                Rebuilt::Datagram(rebuilt) => self.rebuilt_rtp(rebuilt, cx.now),
            };
            if let Some(numbered) = rebuilt {
                self.in_session(numbered, cx);
            }
        }
        self.set_rebuilding(false);
        self.poll(cx);
    }

    fn set_rebuilding(&mut self, rebuilding: bool) {
        if let Some(session) = &mut self.session {
            session.rebuilding = rebuilding;
        }
    }

    /// Gives up these numbers, which cannot be recovered.
    pub(super) fn give_up(&mut self, hopeless: &[u64], cx: &mut Context<'_>) {
        let window = self.window(cx.config);
        let Some(session) = &mut self.session else { return };
        for number in hopeless {
            session.reorder.give_up(*number, window);
        }
        self.poll(cx);
    }

    /// A repair packet shows that all numbers below `end` have been used.
    fn await_until(&mut self, end: u64, cx: &mut Context<'_>) {
        let (window, patience) = (self.window(cx.config), self.patience());
        let Some(Session { reorder, .. }) = &mut self.session else { return };
        let known = reorder.end();
        if end > known && end - reorder.next() <= window {
            reorder.announce(end, cx.now, patience);
            self.note_tail(known..end, patience, cx.now);
        }
    }

    /// Rebuilds the whole datagram of a native packet, as its producer sent it. The tag of a sealed
    /// one was rebuilt with it, and must be right.
    fn rebuilt_native(&self, rebuilt: &RebuiltPayload, cx: &Context<'_>) -> Option<Numbered> {
        let session = self.session.as_ref()?.id;
        let FlowKey::Stream(stream) = self.key else {
            unreachable!("only native flows recover native packets")
        };
        let repr = native::Repr {
            kind: native::Kind::Data,
            flags: rebuilt.flags,
            stream,
            session,
            sequence: rebuilt.number,
            timestamp: rebuilt.timestamp,
            payload: &rebuilt.payload,
        };
        let mut bytes = Vec::with_capacity(repr.len());
        repr.emit(&mut bytes);
        let len = native::payload_len(rebuilt.flags, rebuilt.payload.len())?;
        let content = fingerprint(&rebuilt.payload[..len], rebuilt.timestamp);
        let mut bytes = Buffer::from(bytes);
        let payload = match cx.sealed {
            Some(sealed) => sealed.open_rebuilt(&mut bytes)?,
            None => native::HEADER as u32..(native::HEADER + len) as u32,
        };
        let packet = Packet {
            payload,
            bytes,
            timestamp: (rebuilt.timestamp != 0).then_some(rebuilt.timestamp),
            arrived: cx.now,
            format: PacketFormat::Native,
        };
        self.numbered_again(rebuilt.number, content, packet)
    }

    /// Turns a recovered RTP datagram into a packet.
    fn rebuilt_rtp(&self, rebuilt: RebuiltDatagram, now: Instant) -> Option<Numbered> {
        let RebuiltDatagram { number, packet } = rebuilt;
        let arrival = arrival::arrival(&Format::Rtp, self.source, &packet).ok()?;
        let packet = Packet {
            bytes: Buffer::from(packet),
            payload: arrival.payload.clone(),
            timestamp: arrival.timestamp,
            arrived: now,
            format: PacketFormat::Rtp,
        };
        self.numbered_again(number, arrival.fingerprint(), packet)
    }

    fn numbered_again(&self, number: u64, fingerprint: u32, packet: Packet) -> Option<Numbered> {
        let session = self.session.as_ref()?.id;
        let (how, span, leg, clock) = (How::Fec, 1, 0, None);
        Some(Numbered { session, number, span, fingerprint, how, packet, leg, clock })
    }

    /// Notes that this number was recovered.
    pub(super) fn note_recovered(&mut self, number: u64) {
        if let Some(session) = &mut self.session {
            session.note_recovered(number);
        }
    }

    /// If this number was recovered, the recovery was not needed.
    pub(super) fn not_needed(&mut self, number: u64) {
        let recovered = self.session.as_mut().is_some_and(|session| session.take_recovered(number));
        self.counters.recovered_spurious += u64::from(recovered);
    }
}
