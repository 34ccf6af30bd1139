//! `/api/v1/live`: the page's contents once a second, as server-sent events. The query selects what
//! the page shows at present: which rows of which table, and which channel's details. Each message
//! holds columns for these rows; the first one also holds the history.

use std::{collections::HashMap, convert::Infallible, sync::Arc};

use axum::{
    Extension,
    extract::{Query, State, rejection::QueryRejection},
    http::HeaderMap,
    response::{
        Sse,
        sse::{self, KeepAlive},
    },
};
use futures_util::{Stream, stream};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use super::{
    App,
    api::asked,
    control,
    refusal::Refusal,
    rows,
    select::{self, CHANNEL_KEYS, CLIENT_KEYS, FLOW_KEYS, RowQuery},
    table::number,
    totals::totals,
    via::Via,
};
use crate::{
    access::Grant,
    channel::{
        state::ChannelState,
        tap::{Batch, Event as TapEvent, Record, TapReader},
    },
    config::Role,
    limits::{
        PAGE_CLIENTS_MAX, PAGE_READINGS_MAX, PAGE_ROWS_MAX, RECENT_SAMPLES, VALUE_BYTES_MAX, VALUES_FIRST,
    },
    observe::{Column, Content, Health, Observation, Observed, Sample, share},
    shares::{Place, Resource},
};

/// What a page shows.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LiveQuery {
    search: Option<String>,
    sort: Option<String>,
    offset: Option<usize>,
    limit: Option<usize>,
    /// Only channels of this state: ok, degraded or silent.
    health: Option<String>,
    /// The channel whose details are open.
    channel: Option<String>,
    /// The flow of that channel that is open.
    flow: Option<String>,
    flow_search: Option<String>,
    flow_sort: Option<String>,
    flow_offset: Option<usize>,
    flow_limit: Option<usize>,
    /// `RUN-TICK-EVENT`: the id of the page's last message, so that it gets only newer data.
    since: Option<String>,
}

/// A validated query.
struct View {
    channels: RowQuery,
    health: Option<Health>,
    channel: Option<String>,
    flow: Option<String>,
    flows: RowQuery,
}

impl View {
    fn parse(query: &LiveQuery) -> Result<View, Refusal> {
        let LiveQuery { search, sort, flow_search, flow_sort, .. } = query;
        let channels =
            RowQuery::parse(search.as_deref(), sort.as_deref(), query.offset, query.limit, CHANNEL_KEYS)?;
        let flows = RowQuery::parse(
            flow_search.as_deref(),
            flow_sort.as_deref(),
            query.flow_offset,
            query.flow_limit,
            FLOW_KEYS,
        )?;
        let (channels, flows) = (channels.at_most(PAGE_ROWS_MAX), flows.at_most(PAGE_ROWS_MAX));
        let health = select::health(query.health.as_deref())?;
        Ok(View { channels, health, channel: query.channel.clone(), flow: query.flow.clone(), flows })
    }
}

/// What a page has already received.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Known {
    run: u64,
    tick: u64,
    events: u64,
}

impl Known {
    /// Parses the text of [`Known::id`]; any other text means that the page knows nothing.
    fn parse(id: &str) -> Known {
        let mut numbers = id.split('-').map(|number| number.parse().ok());
        let mut next = || numbers.next().flatten();
        match (next(), next(), next()) {
            (Some(run), Some(tick), Some(events)) => Known { run, tick, events },
            _ => Known::default(),
        }
    }

    fn id(self) -> String {
        format!("{}-{}-{}", self.run, self.tick, self.events)
    }

    /// Discards what it knows from another run of the relay.
    fn of_run(self, run: u64) -> Known {
        if self.run == run { self } else { Known { run, ..Known::default() } }
    }
}

/// `/api/v1/live`
pub(super) async fn live(
    State(app): State<App>,
    Extension(via): Extension<Via>,
    Extension(grant): Extension<Grant>,
    headers: HeaderMap,
    query: Result<Query<LiveQuery>, QueryRejection>,
) -> Result<Sse<impl Stream<Item = Result<sse::Event, Infallible>>>, Refusal> {
    let query = asked(query)?;
    let view = View::parse(&query)?;
    let place = app.registry.shares().take(Resource::Pages, via.caller)?;
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let known = Known::parse(last.or(query.since.as_deref()).unwrap_or_default());
    // One message waits while another is written, so a slow page gets fewer messages.
    let (to_page, mut messages) = mpsc::channel(1);
    let (readings, rows) = (Readings::default(), RowReadings::default());
    tokio::spawn(Page { app, grant, view, known, fresh: true, readings, rows }.serve(to_page, place));
    let stream = stream::poll_fn(move |cx| messages.poll_recv(cx).map(|message| message.map(Ok)));
    Ok(Sse::new(stream).keep_alive(KeepAlive::default()))
}

