//! The rows of the tables: channels, and of one channel its flows, legs, outputs, subscribers and
//! clients. Searched and sorted here, so that only rows that somebody sees are written.

use std::cmp::{Ordering, Reverse};

use serde_json::{Value, json};

use super::{
    refusal::Refusal,
    table::{Table, number},
};
use crate::{
    channel::state::{ChannelState, FlowState},
    limits::{SEARCH_BYTES_MAX, TABLE_ROWS, TABLE_ROWS_MAX},
    observe::{Column, Observation, Observed, clients as audience},
    registry::{ChannelView, audience::ClientState},
};

/// Which rows of a table a client wants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct RowQuery {
    /// In lower case; all rows contain the empty text.
    search: String,
    /// One of the table's sort keys.
    sort: &'static str,
    reverse: bool,
    offset: usize,
    limit: usize,
}

impl RowQuery {
    /// From a query's words; `keys` are the sort keys, of which the first is the default.
    pub(super) fn parse(
        search: Option<&str>,
        sort: Option<&str>,
        offset: Option<usize>,
        limit: Option<usize>,
        keys: &'static [&'static str],
    ) -> Result<RowQuery, Refusal> {
        let search = search.unwrap_or_default().to_lowercase();
        if search.len() > SEARCH_BYTES_MAX {
            let text = format!("search of {} bytes: expected at most {SEARCH_BYTES_MAX} bytes", search.len());
            return Err(Refusal::Malformed(text));
        }
        let asked = sort.filter(|sort| !sort.is_empty()).unwrap_or(keys[0]);
        let (key, reverse) = asked.strip_prefix('-').map_or((asked, false), |key| (key, true));
        let sort = keys.iter().find(|known| **known == key).ok_or_else(|| {
            let keys = keys.join(", ");
            Refusal::Malformed(format!("sort {asked:?}: expected one of {keys}, or one with - before it"))
        })?;
        let limit = limit.unwrap_or(TABLE_ROWS);
        if limit > TABLE_ROWS_MAX {
            return Err(Refusal::Malformed(format!("limit {limit}: expected at most {TABLE_ROWS_MAX}")));
        }
        Ok(RowQuery { search, sort, reverse, offset: offset.unwrap_or(0), limit })
    }

    /// Limits the query to so many rows.
    pub(super) fn at_most(self, rows: usize) -> RowQuery {
        RowQuery { limit: self.limit.min(rows), ..self }
    }

    fn sorted<'a, T>(&self, mut matching: Vec<&'a T>, compare: impl Fn(&T, &T) -> Ordering) -> Page<'a, T> {
        // Stable: equal rows stay in the table's own order.
        matching.sort_by(|a, b| if self.reverse { compare(b, a) } else { compare(a, b) });
        let total = matching.len();
        Page { rows: matching.into_iter().skip(self.offset).take(self.limit).collect(), total }
    }
}

/// The rows that a query wants, and how many match.
pub(super) struct Page<'a, T> {
    pub(super) rows: Vec<&'a T>,
    pub(super) total: usize,
}

/// What channels can be sorted by; a number's largest comes first.
pub(super) const CHANNEL_KEYS: &[&str] = &["worst", "name", "rate", "lost", "flows", "subscribers"];

/// The channels that a query wants.
pub(super) fn channels<'a>(seen: &'a Observation, query: &RowQuery) -> Page<'a, Observed> {
    let legs = |channel: &Observed| {
        channel.view.state.legs.iter().any(|leg| leg.address.to_lowercase().contains(&query.search))
    };
    let matches =
        |channel: &&Observed| channel.name().to_lowercase().contains(&query.search) || legs(channel);
    let matching = seen.channels.iter().filter(matches).collect();
    query.sorted(matching, |a, b| match query.sort {
        "name" => a.name().cmp(b.name()),
        "rate" => rate(b, Column::Bytes, seen).total_cmp(&rate(a, Column::Bytes, seen)),
        "lost" => b.recent.lost_share().total_cmp(&a.recent.lost_share()),
        "flows" => b.view.state.flow_count.cmp(&a.view.state.flow_count),
        "subscribers" => audience(&b.view).cmp(&audience(&a.view)),
        _ => badness(b).cmp(&badness(a)),
    })
}

