//! Analyses one flow: its sequence numbers, timestamps, sizes and transport stream.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::{
    losses::Losses,
    numbers::{NumberPlace, Numbers},
    report::{FlowReport, LossLength, NumbersReport},
    ts::TransportStream,
};
use crate::limits::PROBE_SETTLE;
use tidecast_core::jitter::{Jitter, MICROSECONDS, StampClock};
use tidecast_wire::{
    custom::{self, Scale, Scaled},
    native,
    rtp::{self, PayloadTypes},
    seq::Space,
    ts::packets::Unit,
};

/// A timestamp.
#[derive(Debug, Clone, Copy)]
enum Stamp {
    Micros(u64),
    /// Payload type, and ticks of its clock.
    Rtp(u8, u32),
}

/// Results of one flow.
#[derive(Debug)]
pub(super) struct ProbedFlow {
    name: String,
    source: String,
    format: &'static str,
    payload_type: Option<u8>,
    session: Option<u32>,
    first: Instant,
    last: Instant,
    packets: u64,
    bytes: u64,
    sizes: (usize, usize),
    retransmitted: u64,
    numbers: Option<Numbers>,
    /// Wrap and step of a layout's sequence numbers, if a single datagram does not show them.
    scale: Option<Box<Scale>>,
    jitter: Jitter,
    /// Clock rate of its RTP timestamps.
    clock: StampClock,
    pub(super) ts: Option<Box<TransportStream>>,
}

impl ProbedFlow {
    fn new(now: Instant, name: String, source: String, format: &'static str) -> ProbedFlow {
        ProbedFlow {
            name,
            source,
            format,
            payload_type: None,
            session: None,
            first: now,
            last: now,
            packets: 0,
            bytes: 0,
            sizes: (usize::MAX, 0),
            retransmitted: 0,
            numbers: None,
            scale: None,
            jitter: Jitter::default(),
            clock: StampClock::default(),
            ts: None,
        }
    }

    /// Creates a native stream.
    pub(super) fn native(now: Instant, stream: u32, source: String) -> ProbedFlow {
        let numbers = Some(Numbers::new(Space::FULL));
        ProbedFlow { numbers, ..ProbedFlow::new(now, stream.to_string(), source, "native") }
    }

    /// Creates an RTP source.
    pub(super) fn rtp(now: Instant, packet: &rtp::Packet<'_>, source: String) -> ProbedFlow {
        let payload_type = packet.payload_type();
        ProbedFlow {
            payload_type: Some(payload_type),
            numbers: Some(Numbers::new(Space::RTP)),
            ..ProbedFlow::new(now, format!("{:08x}", packet.ssrc()), source, "rtp")
        }
    }

    /// Creates a stream of a layout.
    pub(super) fn custom(now: Instant, packet: &custom::Packet<'_>, source: SocketAddr) -> ProbedFlow {
        let numbers = Some(Numbers::new(packet.space()));
        let name = packet.id(source).map_or(source.to_string(), |id| id.to_string());
        ProbedFlow { numbers, ..ProbedFlow::new(now, name, source.to_string(), "custom") }
    }

    /// Creates a sender of unnumbered datagrams.
    pub(super) fn unnumbered(now: Instant, source: String, is_ts: bool) -> ProbedFlow {
        ProbedFlow::new(now, source.clone(), source, if is_ts { "ts" } else { "raw" })
    }

    /// Returns when the last packet arrived and the number of packets, if they are from this
    /// source.
    pub(super) fn alive(&self, source: SocketAddr) -> Option<(Instant, u64)> {
        (self.source == source.to_string()).then_some((self.last, self.packets))
    }

    /// Returns whether its packets are numbered.
    pub(super) fn is_numbered(&self) -> bool {
        self.numbers.is_some()
    }

    /// Processes a native data packet.
    pub(super) fn push_native(&mut self, now: Instant, packet: &native::Packet<'_>, len: usize) {
        let anew = self.session.replace(packet.session()).is_some_and(|before| before != packet.session());
        if anew && let Some(numbers) = &mut self.numbers {
            numbers.restart();
        }
        if packet.is_retransmission() {
            self.retransmitted += 1;
            return;
        }
        let stamp = Some(packet.timestamp()).filter(|stamp| *stamp != 0);
        self.push(now, Some((packet.sequence(), 1)), stamp.map(Stamp::Micros), len, packet.payload());
    }

    /// Processes an RTP packet.
    pub(super) fn push_rtp(&mut self, now: Instant, packet: &rtp::Packet<'_>, len: usize) {
        self.payload_type = Some(packet.payload_type());
        let stamp = Stamp::Rtp(packet.payload_type(), packet.timestamp());
        self.push(now, Some((packet.sequence().into(), 1)), Some(stamp), len, packet.payload());
    }

    /// Counts a retransmission on request (VSF TR-06-1 section 5.3.3).
    pub(super) fn push_retransmitted(&mut self) {
        self.retransmitted += 1;
    }

    /// Processes a packet of a layout.
    pub(super) fn push_custom(&mut self, now: Instant, packet: &custom::Packet<'_>, len: usize) {
        let stamp = packet.timestamp().map(Stamp::Micros);
        let mut number = packet.numbered().then(|| (packet.number(), packet.step()));
        if packet.scaled() {
            if self.scale.is_none() {
                self.scale = Scale::of(packet).map(Box::new);
            }
            number = match self.scale.as_mut().map(|scale| scale.place(packet)) {
                Some(Scaled::Numbers { number, step, taken }) => {
                    if let Some((first, count)) = taken {
                        self.push_used(now, first, count);
                    }
                    Some((number, step))
                }
                _ => None,
            };
        }
        self.push(now, number, stamp, len, packet.payload());
    }

