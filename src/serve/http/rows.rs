//! The rows of the tables: channels, and the flows, legs, outputs, subscribers and clients of one
//! channel; events and losses. `docs/http.md` documents them for users.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    select::{Page, rate},
    table::{Rounded, Table, number},
};
use crate::{
    channel::state::{FlowState, LegState, OutputState},
    observe::{Column, Content, Event, EventKind, Level, Observation, Observed, Sample, Tick, Told},
    registry::{
        ChannelView,
        audience::{ClientState, Transport},
    },
};

/// A channel. `recent_` counts are those of the last minute.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub(super) struct ChannelRow<'a> {
    /// Its name.
    name: &'a str,
    /// Its URL's path.
    path: &'a str,
    /// `ok`, `degraded` or `silent`.
    health: &'static str,
    /// Why it is not `ok`; empty if it is.
    reason: String,
    /// What its packets carry: `mpeg-ts`, `json`, `text` or `binary`; null before that is known.
    content: Option<&'static str>,
    /// The configured format.
    format: &'a str,
    /// Whether it exists only while somebody asks for it.
    on_demand: bool,
    /// URLs of its legs, joined by ` + `.
    inputs: String,
    /// Media datagrams received per second.
    packets_per_second: Rounded,
    /// Bits received per second, of all datagrams.
    bits_per_second: Rounded,
    /// The longest hold of its flows, in seconds.
    hold_seconds: Rounded,
    /// The largest interarrival jitter of its flows, in seconds.
    jitter_seconds: Rounded,
    /// Packets held back at present.
    held: usize,
    /// Number of flows.
    flows: usize,
    /// Numbers that the producers used within the last minute.
    recent_expected: u64,
    /// Of these, missed on one leg and received on another.
    recent_other_leg: u64,
    /// Of these, recovered by FEC.
    recent_recovered_fec: u64,
    /// Of these, recovered by retransmission.
    recent_recovered_retransmission: u64,
    /// Of these, lost.
    recent_lost: u64,
    /// Of the lost ones, those lost on the way here.
    recent_lost_network: u64,
    /// Of the lost ones, those dropped by this host's kernel.
    recent_lost_kernel: u64,
    /// Of the lost ones, those that came after their hold.
    recent_lost_late: u64,
    /// Clients over HTTP.
    http: u64,
    /// Clients over TCP.
    tcp: u64,
    /// Clients over WebSocket.
    websocket: u64,
    /// Clients of server-sent events.
    sse: u64,
    /// Clients over Socket.IO.
    socketio: u64,
    /// Subscribers over UDP.
    udp: u64,
    /// Configured outputs.
    outputs: usize,
    /// Of these, those that cannot send.
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
#[derive(Debug, Default, Serialize, JsonSchema)]
pub(super) struct FlowRow<'a> {
    /// Its key, as `?flow=` takes it.
    flow: &'a str,
    /// Address of its last packet.
    source: &'a str,
    /// Format of its packets.
    format: &'static str,
    /// Session id or SSRC in use.
    session: u32,
    /// Packets per second, smoothed; null before it was measured.
    packets_per_second: Option<Rounded>,
    /// Media datagrams received.
    received: u64,
    /// Packets delivered.
    delivered: u64,
    /// Numbers given up.
    lost: u64,
    /// Packets recovered by FEC or retransmission.
    recovered: u64,
    /// Packets put back in order.
    reordered: u64,
    /// Duplicate packets.
    duplicate: u64,
    /// Packets that came after their number had been given up.
    late: u64,
    /// Packets held back at present.
    held: usize,
    /// Its hold, in seconds.
    hold_seconds: Rounded,
    /// Interarrival jitter (RFC 3550, A.8), in seconds.
    jitter_seconds: Rounded,
    /// Seconds since its last packet.
    idle_seconds: Rounded,
    /// Whether its producer said that it ended.
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
#[derive(Debug, Default, Serialize, JsonSchema)]
pub(super) struct LegRow<'a> {
    /// Its URL.
    address: &'a str,
    /// `joined`, `waiting` or `failed`.
    state: &'static str,
    /// Why it waits or has failed; the interface when it is joined.
    detail: Option<&'a str>,
    /// Why nothing can come although it is joined; null if it can.
    fault: Option<&'a str>,
    /// Media datagrams received.
    media: u64,
    /// Repair datagrams received.
    repair: u64,
    /// Control datagrams received.
    control: u64,
    /// UDP payload bytes of all of them.
    bytes: u64,
    /// Datagrams that the kernel dropped because the receive buffer was full.
    kernel_drops: u64,
    /// Datagrams too large to be received whole.
    truncated: u64,
    /// Numbers that it brought before any other leg.
    first: u64,
    /// Numbers that another leg brought and this one did not.
    missed: u64,
    /// How much later than the first leg it brings the same number, in seconds; null with one leg.
    skew_seconds: Option<Rounded>,
    /// Round trip to the producer, in seconds; null before it was measured.
    round_trip_seconds: Option<Rounded>,
    /// Receive buffer asked for, in bytes.
    receive_buffer_requested: usize,
    /// Receive buffer granted, in bytes.
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
#[derive(Debug, Default, Serialize, JsonSchema)]
pub(super) struct OutputRow<'a> {
    /// Its URL.
    address: &'a str,
    /// Datagrams sent.
    packets: u64,
    /// Bytes of them.
    bytes: u64,
    /// Datagrams not sent.
    dropped: u64,
    /// Why it cannot send at present; null if it can.
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
#[derive(Debug, Default, Serialize, JsonSchema)]
pub(super) struct SubscriberRow {
    /// `http`, `tcp`, `websocket`, `sse`, `socketio` or `udp`.
    transport: &'static str,
    /// Clients at present.
    clients: u64,
    /// Clients so far.
    joined: u64,
    /// Packets handed to their connections.
    packets: u64,
    /// Payload bytes of them.
    bytes: u64,
    /// Packets skipped because a client was behind.
    lagged: u64,
    /// Packets that waited for clients that left.
    closed: u64,
    /// Clients disconnected because they were too far behind.
    cut_off_lag: u64,
    /// Clients disconnected because their stream was silent for too long.
    cut_off_idle: u64,
    /// Clients disconnected by an operator.
    cut_off_operator: u64,
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
        cut_off_operator: state.cut_off.operator,
    });
    Table::whole("subscribers", rows.collect())
}