/// An open page.
struct Page {
    app: App,
    grant: Grant,
    view: View,
    known: Known,
    /// No message was sent on this connection yet.
    fresh: bool,
    readings: Readings,
    rows: RowReadings,
}

impl Page {
    async fn serve(mut self, to_page: mpsc::Sender<sse::Event>, _place: Place) {
        let mut ticks = self.app.observer.ticks();
        let stop = self.app.stop.clone();
        let mut first_values = Box::pin(tokio::time::sleep(VALUES_FIRST));
        let mut values_due = true;
        loop {
            ticks.mark_unchanged();
            // The rules may have changed, and the token may have ended.
            match self.app.access.renew(&self.grant) {
                Ok(grant) if grant.has(Role::View) => self.grant = grant,
                _ => return,
            }
            let message = self.message().await;
            if to_page.send(message).await.is_err() {
                return;
            }
            loop {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    () = to_page.closed() => return,
                    changed = ticks.changed() => {
                        if changed.is_err() { return }
                        break;
                    }
                    () = &mut first_values, if values_due => {
                        values_due = false;
                        if let Some(message) = self.readings.message() && to_page.send(message).await.is_err() {
                            return;
                        }
                    }
                    () = self.readings.collect() => {}
                }
            }
        }
    }

    async fn message(&mut self) -> sse::Event {
        let state = match &self.view.channel {
            Some(name) => self.app.observer.flows(name).await.ok().flatten(),
            None => None,
        };
        self.read_values(state.as_deref()).await;
        self.read_rows().await;
        let observer = self.app.observer.clone();
        let seen = observer.seen();
        let known = self.known.of_run(seen.run);
        let mut message = Map::new();
        message.insert("run".to_owned(), seen.run.into());
        message.insert("tick".to_owned(), seen.ticks.into());
        message.insert("at".to_owned(), seen.times.back().map_or(0, |tick| tick.at).into());
        if let Some(user) = self.grant.user() {
            message.insert("user".to_owned(), user.as_ref().into());
        }
        message.insert("totals".to_owned(), totals(&seen));
        message.insert("channels".to_owned(), self.channels(&seen, known).into());
        let events: Vec<_> = seen.events.all().filter(|event| event.revision > known.events).collect();
        message.insert("events".to_owned(), json!(events));
        if let Some(name) = &self.view.channel {
            message.insert("detail".to_owned(), self.detail(name, &seen, known, state.as_deref()));
        }
        self.known = Known { run: seen.run, tick: seen.ticks, events: seen.events.revision() };
        self.fresh = false;
        sse::Event::default().id(self.known.id()).data(Value::from(message).to_string())
    }

    /// Rows of the channels. Their strips are complete at first, then contain only new samples.
    fn channels(&self, seen: &Observation, known: Known) -> Map<String, Value> {
        let page = select::channels(seen, &self.view.channels, self.view.health);
        let mut columns = rows::channel_table(&page, seen).columnar();
        let new = seen.ticks.saturating_sub(known.tick).min(RECENT_SAMPLES as u64) as usize;
        let count = if self.fresh { RECENT_SAMPLES } else { new };
        for (name, part) in STRIPS {
            let strips: Vec<Value> = page.rows.iter().map(|channel| strip(channel, count, part)).collect();
            columns.insert(name.to_owned(), strips.into());
        }
        let readings: Vec<Value> = page.rows.iter().map(|channel| self.rows.value(channel.name())).collect();
        columns.insert("reading".to_owned(), readings.into());
        columns
    }

    fn detail(&self, name: &str, seen: &Observation, known: Known, state: Option<&ChannelState>) -> Value {
        let Some(channel) = seen.channel(name) else { return json!({ "name": name, "missing": true }) };
        let mut detail = Map::new();
        detail.insert("name".to_owned(), name.into());
        let view = &channel.view;
        let row = rows::channel_table(&select::Page::one(channel), seen);
        detail.insert("row".to_owned(), row.columnar().into());
        detail.insert("reasons".to_owned(), channel.verdict.reasons.as_slice().into());
        for (name, part) in STRIPS {
            detail.insert(name.to_owned(), strip(channel, RECENT_SAMPLES, part));
        }
        detail.insert("counters".to_owned(), json!(view.state.counters));
        detail.insert("rejects".to_owned(), json!(view.state.rejects));
        detail.insert("legs".to_owned(), rows::leg_table(view).columnar().into());
        detail.insert("outputs".to_owned(), rows::output_table(view).columnar().into());
        detail.insert("subscribers".to_owned(), rows::subscriber_table(view).columnar().into());
        if let Some(clients) = self.clients(name) {
            detail.insert("clients".to_owned(), clients.into());
            detail.insert("control".to_owned(), control::may_disconnect(&self.app, &self.grant).into());
        }
        detail.insert("history".to_owned(), rows::history(channel, seen, known.tick));
        if let Some(state) = state {
            let page = select::flows(state, &self.view.flows);
            let flows = rows::flow_table(&page).columnar();
            detail.insert("flows".to_owned(), flows.into());
            let open = state.flows.iter().find(|flow| Some(&flow.flow) == self.view.flow.as_ref());
            if let Some(flow) = open {
                let row = rows::flow_table(&select::Page::one(flow));
                detail.insert("flow".to_owned(), row.columnar().into());
            }
            detail.insert("values".to_owned(), self.readings.values());
        }
        detail.into()
    }

    /// The first clients: those that missed most, then the newest.
    fn clients(&self, name: &str) -> Option<Map<String, Value>> {
        let all = self.app.config.list_clients.then(|| self.app.registry.clients(name))??;
        let wanted = RowQuery::parse(None, None, None, Some(PAGE_CLIENTS_MAX), CLIENT_KEYS).ok()?;
        Some(rows::client_table(&select::clients(&all, &wanted)).columnar())
    }

    /// Reads the last values of the first displayed channels that carry readings.
    async fn read_rows(&mut self) {
        let wanted: Vec<String> = if self.view.channel.is_some() {
            Vec::new() // the list of channels is not shown
        } else {
            let seen = self.app.observer.seen();
            let page = select::channels(&seen, &self.view.channels, self.view.health);
            let rows = page.rows.into_iter().filter(|channel| has_readings(channel));
            rows.take(PAGE_READINGS_MAX).map(|channel| channel.name().to_owned()).collect()
        };
        self.rows.read(&self.app, wanted).await;
    }

    /// Subscribes to the values of the displayed flows, if they are readings.
    async fn read_values(&mut self, state: Option<&ChannelState>) {
        let Some(state) = state else { return };
        if !self.app.observer.seen().channel(&state.name).is_some_and(has_readings) {
            return;
        }
        let shown = select::flows(state, &self.view.flows).rows;
        let open = self.view.flow.as_deref();
        self.readings.want(shown.into_iter().map(|flow| flow.flow.as_str()).chain(open));
        if self.readings.reader.is_none() {
            self.readings.reader = self.app.registry.look(&state.name).await;
        }
    }
}

