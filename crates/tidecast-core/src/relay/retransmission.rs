//! Requests retransmissions from producers. Each flow that may request has an [`Asking`]: the
//! schedule of its requests, and the round trip to its producer. Requests that are due become
//! native NACKs here, or are sent by `relay::rist`.

use std::{
    ops::Range,
    time::{Duration, Instant},
};

use super::hold::HoldEstimate;
use crate::limits::{
    HOLD_REQUESTS, HOLD_REQUESTS_LEFT, REQUEST_SPREAD_MIN, REQUEST_SPREAD_SHARE, REQUEST_SPREAD_TRIPS,
    REQUEST_WAIT_MIN, REQUESTS_AVERAGED, REQUESTS_MAX,
};
use tidecast_wire::{
    limits::NACK_RANGES_MAX,
    native,
    rtcp::{self, ENTRIES_MAX, Form, RANGES_MAX},
};

mod pace;
mod rtt;
mod schedule;

pub(super) use pace::Pace;
pub(super) use rtt::RoundTrip;
pub(super) use schedule::{Due, RequestTerms, Schedule};

/// Size of a native datagram without payload.
const NATIVE_BYTES_MIN: u64 = (native::HEADER + native::TRAILER) as u64;

/// State of a flow that requests retransmissions from its producer.
#[derive(Debug)]
pub(super) struct Asking {
    pub(super) schedule: Schedule,
    pub(super) round_trip: RoundTrip,
    /// Share of requests that are not answered.
    failing: f64,
    /// Other receivers may request the same packets from the producer.
    shared: bool,
    /// Legs on which requests can be sent; not empty.
    legs: Vec<u8>,
    /// Bytes of the native requests sent.
    spent: u64,
    /// Bytes received beyond the minimum size of each datagram, as far as they were counted.
    heard: u64,
}

impl Asking {
    pub(super) fn new(legs: Vec<u8>, shared: bool, seed: u64, now: Instant) -> Asking {
        let (schedule, round_trip) = (Schedule::new(seed, now), RoundTrip::default());
        Asking { schedule, round_trip, failing: 0.0, shared, legs, spent: 0, heard: 0 }
    }

    /// Counts a received packet of `bytes` that waits, or that others wait for.
    pub(super) fn heard(&mut self, bytes: usize) {
        self.heard += (bytes as u64).saturating_sub(NATIVE_BYTES_MIN);
    }

    /// Whether a native request of `bytes` may be sent; if so, counts it as sent. `datagrams`:
    /// number of datagrams received from its destination.
    pub(super) fn may_send(&mut self, bytes: usize, datagrams: u64) -> bool {
        let spent = self.spent + bytes as u64;
        let may = spent <= datagrams * NATIVE_BYTES_MIN + self.heard;
        if may {
            self.spent = spent;
        }
        may
    }

    /// Takes the number of requests after which an answer came.
    pub(super) fn answered_after(&mut self, times: u8) {
        for failed in (0..times.max(1)).map(|request| request + 1 < times) {
            self.failing += (f64::from(u8::from(failed)) - self.failing) / REQUESTS_AVERAGED;
        }
    }

    /// Number of requests per packet for which the hold must leave time.
    fn rounds(&self) -> u32 {
        let rounds = (HOLD_REQUESTS_LEFT.ln() / self.failing.clamp(1e-6, 0.9).ln()).ceil() as u32;
        rounds.clamp(HOLD_REQUESTS, REQUESTS_MAX.into())
    }

    /// Starts the next session of the same producer.
    pub(super) fn restart(&mut self, seed: u64, now: Instant) {
        self.schedule = Schedule::new(seed, now);
    }

    /// Parameters of one scheduling pass, for all numbers of the session. `recovers`: the stream
    /// has repair packets as well.
    pub(super) fn terms(&self, hold: &HoldEstimate, recovers: bool, rate: f64, now: Instant) -> RequestTerms {
        let (whole, retry) = (hold.get(), self.round_trip.retry());
        let round_trip = self.round_trip.get();
        let repair =
            if recovers { hold.blocks().min(whole.saturating_sub(retry * 2)) } else { Duration::ZERO };
        let wait = hold.reordering().max(REQUEST_WAIT_MIN).max(repair);
        let latest = whole.saturating_sub(round_trip.unwrap_or_default() * 3 / 2);
        RequestTerms {
            now,
            hold: whole,
            wait: wait.min(latest),
            spread: self.spread(whole),
            round_trip,
            retry,
            rate,
        }
    }

