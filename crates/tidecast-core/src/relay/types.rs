//! What goes into the core and what comes out of it.

use std::{
    fmt,
    net::SocketAddr,
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Serialize;

use super::{
    Beside, Counters, Hold,
    arrival::FlowKey,
    paced::{Pacing, Release},
};
use crate::{
    buffer::Buffer,
    limits::{CHANNEL_BYTES_MAX, FLOW_IDLE, FLOWS_MAX, REORDER_PACKETS_MAX, SHARE_PERCENT},
};
use tidecast_wire::{Format, limits::SPAN_NUMBERS_MAX, rtp::PayloadTypes};

/// What a channel's core is told at the start.
#[derive(Debug, Clone)]
pub struct Config {
    /// The datagrams' format.
    pub format: Format,
    /// Number of legs.
    pub legs: usize,
    /// What RTP payload types mean: their clocks, and which of them are media.
    pub payload_types: Arc<PayloadTypes>,
    /// What repair packets RTP packets are kept for ([`Input::Repair`]).
    pub fec: Fec,
    /// Whom each leg asks for missing packets, and whether; a leg beyond the end of the list asks nobody.
    pub asks: Vec<Asks>,
    /// Random seed; fixed in simulations.
    pub seed: u64,
    /// The longest time that a gap may delay later packets.
    pub hold: Hold,
    /// When packets that are in order go out.
    pub release: Release,
    /// Flows at once.
    pub flows_max: usize,
    /// The share of them that one host always has, in percent; more of them only as long as no other host needs them.
    pub flows_share: usize,
    /// Largest reorder window of one flow, in packets.
    pub window_max: u64,
    /// Memory for packets held back, under probation or kept for recovery, in bytes.
    pub bytes_max: usize,
    /// A flow silent for this long is forgotten.
    pub flow_idle: Duration,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            format: Format::Auto,
            legs: 1,
            payload_types: Arc::default(),
            fec: Fec::Off,
            asks: Vec::new(),
            seed: 0,
            hold: Hold::default(),
            release: Release::default(),
            flows_max: FLOWS_MAX,
            flows_share: SHARE_PERCENT as usize,
            window_max: REORDER_PACKETS_MAX,
            bytes_max: CHANNEL_BYTES_MAX,
            flow_idle: FLOW_IDLE,
        }
    }
}

impl Config {
    /// These settings for a channel that runs: with a leg for each of `asks`, and a random `seed`.
    pub fn for_legs(self, asks: impl IntoIterator<Item = Asks>, seed: u64) -> Config {
        let asks: Vec<Asks> = asks.into_iter().collect();
        Config { legs: asks.len(), asks, seed, ..self }
    }
}

/// How one leg asks for missing packets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Asks {
    /// The leg is a RIST receiver (VSF TR-06-1): it has a port for RTCP beside the media's, and asks the sender of RTP.
    /// Otherwise it asks native producers, at the address that their packets come from.
    pub rist: bool,
    /// Whether missing packets are asked for at all.
    pub requests: bool,
    /// Others may ask for the same: the leg is multicast.
    pub shared: bool,
}

/// Whether a channel asks for missing packets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Retransmission {
    /// Nobody is asked.
    Off,
    /// RIST senders are asked: their address says that they answer.
    #[default]
    Auto,
    /// Native producers are asked as well, at the address that their packets come from.
    On,
}

impl Retransmission {
    /// What this means for one leg.
    pub fn asks(self, rist: bool, shared: bool) -> Asks {
        let requests = match self {
            Retransmission::Off => false,
            Retransmission::Auto => rist,
            Retransmission::On => true,
        };
        Asks { rist, requests, shared }
    }
}

/// Which of a leg's sockets a datagram leaves from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Socket {
    /// The media's.
    Media,
    /// That of RTCP.
    Control,
}

/// FEC of RTP streams that comes on ports of its own. (Native FEC comes among the media, and is always used.)
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Fec {
    /// None: media alone.
    #[default]
    Off,
    /// SMPTE ST 2022-1: columns on the media's port + 2, rows on + 4.
    St2022,
    /// The same, if there is any: on the legs that say that they are RTP.
    Auto,
}