    /// Processes sequence numbers used by a datagram of another flow.
    pub(super) fn push_used(&mut self, now: Instant, number: u64, count: u64) {
        if let Some(numbers) = &mut self.numbers {
            numbers.push(now, number, count);
        }
    }

    /// Processes a datagram without a sequence number; the first datagrams of a transport stream
    /// may not be recognizable as such.
    pub(super) fn push_unnumbered(&mut self, now: Instant, bytes: &[u8], is_ts: bool) {
        self.format = if is_ts { "ts" } else { "raw" };
        self.push(now, None, None, bytes.len(), bytes);
    }

    fn push(
        &mut self,
        now: Instant,
        number: Option<(u64, u64)>,
        stamp: Option<Stamp>,
        len: usize,
        payload: &[u8],
    ) {
        self.last = self.last.max(now);
        self.packets += 1;
        self.bytes += len as u64;
        self.sizes = (self.sizes.0.min(len), self.sizes.1.max(len));
        let place = match (&mut self.numbers, number) {
            (Some(numbers), Some((next, 0))) => return numbers.announce(now, next),
            (Some(numbers), Some((number, step))) => numbers.push(now, number, step),
            _ => NumberPlace::Ahead,
        };
        if matches!(place, NumberPlace::Duplicate | NumberPlace::Stray) {
            return;
        }
        if let Some(stamp) = stamp {
            self.clock(now, stamp);
        }
        if let Some(ts) = &mut self.ts
            && (self.format == "ts" || Unit::of_whole(payload).is_some())
        {
            ts.push(now, payload);
        }
    }

    fn clock(&mut self, now: Instant, stamp: Stamp) {
        let arrived = now.saturating_duration_since(self.first);
        let (ticks, rate) = match stamp {
            Stamp::Micros(micros) => (micros, Some(MICROSECONDS)),
            Stamp::Rtp(payload_type, ticks) => {
                let known = self.clock.rate_of(payload_type);
                let learn = || self.clock.learn(payload_type, ticks, arrived, &PayloadTypes::default());
                (u64::from(ticks), known.or_else(learn))
            }
        };
        if let Some(rate) = rate {
            self.jitter.update(arrived.as_secs_f64(), ticks, rate);
        }
    }

    /// Returns the number of expected packets, and the losses, as of now. A late packet may take
    /// as long as the latest one so far.
    pub(super) fn losses(&self, now: Instant) -> (u64, Losses) {
        let settle = self.lateness().max(PROBE_SETTLE);
        self.numbers.as_ref().map(|numbers| numbers.losses(now, settle)).unwrap_or_default()
    }

    /// Returns the maximum delay of a reordered packet.
    pub(super) fn lateness(&self) -> Duration {
        self.numbers.as_ref().map(|numbers| numbers.lateness_max).unwrap_or_default()
    }

    /// Returns the number of data packets, and their rate per second over the flow's duration.
    pub(super) fn rate(&self) -> (u64, f64) {
        let seconds = self.last.saturating_duration_since(self.first).as_secs_f64();
        let rate = if seconds > 0.0 { self.packets.saturating_sub(1) as f64 / seconds } else { 0.0 };
        (self.packets, rate)
    }

    /// Returns the results for the report.
    pub(super) fn report(&self, now: Instant) -> FlowReport {
        let (packets, packets_per_second) = self.rate();
        let mean = self.bytes as f64 / packets.max(1) as f64;
        FlowReport {
            flow: self.name.clone(),
            source: self.source.clone(),
            format: self.format,
            payload_type: self.payload_type,
            clock_rate: self
                .payload_type
                .and_then(|payload_type| self.clock.rate_of(payload_type))
                .map(f64::from),
            packets,
            bytes: self.bytes,
            size_min: self.sizes.0.min(self.sizes.1),
            size_max: self.sizes.1,
            packets_per_second,
            bits_per_second: packets_per_second * mean * 8.0,
            numbers: self.numbers.as_ref().map(|numbers| self.numbers_report(now, numbers)),
            jitter_seconds: self.jitter.estimate().map(|jitter| jitter.as_secs_f64()),
            ts: self.ts.as_ref().map(|ts| ts.report()),
        }
    }

    fn numbers_report(&self, now: Instant, numbers: &Numbers) -> NumbersReport {
        let (expected, losses) = self.losses(now);
        let mut report = numbers_of(expected, &losses);
        report.reordered = numbers.reordered;
        report.reorder_distance_max = numbers.distance_max;
        report.lateness_max_seconds = numbers.lateness_max.as_secs_f64();
        report.duplicates = numbers.duplicates;
        report.retransmitted = self.retransmitted;
        report.restarts = numbers.restarts;
        report.strays = numbers.strays;
        report
    }
}

/// Returns the part of a report that follows from the losses.
pub(super) fn numbers_of(expected: u64, losses: &Losses) -> NumbersReport {
    let loss = if expected > 0 { losses.lost() as f64 / expected as f64 } else { 0.0 };
    let bar = |(length, count)| LossLength { length, count };
    NumbersReport {
        expected,
        lost: losses.lost(),
        loss,
        losses: losses.runs(),
        longest_loss: losses.longest(),
        loss_lengths: losses.histogram().into_iter().map(bar).collect(),
        ..NumbersReport::default()
    }
}
