//! Events for people: joins, restarts, outages, losses and disconnected clients, each with its
//! time and advice. Found by comparing two observations of a channel; kept in a bounded ring.

use std::{collections::VecDeque, time::Duration};

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    limits::{EVENT_MERGE, EVENTS_MAX},
    words,
};

/// Kind of an event; events of one channel and kind in quick succession are merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A channel was added or removed.
    Channel,
    /// A leg was joined or left.
    Leg,
    /// Producers started to send.
    Session,
    /// Packets stopped, or came again.
    Silence,
    /// Packets were lost.
    Loss,
    /// A receive buffer is too small.
    Buffer,
    /// Datagrams were refused.
    Invalid,
    /// An output cannot send, or can send again.
    Output,
    /// Subscribers missed packets or were disconnected.
    Subscribers,
    /// An operator did something.
    Operator,
}

/// Severity of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Information.
    Info,
    /// Something was lost, or will be.
    Warning,
    /// Something does not work.
    Problem,
}

/// An event.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Event {
    /// Number of the event; later events have higher ones.
    pub id: u64,
    /// Number of its last change: changes that a reader has not seen have higher numbers than
    /// those that it has seen.
    pub revision: u64,
    /// Start, in milliseconds since the Unix epoch.
    pub at: u64,
    /// Last occurrence, in milliseconds since the Unix epoch.
    pub last: u64,
    /// The channel.
    pub channel: String,
    /// Kind.
    pub kind: EventKind,
    /// Severity.
    pub level: Level,
    /// Number of packets, sessions or clients involved; 0 if not applicable.
    pub count: u64,
    /// What happened.
    pub text: String,
    /// What to do about it; empty if nothing.
    pub advice: String,
}

/// An event that was found, before it is merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Kind.
    pub kind: EventKind,
    /// Severity.
    pub level: Level,
    /// Number of items involved.
    pub count: u64,
    /// Description, made from the total count of merged events.
    pub text: Text,
    /// What to do about it.
    pub advice: String,
}

/// Description of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Text {
    /// Fixed text; never merged with another event.
    Whole(String),
    /// Text before the total count; a noun in the singular; text after it.
    Counted(&'static str, &'static str, String),
}

impl Text {
    pub(super) fn with(&self, count: u64) -> String {
        match self {
            Text::Whole(text) => text.clone(),
            Text::Counted(before, noun, after) => format!("{before}{}{after}", words::count(count, noun)),
        }
    }
}

/// The latest events.
#[derive(Debug, Default)]
pub struct Log {
    events: VecDeque<Event>,
    next: u64,
    revision: u64,
}

impl Log {
    /// Adds an event of a channel at `at` (since the Unix epoch). A continuing event with a count
    /// grows.
    pub fn add(&mut self, at: Duration, channel: &str, finding: Finding) {
        let at = u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
        self.revision += 1;
        if let Text::Counted(..) = finding.text
            && let Some(going_on) = self.going_on(at, channel, &finding)
        {
            let event = &mut self.events[going_on];
            event.count += finding.count;
            event.text = finding.text.with(event.count);
            event.advice = finding.advice;
            (event.last, event.revision) = (at, self.revision);
            return;
        }
        if self.events.len() >= EVENTS_MAX {
            self.events.pop_front();
        }
        let Finding { kind, level, count, text, advice } = finding;
        self.events.push_back(Event {
            id: self.next,
            revision: self.revision,
            at,
            last: at,
            channel: channel.to_owned(),
            kind,
            level,
            count,
            text: text.with(count),
            advice,
        });
        self.next += 1;
    }

    fn going_on(&self, at: u64, channel: &str, finding: &Finding) -> Option<usize> {
        let oldest = at.saturating_sub(EVENT_MERGE.as_millis() as u64);
        let same = |event: &Event| {
            event.channel == channel
                && event.kind == finding.kind
                && event.level == finding.level
                && event.last >= oldest
                && event.count > 0
        };
        self.events.iter().rposition(same)
    }

    /// All events, the oldest first.
    pub fn all(&self) -> impl DoubleEndedIterator<Item = &Event> {
        self.events.iter()
    }

    /// Number of the latest change.
    pub fn revision(&self) -> u64 {
        self.revision
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(count: u64) -> Finding {
        let text = Text::Counted("lost ", "packet", String::new());
        Finding { kind: EventKind::Loss, level: Level::Warning, count, text, advice: String::new() }
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(1_000_000 + seconds)
    }

    #[test]
    fn what_goes_on_is_one_event_and_what_comes_later_another() {
        let mut log = Log::default();
        log.add(at(0), "a", lost(3));
        log.add(at(20), "a", lost(4));
        log.add(at(21), "b", lost(1));
        log.add(at(20 + EVENT_MERGE.as_secs() + 1), "a", lost(5));
        let told: Vec<_> = log.all().map(|event| (&*event.channel, &*event.text)).collect();
        assert_eq!(told, [("a", "lost 7 packets"), ("b", "lost 1 packet"), ("a", "lost 5 packets")]);
        let first = log.all().next().unwrap();
        assert_eq!((first.last - first.at, first.revision, log.revision()), (20_000, 2, 4));
    }

    #[test]
    fn the_oldest_events_make_room() {
        let mut log = Log::default();
        for n in 0..EVENTS_MAX as u64 + 5 {
            let text = Text::Whole(format!("{n}"));
            let finding =
                Finding { kind: EventKind::Leg, level: Level::Info, count: 0, text, advice: String::new() };
            log.add(at(n), "a", finding);
        }
        assert_eq!((log.all().count(), log.all().next().unwrap().id), (EVENTS_MAX, 5));
    }
}