fn has_readings(channel: &Observed) -> bool {
    matches!(channel.content, Some(Content::Json | Content::Text))
}

/// The last payload of each displayed channel that carries readings.
#[derive(Debug, Default)]
struct RowReadings(HashMap<String, (TapReader<Batch>, Value)>);

impl RowReadings {
    /// Reads what has come to these channels, and forgets all others.
    async fn read(&mut self, app: &App, channels: Vec<String>) {
        let mut before = std::mem::take(&mut self.0);
        for name in channels {
            let known = match before.remove(&name) {
                Some(known) => Some(known),
                None => app.registry.look(&name).await.map(|reader| (reader, Value::Null)),
            };
            let Some((mut reader, mut value)) = known else { continue };
            let last =
                std::iter::from_fn(|| reader.try_next()).filter_map(|batch| last_payload(&batch)).last();
            if let Some(payload) = last {
                value = as_value(&payload);
            }
            self.0.insert(name, (reader, value));
        }
    }

    /// The channel's reading; null if it has none, or none has come yet.
    fn value(&self, channel: &str) -> Value {
        self.0.get(channel).map_or(Value::Null, |(_, value)| value.clone())
    }
}

fn last_payload(batch: &Batch) -> Option<Vec<u8>> {
    let payload = |record: &Record| match &record.event {
        TapEvent::Packet(packet) => Some(batch.payload(packet)),
        _ => None,
    };
    let payload = batch.records().iter().rev().find_map(payload)?;
    Some(payload[..payload.len().min(VALUE_BYTES_MAX)].to_vec())
}

