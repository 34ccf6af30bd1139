//! Causes of losses, as far as the counters of the same time show them.

use std::time::{Duration, Instant};

use super::{Column, Observed, Tick};
use crate::{channel::losses::Loss, limits::LOSS_CAUSE_AROUND};

/// Cause of a loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The packets came after their gap had been given up: the hold is too short.
    Late,
    /// The kernel of this host dropped datagrams: the receive buffer was full.
    Kernel,
    /// Lost in the network.
    Network,
    /// Longer ago than the history reaches.
    Unknown,
}

impl Cause {
    /// Name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Cause::Late => "late",
            Cause::Kernel => "kernel",
            Cause::Network => "network",
            Cause::Unknown => "unknown",
        }
    }
}

/// A loss with its cause, and its times in milliseconds since the Unix epoch.
#[derive(Debug, Clone)]
pub struct Told<'a> {
    /// The loss.
    pub loss: &'a Loss,
    /// When its first gap was given up.
    pub first: u64,
    /// When its last gap was given up.
    pub last: u64,
    /// Cause.
    pub cause: Cause,
}

/// Losses of a channel, the newest first. `now` and `unix` are the same time on both clocks.
pub fn told<'a>(
    channel: &'a Observed,
    times: &[Tick],
    now: Instant,
    unix: Duration,
) -> impl Iterator<Item = Told<'a>> {
    channel.view.state.losses.iter().rev().map(move |loss| {
        let (first, last) = loss.ago(now);
        let millis = |ago: Duration| super::millis(unix.saturating_sub(ago));
        let (first, last) = (millis(first), millis(last));
        Told { loss, first, last, cause: cause(channel, times, loss.count, (first, last)) }
    })
}

/// A late packet comes after its gap was given up, and a full buffer drops packets a hold before
/// they are given up: both are searched within a short time around the loss.
fn cause(channel: &Observed, times: &[Tick], count: u64, (first, last): (u64, u64)) -> Cause {
    let around = LOSS_CAUSE_AROUND.as_millis() as u64;
    let samples = channel.history.newest(times.len());
    let samples = samples.zip(&times[times.len().saturating_sub(channel.history.len())..]);
    let at_the_time = |at: &u64| (first.saturating_sub(around)..=last.saturating_add(around)).contains(at);
    let (mut late, mut kernel, mut known) = (0.0, 0.0, false);
    for (sample, _) in samples.filter(|(_, tick)| at_the_time(&tick.at)) {
        late += sample.get(Column::Late);
        kernel += sample.get(Column::Kernel);
        known = true;
    }
    match (known, count as f32) {
        (false, _) => Cause::Unknown,
        (true, count) if late * 2.0 >= count => Cause::Late,
        (true, _) if kernel > 0.0 => Cause::Kernel,
        (true, _) => Cause::Network,
    }
}
