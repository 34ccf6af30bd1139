//! Inputs, outputs and settings of the core.

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
use tidecast_wire::{Format, limits::SPAN_NUMBERS_MAX, rtp::PayloadTypes, seal::Keyring};

/// Settings of one channel's core.
#[derive(Debug, Clone)]
pub struct Config {
    /// The datagrams' format.
    pub format: Format,
    /// Number of legs.
    pub legs: usize,
    /// Meaning of the RTP payload types: their clock rates, and which of them are media.
    pub payload_types: Arc<PayloadTypes>,
    /// FEC of RTP streams that comes by [`Input::Repair`].
    pub fec: Fec,
    /// How each leg requests missing packets; a leg beyond the end of the list requests none.
    pub asks: Vec<Asks>,
    /// Random seed; fixed in simulations.
    pub seed: u64,
    /// How long a gap may delay later packets.
    pub hold: Hold,
    /// When packets that are in order go out.
    pub release: Release,
    /// Maximum number of flows.
    pub flows_max: usize,
    /// Share of the flows that is guaranteed to one host, in percent. It may have more as long as
    /// no other host needs them.
    pub flows_share: usize,
    /// Maximum reorder window of one flow, in packets.
    pub window_max: u64,
    /// Maximum memory for packets that are held back, under probation or kept for recovery, in
    /// bytes.
    pub bytes_max: usize,
    /// A flow that is silent for this long is removed.
    pub flow_idle: Duration,
    /// The keys of a channel that takes sealed native datagrams alone.
    pub seal: Option<Arc<Keyring>>,
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
            seal: None,
        }
    }
}

impl Config {
    /// Completes the settings of a channel: a leg for each of `asks`, and a random `seed`.
    pub fn for_legs(self, asks: impl IntoIterator<Item = Asks>, seed: u64) -> Config {
        let asks: Vec<Asks> = asks.into_iter().collect();
        Config { legs: asks.len(), asks, seed, ..self }
    }
}

/// How one leg requests missing packets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Asks {
    /// The leg is a RIST receiver (VSF TR-06-1): it has a port for RTCP beside the media's, and
    /// sends requests to the sender of RTP. Otherwise it sends them to native producers, at the
    /// source address of their packets.
    pub rist: bool,
    /// Whether missing packets are requested at all.
    pub requests: bool,
    /// Whether other receivers may request the same packets: the leg is multicast.
    pub shared: bool,
}

/// Whether a channel requests missing packets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Retransmission {
    /// Missing packets are not requested.
    Off,
    /// Only from RIST senders: the scheme of their address states that they answer requests.
    #[default]
    Auto,
    /// From RIST senders and native producers; requests to the latter go to the source address
    /// of their packets.
    On,
}

impl Retransmission {
    /// Returns how one leg requests packets, given whether it is a RIST receiver and whether
    /// other receivers may request the same.
    pub fn asks(self, rist: bool, shared: bool) -> Asks {
        let requests = match self {
            Retransmission::Off => false,
            Retransmission::Auto => rist,
            Retransmission::On => true,
        };
        Asks { rist, requests, shared }
    }
}

/// Socket of a leg that a datagram is sent from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Socket {
    /// The socket for media.
    Media,
    /// The socket for RTCP.
    Control,
}

/// FEC of RTP streams that comes on ports of its own. (Native FEC comes among the media, and is
/// always used.)
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Fec {
    /// No FEC: media alone.
    #[default]
    Off,
    /// SMPTE ST 2022-1: columns on the media's port + 2, rows on + 4.
    St2022,
    /// SMPTE ST 2022-1 if there is any: on the legs that are known to be RTP.
    Auto,
}

