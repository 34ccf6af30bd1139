//! Datagrams of sources whose format must be identified first (see [`crate::identify`]), between
//! [`Relay::packet`] and the flows. Datagrams of known sources, which are nearly all, do not pass
//! here.

use std::{net::SocketAddr, time::Instant};

use super::{
    Config, Flow, PacketFormat, Relay,
    arrival::{self, Arrival, FlowKey},
};
use crate::{
    buffer::Buffer,
    identify::{Alive, Came, Kin, Pushed, Settled, SourceKind, Sources},
    limits::IDENTIFY_SOURCES_MIN,
};
use tidecast_wire::{Format, Reason, Reject};

/// Offsets of the SSRC and of the number in RTP.
const SSRC: usize = 8;
const NUMBER: usize = 2;
/// Offset of the stream id in a native datagram.
const STREAM: usize = 4;

/// State for the identification of formats; `None` if the configuration names the format.
pub(super) fn sources(config: &Config) -> Option<Box<Sources<Buffer>>> {
    let legs = config.legs.max(1);
    let max = config.flows_max.max(IDENTIFY_SOURCES_MIN).saturating_mul(legs);
    let ts_only = config.format == Format::Ts;
    let needed = ts_only || config.format == Format::Auto;
    needed.then(|| Box::new(Sources::new(legs, ts_only, max)))
}

impl Relay {
    /// Takes a datagram that does not fit the known format of its source, or is of an unknown
    /// stream.
    #[cold]
    #[inline(never)]
    pub(super) fn identify_misfit(&mut self, now: Instant, leg: u8, source: SocketAddr, bytes: Buffer) {
        if let Some(sources) = &mut self.sources {
            sources.withdraw(leg, &bytes);
        }
        self.identify(now, leg, source, bytes);
    }

    /// Takes a datagram of a source whose format is not known yet. It is passed on, or waits for
    /// the next ones.
    #[inline(never)]
    pub(super) fn identify(&mut self, now: Instant, leg: u8, source: SocketAddr, bytes: Buffer) {
        if bytes.is_empty() {
            return self.arrived(now, None, leg, source, &Err(Reject::Corrupt(Reason::Empty)), bytes);
        }
        let (kin, capacity) = (self.kin(source, &bytes), bytes.capacity());
        let came = Came { now, leg, source, kin, room: capacity <= self.budget.room() };
        let Some(sources) = &mut self.sources else { return };
        let (by_key, flows) = (&self.by_key, &self.flows);
        let alive = |source, stream| {
            let index = *by_key.get(&FlowKey::Stream(stream))? as usize;
            alive(flows.get(index)?.as_ref()?, source)
        };
        match sources.push(came, bytes, alive) {
            Pushed::Is(kind, bytes) => {
                self.identified();
                return self.of_kind(kind, now, now, leg, source, bytes);
            }
            Pushed::Waits => {
                let capacity = self.tighten_last_held().unwrap_or(capacity);
                self.budget.recharge(0, capacity);
            }
            Pushed::Settled => self.budget.recharge(0, capacity),
        }
        self.legs[usize::from(leg)].media += 1;
        self.identified();
    }

    /// Passes on the datagrams whose format is settled.
    fn identified(&mut self) {
        while let Some(settled) = self.sources.as_mut().and_then(|sources| sources.settled()) {
            let Settled { leg, source, arrived, kind, bytes } = settled;
            self.legs[usize::from(leg)].media -= 1;
            self.budget.recharge(bytes.capacity(), 0);
            let now = self.now.unwrap_or(arrived);
            self.of_kind(kind, now, arrived, leg, source, bytes);
        }
    }

