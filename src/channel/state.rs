//! What a channel looks like to people: plain data that the packet path gives out when it is asked,
//! for the HTTP API, the metrics, the demo's table and the summaries.

use std::{collections::BTreeMap, ops::Deref, sync::Arc};

use serde::{Serialize, Serializer};

use super::{carries::Carries, losses::Loss};
use tidecast_core::relay::{Counters, FlowsRefused, LegCounters, PacketFormat, Refused};

/// One channel, as it stands.
#[derive(Debug, Clone, Serialize)]
pub struct ChannelState {
    /// Its name.
    pub name: String,
    /// The configured format.
    pub format: String,
    /// Whether it exists only while somebody asks for it.
    pub on_demand: bool,
    /// Seconds since it was started.
    pub age_seconds: f64,
    /// What was counted, of all flows together, forgotten ones included.
    pub counters: Counters,
    /// Packets held back for reordering, confirmation or paced release.
    pub held: usize,
    /// Memory of what is held back or kept for recovery, in bytes.
    pub held_bytes: usize,
    /// The longest hold in force in any flow, in seconds.
    pub hold_seconds: f64,
    /// How far an automatic hold may rise, in seconds; absent where the hold is fixed.
    pub hold_max_seconds: Option<f64>,
    /// The longest delay of a paced release in any flow, in seconds; absent if release is not
    /// paced.
    pub release_delay_seconds: Option<f64>,
    /// How much faster than ours the source's clock runs, in parts per million, of the flow of
    /// those that sent within the last 10 s whose clock is off most; absent if release is not
    /// paced.
    pub clock_drift_ppm: Option<f64>,
    /// The largest interarrival jitter of any flow that sent within the last 10 s, in seconds.
    pub jitter_seconds: f64,
    /// Corrupt and foreign datagrams by what was wrong with them.
    pub rejects: BTreeMap<&'static str, u64>,
    /// What one of each of them looked like lately.
    #[serde(skip)]
    pub refused: BTreeMap<&'static str, Refused>,
    /// What the packets that were passed on lately carry.
    #[serde(skip)]
    pub carries: Carries,
    /// Packets passed on that a player gets who follows the channel.
    #[serde(skip)]
    pub followed: u64,
    /// The legs, as configured.
    pub legs: Vec<LegState>,
    /// How many flows there are; `flows` may hold fewer.
    pub flow_count: usize,
    /// Datagrams that got no flow, since the table was full or their host had its share.
    pub flows_refused: FlowsRefused,
    /// The format of the first flow.
    #[serde(skip)]
    pub first_format: Option<PacketFormat>,
    /// The flows, in the order of their ids.
    pub flows: Flows,
    /// The UDP outputs, as configured; then those of their repair packets.
    pub outputs: Vec<OutputState>,
    /// What was lost lately; `/api/v1/losses` says more of it.
    #[serde(skip)]
    pub losses: Vec<Loss>,
}

/// Flows of a channel; copies share them.
#[derive(Debug, Clone, Default)]
pub struct Flows {
    all: Arc<Vec<FlowState>>,
    shown: usize,
}

impl Flows {
    /// The first of them only.
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

/// Whether a leg has joined its group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LegStatus {
    /// It has, or it is bound where there is no group to join.
    Joined,
    /// Something is missing that may come, such as its interface; it is tried again.
    #[default]
    Waiting,
    /// It cannot be opened, and waiting does not help.
    Failed,
    /// It was left on purpose.
    Left,
}

