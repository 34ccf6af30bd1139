//! State of a channel for display: plain data that the packet path returns on request, for the
//! HTTP API, the metrics, the demo's table and the summaries.

use std::{collections::BTreeMap, ops::Deref, sync::Arc};

use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use super::{carries::Carries, losses::Loss};
use tidecast_core::relay::{Counters, FlowsRefused, LegCounters, PacketFormat, Refused};

/// State of one channel.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ChannelState {
    /// Its name.
    pub name: String,
    /// The configured format.
    pub format: String,
    /// Whether it exists only as long as clients request it.
    pub on_demand: bool,
    /// Seconds since it was started.
    pub age_seconds: f64,
    /// Counters of all flows together, including removed ones.
    pub counters: Counters,
    /// Packets held back for reordering, confirmation or paced release.
    pub held: usize,
    /// Memory of packets that are held back or kept for recovery, in bytes.
    pub held_bytes: usize,
    /// The longest current hold of any flow, in seconds.
    pub hold_seconds: f64,
    /// Upper bound of an automatic hold, in seconds; absent if the hold is fixed.
    pub hold_max_seconds: Option<f64>,
    /// The longest delay of a paced release in any flow, in seconds; absent if release is not
    /// paced.
    pub release_delay_seconds: Option<f64>,
    /// How much faster the source's clock runs than ours, in parts per million; the largest
    /// deviation of the flows that sent within the last 10 s; absent if release is not paced.
    pub clock_drift_ppm: Option<f64>,
    /// The largest interarrival jitter of any flow that sent within the last 10 s, in seconds.
    pub jitter_seconds: f64,
    /// Corrupt and foreign datagrams, by reason.
    pub rejects: BTreeMap<&'static str, u64>,
    /// A recent example for each reason.
    #[serde(skip)]
    pub refused: BTreeMap<&'static str, Refused>,
    /// What the recently delivered packets carry.
    #[serde(skip)]
    pub carries: Carries,
    /// Delivered packets that a player of the channel gets.
    #[serde(skip)]
    pub followed: u64,
    /// The legs, as configured.
    pub legs: Vec<LegState>,
    /// Number of flows; `flows` may hold fewer.
    pub flow_count: usize,
    /// Datagrams that got no flow, because the table was full or their host had used its share.
    pub flows_refused: FlowsRefused,
    /// The format of the first flow.
    #[serde(skip)]
    pub first_format: Option<PacketFormat>,
    /// The flows, in the order of their ids.
    #[schemars(with = "Vec<FlowState>")]
    pub flows: Flows,
    /// The UDP outputs, as configured, then those of their repair packets.
    pub outputs: Vec<OutputState>,
    /// Recent losses; `/api/v1/losses` gives more details.
    #[serde(skip)]
    pub losses: Vec<Loss>,
}

/// Flows of a channel; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Flows {
    all: Arc<Vec<FlowState>>,
    shown: usize,
}

impl Flows {
    /// The first `flows_max` of them.
    pub fn first(&self, flows_max: usize) -> Flows {
        Flows { all: self.all.clone(), shown: self.shown.min(flows_max) }
    }
}

impl From<Vec<FlowState>> for Flows {
    fn from(flows: Vec<FlowState>) -> Flows {
        Flows { shown: flows.len(), all: Arc::new(flows) }
    }
}

impl Deref for Flows {
    type Target = [FlowState];

    fn deref(&self) -> &[FlowState] {
        &self.all[..self.shown]
    }
}

impl Serialize for Flows {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

/// State of a leg's membership.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LegStatus {
    /// Joined, or bound if there is no group to join.
    Joined,
    /// A prerequisite is missing, such as its interface; it is tried again.
    #[default]
    Waiting,
    /// It cannot be opened, and waiting does not help.
    Failed,
    /// It was left intentionally.
    Left,
}

impl LegStatus {
    /// Name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            LegStatus::Joined => "joined",
            LegStatus::Waiting => "waiting",
            LegStatus::Failed => "failed",
            LegStatus::Left => "left",
        }
    }
}

