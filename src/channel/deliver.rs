//! Distributes the deliveries of a turn: to the UDP outputs, into the taps, and to readers of
//! records.

use std::{sync::Arc, time::Instant};

use tracing::warn;

use super::{
    Channel, Kit, TooManyTaps,
    rtp::Media,
    tap::{Batch, Begin, Event, FlowName, Select, Tap, TapReader},
    udp::{Datagram, Rtp},
};
use crate::limits::{FLOWS_WARNED_MAX, TAPS_MAX};
use tidecast_core::follow::Follow;
use tidecast_core::relay::{Delivery, FlowId, Output, PacketFormat};
use tidecast_net::clock;
use tidecast_wire::ts::packets::Unit;

/// A delivery of this turn, and whether a player's outputs get it.
#[derive(Debug)]
pub(super) struct Due {
    pub(super) delivery: Delivery,
    /// A control datagram of a custom format.
    control: bool,
    followed: bool,
    use_as: RtpUse,
    /// Name of the flow, if a reader needs it.
    name: Option<Arc<FlowName>>,
}

/// How RTP outputs use a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RtpUse {
    /// It is RTP.
    AsItIs,
    /// TS packets to send as RTP; `starts`: the first ones of a new run of their producer.
    Wrapped { starts: bool },
    /// TS packets of a flow that players do not follow.
    Unfollowed,
    /// Cannot be sent as RTP.
    Never,
}

impl Due {
    /// The bytes to send as RTP, if it is to be wrapped.
    fn wrapped(&self) -> Option<Media<'_>> {
        let RtpUse::Wrapped { starts } = self.use_as else { return None };
        let Delivery { flow, seq, packet, .. } = &self.delivery;
        let number = (packet.format == PacketFormat::Native).then_some(*seq);
        Some(Media { flow: *flow, starts, number, arrived: packet.arrived, payload: packet.payload() })
    }
}

/// Another event of this turn for readers of records, with the index of the delivery that follows
/// it.
pub(super) type Note = (usize, Arc<FlowName>, Event);

impl Channel {
    /// Collects the outputs of the core.
    pub(super) fn collect(&mut self, now: Instant) {
        let named = self.packet_tap.is_some()
            || self.payload_taps.iter().any(|tap| matches!(tap.select(), Select::Flow(_)));
        loop {
            match self.relay.poll_output() {
                Output::Deliver(delivery) => self.take(delivery, false, named, now),
                Output::Control(delivery) => self.take(delivery, true, named, now),
                Output::GapClosed { waited, .. } => self.gap_wait.record(waited.as_secs_f64()),
                Output::SessionStarted { flow, key, source, succeeds } => {
                    self.names.insert(flow, Arc::new(FlowName { key, source }));
                    self.note(flow, Event::Started);
                    if self.wrapper.is_some() && !self.starting.contains(&flow) {
                        self.starting.push(flow);
                    }
                    if let Some(succeeds) = succeeds {
                        self.follow.succeeded(flow, succeeds, now);
                    }
                }
                Output::Carries { flow, stream } => self.follow.carries(flow, stream, now),
                Output::Succeeded { flow, succeeds } => self.follow.succeeded(flow, succeeds, now),
                Output::Unnumbered { flow } => {
                    self.warn_of_flow(flow, "its number never changes: passed on as it comes", now);
                }
                Output::Collision { flow, first, other } => {
                    let what = format!("its id comes from {first} and from {other}: taken from {first}");
                    self.warn_of_flow(flow, &what, now);
                }
                Output::FlowEnded { flow } => {
                    self.note(flow, Event::Ended);
                    self.names.remove(&flow);
                    if let Some(last) = &mut self.last_values {
                        last.forget(flow);
                    }
                    self.starting.retain(|starting| *starting != flow);
                    self.follow.ended(flow);
                }
                Output::Lost { flow, from, count } => {
                    if let Some(name) = self.names.get(&flow) {
                        self.losses.lost(now, &name.key, from, count);
                    }
                    self.note(flow, Event::Lost { from, count });
                }
                Output::Report { beside, bytes } => self.reports.push((beside, bytes)),
                Output::Transmit { leg, from, to, bytes } => self.transmit(leg, from, to, &bytes, now),
                Output::Timeout(at) => {
                    self.relay_due = at;
                    break;
                }
            }
        }
        if let Some(followed) = self.follow.current() {
            self.relay.follow(followed);
        }
    }

    /// Logs a warning about a flow.
    fn warn_of_flow(&mut self, flow: FlowId, what: &str, now: Instant) {
        let key = self.names.get(&flow).map_or(String::new(), |name| name.key.clone());
        // The first warnings are always logged; later ones are limited, so forged flows cannot
        // fill the log.
        if self.flows_warned < FLOWS_WARNED_MAX {
            self.flows_warned += 1;
            warn!(channel = self.name, flow = key, "{what}");
        } else {
            self.log_limited(now, |channel| warn!(channel, flow = key, "{what}"));
        }
    }

    /// Takes a packet to send on.
    #[inline]
    fn take(&mut self, delivery: Delivery, control: bool, named: bool, now: Instant) {
        let concerned = Follow::concerns(delivery.packet.format);
        let followed = !concerned || self.follow.takes(delivery.flow, now);
        self.followed += u64::from(followed);
        let use_as = self.use_as(&delivery, concerned, followed, now);
        let name = named.then(|| self.names.get(&delivery.flow).cloned()).flatten();
        self.due.push(Due { delivery, control, followed, use_as, name });
    }

