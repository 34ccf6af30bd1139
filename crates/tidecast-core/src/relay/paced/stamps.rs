//! Reads the source time of packets, on one continuous scale per clock: wraps are undone here.
//!
//! An MPEG transport stream has its own clock, the PCR, which takes precedence over RTP
//! timestamps: senders such as ffmpeg give all packets up to the next picture the same RTP
//! timestamp, while between two PCRs the rate is constant by the standard (ISO/IEC 13818-1,
//! 2.4.2.2).

use std::sync::Arc;

use crate::{
    limits::PACED_LEAD_PACKETS,
    relay::{Packet, PacketFormat},
};
use tidecast_wire::{
    rtp::{self, PayloadTypes},
    ts::{
        self, Pcr,
        packets::{Packets, Unit},
    },
};

use super::{
    counter::Counter,
    order::Order,
    rate::{Learnt, Rates},
    timeline::JUMP,
};

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
    /// Number of clocks.
    pub(super) const COUNT: usize = 4;
}

/// A reading of the source's clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    /// Time on the clock's own scale, in nanoseconds.
    pub(super) time: i64,
    /// Places from the start of the packet to the reading.
    pub(super) offset: u32,
    /// The clock restarts here.
    pub(super) anew: bool,
    /// The rate is constant until the next reading, however late that comes.
    pub(super) constant: bool,
}

/// Everything read from one packet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    /// The current clock.
    pub(super) clock: Clock,
    /// The previous clock, if it was a different one.
    pub(super) instead_of: Option<Clock>,
    /// The times so far were wrong.
    pub(super) refuted: bool,
    /// Places that the packet takes.
    pub(super) units: u32,
    pub(super) mark: Option<Mark>,
    /// Set if the packet does not set the clock but comes beside the stream.
    pub(super) beside: Option<BesideStamp>,
}

/// A packet whose timestamp does not set the clock: comfort noise, an event, FEC, or a payload
/// type with an unknown clock rate.
#[derive(Debug, Clone, Copy)]
pub(super) struct BesideStamp {
    /// Its timestamp, read on the scale of the media's clock, in case it uses the same one.
    /// `None` if it equals that of the previous packet.
    pub(super) time: Option<i64>,
}

/// Time information in an RTP header.
#[derive(Debug, Default)]
struct Rtp {
    mark: Option<Mark>,
    /// The clock rate so far was wrong.
    wrong: bool,
    beside: Option<BesideStamp>,
    /// The payload type leads the stream.
    leads: bool,
}

/// The clocks of one source.
#[derive(Debug, Default)]
pub(super) struct Stamps {
    clock: Clock,
    pid: Option<u16>,
    stream: Packets,
    pcr: Counter,
    rtp: Counter,
    rates: Rates,
    /// The payload type that leads the stream, and the number of packets of other types since its
    /// last one.
    lead: Option<u8>,
    others: u32,
    /// The clock rate of the last packet that set the clock.
    rate: Option<u32>,
    /// Timestamps of the last packet, and of the last media packet.
    stamp: Option<u32>,
    media: Option<u32>,
    /// Continuous ticks of the last media packet.
    ticks: i64,
    /// The last timestamp that set the clock, and its continuous ticks.
    set: Option<(u32, i64)>,
    order: Order,
    pictures: Option<i64>,
    micros: Counter,
}

impl Stamps {
    pub(super) fn new(types: Arc<PayloadTypes>) -> Stamps {
        Stamps { rates: Rates::new(types), ..Stamps::default() }
    }

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
        let Rtp { mark: rtp, wrong, beside, leads } =
            if is_rtp { self.read_rtp(packet, arrived) } else { Rtp { leads: true, ..Rtp::default() } };
        self.micros.pass(arrived);
        let micros = packet.timestamp.and_then(|micros| self.micros.next(micros, 0));
        let clock = match packet.format {
            _ if is_ts && self.pcr.is_alive() => Clock::Pcr,
            PacketFormat::Rtp if self.rate.is_some() && self.rtp.is_alive() => Clock::Rtp,
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
        let beside = match clock {
            Clock::Rtp => beside,
            Clock::Arrival if !leads => Some(BesideStamp { time: None }),
            _ => None,
        };
        Reading { clock, instead_of, refuted: wrong && before == Clock::Rtp, units, mark, beside }
    }

