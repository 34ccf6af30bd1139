//! The results of a probe as plain values: `--json` prints them unchanged, `text` and the live
//! display convert them to text. Times are in seconds, rates per second, shares from 0 to 1.

use std::net::IpAddr;

use serde::Serialize;

use super::suggest::Suggestion;

/// All results of a probe.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// The probed input, as typed.
    pub input: String,
    /// Duration from the first datagram to the last one or to now.
    pub seconds: f64,
    /// The format in words: `RTP with MPEG-TS`, `native`, `unnumbered`.
    pub format: String,
    /// Datagrams on the media's port and on its additional ports.
    pub packets: u64,
    /// Their bytes (UDP payload).
    pub bytes: u64,
    /// Datagrams per second.
    pub packets_per_second: f64,
    /// Bits of UDP payload per second.
    pub bits_per_second: f64,
    /// Sequence numbers of all flows.
    pub numbers: NumbersReport,
    /// Maximum of all flows; `None` without timestamps.
    pub jitter_seconds: Option<f64>,
    /// Damaged datagrams of a known format.
    pub corrupt: u64,
    /// Datagrams of another format.
    pub foreign: u64,
    /// The `--format` that the first corrupt or foreign datagram resembles; `None` if it resembles
    /// no known format.
    pub refused_format: Option<&'static str>,
    /// Datagrams that the kernel dropped on this host because the receive buffer was full. They
    /// also count as lost.
    pub kernel_drops: u64,
    /// The FEC that was received.
    pub fec: Vec<FecReport>,
    /// RTCP, if there was any.
    pub rtcp: Option<ControlReport>,
    /// Each flow, up to the first [`crate::limits::PROBE_FLOWS_MAX`].
    pub flows: Vec<FlowReport>,
    /// Datagrams of further flows.
    pub unfollowed: u64,
    /// Datagrams of the layout that have no sequence number (`pass`).
    pub unnumbered: u64,
    /// Other traffic on the ports for FEC and RTCP.
    pub beside: Vec<BesideReport>,
    /// The `--format` that would number the unnumbered datagrams.
    pub format_guess: Option<String>,
    /// Settings that would have recovered the losses.
    pub suggestion: Option<Suggestion>,
}

/// Counters of sequence numbers.
#[derive(Debug, Clone, Default, Serialize)]
pub struct NumbersReport {
    /// Numbers from the first to the last of each numbering.
    pub expected: u64,
    /// Numbers that were never received, not counting repair packets.
    pub lost: u64,
    /// `lost / expected`.
    pub loss: f64,
    /// Losses of one or more consecutive numbers.
    pub losses: u64,
    /// Length of the longest loss.
    pub longest_loss: u64,
    /// How often each length occurred; above 64 by powers of two.
    pub loss_lengths: Vec<LossLength>,
    /// Packets that arrived after one with a higher number.
    pub reordered: u64,
    /// Maximum number of positions by which a packet was reordered.
    pub reorder_distance_max: u64,
    /// Maximum time by which a reordered packet arrived after the number that overtook it.
    pub lateness_max_seconds: f64,
    /// Packets that were received more than once.
    pub duplicates: u64,
    /// Packets that were retransmitted on request.
    pub retransmitted: u64,
    /// Restarts of the producer's numbering.
    pub restarts: u64,
    /// Packets far away from any numbering.
    pub strays: u64,
}

/// One bar of the histogram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LossLength {
    /// Number of consecutive losses.
    pub length: u64,
    /// How often it occurred.
    pub count: u64,
}

/// One flow.
#[derive(Debug, Clone, Serialize)]
pub struct FlowReport {
    /// SSRC, stream id, or the layout's id, in hexadecimal or decimal as elsewhere.
    pub flow: String,
    /// Its sender.
    pub source: String,
    /// `native`, `rtp`, `ts`, `raw` or `custom`.
    pub format: &'static str,
    /// RTP payload type, 0 to 127.
    pub payload_type: Option<u8>,
    /// RTP clock rate in ticks per second, known or measured.
    pub clock_rate: Option<f64>,
    /// Data packets.
    pub packets: u64,
    /// Their bytes (UDP payload).
    pub bytes: u64,
    /// Size of the shortest datagram.
    pub size_min: usize,
    /// Size of the longest datagram.
    pub size_max: usize,
    /// Datagrams per second over the flow's duration.
    pub packets_per_second: f64,
    /// Bits of UDP payload per second.
    pub bits_per_second: f64,
    /// Sequence numbers; `None` if the flow is not numbered.
    pub numbers: Option<NumbersReport>,
    /// Interarrival jitter (RFC 3550).
    pub jitter_seconds: Option<f64>,
    /// The MPEG-TS in it.
    pub ts: Option<TsReport>,
}

