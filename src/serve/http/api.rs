//! The page's data for programs: channels with their rates and verdicts, ten minutes of history,
//! events, and the tables of one channel, as JSON or CSV.

use axum::{
    Json,
    extract::{Path, Query, State, rejection::QueryRejection},
    response::{IntoResponse, Response},
};
use serde::Deserialize;

use super::{
    App,
    refusal::Refusal,
    rows::{self, EventRow, LossRow},
    select::{self, CHANNEL_KEYS, CLIENT_KEYS, FLOW_KEYS, RowQuery},
    table::{Format, Table, cell, csv, csv_answer},
};
use crate::{
    limits::{EVENTS_MAX, LOSSES_MAX},
    observe::{self, Column, Event, Observation, Observed, Tick},
    registry::ChannelView,
};
use tidecast_net::clock::ClockPair;

/// Query of a table.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TableQuery {
    search: Option<String>,
    sort: Option<String>,
    offset: Option<usize>,
    limit: Option<usize>,
    #[serde(default)]
    format: Format,
}

impl TableQuery {
    fn wanted(&self, keys: &'static [&'static str]) -> Result<RowQuery, Refusal> {
        RowQuery::parse(self.search.as_deref(), self.sort.as_deref(), self.offset, self.limit, keys)
    }
}

/// The query of the channels: that of a table, and their state.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChannelsQuery {
    search: Option<String>,
    sort: Option<String>,
    offset: Option<usize>,
    limit: Option<usize>,
    health: Option<String>,
    #[serde(default)]
    format: Format,
}

type Answer = Result<Response, Refusal>;
type Queried<T> = Result<Query<T>, QueryRejection>;

pub(super) fn asked<T>(query: Queried<T>) -> Result<T, Refusal> {
    query.map(|Query(query)| query).map_err(|error| Refusal::Malformed(error.body_text()))
}

/// `/api/v1/channels`
pub(super) async fn channels(
    State(app): State<App>,
    query: Queried<ChannelsQuery>,
) -> Result<Response, Refusal> {
    let ChannelsQuery { search, sort, offset, limit, health, format } = asked(query)?;
    let wanted = RowQuery::parse(search.as_deref(), sort.as_deref(), offset, limit, CHANNEL_KEYS)?;
    let health = select::health(health.as_deref())?;
    let seen = app.observer.seen();
    let page = select::channels(&seen, &wanted, health);
    Ok(rows::channel_table(&page, &seen).answer(format))
}

/// `/api/v1/streams/NAME/flows`
pub(super) async fn flows(
    State(app): State<App>,
    Path(name): Path<String>,
    query: Queried<TableQuery>,
) -> Result<Response, Refusal> {
    let query = asked(query)?;
    let wanted = query.wanted(FLOW_KEYS)?;
    let state = app.observer.flows(&name).await?.ok_or_else(|| unknown(&app, &app.observer.seen(), &name))?;
    Ok(rows::flow_table(&select::flows(&state, &wanted)).answer(query.format))
}

/// `/api/v1/streams/NAME/clients`
pub(super) async fn clients(
    State(app): State<App>,
    Path(name): Path<String>,
    query: Queried<TableQuery>,
) -> Result<Response, Refusal> {
    let query = asked(query)?;
    let wanted = query.wanted(CLIENT_KEYS)?;
    listed(&app)?;
    let clients = app.registry.clients(&name).ok_or_else(|| unknown(&app, &app.observer.seen(), &name))?;
    Ok(rows::client_table(&select::clients(&clients, &wanted)).answer(query.format))
}

/// Refuses where clients are only counted.
pub(super) fn listed(app: &App) -> Result<(), Refusal> {
    if app.config.list_clients {
        return Ok(());
    }
    let text = "clients are not listed here, only counted (list_clients in [http]): see subscribers";
    Err(Refusal::Forbidden(text.to_owned()))
}

/// Query of a table that is always returned whole.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WholeQuery {
    #[serde(default)]
    format: Format,
}

/// `/api/v1/streams/NAME/legs`
pub(super) async fn legs(app: State<App>, name: Path<String>, query: Queried<WholeQuery>) -> Answer {
    part(&app, &name, query, |view, format| rows::leg_table(view).answer(format))
}

/// `/api/v1/streams/NAME/outputs`
pub(super) async fn outputs(app: State<App>, name: Path<String>, query: Queried<WholeQuery>) -> Answer {
    part(&app, &name, query, |view, format| rows::output_table(view).answer(format))
}

/// `/api/v1/streams/NAME/subscribers`
pub(super) async fn subscribers(app: State<App>, name: Path<String>, query: Queried<WholeQuery>) -> Answer {
    part(&app, &name, query, |view, format| rows::subscriber_table(view).answer(format))
}

