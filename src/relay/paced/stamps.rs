//! What packets say of their source times, on one continuous scale per clock: wraps are undone here.
//!
//! An MPEG transport stream has its own clock, the PCR, which is read before RTP time stamps: senders such as ffmpeg
//! give all packets up to the next picture the same RTP time stamp, while between two PCRs the rate is constant by the
//! standard (ISO/IEC 13818-1, 2.4.2.2).

use crate::{
    limits::{PACED_CLOCK_SILENT, RATE_GUESS_AFTER, RATE_GUESS_TIME},
    relay::{Packet, PacketFormat, arrival},
    wire::{
        rtp,
        ts::{
            self, Pcr,
            packets::{Packets, Unit},
        },
    },
};

use super::{nanos, order::Order, timeline::JUMP};

/// Where source times come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Clock {
    #[default]
    Arrival,
    Pcr,
    Rtp,
    /// Microseconds, in native datagrams and formats with `time`.
    Micros,
}

/// The source's clock as a packet shows it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    /// On the clock's own scale, in nanoseconds.
    pub(super) time: i64,
    /// Places between the packet's begin and the reading.
    pub(super) offset: u32,
    /// The clock begins anew.
    pub(super) anew: bool,
    /// Until the next reading the rate is constant, however long that takes.
    pub(super) constant: bool,
}

/// What was read from a packet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    /// Another clock than before.
    pub(super) changed: bool,
    /// No clock at all: arrivals count.
    pub(super) by_arrival: bool,
    /// Places that the packet takes.
    pub(super) units: u32,
    pub(super) mark: Option<Mark>,
}

/// A counter that wraps, made continuous.
#[derive(Debug, Default)]
struct Unwrapped {
    last: Option<u64>,
    total: i64,
    /// When it last moved.
    moved: Option<i64>,
}

impl Unwrapped {
    /// `None`: it did not move. `modulus` 0: 2^64.
    fn next(&mut self, value: u64, modulus: u64, arrived: i64) -> Option<i64> {
        let Some(last) = self.last.replace(value) else {
            self.moved = Some(arrived);
            return Some(self.total);
        };
        let ahead = value.wrapping_sub(last);
        let step = match modulus {
            0 => ahead as i64,
            modulus => {
                let ahead = (value + modulus - last) % modulus;
                if ahead < modulus / 2 { ahead as i64 } else { -((modulus - ahead) as i64) }
            }
        };
        if step == 0 {
            return None;
        }
        self.moved = Some(arrived);
        // What no clock does is a jump, whatever its size.
        self.total = self.total.wrapping_add(step.clamp(-STEP_MAX, STEP_MAX));
        Some(self.total)
    }

    fn is_alive(&self, arrived: i64) -> bool {
        self.moved.is_some_and(|moved| arrived - moved < nanos(PACED_CLOCK_SILENT))
    }
}

/// Ticks of any clock: 36 years of microseconds.
const STEP_MAX: i64 = 1 << 50;

/// The clocks of one flow's source.
#[derive(Debug, Default)]
pub(super) struct Stamps {
    clock: Clock,
    pid: Option<u16>,
    stream: Packets,
    pcr: Unwrapped,
    rtp: Unwrapped,
    rate: Rate,
    order: Order,
    pictures: Option<i64>,
    micros: Unwrapped,
}

impl Stamps {
    pub(super) fn clock_name(&self) -> &'static str {
        match self.clock {
            Clock::Arrival => "arrival",
            Clock::Pcr => "pcr",
            Clock::Rtp => "rtp",
            Clock::Micros => "timestamp",
        }
    }

    pub(super) fn read(&mut self, packet: &Packet, arrived: i64) -> Reading {
        let is_ts = match packet.format {
            PacketFormat::Ts => true,
            PacketFormat::Rtp => Unit::of_whole(packet.payload()).is_some(),
            _ => false,
        };
        let (count, pcr) = if is_ts { self.read_pcr(packet.payload(), arrived) } else { (0, None) };
        let rtp = if packet.format == PacketFormat::Rtp { self.read_rtp(packet, arrived) } else { None };
        let micros = packet.timestamp.and_then(|micros| self.micros.next(micros, 0, arrived));
        let clock = match packet.format {
            _ if is_ts && self.pcr.is_alive(arrived) => Clock::Pcr,
            PacketFormat::Rtp if self.rate.get().is_some() && self.rtp.is_alive(arrived) => Clock::Rtp,
            _ if packet.timestamp.is_some() && self.micros.is_alive(arrived) => Clock::Micros,
            _ => Clock::Arrival,
        };
        let changed = std::mem::replace(&mut self.clock, clock) != clock;
        let plain = |time| Mark { time, offset: 0, anew: false, constant: false };
        let mark = match clock {
            Clock::Pcr => pcr,
            Clock::Rtp => rtp,
            Clock::Micros => micros.map(|micros| plain(micros.saturating_mul(1000))),
            Clock::Arrival => None,
        };
        let units = match clock {
            Clock::Pcr => count,
            _ => 1,
        };
        Reading { changed, by_arrival: clock == Clock::Arrival, units, mark }
    }

    /// How many TS packets end in the payload, and the first PCR among them of the first PID that has some.
    fn read_pcr(&mut self, payload: &[u8], arrived: i64) -> (u32, Option<Mark>) {
        let silent = !self.pcr.is_alive(arrived);
        let known = self.pid.filter(|_| !silent);
        let (mut count, mut found) = (0, None);
        self.stream.push(payload, |placed| {
            if found.is_none()
                && let Some(pcr) = ts::pcr(placed.packet).filter(|pcr| known.is_none_or(|pid| pid == pcr.pid))
            {
                found = Some((count, pcr));
            }
            count += 1;
        });
        (count, found.and_then(|(offset, pcr)| self.mark_pcr(offset, pcr, arrived)))
    }

    fn mark_pcr(&mut self, offset: u32, pcr: Pcr, arrived: i64) -> Option<Mark> {
        let other = self.pid.replace(pcr.pid).is_some_and(|pid| pid != pcr.pid);
        let ticks = self.pcr.next(pcr.ticks, Pcr::WRAP, arrived)?;
        let time = scale(ticks, Pcr::HZ);
        Some(Mark { time, offset, anew: pcr.discontinuity || other, constant: true })
    }

    /// The time stamp, if it is another one than before.
    fn read_rtp(&mut self, packet: &Packet, arrived: i64) -> Option<Mark> {
        let header = rtp::Packet::parse(&packet.bytes).ok()?;
        let ticks = self.rtp.next(u64::from(header.timestamp()), 1 << 32, arrived)?;
        let rate = self.rate.learn(header.payload_type(), ticks, arrived);
        let time = scale(ticks, u64::from(rate?));
        if self.pictures.is_some_and(|before| (time - before).abs() > JUMP) {
            self.order.forget();
        }
        self.pictures = Some(time);
        let (time, anew) = self.order.next(time);
        Some(Mark { time, offset: 0, anew, constant: false })
    }
}

