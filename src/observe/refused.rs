//! Detects refused datagrams (other than duplicates and late packets), and players without data
//! although packets come. Looks at the last seconds, so that trouble shows at once and clears soon
//! after its end.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Instant,
};

use super::{
    events::{EventKind, Finding, Level, Text},
    explain::{UNCONFIRMED, explain_all},
    verdict::words,
};
use crate::{
    channel::state::ChannelState,
    limits::{EVENT_MERGE, REFUSED_LEAST, REFUSED_SAMPLES, REFUSED_SHARE, UNSERVED_SAMPLES},
    registry::{ChannelView, audience::Transport},
};

/// Counts of one tick.
#[derive(Debug, Default)]
struct Tick {
    received: u64,
    delivered: u64,
    /// Delivered packets that a player gets.
    followed: u64,
    duplicate: u64,
    late: u64,
    /// Refused datagrams by reason.
    refused: BTreeMap<&'static str, u64>,
    /// Players that were connected the whole time.
    players: u64,
}

/// The latest ticks, and what was reported.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    ticks: VecDeque<Tick>,
    reasons: Vec<String>,
    /// Since when players have got nothing.
    unserved: Option<Instant>,
    logged: Option<Instant>,
}

/// A change to report in the log.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    /// The trouble starts, or continues after a pause.
    Begins,
    /// It has ended.
    Ends,
}

impl Refusals {
    /// Updates the state with two observations; returns events, and a change for the log.
    pub(super) fn go_on(
        &mut self,
        before: &ChannelView,
        after: &ChannelView,
        now: Instant,
    ) -> (Vec<Finding>, Option<News>) {
        if self.ticks.len() >= REFUSED_SAMPLES {
            self.ticks.pop_front();
        }
        self.ticks.push_back(Tick::between(before, after));
        let had = !self.reasons.is_empty();
        self.reasons = self.refused(after).into_iter().collect();
        let unserved = self.players_without(after);
        let found = self.players(unserved.as_deref(), now);
        self.reasons.extend(unserved);
        (found.into_iter().collect(), self.news(had, now))
    }

    /// Reasons why the channel is degraded, as far as refused datagrams are concerned.
    pub(super) fn reasons(&self) -> &[String] {
        &self.reasons
    }

    /// Recurring trouble is reported only from time to time.
    fn news(&mut self, had: bool, now: Instant) -> Option<News> {
        let recent = self.logged.is_some_and(|at| now.saturating_duration_since(at) < EVENT_MERGE);
        match (had, self.reasons.is_empty()) {
            (false, false) if !recent => {
                self.logged = Some(now);
                Some(News::Begins)
            }
            (true, true) => Some(News::Ends),
            _ => None,
        }
    }

    fn newest(&self, count: usize) -> impl Iterator<Item = &Tick> {
        self.ticks.iter().skip(self.ticks.len().saturating_sub(count))
    }

    fn sum(&self, count: usize, value: impl Fn(&Tick) -> u64) -> u64 {
        self.newest(count).map(value).sum()
    }

    /// Returns the reason if all datagrams are refused, or too many for a coincidence.
    fn refused(&self, view: &ChannelView) -> Option<String> {
        let mut counts: BTreeMap<&'static str, u64> = BTreeMap::new();
        let refused = self.ticks.iter().flat_map(|tick| &tick.refused);
        refused.for_each(|(reason, count)| *counts.entry(reason).or_default() += count);
        let count: u64 = counts.values().sum();
        let received = self.sum(REFUSED_SAMPLES, |tick| tick.received).max(count);
        let all = count > 0 && count == received;
        let share = count as f64 / received.max(1) as f64;
        if !all && (count < REFUSED_LEAST || share < REFUSED_SHARE) {
            return None;
        }
        let seconds = self.ticks.len();
        let why = explain_all(&counts, &view.state, &view.path);
        Some(if all {
            format!("none of the {received} datagrams of the last {seconds} s is passed on: {why}")
        } else {
            let percent = (share * 100.0).max(1.0);
            format!(
                "{count} of the {received} datagrams of the last {seconds} s ({percent:.0} %) are not passed on: {why}"
            )
        })
    }

