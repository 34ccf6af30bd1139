//! Progress of `impair` in a terminal: what the link has done so far.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use super::Options;
use crate::terminal::{Limits, Shown, progress::Progress, time_words};
use tidecast_link::Done;
use tidecast_net::clock;

/// Counters that the link leaves for the thread that draws.
#[derive(Debug, Default)]
pub struct Gauge(Mutex<(Done, u64)>);

impl Gauge {
    /// Notes the counters, and how many datagrams are delayed at present.
    pub(super) fn note(&self, done: Done, waiting: u64) {
        // Where the other thread reads them, the next ones will do.
        if let Ok(mut noted) = self.0.try_lock() {
            *noted = (done, waiting);
        }
    }
}

/// Shows the progress from now on, if it can be shown.
pub(super) fn show(options: &Options, gauge: Arc<Gauge>) -> Option<Progress> {
    let limits = Limits { time: options.duration, count: options.count };
    let began = clock::now();
    Progress::start(move || {
        let (done, waiting) = *gauge.0.lock().unwrap_or_else(PoisonError::into_inner);
        shown(&done, waiting, clock::now().saturating_duration_since(began), limits)
    })
}

fn shown(done: &Done, waiting: u64, elapsed: Duration, limits: Limits) -> Shown {
    let (share, left) = limits.progress(elapsed, done.received);
    let mut text = format!("passed {}, dropped {}", done.forwarded, done.dropped);
    for (name, count) in [("twice", done.duplicated), ("reordered", done.reordered), ("delayed", waiting)] {
        if count > 0 {
            text.push_str(&format!(", {name} {count}"));
        }
    }
    Shown { share, text: format!("{text}, {}", time_words(elapsed, left)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_link_does_is_told() {
        let done = Done { received: 100, forwarded: 93, dropped: 8, duplicated: 1, ..Done::default() };
        let of = |limits| shown(&done, 12, Duration::from_secs(5), limits);
        assert_eq!(of(Limits::default()).text, "passed 93, dropped 8, twice 1, delayed 12, 0:05");
        let limited = of(Limits { time: None, count: Some(200) });
        assert_eq!((limited.share, limited.text.ends_with(", 0:05 left")), (Some(0.5), true));
    }
}
