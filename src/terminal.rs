//! The terminal: progress on one line ([`progress`]), full screens ([`screen`]) with tables
//! ([`grid`]), and log lines that disturb neither ([`Stderr`]).
//!
//! Nothing here is shown where standard error, or for a screen standard output, is no terminal.
//! Whatever else writes to standard error goes through [`Stderr`].

#[cfg(feature = "terminal")]
pub mod grid;
#[cfg_attr(not(feature = "terminal"), path = "terminal/no_progress.rs")]
pub mod progress;
#[cfg_attr(not(feature = "terminal"), path = "terminal/no_screen.rs")]
pub mod screen;

use std::{
    collections::VecDeque,
    io::{self, Write},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use crate::{limits::TERMINAL_PATIENCE, words};

/// Time over which a rate is averaged: short enough to show a change, long enough to be read.
const RATE_TIME: Duration = Duration::from_secs(3);

/// Standard error for lines of text: they appear above the progress, and behind a screen.
#[derive(Debug, Clone, Copy)]
pub struct Stderr;

impl Write for Stderr {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        if !screen::keeps(lines) {
            progress::above(|| io::stderr().write_all(lines))?;
        }
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// What a line of progress shows at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    /// Share that is done, 0 to 1, which is drawn as a bar. `None`: not known.
    pub share: Option<f64>,
    /// Text beside it.
    pub text: String,
}

/// Makes the terminal as it was before, for a process that ends at once. Does not wait long for a
/// terminal that takes nothing.
pub fn give_back() {
    let (done, given_back) = mpsc::channel();
    thread::spawn(move || {
        screen::give_back();
        progress::give_back();
        let _ = done.send(()); // the process may have ended
    });
    let _ = given_back.recv_timeout(TERMINAL_PATIENCE);
}

/// The rate of a counter over the last seconds.
#[derive(Debug, Default)]
pub struct Rate {
    looks: VecDeque<(Instant, u64)>,
}

impl Rate {
    /// Takes the counter's value, and returns its rate per second.
    pub fn of(&mut self, now: Instant, count: u64) -> f64 {
        let old = |at: Instant| now.saturating_duration_since(at) > RATE_TIME;
        while self.looks.len() > 1 && self.looks.front().is_some_and(|(at, _)| old(*at)) {
            self.looks.pop_front();
        }
        self.looks.push_back((now, count));
        let (since, before) = self.looks[0];
        let seconds = now.saturating_duration_since(since).as_secs_f64();
        if seconds > 0.0 { count.saturating_sub(before) as f64 / seconds } else { 0.0 }
    }
}

/// How far a command is that ends by itself: after a time, a number of items, or both.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits {
    /// Time after which it ends.
    pub time: Option<Duration>,
    /// Items after which it ends.
    pub count: Option<u64>,
}

impl Limits {
    /// The share that is done, and the time that is left; `None` without limits, and before a
    /// time follows from the items so far.
    pub fn progress(&self, elapsed: Duration, count: u64) -> (Option<f64>, Option<Duration>) {
        let by_time = self.time.map(|time| {
            let share = elapsed.as_secs_f64() / time.as_secs_f64();
            (share, Some(time.saturating_sub(elapsed)))
        });
        let by_count = self.count.map(|end| part(elapsed, count, end));
        let first = by_time.into_iter().chain(by_count).max_by(|(one, _), (other, _)| one.total_cmp(other));
        first.map_or((None, None), |(share, left)| (Some(share.min(1.0)), left))
    }
}

/// The share of `end` that is done, and the time that the rest takes at the rate so far.
pub fn part(elapsed: Duration, done: u64, end: u64) -> (f64, Option<Duration>) {
    let share = done as f64 / end.max(1) as f64;
    let left = elapsed.as_secs_f64() * (1.0 / share - 1.0).max(0.0);
    (share, Duration::try_from_secs_f64(left).ok())
}

/// `0:12 left`, or the time that has passed where the end is not known.
pub fn time_words(elapsed: Duration, left: Option<Duration>) -> String {
    left.map_or_else(|| words::clock(elapsed), |left| format!("{} left", words::clock(left)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidecast_net::clock;

    #[test]
    fn a_rate_is_that_of_the_last_seconds() {
        let (mut rate, start) = (Rate::default(), clock::now());
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        assert_eq!(rate.of(at(0), 500), 0.0);
        assert_eq!(rate.of(at(1), 600), 100.0);
        for seconds in 2..20 {
            rate.of(at(seconds), 600);
        }
        assert_eq!(rate.of(at(20), 600), 0.0);
        assert!(rate.looks.len() < 8);
    }

    #[test]
    fn the_nearest_limit_tells_the_share_and_the_time_that_is_left() {
        let seconds = Duration::from_secs;
        let (time, count) = (Some(seconds(10)), Some(1000));
        let of = |limits: Limits, count| {
            let (share, left) = limits.progress(seconds(4), count);
            (share, left.map(|left| left.as_secs()))
        };
        assert_eq!(of(Limits::default(), 5), (None, None));
        assert_eq!(of(Limits { time, count: None }, 5), (Some(0.4), Some(6)));
        assert_eq!(of(Limits { time: None, count }, 500), (Some(0.5), Some(4)));
        assert_eq!(of(Limits { time, count }, 800), (Some(0.8), Some(1)));
        assert_eq!(of(Limits { time, count }, 100), (Some(0.4), Some(6)));
        assert_eq!(of(Limits { time: None, count }, 0), (Some(0.0), None));
        assert_eq!(of(Limits { time: None, count }, 2000), (Some(1.0), Some(0)));
        assert_eq!(time_words(seconds(4), Some(seconds(75))), "1:15 left");
        assert_eq!(time_words(seconds(4), None), "0:04");
    }
}