/// Ticks in nanoseconds.
fn scale(ticks: i64, hz: u64) -> i64 {
    (i128::from(ticks) * 1_000_000_000 / i128::from(hz)) as i64
}

/// The clock rate of RTP time stamps: known for the static payload types (RFC 3551), otherwise the likely one that
/// the arrivals show.
#[derive(Debug, Default)]
struct Rate {
    known: Option<u32>,
    payload_type: Option<u8>,
    /// When the first packet came.
    begun: Option<i64>,
    /// Arrival and ticks of the first one that is measured from: senders begin with a burst.
    first: Option<(i64, i64)>,
    highest: i64,
}

/// The clock rates of RTP payload formats.
const RATES: [u32; 11] =
    [8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 90_000, 96_000];
/// The most that a guess may be off: the nearest two are 6 % apart.
const GUESS_OFF: f64 = 0.03;

impl Rate {
    fn get(&self) -> Option<u32> {
        self.known
    }

    fn learn(&mut self, payload_type: u8, ticks: i64, arrived: i64) -> Option<u32> {
        if self.payload_type != Some(payload_type) {
            self.payload_type = Some(payload_type);
            self.known = arrival::rtp_static_rate(payload_type).or(self.known);
        }
        let begun = *self.begun.get_or_insert(arrived);
        if self.known.is_none() && arrived - begun >= nanos(RATE_GUESS_AFTER) {
            let (since, from) = *self.first.get_or_insert((arrived, ticks));
            self.highest = if ticks == from { ticks } else { self.highest.max(ticks) };
            let lasted = arrived - since;
            if lasted >= nanos(RATE_GUESS_TIME) {
                self.known = guess((self.highest - from) as f64 * 1e9 / lasted as f64);
                // Otherwise once more, from here.
                self.first = None;
            }
        }
        self.known
    }
}

fn guess(measured: f64) -> Option<u32> {
    RATES.into_iter().find(|rate| (measured / f64::from(*rate) - 1.0).abs() < GUESS_OFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_wrap_both_ways() {
        let mut counter = Unwrapped::default();
        let values = [u32::MAX - 1, u32::MAX - 1, 1, u32::MAX, 100];
        let totals: Vec<Option<i64>> =
            values.iter().map(|value| counter.next(u64::from(*value), 1 << 32, 0)).collect();
        assert_eq!(totals, [Some(0), None, Some(3), Some(1), Some(102)]);
        let mut pcr = Unwrapped::default();
        assert_eq!(pcr.next(Pcr::WRAP - 1, Pcr::WRAP, 0), Some(0));
        assert_eq!(pcr.next(5, Pcr::WRAP, 0), Some(6));
        let mut micros = Unwrapped::default();
        assert_eq!(micros.next(1 << 60, 0, 0), Some(0));
        assert_eq!(micros.next(5, 0, 0), Some(-STEP_MAX));
    }

    #[test]
    fn rates_are_guessed_only_when_they_are_clear() {
        for rate in RATES {
            assert_eq!(guess(f64::from(rate) * 1.02), Some(rate));
            assert_eq!(guess(f64::from(rate) * 0.98), Some(rate));
        }
        assert_eq!(guess(70_000.0), None);
        assert_eq!(guess(0.0), None);
    }

    #[test]
    fn a_dynamic_type_needs_a_while() {
        let mut rate = Rate::default();
        let learnt: Vec<Option<u32>> =
            (0..200).map(|n| rate.learn(97, n * 960, n * 20_000_000 + n % 3 * 10_000_000)).collect();
        assert_eq!((learnt[10], learnt[199]), (None, Some(48_000)));
        assert_eq!(Rate::default().learn(33, 0, 0), Some(90_000));
        assert_eq!(Rate::default().learn(0, 0, 0), Some(8_000));
    }
}
