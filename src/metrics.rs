//! What Prometheus sees: the only place that names a metric. `docs/metrics.md` is the reference for users.
//!
//! The packet path counts in plain numbers ([`ChannelState`]); at each scrape they are asked for and set here. Only
//! the histogram is recorded on the packet path, through a handle. The recorder belongs to its owner and is not
//! installed for the process, so that several relays can live in one.

mod exporter;

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use metrics::{Counter, Histogram, Key, Label, Level, Metadata, Recorder, Unit};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use crate::{
    channel::state::{ChannelState, LegState, OutputState},
    limits::ON_DEMAND_SERIES_MAX,
    log,
    registry::{
        Telemetry,
        audience::{ByTransportState, SubscribersState, Transport},
    },
    shares::Shares,
};
use tidecast_net::clock;

pub use exporter::Exporter;

/// The content type of [`Metrics::render`]'s text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The label of channels on demand beyond [`ON_DEMAND_SERIES_MAX`].
const ON_DEMAND: &str = "on-demand";

/// Upper bounds of the gap wait's buckets, in seconds: from one packet at a high rate to beyond any usual hold.
const GAP_WAIT_BUCKETS: [f64; 11] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0];

/// One metric: its name as Prometheus sees it, and what it means.
struct Metric {
    name: &'static str,
    kind: Kind,
    unit: Unit,
    help: &'static str,
}

/// How the values of several channels under one label become one.
enum Kind {
    /// They add up.
    Counter,
    /// They add up.
    Gauge,
    /// The largest counts.
    GaugeMax,
    Histogram,
}

const fn counter(name: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, unit: Unit::Count, help }
}

const fn gauge(name: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, unit: Unit::Count, help }
}

const fn seconds(name: &'static str, kind: Kind, help: &'static str) -> Metric {
    Metric { name, kind, unit: Unit::Seconds, help }
}

const fn bytes(metric: Metric) -> Metric {
    Metric { unit: Unit::Bytes, ..metric }
}

const RECEIVED: Metric = counter(
    "tidecast_packets_received_total",
    "Datagrams received, by kind: media, repair (FEC and retransmissions), control. Corrupt and foreign ones are media.",
);
const RECEIVED_BYTES: Metric =
    bytes(counter("tidecast_bytes_received_total", "UDP payload bytes of all datagrams received."));
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
const UNSENT: Metric = counter(
    "tidecast_requests_unsent_total",
    "Requests and RTCP reports that a leg's socket could not send.",
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
const SESSIONS: Metric = counter("tidecast_sessions_total", "Sessions begun: runs of a producer.");
const DISCONTINUITIES: Metric = counter(
    "tidecast_ts_discontinuities_total",
    "Continuity errors in MPEG transport streams that come without RTP.",
);
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
    "Clients whose connection was closed, by transport and reason: lag (behind for too long), idle (a silent stream).",
);
const UDP_REQUESTS: Metric = counter(
    "tidecast_udp_requests_total",
    "Datagrams to the port for UDP subscribers by what became of them, such as granted, renewed, refused_token, throttled.",
);
const REFUSED: Metric = counter(
    "tidecast_refused_total",
    "Clients that got no place, by resource (connections, admin, streams, groups, pages, tcp, udp, flows) and reason: full, share (of one address).",
);
const HELD: Metric =
    gauge("tidecast_packets_held", "Packets that wait behind a gap, for confirmation, or for their time.");