/// An input of the core.
#[derive(Debug)]
pub enum Input {
    /// A datagram has arrived.
    Packet {
        /// Arrival time.
        now: Instant,
        /// Index of the leg; one that is too high counts as the last leg.
        leg: u8,
        /// Source address.
        source: SocketAddr,
        /// The UDP payload.
        bytes: Buffer,
    },
    /// A datagram has arrived on a port for ST 2022-1 repair packets.
    Repair {
        /// Arrival time.
        now: Instant,
        /// Index of the leg, as for [`Input::Packet`].
        leg: u8,
        /// Source address.
        source: SocketAddr,
        /// The UDP payload.
        bytes: Buffer,
    },
    /// A datagram has arrived on the RTCP port of a RIST leg.
    Control {
        /// Arrival time.
        now: Instant,
        /// Index of the leg, as for [`Input::Packet`].
        leg: u8,
        /// Source address.
        source: SocketAddr,
        /// The UDP payload.
        bytes: Buffer,
    },
    /// A datagram has arrived on the RTCP port of an RTP leg: the port above that of the media.
    Report {
        /// Arrival time.
        now: Instant,
        /// Index of the leg, as for [`Input::Packet`].
        leg: u8,
        /// Source address.
        source: SocketAddr,
        /// The UDP payload.
        bytes: Buffer,
    },
    /// The kernel has dropped datagrams of a leg before the next one that arrived, because the
    /// receive buffer was full.
    Dropped {
        /// Arrival time of the next datagram.
        now: Instant,
        /// Index of the leg, as for [`Input::Packet`].
        leg: u8,
        /// Number of dropped datagrams.
        count: u64,
    },
    /// Time has passed.
    Timeout {
        /// Current time.
        now: Instant,
    },
}

/// An output of the core.
#[derive(Debug)]
pub enum Output {
    /// Pass on this packet.
    Deliver(Delivery),
    /// Pass on this control datagram. It has the number of the packet that comes next, and counts
    /// as control, not as delivered.
    Control(Delivery),
    /// Pass on this RTCP datagram of a flow's sender to receivers of all flows. It counts as
    /// control.
    Report {
        /// Port on which it came, and on which it is forwarded.
        beside: Beside,
        /// The UDP payload.
        bytes: Vec<u8>,
    },
    /// These numbers are lost: they are not waited for any more.
    Lost {
        /// Flow that the numbers belong to.
        flow: FlowId,
        /// First lost number.
        from: u64,
        /// Count of lost numbers.
        count: u64,
    },
    /// Send this datagram: a request, or a report to a RIST sender.
    Transmit {
        /// Leg to send on.
        leg: u8,
        /// Socket of the leg to send from.
        from: Socket,
        /// Destination address.
        to: SocketAddr,
        /// The UDP payload.
        bytes: Vec<u8>,
    },
    /// A gap was filled or given up.
    GapClosed {
        /// Flow that had the gap.
        flow: FlowId,
        /// How long the oldest packet behind the gap has waited.
        waited: Duration,
    },
    /// A new session of the producer begins with the next delivery of this flow.
    SessionStarted {
        /// The flow.
        flow: FlowId,
        /// Stream id, SSRC, id or source address of the flow as text, as `?flow=` takes it.
        key: String,
        /// Source address of its first packet.
        source: SocketAddr,
        /// Flow that has stopped and whose place it takes, if any.
        succeeds: Option<FlowId>,
    },
    /// Whether the flow carries a transport stream, which players prefer; sent once that is known,
    /// and again when it changes. A flow for which this was never sent carries none.
    Carries {
        /// The flow.
        flow: FlowId,
        /// Whether the flow carries a transport stream.
        stream: bool,
    },
    /// An existing flow takes the place of another one, which has stopped, with its next delivery.
    Succeeded {
        /// The flow that continues.
        flow: FlowId,
        /// The flow that has stopped.
        succeeds: FlowId,
    },
    /// The number in the flow's packets never changes, so they are passed on in the order of
    /// arrival.
    Unnumbered {
        /// The flow.
        flow: FlowId,
    },
    /// Packets with a flow's id come from a second address and contradict those of the first one.
    /// They are rejected.
    Collision {
        /// The flow.
        flow: FlowId,
        /// Address whose packets are accepted.
        first: SocketAddr,
        /// Address whose packets are rejected.
        other: SocketAddr,
    },
    /// The flow has been removed: it was silent for too long, made room for another one, or its
    /// producer ended it.
    FlowEnded {
        /// The flow; its id may be used again.
        flow: FlowId,
    },
    /// Nothing more to do now. Call again at this instant, or with the next datagram if there is
    /// none.
    Timeout(Option<Instant>),
}

