//! The asking side of a flow: what its gaps are told to the schedule, what the answers teach, and what goes out.

use std::{net::SocketAddr, ops::Range, time::Duration};

use super::{Context, Flow};
use crate::{
    limits::RETRY_MIN,
    relay::{
        Asks, FlowId, How, Output, PacketFormat, Socket,
        arrival::FlowKey,
        reorder::Reorder,
        retransmission::{Asking, Due, RoundTrip, Terms, native_nacks},
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

impl Flow {
    /// A session begins: whether packets of it may be asked for again.
    pub(super) fn start_asking(&mut self, cx: &Context<'_>) {
        let seed = cx.config.seed ^ u64::from(self.session) << 32 ^ u64::from(self.id.0);
        if let Some(asking) = &mut self.asking {
            return asking.restart(seed, cx.now);
        }
        let rist = match self.format {
            PacketFormat::Native => false,
            PacketFormat::Rtp => true,
            _ => return,
        };
        let asks = |leg: &&(u8, Asks)| leg.1.requests && leg.1.rist == rist;
        let legs: Vec<_> = (0..).zip(cx.config.asks.iter().copied()).collect();
        let legs: Vec<_> = legs.iter().filter(asks).collect();
        if !legs.is_empty() {
            let shared = legs.iter().any(|(_, asks)| asks.shared);
            let legs = legs.iter().map(|(leg, _)| *leg).collect();
            self.asking = Some(Box::new(Asking::new(legs, shared, seed, cx.now)));
        }
    }

    fn terms(&self, asking: &Asking, cx: &Context<'_>) -> Terms {
        let recovers = self.recover.as_ref().is_some_and(|recover| recover.window() > 0);
        asking.terms(&self.hold, recovers, self.rate.get().unwrap_or_default(), cx.now)
    }

    /// A packet that was not known came; before it the head was at `next`, and `end` was one past the highest number.
    pub(super) fn note_gaps(&mut self, number: u64, next: u64, end: u64, cx: &Context<'_>) {
        let Some(mut asking) = self.asking.take() else { return };
        let terms = self.terms(&asking, cx);
        if let Some(reorder) = &self.reorder {
            let misses = |number| reorder.misses(number);
            asking.schedule.came(number, &terms, misses);
            asking.schedule.showed(number, (next, end), &terms, misses);
        }
        if number > end {
            asking.schedule.opened(end..number, number, None, &terms);
        }
        self.asking = Some(asking);
    }

    /// A producer says that these numbers have been sent; they may come within `patience`.
    pub(super) fn note_tail(&mut self, numbers: Range<u64>, patience: Duration, cx: &Context<'_>) {
        let Some(mut asking) = self.asking.take() else { return };
        let terms = self.terms(&asking, cx);
        asking.schedule.opened(numbers.clone(), numbers.end, Some(patience), &terms);
        self.asking = Some(asking);
    }

    /// A retransmission came: it tells the round trip, unless it is unknown which request it answers. As long as
    /// nothing was measured, the first one is taken: too long a time is corrected, too short a one never ends.
    pub(super) fn note_answer(&mut self, number: u64, cx: &mut Context<'_>) {
        self.counters.retransmissions_received += 1;
        let Some(asking) = &mut self.asking else { return };
        let Some(answered) = asking.schedule.answered(number) else { return };
        asking.answered_after(answered.times);
        let need = asking.need(&self.hold);
        self.hold.saw_requests(need, cx.now);
        let Some(asking) = &self.asking else { return };
        if answered.once || asking.round_trip.get().is_none() {
            let took = cx.now.saturating_duration_since(answered.first_asked);
            self.round_trip(took, cx);
        }
    }

    /// The way to the producer and back took this long.
    pub(in crate::relay) fn round_trip(&mut self, took: Duration, cx: &Context<'_>) {
        let Some(asking) = &mut self.asking else { return };
        asking.round_trip.sample(took);
        let need = asking.need(&self.hold);
        self.hold.saw_requests(need, cx.now);
    }

    /// The round trip to its sender was measured before its first packet came.
    pub(in crate::relay) fn round_trip_is(&mut self, round_trip: RoundTrip, cx: &Context<'_>) {
        let Some(asking) = self.asking.as_mut().filter(|asking| asking.round_trip.get().is_none()) else {
            return;
        };
        asking.round_trip = round_trip;
        let need = asking.need(&self.hold);
        self.hold.saw_requests(need, cx.now);
    }

    /// Where its packets come from on this leg.
    pub(in crate::relay) fn source_on(&self, leg: u8) -> SocketAddr {
        self.legs.as_ref().and_then(|legs| legs.source(leg)).unwrap_or(self.source)
    }

    /// Whether this flow asks on this leg.
    pub(in crate::relay) fn asks_on(&self, leg: u8) -> bool {
        self.asking.as_ref().is_some_and(|asking| asking.asks_on(leg))
    }

    /// The round trip, if this flow asks on this leg.
    pub(in crate::relay) fn round_trip_on(&self, leg: u8) -> Option<Duration> {
        self.asking.as_ref().filter(|asking| asking.asks_on(leg))?.round_trip.get()
    }

    /// A packet came twice. If it had been asked for in between, it was only late.
    pub(super) fn note_duplicate(&mut self, number: u64, how: How, cx: &Context<'_>) {
        if how == How::Received
            && let Some(asking) = &mut self.asking
            && let Some(since) = asking.schedule.late_original(number)
        {
            self.hold.saw_lateness(cx.now.saturating_duration_since(since), cx.now);
        }
    }

    /// Repair packets will not bring these back: they are asked for at once.
    pub(super) fn hurry(&mut self, numbers: &[u64], cx: &Context<'_>) -> bool {
        let Some(asking) = &mut self.asking else { return false };
        numbers.iter().for_each(|number| asking.schedule.hurry(*number, cx.now));
        true
    }

    /// Asks for what is due.
    pub(in crate::relay) fn ask(&mut self, cx: &mut Context<'_>) {
        let Some(mut asking) = self.asking.take() else { return };
        asking.schedule.settled_below(self.reorder.as_ref().map_or(u64::MAX, Reorder::next));
        let due = asking.schedule.poll(&self.terms(&asking, cx));
        self.request(&mut asking, &due, cx);
        self.asking = Some(asking);
        let recovers = self.recover.as_ref().is_some_and(|recover| recover.misses());
        // Repair packets may still bring what was not answered.
        if !due.unanswered.is_empty() && !recovers {
            self.not_to_be_rebuilt(&due.unanswered, cx);
        }
    }

    fn request(&mut self, asking: &mut Asking, due: &Due, cx: &mut Context<'_>) {
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
                FlowKey::Stream(stream) => self.request_native(stream, asking, leg, &numbers, cx),
                FlowKey::Ssrc(ssrc) => cx.wanted.push(Wanted { flow: self.id, leg, ssrc, numbers }),
                _ => {}
            }
        }
    }

    /// Where these could be asked for besides `leg`.
    pub(in crate::relay) fn other_legs(&self, leg: u8) -> impl Iterator<Item = u8> {
        let legs = self.asking.as_ref().map_or(&[][..], |asking| asking.legs());
        legs.iter().copied().filter(move |other| *other != leg)
    }

    /// These could not be asked for on any leg.
    pub(in crate::relay) fn not_asked(&mut self, numbers: &[u64], cx: &Context<'_>) {
        let Some(asking) = &mut self.asking else { return };
        numbers.iter().for_each(|number| asking.schedule.unsent(*number, cx.now, RETRY_MIN));
    }

    /// Asks where the packets seem to come from. Whoever forges them must not send more to somebody else that way than he
    /// sends himself: requests take at most as many bytes as the packets had.
    fn request_native(
        &mut self,
        stream: u32,
        asking: &mut Asking,
        leg: u8,
        numbers: &[u64],
        cx: &mut Context<'_>,
    ) {
        let to = self.source_on(leg);
        let c = &self.counters;
        let datagrams = c.media_received + c.repair_received + c.control_received;
        for (count, bytes) in native_nacks(stream, self.session, numbers) {
            if asking.may_send(bytes.len(), datagrams) && cx.pace.take(cx.now) {
                self.counters.numbers_requested += count;
                self.counters.requests_sent += 1;
                cx.outputs.push_back(Output::Transmit { leg, from: Socket::Media, to, bytes });
            }
        }
    }
}
