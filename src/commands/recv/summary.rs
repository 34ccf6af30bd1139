//! Summary of `recv` at its end: in total and per flow, as text or as one line of JSON.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::Serialize;

use crate::{
    channel::state::{ChannelState, FlowState},
    words,
};
use tidecast_core::relay::Counters;

/// Maximum flows listed in the text; JSON has all of them.
const FLOWS_SHOWN: usize = 20;

/// Figures of one flow, or of all flows.
#[derive(Debug, Serialize)]
struct Figures {
    received: u64,
    delivered: u64,
    expected: u64,
    lost: u64,
    loss: f64,
    recovered: u64,
    reordered: u64,
    duplicates: u64,
    late: u64,
    corrupt: u64,
    foreign: u64,
    rejected: u64,
    repair: u64,
    control: u64,
    sessions: u64,
    ts_discontinuities: u64,
    jitter_seconds: f64,
}

#[derive(Debug, Serialize)]
struct ReceivedFlow {
    flow: String,
    source: String,
    format: &'static str,
    #[serde(flatten)]
    figures: Figures,
}

/// The summary.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    duration_seconds: f64,
    bytes: u64,
    kernel_drops: u64,
    truncated: u64,
    #[serde(flatten)]
    figures: Figures,
    flows: Vec<ReceivedFlow>,
}

impl Figures {
    fn new(counters: &Counters, jitter_seconds: f64) -> Figures {
        let loss = match counters.expected {
            0 => 0.0,
            expected => counters.lost as f64 / expected as f64,
        };
        Figures {
            received: counters.media_received,
            delivered: counters.delivered,
            expected: counters.expected,
            lost: counters.lost,
            loss,
            recovered: counters.recovered(),
            reordered: counters.reordered,
            duplicates: counters.duplicate,
            late: counters.late,
            corrupt: counters.corrupt,
            foreign: counters.foreign,
            rejected: counters.rejected,
            repair: counters.repair_received,
            control: counters.control_received,
            sessions: counters.sessions,
            ts_discontinuities: counters.ts_discontinuities,
            jitter_seconds,
        }
    }
}

impl ReceivedFlow {
    /// A flow that ended and started again counts as one.
    fn of(states: Vec<&FlowState>) -> Option<ReceivedFlow> {
        let mut counters = Counters::default();
        states.iter().for_each(|state| counters.add(&state.counters));
        let jitter = states.iter().map(|state| state.jitter_seconds).fold(0.0, f64::max);
        let last = states.last()?;
        Some(ReceivedFlow {
            flow: last.flow.clone(),
            source: last.source.clone(),
            format: last.format.as_str(),
            figures: Figures::new(&counters, jitter),
        })
    }
}

impl Summary {
    pub(super) fn new(state: &ChannelState, elapsed: Duration) -> Summary {
        let mut by_key: BTreeMap<&str, Vec<&FlowState>> = BTreeMap::new();
        for flow in state.flows.iter() {
            by_key.entry(&flow.flow).or_default().push(flow);
        }
        let mut flows: Vec<ReceivedFlow> = by_key.into_values().filter_map(ReceivedFlow::of).collect();
        flows.sort_by_key(|flow| (flow.flow.len(), flow.flow.clone())); // 2 before 10
        let jitter = flows.iter().map(|flow| flow.figures.jitter_seconds).fold(0.0, f64::max);
        Summary {
            duration_seconds: elapsed.as_secs_f64(),
            bytes: state.counters.bytes_received,
            kernel_drops: state.legs.iter().map(|leg| leg.kernel_drops).sum(),
            truncated: state.legs.iter().map(|leg| leg.truncated).sum(),
            figures: Figures::new(&state.counters, jitter),
            flows,
        }
    }

    /// Share of lost numbers, 0 to 1.
    pub(super) fn loss(&self) -> f64 {
        self.figures.loss
    }

    pub(super) fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default() // plain numbers and strings: it cannot fail
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "received {}, lost {} ({:.3}%)", self.received, self.lost, self.loss * 100.0)?;
        write!(
            f,
            ", recovered {}, reordered {}, duplicates {}",
            self.recovered, self.reordered, self.duplicates
        )?;
        write!(f, ", jitter {:.3} ms", self.jitter_seconds * 1e3)?;
        let rare = [
            ("late", self.late),
            ("corrupt", self.corrupt),
            ("foreign", self.foreign),
            ("rejected", self.rejected),
            ("TS discontinuities", self.ts_discontinuities),
        ];
        for (name, count) in rare.into_iter().filter(|(_, count)| *count > 0) {
            write!(f, ", {name} {count}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.duration_seconds;
        let megabits = self.bytes as f64 * 8e-6 / seconds.max(1e-3);
        for flow in self.flows.iter().take(FLOWS_SHOWN) {
            write!(f, "flow {} ({} from {}): {}", flow.flow, flow.format, flow.source, flow.figures)?;
            match flow.figures.sessions {
                0 | 1 => writeln!(f)?,
                sessions => writeln!(f, ", sessions {sessions}")?,
            }
        }
        if self.flows.len() > FLOWS_SHOWN {
            let more = words::count((self.flows.len() - FLOWS_SHOWN) as u64, "more flow");
            writeln!(f, "and {more}; --json has them all")?;
        }
        write!(
            f,
            "in all: {}, {}, {seconds:.1} s, {megabits:.3} Mbit/s",
            self.figures,
            words::count(self.flows.len() as u64, "flow")
        )?;
        if self.kernel_drops > 0 {
            write!(f, ", dropped by the kernel {}", self.kernel_drops)?;
        }
        if self.truncated > 0 {
            write!(f, ", truncated {}", self.truncated)?;
        }
        Ok(())
    }
}