    /// Players are connected and packets come, but none is for a player.
    fn players_without(&self, view: &ChannelView) -> Option<String> {
        if self.ticks.len() < UNSERVED_SAMPLES {
            return None;
        }
        let players = self.newest(UNSERVED_SAMPLES).map(|tick| tick.players).min().unwrap_or(0);
        let sum = |value: fn(&Tick) -> u64| self.sum(UNSERVED_SAMPLES, value);
        let (received, delivered, repeated) =
            (sum(|tick| tick.received), sum(|tick| tick.delivered), sum(|tick| tick.duplicate + tick.late));
        let nothing = delivered == 0 && repeated >= REFUSED_LEAST && repeated * 2 >= received;
        let starved = players > 0 && received > 0 && sum(|tick| tick.followed) == 0 && view.state.held == 0;
        let who = match (starved, players) {
            (true, 1) => "1 player gets nothing".to_owned(),
            (true, players) => format!("{players} players get nothing"),
            (false, _) if nothing => "nothing goes out".to_owned(),
            (false, _) => return None,
        };
        let why = match (delivered, repeated) {
            (1.., _) => format!(
                "{delivered} packets are of flows that a player does not follow; /api/v1/streams lists them, and ?flow=KEY asks for one"
            ),
            (0, 1..) => format!(
                "{repeated} are duplicates or too late: a producer that sends the same again, or a `hold` that is too short"
            ),
            (0, 0) => "see what is not passed on".to_owned(),
        };
        Some(format!("{who}, although {received} datagrams came within {UNSERVED_SAMPLES} s: {why}"))
    }

    fn players(&mut self, unserved: Option<&str>, now: Instant) -> Option<Finding> {
        let finding = |level, text| {
            let (text, advice) = (Text::Whole(text), String::new());
            Finding { kind: EventKind::Subscribers, level, count: 0, text, advice }
        };
        match (self.unserved, unserved) {
            (None, Some(reason)) => {
                self.unserved = Some(now);
                Some(finding(Level::Problem, reason.to_owned()))
            }
            (Some(since), None) => {
                self.unserved = None;
                let seconds = now.saturating_duration_since(since).as_secs_f64();
                Some(finding(Level::Info, format!("packets go out again, after {}", words(seconds))))
            }
            _ => None,
        }
    }
}

impl Tick {
    fn between(before: &ChannelView, after: &ChannelView) -> Tick {
        let (b, a) = (&before.state.counters, &after.state.counters);
        let players = |view: &ChannelView| view.subscribers.of(Transport::Http).clients;
        Tick {
            received: a.media_received.saturating_sub(b.media_received) + too_long(before, after),
            delivered: a.delivered.saturating_sub(b.delivered),
            followed: after.state.followed.saturating_sub(before.state.followed),
            duplicate: a.duplicate.saturating_sub(b.duplicate),
            late: a.late.saturating_sub(b.late),
            refused: grown(&before.state, &after.state),
            players: players(before).min(players(after)),
        }
    }
}

fn too_long(before: &ChannelView, after: &ChannelView) -> u64 {
    let count = |view: &ChannelView| view.state.rejects.get("too_long").copied().unwrap_or_default();
    count(after).saturating_sub(count(before))
}

/// Refused datagrams between two observations, by reason. Useless repair packets are not counted,
/// since they do no harm.
pub(super) fn grown(before: &ChannelState, after: &ChannelState) -> BTreeMap<&'static str, u64> {
    let count = |state: &ChannelState, reason: &str| state.rejects.get(reason).copied().unwrap_or_default();
    let reasons = after.rejects.keys().filter(|reason| **reason != "unusable_repair");
    let mut grown: BTreeMap<&'static str, u64> = reasons
        .map(|reason| (*reason, count(after, reason).saturating_sub(count(before, reason))))
        .filter(|(_, count)| *count > 0)
        .collect();
    let useless = |state: &ChannelState| {
        let c = &state.counters;
        c.corrupt + c.foreign + c.rejected
    };
    // These are not media datagrams, so they are in none of those counters.
    let elsewhere = ["too_long", "other_source"];
    let named = grown.iter().filter(|(reason, _)| !elsewhere.contains(reason));
    let named: u64 = named.map(|(_, count)| count).sum();
    let unnamed = useless(after).saturating_sub(useless(before)).saturating_sub(named);
    if unnamed > 0 {
        grown.insert(UNCONFIRMED, unnamed);
    }
    grown
}
