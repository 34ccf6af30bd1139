//! Requests for retransmission within a flow: reports gaps to the schedule, learns from the
//! answers, and sends what is due.

use std::{
    net::SocketAddr,
    ops::Range,
    time::{Duration, Instant},
};

use super::{Context, Flow, Session};
use crate::{
    limits::RETRY_MIN,
    relay::{
        Asks, FlowId, How, Output, PacketFormat, Socket,
        arrival::FlowKey,
        hold::HoldEstimate,
        reorder::Reorder,
        retransmission::{Asking, Due, RequestTerms, RoundTrip, Schedule, native_nacks},
    },
};
use tidecast_wire::native;

/// Numbers to request on a RIST leg.
#[derive(Debug)]
pub(in crate::relay) struct Wanted {
    pub(in crate::relay) flow: FlowId,
    pub(in crate::relay) leg: u8,
    /// SSRC of the media.
    pub(in crate::relay) ssrc: u32,
    /// Extended numbers, ascending.
    pub(in crate::relay) numbers: Vec<u64>,
}

impl Session {
    /// Parameters of the next scheduling pass.
    fn terms(&self, asking: &Asking, hold: &HoldEstimate, rate: Option<f64>, now: Instant) -> RequestTerms {
        asking.terms(hold, self.protected_span() > 0, rate.unwrap_or_default(), now)
    }

    /// Legs on which missing packets can be requested.
    fn asked_legs(&self) -> &[u8] {
        self.asking.as_ref().map_or(&[], |asking| asking.legs())
    }
}

impl Flow {
    /// Requester for a session that starts, if its packets can be requested. `before`: the
    /// requester of the previous session.
    pub(super) fn start_asking(
        &self,
        session: u32,
        before: Option<Box<Asking>>,
        cx: &Context<'_>,
    ) -> Option<Box<Asking>> {
        let seed = cx.config.seed ^ u64::from(session) << 32 ^ u64::from(self.id.0);
        if let Some(mut asking) = before {
            asking.restart(seed, cx.now);
            return Some(asking);
        }
        let rist = match self.format {
            PacketFormat::Native => false,
            PacketFormat::Rtp => true,
            _ => return None,
        };
        let asks = |leg: &&(u8, Asks)| leg.1.requests && leg.1.rist == rist;
        let legs: Vec<_> = (0..).zip(cx.config.asks.iter().copied()).collect();
        let legs: Vec<_> = legs.iter().filter(asks).collect();
        if legs.is_empty() {
            return None;
        }
        let shared = legs.iter().any(|(_, asks)| asks.shared);
        let legs = legs.iter().map(|(leg, _)| *leg).collect();
        Some(Box::new(Asking::new(legs, shared, seed, cx.now)))
    }

    /// The schedule, the reorder buffer and the parameters of a scheduling pass; `None` if this
    /// flow sends no requests.
    fn schedule(&mut self, now: Instant) -> Option<(&mut Schedule, &Reorder, RequestTerms)> {
        let session = self.session.as_mut()?;
        let terms = session.terms(session.asking.as_ref()?, &self.hold, self.rate.get(), now);
        Some((&mut session.asking.as_mut()?.schedule, &session.reorder, terms))
    }

    /// A new packet came. Before it, `next` was the head, and `end` the number after the highest
    /// one.
    pub(super) fn note_gaps(&mut self, number: u64, next: u64, end: u64, now: Instant) {
        let Some((schedule, reorder, terms)) = self.schedule(now) else { return };
        let misses = |number| reorder.misses(number);
        schedule.came(number, &terms, misses);
        schedule.showed(number, (next, end), &terms, misses);
        if number > end {
            schedule.opened(end..number, number, None, &terms);
        }
    }

    /// A producer announces that these numbers have been sent; they may still arrive within
    /// `patience`.
    pub(super) fn note_tail(&mut self, numbers: Range<u64>, patience: Duration, now: Instant) {
        if let Some((schedule, _, terms)) = self.schedule(now) {
            schedule.opened(numbers.clone(), numbers.end, Some(patience), &terms);
        }
    }

    /// A retransmission came. It gives a sample of the round trip, unless it is unknown which
    /// request it answers. The first sample is taken in any case: a round trip that is too long is
    /// corrected later. One that is too short would never be, because every number would then be
    /// requested again before its answer.
    pub(super) fn note_answer(&mut self, number: u64, now: Instant) {
        self.counters.retransmissions_received += 1;
        let Some(asking) = self.asking_mut() else { return };
        let Some(answered) = asking.schedule.answered(number) else { return };
        asking.answered_after(answered.times);
        let tells = answered.once || asking.round_trip.get().is_none();
        self.hold_for_answers(now);
        if tells {
            self.round_trip(now.saturating_duration_since(answered.first_asked), now);
        }
    }

    fn asking_mut(&mut self) -> Option<&mut Asking> {
        self.session.as_mut()?.asking.as_deref_mut()
    }

    fn asking(&self) -> Option<&Asking> {
        self.session.as_ref()?.asking.as_deref()
    }

    /// Makes the hold long enough for the answers to requests.
    fn hold_for_answers(&mut self, now: Instant) {
        if let Some(asking) = self.session.as_ref().and_then(|session| session.asking.as_ref()) {
            let need = asking.need(&self.hold);
            self.hold.saw_requests(need, now);
        }
    }