/// What the core is told.
#[derive(Debug)]
pub enum Input {
    /// A datagram came in.
    Packet {
        /// When it arrived.
        now: Instant,
        /// On which leg (an index; one too high counts as the last).
        leg: u8,
        /// From where.
        source: SocketAddr,
        /// The UDP payload.
        bytes: Buffer,
    },
    /// A datagram came in where only ST 2022-1 repair packets are expected: on a port of their own beside the media.
    Repair {
        /// When it arrived.
        now: Instant,
        /// On which leg, as for [`Input::Packet`].
        leg: u8,
        /// From where.
        source: SocketAddr,
        /// The UDP payload.
        bytes: Buffer,
    },
    /// A datagram came in on the port for RTCP of a RIST leg.
    Control {
        /// When it arrived.
        now: Instant,
        /// On which leg, as for [`Input::Packet`].
        leg: u8,
        /// From where.
        source: SocketAddr,
        /// The UDP payload.
        bytes: Buffer,
    },
    /// A datagram came in on the port for RTCP of an RTP leg, the one above the media's.
    Report {
        /// When it arrived.
        now: Instant,
        /// On which leg, as for [`Input::Packet`].
        leg: u8,
        /// From where.
        source: SocketAddr,
        /// The UDP payload.
        bytes: Buffer,
    },
    /// The kernel dropped datagrams of a leg before the next one that came on it: its receive buffer was full.
    Dropped {
        /// When that one arrived.
        now: Instant,
        /// On which leg, as for [`Input::Packet`].
        leg: u8,
        /// How many.
        count: u64,
    },
    /// Time has passed.
    Timeout {
        /// The present.
        now: Instant,
    },
}

/// What the core answers.
#[derive(Debug)]
pub enum Output {
    /// Pass this packet on.
    Deliver(Delivery),
    /// Pass on this control datagram, which has the number of the packet that comes next. It counts as control, not as
    /// delivered.
    Control(Delivery),
    /// Pass on this RTCP of a flow's sender, to receivers of all flows. It counts as control.
    Report {
        /// How it came, and goes on.
        beside: Beside,
        /// The UDP payload.
        bytes: Vec<u8>,
    },
    /// These numbers were given up.
    Lost {
        /// Of this flow.
        flow: FlowId,
        /// The first of them.
        from: u64,
        /// How many.
        count: u64,
    },
    /// Send this datagram: a request, or a report to a RIST sender.
    Transmit {
        /// On this leg.
        leg: u8,
        /// From this one of its sockets.
        from: Socket,
        /// To this address.
        to: SocketAddr,
        /// The UDP payload.
        bytes: Vec<u8>,
    },
    /// A gap was filled or given up; packets behind it had waited this long.
    GapClosed {
        /// In this flow.
        flow: FlowId,
        /// How long the oldest of them had waited.
        waited: Duration,
    },
    /// A producer's new run begins with the next delivery of this flow.
    SessionStarted {
        /// The flow.
        flow: FlowId,
        /// Its stream id, SSRC, id or source address, as text; `?flow=` takes it.
        key: String,
        /// Where its first packet came from.
        source: SocketAddr,
        /// The flow that it takes the place of, which has stopped.
        succeeds: Option<FlowId>,
    },
    /// Whether the flow carries a transport stream, which a player prefers to anything else; said when that is known, and
    /// again when it changes. A flow of which nothing is said carries none.
    Carries {
        /// The flow.
        flow: FlowId,
        /// Whether it does.
        stream: bool,
    },
    /// A flow that is known takes the place of another one, which has stopped: with its next delivery.
    Succeeded {
        /// The flow that goes on.
        flow: FlowId,
        /// The flow that has stopped.
        succeeds: FlowId,
    },
    /// The flow's number never changes: its packets are passed on in the order in which they come.
    Unnumbered {
        /// The flow.
        flow: FlowId,
    },
    /// Packets with a flow's id come from a second address, and contradict its own: they are rejected.
    Collision {
        /// The flow.
        flow: FlowId,
        /// Whose packets are taken.
        first: SocketAddr,
        /// Whose packets are rejected.
        other: SocketAddr,
    },
    /// The flow is forgotten, or its producer said that it ended.
    FlowEnded {
        /// The flow; its id may be used again.
        flow: FlowId,
    },
    /// Nothing more now. Call again at this instant; `None`: only when a packet comes.
    Timeout(Option<Instant>),
}

/// A flow of the channel: unique while the flow lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct FlowId(pub u32);

