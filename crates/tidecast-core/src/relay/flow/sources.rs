//! Source addresses of a flow. A flow's id belongs to one producer, whose packets come from one
//! address on each leg. A packet with the same id from another address may be of the same producer
//! (another path into the same group, a second socket, a new port after a restart), or of a
//! producer that uses the same id by mistake (RFC 3550, section 8.2). It waits until that is
//! clear: if it agrees with the current numbering it is accepted, if it contradicts a numbering
//! that continues it is a collision, and if the known address falls silent, the other one replaces
//! it.

use std::{collections::VecDeque, net::SocketAddr, time::Instant};

use super::{Context, Flow, Numbered};
use crate::{
    limits::{SOURCE_AGREEMENTS, SOURCE_ROW, SOURCES_MAX, SOURCES_PENDING_MAX},
    relay::{
        Collision, Output,
        arrival::{Arrival, Body, FlowKey},
        reorder::Known,
    },
};

/// Reject reason: another address already uses the id.
const COLLISION: &str = "collision";

/// Relation of another address to the one whose packets are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    /// Not known yet; the count of its packets that have agreed with the current session.
    Unknown(u8),
    /// Another path of the same producer.
    Kin,
    /// Another producer with the same id.
    Rival,
}

#[derive(Debug)]
struct Other {
    leg: u8,
    address: SocketAddr,
    relation: Relation,
    heard: Instant,
    /// Media packets that the flow had received at the last packet from here, and the count of
    /// packets from here in a row.
    row: (u64, u32),
}

impl Other {
    /// Counts one more packet. Returns whether enough consecutive packets came from this address
    /// to conclude that the current one is gone.
    fn alone(&mut self, received: u64) -> bool {
        let (last, row) = self.row;
        self.row = (received, if received == last + 1 { row + 1 } else { 1 });
        self.row.1 >= SOURCE_ROW
    }
}

#[derive(Debug)]
struct Pending {
    source: SocketAddr,
    arrived: Instant,
    packet: Numbered,
}

/// Other source addresses of a flow.
#[derive(Debug, Default)]
pub(super) struct OtherSources {
    others: Vec<Other>,
    /// Packets that wait, in order of arrival.
    pending: VecDeque<Pending>,
    collision: Option<Collision>,
}

impl OtherSources {
    fn find(&mut self, leg: u8, address: SocketAddr) -> Option<&mut Other> {
        self.others.iter_mut().find(|other| other.leg == leg && other.address == address)
    }

    /// Records an address. If the list is full, it replaces the one that has been silent longest,
    /// rivals first.
    fn note(&mut self, leg: u8, address: SocketAddr, now: Instant) -> &mut Other {
        let place = self.others.iter().position(|other| other.leg == leg && other.address == address);
        let place = place.unwrap_or_else(|| {
            if self.others.len() >= SOURCES_MAX {
                let rank = |place: &usize| {
                    (self.others[*place].relation == Relation::Kin, self.others[*place].heard)
                };
                let idle = (0..self.others.len()).min_by_key(rank).unwrap_or(0);
                self.others.swap_remove(idle);
            }
            self.others.push(Other { leg, address, relation: Relation::Unknown(0), heard: now, row: (0, 0) });
            self.others.len() - 1
        });
        let other = &mut self.others[place];
        other.heard = now;
        other
    }
}

/// What to do with a packet from another source address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::relay) enum Stranger {
    /// Accept it: it is the producer's.
    Ours,
    /// Hold it back with [`Flow::wait_for_source`].
    Waits,
    /// Another producer has the same id: call [`Flow::collides`].
    Collides,
}

impl Flow {
    /// Whether this is the source address of the flow's packets on this leg.
    #[inline]
    pub(in crate::relay) fn is_from(&self, leg: u8, source: SocketAddr) -> bool {
        match &self.legs {
            None => self.source == source,
            Some(legs) => legs.source(leg).is_none_or(|known| known == source),
        }
    }

    /// Whether a datagram beside the media is from the producer: from the address of its packets,
    /// or another path of it.
    pub(in crate::relay) fn is_ours(&self, leg: u8, source: SocketAddr) -> bool {
        let kin = |other: &Other| other.address == source && other.relation == Relation::Kin;
        self.source_on(leg) == source
            || self.sources.as_ref().is_some_and(|sources| sources.others.iter().any(kin))
    }

