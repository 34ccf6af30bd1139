//! Selects the rows of a table to show: they are searched and sorted here, so that only visible
//! rows are written.

use std::cmp::{Ordering, Reverse};

use super::{refusal::Refusal, table::Table};
use crate::{
    channel::state::{ChannelState, FlowState},
    limits::{SEARCH_BYTES_MAX, TABLE_ROWS, TABLE_ROWS_MAX},
    observe::{Column, Health, Observation, Observed, clients as audience},
    registry::audience::ClientState,
};

/// The rows of a table that a client requests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct RowQuery {
    /// Text to search for, in lowercase; all rows contain the empty text.
    search: String,
    /// One of the table's sort keys.
    sort: &'static str,
    reverse: bool,
    offset: usize,
    limit: usize,
}

impl RowQuery {
    /// Parses a query; `keys` are the sort keys, of which the first is the default.
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

    /// Limits the query to this many rows.
    pub(super) fn at_most(self, rows: usize) -> RowQuery {
        RowQuery { limit: self.limit.min(rows), ..self }
    }

    fn sorted<'a, T>(&self, mut matching: Vec<&'a T>, compare: impl Fn(&T, &T) -> Ordering) -> Page<'a, T> {
        // The sort is stable: equal rows stay in the table's own order.
        matching.sort_by(|a, b| if self.reverse { compare(b, a) } else { compare(a, b) });
        let total = matching.len();
        let rows = matching.into_iter().skip(self.offset).take(self.limit).collect();
        Page { rows, total, offset: self.offset }
    }
}

/// The rows that a query selects.
pub(super) struct Page<'a, T> {
    pub(super) rows: Vec<&'a T>,
    /// Number of matching rows.
    total: usize,
    /// Number of matching rows before these.
    offset: usize,
}

impl<'a, T> Page<'a, T> {
    /// Creates a page of this row only.
    pub(super) fn one(row: &'a T) -> Page<'a, T> {
        Page { rows: vec![row], total: 1, offset: 0 }
    }

    /// Converts the rows to a table.
    pub(super) fn table<R>(&self, what: &'static str, row: impl Fn(&'a T) -> R) -> Table<R> {
        let rows = self.rows.iter().map(|item| row(item)).collect();
        Table { what, rows, total: self.total, offset: self.offset }
    }
}

/// Sort keys of channels; numeric keys sort the largest first.
pub(super) const CHANNEL_KEYS: &[&str] = &["worst", "name", "rate", "lost", "flows", "subscribers"];

/// Parses the state of the wanted channels; `None` means any state.
pub(super) fn health(wanted: Option<&str>) -> Result<Option<Health>, Refusal> {
    let Some(wanted) = wanted.filter(|wanted| !wanted.is_empty()) else { return Ok(None) };
    Health::ALL
        .into_iter()
        .find(|health| health.as_str() == wanted)
        .map(Some)
        .ok_or_else(|| Refusal::Malformed(format!("health {wanted:?}: expected one of ok, degraded, silent")))
}

/// Returns the channels that a query selects, only those in one state if that is given.
pub(super) fn channels<'a>(
    seen: &'a Observation,
    query: &RowQuery,
    health: Option<Health>,
) -> Page<'a, Observed> {
    let legs = |channel: &Observed| {
        channel.view.state.legs.iter().any(|leg| leg.address.to_lowercase().contains(&query.search))
    };
    let matches = |channel: &&Observed| {
        health.is_none_or(|health| channel.verdict.health == health)
            && (channel.name().to_lowercase().contains(&query.search) || legs(channel))
    };
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

/// Returns a key that is larger for worse channels. Losses count by their order of magnitude,
/// because rows would otherwise change places every second.
fn badness(channel: &Observed) -> (Health, Reverse<i32>) {
    let share = channel.recent.lost_share();
    let magnitude = if share > 0.0 { (share.log10() * 2.0).floor() as i32 } else { i32::MIN + 1 };
    (channel.verdict.health, Reverse(-magnitude))
}

/// Returns the newest sample of a counting column, per second.
pub(super) fn rate(channel: &Observed, column: Column, seen: &Observation) -> f64 {
    let seconds = seen.times.back().map_or(1.0, |tick| tick.seconds).max(f64::EPSILON);
    channel.history.newest(1).map(|sample| f64::from(sample.get(column)) / seconds).sum()
}

/// Sort keys of flows; numeric keys sort the largest first.
pub(super) const FLOW_KEYS: &[&str] =
    &["flow", "source", "rate", "received", "lost", "recovered", "jitter", "idle"];

/// Returns the flows that a query selects. A flow whose name equals the searched text comes first.
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
    let rows = page.rows.into_iter().skip(query.offset).take(query.limit).collect();
    Page { rows, offset: query.offset, ..page }
}

/// Compares numbers by their value, other text as text.
fn natural(a: &str, b: &str) -> Ordering {
    match (a.parse::<u64>(), b.parse::<u64>()) {
        (Ok(a), Ok(b)) => a.cmp(&b),
        _ => a.cmp(b),
    }
}

/// Sort keys of clients; numeric keys sort the largest first.
pub(super) const CLIENT_KEYS: &[&str] = &["missed", "since", "address", "transport", "packets", "bytes"];

/// Returns the clients that a query selects; among equal ones, the newest first.
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
