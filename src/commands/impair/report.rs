//! Report of `impair` at its end, as text and as JSON.

use std::fmt;

use serde::Serialize;

pub use super::census::{FlowReport, Kinds};
use crate::channel::udp::Counters;
use tidecast_link::Done;
use tidecast_net::address::Output;

/// Exact account of what the link did.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The input.
    pub input: String,
    /// Seed of all random decisions.
    pub seed: u64,
    /// Run time in seconds.
    pub seconds: f64,
    /// Counts of all datagrams.
    #[serde(flatten)]
    pub done: Done,
    /// Counts by kind; `reordered_*` counts within each flow, as a receiver of that flow sees it.
    #[serde(flatten)]
    pub kinds: Kinds,
    /// RTCP datagrams forwarded beside the media (`rist://`); they are not impaired.
    pub rtcp: u64,
    /// Answers of receivers, forwarded to the last sender; they are not impaired.
    pub returned: u64,
    /// Datagrams that the kernel dropped before the link received them: losses that the link did
    /// not cause.
    pub kernel_drops: u64,
    /// Datagrams that were too long for UDP and not forwarded.
    pub too_long: u64,
    /// Counts of each output.
    pub outputs: Vec<OutputReport>,
    /// Counts of each flow; those beyond the bound share `other`.
    pub flows: Vec<FlowReport>,
}

/// Counts of the datagrams that the link sent to one output.
#[derive(Debug, Clone, Serialize)]
pub struct OutputReport {
    /// Address of the output.
    pub output: String,
    /// Datagrams sent.
    pub packets: u64,
    /// Bytes of these datagrams (UDP payload).
    pub bytes: u64,
    /// Datagrams that could not be sent: losses that the link did not cause.
    pub dropped: u64,
}

impl OutputReport {
    pub(super) fn of(output: &Output, counters: &Counters) -> OutputReport {
        OutputReport {
            output: output.to_string(),
            packets: counters.packets,
            bytes: counters.bytes,
            dropped: counters.dropped(),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { input, seed, seconds, done, .. } = self;
        writeln!(f, "{input}: {seconds:.1} s, seed {seed}")?;
        writeln!(f, "{:<11}{:>10}{:>10}{:>10}{:>10}", "", "all", "media", "repair", "control")?;
        let by_kind = self.kinds.named();
        row(f, "received", done.received, by_kind.map(|(_, tally)| tally.received))?;
        row(f, "dropped", done.dropped, by_kind.map(|(_, tally)| tally.dropped))?;
        row(f, "duplicated", done.duplicated, by_kind.map(|(_, tally)| tally.duplicated))?;
        // By kind it counts within each flow, which differs from the total.
        row(f, "reordered", done.reordered, by_kind.map(|(_, tally)| tally.reordered))?;
        writeln!(f, "{:<11}{:>10}", "forwarded", done.forwarded)?;
        for output in &self.outputs {
            writeln!(f, "to {}: {} sent, {} not", output.output, output.packets, output.dropped)?;
        }
        for (count, what) in [
            (done.cut, "of the dropped ones came during an outage"),
            (done.overflowed, "of the dropped ones found the link full"),
            (self.rtcp, "besides: RTCP, passed on as it came"),
            (self.returned, "came back from receivers and went to the sender"),
            (self.kernel_drops, "besides: lost before the link, since the kernel's receive buffer was full"),
            (self.too_long, "besides: too long, so not passed on"),
        ] {
            if count > 0 {
                writeln!(f, "{count} {what}")?;
            }
        }
        Ok(())
    }
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, all: u64, kinds: [u64; 3]) -> fmt::Result {
    let [media, repair, control] = kinds;
    writeln!(f, "{name:<11}{all:>10}{media:>10}{repair:>10}{control:>10}")
}