const FLOWS: Metric = gauge("tidecast_flows", "Flows known: a producer's numbered packets each.");
const SUBSCRIBERS: Metric = gauge("tidecast_subscribers", "Clients at present, by transport.");
const JITTER: Metric = seconds(
    "tidecast_interarrival_jitter_seconds",
    Kind::GaugeMax,
    "Interarrival jitter (RFC 3550) of the flow that has most.",
);
const LEG_SKEW: Metric = seconds(
    "tidecast_leg_skew_seconds",
    Kind::Gauge,
    "How much later than the first leg this one brings the same number; NaN while it brings nothing.",
);
const ROUND_TRIP: Metric = seconds(
    "tidecast_round_trip_seconds",
    Kind::GaugeMax,
    "The round trip to a leg's producer, smoothed, as echoes or answered requests have measured it.",
);
const HOLD: Metric = seconds(
    "tidecast_hold_seconds",
    Kind::GaugeMax,
    "The longest time that a gap may delay later packets, at present.",
);
const HOLD_MAX: Metric = seconds(
    "tidecast_hold_max_seconds",
    Kind::GaugeMax,
    "How far an automatic hold may rise (hold_max); absent where the hold is fixed.",
);
const LEG_WAITING: Metric = gauge(
    "tidecast_leg_waiting",
    "1 while the leg is not joined, for instance because its interface is missing.",
);
const LEG_DOWN: Metric =
    gauge("tidecast_leg_down", "1 while the leg is joined and its interface is down or has no carrier.");
const RELEASE_DELAY: Metric = seconds(
    "tidecast_release_delay_seconds",
    Kind::GaugeMax,
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
const RECEIVE_BUFFER: Metric = bytes(gauge(
    "tidecast_receive_buffer_bytes",
    "Receive buffer of a leg's socket, by kind: requested, granted by the kernel.",
));
const BUILD_INFO: Metric = gauge("tidecast_build_info", "Always 1; the version is a label.");
const LOG_DROPPED: Metric = counter(
    "tidecast_log_lines_dropped_total",
    "Log lines that were dropped because whoever reads standard error was too slow.",
);
const START_TIME: Metric = seconds(
    "tidecast_start_time_seconds",
    Kind::GaugeMax,
    "When the relay was started, in seconds since the Unix epoch.",
);
const GAP_WAIT: Metric = seconds(
    "tidecast_gap_wait_seconds",
    Kind::Histogram,
    "How long packets waited behind a gap until it was filled or given up.",
);

const ALL: &[&Metric] = &[
    &RECEIVED,
    &RECEIVED_BYTES,
    &DELIVERED,
    &EXPECTED,
    &LOST,
    &RECOVERED,
    &REQUESTS,
    &NUMBERS_REQUESTED,
    &RETRANSMISSIONS,
    &UNSENT,
    &REORDERED,
    &DISCARDED,
    &INVALID,
    &LEG_FIRST,
    &LEG_MISSED,
    &LEG_DIFFERING,
    &KERNEL_DROPS,
    &SESSIONS,
    &DISCONTINUITIES,
    &OUTPUT_PACKETS,
    &OUTPUT_BYTES,
    &OUTPUT_DROPPED,
    &OUTPUT_REQUESTS,
    &OUTPUT_INVALID,
    &CUT_OFF,
    &UDP_REQUESTS,
    &REFUSED,
    &HELD,
    &FLOWS,
    &SUBSCRIBERS,
    &JITTER,
    &HOLD,
    &HOLD_MAX,
    &LEG_WAITING,
    &LEG_DOWN,
    &RELEASE_DELAY,
    &CLOCK_DRIFT,
    &UNPACED,
    &LEG_SKEW,
    &ROUND_TRIP,
    &RECEIVE_BUFFER,
    &BUILD_INFO,
    &START_TIME,
    &LOG_DROPPED,
    &GAP_WAIT,
];

const METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

/// All metrics of one relay.
#[derive(Debug)]
pub struct Metrics {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    on_demand: Mutex<OnDemand>,
    /// Since the Unix epoch.
    started: Duration,
}

/// What must outlive the channels on demand, so that no counter ever goes backwards.
#[derive(Debug, Default)]
struct OnDemand {
    /// Names that have series of their own.
    names: HashSet<String>,
    /// Counters of channels that are gone.
    retired: HashMap<Key, u64>,
    /// Gauges of channels that are gone: they are 0 until the channel comes back.
    idle: HashSet<Key>,
}

/// A channel's part of a scrape.
#[derive(Debug, Clone, Copy)]
pub struct Sample<'a> {
    /// The packet path's state of it.
    pub state: &'a ChannelState,
    /// Its subscribers.
    pub subscribers: &'a ByTransportState,
}

