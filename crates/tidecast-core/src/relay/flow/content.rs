//! What an RTP flow carries. On a flow that carries a transport stream, packets of other payload
//! types (FEC, comfort noise) and payloads that are not TS (keep-alives) are foreign: players
//! would take them for media.
//!
//! A keep-alive with the media's payload type takes a number of the media. It is dropped when its
//! turn comes. Packets of another payload type may have their own numbering: such a packet takes a
//! number only if the media leave it out.

use std::{collections::VecDeque, net::SocketAddr, time::Instant};

use super::{Context, Flow, Numbered};
use crate::{
    buffer::Buffer,
    limits::{FOREIGN_NUMBERS_MAX, FOREIGN_PAUSE_MAX, FOREIGN_RUN, FOREIGN_TYPES_MAX},
    relay::{How, Output, Packet, PacketFormat, arrival::Arrival},
};
use tidecast_wire::{
    rtp::PAYLOAD_TYPE_TS,
    seq::{SeqRange, Space},
    ts::packets::Unit,
};

/// The transport stream of an RTP flow.
#[derive(Debug, Clone, Copy)]
struct TsStream {
    payload_type: u8,
    unit: Unit,
    /// Length of the last payload in bytes; the next one probably has the same.
    usual: u32,
}

/// What a flow carries, as far as known.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Content {
    stream: Option<TsStream>,
    /// As long as no stream is known: payload type of the last TS payload, and the count of such
    /// payloads in a row.
    seen: (u8, u8),
    /// Count of other packets since then, or since the last packet of the stream, and the count of
    /// media packets that had passed at the last of them.
    others: u32,
    passed: u64,
    other_at: Option<Instant>,
}

/// Kind of an RTP payload in a flow that carries a transport stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PayloadKind {
    /// TS packets.
    Stream,
    /// Not TS, but of the stream's payload type.
    KeepAlive,
    /// Another payload type.
    Other,
}

impl TsStream {
    /// Whether a payload of this length consists of whole TS packets. Nearly all have the length
    /// of the last one; comparing with it saves the division.
    #[inline]
    fn is_filled(&self, length: u32) -> bool {
        length == self.usual || (length > 0 && (length as usize).is_multiple_of(self.unit.bytes()))
    }

    #[inline]
    fn kind(&self, packet: &Packet) -> PayloadKind {
        let own = payload_type(packet) == self.payload_type;
        // includes damaged ones
        if own && self.is_filled(packet.payload.end - packet.payload.start) {
            return PayloadKind::Stream;
        }
        TsStream::kind_of_payload(packet.payload(), own)
    }

    /// Kind of a payload that does not have the usual type and length: it is foreign unless it
    /// starts like TS.
    #[cold]
    fn kind_of_payload(payload: &[u8], own: bool) -> PayloadKind {
        match own {
            _ if Unit::of_whole(payload).is_some() => PayloadKind::Stream,
            true => PayloadKind::KeepAlive,
            false => PayloadKind::Other,
        }
    }
}

fn payload_type(packet: &Packet) -> u8 {
    packet.bytes.get(1).map_or(0, |second| second & 0x7f)
}

/// Numbers taken by packets that are no media.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    /// Numbers above the media's, with their payload types. They count as used if the media leave
    /// them out.
    noted: VecDeque<(u64, u8)>,
    /// Such wire numbers, as long as there is no current session.
    early: Vec<(u64, u8)>,
    /// For each payload type, the evidence that it shares its numbering with the media.
    rows: Vec<(u8, i8)>,
    /// Numbers without a packet that wait behind a gap; their packets are counted already.
    waiting: usize,
    /// Wire numbers used by datagrams of other flows, as long as there is no current session.
    used: Vec<SeqRange>,
}

