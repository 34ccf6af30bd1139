//! Metrics of a channel's legs.

use super::{Metric, MetricKind, ON_DEMAND, bytes, counter, gauge, key, seconds};
use crate::channel::state::{LegState, LegStatus};
use metrics::Key;

const RECEIVED: Metric = counter(
    "tidecast_packets_received_total",
    "Datagrams received, by kind: media, repair (FEC and retransmissions), control. Corrupt and foreign ones are media.",
);
const RECEIVED_BYTES: Metric =
    bytes(counter("tidecast_bytes_received_total", "UDP payload bytes of all datagrams received."));
const UNSENT: Metric = counter(
    "tidecast_requests_unsent_total",
    "Requests and RTCP reports that a leg's socket could not send.",
);
const LEG_FIRST: Metric = counter(
    "tidecast_leg_first_packets_total",
    "Numbers that a leg brought before any other one. Of channels with several legs.",
);
const LEG_MISSED: Metric = counter(
    "tidecast_leg_missed_packets_total",
    "Numbers that another leg brought and this one did not. Of channels with several legs.",
);
const LEG_DIFFERING: Metric = counter(
    "tidecast_leg_differing_packets_total",
    "Packets whose number another leg had brought with other content. Of channels with several legs.",
);
const KERNEL_DROPS: Metric = counter(
    "tidecast_kernel_drops_total",
    "Datagrams that the kernel dropped because the receive buffer was full.",
);
const LEG_SKEW: Metric = seconds(
    "tidecast_leg_skew_seconds",
    MetricKind::Gauge,
    "How much later than the first leg this one brings the same number; NaN while it brings nothing.",
);
const ROUND_TRIP: Metric = seconds(
    "tidecast_round_trip_seconds",
    MetricKind::GaugeMax,
    "The round trip to a leg's producer, smoothed, as echoes or answered requests have measured it.",
);
const LEG_WAITING: Metric = gauge(
    "tidecast_leg_waiting",
    "1 while the leg is not joined, for instance because its interface is missing.",
);
const LEG_DOWN: Metric =
    gauge("tidecast_leg_down", "1 while the leg is joined and its interface is down or has no carrier.");
const RECEIVE_BUFFER: Metric = bytes(gauge(
    "tidecast_receive_buffer_bytes",
    "Receive buffer of a leg's socket, by kind: requested, granted by the kernel.",
));

/// All metrics of this file.
pub(super) const ALL: &[&Metric] = &[
    &RECEIVED,
    &RECEIVED_BYTES,
    &UNSENT,
    &LEG_FIRST,
    &LEG_MISSED,
    &LEG_DIFFERING,
    &KERNEL_DROPS,
    &LEG_SKEW,
    &ROUND_TRIP,
    &LEG_WAITING,
    &LEG_DOWN,
    &RECEIVE_BUFFER,
];

/// The `leg` label: the leg's address, unless its channel shares its series with others.
fn leg_label<'a>(channel: &str, leg: &'a LegState) -> &'a str {
    if channel == ON_DEMAND { ON_DEMAND } else { &leg.address }
}

/// Counters of a leg, which is one of `legs`.
pub(super) fn counters(channel: &str, leg: &LegState, legs: usize) -> Vec<(Key, u64)> {
    let label = leg_label(channel, leg);
    let of = |metric: &Metric, value| (key(metric, &[("channel", channel), ("leg", label)]), value);
    let received =
        |kind, value| (key(&RECEIVED, &[("channel", channel), ("leg", label), ("kind", kind)]), value);
    let mut all = vec![
        received("media", leg.counters.media),
        received("repair", leg.counters.repair),
        received("control", leg.counters.control),
        of(&RECEIVED_BYTES, leg.counters.bytes),
        of(&KERNEL_DROPS, leg.kernel_drops),
        of(&UNSENT, leg.unsent),
    ];
    if legs > 1 {
        all.push(of(&LEG_FIRST, leg.counters.first));
        all.push(of(&LEG_MISSED, leg.counters.missed));
        all.push(of(&LEG_DIFFERING, leg.counters.differing));
    }
    all
}

/// Gauges of a leg, which is one of `legs`.
pub(super) fn levels(channel: &str, leg: &LegState, legs: usize) -> Vec<(Key, MetricKind, f64)> {
    let label = leg_label(channel, leg);
    let of = |metric: &Metric, value| {
        (key(metric, &[("channel", channel), ("leg", label)]), MetricKind::Gauge, value)
    };
    let buffer = |kind, bytes: usize| {
        let labels = [("channel", channel), ("leg", label), ("kind", kind)];
        (key(&RECEIVE_BUFFER, &labels), MetricKind::Gauge, bytes as f64)
    };
    let mut all = vec![
        of(&LEG_WAITING, f64::from(u8::from(leg.state != LegStatus::Joined))),
        of(&LEG_DOWN, f64::from(leg.fault.is_some())),
        buffer("requested", leg.receive_buffer_requested),
        buffer("granted", leg.receive_buffer_granted),
    ];
    if legs > 1 {
        all.push(of(&LEG_SKEW, leg.skew_seconds.unwrap_or(f64::NAN)));
    }
    if let Some(trip) = leg.round_trip_seconds {
        all.push((key(&ROUND_TRIP, &[("channel", channel), ("leg", label)]), MetricKind::GaugeMax, trip));
    }
    all
}
