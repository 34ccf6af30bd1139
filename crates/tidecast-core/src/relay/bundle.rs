//! Datagrams of custom formats whose numbers are not simple: those with numbers of several
//! streams, and those whose number depends on previous datagrams.

use std::{net::SocketAddr, time::Instant};

use super::{
    Relay,
    arrival::{self, Arrival, Body, FlowKey},
};
use crate::{buffer::Buffer, limits::NUMBER_MAX};
use tidecast_wire::{
    Format,
    custom::{Packet, Run, Scaled},
    seq::SeqRange,
};

impl Relay {
    /// Resolves a datagram whose body is [`Body::Mixed`] or [`Body::Scaled`].
    #[cold]
    pub(super) fn relative(
        &mut self,
        now: Instant,
        waited: Option<Instant>,
        leg: u8,
        source: SocketAddr,
        arrival: &Arrival,
        bytes: Buffer,
    ) {
        let Format::Custom(layout) = &self.config.format else { return self.spend(bytes) };
        let Ok(packet) = layout.read(&bytes) else { return self.spend(bytes) };
        let others = if packet.mixed() { layout.others(&bytes, source) } else { Vec::new() };
        let body = match arrival.body {
            Body::Scaled => self.scaled(now, leg, source, arrival, &packet),
            _ => arrival::numbered(packet.number(), packet.step(), &bytes),
        };
        let arrival = Arrival { body, payload: arrival.payload.clone(), ..*arrival };
        self.arrived(now, waited, leg, source, &Ok(arrival), bytes);
        // The flow of the first stream takes the datagram. The flows of the others note that their
        // numbers are used, so that they do not count as lost.
        for Run { id, number, count } in others {
            let key = id.map_or(FlowKey::Source(source), FlowKey::Id);
            let known = self.known(&key).filter(|_| number < NUMBER_MAX);
            let Some(index) = known else { continue };
            let (flow, mut cx) = self.split(index, now);
            flow.used(SeqRange { first: number, count }, leg, source, &mut cx);
            self.follow_up(index, now);
        }
    }

    /// Resolves the body of a datagram by the state of its flow.
    fn scaled(
        &mut self,
        now: Instant,
        leg: u8,
        source: SocketAddr,
        arrival: &Arrival,
        packet: &Packet<'_>,
    ) -> Body {
        // Without a flow the datagram is counted as rejected later on.
        let Some(index) = self.known_or_new(now, leg, source, arrival) else {
            return arrival::numbered(NUMBER_MAX, 1, &[]);
        };
        let (flow, mut cx) = self.split(index, now);
        match flow.place_scaled(packet) {
            Scaled::Unknown => Body::Passes,
            Scaled::Numbers { number, step, taken } => {
                if let Some((first, count)) = taken {
                    flow.used(SeqRange { first, count }, leg, source, &mut cx);
                    self.follow_up(index, now);
                }
                match step {
                    0 => Body::Heartbeat { session: 0, next: number },
                    _ => arrival::numbered(number, step, packet.payload()),
                }
            }
        }
    }
}