/// Strips of a row: the name, and the columns whose sum is shown.
const STRIPS: [(&str, &[Column]); 2] =
    [("strip", &[Column::Lost]), ("rescued", &[Column::OtherLeg, Column::Fec, Column::Retransmission])];

/// Share of some expected numbers in the newest samples, oldest first.
fn strip(channel: &Observed, count: usize, part: &[Column]) -> Value {
    let of = |sample: &Sample| {
        let expected = f64::from(sample.get(Column::Expected));
        let part: f64 = part.iter().map(|column| f64::from(sample.get(*column))).sum();
        // Without expected numbers there can be no loss: the strip has a hole there.
        if expected > 0.0 { number(share(part, expected)) } else { Value::Null }
    };
    channel.history.newest(count).map(of).collect::<Vec<_>>().into()
}

/// The last payloads of the displayed flows.
#[derive(Debug, Default)]
struct Readings {
    reader: Option<TapReader<Batch>>,
    /// By flow; `None` if nothing has come yet.
    latest: HashMap<String, Option<Reading>>,
}

#[derive(Debug)]
struct Reading {
    payload: Vec<u8>,
    number: u64,
    /// Milliseconds since the Unix epoch.
    arrived: u64,
}

impl Readings {
    /// Keeps the values of these flows, and of no others.
    fn want<'a>(&mut self, flows: impl Iterator<Item = &'a str>) {
        let mut before = std::mem::take(&mut self.latest);
        for flow in flows {
            self.latest.entry(flow.to_owned()).or_insert_with(|| before.remove(flow).flatten());
        }
    }

    /// Takes the next value; without a reader, waits forever.
    async fn collect(&mut self) {
        let Some(reader) = &mut self.reader else { return std::future::pending().await };
        match reader.next().await {
            Some(batch) => self.take(&batch),
            None => self.reader = None,
        }
    }

    fn take(&mut self, batch: &Arc<Batch>) {
        for record in batch.records() {
            let TapEvent::Packet(packet) = &record.event else { continue };
            let Some(latest) = self.latest.get_mut(&record.flow.key) else { continue };
            let payload = batch.payload(packet);
            let arrived = packet.arrived.as_millis() as u64;
            let reading = latest.get_or_insert_with(|| Reading { payload: Vec::new(), number: 0, arrived });
            reading.payload.clear();
            reading.payload.extend_from_slice(&payload[..payload.len().min(VALUE_BYTES_MAX)]);
            (reading.number, reading.arrived) = (packet.seq, arrived);
        }
    }

    /// By flow: number, time and payload, as JSON if it is JSON, as text if it is text.
    fn values(&self) -> Value {
        let known = self.latest.iter().filter_map(|(flow, reading)| Some((flow, reading.as_ref()?)));
        let value = |(flow, reading): (&String, &Reading)| {
            (flow.clone(), json!([reading.number, reading.arrived, as_value(&reading.payload)]))
        };
        known.map(value).collect::<Map<_, _>>().into()
    }

    fn message(&self) -> Option<sse::Event> {
        self.reader.is_some().then(|| sse::Event::default().event("values").data(self.values().to_string()))
    }
}

fn as_value(payload: &[u8]) -> Value {
    match std::str::from_utf8(payload) {
        Ok(text) => serde_json::from_str(text).unwrap_or_else(|_| text.into()),
        Err(_) => String::from_utf8_lossy(payload).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_back_as_they_went_out() {
        let known = Known { run: 1_700_000_000_000, tick: 7, events: 3 };
        assert_eq!(Known::parse(&known.id()), known);
        assert_eq!(known.of_run(1), Known { run: 1, tick: 0, events: 0 });
        for nonsense in ["", "1", "1-2", "a-b-c", "-1-2-3"] {
            assert_eq!(Known::parse(nonsense), Known::default(), "{nonsense}");
        }
    }

    #[test]
    fn payloads_become_what_they_are() {
        assert_eq!(as_value(br#"{"value":21.5}"#), json!({ "value": 21.5 }));
        assert_eq!(as_value(b"warm"), json!("warm"));
        assert_eq!(as_value(&[b'a', 0xff]), json!("a\u{fffd}"));
    }
}
