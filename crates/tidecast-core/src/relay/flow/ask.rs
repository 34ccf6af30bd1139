//! The asking side of a flow: what its gaps are told to the schedule, what the answers teach, and
//! what goes out.

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

/// Numbers to be asked for on a RIST leg.
#[derive(Debug)]
pub(in crate::relay) struct Wanted {
    pub(in crate::relay) flow: FlowId,
    pub(in crate::relay) leg: u8,
    /// The media's SSRC.
    pub(in crate::relay) ssrc: u32,
    /// Ascending; extended.
    pub(in crate::relay) numbers: Vec<u64>,
}

impl Session {
    /// What the next look at the schedule goes by.
    fn terms(&self, asking: &Asking, hold: &HoldEstimate, rate: Option<f64>, now: Instant) -> RequestTerms {
        asking.terms(hold, self.protected_span() > 0, rate.unwrap_or_default(), now)
    }

    /// Where missing packets can be asked for.
    fn asked_legs(&self) -> &[u8] {
        self.asking.as_ref().map_or(&[], |asking| asking.legs())
    }
}

impl Flow {
    /// Who asks for packets of a session that begins, if anybody does. `before`: who asked for
    /// those of the one before.
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

    /// The schedule of what to ask for, the packets that are there, and what it goes by; none where
    /// nothing is asked for.
    fn schedule(&mut self, now: Instant) -> Option<(&mut Schedule, &Reorder, RequestTerms)> {
        let session = self.session.as_mut()?;
        let terms = session.terms(session.asking.as_ref()?, &self.hold, self.rate.get(), now);
        Some((&mut session.asking.as_mut()?.schedule, &session.reorder, terms))
    }

    /// A packet that was not known came; before it the head was at `next`, and `end` was one past
    /// the highest number.
    pub(super) fn note_gaps(&mut self, number: u64, next: u64, end: u64, now: Instant) {
        let Some((schedule, reorder, terms)) = self.schedule(now) else { return };
        let misses = |number| reorder.misses(number);
        schedule.came(number, &terms, misses);
        schedule.showed(number, (next, end), &terms, misses);
        if number > end {
            schedule.opened(end..number, number, None, &terms);
        }
    }

    /// A producer says that these numbers have been sent; they may come within `patience`.
    pub(super) fn note_tail(&mut self, numbers: Range<u64>, patience: Duration, now: Instant) {
        if let Some((schedule, _, terms)) = self.schedule(now) {
            schedule.opened(numbers.clone(), numbers.end, Some(patience), &terms);
        }
    }

    /// A retransmission came: it tells the round trip, unless it is unknown which request it
    /// answers. As long as nothing was measured, the first one is taken: too long a time is
    /// corrected, too short a one never ends.
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

    /// The hold leaves time for the answers to requests.
    fn hold_for_answers(&mut self, now: Instant) {
        if let Some(asking) = self.session.as_ref().and_then(|session| session.asking.as_ref()) {
            let need = asking.need(&self.hold);
            self.hold.saw_requests(need, now);
        }
    }

    /// The way to the producer and back took this long.
    pub(in crate::relay) fn round_trip(&mut self, took: Duration, now: Instant) {
        if let Some(asking) = self.asking_mut() {
            asking.round_trip.sample(took);
            self.hold_for_answers(now);
        }
    }

    /// The round trip to its sender was measured before its first packet came.
    pub(in crate::relay) fn round_trip_is(&mut self, round_trip: RoundTrip, now: Instant) {
        if let Some(asking) = self.asking_mut()
            && asking.round_trip.get().is_none()
        {
            asking.round_trip = round_trip;
            self.hold_for_answers(now);
        }
    }

    /// Where its packets come from on this leg.
    pub(in crate::relay) fn source_on(&self, leg: u8) -> SocketAddr {
        self.legs.as_ref().and_then(|legs| legs.source(leg)).unwrap_or(self.source)
    }

    /// Whether this flow asks on this leg.
    pub(in crate::relay) fn asks_on(&self, leg: u8) -> bool {
        self.asking().is_some_and(|asking| asking.asks_on(leg))
    }

    /// The round trip, if this flow asks on this leg.
    pub(in crate::relay) fn round_trip_on(&self, leg: u8) -> Option<Duration> {
        self.asking().filter(|asking| asking.asks_on(leg))?.round_trip.get()
    }

    /// A packet came twice. If it had been asked for in between, it was only late.
    pub(super) fn note_duplicate(&mut self, number: u64, how: How, now: Instant) {
        if how == How::Received
            && let Some(asking) = self.asking_mut()
            && let Some(since) = asking.schedule.late_original(number)
        {
            self.hold.saw_lateness(now.saturating_duration_since(since), now);
        }
    }

    /// Repair packets will not bring these back: they are asked for at once.
    pub(super) fn hurry(&mut self, numbers: &[u64], now: Instant) -> bool {
        let Some(asking) = self.asking_mut() else { return false };
        numbers.iter().for_each(|number| asking.schedule.hurry(*number, now));
        true
    }

    /// Asks for what is due.
    pub(in crate::relay) fn ask(&mut self, cx: &mut Context<'_>) {
        let Some((schedule, reorder, terms)) = self.schedule(cx.now) else { return };
        schedule.settled_below(reorder.next());
        let due = schedule.poll(&terms);
        self.request(&due, cx);
        let recovers = self.session.as_ref().is_some_and(Session::awaits_repair);
        // Repair packets may still bring what was not answered.
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

    /// Where these could be asked for besides `leg`.
    pub(in crate::relay) fn other_legs(&self, leg: u8) -> impl Iterator<Item = u8> {
        let legs = self.session.as_ref().map_or(&[][..], Session::asked_legs);
        legs.iter().copied().filter(move |other| *other != leg)
    }

    /// These could not be asked for on any leg.
    pub(in crate::relay) fn not_asked(&mut self, numbers: &[u64], now: Instant) {
        let Some(asking) = self.asking_mut() else { return };
        numbers.iter().for_each(|number| asking.schedule.unsent(*number, now, RETRY_MIN));
    }

    /// Asks where the packets seem to come from. Whoever forges them must not send more to somebody
    /// else that way than he sends himself: requests take at most as many bytes as the packets had.
    fn request_native(&mut self, stream: u32, leg: u8, numbers: &[u64], cx: &mut Context<'_>) {
        let to = self.source_on(leg);
        let c = &self.counters;
        let datagrams = c.media_received + c.repair_received + c.control_received;
        let Some(session) = &mut self.session else { return };
        let Some(asking) = &mut session.asking else { return };
        for (count, bytes) in native_nacks(stream, session.id, numbers) {
            if asking.may_send(bytes.len(), datagrams) && cx.pace.take(cx.now) {
                self.counters.numbers_requested += count;
                self.counters.requests_sent += 1;
                cx.outputs.push_back(Output::Transmit { leg, from: Socket::Media, to, bytes });
            }
        }
    }
}