    fn spread(&self, hold: Duration) -> Duration {
        if !self.shared {
            return Duration::ZERO;
        }
        let trips = self.round_trip.get().unwrap_or_default() * REQUEST_SPREAD_TRIPS;
        trips.max(REQUEST_SPREAD_MIN).min(hold / REQUEST_SPREAD_SHARE)
    }

    /// How long a gap must stay open so that requests can close it.
    pub(super) fn need(&self, hold: &HoldEstimate) -> Duration {
        let wait = hold.reordering().max(REQUEST_WAIT_MIN);
        wait + self.spread(Duration::MAX) + self.round_trip.retry() * self.rounds()
    }

    /// Whether requests can be sent on this leg.
    pub(super) fn asks_on(&self, leg: u8) -> bool {
        self.legs.contains(&leg)
    }

    /// Leg for the next request of a number, after `before` requests: the legs take turns.
    pub(super) fn leg(&self, before: u8) -> u8 {
        self.legs[usize::from(before) % self.legs.len()]
    }

    /// Legs on which requests can be sent.
    pub(super) fn legs(&self) -> &[u8] {
        &self.legs
    }
}

/// Groups ascending numbers into ranges.
pub(super) fn ranges(numbers: &[u64]) -> Vec<Range<u64>> {
    let mut ranges: Vec<Range<u64>> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some(last) if last.end == *number => last.end += 1,
            _ => ranges.push(*number..number + 1),
        }
    }
    ranges
}

/// Native NACKs that request these ascending numbers of a session, each with the count of its
/// numbers; `emit` writes them.
pub(super) fn native_nacks(
    stream: u32,
    session: u32,
    numbers: &[u64],
    emit: impl Fn(&native::Repr<'_>, &mut Vec<u8>),
) -> Vec<(u64, Vec<u8>)> {
    let count = |range: &Range<u64>| (range.end - range.start) as u16; // at most as many as are tracked
    let ranges: Vec<(u64, u16)> = ranges(numbers).iter().map(|range| (range.start, count(range))).collect();
    let nack = |ranges: &[(u64, u16)]| {
        let mut payload = Vec::new();
        native::NackRepr { ranges }.emit(&mut payload);
        let (kind, flags, sequence, timestamp) = (native::Kind::Nack, 0, 0, 0);
        let repr = native::Repr { kind, flags, stream, session, sequence, timestamp, payload: &payload };
        let mut bytes = Vec::with_capacity(repr.len());
        emit(&repr, &mut bytes);
        (ranges.iter().map(|(_, count)| u64::from(*count)).sum(), bytes)
    };
    ranges.chunks(NACK_RANGES_MAX).map(nack).collect()
}

/// One RTCP NACK: the count of its numbers, the numbers, and the smaller of the two forms.
pub(super) type RtcpNack = (u64, Vec<rtcp::Numbers>, Form);

/// RTCP NACKs that request these ascending numbers, each in the form that is smaller for them: an
/// entry of RFC 4585 covers a number and any of the next 16, a range covers consecutive numbers.
pub(super) fn nacks(numbers: &[u64]) -> Vec<RtcpNack> {
    let wire = |range: &Range<u64>| rtcp::Numbers {
        first: range.start as u16, // the wire has the low 16 bits
        more: (range.end - range.start - 1) as u16,
    };
    let ranges = ranges(numbers);
    let entries = entries(numbers);
    let (form, most) = match ranges.len() < entries {
        true => (Form::Range, RANGES_MAX),
        false => (Form::Generic, ENTRIES_MAX),
    };
    // Each range begins at most one entry more than the previous one ends with.
    let chunks = ranges.chunks(most.min(NACK_RANGES_MAX));
    chunks
        .map(|ranges| {
            let count = ranges.iter().map(|range| range.end - range.start).sum();
            (count, ranges.iter().map(wire).collect(), form)
        })
        .collect()
}

/// Number of entries of RFC 4585 that ascending numbers need.
fn entries(numbers: &[u64]) -> usize {
    let mut entries = 0;
    let mut covered = None;
    for number in numbers {
        if covered.is_none_or(|end| *number >= end) {
            (entries, covered) = (entries + 1, Some(number + 17));
        }
    }
    entries
}

#[cfg(test)]
mod tests;
