//! What people should know of: joins, restarts, outages, losses, and who was cut off, each with its
//! time and what to do about it. Found by comparing two looks at a channel; kept in a bounded ring.

use std::{collections::VecDeque, time::Duration};

use serde::Serialize;

use crate::limits::{EVENT_MERGE, EVENTS_MAX};

/// What kind of event it is; events of a channel and kind that follow each other closely are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A channel is there, or gone.
    Channel,
    /// A leg was joined, or is not.
    Leg,
    /// Producers began to send.
    Session,
    /// No packets come, or they come again.
    Silence,
    /// Packets were lost.
    Loss,
    /// A receive buffer is too small.
    Buffer,
    /// Datagrams were of no use.
    Invalid,
    /// An output cannot send, or can again.
    Output,
    /// Subscribers missed packets or were cut off.
    Subscribers,
}

/// How much an event matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Good to know.
    Info,
    /// Something was lost, or will be.
    Warning,
    /// Something does not work.
    Problem,
}

/// Something that happened.
#[derive(Debug, Clone, Serialize)]
pub struct Event {
    /// Its number: later events have higher ones.
    pub id: u64,
    /// Changes with each change of the event: what a reader has not seen yet is above what it has
    /// seen.
    pub revision: u64,
    /// When it began, in milliseconds since the Unix epoch.
    pub at: u64,
    /// When it happened last, likewise.
    pub last: u64,
    /// The channel.
    pub channel: String,
    /// What kind it is.
    pub kind: EventKind,
    /// How much it matters.
    pub level: Level,
    /// How many packets, sessions or clients it is about; 0 where that means nothing.
    pub count: u64,
    /// What happened.
    pub text: String,
    /// What to do about it; empty: nothing.
    pub advice: String,
}

/// An event as it is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What kind it is.
    pub kind: EventKind,
    /// How much it matters.
    pub level: Level,
    /// How many of what it is about.
    pub count: u64,
    /// What happened, from the count of all that belongs together.
    pub text: Text,
    /// What to do about it.
    pub advice: String,
}

/// What happened, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Text {
    /// As it is; never merged with another event.
    Whole(String),
    /// Before the event's count, which adds up as long as it goes on; a noun in the singular; what
    /// follows it.
    Counted(&'static str, &'static str, String),
}

impl Text {
    pub(super) fn with(&self, count: u64) -> String {
        match self {
            Text::Whole(text) => text.clone(),
            Text::Counted(before, noun, after) => {
                format!("{before}{count} {noun}{}{after}", if count == 1 { "" } else { "s" })
            }
        }
    }
}

/// The last events.
#[derive(Debug, Default)]
pub struct Log {
    events: VecDeque<Event>,
    next: u64,
    revision: u64,
}

impl Log {
    /// Adds what was found in a channel at `at` (since the Unix epoch). A counted event that goes
    /// on grows.
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

    /// All of them, the oldest first.
    pub fn all(&self) -> impl DoubleEndedIterator<Item = &Event> {
        self.events.iter()
    }

    /// The number of the newest change.
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
