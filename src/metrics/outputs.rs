//! Metrics of a channel's outputs and subscribers.

use super::{Metric, MetricKind, bytes, counter, gauge, key};
use crate::{
    channel::state::OutputState,
    registry::audience::{ByTransportState, SubscribersState, Transport},
};
use metrics::Key;

const OUTPUT_PACKETS: Metric = counter(
    "tidecast_output_packets_total",
    "Packets sent, by output: a UDP address, or a transport such as http (each client counts).",
);
const OUTPUT_BYTES: Metric = bytes(counter("tidecast_output_bytes_total", "Bytes of the packets sent."));
const OUTPUT_DROPPED: Metric = counter(
    "tidecast_output_dropped_packets_total",
    "Packets that an output could not send (unreachable, full, too_big, not_rtp) or a client did not take (lag, closed).",
);
const OUTPUT_REQUESTS: Metric = counter(
    "tidecast_output_requests_total",
    "Packets that receivers asked an output for again, by result: resent, gone (too old or never sent), recent (sent again only just now), refused (beyond the output's share).",
);
const OUTPUT_INVALID: Metric = counter(
    "tidecast_output_invalid_datagrams_total",
    "Datagrams from an output's receivers that were of no use, by reason: malformed, foreign (not from the target).",
);
const CUT_OFF: Metric = counter(
    "tidecast_subscribers_cut_off_total",
    "Clients whose connection was closed, by transport and reason: lag (behind for too long), idle (a silent stream), operator (disconnected on request).",
);
const SUBSCRIBERS: Metric = gauge("tidecast_subscribers", "Clients at present, by transport.");

/// All metrics of this file.
pub(super) const ALL: &[&Metric] = &[
    &OUTPUT_PACKETS,
    &OUTPUT_BYTES,
    &OUTPUT_DROPPED,
    &OUTPUT_REQUESTS,
    &OUTPUT_INVALID,
    &CUT_OFF,
    &SUBSCRIBERS,
];

/// Counters of an output.
pub(super) fn counters(channel: &str, output: &OutputState) -> Vec<(Key, u64)> {
    let of =
        |metric: &Metric, value| (key(metric, &[("channel", channel), ("output", &output.address)]), value);
    let mut all = vec![of(&OUTPUT_PACKETS, output.packets), of(&OUTPUT_BYTES, output.bytes)];
    all.extend(
        output.dropped.iter().map(|(reason, count)| dropped(channel, &output.address, reason, *count)),
    );
    let by = |metric: &Metric, label, name: &str, value| {
        (key(metric, &[("channel", channel), ("output", &output.address), (label, name)]), value)
    };
    all.extend(output.requests.iter().map(|(result, count)| by(&OUTPUT_REQUESTS, "result", result, *count)));
    all.extend(output.invalid.iter().map(|(reason, count)| by(&OUTPUT_INVALID, "reason", reason, *count)));
    all
}

/// Counters of the subscribers, by transport.
pub(super) fn subscribers(channel: &str, subscribers: &ByTransportState) -> Vec<(Key, u64)> {
    used(subscribers)
        .flat_map(|(transport, state)| subscriber_counters(channel, transport.as_str(), state))
        .collect()
}

/// Number of subscribers, by transport.
pub(super) fn levels(channel: &str, subscribers: &ByTransportState) -> Vec<(Key, MetricKind, f64)> {
    let level = |(transport, state): (Transport, &SubscribersState)| {
        let labels = [("channel", channel), ("transport", transport.as_str())];
        (key(&SUBSCRIBERS, &labels), MetricKind::Gauge, state.clients as f64)
    };
    used(subscribers).map(level).collect()
}

/// Transports with series: always HTTP, and the others once they were used.
fn used(subscribers: &ByTransportState) -> impl Iterator<Item = (Transport, &SubscribersState)> {
    let wanted = |(transport, state): &(Transport, &SubscribersState)| {
        *transport == Transport::Http || state.joined > 0
    };
    subscribers.iter().filter(wanted)
}

fn subscriber_counters(channel: &str, transport: &str, state: &SubscribersState) -> [(Key, u64); 7] {
    let of = |metric: &Metric, value| (key(metric, &[("channel", channel), ("output", transport)]), value);
    let cut_off = |reason, value| {
        (key(&CUT_OFF, &[("channel", channel), ("transport", transport), ("reason", reason)]), value)
    };
    [
        of(&OUTPUT_PACKETS, state.packets),
        of(&OUTPUT_BYTES, state.bytes),
        dropped(channel, transport, "lag", state.dropped.lag),
        dropped(channel, transport, "closed", state.dropped.closed),
        cut_off("lag", state.cut_off.lag),
        cut_off("idle", state.cut_off.idle),
        cut_off("operator", state.cut_off.operator),
    ]
}

fn dropped(channel: &str, output: &str, reason: &str, count: u64) -> (Key, u64) {
    (key(&OUTPUT_DROPPED, &[("channel", channel), ("output", output), ("reason", reason)]), count)
}