    /// Like [`Flow::is_ours`], for any port of the host.
    pub(in crate::relay) fn is_of_host(&self, leg: u8, source: SocketAddr) -> bool {
        let kin = |other: &Other| other.address.ip() == source.ip() && other.relation == Relation::Kin;
        self.source_on(leg).ip() == source.ip()
            || self.sources.as_ref().is_some_and(|sources| sources.others.iter().any(kin))
    }

    /// Decides about a packet from another address than the flow's.
    #[cold]
    pub(in crate::relay) fn whose(
        &mut self,
        leg: u8,
        source: SocketAddr,
        arrival: &Arrival,
        now: Instant,
    ) -> Stranger {
        let numbered = matches!(arrival.body, Body::Numbered { .. });
        if matches!(self.key, FlowKey::Source(_)) || !numbered {
            self.source = source;
            return Stranger::Ours;
        }
        let silent = now >= self.silent_at(leg);
        let sources = self.sources.get_or_insert_default();
        let other = sources.note(leg, source, now);
        let relation = other.relation;
        let alone = other.alone(self.counters.media_received) && relation == Relation::Kin;
        if (silent || alone) && sources.pending.is_empty() {
            self.adopt(leg, source);
            return Stranger::Ours;
        }
        match relation {
            Relation::Kin => Stranger::Ours,
            Relation::Rival if !silent => Stranger::Collides,
            _ => Stranger::Waits,
        }
    }

    /// When the current address on this leg counts as silent, if no more packets come from it.
    fn silent_at(&self, leg: u8) -> Instant {
        self.source_heard(leg) + self.next_due()
    }

    fn source_heard(&self, leg: u8) -> Instant {
        let heard = self.legs.as_ref().map(|legs| legs.source_heard(leg).unwrap_or(self.epoch));
        heard.unwrap_or(self.last_arrival)
    }

    /// Makes room if too many packets wait. An address that has sent that many, without a packet
    /// from the current one in between, replaces it.
    fn make_room_for_pending(&mut self, cx: &mut Context<'_>) {
        let pending = self.sources.as_ref().map(|sources| &sources.pending);
        let Some(first) = pending.filter(|p| p.len() >= SOURCES_PENDING_MAX).and_then(|p| p.front()) else {
            return;
        };
        let (leg, source) = (first.packet.leg, first.source);
        if self.source_heard(leg) <= first.arrived {
            self.adopt(leg, source);
            return self.take_all_of(leg, source, cx);
        }
        if let Some(evicted) = self.sources.as_mut().and_then(|sources| sources.pending.pop_front()) {
            self.reject(evicted.packet, cx);
        }
    }

    /// Accepts packets from this address from now on.
    fn adopt(&mut self, leg: u8, source: SocketAddr) {
        match &mut self.legs {
            Some(legs) => {
                if legs.source(leg) == Some(self.source) {
                    self.source = source;
                }
                legs.moves(leg, source);
            }
            None => self.source = source,
        }
        if let Some(sources) = &mut self.sources {
            sources.others.retain(|other| {
                other.leg != leg || (other.address != source && other.relation == Relation::Kin)
            });
        }
    }

    /// Holds a packet back until its producer is known.
    pub(in crate::relay) fn wait_for_source(
        &mut self,
        source: SocketAddr,
        mut packet: Numbered,
        cx: &mut Context<'_>,
    ) {
        self.counters.media_received += 1;
        cx.tighten(&mut packet.packet);
        self.make_room_for_pending(cx);
        let arrived = packet.packet.arrived;
        self.sources.get_or_insert_default().pending.push_back(Pending { source, arrived, packet });
    }

    /// Counts a packet of another producer that uses this flow's id.
    pub(in crate::relay) fn collides(&mut self, leg: u8, other: SocketAddr, now: Instant) {
        self.counters.media_received += 1;
        self.counters.rejected += 1;
        self.note_collision(leg, other, now);
    }

    fn note_collision(&mut self, leg: u8, other: SocketAddr, now: Instant) {
        let first = self.source_on(leg);
        let sources = self.sources.get_or_insert_default();
        let before =
            sources.collision.filter(|before| before.other == other).map_or(0, |before| before.packets);
        sources.collision = Some(Collision { first, other, packets: before + 1, last: now });
    }

    /// Another address that sends packets with this flow's id, if any.
    pub(super) fn collision(&self) -> Option<Collision> {
        self.sources.as_ref()?.collision
    }

    fn reject(&mut self, packet: Numbered, cx: &mut Context<'_>) {
        self.counters.rejected += 1;
        cx.spend(packet.packet);
    }