fn part(
    app: &App,
    name: &str,
    query: Queried<WholeQuery>,
    answer: fn(&ChannelView, Format) -> Response,
) -> Answer {
    let query = asked(query)?;
    let seen = app.observer.seen();
    let channel = seen.channel(name).ok_or_else(|| unknown(app, &seen, name))?;
    Ok(answer(&channel.view, query.format))
}

/// `/api/v1/streams/NAME/` and something else.
pub(super) async fn no_part(Path((name, part)): Path<(String, String)>) -> Refusal {
    let text = format!("{part:?} of {name}: expected flows, legs, outputs, subscribers or clients");
    Refusal::NotFound(text)
}

/// Query of a history.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HistoryQuery {
    channel: Option<String>,
    #[serde(default)]
    format: Format,
}

/// `/api/v1/history?channel=NAME`: the last ten minutes.
pub(super) async fn history(
    State(app): State<App>,
    query: Queried<HistoryQuery>,
) -> Result<Response, Refusal> {
    let query = asked(query)?;
    let seen = app.observer.seen();
    let Some(name) = &query.channel else {
        let names = names(&app, &seen);
        return Err(Refusal::Malformed(format!("no channel: expected ?channel=NAME, one of {names}")));
    };
    let channel = seen.channel(name).ok_or_else(|| unknown(&app, &seen, name))?;
    Ok(match query.format {
        Format::Json => Json(rows::history(channel, &seen, 0)).into_response(),
        Format::Csv => csv_answer("history", history_csv(channel, &seen)),
    })
}

/// The time in milliseconds since the Unix epoch, then the columns of a sample.
fn history_csv(channel: &Observed, seen: &Observation) -> String {
    let heading: Vec<&str> = ["time"].into_iter().chain(Column::ALL.map(Column::name)).collect();
    let count = channel.history.len();
    let times = seen.times.iter().skip(seen.times.len() - count);
    let rows = channel.history.newest(count).zip(times).map(|(sample, tick)| {
        let value = |column| cell(&rows::value(column, sample, tick));
        [tick.at.to_string()].into_iter().chain(Column::ALL.map(value)).collect()
    });
    csv(&heading, rows)
}

/// Query of the events.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EventsQuery {
    channel: Option<String>,
    limit: Option<usize>,
    #[serde(default)]
    format: Format,
}

/// `/api/v1/events`: recent events, the newest first.
pub(super) async fn events(State(app): State<App>, query: Queried<EventsQuery>) -> Result<Response, Refusal> {
    let query = asked(query)?;
    let limit = query.limit.unwrap_or(EVENTS_MAX);
    let seen = app.observer.seen();
    let wanted = |event: &&Event| query.channel.as_ref().is_none_or(|channel| *channel == event.channel);
    let matching: Vec<&Event> = seen.events.all().rev().filter(wanted).collect();
    let rows = matching.iter().take(limit).map(|event| EventRow::of(event)).collect();
    let table = Table { total: matching.len(), ..Table::whole("events", rows) };
    Ok(table.answer(query.format))
}

/// `/api/v1/losses`: recent losses, the newest first for each channel.
pub(super) async fn losses(State(app): State<App>, query: Queried<EventsQuery>) -> Result<Response, Refusal> {
    let query = asked(query)?;
    let limit = query.limit.unwrap_or(LOSSES_MAX);
    let seen = app.observer.seen();
    if let Some(name) = &query.channel {
        seen.channel(name).ok_or_else(|| unknown(&app, &seen, name))?;
    }
    let pair = ClockPair::read();
    let times: Vec<Tick> = seen.times.iter().copied().collect();
    let wanted = |channel: &&Observed| query.channel.as_deref().is_none_or(|name| name == channel.name());
    let rows = seen.channels.iter().filter(wanted).flat_map(|channel| {
        observe::told(channel, &times, pair.monotonic, pair.wall)
            .map(|told| LossRow::of(channel.name(), &told))
    });
    let mut rows: Vec<LossRow<'_>> = rows.collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.first()));
    let total = rows.len();
    rows.truncate(limit);
    Ok(Table { total, ..Table::whole("losses", rows) }.answer(query.format))
}

/// `seen` is locked: only one is held at a time.
pub(super) fn unknown(app: &App, seen: &Observation, name: &str) -> Refusal {
    Refusal::NotFound(format!("there is no channel {name:?}: expected one of {}", names(app, seen)))
}

/// The channels that there are: the configured ones, also before they were first observed, and
/// those on demand.
fn names(app: &App, seen: &Observation) -> String {
    let mut names = app.registry.names();
    let on_demand = seen.channels.iter().filter(|channel| channel.view.state.on_demand);
    names.extend(on_demand.map(|channel| channel.name().to_owned()));
    if names.is_empty() { "none: there is no channel".to_owned() } else { names.join(", ") }
}
