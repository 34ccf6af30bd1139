//! Clock rate of RTP timestamps, for each payload type: from a description (SDP) or the static
//! assignment (RFC 3551), otherwise measured against the arrivals. A rate that the arrivals
//! contradict is dropped.

use std::sync::Arc;

use crate::{
    jitter::rates::Line,
    limits::{
        PACED_STEP, PAYLOAD_TYPES_MEASURED, RATE_CHECK_LONGEST, RATE_CHECK_TIME, RATE_GUESS_AFTER,
        RATE_GUESS_TIME, RATE_START_PACKETS, RATE_START_TIME,
    },
};
use tidecast_wire::rtp::{
    PAYLOAD_TYPE_TS,
    payload_types::{PayloadTypes, Purpose},
};

use super::nanos;

/// Clock rate of video.
const VIDEO: u32 = 90_000;
/// Largest relative error of a known rate.
const CHECK_OFF: f64 = 0.03;
/// Nanoseconds of a measurement that the sender's bursts may account for.
const BURST: f64 = 300e6;

/// The latest payload types of one flow.
#[derive(Debug, Default)]
pub(super) struct Rates {
    types: Arc<PayloadTypes>,
    /// The latest first; at most [`PAYLOAD_TYPES_MEASURED`].
    rates: Vec<Rate>,
}

/// One payload type.
#[derive(Debug)]
pub(super) struct Rate {
    payload_type: u8,
    /// The packets are media. Comfort noise, events, redundant copies and FEC are not: their
    /// timestamps are of little or no use.
    media: bool,
    /// The packets replace media packets.
    leads: bool,
    known: Option<u32>,
    /// When the first packet came. Senders start with a burst, so measuring starts later.
    begun: Option<i64>,
    line: Line,
    start: Start,
    check: Check,
}

/// What a packet reveals about its clock rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Learnt {
    pub(super) rate: Option<u32>,
    /// The previous rate was wrong.
    pub(super) wrong: bool,
}

impl Rates {
    pub(super) fn new(types: Arc<PayloadTypes>) -> Rates {
        Rates { types, rates: Vec::new() }
    }

    /// The payload type of the current packet.
    pub(super) fn of(&mut self, payload_type: u8) -> &mut Rate {
        match self.rates.iter().position(|rate| rate.payload_type == payload_type) {
            Some(place) => self.rates[..=place].rotate_right(1),
            None => {
                self.rates.truncate(PAYLOAD_TYPES_MEASURED - 1);
                self.rates.insert(0, Rate::new(payload_type, &self.types));
            }
        }
        &mut self.rates[0]
    }
}

impl Rate {
    fn new(payload_type: u8, types: &PayloadTypes) -> Rate {
        let purpose = types.purpose(payload_type);
        Rate {
            payload_type,
            media: purpose == Purpose::Media,
            leads: matches!(purpose, Purpose::Media | Purpose::Redundancy),
            known: types.clock_rate(payload_type),
            begun: None,
            line: Line::default(),
            start: Start::default(),
            check: Check::default(),
        }
    }

    /// Whether packets of this type may set the clock.
    pub(super) fn is_media(&self) -> bool {
        self.media
    }

    /// Whether a stream may consist of packets of this type alone.
    pub(super) fn may_lead(&self) -> bool {
        self.leads
    }

    /// The rate, once it is known.
    pub(super) fn get(&self) -> Option<u32> {
        self.known
    }

    /// Whether the timestamps may be those of pictures, which are not sent in display order. MPEG
    /// audio and transport streams have the clock rate of video, too (RFC 3551).
    pub(super) fn may_be_pictures(&self) -> bool {
        const MPEG_AUDIO: u8 = 14;
        let sent_in_order = [MPEG_AUDIO, PAYLOAD_TYPE_TS].contains(&self.payload_type);
        self.known == Some(VIDEO) && !sent_in_order
    }

    /// Takes a packet whose timestamp differs from the previous one.
    pub(super) fn learn(&mut self, ticks: i64, arrived: i64) -> Learnt {
        let begun = *self.begun.get_or_insert(arrived);
        let begins = arrived - begun < nanos(RATE_GUESS_AFTER);
        if let Some(rate) = self.known {
            let wrong = match begins {
                // Pictures are not sent in the order of their timestamps.
                true => !self.may_be_pictures() && self.start.is_wrong(rate, ticks, arrived),
                false => self.check.is_wrong(rate, ticks, arrived),
            };
            if wrong {
                (self.known, self.line, self.check) = (None, Line::default(), Check::default());
            }
            return Learnt { rate: self.known, wrong };
        }
        if begins {
            return Learnt { rate: None, wrong: false };
        }
        self.line.push(ticks, arrived);
        if self.line.lasted() >= nanos(RATE_GUESS_TIME) {
            self.known = self.line.rate();
        }
        if self.known.is_some() || self.line.lasted() >= nanos(RATE_CHECK_LONGEST) {
            self.line = Line::default();
        }
        Learnt { rate: self.known, wrong: false }
    }
}

/// One duration, by the source's clock and by ours.
#[derive(Debug, Clone, Copy, Default)]
struct Lasted {
    clock: f64,
    ours: f64,
}

impl Lasted {
    fn add(&mut self, clock: f64, ours: f64) {
        self.clock += clock;
        self.ours += ours;
    }

    fn is_off(&self) -> bool {
        let tolerance = CHECK_OFF + BURST / self.ours;
        self.ours >= nanos(RATE_CHECK_TIME) as f64 && (self.clock / self.ours - 1.0).abs() > tolerance
    }
}

/// Compares a rate with the first packets, which come evenly unless the sender starts with a burst
/// or a pause. A rate that is wrong by a factor of two would release them at once, or never.
#[derive(Debug, Default)]
struct Start {
    /// Arrival and ticks of the first packet in this measurement, and arrival of the last one.
    first: Option<(i64, i64, i64)>,
    packets: u32,
    longest: i64,
}

