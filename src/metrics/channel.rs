//! Metrics of a channel's core.

use super::{Metric, MetricKind, counter, gauge, key, relay::REFUSED, seconds};
use crate::channel::state::ChannelState;
use metrics::Key;

const DELIVERED: Metric = counter("tidecast_packets_delivered_total", "Packets passed on to the outputs.");
const EXPECTED: Metric = counter(
    "tidecast_numbers_expected_total",
    "Sequence numbers that producers used, as far as they have passed: delivered or lost.",
);
const LOST: Metric = counter("tidecast_packets_lost_total", "Sequence numbers given up.");
const RECOVERED: Metric =
    counter("tidecast_packets_recovered_total", "Packets brought back, by what: fec, retransmission.");
const REQUESTS: Metric =
    counter("tidecast_requests_sent_total", "Datagrams sent to producers that ask for missing packets.");
const NUMBERS_REQUESTED: Metric = counter(
    "tidecast_numbers_requested_total",
    "Sequence numbers that requests asked for; one that was asked for again counts again.",
);
const RETRANSMISSIONS: Metric = counter(
    "tidecast_retransmissions_received_total",
    "Packets that producers sent again, whether or not they were still of use.",
);
const REORDERED: Metric =
    counter("tidecast_packets_reordered_total", "Packets that arrived after a later one, and in time.");
const DISCARDED: Metric = counter(
    "tidecast_packets_discarded_total",
    "Packets not passed on, by reason: duplicate, late, corrupt, foreign, rejected.",
);
const INVALID: Metric = counter(
    "tidecast_invalid_datagrams_total",
    "Datagrams of no use by what was wrong with them: corrupt and foreign ones, unusable repair packets, too long ones.",
);
const SESSIONS: Metric = counter("tidecast_sessions_total", "Sessions begun: runs of a producer.");
const DISCONTINUITIES: Metric = counter(
    "tidecast_ts_discontinuities_total",
    "Continuity errors in MPEG transport streams that come without RTP.",
);
const HELD: Metric =
    gauge("tidecast_packets_held", "Packets that wait behind a gap, for confirmation, or for their time.");
const FLOWS: Metric = gauge("tidecast_flows", "Flows known: a producer's numbered packets each.");
const JITTER: Metric = seconds(
    "tidecast_interarrival_jitter_seconds",
    MetricKind::GaugeMax,
    "Interarrival jitter (RFC 3550) of the flow that has most.",
);
const HOLD: Metric = seconds(
    "tidecast_hold_seconds",
    MetricKind::GaugeMax,
    "The longest time that a gap may delay later packets, at present.",
);
const HOLD_MAX: Metric = seconds(
    "tidecast_hold_max_seconds",
    MetricKind::GaugeMax,
    "How far an automatic hold may rise (hold_max); absent where the hold is fixed.",
);
const RELEASE_DELAY: Metric = seconds(
    "tidecast_release_delay_seconds",
    MetricKind::GaugeMax,
    "Paced release: how much later than by the fastest path packets go out, at present.",
);
const CLOCK_DRIFT: Metric = gauge(
    "tidecast_clock_drift_ppm",
    "Paced release: how much faster than ours the source's clock runs, in parts per million.",
);
const UNPACED: Metric = counter(
    "tidecast_packets_unpaced_total",
    "Packets that paced release did not pass on in their time, by reason: late, early.",
);
pub(super) const GAP_WAIT: Metric = seconds(
    "tidecast_gap_wait_seconds",
    MetricKind::Histogram,
    "How long packets waited behind a gap until it was filled or given up.",
);

/// All metrics of this file.
pub(super) const ALL: &[&Metric] = &[
    &DELIVERED,
    &EXPECTED,
    &LOST,
    &RECOVERED,
    &REQUESTS,
    &NUMBERS_REQUESTED,
    &RETRANSMISSIONS,
    &REORDERED,
    &DISCARDED,
    &INVALID,
    &SESSIONS,
    &DISCONTINUITIES,
    &HELD,
    &FLOWS,
    &JITTER,
    &HOLD,
    &HOLD_MAX,
    &RELEASE_DELAY,
    &CLOCK_DRIFT,
    &UNPACED,
    &GAP_WAIT,
];

/// Counters of a channel.
pub(super) fn counters(channel: &str, state: &ChannelState) -> Vec<(Key, u64)> {
    let of = |metric: &Metric, value| (key(metric, &[("channel", channel)]), value);
    let by = |metric: &Metric, label, name: &str, value| {
        (key(metric, &[("channel", channel), (label, name)]), value)
    };
    // For all channels together, like other resources.
    let refused = |reason, count| (key(&REFUSED, &[("resource", "flows"), ("reason", reason)]), count);
    let c = &state.counters;
    let mut all = vec![
        of(&DELIVERED, c.delivered),
        of(&EXPECTED, c.expected),
        of(&LOST, c.lost),
        of(&REQUESTS, c.requests_sent),
        of(&NUMBERS_REQUESTED, c.numbers_requested),
        of(&RETRANSMISSIONS, c.retransmissions_received),
        of(&REORDERED, c.reordered),
        of(&SESSIONS, c.sessions),
        of(&DISCONTINUITIES, c.ts_discontinuities),
        by(&RECOVERED, "by", "fec", c.recovered_fec),
        by(&RECOVERED, "by", "retransmission", c.recovered_retransmission),
        by(&DISCARDED, "reason", "duplicate", c.duplicate),
        by(&DISCARDED, "reason", "late", c.late),
        by(&DISCARDED, "reason", "corrupt", c.corrupt),
        by(&DISCARDED, "reason", "foreign", c.foreign),
        by(&DISCARDED, "reason", "rejected", c.rejected),
        by(&UNPACED, "reason", "late", c.released_late),
        by(&UNPACED, "reason", "early", c.released_early),
        refused("full", state.flows_refused.full),
        refused("share", state.flows_refused.share),
    ];
    all.extend(state.rejects.iter().map(|(reason, count)| by(&INVALID, "reason", reason, *count)));
    all
}

/// Gauges of a channel.
pub(super) fn levels(channel: &str, state: &ChannelState) -> Vec<(Key, MetricKind, f64)> {
    let of = |metric: &Metric, value| (key(metric, &[("channel", channel)]), MetricKind::Gauge, value);
    let max = |metric: &Metric, value| (key(metric, &[("channel", channel)]), MetricKind::GaugeMax, value);
    let mut all = vec![
        of(&FLOWS, state.flow_count as f64),
        of(&HELD, state.held as f64),
        max(&HOLD, state.hold_seconds),
        max(&JITTER, state.jitter_seconds),
    ];
    all.extend(state.hold_max_seconds.map(|bound| max(&HOLD_MAX, bound)));
    all.extend(state.release_delay_seconds.map(|delay| max(&RELEASE_DELAY, delay)));
    all.extend(state.clock_drift_ppm.map(|drift| of(&CLOCK_DRIFT, drift)));
    all
}