    /// Takes a sample of the round trip to the producer.
    pub(in crate::relay) fn round_trip(&mut self, took: Duration, now: Instant) {
        if let Some(asking) = self.asking_mut() {
            asking.round_trip.sample(took);
            self.hold_for_answers(now);
        }
    }

    /// Takes the round trip that was measured before the flow's first packet came.
    pub(in crate::relay) fn round_trip_is(&mut self, round_trip: RoundTrip, now: Instant) {
        if let Some(asking) = self.asking_mut()
            && asking.round_trip.get().is_none()
        {
            asking.round_trip = round_trip;
            self.hold_for_answers(now);
        }
    }

    /// Source address of the flow on this leg.
    pub(in crate::relay) fn source_on(&self, leg: u8) -> SocketAddr {
        self.legs.as_ref().and_then(|legs| legs.source(leg)).unwrap_or(self.source)
    }

    /// Whether this flow sends requests on this leg.
    pub(in crate::relay) fn asks_on(&self, leg: u8) -> bool {
        self.asking().is_some_and(|asking| asking.asks_on(leg))
    }

    /// The round trip, if this flow sends requests on this leg.
    pub(in crate::relay) fn round_trip_on(&self, leg: u8) -> Option<Duration> {
        self.asking().filter(|asking| asking.asks_on(leg))?.round_trip.get()
    }

    /// A packet came twice. If it was requested in between, the original was only late.
    pub(super) fn note_duplicate(&mut self, number: u64, how: How, now: Instant) {
        if how == How::Received
            && let Some(asking) = self.asking_mut()
            && let Some(since) = asking.schedule.late_original(number)
        {
            self.hold.saw_lateness(now.saturating_duration_since(since), now);
        }
    }

    /// Requests numbers at once that repair packets will not recover.
    pub(super) fn hurry(&mut self, numbers: &[u64], now: Instant) -> bool {
        let Some(asking) = self.asking_mut() else { return false };
        numbers.iter().for_each(|number| asking.schedule.hurry(*number, now));
        true
    }

    /// Sends the requests that are due.
    pub(in crate::relay) fn ask(&mut self, cx: &mut Context<'_>) {
        let Some((schedule, reorder, terms)) = self.schedule(cx.now) else { return };
        schedule.settled_below(reorder.next());
        let due = schedule.poll(&terms);
        self.request(&due, cx);
        let recovers = self.session.as_ref().is_some_and(Session::awaits_repair);
        // Unanswered numbers may still be recovered by repair packets.
        if !due.unanswered.is_empty() && !recovers {
            self.not_to_be_rebuilt(&due.unanswered, cx);
        }
    }

    fn request(&mut self, due: &Due, cx: &mut Context<'_>) {
        let Some(asking) = self.asking() else { return };
        let mut by_leg: Vec<(u8, Vec<u64>)> = Vec::new();
        for request in &due.requests {
            let leg = asking.leg(request.before);
            match by_leg.iter_mut().find(|(other, _)| *other == leg) {
                Some((_, numbers)) => numbers.push(request.number),
                None => by_leg.push((leg, vec![request.number])),
            }
        }
        for (leg, numbers) in by_leg {
            match self.key {
                FlowKey::Stream(stream) => self.request_native(stream, leg, &numbers, cx),
                FlowKey::Ssrc(ssrc) => cx.wanted.push(Wanted { flow: self.id, leg, ssrc, numbers }),
                _ => {}
            }
        }
    }

    /// Legs other than `leg` on which these numbers can be requested.
    pub(in crate::relay) fn other_legs(&self, leg: u8) -> impl Iterator<Item = u8> {
        let legs = self.session.as_ref().map_or(&[][..], Session::asked_legs);
        legs.iter().copied().filter(move |other| *other != leg)
    }

    /// These numbers could not be requested on any leg.
    pub(in crate::relay) fn not_asked(&mut self, numbers: &[u64], now: Instant) {
        let Some(asking) = self.asking_mut() else { return };
        numbers.iter().for_each(|number| asking.schedule.unsent(*number, now, RETRY_MIN));
    }

    /// Sends native requests to the source address of the packets. That address may be forged, so
    /// the relay must not amplify: requests take at most as many bytes as the packets had.
    fn request_native(&mut self, stream: u32, leg: u8, numbers: &[u64], cx: &mut Context<'_>) {
        let to = self.source_on(leg);
        let c = &self.counters;
        let datagrams = c.media_received + c.repair_received + c.control_received;
        let Some(session) = &mut self.session else { return };
        let Some(asking) = &mut session.asking else { return };
        let emit = |request: &native::Repr<'_>, out: &mut Vec<u8>| match cx.sealed {
            Some(sealed) => sealed.emit(request, out),
            None => request.emit(out),
        };
        for (count, bytes) in native_nacks(stream, session.id, numbers, emit) {
            if asking.may_send(bytes.len(), datagrams) && cx.pace.take(cx.now) {
                self.counters.numbers_requested += count;
                self.counters.requests_sent += 1;
                cx.outputs.push_back(Output::Transmit { leg, from: Socket::Media, to, bytes });
            }
        }
    }
}