    fn of_kind(
        &mut self,
        kind: SourceKind,
        now: Instant,
        arrived: Instant,
        leg: u8,
        source: SocketAddr,
        mut bytes: Buffer,
    ) {
        let mut arrival = match kind {
            SourceKind::Raw if self.config.format == Format::Ts => Err(Reject::Foreign(Reason::Format)),
            kind => arrival::identified(kind, source, &bytes),
        };
        if arrival.as_ref().is_err_and(|reject| *reject == Reject::Foreign(Reason::Format))
            && matches!(kind, SourceKind::Native | SourceKind::Rtp)
            && self.kin(source, &bytes) != Kin::Stranger
        {
            // Everything but the first byte shows which flow it belongs to.
            arrival = Err(Reject::Corrupt(Reason::Format));
        }
        if let (Some(_), Ok(arrival)) = (&self.rist, &mut arrival) {
            self.restore(leg, arrival, &mut bytes);
        }
        self.arrived(now, Some(arrived), leg, source, &arrival, bytes);
    }

    /// Datagrams whose format is not known yet.
    pub(super) fn undecided(&self) -> usize {
        self.sources.as_ref().map_or(0, |sources| sources.held())
    }

    /// Whether a packet may be the first of an RTP stream, so that it may also be of another
    /// format.
    pub(super) fn is_strange(&self, arrival: &Arrival) -> bool {
        self.sources.is_some() && arrival.format == PacketFormat::Rtp
    }

    /// A source starts a native stream.
    pub(super) fn began_native(&mut self, now: Instant, leg: u8, source: SocketAddr, stream: u32) {
        if let Some(sources) = &mut self.sources {
            sources.began_native(now, leg, source, stream);
            self.identified();
        }
    }

    /// Handles the timeouts of waiting datagrams.
    pub(super) fn expire_sources(&mut self, now: Instant) {
        let Some(sources) = &mut self.sources else { return };
        let (by_key, flows) = (&self.by_key, &self.flows);
        sources.expire(now, &|source, stream| {
            let index = *by_key.get(&FlowKey::Stream(stream))? as usize;
            alive(flows.get(index)?.as_ref()?, source)
        });
        self.identified();
    }

    /// Settles all waiting datagrams, at the end of the channel.
    pub(super) fn settle_sources(&mut self, now: Instant) {
        if let Some(sources) = &mut self.sources {
            sources.finish(now);
            self.identified();
        }
    }

    /// How a datagram relates to the known flows.
    fn kin(&self, source: SocketAddr, bytes: &[u8]) -> Kin {
        let word = |at: usize| bytes.get(at..)?.first_chunk::<4>().map(|word| u32::from_be_bytes(*word));
        let flow = |key| self.by_key.get(&key).and_then(|index| self.live(*index));
        if let Some(ssrc) = word(SSRC) {
            // RIST sets the lowest bit in retransmissions.
            let again = || self.rist.as_ref().and_then(|_| flow(FlowKey::Ssrc(ssrc & !1)));
            if let Some(flow) = flow(FlowKey::Ssrc(ssrc)).or_else(again) {
                let number = u16::from_be_bytes([bytes[NUMBER], bytes[NUMBER + 1]]);
                return if flow.is_near(number.into()) { Kin::Continues } else { Kin::Named };
            }
        }
        let stream = word(STREAM).and_then(|stream| flow(FlowKey::Stream(stream)));
        if stream.is_some_and(|stream| stream.source == source) { Kin::Named } else { Kin::Stranger }
    }

    /// Copies a small datagram out of a large buffer; returns the capacity of its current buffer.
    fn tighten_last_held(&mut self) -> Option<usize> {
        let held = self.sources.as_mut()?.last_held()?;
        if held.capacity() > 4 * held.len() {
            let small = Buffer::from(&**held);
            let slot = std::mem::replace(held, small);
            let capacity = held.capacity();
            self.spend(slot);
            return Some(capacity);
        }
        Some(held.capacity())
    }
}

/// When a native stream of this source was last heard, and its packet count.
fn alive(flow: &Flow, source: SocketAddr) -> Alive {
    (flow.source == source).then_some((flow.last_arrival, flow.counters.media_received))
}