/// Worse channels have larger ones. Losses count by their order of magnitude, or rows would swap
/// every second.
fn badness(channel: &Observed) -> (crate::observe::Health, Reverse<i32>) {
    let share = channel.recent.lost_share();
    let magnitude = if share > 0.0 { (share.log10() * 2.0).floor() as i32 } else { i32::MIN + 1 };
    (channel.verdict.health, Reverse(-magnitude))
}

/// The newest sample of a counting column, per second.
pub(super) fn rate(channel: &Observed, column: Column, seen: &Observation) -> f64 {
    let seconds = seen.times.back().map_or(1.0, |tick| tick.seconds).max(f64::EPSILON);
    channel.history.newest(1).map(|sample| f64::from(sample.get(column)) / seconds).sum()
}

const CHANNEL_COLUMNS: &[&str] = &[
    "name",
    "path",
    "health",
    "reason",
    "content",
    "format",
    "on_demand",
    "inputs",
    "packets_per_second",
    "bits_per_second",
    "hold_seconds",
    "jitter_seconds",
    "held",
    "flows",
    "recent_expected",
    "recent_other_leg",
    "recent_recovered_fec",
    "recent_recovered_retransmission",
    "recent_lost",
    "recent_lost_network",
    "recent_lost_kernel",
    "recent_lost_late",
    "http",
    "tcp",
    "websocket",
    "sse",
    "socketio",
    "udp",
    "outputs",
    "outputs_at_fault",
];

/// The table of these channels.
pub(super) fn channel_table(page: &Page<'_, Observed>, query: &RowQuery, seen: &Observation) -> Table {
    let rows = page.rows.iter().map(|channel| channel_row(channel, seen)).collect();
    Table { what: "channels", columns: CHANNEL_COLUMNS, rows, total: page.total, offset: query.offset }
}

fn channel_row(channel: &Observed, seen: &Observation) -> Vec<Value> {
    let ChannelView { state, path, subscribers } = &channel.view;
    let recent = &channel.recent;
    let inputs: Vec<&str> = state.legs.iter().map(|leg| leg.address.as_str()).collect();
    let faults = state.outputs.iter().filter(|output| output.fault.is_some()).count();
    let mut row: Vec<Value> = vec![
        state.name.as_str().into(),
        path.as_str().into(),
        channel.verdict.health.as_str().into(),
        channel.verdict.reasons.join("; ").into(),
        channel.content.map(|content| content.as_str()).into(),
        state.format.as_str().into(),
        state.on_demand.into(),
        inputs.join(" + ").into(),
        number(rate(channel, Column::Received, seen)),
        number(rate(channel, Column::Bytes, seen) * 8.0),
        number(state.hold_seconds),
        number(state.jitter_seconds),
        state.held.into(),
        state.flow_count.into(),
    ];
    let counts = [
        recent.expected,
        recent.other_leg,
        recent.fec,
        recent.retransmission,
        recent.lost,
        recent.network,
        recent.kernel,
        recent.late,
    ];
    row.extend(counts.map(|count| Value::from(count as u64)));
    row.extend(subscribers.iter().map(|(_, state)| Value::from(state.clients)));
    row.extend([state.outputs.len().into(), faults.into()]);
    row
}

/// What flows can be sorted by; a number's largest comes first.
pub(super) const FLOW_KEYS: &[&str] =
    &["flow", "source", "rate", "received", "lost", "recovered", "jitter", "idle"];

