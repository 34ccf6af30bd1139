//! What packets say of their source times, on one continuous scale per clock: wraps are undone here.
//!
//! An MPEG transport stream has its own clock, the PCR, which is read before RTP time stamps: senders such as ffmpeg
//! give all packets up to the next picture the same RTP time stamp, while between two PCRs the rate is constant by the
//! standard (ISO/IEC 13818-1, 2.4.2.2).

use crate::{
    relay::{Packet, PacketFormat},
    wire::{
        rtp,
        ts::{
            self, Pcr,
            packets::{Packets, Unit},
        },
    },
};

use super::{counter::Counter, order::Order, rate::Rate, timeline::JUMP};

/// Where source times come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Clock {
    #[default]
    Arrival,
    Pcr,
    Rtp,
    /// Microseconds, in native datagrams and formats with `time`.
    Micros,
}

impl Clock {
    /// How many there are.
    pub(super) const COUNT: usize = 4;
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
    /// Which clock counts; without one, arrivals do.
    pub(super) clock: Clock,
    /// The one before, if that is another.
    pub(super) instead_of: Option<Clock>,
    /// The times so far were wrong.
    pub(super) refuted: bool,
    /// Places that the packet takes.
    pub(super) units: u32,
    pub(super) mark: Option<Mark>,
}

/// The clocks of one flow's source.
#[derive(Debug, Default)]
pub(super) struct Stamps {
    clock: Clock,
    pid: Option<u16>,
    stream: Packets,
    pcr: Counter,
    rtp: Counter,
    rate: Rate,
    order: Order,
    pictures: Option<i64>,
    micros: Counter,
}

impl Stamps {
    pub(super) fn clock(&self) -> Clock {
        self.clock
    }

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
        let is_rtp = packet.format == PacketFormat::Rtp;
        let (rtp, wrong) = if is_rtp { self.read_rtp(packet, arrived) } else { (None, false) };
        self.micros.pass(arrived);
        let micros = packet.timestamp.and_then(|micros| self.micros.next(micros, 0));
        let clock = match packet.format {
            _ if is_ts && self.pcr.is_alive() => Clock::Pcr,
            PacketFormat::Rtp if self.rate.get().is_some() && self.rtp.is_alive() => Clock::Rtp,
            _ if packet.timestamp.is_some() && self.micros.is_alive() => Clock::Micros,
            _ => Clock::Arrival,
        };
        let before = std::mem::replace(&mut self.clock, clock);
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
        let instead_of = Some(before).filter(|before| *before != clock);
        Reading { clock, instead_of, refuted: wrong && before == Clock::Rtp, units, mark }
    }

    /// How many TS packets end in the payload, and the first PCR among them of the first PID that has some:
    /// while that one stands, of any other.
    fn read_pcr(&mut self, payload: &[u8], arrived: i64) -> (u32, Option<Mark>) {
        self.pcr.pass(arrived);
        let known = self.pid.filter(|_| self.pcr.is_alive());
        let (mut count, mut found) = (0, None);
        self.stream.push(payload, |placed| {
            if found.is_none()
                && let Some(pcr) = ts::pcr(placed.packet).filter(|pcr| known.is_none_or(|pid| pid == pcr.pid))
            {
                found = Some((count, pcr));
            }
            count += 1;
        });
        (count, found.and_then(|(offset, pcr)| self.mark_pcr(offset, pcr)))
    }

    fn mark_pcr(&mut self, offset: u32, pcr: Pcr) -> Option<Mark> {
        let other = self.pid.replace(pcr.pid).is_some_and(|pid| pid != pcr.pid);
        let ticks = self.pcr.next(pcr.ticks, Pcr::WRAP)?;
        let time = scale(ticks, Pcr::HZ);
        Some(Mark { time, offset, anew: pcr.discontinuity || other, constant: true })
    }

    /// The time stamp, if it is another one than before; and whether its clock has turned out to be wrong.
    fn read_rtp(&mut self, packet: &Packet, arrived: i64) -> (Option<Mark>, bool) {
        self.rtp.pass(arrived);
        let Ok(header) = rtp::Packet::parse(&packet.bytes) else { return (None, false) };
        let Some(ticks) = self.rtp.next(u64::from(header.timestamp()), 1 << 32) else { return (None, false) };
        let (rate, wrong) = self.rate.learn(header.payload_type(), ticks, arrived);
        let mark = rate.map(|rate| {
            let time = scale(ticks, u64::from(rate));
            match may_be_pictures(header.payload_type(), rate) {
                true => self.mark_picture(time),
                false => Mark { time, offset: 0, anew: false, constant: false },
            }
        });
        (mark, wrong)
    }

    fn mark_picture(&mut self, time: i64) -> Mark {
        if self.pictures.is_some_and(|before| (time - before).abs() > JUMP) {
            self.order.forget();
        }
        self.pictures = Some(time);
        let (time, anew) = self.order.next(time);
        Mark { time, offset: 0, anew, constant: false }
    }
}

/// Whether time stamps may be those of pictures, which are not sent in their order: MPEG audio and transport streams have the
/// clock rate of video, too (RFC 3551).
fn may_be_pictures(payload_type: u8, rate: u32) -> bool {
    const MPEG_AUDIO: u8 = 14;
    const TRANSPORT_STREAM: u8 = 33;
    rate == 90_000 && payload_type != MPEG_AUDIO && payload_type != TRANSPORT_STREAM
}

/// Ticks in nanoseconds.
fn scale(ticks: i64, hz: u64) -> i64 {
    (i128::from(ticks) * 1_000_000_000 / i128::from(hz)) as i64
}
