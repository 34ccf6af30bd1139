//! The targets for the figures. They are reported as met or not met; a missed target is not a
//! failure.

use crate::{
    report::{Figure, Table},
    statistics::short,
};

/// A limit for a figure's median.
#[derive(Clone, Copy, Debug)]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
}
use Bound::{AtLeast, AtMost};

/// Key of the figure, its description, and its limit.
const TARGETS: &[(&str, &str, Bound)] = &[
    (
        "10x10/vs-gso",
        "10 x 10: CPU per delivered packet, times the bare GSO forwarder's at the same tick",
        AtMost(1.2),
    ),
    ("1x100/vs-gso", "1 x 100: the same", AtMost(1.2)),
    ("10x10/vs-naive", "10 x 10: times naive tokio's", AtMost(0.35)),
    ("1x100/vs-naive", "1 x 100: the same", AtMost(0.55)),
    ("10x10/vs-peer", "10 x 10: times the cheapest packaged peer's", AtMost(1.0)),
    ("1x100/vs-peer", "1 x 100: the same", AtMost(1.0)),
    ("saturation/vs-gso", "saturation: times the bare GSO forwarder's rate, bursts of 7", AtLeast(0.85)),
    ("saturation/vs-gso-uncapped", "saturation: the same, bursts of 49", AtLeast(0.85)),
    ("sensor/vs-mmsg", "sensor: CPU per packet, times bare sendmmsg's at the same tick", AtMost(1.3)),
    ("latency/p50-above-bare", "added latency at tick 0: p50 above bare, us", AtMost(5.0)),
    ("latency/p99-above-bare", "added latency at tick 0: p99 above bare, us", AtMost(50.0)),
    (
        "http/100x8/20ms",
        "HTTP, 100 clients x 8 Mbit/s, chunks of 20 ms: CPU ms per s per Gbit/s",
        AtMost(90.0),
    ),
    ("http/100x8/50ms", "the same, 50 ms", AtMost(60.0)),
    ("http/100x8/100ms", "the same, 100 ms", AtMost(38.0)),
    ("http/8x40/20ms", "HTTP, 8 clients x 40 Mbit/s, chunks of 20 ms", AtMost(90.0)),
    (
        "http/1000-vs-100",
        "HTTP, 1,000 clients: times the cost per Gbit/s of 100 clients at the same rate each",
        AtMost(1.3),
    ),
    ("websocket/http", "100 WebSockets x 8 Mbit/s: times the CPU of as many HTTP clients", AtMost(1.5)),
    ("memory/8x40", "resident with 8 channels x 40 Mbit/s and 8 HTTP clients, MB", AtMost(16.0)),
    ("memory/client", "resident per further HTTP client, KiB", AtMost(64.0)),
    (
        "memory/growth",
        "growth of resident memory over the last three quarters of an hour or more, percent",
        AtMost(1.0),
    ),
    ("start/ready", "from the start to listening and joined, ms", AtMost(50.0)),
    ("start/binary", "stripped binary, MB", AtMost(12.0)),
    ("growth/channels", "CPU per delivered packet with 200 channels, times that with 10", AtMost(1.2)),
    ("growth/flows", "CPU per delivered packet with 10,000 flows, times that with 100", AtMost(1.2)),
];

/// Returns a table of all targets for which `figures` has a value; `None` if there are none.
pub(crate) fn table(figures: &[Figure]) -> Option<Table> {
    let mut table = Table::new("Targets", &["Figure", "Target", "Measured", ""]);
    for (key, what, bound) in TARGETS {
        let Some(figure) = figures.iter().find(|figure| figure.key == *key) else { continue };
        let median = figure.value.median;
        let (text, met) = match bound {
            AtMost(most) => (format!("at most {}", short(*most)), median <= *most),
            AtLeast(least) => (format!("at least {}", short(*least)), median >= *least),
        };
        let verdict = if met { "met" } else { "not met" };
        table.push([(*what).into(), text, figure.value.to_string(), verdict.into()]);
    }
    (!table.rows.is_empty()).then_some(table)
}
