//! Prometheus metrics: the only place that names a metric. `docs/metrics.md` is the reference for
//! users.
//!
//! The packet path counts in plain numbers ([`ChannelState`]). At each scrape they are collected
//! and copied here. Only the histogram is recorded on the packet path, through a handle. The
//! recorder belongs to its owner instead of the process, so that several relays can run in one
//! process.

mod channel;
mod exporter;
mod legs;
mod outputs;
mod relay;

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use metrics::{Histogram, Key, Label, Level, Metadata, Recorder, Unit};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use crate::{
    channel::state::ChannelState,
    limits::ON_DEMAND_SERIES_MAX,
    log,
    registry::{Telemetry, audience::ByTransportState},
    shares::Shares,
};
use tidecast_net::clock;

use channel::GAP_WAIT;
pub use exporter::Exporter;
use relay::{ACCESS_REFUSED, BUILD_INFO, LOG_DROPPED, REFUSED, START_TIME, UDP_REQUESTS};
pub use relay::{AccessRefused, UdpRequests};

/// The content type of [`Metrics::render`]'s text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Label of channels on demand beyond [`ON_DEMAND_SERIES_MAX`].
const ON_DEMAND: &str = "on-demand";

/// Upper bounds of the gap wait's buckets, in seconds: from one packet at a high rate to more than
/// any usual hold.
const GAP_WAIT_BUCKETS: [f64; 11] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0];

/// Name and help text of one metric.
struct Metric {
    name: &'static str,
    kind: MetricKind,
    unit: Unit,
    help: &'static str,
}

/// How to combine the values of several channels with the same label.
enum MetricKind {
    /// Added up.
    Counter,
    /// Added up.
    Gauge,
    /// Maximum.
    GaugeMax,
    Histogram,
}

const fn counter(name: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: MetricKind::Counter, unit: Unit::Count, help }
}

const fn gauge(name: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: MetricKind::Gauge, unit: Unit::Count, help }
}

const fn seconds(name: &'static str, kind: MetricKind, help: &'static str) -> Metric {
    Metric { name, kind, unit: Unit::Seconds, help }
}

const fn bytes(metric: Metric) -> Metric {
    Metric { unit: Unit::Bytes, ..metric }
}

/// Every metric.
fn all() -> impl Iterator<Item = &'static Metric> {
    [channel::ALL, legs::ALL, outputs::ALL, relay::ALL].into_iter().flatten().copied()
}

const METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

/// All metrics of one relay.
#[derive(Debug)]
pub struct Metrics {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    on_demand: Mutex<OnDemand>,
    /// Start of the relay, since the Unix epoch.
    started: Duration,
}

/// State that outlives the channels on demand, so that no counter ever decreases.
#[derive(Debug, Default)]
struct OnDemand {
    /// Names with separate series.
    names: HashSet<String>,
    /// Counters of channels that have ended.
    retired: HashMap<Key, u64>,
    /// Gauges of channels that have ended: they are 0 until the channel starts again.
    idle: HashSet<Key>,
}

/// A channel's data for a scrape.
#[derive(Debug, Clone, Copy)]
pub struct Sample<'a> {
    /// State of the channel from its packet thread.
    pub state: &'a ChannelState,
    /// Its subscribers.
    pub subscribers: &'a ByTransportState,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

impl Metrics {
    /// A recorder with descriptions of all metrics and zero counts.
    pub fn new() -> Metrics {
        let gap_wait = Matcher::Full(GAP_WAIT.name.to_owned());
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(gap_wait, &GAP_WAIT_BUCKETS)
            .expect("there are buckets")
            .build_recorder();
        for metric in all() {
            let (name, unit, help) = (metric.name.into(), Some(metric.unit), metric.help.into());
            match metric.kind {
                MetricKind::Counter => recorder.describe_counter(name, unit, help),
                MetricKind::Gauge | MetricKind::GaugeMax => recorder.describe_gauge(name, unit, help),
                MetricKind::Histogram => recorder.describe_histogram(name, unit, help),
            }
        }
        let handle = recorder.handle();
        Metrics { recorder, handle, on_demand: Mutex::default(), started: clock::unix() }
    }

    /// Histogram for the packet path: how long packets of this channel waited behind a gap, in
    /// seconds.
    pub fn gap_wait(&self, channel: &str, on_demand: bool) -> Histogram {
        let label = self.label(channel, on_demand);
        self.recorder.register_histogram(&key(&GAP_WAIT, &[("channel", label)]), &METADATA)
    }

    /// Counters of requests from UDP subscribers, by result. These results have series from then
    /// on.
    pub fn udp_requests(&self, results: impl IntoIterator<Item = &'static str>) -> UdpRequests {
        let counter = |result| {
            let key = key(&UDP_REQUESTS, &[("result", result)]);
            (result, self.recorder.register_counter(&key, &METADATA))
        };
        UdpRequests(results.into_iter().map(counter).collect())
    }

    /// Counters of requests whose senders may not do this.
    pub fn access_refused(&self) -> AccessRefused {
        let counter = |transport| {
            let key = key(&ACCESS_REFUSED, &[("transport", transport)]);
            Some(self.recorder.register_counter(&key, &METADATA))
        };
        AccessRefused { http: counter("http"), tcp: counter("tcp") }
    }

    /// Keeps the counters of a channel that has ended.
    pub fn retire(&self, last: Sample<'_>) {
        let label = self.label(&last.state.name, last.state.on_demand);
        let mut on_demand = self.on_demand();
        for (key, value) in counters(label, last) {
            *on_demand.retired.entry(key).or_default() += value;
        }
        on_demand.idle.extend(levels(label, last).into_iter().map(|(key, ..)| key));
    }

    /// Sets all metrics from the samples, and returns the text for Prometheus.
    ///
    /// The samples must be those of all channels that have not been retired, and no others.
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
                *level = if matches!(kind, MetricKind::GaugeMax) { level.max(value) } else { *level + value };
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

    /// Folds the histograms' samples into their buckets, as a scrape does; otherwise they would
    /// accumulate.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }

    /// The `channel` label. A channel on demand keeps its first label.
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
        // Plain numbers, so a panic cannot leave them inconsistent.
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

/// Sorts the families by name, and the series of each family, so that two scrapes can be compared
/// line by line. The buckets of a histogram keep their order.
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

/// All counters of a channel.
fn counters(channel: &str, Sample { state, subscribers }: Sample<'_>) -> Vec<(Key, u64)> {
    let mut all = channel::counters(channel, state);
    all.extend(state.legs.iter().flat_map(|leg| legs::counters(channel, leg, state.legs.len())));
    all.extend(state.outputs.iter().flat_map(|output| outputs::counters(channel, output)));
    all.extend(outputs::subscribers(channel, subscribers));
    all
}

/// All gauges of a channel.
fn levels(channel: &str, Sample { state, subscribers }: Sample<'_>) -> Vec<(Key, MetricKind, f64)> {
    let mut all = channel::levels(channel, state);
    all.extend(outputs::levels(channel, subscribers));
    all.extend(state.legs.iter().flat_map(|leg| legs::levels(channel, leg, state.legs.len())));
    all
}

#[cfg(test)]
mod tests;