/// One leg of a channel.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub struct LegState {
    /// Its URL.
    pub address: String,
    /// State of its membership.
    pub state: LegStatus,
    /// Why it waits or has failed; the interface's name when joined.
    pub detail: Option<String>,
    /// Why it cannot receive although it is joined, if so: its interface is down.
    pub fault: Option<String>,
    /// Counters of its datagrams.
    #[serde(flatten)]
    pub counters: LegCounters,
    /// Average lag behind the first leg, in seconds; absent with a single leg, and while the leg
    /// carries nothing.
    pub skew_seconds: Option<f64>,
    /// Datagrams that the kernel dropped because the receive buffer was full.
    pub kernel_drops: u64,
    /// Datagrams too large to be received whole.
    pub truncated: u64,
    /// Round trip to the producer, in seconds; absent before requests or echoes have measured it.
    pub round_trip_seconds: Option<f64>,
    /// Requests and reports that could not be sent.
    pub unsent: u64,
    /// Requested receive buffer, in bytes.
    pub receive_buffer_requested: usize,
    /// Granted receive buffer, in bytes.
    pub receive_buffer_granted: usize,
}

impl LegState {
    /// Why it cannot receive, if so, with its address: it is not joined, or its interface is down.
    pub fn trouble(&self) -> Option<String> {
        let waits =
            (self.state != LegStatus::Joined).then(|| self.detail.as_deref().unwrap_or(self.state.as_str()));
        let reason = waits.or(self.fault.as_deref())?;
        Some(format!("{}: {reason}", self.address))
    }
}

/// One flow of a channel.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct FlowState {
    /// Stream id, SSRC, id or source address, as text; accepted by `?flow=`.
    pub flow: String,
    /// Source address of its last packet.
    pub source: String,
    /// Format of its packets.
    pub format: PacketFormat,
    /// Current session id or SSRC.
    pub session: u32,
    /// Counters of the flow.
    pub counters: Counters,
    /// Packets held back.
    pub held: usize,
    /// Current hold, in seconds.
    pub hold_seconds: f64,
    /// State of its paced release; absent if release is not paced.
    pub pacing: Option<PacingState>,
    /// Interarrival jitter (RFC 3550, A.8), in seconds.
    pub jitter_seconds: f64,
    /// Round trip to its producer, in seconds; absent before it was measured.
    pub round_trip_seconds: Option<f64>,
    /// Packets per second, smoothed; absent before it was measured.
    pub packets_per_second: Option<f64>,
    /// Seconds since its last packet.
    pub idle_seconds: f64,
    /// Whether its producer has announced the end.
    pub ended: bool,
    /// Another sender of packets with its id; absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collision: Option<CollisionState>,
    /// Whether its packets are delivered in order of arrival, because their number never changes.
    pub unnumbered: bool,
    /// Columns and rows (L and D) of its ST 2022-1 FEC; absent before any was seen.
    pub fec_matrix: Option<[u64; 2]>,
}

/// Two addresses that send packets with the same id.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct CollisionState {
    /// Address whose packets are accepted: the first one.
    pub first: String,
    /// Address whose packets are rejected.
    pub other: String,
    /// Count of rejected packets.
    pub packets: u64,
    /// Seconds since the last rejected packet.
    pub idle_seconds: f64,
}

/// The paced release of a flow.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct PacingState {
    /// Clock of the source that gives the times: `pcr`, `rtp`, `timestamp` or `arrival`.
    pub clock: &'static str,
    /// Time from a packet's fastest arrival to its release, in seconds.
    pub delay_seconds: f64,
    /// How much faster that clock runs than ours, in parts per million.
    pub drift_ppm: f64,
}

/// One UDP output of a channel.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub struct OutputState {
    /// Its URL.
    pub address: String,
    /// Datagrams sent.
    pub packets: u64,
    /// Bytes of these datagrams.
    pub bytes: u64,
    /// RTCP datagrams sent beside them.
    pub reports: u64,
    /// Datagrams not sent, by reason.
    pub dropped: BTreeMap<&'static str, u64>,
    /// Numbers that receivers have requested, by outcome; empty if they cannot request.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub requests: BTreeMap<&'static str, u64>,
    /// Unusable datagrams from receivers, by reason; empty if receivers cannot send any.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub invalid: BTreeMap<&'static str, u64>,
    /// Why nothing can be sent at present, if so.
    pub fault: Option<String>,
}
