//! What each leg brings. Detects legs that receive nothing while others do: nothing is lost yet,
//! but the channel has lost its redundancy.

use std::time::Instant;

use super::{
    events::{EventKind, Finding, Level, Text},
    verdict::words,
};
use crate::{
    channel::state::LegStatus,
    limits::{OBSERVE_INTERVAL, SILENT_AFTER, SILENT_PACKETS},
    registry::ChannelView,
};

/// State of each leg, in the channel's order.
#[derive(Debug, Default)]
pub(super) struct Legs(Vec<Leg>);

#[derive(Debug, Clone, Copy, Default)]
struct Leg {
    /// Bytes from one observation to the next, smoothed: sensors pause longer than that.
    bytes: f64,
    mute: Option<Mute>,
}

/// A leg that is joined but receives nothing.
#[derive(Debug, Clone, Copy)]
struct Mute {
    since: Instant,
    /// Packets received on other legs since.
    others: u64,
    /// An event was reported.
    told: bool,
}

impl Legs {
    /// Updates the state with two observations; returns events.
    pub(super) fn go_on(&mut self, before: &ChannelView, after: &ChannelView, now: Instant) -> Vec<Finding> {
        self.0.resize(after.state.legs.len(), Leg::default());
        let packets =
            after.state.counters.media_received.saturating_sub(before.state.counters.media_received);
        let mut found = Vec::new();
        let legs = before.state.legs.iter().zip(&after.state.legs);
        for ((old, new), Leg { bytes, mute }) in legs.zip(&mut self.0) {
            let brought = new.counters.bytes.saturating_sub(old.counters.bytes) as f64;
            *bytes = if *bytes == 0.0 { brought } else { (*bytes + brought) / 2.0 };
            if new.counters.media > old.counters.media || new.state != LegStatus::Joined {
                found.extend(mute.take().filter(|mute| mute.told).map(|mute| again(&new.address, mute, now)));
                continue;
            }
            let mute = mute.get_or_insert(Mute { since: now, others: 0, told: false });
            mute.others += packets;
            if !mute.told && mute.is_plain(now) {
                mute.told = true;
                found.push(nothing(&new.address));
            }
        }
        found
    }

    /// Bits per second that each leg brings, smoothed.
    pub(super) fn bits(&self) -> impl Iterator<Item = f64> {
        // A leg that has brought nothing for a while comes close to zero, and never gets there.
        let bits = |leg: &Leg| leg.bytes * 8.0 / OBSERVE_INTERVAL.as_secs_f64();
        self.0.iter().map(bits).map(|bits| if bits < 1.0 { 0.0 } else { bits })
    }

    /// Reasons why the channel is degraded, as far as its legs are concerned.
    pub(super) fn reasons(&self, view: &ChannelView, now: Instant) -> Vec<String> {
        let legs = view.state.legs.iter().zip(&self.0);
        let mute = legs.filter_map(|(leg, now)| Some((leg, now.mute.filter(|mute| mute.told)?)));
        mute.map(|(leg, mute)| format!("{} has brought nothing for {}", leg.address, mute.age(now))).collect()
    }
}

impl Mute {
    /// Returns whether other legs have meanwhile received enough packets that this one should have
    /// received some, too.
    fn is_plain(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= SILENT_AFTER && self.others as f64 >= SILENT_PACKETS
    }

    fn age(&self, now: Instant) -> String {
        words(now.saturating_duration_since(self.since).as_secs_f64())
    }
}

fn nothing(address: &str) -> Finding {
    let text = format!("{address} brings nothing, while another input does");
    let advice =
        "The channel lives on the other input alone: look at this one's path before that one fails, too.";
    finding(Level::Problem, text, advice)
}

fn again(address: &str, mute: Mute, now: Instant) -> Finding {
    finding(Level::Info, format!("{address} brings packets again, after {}", mute.age(now)), "")
}

fn finding(level: Level, text: String, advice: &str) -> Finding {
    Finding { kind: EventKind::Leg, level, count: 0, text: Text::Whole(text), advice: advice.to_owned() }
}