impl Start {
    const FACTOR: f64 = 1.8;

    fn is_wrong(&mut self, rate: u32, ticks: i64, arrived: i64) -> bool {
        let Some((since, from, before)) = self.first else {
            *self = Start { first: Some((arrived, ticks, arrived)), packets: 1, longest: 0 };
            return false;
        };
        self.first = Some((since, from, arrived));
        self.packets += 1;
        self.longest = self.longest.max(arrived - before);
        let lasted = arrived - since;
        if lasted < nanos(RATE_START_TIME) || self.packets < RATE_START_PACKETS {
            return false;
        }
        let even = self.longest * 2 <= lasted;
        let clock = (ticks - from) as f64 * 1e9 / f64::from(rate) / lasted as f64;
        *self = Start { first: Some((arrived, ticks, arrived)), packets: 1, longest: 0 };
        even && !(1.0 / Start::FACTOR..Start::FACTOR).contains(&clock)
    }
}

/// Compares a rate with the arrivals over a longer time.
#[derive(Debug, Default)]
struct Check {
    /// Arrival and ticks of the last packet.
    last: Option<(i64, i64)>,
    all: Lasted,
    /// Excludes steps in which clock and arrivals differ: jumps, and pauses during which the clock
    /// stands still.
    steady: Lasted,
}

impl Check {
    /// A sender with bursts seems wrong if the steps are excluded, a sender with pauses if they
    /// are included. If both comparisons fail, the rate is wrong.
    fn is_wrong(&mut self, rate: u32, ticks: i64, arrived: i64) -> bool {
        let Some((before, from)) = self.last.replace((arrived, ticks)) else { return false };
        let (clock, ours) = ((ticks - from) as f64 * 1e9 / f64::from(rate), (arrived - before) as f64);
        self.all.add(clock, ours);
        if (clock - ours).abs() < nanos(PACED_STEP) as f64 {
            self.steady.add(clock, ours);
        }
        let wrong = self.all.is_off() && self.steady.is_off();
        if self.all.ours >= nanos(RATE_CHECK_LONGEST) as f64 {
            (self.all, self.steady) = (Lasted::default(), Lasted::default());
        }
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(payload_type: u8) -> Rate {
        Rate::new(payload_type, &PayloadTypes::default())
    }

    #[test]
    fn a_dynamic_type_needs_a_while() {
        let mut dynamic = rate(97);
        let learnt: Vec<Option<u32>> =
            (0..200).map(|n| dynamic.learn(n * 960, n * 20_000_000 + n % 3 * 10_000_000).rate).collect();
        assert_eq!((learnt[10], learnt[199]), (None, Some(48_000)));
        assert_eq!(rate(33).learn(0, 0), Learnt { rate: Some(90_000), wrong: false });
        assert_eq!(rate(0).learn(0, 0), Learnt { rate: Some(8_000), wrong: false });
    }

    #[test]
    fn what_is_described_needs_none_and_noise_is_no_media() {
        let maps = ["98 L24/88200/2", "101 telephone-event/48000", "121 red/48000/2", "0 x-mine/16000"];
        let types: PayloadTypes = maps.iter().map(|text| text.parse().unwrap()).collect();
        let mut rates = Rates::new(Arc::new(types));
        let mut known = |payload_type| {
            let rate = rates.of(payload_type);
            (rate.get(), rate.is_media())
        };
        assert_eq!(known(98), (Some(88_200), true));
        assert_eq!(known(0), (Some(16_000), true));
        assert_eq!(known(13), (Some(8_000), false));
        assert_eq!(known(101), (Some(48_000), false));
        assert_eq!(known(121), (Some(48_000), false));
        assert_eq!(known(111), (None, true));
        for payload_type in 0..128 {
            rates.of(payload_type);
            assert!(rates.rates.len() <= PAYLOAD_TYPES_MEASURED);
        }
    }

    /// Feeds packets of type 0 (8 kHz), 20 ms apart, whose ticks and arrivals are computed from
    /// their numbers.
    fn refuted(ticks: impl Fn(i64) -> i64, arrived: impl Fn(i64) -> i64) -> (Option<i64>, Option<u32>) {
        let mut rate = rate(0);
        let wrong = (0..1000).filter(|n| rate.learn(ticks(*n), arrived(*n) * 1_000_000).wrong);
        (wrong.collect::<Vec<_>>().first().copied(), rate.get())
    }

    #[test]
    fn a_wrong_rate_is_given_up_soon() {
        let steady = |n| n * 20;
        let (when, then) = refuted(|n| n * 320, steady);
        assert!(when.is_some_and(|n| n < 100), "{when:?}");
        assert_eq!(then, Some(16_000));
        let (when, then) = refuted(|n| n * 80, steady);
        assert!(when.is_some_and(|n| n < 100), "{when:?}");
        assert_eq!(then, None);
    }

    #[test]
    fn a_right_rate_is_kept_in_bursts_pauses_and_jumps() {
        let steady = |n| n * 20;
        assert_eq!(refuted(|n| n * 160, |n| n / 13 * 260), (None, Some(8_000)), "bursts");
        assert_eq!(
            refuted(|n| n * 160, |n| n * 20 + n / 150 * 2000),
            (None, Some(8_000)),
            "stands in pauses"
        );
        assert_eq!(refuted(|n| n * 160 + n / 50 * 2400, steady), (None, Some(8_000)), "jumps");
        let pauses = |n: i64| n * 20 + n / 150 * 2000;
        assert_eq!(refuted(|n| n * 160 + n / 150 * 16_000, pauses), (None, Some(8_000)), "goes on in pauses");
    }
}
