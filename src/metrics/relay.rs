//! Metrics of the whole relay.

use metrics::Counter;

use super::{Metric, MetricKind, counter, gauge, seconds};

pub(super) const UDP_REQUESTS: Metric = counter(
    "tidecast_udp_requests_total",
    "Datagrams to the port for UDP subscribers by what became of them, such as granted, renewed, refused_token, throttled.",
);
pub(super) const ACCESS_REFUSED: Metric = counter(
    "tidecast_access_refused_total",
    "Requests that were refused because their sender may not do this, by transport: http, tcp.",
);
pub(super) const REFUSED: Metric = counter(
    "tidecast_refused_total",
    "Clients that got no place, by resource (connections, admin, streams, groups, pages, tcp, udp, flows) and reason: full, share (of one address).",
);
pub(super) const BUILD_INFO: Metric = gauge("tidecast_build_info", "Always 1; the version is a label.");
pub(super) const LOG_DROPPED: Metric = counter(
    "tidecast_log_lines_dropped_total",
    "Log lines that were dropped because the reader of standard error was too slow.",
);
pub(super) const START_TIME: Metric = seconds(
    "tidecast_start_time_seconds",
    MetricKind::GaugeMax,
    "When the relay was started, in seconds since the Unix epoch.",
);

/// All metrics of this file.
pub(super) const ALL: &[&Metric] =
    &[&UDP_REQUESTS, &ACCESS_REFUSED, &REFUSED, &BUILD_INFO, &LOG_DROPPED, &START_TIME];

/// Counters of requests whose senders may not do this, resolved once.
#[derive(Clone, Default)]
pub struct AccessRefused {
    pub(super) http: Option<Counter>,
    pub(super) tcp: Option<Counter>,
}

impl AccessRefused {
    /// Counts a request over HTTP.
    pub fn http(&self) {
        self.http.iter().for_each(|counter| counter.increment(1));
    }

    /// Counts a line over TCP.
    pub fn tcp(&self) {
        self.tcp.iter().for_each(|counter| counter.increment(1));
    }
}

impl std::fmt::Debug for AccessRefused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AccessRefused")
    }
}

/// Counters of the datagrams from UDP subscribers, resolved once.
pub struct UdpRequests(pub(super) Vec<(&'static str, Counter)>);

impl UdpRequests {
    /// Counts a request with this result.
    pub fn count(&self, result: &str) {
        if let Some((_, counter)) = self.0.iter().find(|(known, _)| *known == result) {
            counter.increment(1);
        }
    }
}