/// FEC of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind")]
pub enum FecReport {
    /// SMPTE ST 2022-1.
    #[serde(rename = "st2022-1")]
    St2022 {
        /// The sender.
        source: IpAddr,
        /// L.
        columns: u64,
        /// D; unknown if there are only rows.
        rows: Option<u64>,
        /// Whether columns are protected.
        column_fec: bool,
        /// Whether rows are protected.
        row_fec: bool,
        /// Repair packets.
        packets: u64,
    },
    /// Native blocks.
    #[serde(rename = "native")]
    Native {
        /// Data packets of a block.
        k: usize,
        /// Repair packets of a block.
        m: usize,
        /// Number of interleaved blocks.
        stride: u64,
        /// Repair packets.
        packets: u64,
    },
}

/// RTCP packets by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ControlReport {
    /// Datagrams.
    pub datagrams: u64,
    /// Sender reports.
    pub sender_reports: u64,
    /// Receiver reports.
    pub receiver_reports: u64,
    /// Requests for packets (NACK).
    pub requests: u64,
    /// Whether there were packets that occur only in RIST.
    pub rist: bool,
}

/// Traffic that is neither repair packets nor RTCP on an additional port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct BesideReport {
    /// Offset from the media's port.
    pub port_above: u16,
    /// Datagrams.
    pub packets: u64,
}

/// A transport stream.
#[derive(Debug, Clone, Serialize)]
pub struct TsReport {
    /// TS packets.
    pub packets: u64,
    /// Bits of TS packets per second.
    pub bits_per_second: f64,
    /// Null packets (stuffing) among them.
    pub null_packets: u64,
    /// Packets with `transport_error_indicator`.
    pub transport_errors: u64,
    /// Datagrams that did not consist of whole TS packets.
    pub misaligned: u64,
    /// Continuity errors of all PIDs, in the order of arrival, so that reordering also counts.
    pub continuity_errors: u64,
    /// The programmes listed in the PAT.
    pub programs: Vec<ProgramReport>,
    /// Each PID.
    pub pids: Vec<PidReport>,
}

/// A programme.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ProgramReport {
    /// Its number.
    pub program: u16,
    /// PID of its PMT.
    pub pmt_pid: u16,
    /// PID of its PCR.
    pub pcr_pid: Option<u16>,
}

/// A PID.
#[derive(Debug, Clone, Serialize)]
pub struct PidReport {
    /// 0 to 8191.
    pub pid: u16,
    /// The programme that it belongs to.
    pub program: Option<u16>,
    /// Kind of content.
    pub kind: String,
    /// TS packets.
    pub packets: u64,
    /// Bits of TS packets per second.
    pub bits_per_second: f64,
    /// Continuity counters that were not the next.
    pub continuity_errors: u64,
    /// Whether packets were scrambled.
    pub scrambled: bool,
    /// Its PCR.
    pub pcr: Option<PcrReport>,
}

/// A program clock (PCR).
#[derive(Debug, Clone, Copy, Serialize)]
pub struct PcrReport {
    /// Number of PCR values.
    pub count: u64,
    /// Maximum time between two PCR values, by the PCR itself.
    pub interval_max_seconds: f64,
    /// Intervals longer than 100 ms (ISO/IEC 13818-1).
    pub too_rare: u64,
    /// Jumps without a discontinuity indicator.
    pub discontinuities: u64,
    /// Jumps with a discontinuity indicator.
    pub announced_discontinuities: u64,
    /// Variation of arrival times relative to the PCR, smoothed.
    pub jitter_seconds: f64,
    /// Maximum variation from one PCR value to the next.
    pub jitter_max_seconds: f64,
    /// How far arrivals have fallen behind (or run ahead of) the PCR since the first one.
    pub drift_seconds: f64,
}
