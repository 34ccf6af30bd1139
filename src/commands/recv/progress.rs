//! Progress of `recv` in a terminal: packets, their rate, what is lost so far, and the time.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::task::AbortHandle;

use super::CHANNEL;
use crate::{
    channel::thread::PacketThread,
    cli,
    limits::PROGRESS_INTERVAL,
    terminal::{Limits, Rate, Shown, progress::Progress, time_words},
    words,
};
use tidecast_core::relay::Counters;
use tidecast_net::clock;

/// The progress, with the task that asks for the figures.
pub(super) struct Shows {
    asking: AbortHandle,
    _progress: Progress,
}

impl Drop for Shows {
    fn drop(&mut self) {
        self.asking.abort();
    }
}

/// Shows the progress from now on, if it can be shown. Must be called within a tokio runtime. Not
/// where the payloads go to standard output: their reader, such as ffplay, may use the terminal.
pub(super) fn show(args: &cli::Recv, packet_thread: &PacketThread) -> Option<Shows> {
    if args.output.as_deref() == Some(Path::new("-")) {
        return None;
    }
    let latest = Arc::new(Mutex::new(Counters::default()));
    let limits = Limits { time: args.duration, count: args.count };
    let (began, mut rate, seen) = (clock::now(), Rate::default(), latest.clone());
    let progress = Progress::start(move || {
        let now = clock::now();
        let counters = seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let per_second = rate.of(now, counters.media_received);
        shown(&counters, per_second, now.saturating_duration_since(began), limits)
    })?;
    let packet_thread = packet_thread.clone();
    let asking = tokio::spawn(async move {
        while let Ok(Some(state)) = packet_thread.state(CHANNEL, 0).await {
            *latest.lock().unwrap_or_else(PoisonError::into_inner) = state.counters;
            tokio::time::sleep(PROGRESS_INTERVAL).await;
        }
    });
    Some(Shows { asking: asking.abort_handle(), _progress: progress })
}

fn shown(counters: &Counters, per_second: f64, elapsed: Duration, limits: Limits) -> Shown {
    let (share, left) = limits.progress(elapsed, counters.delivered);
    let packets = words::count(counters.media_received, "packet");
    let lost = match counters.expected {
        0 => "lost 0".to_owned(),
        expected => {
            format!("lost {} ({:.3}%)", counters.lost, counters.lost as f64 / expected as f64 * 100.0)
        }
    };
    let time = time_words(elapsed, left);
    Shown { share, text: format!("{packets}, {per_second:.0}/s, {lost}, {time}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_and_the_time_are_told() {
        let counters =
            Counters { media_received: 1, delivered: 50, expected: 2000, lost: 3, ..Counters::default() };
        let of = |limits| shown(&counters, 81.6, Duration::from_secs(7), limits);
        let endless = of(Limits::default());
        assert_eq!(endless.text, "1 packet, 82/s, lost 3 (0.150%), 0:07");
        assert_eq!(endless.share, None);
        let timed = of(Limits { time: Some(Duration::from_secs(70)), count: None });
        assert_eq!((timed.share, timed.text.ends_with(", 1:03 left")), (Some(0.1), true));
        let counted = of(Limits { time: None, count: Some(100) });
        assert_eq!((counted.share, counted.text.ends_with(", 0:07 left")), (Some(0.5), true));
    }
}