/// A packet that is passed on.
#[derive(Debug)]
pub struct Delivery {
    /// Its flow.
    pub flow: FlowId,
    /// Its number, extended: it never wraps.
    pub seq: u64,
    /// How many numbers it takes, from that one on. There is room for it beside `how`.
    pub span: u16,
    /// How it came.
    pub how: How,
    /// The packet.
    pub packet: Packet,
}

impl Delivery {
    pub(super) fn new(flow: FlowId, seq: u64, span: u64, how: How, packet: Packet) -> Delivery {
        const { assert!(SPAN_NUMBERS_MAX <= u16::MAX as u64) }; // nothing is cut off
        Delivery { flow, seq, span: span as u16, how, packet }
    }
}

/// How a packet came to be delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// As it was sent.
    Received,
    /// Rebuilt from repair packets.
    Fec,
    /// Sent again by its producer.
    Retransmission,
}

/// The format that a packet turned out to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PacketFormat {
    /// Native datagram.
    Native,
    /// RTP.
    Rtp,
    /// MPEG-TS without RTP.
    Ts,
    /// Another numbered datagram.
    Custom,
    /// Not numbered.
    Raw,
}

impl PacketFormat {
    /// Whether packets of this format are a stream that a player follows, and not readings of which all go out.
    pub fn is_stream(self) -> bool {
        matches!(self, PacketFormat::Rtp | PacketFormat::Ts)
    }

    /// Its name, as in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            PacketFormat::Native => "native",
            PacketFormat::Rtp => "rtp",
            PacketFormat::Ts => "ts",
            PacketFormat::Custom => "custom",
            PacketFormat::Raw => "raw",
        }
    }
}

/// A datagram and what is known of it.
#[derive(Debug)]
pub struct Packet {
    /// The whole datagram.
    pub bytes: Buffer,
    /// Where in it the payload is.
    pub payload: Range<u32>,
    /// Microseconds since the Unix epoch on the producer's clock, if the format has them.
    pub timestamp: Option<u64>,
    /// When it arrived, or was rebuilt.
    pub arrived: Instant,
    /// What it is.
    pub format: PacketFormat,
}

impl Packet {
    /// The payload.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        &self.bytes[self.payload.start as usize..self.payload.end as usize]
    }
}

/// Two addresses that send with the same id (RFC 3550, section 8.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Collision {
    /// Whose packets are taken: the first one.
    pub first: SocketAddr,
    /// Whose packets are rejected.
    pub other: SocketAddr,
    /// How many so far.
    pub packets: u64,
    /// When the last of them came.
    pub last: Instant,
}

/// A flow as people see it.
#[derive(Debug, Clone)]
pub struct FlowState {
    /// The flow.
    pub id: FlowId,
    /// Stream id, SSRC, id or source address, as text; `?flow=` takes it.
    pub key: String,
    /// Where its last packet came from.
    pub source: SocketAddr,
    /// The format.
    pub format: PacketFormat,
    /// Session id or SSRC in force.
    pub session: u32,
    /// What was counted.
    pub counters: Counters,
    /// Packets held back.
    pub held: usize,
    /// The hold in force.
    pub hold: Duration,
    /// Interarrival jitter (RFC 3550, A.8).
    pub jitter: Duration,
    /// How its release stands, if it is paced.
    pub pacing: Option<Pacing>,
    /// The round trip to its producer, smoothed, once requests or echoes have measured it.
    pub round_trip: Option<Duration>,
    /// Packets per second, smoothed.
    pub packets_per_second: Option<f64>,
    /// When its last packet came.
    pub last_arrival: Instant,
    /// Whether its producer said that it ended.
    pub ended: bool,
    /// Who else sends packets with its id, which are rejected.
    pub collision: Option<Collision>,
    /// Whether its packets are passed on as they come, because their number never changes.
    pub unnumbered: bool,
    /// Columns and rows (L and D) of its ST 2022-1 FEC, as the latest repair packets show them.
    pub fec_matrix: Option<(u64, u64)>,
}

impl fmt::Display for FlowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FlowKey::Stream(id) => write!(f, "{id}"),
            FlowKey::Ssrc(ssrc) => write!(f, "{ssrc:#010x}"),
            FlowKey::Id(id) => write!(f, "{id}"),
            FlowKey::Source(source) => write!(f, "{source}"),
        }
    }
}