/// A client of a channel; `since` in milliseconds since the Unix epoch.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub(super) struct ClientRow<'a> {
    /// Its address and port.
    address: &'a str,
    /// As in `subscribers`.
    transport: &'static str,
    /// Its program (`User-Agent`); null if it does not say.
    agent: Option<&'a str>,
    /// When it came, in milliseconds since the Unix epoch.
    since: u64,
    /// Packets handed to its connection.
    packets: u64,
    /// Payload bytes of them.
    bytes: u64,
    /// Packets that it was too slow for.
    missed: u64,
    /// Its id, by which it can be disconnected; unique while the relay runs.
    id: u64,
    /// Name of its token; `link` if it came by a signed link, `jwt:` and a name with a token of an
    /// identity provider; null without any.
    user: Option<&'a str>,
}

/// The table of these clients.
pub(super) fn client_table<'a>(page: &Page<'a, ClientState>) -> Table<ClientRow<'a>> {
    page.table("clients", ClientRow::of)
}

impl<'a> ClientRow<'a> {
    pub(super) fn of(client: &'a ClientState) -> ClientRow<'a> {
        ClientRow {
            address: &client.who.address,
            transport: client.transport.as_str(),
            agent: client.who.agent.as_deref(),
            since: client.since,
            packets: client.packets,
            bytes: client.bytes,
            missed: client.missed,
            id: client.id,
            user: client.who.user.as_deref(),
        }
    }
}

/// Something that happened; times in milliseconds since the Unix epoch.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub(super) struct EventRow<'a> {
    /// When it began, in milliseconds since the Unix epoch.
    at: u64,
    /// When it happened last, in milliseconds since the Unix epoch.
    last: u64,
    /// Its severity.
    #[schemars(with = "Level")]
    level: Value,
    /// The channel.
    channel: &'a str,
    /// Its kind.
    #[schemars(with = "EventKind")]
    kind: Value,
    /// Packets, sessions or clients involved; 0 if not applicable.
    count: u64,
    /// What happened.
    text: &'a str,
    /// What to do about it; empty if nothing.
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
#[derive(Debug, Default, Serialize, JsonSchema)]
pub(super) struct LossRow<'a> {
    /// The channel.
    channel: &'a str,
    /// The flow's key.
    flow: &'a str,
    /// Counts up within the channel.
    id: u64,
    /// When the first gap was given up, in milliseconds since the Unix epoch.
    first: u64,
    /// When the last one was, in milliseconds since the Unix epoch.
    last: u64,
    /// Numbers lost.
    count: u64,
    /// Gaps: numbers lost in a row.
    gaps: u64,
    /// The longest of them.
    longest: u64,
    /// The first and last lost number, joined by `-`.
    numbers: String,
    /// `late`, `kernel`, `network` or `unknown`.
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
        let values = samples.map(|(sample, tick)| value(column, sample, tick));
        (column.name().to_owned(), Value::Array(values.collect()))
    };
    let columns: serde_json::Map<_, _> = Column::ALL.into_iter().map(column).collect();
    json!({ "times": times, "columns": columns })
}

/// The value of a column at a tick; counts are per second.
pub(super) fn value(column: Column, sample: &Sample, tick: &Tick) -> Value {
    let value = f64::from(sample.get(column));
    number(if column.is_count() { value / tick.seconds.max(f64::EPSILON) } else { value })
}