    /// Notes an event, if there are readers of records.
    fn note(&mut self, flow: FlowId, event: Event) {
        if self.packet_tap.is_some()
            && let Some(name) = self.names.get(&flow)
        {
            self.notes.push((self.due.len(), name.clone(), event));
        }
    }

    /// How RTP outputs use a delivery. Of several streams of TS packets they send the one that a
    /// player follows, even if other outputs send all of them (native).
    #[inline]
    fn use_as(&mut self, delivery: &Delivery, concerned: bool, followed: bool, now: Instant) -> RtpUse {
        let format = delivery.packet.format;
        if format == PacketFormat::Rtp {
            return RtpUse::AsItIs;
        }
        if self.wrapper.is_none()
            || !(format == PacketFormat::Ts || Unit::of_whole(delivery.packet.payload()).is_some())
        {
            return RtpUse::Never;
        }
        let followed = if concerned { followed } else { self.follow.takes(delivery.flow, now) };
        let place = self.starting.iter().position(|flow| *flow == delivery.flow);
        let starts = place.map(|place| self.starting.swap_remove(place)).is_some();
        if followed { RtpUse::Wrapped { starts } } else { RtpUse::Unfollowed }
    }

    pub(super) fn send(&mut self, now: Instant, kit: &mut Kit) {
        if self.due.is_empty() {
            return;
        }
        let mut wrapped = self.wrapper.as_mut().map(|w| w.wrap(self.due.iter().filter_map(Due::wrapped)));
        let datagrams = self.due.iter().map(move |due| {
            let packet = &due.delivery.packet;
            let rtp = match due.use_as {
                RtpUse::AsItIs => Rtp::Packet(&packet.bytes),
                RtpUse::Wrapped { .. } => {
                    wrapped.as_mut().and_then(Iterator::next).map_or(Rtp::Not, Rtp::Made)
                }
                RtpUse::Unfollowed => Rtp::Unfollowed,
                RtpUse::Never => Rtp::Not,
            };
            Datagram { whole: packet.datagram(), payload: packet.payload(), rtp, followed: due.followed }
        });
        self.outputs.send(now, &mut kit.send, &mut kit.interfaces, datagrams);
        // One packet per turn is enough for these statistics.
        if let Some(due) = self.due.iter().rfind(|due| !due.control) {
            self.seen.note(&due.delivery.packet, now);
        }
        for tap in &mut self.payload_taps {
            for due in &self.due {
                let wanted = match tap.select() {
                    Select::Auto => due.followed,
                    Select::Flow(wanted) => due.name.as_ref().is_some_and(|name| wanted.is(&name.key)),
                };
                if wanted {
                    let packet = &due.delivery.packet;
                    match packet.format {
                        PacketFormat::Ts => tap.push_stream(packet.payload(), now),
                        _ => tap.push(packet.payload(), now),
                    }
                }
            }
        }
        if let Some(sink) = &mut self.sink {
            for due in &self.due {
                sink(&due.delivery, due.followed);
            }
        }
    }

    /// Gives the events of this turn to the readers of records, in order.
    pub(super) fn record(&mut self, now: Instant) {
        let Some(records) = &mut self.packet_tap else { return };
        let mut notes = self.notes.drain(..).peekable();
        let wall = clock::unix();
        for (place, due) in self.due.iter().enumerate() {
            while let Some((_, flow, event)) = notes.next_if(|(before, ..)| *before <= place) {
                records.event(flow, event, now);
            }
            let Some(flow) = &due.name else { continue };
            let age = now.saturating_duration_since(due.delivery.packet.arrived);
            records.packet(flow, &due.delivery, due.followed, wall.saturating_sub(age), now);
        }
        for (_, flow, event) in notes {
            records.event(flow, event, now);
        }
    }

    pub(super) fn keep_last_values(&mut self, now: Instant) {
        let Some(last) = self.last_values.as_mut().filter(|_| !self.due.is_empty()) else { return };
        let wall = clock::unix();
        last.keep(self.due.iter().filter(|due| !due.control).map(|due| &due.delivery), |delivery| {
            wall.saturating_sub(now.saturating_duration_since(delivery.packet.arrived))
        });
    }

    /// The last value of each flow, and a reader of all later records.
    pub fn follow(&mut self, now: Instant) -> (Batch, TapReader<Batch>) {
        if let Some(records) = &mut self.packet_tap {
            records.turn(now, true); // sends records from before the last values
        }
        let last = self.last_values.as_ref().map(|last| last.batch(&self.names));
        (last.unwrap_or_default(), self.packet_tap())
    }

    /// A reader of records, packet by packet.
    pub fn packet_tap(&mut self) -> TapReader<Batch> {
        self.packet_tap.get_or_insert_with(|| Tap::new(Select::Auto, self.chunk)).reader()
    }

    /// A reader of the payloads that `select` selects.
    ///
    /// # Errors
    /// Too many different selections are being read.
    pub fn payload_tap(
        &mut self,
        select: Select,
        begin: Begin,
        now: Instant,
    ) -> Result<TapReader, TooManyTaps> {
        if let Some(tap) = self.payload_taps.iter_mut().find(|tap| *tap.select() == select) {
            return Ok(tap.reader_from(begin, now));
        }
        let single = |select: &Select| matches!(select, Select::Flow(_));
        if single(&select) && self.payload_taps.iter().filter(|tap| single(tap.select())).count() >= TAPS_MAX
        {
            return Err(TooManyTaps { name: self.name.clone() });
        }
        let mut tap = Tap::new(select, self.chunk);
        if self.start_bytes_max > 0 {
            tap = tap.with_start(self.start_bytes_max, false);
        }
        let reader = tap.reader();
        self.payload_taps.push(tap);
        Ok(reader)
    }
}