/// The flows that a query wants. What is exactly the text searched for comes first.
pub(super) fn flows<'a>(state: &'a ChannelState, query: &RowQuery) -> Page<'a, FlowState> {
    let search = query.search.as_str();
    let matches = |flow: &&FlowState| {
        flow.flow.to_lowercase().contains(search) || flow.source.to_lowercase().contains(search)
    };
    let exact = |flow: &FlowState| !search.is_empty() && flow.flow.eq_ignore_ascii_case(search);
    let rate = |flow: &FlowState| flow.packets_per_second.unwrap_or(0.0);
    let compare = |a: &FlowState, b: &FlowState| match query.sort {
        "source" => a.source.cmp(&b.source),
        "rate" => rate(b).total_cmp(&rate(a)),
        "received" => b.counters.media_received.cmp(&a.counters.media_received),
        "lost" => b.counters.lost.cmp(&a.counters.lost),
        "recovered" => b.counters.recovered().cmp(&a.counters.recovered()),
        "jitter" => b.jitter_seconds.total_cmp(&a.jitter_seconds),
        "idle" => b.idle_seconds.total_cmp(&a.idle_seconds),
        _ => natural(&a.flow, &b.flow),
    };
    let all = RowQuery { offset: 0, limit: usize::MAX, ..query.clone() };
    let mut page = all.sorted(state.flows.iter().filter(matches).collect(), compare);
    page.rows.sort_by_key(|flow| !exact(flow));
    page.rows = page.rows.into_iter().skip(query.offset).take(query.limit).collect();
    page
}

/// Numbers by their value, the rest as text.
fn natural(a: &str, b: &str) -> Ordering {
    match (a.parse::<u64>(), b.parse::<u64>()) {
        (Ok(a), Ok(b)) => a.cmp(&b),
        _ => a.cmp(b),
    }
}

const FLOW_COLUMNS: &[&str] = &[
    "flow",
    "source",
    "format",
    "session",
    "packets_per_second",
    "received",
    "delivered",
    "lost",
    "recovered",
    "reordered",
    "duplicate",
    "late",
    "held",
    "hold_seconds",
    "jitter_seconds",
    "idle_seconds",
    "ended",
];

/// The table of these flows.
pub(super) fn flow_table(page: &Page<'_, FlowState>, query: &RowQuery) -> Table {
    let rows = page.rows.iter().map(|flow| flow_row(flow)).collect();
    Table { what: "flows", columns: FLOW_COLUMNS, rows, total: page.total, offset: query.offset }
}

fn flow_row(flow: &FlowState) -> Vec<Value> {
    let c = &flow.counters;
    vec![
        flow.flow.as_str().into(),
        flow.source.as_str().into(),
        flow.format.as_str().into(),
        flow.session.into(),
        flow.packets_per_second.map_or(Value::Null, number),
        c.media_received.into(),
        c.delivered.into(),
        c.lost.into(),
        c.recovered().into(),
        c.reordered.into(),
        c.duplicate.into(),
        c.late.into(),
        flow.held.into(),
        number(flow.hold_seconds),
        number(flow.jitter_seconds),
        number(flow.idle_seconds),
        flow.ended.into(),
    ]
}

/// The legs of a channel.
pub(super) fn leg_table(view: &ChannelView) -> Table {
    let columns = &[
        "address",
        "state",
        "detail",
        "fault",
        "media",
        "repair",
        "control",
        "bytes",
        "kernel_drops",
        "truncated",
        "first",
        "missed",
        "skew_seconds",
        "round_trip_seconds",
        "receive_buffer_requested",
        "receive_buffer_granted",
    ];
    let row = |leg: &crate::channel::state::LegState| -> Vec<Value> {
        let c = &leg.counters;
        vec![
            leg.address.as_str().into(),
            leg.state.as_str().into(),
            leg.detail.as_deref().into(),
            leg.fault.as_deref().into(),
            c.media.into(),
            c.repair.into(),
            c.control.into(),
            c.bytes.into(),
            leg.kernel_drops.into(),
            leg.truncated.into(),
            c.first.into(),
            c.missed.into(),
            leg.skew_seconds.map_or(Value::Null, number),
            leg.round_trip_seconds.map_or(Value::Null, number),
            leg.receive_buffer_requested.into(),
            leg.receive_buffer_granted.into(),
        ]
    };
    Table::whole("legs", columns, view.state.legs.iter().map(row).collect())
}