    /// Number of TS packets that end in the payload, and the first PCR among them. It comes from
    /// the PID read so far; from any PID once that one has stopped.
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

    fn read_rtp(&mut self, packet: &Packet, arrived: i64) -> Rtp {
        let Ok(header) = rtp::Packet::parse(&packet.bytes) else { return Rtp::default() };
        let (payload_type, stamp) = (header.payload_type(), header.timestamp());
        let moved = self.stamp.replace(stamp) != Some(stamp);
        let rate = self.rates.of(payload_type);
        let leads = leads(&mut self.lead, &mut self.others, payload_type, rate.may_lead());
        if !rate.is_media() {
            // An event may last long; the clock has not stopped meanwhile.
            return Rtp { beside: Some(self.beside(moved, stamp)), leads, ..Rtp::default() };
        }
        self.rtp.pass(arrived);
        self.ticks += i64::from(stamp.wrapping_sub(self.media.replace(stamp).unwrap_or(stamp)) as i32);
        let ticks = self.ticks;
        let Learnt { rate: known, wrong } = match moved {
            true => rate.learn(ticks, arrived),
            false => Learnt { rate: rate.get(), wrong: false },
        };
        let pictures = rate.may_be_pictures();
        let Some(known) = known else {
            self.rate.take_if(|_| wrong);
            return Rtp { wrong, beside: Some(self.beside(moved, stamp)), mark: None, leads };
        };
        if self.rtp.next(u64::from(stamp), 1 << 32).is_none() {
            return Rtp { leads, ..Rtp::default() };
        }
        self.set = Some((stamp, ticks));
        let other = self.rate.replace(known) != Some(known);
        let time = scale(ticks, u64::from(known));
        let mut mark = match pictures {
            true => self.mark_picture(time),
            false => Mark { time, offset: 0, anew: false, constant: false },
        };
        mark.anew |= other;
        Rtp { mark: Some(mark), wrong, beside: None, leads }
    }

    fn beside(&self, moved: bool, stamp: u32) -> BesideStamp {
        let time = self.rate.zip(self.set).filter(|_| moved).map(|(rate, (before, ticks))| {
            scale(ticks + i64::from(stamp.wrapping_sub(before) as i32), u64::from(rate))
        });
        BesideStamp { time }
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

/// Whether a payload type leads the stream: the first one does, until several packets in a row
/// have another.
fn leads(lead: &mut Option<u8>, others: &mut u32, payload_type: u8, may_lead: bool) -> bool {
    if !may_lead {
        return false;
    }
    let other = lead.is_some_and(|lead| lead != payload_type);
    *others = if other { *others + 1 } else { 0 };
    if *others < PACED_LEAD_PACKETS && other {
        return false;
    }
    (*lead, *others) = (Some(payload_type), 0);
    true
}

/// Converts ticks to nanoseconds.
fn scale(ticks: i64, hz: u64) -> i64 {
    (i128::from(ticks) * 1_000_000_000 / i128::from(hz)) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_payload_type_leads_after_several_packets_in_a_row() {
        let (mut lead, mut others) = (None, 0);
        let mut leads = |payload_type, may_lead| leads(&mut lead, &mut others, payload_type, may_lead);
        assert!(leads(96, true), "the first one");
        for _ in 0..2 {
            assert!((1..PACED_LEAD_PACKETS).all(|_| !leads(97, true)));
            assert!(leads(96, true), "the others were too few");
        }
        assert!((0..100).all(|_| !leads(98, false)), "events never lead");
        assert!((1..PACED_LEAD_PACKETS).all(|_| !leads(97, true)));
        assert!(leads(97, true) && !leads(96, true));
    }
}