/// Counters of the datagrams from UDP subscribers, resolved once.
pub struct UdpRequests(Vec<(&'static str, Counter)>);

impl UdpRequests {
    /// One more has come to this end.
    pub fn count(&self, result: &str) {
        if let Some((_, counter)) = self.0.iter().find(|(known, _)| *known == result) {
            counter.increment(1);
        }
    }
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

impl Metrics {
    /// A recorder with every metric described and nothing counted.
    pub fn new() -> Metrics {
        let gap_wait = Matcher::Full(GAP_WAIT.name.to_owned());
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(gap_wait, &GAP_WAIT_BUCKETS)
            .expect("there are buckets")
            .build_recorder();
        for metric in ALL {
            let (name, unit, help) = (metric.name.into(), Some(metric.unit), metric.help.into());
            match metric.kind {
                Kind::Counter => recorder.describe_counter(name, unit, help),
                Kind::Gauge | Kind::GaugeMax => recorder.describe_gauge(name, unit, help),
                Kind::Histogram => recorder.describe_histogram(name, unit, help),
            }
        }
        let handle = recorder.handle();
        Metrics { recorder, handle, on_demand: Mutex::default(), started: clock::unix() }
    }

    /// Where the packet path records how long packets of this channel waited behind a gap, in seconds.
    pub fn gap_wait(&self, channel: &str, on_demand: bool) -> Histogram {
        let label = self.label(channel, on_demand);
        self.recorder.register_histogram(&key(&GAP_WAIT, &[("channel", label)]), &METADATA)
    }

    /// Where requests of UDP subscribers are counted, by what may become of them. These results have series from then on.
    pub fn udp_requests(&self, results: impl IntoIterator<Item = &'static str>) -> UdpRequests {
        let counter = |result| {
            let key = key(&UDP_REQUESTS, &[("result", result)]);
            (result, self.recorder.register_counter(&key, &METADATA))
        };
        UdpRequests(results.into_iter().map(counter).collect())
    }

    /// Keeps the counters of a channel on demand that has ended.
    pub fn retire(&self, last: Sample<'_>) {
        let label = self.label(&last.state.name, true);
        let mut on_demand = self.on_demand();
        for (key, value) in counters(label, last) {
            *on_demand.retired.entry(key).or_default() += value;
        }
        on_demand.idle.extend(levels(label, last).into_iter().map(|(key, ..)| key));
    }

    /// Sets everything to what the samples say, and gives the text that Prometheus reads.
    ///
    /// The samples must be those of all channels that were not retired yet, and of no other.
    pub fn render(&self, samples: &[Sample<'_>], shares: &Shares) -> String {
        let (mut counts, mut gauges) = self.of_those_gone();
        gauges.insert(key(&BUILD_INFO, &[("version", env!("CARGO_PKG_VERSION"))]), 1.0);
        gauges.insert(key(&START_TIME, &[]), self.started.as_secs_f64());
        counts.insert(key(&LOG_DROPPED, &[]), log::dropped());
        for sample in samples {
            let label = self.label(&sample.state.name, sample.state.on_demand);
            for (key, value) in counters(label, *sample) {
                *counts.entry(key).or_default() += value;
            }
            for (key, kind, value) in levels(label, *sample) {
                let level = gauges.entry(key).or_default();
                *level = if matches!(kind, Kind::GaugeMax) { level.max(value) } else { *level + value };
            }
        }
        for (resource, reason, count) in shares.refused() {
            counts.insert(key(&REFUSED, &[("resource", resource), ("reason", reason)]), count);
        }
        for (key, value) in counts {
            self.recorder.register_counter(&key, &METADATA).absolute(value);
        }
        for (key, value) in gauges {
            self.recorder.register_gauge(&key, &METADATA).set(value);
        }
        ordered(&self.handle.render())
    }

    /// Folds the histograms' samples into their buckets, which a scrape does too: without either they pile up.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }

    /// The `channel` label. A channel on demand keeps what it was given first.
    fn label<'a>(&self, channel: &'a str, on_demand: bool) -> &'a str {
        if !on_demand {
            return channel;
        }
        let names = &mut self.on_demand().names;
        if names.contains(channel) {
            return channel;
        }
        if names.len() >= ON_DEMAND_SERIES_MAX {
            return ON_DEMAND;
        }
        names.insert(channel.to_owned());
        channel
    }

    fn of_those_gone(&self) -> (HashMap<Key, u64>, HashMap<Key, f64>) {
        let on_demand = self.on_demand();
        (on_demand.retired.clone(), on_demand.idle.iter().map(|key| (key.clone(), 0.0)).collect())
    }

    fn on_demand(&self) -> MutexGuard<'_, OnDemand> {
        // Plain numbers: no panic can leave them half changed.
        self.on_demand.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Telemetry for Metrics {
    fn gap_wait(&self, channel: &str, on_demand: bool) -> Histogram {
        Metrics::gap_wait(self, channel, on_demand)
    }

    fn ended(&self, last: &ChannelState, subscribers: &ByTransportState) {
        self.retire(Sample { state: last, subscribers });
    }
}

/// The families in the order of their names, and the series of each, so that two scrapes can be compared line by line. The
/// buckets of a histogram stay as they are.
fn ordered(text: &str) -> String {
    let mut families: Vec<(&str, Vec<&str>, Vec<&str>)> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words[..] {
            ["#", _, name, ..] if families.last().is_none_or(|(known, ..)| *known != name) => {
                families.push((name, vec![line], Vec::new()));
            }
            ["#", ..] => families.iter_mut().next_back().into_iter().for_each(|(_, head, _)| head.push(line)),
            _ => families.iter_mut().next_back().into_iter().for_each(|(.., series)| series.push(line)),
        }
    }
    families.sort_by_key(|(name, ..)| *name);
    let mut out = String::with_capacity(text.len());
    for (_, head, mut series) in families {
        if !head.iter().any(|line| line.ends_with(" histogram")) {
            series.sort_unstable();
        }
        for line in head.into_iter().chain(series) {
            out.push_str(line);
            out.push('\n');
        }
        out.push('\n');
    }
    out
}

fn key(metric: &Metric, labels: &[(&'static str, &str)]) -> Key {
    let labels: Vec<Label> =
        labels.iter().map(|(name, value)| Label::new(*name, (*value).to_owned())).collect();
    Key::from_parts(metric.name, labels)
}

/// The `leg` label: the leg's address, unless its channel shares its series with others.
fn leg_label<'a>(channel: &str, leg: &'a LegState) -> &'a str {
    if channel == ON_DEMAND { ON_DEMAND } else { &leg.address }
}

fn counters(channel: &str, sample: Sample<'_>) -> Vec<(Key, u64)> {
    let mut all = core_counters(channel, sample.state);
    for leg in &sample.state.legs {
        all.extend(leg_counters(channel, leg));
        if sample.state.legs.len() > 1 {
            let labels = [("channel", channel), ("leg", leg_label(channel, leg))];
            all.push((key(&LEG_FIRST, &labels), leg.counters.first));
            all.push((key(&LEG_MISSED, &labels), leg.counters.missed));
            all.push((key(&LEG_DIFFERING, &labels), leg.counters.differing));
        }
    }
    for output in &sample.state.outputs {
        all.extend(output_counters(channel, output));
    }
    for (transport, state) in used(sample.subscribers) {
        all.extend(subscriber_counters(channel, transport.as_str(), state));
    }
    all
}

fn core_counters(channel: &str, state: &ChannelState) -> Vec<(Key, u64)> {
    let of = |metric: &Metric, value| (key(metric, &[("channel", channel)]), value);
    let by = |metric: &Metric, label, name: &str, value| {
        (key(metric, &[("channel", channel), (label, name)]), value)
    };
    // Of all channels together, as the other resources.
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

fn leg_counters(channel: &str, leg: &LegState) -> [(Key, u64); 6] {
    let label = leg_label(channel, leg);
    let of = |metric: &Metric, value| (key(metric, &[("channel", channel), ("leg", label)]), value);
    let received =
        |kind, value| (key(&RECEIVED, &[("channel", channel), ("leg", label), ("kind", kind)]), value);
    [
        received("media", leg.counters.media),
        received("repair", leg.counters.repair),
        received("control", leg.counters.control),
        of(&RECEIVED_BYTES, leg.counters.bytes),
        of(&KERNEL_DROPS, leg.kernel_drops),
        of(&UNSENT, leg.unsent),
    ]
}

fn output_counters(channel: &str, output: &OutputState) -> Vec<(Key, u64)> {
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

/// The transports that have series: HTTP always, the others once somebody has come by them.
fn used(subscribers: &ByTransportState) -> impl Iterator<Item = (Transport, &SubscribersState)> {
    let wanted = |(transport, state): &(Transport, &SubscribersState)| {
        *transport == Transport::Http || state.joined > 0
    };
    subscribers.iter().filter(wanted)
}

fn subscriber_counters(channel: &str, transport: &str, state: &SubscribersState) -> [(Key, u64); 6] {
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
    ]
}

fn dropped(channel: &str, output: &str, reason: &str, count: u64) -> (Key, u64) {
    (key(&OUTPUT_DROPPED, &[("channel", channel), ("output", output), ("reason", reason)]), count)
}

fn levels(channel: &str, sample: Sample<'_>) -> Vec<(Key, Kind, f64)> {
    let Sample { state, subscribers } = sample;
    let of = |metric: &Metric, value| (key(metric, &[("channel", channel)]), Kind::Gauge, value);
    let max = |metric: &Metric, value| (key(metric, &[("channel", channel)]), Kind::GaugeMax, value);
    let mut all = vec![
        of(&FLOWS, state.flow_count as f64),
        of(&HELD, state.held as f64),
        max(&HOLD, state.hold_seconds),
        max(&JITTER, state.jitter_seconds),
    ];
    all.extend(state.hold_max_seconds.map(|bound| max(&HOLD_MAX, bound)));
    for (transport, state) in used(subscribers) {
        let labels = [("channel", channel), ("transport", transport.as_str())];
        all.push((key(&SUBSCRIBERS, &labels), Kind::Gauge, state.clients as f64));
    }
    all.extend(state.release_delay_seconds.map(|delay| max(&RELEASE_DELAY, delay)));
    all.extend(state.clock_drift_ppm.map(|drift| of(&CLOCK_DRIFT, drift)));
    for leg in &state.legs {
        let buffer = |kind, bytes: usize| {
            let labels = [("channel", channel), ("leg", leg_label(channel, leg)), ("kind", kind)];
            (key(&RECEIVE_BUFFER, &labels), Kind::Gauge, bytes as f64)
        };
        let labels = [("channel", channel), ("leg", leg_label(channel, leg))];
        let waiting = f64::from(u8::from(leg.state != "joined"));
        all.push((key(&LEG_WAITING, &labels), Kind::Gauge, waiting));
        all.push((key(&LEG_DOWN, &labels), Kind::Gauge, f64::from(leg.fault.is_some())));
        all.push(buffer("requested", leg.receive_buffer_requested));
        all.push(buffer("granted", leg.receive_buffer_granted));
        if state.legs.len() > 1 {
            let labels = [("channel", channel), ("leg", leg_label(channel, leg))];
            all.push((key(&LEG_SKEW, &labels), Kind::Gauge, leg.skew_seconds.unwrap_or(f64::NAN)));
        }
        if let Some(trip) = leg.round_trip_seconds {
            let labels = [("channel", channel), ("leg", leg_label(channel, leg))];
            all.push((key(&ROUND_TRIP, &labels), Kind::GaugeMax, trip));
        }
    }
    all
}

#[cfg(test)]
mod tests;
