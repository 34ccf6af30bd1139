//! Counters of the subscribers of one channel, by transport and one by one (`clients`): updated by
//! the servers, read by the metrics and the state. Plain atomics, so that a client's task never
//! waits for another's.

mod clients;

use std::{
    borrow::Cow,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use clients::Clients;
pub use clients::{Client, ClientState, Who};

/// How a subscriber that is not a configured output is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// A player's stream over HTTP.
    Http,
    /// A program's connection to the TCP listener.
    Tcp,
    /// A WebSocket.
    WebSocket,
    /// Server-sent events.
    Sse,
    /// Socket.IO.
    SocketIo,
    /// UDP datagrams, on request.
    Udp,
}

impl Transport {
    /// All transports.
    pub const ALL: [Transport; 6] = [
        Transport::Http,
        Transport::Tcp,
        Transport::WebSocket,
        Transport::Sse,
        Transport::SocketIo,
        Transport::Udp,
    ];

    /// Name in metrics and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Transport::Http => "http",
            Transport::Tcp => "tcp",
            Transport::WebSocket => "websocket",
            Transport::Sse => "sse",
            Transport::SocketIo => "socketio",
            Transport::Udp => "udp",
        }
    }
}

/// The subscribers of one channel.
#[derive(Debug, Default)]
pub struct ByTransport([Arc<SubscriberGroup>; Transport::ALL.len()]);

impl ByTransport {
    /// The subscribers over one transport.
    pub fn of(&self, transport: Transport) -> Arc<SubscriberGroup> {
        self.0[transport as usize].clone()
    }

    /// All current clients.
    pub fn clients(&self) -> Vec<ClientState> {
        let all = Transport::ALL.into_iter();
        all.flat_map(|transport| self.0[transport as usize].present.states(transport)).collect()
    }

    /// Disconnects the client with this id; returns what it was.
    pub fn disconnect(&self, id: u64) -> Option<ClientState> {
        let mut all = Transport::ALL.into_iter();
        all.find_map(|transport| self.0[transport as usize].present.disconnect(transport, id))
    }

    /// Counters so far, in the order of [`Transport::ALL`].
    pub fn state(&self) -> ByTransportState {
        ByTransportState(self.0.each_ref().map(|subscribers| subscribers.state()))
    }
}

/// Counters of each transport.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ByTransportState(pub [SubscribersState; Transport::ALL.len()]);

impl ByTransportState {
    /// Counters of one transport.
    pub fn of(&self, transport: Transport) -> &SubscribersState {
        &self.0[transport as usize]
    }

    /// Each transport with its counters.
    pub fn iter(&self) -> impl Iterator<Item = (Transport, &SubscribersState)> {
        Transport::ALL.into_iter().zip(&self.0)
    }
}

impl JsonSchema for ByTransportState {
    fn schema_name() -> Cow<'static, str> {
        "SubscribersByTransport".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let state = generator.subschema_for::<SubscribersState>();
        let names = Transport::ALL.map(Transport::as_str);
        let properties: Map<String, Value> =
            names.iter().map(|name| ((*name).to_owned(), state.clone().to_value())).collect();
        json_schema!({
            "type": "object", "description": "What was counted of each transport.",
            "properties": properties, "required": names,
        })
    }
}

impl Serialize for ByTransportState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter().map(|(transport, state)| (transport.as_str(), state)))
    }
}

/// Counters of a group of subscribers.
#[derive(Debug, Default)]
pub struct SubscriberGroup {
    clients: AtomicU64,
    joined: AtomicU64,
    packets: AtomicU64,
    bytes: AtomicU64,
    lag: AtomicU64,
    closed: AtomicU64,
    ended_lag: AtomicU64,
    ended_idle: AtomicU64,
    ended_operator: AtomicU64,
    present: Clients,
}

/// Values of these counters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SubscribersState {
    /// Current clients.
    pub clients: u64,
    /// Clients in total.
    pub joined: u64,
    /// Packets passed to their connections.
    pub packets: u64,
    /// Payload bytes of these packets.
    pub bytes: u64,
    /// Packets that they did not get.
    pub dropped: Dropped,
    /// Clients that were disconnected.
    pub cut_off: CutOff,
}

/// Packets that subscribers did not get, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Dropped {
    /// The client was too slow and skipped ahead.
    pub lag: u64,
    /// The packets were queued when the client's connection ended.
    pub closed: u64,
}

/// Disconnected clients, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CutOff {
    /// The clients were behind for too long.
    pub lag: u64,
    /// Their streams were silent for too long.
    pub idle: u64,
    /// An operator disconnected them.
    pub operator: u64,
}

impl SubscriberGroup {
    /// Counts a new client.
    pub fn joined(&self) -> Arc<Client> {
        self.clients.fetch_add(1, Relaxed);
        self.joined.fetch_add(1, Relaxed);
        self.present.join()
    }

    /// Counts that a client has left.
    pub fn left(&self, client: &Client) {
        self.clients.fetch_sub(1, Relaxed);
        self.present.leave(client);
    }

    /// Counts packets sent to a client.
    pub fn sent(&self, client: &Client, packets: u64, bytes: u64) {
        self.packets.fetch_add(packets, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
        client.sent(packets, bytes);
    }

    /// Counts packets that a client skipped.
    pub fn lagged(&self, client: &Client, packets: u64) {
        self.lag.fetch_add(packets, Relaxed);
        client.lagged(packets);
    }

    /// Counts packets that were queued for a client that has gone.
    pub fn cut(&self, packets: u64) {
        self.closed.fetch_add(packets, Relaxed);
    }

    /// Counts a client that was disconnected because it was behind for too long.
    pub fn cut_off_behind(&self) {
        self.ended_lag.fetch_add(1, Relaxed);
    }

    /// Counts a client that was disconnected because its stream was silent for too long.
    pub fn cut_off_idle(&self) {
        self.ended_idle.fetch_add(1, Relaxed);
    }

    /// Counts a client that an operator has disconnected.
    pub fn cut_off_by_operator(&self) {
        self.ended_operator.fetch_add(1, Relaxed);
    }

    /// Values so far.
    pub fn state(&self) -> SubscribersState {
        SubscribersState {
            clients: self.clients.load(Relaxed),
            joined: self.joined.load(Relaxed),
            packets: self.packets.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            dropped: Dropped { lag: self.lag.load(Relaxed), closed: self.closed.load(Relaxed) },
            cut_off: CutOff {
                lag: self.ended_lag.load(Relaxed),
                idle: self.ended_idle.load(Relaxed),
                operator: self.ended_operator.load(Relaxed),
            },
        }
    }
}
