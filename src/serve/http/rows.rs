//! The rows of the tables: channels, and the flows, legs, outputs, subscribers and clients of one
//! channel; events and losses. `docs/http.md` documents them for users.

use serde::Serialize;
use serde_json::{Value, json};

use super::{
    select::{Page, rate},
    table::{Rounded, Table, number},
};
use crate::{
    channel::state::{FlowState, LegState, OutputState},
    observe::{Column, Content, Event, Observation, Observed, Told},
    registry::{
        ChannelView,
        audience::{ClientState, Transport},
    },
};

/// A channel. `recent_` counts are those of the last minute.
#[derive(Debug, Default, Serialize)]
pub(super) struct ChannelRow<'a> {
    name: &'a str,
    path: &'a str,
    health: &'static str,
    reason: String,
    content: Option<&'static str>,
    format: &'a str,
    on_demand: bool,
    inputs: String,
    packets_per_second: Rounded,
    bits_per_second: Rounded,
    hold_seconds: Rounded,
    jitter_seconds: Rounded,
    held: usize,
    flows: usize,
    recent_expected: u64,
    recent_other_leg: u64,
    recent_recovered_fec: u64,
    recent_recovered_retransmission: u64,
    recent_lost: u64,
    recent_lost_network: u64,
    recent_lost_kernel: u64,
    recent_lost_late: u64,
    http: u64,
    tcp: u64,
    websocket: u64,
    sse: u64,
    socketio: u64,
    udp: u64,
    outputs: usize,
    outputs_at_fault: usize,
}

/// The table of these channels.
pub(super) fn channel_table<'a>(page: &Page<'a, Observed>, seen: &Observation) -> Table<ChannelRow<'a>> {
    page.table("channels", |channel| ChannelRow::of(channel, seen))
}

impl<'a> ChannelRow<'a> {
    fn of(channel: &'a Observed, seen: &Observation) -> ChannelRow<'a> {
        let ChannelView { state, path, subscribers } = &channel.view;
        let recent = &channel.recent;
        let inputs: Vec<&str> = state.legs.iter().map(|leg| leg.address.as_str()).collect();
        let clients = |transport| subscribers.of(transport).clients;
        ChannelRow {
            name: &state.name,
            path,
            health: channel.verdict.health.as_str(),
            reason: channel.verdict.reasons.join("; "),
            content: channel.content.map(Content::as_str),
            format: &state.format,
            on_demand: state.on_demand,
            inputs: inputs.join(" + "),
            packets_per_second: Rounded(rate(channel, Column::Received, seen)),
            bits_per_second: Rounded(rate(channel, Column::Bytes, seen) * 8.0),
            hold_seconds: Rounded(state.hold_seconds),
            jitter_seconds: Rounded(state.jitter_seconds),
            held: state.held,
            flows: state.flow_count,
            recent_expected: recent.expected as u64,
            recent_other_leg: recent.other_leg as u64,
            recent_recovered_fec: recent.fec as u64,
            recent_recovered_retransmission: recent.retransmission as u64,
            recent_lost: recent.lost as u64,
            recent_lost_network: recent.network as u64,
            recent_lost_kernel: recent.kernel as u64,
            recent_lost_late: recent.late as u64,
            http: clients(Transport::Http),
            tcp: clients(Transport::Tcp),
            websocket: clients(Transport::WebSocket),
            sse: clients(Transport::Sse),
            socketio: clients(Transport::SocketIo),
            udp: clients(Transport::Udp),
            outputs: state.outputs.len(),
            outputs_at_fault: state.outputs.iter().filter(|output| output.fault.is_some()).count(),
        }
    }
}

/// A flow of a channel.
#[derive(Debug, Default, Serialize)]
pub(super) struct FlowRow<'a> {
    flow: &'a str,
    source: &'a str,
    format: &'static str,
    session: u32,
    packets_per_second: Option<Rounded>,
    received: u64,
    delivered: u64,
    lost: u64,
    recovered: u64,
    reordered: u64,
    duplicate: u64,
    late: u64,
    held: usize,
    hold_seconds: Rounded,
    jitter_seconds: Rounded,
    idle_seconds: Rounded,
    ended: bool,
}

/// The table of these flows.
pub(super) fn flow_table<'a>(page: &Page<'a, FlowState>) -> Table<FlowRow<'a>> {
    page.table("flows", FlowRow::of)
}

impl<'a> FlowRow<'a> {
    fn of(flow: &'a FlowState) -> FlowRow<'a> {
        let c = &flow.counters;
        FlowRow {
            flow: &flow.flow,
            source: &flow.source,
            format: flow.format.as_str(),
            session: flow.session,
            packets_per_second: flow.packets_per_second.map(Rounded),
            received: c.media_received,
            delivered: c.delivered,
            lost: c.lost,
            recovered: c.recovered(),
            reordered: c.reordered,
            duplicate: c.duplicate,
            late: c.late,
            held: flow.held,
            hold_seconds: Rounded(flow.hold_seconds),
            jitter_seconds: Rounded(flow.jitter_seconds),
            idle_seconds: Rounded(flow.idle_seconds),
            ended: flow.ended,
        }
    }
}

/// A leg of a channel.
#[derive(Debug, Default, Serialize)]
pub(super) struct LegRow<'a> {
    address: &'a str,
    state: &'static str,
    detail: Option<&'a str>,
    fault: Option<&'a str>,
    media: u64,
    repair: u64,
    control: u64,
    bytes: u64,
    kernel_drops: u64,
    truncated: u64,
    first: u64,
    missed: u64,
    skew_seconds: Option<Rounded>,
    round_trip_seconds: Option<Rounded>,
    receive_buffer_requested: usize,
    receive_buffer_granted: usize,
}