impl Strangers {
    fn row(&mut self, payload_type: u8) -> &mut i8 {
        let known = self.rows.iter().position(|(known, _)| *known == payload_type);
        let place = known.unwrap_or_else(|| {
            if self.rows.len() >= FOREIGN_TYPES_MAX {
                self.rows.remove(0);
            }
            self.rows.push((payload_type, 0));
            self.rows.len() - 1
        });
        &mut self.rows[place].1
    }

    /// There is now a current numbering with its head at `next`: extends the numbers that came
    /// before it.
    fn place(&mut self, space: Space, next: u64) {
        for (wire, payload_type) in std::mem::take(&mut self.early) {
            let number = space.extend(next, wire);
            if number >= next {
                self.noted.push_back((number, payload_type));
            }
        }
    }

    /// Drops noted numbers below `next`: the media have used them themselves.
    fn pass(&mut self, next: u64) {
        for (number, payload_type) in std::mem::take(&mut self.noted) {
            if number >= next {
                self.noted.push_back((number, payload_type));
            } else {
                let row = self.row(payload_type);
                *row = (*row - 1).max(-4);
            }
        }
    }
}

impl Flow {
    /// Whether this packet must take [`Flow::numbered`] instead of a short way, because it may be
    /// foreign, or the first of a stream.
    #[inline(always)]
    pub(super) fn needs_look(&self, arrival: &Arrival, bytes: &Buffer) -> bool {
        if arrival.format != PacketFormat::Rtp {
            return false;
        }
        let length = arrival.payload.end - arrival.payload.start;
        let Some(stream) = &self.content.stream else {
            return Unit::of_whole(&bytes[arrival.payload.start as usize..arrival.payload.end as usize])
                .is_some();
        };
        let own = bytes.get(1).is_some_and(|second| second & 0x7f == stream.payload_type);
        !own || !stream.is_filled(length)
    }

    /// Whether a packet takes a number of the media. It may still be foreign.
    pub(super) fn admits(&mut self, packet: &Packet, cx: &mut Context<'_>) -> bool {
        if packet.format != PacketFormat::Rtp {
            return true;
        }
        let Some(stream) = &mut self.content.stream else {
            if self.begins_stream(packet) {
                self.stream_begins(packet, cx);
            }
            return true;
        };
        let kind = stream.kind(packet);
        if kind == PayloadKind::Stream {
            stream.payload_type = payload_type(packet);
            stream.usual = packet.payload.end - packet.payload.start;
            self.content.others = 0;
            return true;
        }
        if self.is_lasting(cx.now) {
            self.content = Content::default();
            let flow = self.id;
            self.answer(Output::Carries { flow, stream: false }, cx);
            return true;
        }
        kind == PayloadKind::KeepAlive
    }

    /// Whether a stream starts with this packet. Once there is a current session, a single packet
    /// may be forged.
    fn begins_stream(&mut self, packet: &Packet) -> bool {
        let Some(_) = Unit::of_whole(packet.payload()) else {
            self.content.others = self.content.others.saturating_add(1);
            return false;
        };
        let (payload_type, content) = (payload_type(packet), &mut self.content);
        let (known, count) = content.seen;
        let goes_on = known == payload_type && content.others < FOREIGN_RUN;
        content.seen = (payload_type, if goes_on { count.saturating_add(1) } else { 1 });
        content.others = 0;
        content.seen.1 > 1 || (self.session.is_none() && payload_type == PAYLOAD_TYPE_TS)
    }

    /// The flow carries a transport stream: packets under probation of other payload types are
    /// foreign.
    fn stream_begins(&mut self, packet: &Packet, cx: &mut Context<'_>) {
        let unit = Unit::of_whole(packet.payload()).unwrap_or_default();
        let usual = packet.payload.end - packet.payload.start;
        let stream = TsStream { payload_type: payload_type(packet), unit, usual };
        self.content = Content { stream: Some(stream), ..Content::default() };
        for candidate in
            self.probation.purge(|candidate| stream.kind(&candidate.packet) == PayloadKind::Other)
        {
            self.count_foreign("payload_type", cx);
            cx.spend(candidate.packet);
        }
        let flow = self.id;
        // Sent ahead of the waiting output, so that no player starts with the FEC of this stream.
        cx.outputs.push_back(Output::Carries { flow, stream: true });
    }