/// The UDP outputs of a channel.
pub(super) fn output_table(view: &ChannelView) -> Table {
    let columns = &["address", "packets", "bytes", "dropped", "fault"];
    let row = |output: &crate::channel::state::OutputState| -> Vec<Value> {
        vec![
            output.address.as_str().into(),
            output.packets.into(),
            output.bytes.into(),
            output.dropped.values().sum::<u64>().into(),
            output.fault.as_deref().into(),
        ]
    };
    Table::whole("outputs", columns, view.state.outputs.iter().map(row).collect())
}

/// The subscribers of a channel, by transport.
pub(super) fn subscriber_table(view: &ChannelView) -> Table {
    let columns = &[
        "transport",
        "clients",
        "joined",
        "packets",
        "bytes",
        "lagged",
        "closed",
        "cut_off_lag",
        "cut_off_idle",
    ];
    let rows = view.subscribers.iter().map(|(transport, state)| {
        let dropped = &state.dropped;
        vec![
            json!(transport.as_str()),
            state.clients.into(),
            state.joined.into(),
            state.packets.into(),
            state.bytes.into(),
            dropped.lag.into(),
            dropped.closed.into(),
            state.cut_off.lag.into(),
            state.cut_off.idle.into(),
        ]
    });
    Table::whole("subscribers", columns, rows.collect())
}

/// What clients can be sorted by; a number's largest comes first.
pub(super) const CLIENT_KEYS: &[&str] = &["missed", "since", "address", "transport", "packets", "bytes"];

/// The clients that a query wants; the newest first where they are equal.
pub(super) fn clients<'a>(all: &'a [ClientState], query: &RowQuery) -> Page<'a, ClientState> {
    let contains = |text: &str| text.to_lowercase().contains(&query.search);
    let matches = |client: &&ClientState| {
        let who = &client.who;
        contains(&who.address)
            || contains(client.transport.as_str())
            || who.agent.as_deref().is_some_and(contains)
    };
    let mut matching: Vec<&ClientState> = all.iter().filter(matches).collect();
    matching.sort_by(|a, b| b.since.cmp(&a.since).then_with(|| a.who.address.cmp(&b.who.address)));
    query.sorted(matching, |a, b| match query.sort {
        "since" => b.since.cmp(&a.since),
        "address" => a.who.address.cmp(&b.who.address),
        "transport" => a.transport.as_str().cmp(b.transport.as_str()),
        "packets" => b.packets.cmp(&a.packets),
        "bytes" => b.bytes.cmp(&a.bytes),
        _ => b.missed.cmp(&a.missed),
    })
}

/// The table of these clients; `since` in milliseconds since the Unix epoch.
pub(super) fn client_table(page: &Page<'_, ClientState>, query: &RowQuery) -> Table {
    let columns = &["address", "transport", "agent", "since", "packets", "bytes", "missed"];
    let row = |client: &&ClientState| -> Vec<Value> {
        vec![
            client.who.address.as_str().into(),
            client.transport.as_str().into(),
            client.who.agent.as_deref().into(),
            client.since.into(),
            client.packets.into(),
            client.bytes.into(),
            client.missed.into(),
        ]
    };
    let rows = page.rows.iter().map(row).collect();
    Table { what: "clients", columns, rows, total: page.total, offset: query.offset }
}

/// The history of a channel from a tick on, each column from the oldest to the newest; counts are
/// per second.
pub(super) fn history(channel: &Observed, seen: &Observation, after_tick: u64) -> Value {
    let newer = usize::try_from(seen.ticks.saturating_sub(after_tick)).unwrap_or(usize::MAX);
    let count = channel.history.len().min(newer);
    let ticks: Vec<_> = seen.times.iter().skip(seen.times.len() - count).collect();
    let times: Vec<u64> = ticks.iter().map(|tick| tick.at).collect();
    let column = |column: Column| {
        let samples = channel.history.newest(count).zip(&ticks);
        let values = samples.map(|(sample, tick)| {
            let value = f64::from(sample.get(column));
            number(if column.is_count() { value / tick.seconds.max(f64::EPSILON) } else { value })
        });
        (column.name().to_owned(), Value::Array(values.collect()))
    };
    let columns: serde_json::Map<_, _> = Column::ALL.into_iter().map(column).collect();
    json!({ "times": times, "columns": columns })
}
