//! The log lines of the observer. What happens to many channels within a second or two is one line,
//! as when the cable is pulled that brings all of them.

use std::time::Instant;

use tracing::{debug, info, warn};

use crate::limits::{LOG_CHANNELS_APART, LOG_CHANNELS_NAMED};
use tidecast_net::log_limiter::LogLimiter;

/// What a line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    /// No packets come.
    Silent,
    /// Packets come again.
    HeardAgain,
    /// Datagrams come that are not passed on.
    Refused,
    /// They are passed on again.
    PassedOn,
}

impl Subject {
    const ALL: [Subject; 4] = [Subject::Silent, Subject::HeardAgain, Subject::Refused, Subject::PassedOn];

    /// Its words, alone or in a line about several channels.
    pub(super) fn words(self) -> &'static str {
        match self {
            Subject::Silent => "silent",
            Subject::HeardAgain => "packets come again",
            Subject::Refused => "what comes is not passed on",
            Subject::PassedOn => "what comes is passed on again, or nothing comes",
        }
    }

    fn is_good(self) -> bool {
        matches!(self, Subject::HeardAgain | Subject::PassedOn)
    }
}

/// A line that waits for others of its subject.
#[derive(Debug)]
struct Line {
    subject: Subject,
    channel: String,
    text: String,
}

/// The lines of all channels.
#[derive(Debug, Default)]
pub(super) struct Lines {
    waiting: Vec<Line>,
    /// Count of the waiting lines that wait since the tick before.
    old: usize,
    /// Attackers may join thousands of groups on demand, so their lines share a rate limit.
    on_demand: LogLimiter,
}

impl Lines {
    /// Adds a line about a configured channel; it is logged with the next tick.
    pub(super) fn add(&mut self, channel: &str, subject: Subject, text: String) {
        self.waiting.push(Line { subject, channel: channel.to_owned(), text });
    }

    /// Logs a line about a group on demand, at a limited rate.
    pub(super) fn on_demand(&mut self, channel: &str, subject: Subject, text: &str, now: Instant) {
        match self.on_demand.admit(now) {
            None => debug!(channel, "{text}"),
            Some(0) => write(Some(channel), subject, text),
            Some(more) => {
                write(Some(channel), subject, &format!("{text} ({more} more of groups on demand before)"))
            }
        }
    }

    /// Logs the lines that have waited for a tick, with those that have come since. Returns how
    /// many lines that were.
    pub(super) fn flush(&mut self) -> usize {
        let old = &self.waiting[..self.old];
        let due = Subject::ALL.map(|subject| old.iter().any(|line| line.subject == subject));
        let mut logged = 0;
        for (subject, _) in Subject::ALL.into_iter().zip(due).filter(|(_, due)| *due) {
            let lines: Vec<Line> = self.waiting.extract_if(.., |line| line.subject == subject).collect();
            logged += log(subject, &lines);
        }
        self.old = self.waiting.len();
        logged
    }
}

/// Logs lines of one subject; returns how many lines that were.
fn log(subject: Subject, lines: &[Line]) -> usize {
    if lines.len() < LOG_CHANNELS_APART {
        lines.iter().for_each(|line| write(Some(&line.channel), subject, &line.text));
        return lines.len();
    }
    lines.iter().for_each(|line| debug!(channel = line.channel, "{}", line.text));
    write(None, subject, &together(subject, lines));
    1
}

/// One line for several channels: their names, and the first one's text.
fn together(subject: Subject, lines: &[Line]) -> String {
    let names: Vec<&str> = lines.iter().take(LOG_CHANNELS_NAMED).map(|line| line.channel.as_str()).collect();
    let others = match lines.len() - names.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let text = format!("{} channels: {}: {}{others}", lines.len(), subject.words(), names.join(", "));
    if subject.is_good() {
        return text;
    }
    let Line { channel, text: first, .. } = &lines[0];
    format!("{text}; {channel}: {first}; of the others: /api/v1/events")
}

fn write(channel: Option<&str>, subject: Subject, text: &str) {
    match subject.is_good() {
        true => info!(channel, "{text}"),
        false => warn!(channel, "{text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidecast_net::{clock, limits::LOG_INTERVAL};

    fn silent(lines: &mut Lines, names: std::ops::Range<usize>) {
        names.for_each(|i| lines.add(&format!("c{i}"), Subject::Silent, format!("no packet on {i}")));
    }

    #[test]
    fn many_silent_channels_are_one_line_even_across_two_ticks() {
        let mut lines = Lines::default();
        silent(&mut lines, 0..40);
        assert_eq!(lines.flush(), 0, "others may follow");
        silent(&mut lines, 40..64);
        lines.add("d", Subject::HeardAgain, "packets come again".to_owned());
        assert_eq!(lines.flush(), 1);
        assert_eq!(lines.flush(), 1, "the other subject");
        assert_eq!(lines.flush(), 0);
    }

    #[test]
    fn few_channels_have_a_line_each() {
        let mut lines = Lines::default();
        silent(&mut lines, 0..LOG_CHANNELS_APART - 1);
        lines.flush();
        assert_eq!(lines.flush(), LOG_CHANNELS_APART - 1);
    }

    #[test]
    fn a_line_of_many_names_some_and_says_what_is_wrong_with_the_first() {
        let mut lines = Lines::default();
        silent(&mut lines, 0..64);
        let text = together(Subject::Silent, &lines.waiting);
        assert_eq!(
            text,
            "64 channels: silent: c0, c1, c2, c3, c4, c5, c6, c7 and 56 more; c0: no packet on 0; of the others: \
             /api/v1/events"
        );
        let text = together(Subject::HeardAgain, &lines.waiting[..4]);
        assert_eq!(text, "4 channels: packets come again: c0, c1, c2, c3");
    }

    #[test]
    fn lines_about_groups_on_demand_are_limited_together() {
        let (mut lines, now) = (Lines::default(), clock::now());
        let mut admitted = 0;
        for tenth in 0..1000 {
            let at = now + LOG_INTERVAL / 100 * tenth;
            admitted += usize::from(lines.on_demand.is_open(at));
            lines.on_demand("239.1.1.1:5000", Subject::Silent, "no packet", at);
        }
        assert_eq!(admitted, 10);
    }
}
