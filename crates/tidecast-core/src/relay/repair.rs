//! Assigns repair packets and retransmissions to their flow. They count only from the address that
//! the flow's media comes from.
//!
//! Native ones come among the media. Those of ST 2022-1 come on separate ports and do not name the
//! stream that they protect, so it is found by its numbers.

use std::{net::SocketAddr, time::Instant};

use super::{
    Fec, Flow, How, Numbered, Packet, PacketFormat, Relay,
    arrival::{Arrival, Body},
};
use crate::{
    buffer::Buffer,
    limits::{HOLD_START, NUMBER_MAX, SILENCE_MAX, ST2022_FLOWS_MAX},
};
use tidecast_wire::{limits::ST2022_SPAN_MAX, native, seq::Space, st2022::Repair};

/// Reject reason: a datagram beside the media came from another address than the media.
pub(super) const OTHER_SOURCE: &str = "other_source";

impl Relay {
    /// Counts a datagram beside the media that is not from the media's address; returns whether it
    /// was counted.
    pub(super) fn is_elsewhere(&mut self, ours: bool) -> bool {
        if !ours {
            *self.rejects.entry(OTHER_SOURCE).or_default() += 1;
        }
        !ours
    }

    /// Takes a native repair packet, or a retransmission.
    #[inline(never)]
    pub(super) fn repair(
        &mut self,
        now: Instant,
        leg: u8,
        source: SocketAddr,
        arrival: &Arrival,
        bytes: Buffer,
    ) {
        let known = self.known(&arrival.key);
        let Some(index) = known.filter(|_| !arrival.beyond_limits()) else { return self.spend(bytes) };
        let ours = self.live(index).is_some_and(|flow| match arrival.body {
            Body::Repair { .. } => flow.is_ours(leg, source),
            _ => flow.is_of_host(leg, source),
        });
        if self.is_elsewhere(ours) {
            return self.spend(bytes);
        }
        let (flow, mut cx) = self.split(index, now);
        match arrival.body {
            Body::Numbered { session, number, span, fingerprint, .. } => {
                let Arrival { timestamp, format, .. } = *arrival;
                let packet =
                    Packet { bytes, payload: arrival.payload.clone(), timestamp, arrived: now, format };
                let how = How::Retransmission;
                let packet = Numbered { session, number, span, fingerprint, how, packet, leg, clock: None };
                flow.numbered(packet, &mut cx);
            }
            Body::Repair { session, first } if first < NUMBER_MAX => {
                if let Ok(repair) = native::Repair::parse(
                    &bytes[arrival.payload.start as usize..arrival.payload.end as usize],
                ) {
                    flow.repair(session, first, &repair, &mut cx);
                }
                self.spend(bytes);
            }
            _ => self.spend(bytes),
        }
        self.follow_up(index, now);
    }

    /// Takes a datagram from a port for repair packets. Other datagrams are counted as usual, but
    /// never treated as media.
    pub(super) fn st2022(&mut self, now: Instant, leg: u8, source: SocketAddr, bytes: Buffer) {
        let leg = self.leg(leg);
        let counters = &mut self.legs[usize::from(leg)];
        counters.bytes += bytes.len() as u64;
        self.others.bytes_received += bytes.len() as u64;
        match Repair::parse(&bytes) {
            Ok(repair) => {
                counters.repair += 1;
                self.others.repair_received += 1;
                self.st2022_repair(now, leg, source, &repair);
            }
            Err(error) => {
                counters.media += 1;
                self.others.media_received += 1;
                self.refuse_beside(error.into(), now, source, &bytes);
            }
        }
        self.spend(bytes);
    }

    /// Takes an ST 2022-1 repair packet. Before any media it is useless, since its flow is not
    /// known.
    fn st2022_repair(&mut self, now: Instant, leg: u8, source: SocketAddr, repair: &Repair<'_>) {
        let Some(index) = self.protected_by(repair, leg, source, now) else { return };
        let (flow, mut cx) = self.split(index, now);
        flow.st2022_repair(leg, repair, &mut cx);
        self.follow_up(index, now);
    }

    /// Finds the flow that a repair packet protects: of the active flows with media from the same
    /// host on this leg, the one that was heard most recently, then the one with the nearest
    /// numbers. After one stream replaced another, repair packets may still protect the last
    /// numbers of the old one.
    fn protected_by(
        &mut self,
        repair: &Repair<'_>,
        leg: u8,
        source: SocketAddr,
        now: Instant,
    ) -> Option<u32> {
        let of_host = |index: &u32| self.live(*index).is_some_and(|flow| flow.is_of_host(leg, source));
        let ours = self.protected.is_empty() || self.protected.iter().any(of_host);
        if self.is_elsewhere(ours) {
            return None;
        }
        let rank = |flow: &Flow| {
            let end = flow.st2022_end().filter(|_| flow.is_of_host(leg, source))?;
            let distance = Space::RTP.extend(end, repair.base().into()).abs_diff(end);
            let [silent, quiet] = [SILENCE_MAX, HOLD_START].map(|time| now >= flow.last_arrival + time);
            let far = distance > 2 * ST2022_SPAN_MAX;
            Some((silent, far, quiet, distance))
        };
        let ranked = self.protected.iter().filter_map(|index| Some((rank(self.live(*index)?)?, *index)));
        ranked.min().map(|(_, index)| index)
    }

    /// Marks a flow that has started a session as one that repair packets may protect. It replaces
    /// the one that has been silent longest.
    pub(super) fn protect(&mut self, index: u32) {
        let wanted = self.live(index).is_some_and(|flow| flow.format == PacketFormat::Rtp);
        if self.config.fec == Fec::Off || !wanted || self.protected.contains(&index) {
            return;
        }
        self.protected.push(index);
        if self.protected.len() > ST2022_FLOWS_MAX {
            let heard = |index: &u32| self.live(*index).map(|flow| flow.last_arrival);
            let silent =
                (0..ST2022_FLOWS_MAX).min_by_key(|place| heard(&self.protected[*place])).unwrap_or(0);
            let silent = self.protected.swap_remove(silent);
            if let Some(flow) = self.flows[silent as usize].as_mut() {
                flow.stop_recovery();
            }
        }
    }
}
