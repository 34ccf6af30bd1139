//! Repair packets and retransmissions on their way into their flow. They count only from where its media comes from.

use std::{net::SocketAddr, time::Instant};

use super::{
    How, Numbered, Packet, Relay,
    arrival::{Arrival, Body},
};
use crate::{buffer::Buffer, limits::NUMBER_MAX};
use tidecast_wire::native;

/// Why a packet beside the media is of no use that does not come from where the media comes from.
pub(super) const OTHER_SOURCE: &str = "other_source";

impl Relay {
    /// What comes beside a flow's media counts only from where the media comes from.
    pub(super) fn is_elsewhere(&mut self, ours: bool) -> bool {
        if !ours {
            *self.rejects.entry(OTHER_SOURCE).or_default() += 1;
        }
        !ours
    }

    /// A repair packet, or a retransmission.
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
}