    /// Whether only packets that are not TS have come for so long that the flow carries something
    /// else now.
    fn is_lasting(&mut self, now: Instant) -> bool {
        let passed = self.passed();
        let content = &mut self.content;
        let goes_on = content.passed == passed
            && content.other_at.is_some_and(|before| now < before + FOREIGN_PAUSE_MAX);
        content.others = if goes_on { content.others + 1 } else { 1 };
        (content.passed, content.other_at) = (passed, Some(now));
        content.others > FOREIGN_RUN
    }

    fn count_foreign(&mut self, reason: &'static str, cx: &mut Context<'_>) {
        self.counters.foreign += 1;
        *cx.rejects.entry(reason).or_default() += 1;
    }

    /// Counts a packet of another payload type than the stream's, and notes its number.
    pub(super) fn stranger(&mut self, arrived: Numbered, cx: &mut Context<'_>) {
        self.count_foreign("payload_type", cx);
        let payload_type = payload_type(&arrived.packet);
        let window = self.window(cx.config);
        if self.session.is_none() {
            let strangers = self.strangers.get_or_insert_default();
            if strangers.early.len() < FOREIGN_NUMBERS_MAX {
                strangers.early.push((arrived.number, payload_type));
            }
        } else if let Some(session) = self.session.as_ref().filter(|session| session.id == arrived.session) {
            let (next, end) = (session.reorder.next(), session.reorder.end());
            let number = session.extend(arrived.number);
            let wanted = session.is_ahead(number, window) && session.reorder.misses(number);
            let strangers = self.strangers.get_or_insert_default();
            strangers.pass(next);
            let row = *strangers.row(payload_type);
            // it certainly shares the media's numbering, or fills a gap in it
            if wanted && ((number < end && row >= 0) || (number == end && row > 1)) {
                self.take_number(number, &arrived, cx);
            } else if wanted && number >= end && strangers.noted.len() < FOREIGN_NUMBERS_MAX {
                strangers.noted.push_back((number, payload_type));
            }
        }
        cx.spend(arrived.packet);
    }

    /// Called before the media packet `arrived`: takes the numbers that it leaves out and that
    /// foreign packets have used.
    pub(super) fn fill_before(&mut self, arrived: &Numbered, cx: &mut Context<'_>) {
        self.use_early(arrived.leg, cx);
        let window = self.window(cx.config);
        let Some(session) = &self.session else { return };
        let (next, end) = (session.reorder.next(), session.reorder.end());
        let number = session.extend(arrived.number);
        let Some(strangers) = &mut self.strangers else { return };
        strangers.place(self.space, next);
        if strangers.noted.is_empty() {
            return;
        }
        strangers.pass(next);
        if number <= end || number - next >= window {
            return;
        }
        let left_out = |(noted, _): &(u64, u8)| (end..number).contains(noted);
        let (mut found, rest) =
            std::mem::take(&mut strangers.noted).into_iter().partition::<Vec<_>, _>(left_out);
        strangers.noted = rest.into();
        found.sort_unstable();
        found.dedup_by_key(|(noted, _)| *noted);
        found.retain(|(_, payload_type)| {
            let row = strangers.row(*payload_type);
            let agrees = *row >= 0;
            *row = (*row + 1).min(4);
            agrees
        });
        for (noted, _) in found {
            if self.session.as_ref().is_some_and(|session| session.reorder.misses(noted)) {
                self.take_number(noted, arrived, cx);
            }
        }
    }

    /// Takes a number for a packet that is already counted.
    fn take_number(&mut self, number: u64, like: &Numbered, cx: &mut Context<'_>) {
        let number = self.space.modulus().map_or(number, |modulus| number % modulus);
        self.take_numbers(SeqRange { first: number, count: 1 }, like.session, like.leg, cx);
    }