    /// Packets whose producer is not known yet.
    pub(super) fn pending(&self) -> usize {
        self.sources.as_ref().map_or(0, |sources| sources.pending.len())
    }

    pub(super) fn pending_bytes(&self) -> usize {
        let pending = self.sources.iter().flat_map(|sources| &sources.pending);
        pending.map(|pending| pending.packet.packet.bytes.capacity()).sum()
    }

    /// When the current address, which the waiting packets contradict, counts as silent.
    pub(super) fn pending_deadline(&self) -> Option<Instant> {
        let pending = &self.sources.as_ref()?.pending;
        pending.iter().map(|pending| self.silent_at(pending.packet.leg)).min()
    }

    pub(super) fn reject_pending(&mut self, cx: &mut Context<'_>) {
        while let Some(pending) = self.sources.as_mut().and_then(|sources| sources.pending.pop_front()) {
            self.reject(pending.packet, cx);
        }
    }

    /// Decides again about the waiting packets: some time has passed, or the current numbering
    /// has advanced.
    pub(in crate::relay) fn weigh_sources(&mut self, cx: &mut Context<'_>) {
        let mut place = 0;
        while let Some(pending) = self.sources.as_ref().and_then(|sources| sources.pending.get(place)) {
            let (leg, source, arrived) = (pending.packet.leg, pending.source, pending.arrived);
            if cx.now >= self.silent_at(leg) {
                self.adopt(leg, source);
                self.take_all_of(leg, source, cx);
                place = 0;
                continue;
            }
            let known = self.known(&pending.packet, cx);
            let agrees = matches!(known, Known::Same | Known::Missing | Known::Lost);
            let goes_on =
                self.alive.is_some_and(|alive| alive > arrived + self.grace(cx.now).max(self.stragglers()));
            if !agrees && (!goes_on || known != Known::Other) {
                place += 1;
                continue;
            }
            let pending = self.sources.as_mut().and_then(|sources| sources.pending.remove(place));
            let Some(Pending { packet, .. }) = pending else { break };
            if agrees {
                self.agrees(leg, source, known, cx.now);
                self.numbered(packet, cx);
                // The head may have moved, which can change the decision about earlier packets.
                place = 0;
            } else {
                self.contradicts(leg, source, packet, cx);
            }
        }
    }

    fn take_all_of(&mut self, leg: u8, source: SocketAddr, cx: &mut Context<'_>) {
        let Some(sources) = &mut self.sources else { return };
        let all = std::mem::take(&mut sources.pending);
        let (taken, others) =
            all.into_iter().partition(|pending| pending.packet.leg == leg && pending.source == source);
        sources.pending = others;
        self.shows(cx.now);
        if let Some(legs) = &mut self.legs {
            legs.heard_from(leg, source, cx.now);
        }
        let taken: VecDeque<Pending> = taken;
        for pending in taken {
            self.numbered(pending.packet, cx);
        }
    }

    /// Looks up a packet in the current numbering.
    fn known(&self, packet: &Numbered, cx: &Context<'_>) -> Known {
        let window = self.window(cx.config);
        self.session.as_ref().map_or(Known::Other, |session| session.known(packet, window))
    }

    fn agrees(&mut self, leg: u8, source: SocketAddr, known: Known, now: Instant) {
        let Some(other) = self.sources.as_mut().and_then(|sources| sources.find(leg, source)) else { return };
        other.heard = now;
        if let Relation::Unknown(agreements) = other.relation
            && known != Known::Lost
        {
            let enough = agreements + 1 >= SOURCE_AGREEMENTS;
            other.relation = if enough { Relation::Kin } else { Relation::Unknown(agreements + 1) };
        }
    }

    fn contradicts(&mut self, leg: u8, source: SocketAddr, packet: Numbered, cx: &mut Context<'_>) {
        self.note_collision(leg, source, cx.now);
        *cx.rejects.entry(COLLISION).or_default() += 1;
        self.reject(packet, cx);
        let first = self.source_on(leg);
        let Some(sources) = &mut self.sources else { return };
        let other = sources.note(leg, source, cx.now);
        if other.relation != Relation::Rival {
            other.relation = Relation::Rival;
            cx.outputs.push_back(Output::Collision { flow: self.id, first, other: source });
        }
    }

    /// Reject reason that [`Flow::collides`] counts.
    pub(in crate::relay) const COLLISION: &str = COLLISION;
}
