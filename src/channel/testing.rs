//! Shared by the tests of modules that read channel states.

use super::state::ChannelState;

/// State of a channel without legs and outputs, with these counters.
pub(crate) fn channel_state(name: &str, counters: tidecast_core::relay::Counters) -> ChannelState {
    ChannelState {
        name: name.to_owned(),
        format: "auto".to_owned(),
        on_demand: false,
        age_seconds: 1.0,
        counters,
        held: 0,
        held_bytes: 0,
        hold_seconds: 0.05,
        hold_max_seconds: Some(0.5),
        release_delay_seconds: Some(0.2),
        clock_drift_ppm: Some(-12.5),
        jitter_seconds: 0.0,
        rejects: Default::default(),
        refused: Default::default(),
        carries: Default::default(),
        followed: 0,
        legs: Vec::new(),
        flow_count: 0,
        flows_refused: Default::default(),
        first_format: None,
        flows: Vec::new().into(),
        outputs: Vec::new(),
        losses: Vec::new(),
    }
}