    /// Takes wire numbers without a packet.
    fn take_numbers(&mut self, numbers: SeqRange, session: u32, leg: u8, cx: &mut Context<'_>) {
        self.strangers.get_or_insert_default().waiting += 1;
        let packet = Packet {
            bytes: Buffer::default(),
            payload: 0..0,
            timestamp: None,
            arrived: cx.now,
            format: self.format,
        };
        let how = How::Received;
        let SeqRange { first: number, count: span } = numbers;
        let void = Numbered { session, number, span, fingerprint: 0, how, packet, leg, clock: None };
        self.in_session(void, cx);
    }

    /// Notes the numbers of a datagram that belongs to another flow.
    pub(in crate::relay) fn used(
        &mut self,
        numbers: SeqRange,
        leg: u8,
        source: SocketAddr,
        cx: &mut Context<'_>,
    ) {
        if !self.is_ours(leg, source) {
            return;
        }
        self.last_arrival = cx.now;
        if self.session.is_none() {
            let used = &mut self.strangers.get_or_insert_default().used;
            if used.len() < FOREIGN_NUMBERS_MAX {
                used.push(numbers);
            }
            return;
        }
        self.use_early(leg, cx);
        self.use_numbers(numbers, leg, cx);
    }

    /// Takes the numbers that were noted before the session started.
    fn use_early(&mut self, leg: u8, cx: &mut Context<'_>) {
        let early = self.strangers.as_mut().map(|strangers| std::mem::take(&mut strangers.used));
        for numbers in early.unwrap_or_default() {
            self.use_numbers(numbers, leg, cx);
        }
    }

    fn use_numbers(&mut self, numbers: SeqRange, leg: u8, cx: &mut Context<'_>) {
        let (window, last) = (self.window(cx.config), numbers.count.saturating_sub(1));
        let Some(session) = &self.session else { return };
        let first = session.extend(numbers.first);
        let missing = session.reorder.misses(first) && session.reorder.misses(first + last);
        if session.is_ahead(first, window) && missing {
            self.take_numbers(numbers, session.id, leg, cx);
        }
    }

    /// Whether numbers are noted that the next media packet may leave out.
    pub(super) fn has_noted(&self) -> bool {
        self.strangers.as_ref().is_some_and(|strangers| !strangers.noted.is_empty())
    }

    /// Numbers without a packet that wait.
    pub(super) fn void(&self) -> usize {
        self.strangers.as_ref().map_or(0, |strangers| strangers.waiting)
    }

    /// A number without a packet has passed the head.
    pub(super) fn void_passed(&mut self) {
        if let Some(strangers) = &mut self.strangers {
            strangers.waiting = strangers.waiting.saturating_sub(1);
        }
    }

    /// Whether a packet at the head certainly goes to the outputs. Nearly all do;
    /// [`Flow::keeps_out`] decides for the rest.
    #[inline(always)]
    pub(super) fn is_surely_media(&self, packet: &Packet) -> bool {
        let is_usual = |stream: &TsStream| {
            packet.payload.end - packet.payload.start == stream.usual
                && payload_type(packet) == stream.payload_type
        };
        let known = packet.format != PacketFormat::Rtp || self.content.stream.as_ref().is_none_or(is_usual);
        known && !packet.bytes.is_empty()
    }

    /// Whether a packet at the head is kept from the outputs; if so, it is counted.
    pub(super) fn keeps_out(&mut self, packet: &Packet, cx: &mut Context<'_>) -> bool {
        if packet.bytes.is_empty() {
            self.void_passed();
            return true;
        }
        let Some(stream) = self.content.stream.as_ref().filter(|_| packet.format == PacketFormat::Rtp) else {
            return false;
        };
        match stream.kind(packet) {
            PayloadKind::Stream => return false,
            PayloadKind::KeepAlive => self.count_foreign("payload", cx),
            PayloadKind::Other => self.count_foreign("payload_type", cx),
        }
        true
    }
}