/// The legs of a channel.
pub(super) fn leg_table(view: &ChannelView) -> Table<LegRow<'_>> {
    Table::whole("legs", view.state.legs.iter().map(LegRow::of).collect())
}

impl<'a> LegRow<'a> {
    fn of(leg: &'a LegState) -> LegRow<'a> {
        let c = &leg.counters;
        LegRow {
            address: &leg.address,
            state: leg.state.as_str(),
            detail: leg.detail.as_deref(),
            fault: leg.fault.as_deref(),
            media: c.media,
            repair: c.repair,
            control: c.control,
            bytes: c.bytes,
            kernel_drops: leg.kernel_drops,
            truncated: leg.truncated,
            first: c.first,
            missed: c.missed,
            skew_seconds: leg.skew_seconds.map(Rounded),
            round_trip_seconds: leg.round_trip_seconds.map(Rounded),
            receive_buffer_requested: leg.receive_buffer_requested,
            receive_buffer_granted: leg.receive_buffer_granted,
        }
    }
}

/// A UDP output of a channel.
#[derive(Debug, Default, Serialize)]
pub(super) struct OutputRow<'a> {
    address: &'a str,
    packets: u64,
    bytes: u64,
    dropped: u64,
    fault: Option<&'a str>,
}

/// The UDP outputs of a channel.
pub(super) fn output_table(view: &ChannelView) -> Table<OutputRow<'_>> {
    Table::whole("outputs", view.state.outputs.iter().map(OutputRow::of).collect())
}

impl<'a> OutputRow<'a> {
    fn of(output: &'a OutputState) -> OutputRow<'a> {
        OutputRow {
            address: &output.address,
            packets: output.packets,
            bytes: output.bytes,
            dropped: output.dropped.values().sum(),
            fault: output.fault.as_deref(),
        }
    }
}

/// The subscribers of a channel over one transport.
#[derive(Debug, Default, Serialize)]
pub(super) struct SubscriberRow {
    transport: &'static str,
    clients: u64,
    joined: u64,
    packets: u64,
    bytes: u64,
    lagged: u64,
    closed: u64,
    cut_off_lag: u64,
    cut_off_idle: u64,
}

/// The subscribers of a channel, by transport.
pub(super) fn subscriber_table(view: &ChannelView) -> Table<SubscriberRow> {
    let rows = view.subscribers.iter().map(|(transport, state)| SubscriberRow {
        transport: transport.as_str(),
        clients: state.clients,
        joined: state.joined,
        packets: state.packets,
        bytes: state.bytes,
        lagged: state.dropped.lag,
        closed: state.dropped.closed,
        cut_off_lag: state.cut_off.lag,
        cut_off_idle: state.cut_off.idle,
    });
    Table::whole("subscribers", rows.collect())
}

/// A client of a channel; `since` in milliseconds since the Unix epoch.
#[derive(Debug, Default, Serialize)]
pub(super) struct ClientRow<'a> {
    address: &'a str,
    transport: &'static str,
    agent: Option<&'a str>,
    since: u64,
    packets: u64,
    bytes: u64,
    missed: u64,
}

/// The table of these clients.
pub(super) fn client_table<'a>(page: &Page<'a, ClientState>) -> Table<ClientRow<'a>> {
    page.table("clients", |client| ClientRow {
        address: &client.who.address,
        transport: client.transport.as_str(),
        agent: client.who.agent.as_deref(),
        since: client.since,
        packets: client.packets,
        bytes: client.bytes,
        missed: client.missed,
    })
}

/// Something that happened; times in milliseconds since the Unix epoch.
#[derive(Debug, Default, Serialize)]
pub(super) struct EventRow<'a> {
    at: u64,
    last: u64,
    level: Value,
    channel: &'a str,
    kind: Value,
    count: u64,
    text: &'a str,
    advice: &'a str,
}

impl<'a> EventRow<'a> {
    pub(super) fn of(event: &'a Event) -> EventRow<'a> {
        EventRow {
            at: event.at,
            last: event.last,
            level: json!(event.level),
            channel: &event.channel,
            kind: json!(event.kind),
            count: event.count,
            text: &event.text,
            advice: &event.advice,
        }
    }
}

/// Numbers of a flow that were lost; times in milliseconds since the Unix epoch.
#[derive(Debug, Default, Serialize)]
pub(super) struct LossRow<'a> {
    channel: &'a str,
    flow: &'a str,
    id: u64,
    first: u64,
    last: u64,
    count: u64,
    gaps: u64,
    longest: u64,
    numbers: String,
    cause: &'static str,
}

impl<'a> LossRow<'a> {
    pub(super) fn of(channel: &'a str, told: &Told<'a>) -> LossRow<'a> {
        let loss = told.loss;
        LossRow {
            channel,
            flow: &loss.flow,
            id: loss.id,
            first: told.first,
            last: told.last,
            count: loss.count,
            gaps: loss.gaps,
            longest: loss.longest,
            numbers: format!("{}-{}", loss.from, loss.to),
            cause: told.cause.as_str(),
        }
    }

    /// Returns when the first of them was given up.
    pub(super) fn first(&self) -> u64 {
        self.first
    }
}

/// History of a channel after a tick, each column from the oldest sample to the newest; counts are
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
