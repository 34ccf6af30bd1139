//! What a probe has found, as plain values: `--json` prints them as they are, `text` and the live
//! display put them into words. Times in seconds, rates per second, shares from 0 to 1.

use std::net::IpAddr;

use serde::Serialize;

use super::suggest::Suggestion;

/// All of it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// What was probed, as typed.
    pub input: String,
    /// How long, from the first datagram to the last or to now.
    pub seconds: f64,
    /// In words: `RTP with MPEG-TS`, `native`, `unnumbered`.
    pub format: String,
    /// Datagrams on the media's port, and on those beside it.
    pub packets: u64,
    /// Their bytes (UDP payload).
    pub bytes: u64,
    /// Datagrams per second.
    pub packets_per_second: f64,
    /// Bits of UDP payload per second.
    pub bits_per_second: f64,
    /// Of all flows.
    pub numbers: NumbersReport,
    /// The largest of any flow; none without time stamps.
    pub jitter_seconds: Option<f64>,
    /// Datagrams that claim a format and are damaged.
    pub corrupt: u64,
    /// Datagrams of another format.
    pub foreign: u64,
    /// The `--format` that the first corrupt or foreign datagram looks like; none if it looks like
    /// nothing that is known.
    pub refused_format: Option<&'static str>,
    /// Datagrams that the kernel dropped here: the receive buffer was full. They count as lost,
    /// too.
    pub kernel_drops: u64,
    /// The forward error correction that was seen.
    pub fec: Vec<FecReport>,
    /// RTCP, if there was any.
    pub rtcp: Option<ControlReport>,
    /// Each flow; the first [`crate::limits::PROBE_FLOWS_MAX`].
    pub flows: Vec<FlowReport>,
    /// Datagrams of flows beyond those.
    pub unfollowed: u64,
    /// Datagrams of the layout that have no number (`pass`).
    pub unnumbered: u64,
    /// What else came on the ports where FEC and RTCP would stand.
    pub beside: Vec<BesideReport>,
    /// The `--format` that would number what is not numbered.
    pub format_guess: Option<String>,
    /// What would have helped.
    pub suggestion: Option<Suggestion>,
}

/// What became of numbers.
#[derive(Debug, Clone, Default, Serialize)]
pub struct NumbersReport {
    /// From the first to the last one of each numbering.
    pub expected: u64,
    /// Never seen, repair packets not counted in.
    pub lost: u64,
    /// `lost / expected`.
    pub loss: f64,
    /// Losses of one or more numbers in a row.
    pub losses: u64,
    /// The longest.
    pub longest_loss: u64,
    /// How often each length occurred; above 64 by powers of two.
    pub loss_lengths: Vec<LossLength>,
    /// Came behind a higher number.
    pub reordered: u64,
    /// By how many numbers at most.
    pub reorder_distance_max: u64,
    /// How long after the number that overtook it at most.
    pub lateness_max_seconds: f64,
    /// Came again.
    pub duplicates: u64,
    /// Sent again on request.
    pub retransmitted: u64,
    /// The producer counted anew.
    pub restarts: u64,
    /// Far off any numbering.
    pub strays: u64,
}

/// One bar of the histogram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LossLength {
    /// Numbers lost in a row.
    pub length: u64,
    /// How often.
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
    /// Of RTP: 0 to 127.
    pub payload_type: Option<u8>,
    /// Of RTP: ticks per second, known or measured.
    pub clock_rate: Option<f64>,
    /// Data packets.
    pub packets: u64,
    /// Their bytes (UDP payload).
    pub bytes: u64,
    /// The shortest and the longest.
    pub size_min: usize,
    /// See `size_min`.
    pub size_max: usize,
    /// Over the time in which the flow was there.
    pub packets_per_second: f64,
    /// Bits of UDP payload per second.
    pub bits_per_second: f64,
    /// None: not numbered.
    pub numbers: Option<NumbersReport>,
    /// Interarrival jitter (RFC 3550).
    pub jitter_seconds: Option<f64>,
    /// MPEG-TS in it.
    pub ts: Option<TsReport>,
}

/// Forward error correction.
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
        /// D; unknown when there are rows only.
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
        /// Blocks that interleave.
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
    /// Whether there were packets that only RIST has.
    pub rist: bool,
}

/// Traffic that is neither repair packets nor RTCP on a port beside the media's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct BesideReport {
    /// How much above the media's port.
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
    /// Stuffing among them.
    pub null_packets: u64,
    /// Packets with `transport_error_indicator`.
    pub transport_errors: u64,
    /// Datagrams that were not whole TS packets.
    pub misaligned: u64,
    /// Of all PIDs, in the order of arrival: reordering shows, too.
    pub continuity_errors: u64,
    /// From the PAT.
    pub programs: Vec<ProgramReport>,
    /// Each PID.
    pub pids: Vec<PidReport>,
}

/// A programme.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ProgramReport {
    /// Its number.
    pub program: u16,
    /// PID of its table.
    pub pmt_pid: u16,
    /// PID of its clock.
    pub pcr_pid: Option<u16>,
}

/// A PID.
#[derive(Debug, Clone, Serialize)]
pub struct PidReport {
    /// 0 to 8191.
    pub pid: u16,
    /// The programme that it belongs to.
    pub program: Option<u16>,
    /// What is in it.
    pub kind: String,
    /// TS packets.
    pub packets: u64,
    /// Bits of TS packets per second.
    pub bits_per_second: f64,
    /// Counters that did not go on.
    pub continuity_errors: u64,
    /// Whether packets were scrambled.
    pub scrambled: bool,
    /// Its clock.
    pub pcr: Option<PcrReport>,
}

/// A program clock (PCR).
#[derive(Debug, Clone, Copy, Serialize)]
pub struct PcrReport {
    /// References.
    pub count: u64,
    /// The longest time from one to the next, by the clock itself.
    pub interval_max_seconds: f64,
    /// More than 100 ms apart (ISO/IEC 13818-1).
    pub too_rare: u64,
    /// Jumps that were not announced.
    pub discontinuities: u64,
    /// Jumps that were.
    pub announced_discontinuities: u64,
    /// How arrivals vary against the clock, smoothed.
    pub jitter_seconds: f64,
    /// The most from one reference to the next.
    pub jitter_max_seconds: f64,
    /// How far arrivals are behind (or before) the clock since the first one.
    pub drift_seconds: f64,
}
