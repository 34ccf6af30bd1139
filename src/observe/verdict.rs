//! Health of a channel: ok, degraded or silent, with reasons that tell an operator what to do.

use std::time::Duration;

use super::history::{Column, History, Recent};
use crate::{
    channel::state::LegState,
    limits::{RECENT_SAMPLES, SILENT_AFTER, SILENT_PACKETS},
    registry::ChannelView,
};

/// Health of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// All packets are delivered.
    Ok,
    /// Packets come, but some are being lost, or a part of the channel does not work.
    Degraded,
    /// No packets come.
    Silent,
}

impl Health {
    /// All of them.
    pub const ALL: [Health; 3] = [Health::Ok, Health::Degraded, Health::Silent];

    /// Name in the API and on the page.
    pub fn as_str(self) -> &'static str {
        match self {
            Health::Ok => "ok",
            Health::Degraded => "degraded",
            Health::Silent => "silent",
        }
    }
}

/// Health of a channel, with reasons.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// Health.
    pub health: Health,
    /// Reasons if it is not ok, the worst first.
    pub reasons: Vec<String>,
}

/// Judges a channel whose last packet came `quiet` ago (`None`: never); `legs`: problems of its
/// legs; `refused`: refused datagrams.
pub(super) fn judge(
    view: &ChannelView,
    history: &History,
    recent: &Recent,
    quiet: Option<Duration>,
    legs: Vec<String>,
    refused: &[String],
) -> Verdict {
    let mut reasons = Vec::new();
    let unjoined = view.state.legs.iter().filter_map(LegState::trouble);
    let silent = silence(view, history, quiet);
    reasons.extend(silent.clone());
    reasons.extend_from_slice(refused);
    reasons.extend(lost(recent));
    reasons.extend(unjoined);
    reasons.extend(legs);
    let kernel = history.sum(Column::Kernel, RECENT_SAMPLES);
    if kernel > 0.0 {
        reasons.push(format!("the kernel dropped {kernel} datagrams: the receive buffer was full"));
    }
    let faults = view.state.outputs.iter().filter_map(|o| Some((&o.address, o.fault.as_ref()?)));
    reasons.extend(faults.map(|(address, fault)| format!("{address} cannot send: {fault}")));
    let not_sent = history.sum(Column::NotSent, RECENT_SAMPLES);
    if not_sent > 0.0 {
        reasons.push(format!("outputs or subscribers missed {not_sent} packets"));
    }
    let health = match (silent.is_some(), reasons.is_empty()) {
        (true, _) => Health::Silent,
        (false, false) => Health::Degraded,
        (false, true) => Health::Ok,
    };
    Verdict { health, reasons }
}

fn lost(recent: &Recent) -> Option<String> {
    let share = recent.lost_share() * 100.0;
    if share <= 0.0 {
        return None;
    }
    let digits = (1 - share.log10().floor() as i32).clamp(0, 6) as usize; // two significant ones
    Some(format!("{share:.digits$} % of the packets were lost within the last minute"))
}

/// Text about the silence of a channel, if it is silent.
fn silence(view: &ChannelView, history: &History, quiet: Option<Duration>) -> Option<String> {
    let Some(quiet) = quiet else {
        let age = view.state.age_seconds;
        return (age >= SILENT_AFTER.as_secs_f64())
            .then(|| format!("no packet in the {} since it began", words(age)));
    };
    let usual = usual_interval(history);
    let patience = SILENT_AFTER.as_secs_f64().max(usual * SILENT_PACKETS);
    let quiet = quiet.as_secs_f64();
    (quiet >= patience).then(|| format!("no packet for {}", words(quiet)))
}

/// Seconds between two packets, as far as the history shows: a sensor may send one reading a
/// minute.
fn usual_interval(history: &History) -> f64 {
    let packets = history.sum(Column::Received, usize::MAX);
    if packets > 0.0 { history.len() as f64 / packets } else { 0.0 }
}

/// A duration in words.
pub(super) fn words(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{} s", s.round()),
        s if s < 7200.0 => format!("{} min", (s / 60.0).round()),
        s => format!("{} h", (s / 3600.0).round()),
    }
}
