//! Totals of all channels for the page: whether anything is being lost, and the picture of what
//! comes in, is rescued, is lost and goes out.

use serde_json::{Map, Value, json};

use super::{select, table::number};
use crate::{
    limits::PAGE_INPUTS_MAX,
    observe::{Column, Health, Observation, Observed, clients},
    registry::audience::Transport,
};

/// Totals of all channels.
pub(super) fn totals(seen: &Observation) -> Value {
    let count = |health| seen.channels.iter().filter(|channel| channel.verdict.health == health).count();
    let sum = |of: &dyn Fn(&Observed) -> f64| seen.channels.iter().map(of).sum::<f64>();
    let inputs = inputs(seen);
    let now = |column| sum(&|channel: &Observed| select::rate(channel, column, seen));
    json!({
        "channels": seen.channels.len(),
        "ok": count(Health::Ok),
        "degraded": count(Health::Degraded),
        "silent": count(Health::Silent),
        "packets_per_second": number(now(Column::Received)),
        "bits_per_second": number(now(Column::Bytes) * 8.0),
        "lost_per_second": number(now(Column::Lost)),
        "expected_per_second": number(now(Column::Expected)),
        "recent_expected": sum(&|channel| channel.recent.expected) as u64,
        "recent_lost": sum(&|channel| channel.recent.lost) as u64,
        "recent_other_leg": sum(&|channel| channel.recent.other_leg) as u64,
        "recent_recovered_fec": sum(&|channel| channel.recent.fec) as u64,
        "recent_recovered_retransmission": sum(&|channel| channel.recent.retransmission) as u64,
        "losing": seen.channels.iter().filter(|channel| channel.recent.lost > 0.0).count(),
        "subscribers": seen.channels.iter().map(|channel| clients(&channel.view)).sum::<u64>(),
        "flows": seen.channels.iter().map(|channel| channel.view.state.flow_count).sum::<usize>(),
        "inputs": inputs.iter().take(PAGE_INPUTS_MAX).map(Input::json).collect::<Vec<_>>(),
        "legs": inputs.len(),
        "receivers": receivers(seen),
    })
}

/// A leg of a channel that receives something.
struct Input<'a> {
    name: &'a str,
    /// From 1, if the channel has several.
    leg: Option<usize>,
    bits: f64,
}

impl Input<'_> {
    fn json(&self) -> Value {
        json!({ "name": self.name, "leg": self.leg, "bits_per_second": number(self.bits) })
    }
}

/// The legs, those of one channel together, and the channels that receive most first. A leg that
/// brings nothing is among them if another one of its channel does.
fn inputs(seen: &Observation) -> Vec<Input<'_>> {
    let mut channels: Vec<(f64, &Observed)> =
        seen.channels.iter().map(|channel| (channel.leg_bits().sum(), channel)).collect();
    channels.retain(|(bits, _)| *bits > 0.0);
    channels.sort_by(|(a, one), (b, other)| b.total_cmp(a).then_with(|| one.name().cmp(other.name())));
    let legs = channels.into_iter().flat_map(|(_, channel)| {
        let several = channel.leg_bits().count() > 1;
        channel.leg_bits().enumerate().map(move |(place, bits)| Input {
            name: channel.name(),
            leg: several.then_some(place + 1),
            bits,
        })
    });
    legs.collect()
}

/// Number of receivers and bytes sent to them, by transport and for the configured outputs.
fn receivers(seen: &Observation) -> Value {
    let mut all = Map::new();
    for transport in Transport::ALL {
        let states = seen.channels.iter().flat_map(|channel| channel.view.subscribers.iter());
        let of_it = states.filter(|(known, _)| *known == transport);
        let (clients, bytes) =
            of_it.fold((0, 0), |(clients, bytes), (_, state)| (clients + state.clients, bytes + state.bytes));
        all.insert(transport.as_str().to_owned(), json!({ "clients": clients, "bytes": bytes }));
    }
    let outputs = || seen.channels.iter().flat_map(|channel| &channel.view.state.outputs);
    let bytes: u64 = outputs().map(|output| output.bytes).sum();
    all.insert("outputs".to_owned(), json!({ "clients": outputs().count(), "bytes": bytes }));
    all.into()
}