impl LegStatus {
    /// Its word in the API.
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
#[derive(Debug, Clone, Default, Serialize)]
pub struct LegState {
    /// Its URL.
    pub address: String,
    /// How it stands.
    pub state: LegStatus,
    /// Why it waits or has failed; the interface's name when joined.
    pub detail: Option<String>,
    /// Why nothing can come although it is joined, if so: its interface is down.
    pub fault: Option<String>,
    /// What it brought in.
    #[serde(flatten)]
    pub counters: LegCounters,
    /// How much later than the first leg it brings the same number, in seconds, smoothed; absent
    /// with a single leg, and while it brings nothing.
    pub skew_seconds: Option<f64>,
    /// Datagrams that the kernel dropped because the receive buffer was full.
    pub kernel_drops: u64,
    /// Datagrams too large to be received whole.
    pub truncated: u64,
    /// The round trip to the producer, in seconds; absent before requests or echoes have measured
    /// it.
    pub round_trip_seconds: Option<f64>,
    /// Requests and reports that could not be sent.
    pub unsent: u64,
    /// Receive buffer asked for, in bytes.
    pub receive_buffer_requested: usize,
    /// Receive buffer granted, in bytes.
    pub receive_buffer_granted: usize,
}

impl LegState {
    /// Why it can bring nothing, if so, with its address: it is not joined, or its interface is
    /// down.
    pub fn trouble(&self) -> Option<String> {
        let waits =
            (self.state != LegStatus::Joined).then(|| self.detail.as_deref().unwrap_or(self.state.as_str()));
        let reason = waits.or(self.fault.as_deref())?;
        Some(format!("{}: {reason}", self.address))
    }
}

/// One flow of a channel.
#[derive(Debug, Clone, Serialize)]
pub struct FlowState {
    /// Stream id, SSRC, id or source address, as text; `?flow=` takes it.
    pub flow: String,
    /// Where its last packet came from.
    pub source: String,
    /// The format that its packets have.
    pub format: PacketFormat,
    /// Session id or SSRC in force.
    pub session: u32,
    /// What was counted.
    pub counters: Counters,
    /// Packets held back.
    pub held: usize,
    /// The hold in force, in seconds.
    pub hold_seconds: f64,
    /// How its paced release stands; absent if release is not paced.
    pub pacing: Option<PacingState>,
    /// Interarrival jitter (RFC 3550, A.8), in seconds.
    pub jitter_seconds: f64,
    /// The round trip to its producer, in seconds; absent before it was measured.
    pub round_trip_seconds: Option<f64>,
    /// Packets per second, smoothed; absent before it was measured.
    pub packets_per_second: Option<f64>,
    /// Seconds since its last packet.
    pub idle_seconds: f64,
    /// Whether its producer said that it ended.
    pub ended: bool,
    /// Who else sends packets with its id; absent if nobody does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collision: Option<CollisionState>,
    /// Whether its packets are passed on as they come, because their number never changes.
    pub unnumbered: bool,
    /// Columns and rows (L and D) of its ST 2022-1 FEC; absent before any was seen.
    pub fec_matrix: Option<[u64; 2]>,
}

/// Two addresses that send with the same id.
#[derive(Debug, Clone, Serialize)]
pub struct CollisionState {
    /// Whose packets are taken: the first one.
    pub first: String,
    /// Whose packets are rejected.
    pub other: String,
    /// How many so far.
    pub packets: u64,
    /// Seconds since the last of them.
    pub idle_seconds: f64,
}

/// The paced release of a flow.
#[derive(Debug, Clone, Serialize)]
pub struct PacingState {
    /// Which clock of the source gives the times: `pcr`, `rtp`, `timestamp` or `arrival`.
    pub clock: &'static str,
    /// From a packet's fastest arrival to its release, in seconds.
    pub delay_seconds: f64,
    /// How much faster than ours that clock runs, in parts per million.
    pub drift_ppm: f64,
}

/// One UDP output of a channel.
#[derive(Debug, Clone, Default, Serialize)]
pub struct OutputState {
    /// Its URL.
    pub address: String,
    /// Datagrams sent.
    pub packets: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// RTCP datagrams sent beside them.
    pub reports: u64,
    /// Datagrams not sent, by reason.
    pub dropped: BTreeMap<&'static str, u64>,
    /// Numbers that receivers asked for again, by what became of them; empty where they cannot.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub requests: BTreeMap<&'static str, u64>,
    /// Datagrams from receivers that were of no use, by what was wrong with them; empty where none
    /// can come.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub invalid: BTreeMap<&'static str, u64>,
    /// Why nothing can be sent at present, if so.
    pub fault: Option<String>,
}