/// Identifies a flow of the channel; unique while the flow exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FlowId(pub u32);

/// A packet to be passed on.
#[derive(Debug)]
pub struct Delivery {
    /// Flow of the packet.
    pub flow: FlowId,
    /// Sequence number, extended to 64 bits: it never wraps.
    pub seq: u64,
    /// Count of numbers that the packet takes, from `seq` on. A `u16` takes no space: it fits
    /// beside `how`.
    pub span: u16,
    /// How the packet was obtained.
    pub how: How,
    /// The datagram itself.
    pub packet: Packet,
}

impl Delivery {
    pub(super) fn new(flow: FlowId, seq: u64, span: u64, how: How, packet: Packet) -> Delivery {
        const { assert!(SPAN_NUMBERS_MAX <= u16::MAX as u64) }; // the cast below loses nothing
        Delivery { flow, seq, span: span as u16, how, packet }
    }
}

/// How a packet was obtained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// As it was sent.
    Received,
    /// Rebuilt from repair packets.
    Fec,
    /// Sent again by the producer.
    Retransmission,
}

/// Format of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
    /// Whether packets of this format belong to a stream that a player follows, rather than being
    /// independent readings.
    pub fn is_stream(self) -> bool {
        matches!(self, PacketFormat::Rtp | PacketFormat::Ts)
    }

    /// Name of the format, as in the API.
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

/// A datagram with what was parsed from it.
#[derive(Debug)]
pub struct Packet {
    /// The whole datagram. If its payload came encrypted, the opened one follows it.
    pub bytes: Buffer,
    /// Range of the payload in `bytes`.
    pub payload: Range<u32>,
    /// Microseconds since the Unix epoch on the producer's clock, if the format has them.
    pub timestamp: Option<u64>,
    /// When the datagram arrived or was rebuilt.
    pub arrived: Instant,
    /// Format of the datagram.
    pub format: PacketFormat,
}

impl Packet {
    /// The payload.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        &self.bytes[self.payload.start as usize..self.payload.end as usize]
    }

    /// The datagram as it came, sealed if it was.
    #[inline]
    pub fn datagram(&self) -> &[u8] {
        // Behind the payload of a native datagram there is a checksum, except for an opened one.
        let opened = self.format == PacketFormat::Native && self.payload.end as usize == self.bytes.len();
        if opened { &self.bytes[..self.payload.start as usize] } else { &self.bytes }
    }
}

/// Two addresses that send packets with the same id (RFC 3550, section 8.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Collision {
    /// Address whose packets are accepted: the one that was first.
    pub first: SocketAddr,
    /// Address whose packets are rejected.
    pub other: SocketAddr,
    /// Count of rejected packets.
    pub packets: u64,
    /// When the latest rejected packet came.
    pub last: Instant,
}

/// State of a flow, for display.
#[derive(Debug, Clone)]
pub struct FlowState {
    /// The flow.
    pub id: FlowId,
    /// Stream id, SSRC, id or source address as text, as `?flow=` takes it.
    pub key: String,
    /// Source address of the latest packet.
    pub source: SocketAddr,
    /// The format.
    pub format: PacketFormat,
    /// Session id or SSRC of the current session.
    pub session: u32,
    /// Counters of the flow.
    pub counters: Counters,
    /// Packets held back.
    pub held: usize,
    /// Current hold.
    pub hold: Duration,
    /// Interarrival jitter (RFC 3550, A.8).
    pub jitter: Duration,
    /// State of the paced release, if release is paced.
    pub pacing: Option<Pacing>,
    /// Smoothed round-trip time to the producer, once requests or echoes have measured it.
    pub round_trip: Option<Duration>,
    /// Packets per second, smoothed.
    pub packets_per_second: Option<f64>,
    /// Arrival time of the latest packet.
    pub last_arrival: Instant,
    /// Whether the producer has announced the end of its session.
    pub ended: bool,
    /// Another address that sends packets with the same id, if any.
    pub collision: Option<Collision>,
    /// Whether packets are passed on in the order of arrival because their number never changes.
    pub unnumbered: bool,
    /// Columns and rows (L and D) of the ST 2022-1 FEC, as the latest repair packets show them.
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
