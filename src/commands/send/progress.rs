//! Progress of `send` in a terminal: how far the file is, its rate, and the time that is left.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use crate::{
    terminal::{Limits, Rate, Shown, part, progress::Progress, time_words},
    words,
};
use tidecast_net::clock;

/// Figures that the sending thread leaves for the one that draws.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    /// Place in the file: bytes, or datagrams of a capture.
    place: AtomicU64,
    /// Completed laps.
    laps: AtomicU64,
    /// Data packets, and bytes of all packets.
    data: AtomicU64,
    bytes: AtomicU64,
}

impl Gauge {
    /// Notes the counters after a data packet.
    pub(super) fn sent(&self, data: u64, bytes: u64) {
        self.data.store(data, Relaxed);
        self.bytes.store(bytes, Relaxed);
    }

    /// Notes the place in the file.
    pub(super) fn reached(&self, place: u64, laps: u64) {
        self.place.store(place, Relaxed);
        self.laps.store(laps, Relaxed);
    }
}

/// How much there is to send, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// Bytes of a file.
    Bytes(u64),
    /// Datagrams of a capture.
    Datagrams(u64),
    /// Without an end that is known.
    Unknown,
}

/// Shows the progress of a run that begins now, if it can be shown.
pub(super) fn show(gauge: Arc<Gauge>, extent: Extent, repeats: bool, limits: Limits) -> Option<Progress> {
    let mut rate = Rate::default();
    let mut began: Option<Instant> = None;
    Progress::start(move || {
        let (now, data) = (clock::now(), gauge.data.load(Relaxed));
        if data > 0 {
            began.get_or_insert(now);
        }
        let figures = Figures {
            elapsed: began.map_or(Duration::ZERO, |began| now.saturating_duration_since(began)),
            place: gauge.place.load(Relaxed),
            laps: gauge.laps.load(Relaxed),
            data,
            bits_per_second: rate.of(now, gauge.bytes.load(Relaxed)) * 8.0,
        };
        shown(&figures, extent, repeats, limits)
    })
}

/// The figures at one moment.
#[derive(Debug, Default)]
struct Figures {
    elapsed: Duration,
    place: u64,
    laps: u64,
    data: u64,
    bits_per_second: f64,
}

fn shown(figures: &Figures, extent: Extent, repeats: bool, limits: Limits) -> Shown {
    let &Figures { elapsed, place, laps, data, bits_per_second } = figures;
    let (share, left) = limits.progress(elapsed, data);
    let of_file = match extent {
        Extent::Bytes(end) | Extent::Datagrams(end) => Some(lap(elapsed, place, laps, end)),
        Extent::Unknown => None,
    };
    let (share, left) = match of_file {
        // The bar is that of the round, and the time that of the run.
        Some((part, _)) if repeats && left.is_some() => (Some(part), left),
        Some((part, rest)) if repeats || share.is_none_or(|share| share <= part) => (Some(part), rest),
        _ => (share, left),
    };
    let mut parts = Vec::new();
    match extent {
        Extent::Bytes(end) => parts.push(format!("{} of {}", words::bytes(place), words::bytes(end))),
        Extent::Datagrams(end) => parts.push(format!("{place} of {}", words::count(end, "datagram"))),
        Extent::Unknown => parts.push(words::count(data, "datagram")),
    }
    if repeats {
        parts.push(format!("round {}", laps + 1));
    }
    parts.push(words::bits(bits_per_second));
    parts.push(time_words(elapsed, left));
    Shown { share, text: parts.join(", ") }
}

/// Share of a lap that is done, and the time that the rest of it takes.
fn lap(elapsed: Duration, place: u64, laps: u64, end: u64) -> (f64, Option<Duration>) {
    let place = place.min(end);
    let (_, per_lap) = part(elapsed, laps * end + place, (laps + 1) * end);
    (place as f64 / end.max(1) as f64, per_lap)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(figures: &Figures, extent: Extent, repeats: bool, limits: Limits) -> (Option<f64>, String) {
        let Shown { share, text } = shown(figures, extent, repeats, limits);
        (share.map(|share| (share * 100.0).round()), text)
    }

    #[test]
    fn a_file_has_its_place_and_the_time_that_is_left() {
        let seconds = Duration::from_secs;
        let figures =
            Figures { elapsed: seconds(8), place: 400_000, laps: 0, data: 300, bits_per_second: 400_000.0 };
        let (extent, none) = (Extent::Bytes(1_000_000), Limits::default());
        let once = text(&figures, extent, false, none);
        assert_eq!(once, (Some(40.0), "400 kB of 1.0 MB, 400.0 kbit/s, 0:12 left".to_owned()));
        // It ends before the file does.
        let limits = Limits { time: Some(seconds(10)), count: None };
        assert_eq!(text(&figures, extent, false, limits).0, Some(80.0));
        assert!(text(&figures, extent, false, limits).1.ends_with(", 0:02 left"));
        let late = Limits { time: Some(seconds(100)), count: None };
        assert!(text(&figures, extent, false, late).1.ends_with(", 0:12 left"));
        let again = Figures { laps: 2, elapsed: seconds(48), ..figures };
        let round = text(&again, extent, true, none);
        assert_eq!(round, (Some(40.0), "400 kB of 1.0 MB, round 3, 400.0 kbit/s, 0:12 left".to_owned()));
        let (share, of_all) = text(&again, extent, true, late);
        assert!(share == Some(40.0) && of_all.ends_with("round 3, 400.0 kbit/s, 0:52 left"), "{of_all}");
    }

    #[test]
    fn without_an_end_the_time_is_counted() {
        let figures = Figures { elapsed: Duration::from_secs(75), data: 1, ..Figures::default() };
        let pipe = text(&figures, Extent::Unknown, false, Limits::default());
        assert_eq!(pipe, (None, "1 datagram, 0 bit/s, 1:15".to_owned()));
        let count = Limits { count: Some(4), time: None };
        let some = text(&figures, Extent::Unknown, false, count);
        assert_eq!(some, (Some(25.0), "1 datagram, 0 bit/s, 3:45 left".to_owned()));
        let capture = text(&figures, Extent::Datagrams(10), false, Limits::default());
        assert_eq!(capture, (Some(0.0), "0 of 10 datagrams, 0 bit/s, 1:15".to_owned()));
    }
}
