//! Opens sealed datagrams before anything else looks at them: a forged or replayed one is counted,
//! and changes no other state.
//!
//! A tag proves that somebody with the key made a datagram, but not when. So each number of a
//! session is let in once on each leg ([`Seen`]); a session must be newer than the one before it,
//! by the timestamp of its data, or by its id where the producer has no clock; and heartbeats must
//! be newer than the data. All of that is noted only after the tag was found to be right.

use std::{
    collections::{BTreeSet, HashMap},
    net::SocketAddr,
    ops::Range,
    sync::Arc,
    time::Instant,
};

use foldhash::quality::RandomState;

use super::{
    Relay,
    arrival::{self, Arrival},
};
use crate::{buffer::Buffer, limits::SEALED_REPAIRS_MAX};
use tidecast_wire::{
    Reject,
    native::{self, Kind, Packet, Repair, Repr},
    seal::{Keyring, SessionKeys},
};

mod seen;

use seen::{Seen, When};

/// Why a datagram is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    /// It has no tag.
    Unsealed,
    /// There is no key with its id.
    UnknownKey,
    /// Its tag is wrong.
    Forged,
    /// It was sent before what has come already.
    Replayed,
}

impl Refusal {
    /// Name of the reason in metrics.
    fn as_str(self) -> &'static str {
        match self {
            Refusal::Unsealed => "unsealed",
            Refusal::UnknownKey => "unknown_key",
            Refusal::Forged => "forged",
            Refusal::Replayed => "replayed",
        }
    }
}

/// What becomes of a datagram whose tag is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Admitted {
    /// It is let in.
    New,
    /// A copy of one that came a moment ago.
    Copy,
}

/// The streams of a channel that takes sealed datagrams alone.
#[derive(Debug)]
pub(super) struct Sealed {
    keyring: Arc<Keyring>,
    legs: usize,
    streams_max: usize,
    streams: HashMap<u32, Stream, RandomState>,
}

/// Sessions of one stream whose datagrams have had right tags.
#[derive(Debug)]
struct Stream {
    newest: Session,
    /// The one before it, of which stragglers may come.
    former: Option<Session>,
    /// Latest end of all sessions before the newest one, by their clocks.
    ended: u64,
    heard: Instant,
}

#[derive(Debug)]
struct Session {
    id: u32,
    /// Keys of this session that are in use: usually one, and the latest one last.
    keys: Vec<SessionKeys>,
    /// The numbers of each leg.
    seen: Vec<Seen>,
    /// The repair packets that have come: first number of the block, and index.
    repairs: BTreeSet<(u64, usize)>,
    /// Repair packets of earlier blocks are no longer let in.
    repairs_from: u64,
    /// Timestamp of the packet with the highest number; 0 if none had one.
    latest: u64,
    /// Timestamp of the last heartbeat.
    told: u64,
}

impl Session {
    fn new(packet: &Packet<'_>, keys: SessionKeys, legs: usize) -> Session {
        let seen = (0..legs).map(|_| Seen::new(packet.sequence())).collect();
        let (id, keys) = (packet.session(), vec![keys]);
        Session { id, keys, seen, repairs: BTreeSet::new(), repairs_from: 0, latest: 0, told: 0 }
    }

    fn key(&self, id: u8) -> Option<&SessionKeys> {
        self.keys.iter().find(|keys| keys.id() == id)
    }

    /// The number after the highest one on any leg.
    fn next(&self) -> u64 {
        self.seen.iter().map(Seen::next).max().unwrap_or(0)
    }

    fn data(&mut self, now: Instant, leg: u8, packet: &Packet<'_>) -> Result<Admitted, Refusal> {
        let highest = packet.sequence() >= self.next();
        let Some(seen) = self.seen.get_mut(usize::from(leg)) else { return Err(Refusal::Replayed) };
        match seen.take(packet.sequence(), now) {
            When::Never if highest => {
                self.note_time(packet.timestamp());
                Ok(Admitted::New)
            }
            When::Never => Ok(Admitted::New),
            When::Lately => Ok(Admitted::Copy),
            When::Before => Err(Refusal::Replayed),
        }
    }

    /// Notes the time of the packet with the highest number.
    fn note_time(&mut self, timestamp: u64) {
        if timestamp != 0 {
            self.latest = timestamp;
        }
        if timestamp < self.told {
            self.told = 0; // the clock was set back
        }
    }

    /// A repair packet is let in once, whichever leg carries it.
    fn repair(&mut self, packet: &Packet<'_>) -> Result<Admitted, Refusal> {
        // The payload was checked together with the packet.
        let index = Repair::parse(packet.payload()).map_or(0, |repair| repair.index());
        let first = packet.sequence();
        if first < self.repairs_from {
            return Err(Refusal::Replayed);
        }
        if !self.repairs.insert((first, index)) {
            return Ok(Admitted::Copy);
        }
        if self.repairs.len() > SEALED_REPAIRS_MAX
            && let Some((oldest, _)) = self.repairs.pop_first()
        {
            self.repairs_from = oldest + 1;
        }
        Ok(Admitted::New)
    }

    /// A heartbeat, or the end of the session.
    fn control(&mut self, packet: &Packet<'_>) -> Result<Admitted, Refusal> {
        let timestamp = packet.timestamp();
        // Data may have come since on a leg that is ahead.
        if timestamp != 0 && timestamp == self.told {
            return Ok(Admitted::Copy);
        }
        if packet.sequence() < self.next() || (timestamp != 0 && timestamp < self.latest.max(self.told)) {
            return Err(Refusal::Replayed);
        }
        self.told = timestamp;
        Ok(Admitted::New)
    }
}

impl Stream {
    fn session(&self, id: u32) -> Option<&Session> {
        [Some(&self.newest), self.former.as_ref()].into_iter().flatten().find(|session| session.id == id)
    }

    /// Whether a packet of another session was sent after those of the newest one.
    fn is_newer(&self, packet: &Packet<'_>) -> bool {
        // A clock that is set back within a session must not let an earlier one in again.
        match self.newest.latest.max(self.ended) {
            0 => packet.session() > self.newest.id, // the producer has no clock
            latest => packet.timestamp() > latest,
        }
    }

    fn admit(
        &mut self,
        now: Instant,
        leg: u8,
        packet: &Packet<'_>,
        keys: Option<SessionKeys>,
        legs: usize,
    ) -> Result<Admitted, Refusal> {
        let (id, data) = (packet.session(), packet.kind() == Kind::Data);
        if self.session(id).is_none() {
            if !self.is_newer(packet) && packet.kind() != Kind::Nack {
                return Err(Refusal::Replayed);
            }
            if let Some(keys) = keys.filter(|_| data) {
                let session = Session::new(packet, keys, legs);
                self.ended = self.ended.max(self.newest.latest);
                self.former = Some(std::mem::replace(&mut self.newest, session));
                return self.newest.data(now, leg, packet);
            }
            return Ok(Admitted::New);
        }
        let newest = self.newest.id == id;
        let session = if newest { Some(&mut self.newest) } else { self.former.as_mut() };
        let Some(session) = session else { return Err(Refusal::Replayed) };
        session.keys.extend(keys);
        match packet.kind() {
            Kind::Data => session.data(now, leg, packet),
            Kind::Heartbeat | Kind::End if newest => session.control(packet),
            // Nobody waits for the end of a session that another one has followed.
            Kind::Heartbeat | Kind::End => Ok(Admitted::Copy),
            Kind::Repair => session.repair(packet),
            Kind::Nack => Ok(Admitted::New),
        }
    }
}

impl Sealed {
    /// A channel with these keys, none of whose streams has sent anything. At most `streams_max`
    /// streams are remembered.
    pub(super) fn new(keyring: Arc<Keyring>, legs: usize, streams_max: usize) -> Sealed {
        Sealed { keyring, legs: legs.max(1), streams_max: streams_max.max(1), streams: HashMap::default() }
    }

    /// Exchanges the keys. What came in does not come in again, whatever its key.
    fn rekey(&mut self, keyring: Arc<Keyring>) {
        for (id, stream) in &mut self.streams {
            let goes_on =
                |keys: &SessionKeys| self.keyring.key(keys.id(), *id) == keyring.key(keys.id(), *id);
            for session in [Some(&mut stream.newest), stream.former.as_mut()].into_iter().flatten() {
                session.keys.retain(goes_on);
            }
        }
        self.keyring = keyring;
    }

    /// Checks a datagram; an encrypted payload goes to `plain`.
    fn admit(
        &mut self,
        now: Instant,
        leg: u8,
        packet: &Packet<'_>,
        datagram: &[u8],
        plain: &mut [u8],
    ) -> Result<Admitted, Refusal> {
        let id = packet.key_id().ok_or(Refusal::Unsealed)?;
        let (stream, session) = (packet.stream(), packet.session());
        let known = self.keys(stream, session, id);
        let derived = match known {
            Some(_) => None,
            None => Some(self.keyring.session(id, stream, session).ok_or(Refusal::UnknownKey)?),
        };
        if !known.or(derived.as_ref()).is_some_and(|keys| keys.open(packet, datagram, plain)) {
            return Err(Refusal::Forged);
        }
        let legs = self.legs;
        if let Some(known) = self.streams.get_mut(&stream) {
            known.heard = now;
            return known.admit(now, leg, packet, derived, legs);
        }
        if let Some(keys) = derived.filter(|_| packet.kind() == Kind::Data) {
            self.make_room();
            let mut newest = Session::new(packet, keys, legs);
            let admitted = newest.data(now, leg, packet);
            self.streams.insert(stream, Stream { newest, former: None, ended: 0, heard: now });
            return admitted;
        }
        Ok(Admitted::New)
    }

    /// Forgets the stream that has been silent longest if there are too many. Only those who have a
    /// key can fill the table.
    fn make_room(&mut self) {
        if self.streams.len() >= self.streams_max
            && let Some(silent) =
                self.streams.iter().min_by_key(|(_, stream)| stream.heard).map(|(id, _)| *id)
        {
            self.streams.remove(&silent);
        }
    }

    fn keys(&self, stream: u32, session: u32, id: u8) -> Option<&SessionKeys> {
        self.streams.get(&stream)?.session(session)?.key(id)
    }

    /// Opens a packet that was rebuilt; returns the range of its payload if its tag is right.
    pub(super) fn open_rebuilt(&self, bytes: &mut Buffer) -> Option<Range<u32>> {
        let (room, _) = reserve(bytes);
        let (datagram, plain) = bytes.split_behind(room);
        let packet = Packet::parse(datagram).ok()?;
        let keys = self.keys(packet.stream(), packet.session(), packet.key_id()?)?;
        if !keys.open(&packet, datagram, plain) {
            return None;
        }
        let payload = packet.payload_range();
        Some(open_payload(bytes, room, payload.start as u32..payload.end as u32))
    }

    /// Appends a request to a producer, sealed with the key that the producer uses.
    pub(super) fn emit(&self, request: &Repr<'_>, out: &mut Vec<u8>) {
        let session = self.streams.get(&request.stream).and_then(|stream| stream.session(request.session));
        match session.and_then(|session| session.keys.last()) {
            Some(keys) => keys.seal(request, false, out),
            None => request.emit(out),
        }
    }
}

/// Makes room behind a datagram for its payload if that is encrypted. Returns the bytes needed, and
/// the buffer that was too small.
fn reserve(bytes: &mut Buffer) -> (usize, Option<Buffer>) {
    let room = native::encrypted_len(bytes);
    if room <= bytes.capacity() - bytes.len() {
        return (room, None);
    }
    let larger = bytes.with_room(room);
    (room, Some(std::mem::replace(bytes, larger)))
}

/// Range of the payload of an opened datagram. An encrypted one stands behind the datagram, which
/// stays as it came, to be sent on and to rebuild others.
fn open_payload(bytes: &mut Buffer, room: usize, sealed: Range<u32>) -> Range<u32> {
    if room == 0 {
        return sealed;
    }
    let end = bytes.len();
    bytes.set_len(end + room);
    end as u32..(end + room) as u32
}

impl Relay {
    /// Exchanges the keys of a channel that takes sealed datagrams alone, while it runs: those that
    /// are gone no longer count, and nothing else changes.
    pub fn rekey(&mut self, keyring: Arc<Keyring>) {
        if let Some(sealed) = &mut self.sealed {
            sealed.rekey(keyring.clone());
            self.config.seal = Some(keyring);
        }
    }

    /// Takes a datagram of a channel that takes sealed ones alone.
    pub(super) fn sealed_packet(&mut self, now: Instant, leg: u8, source: SocketAddr, mut bytes: Buffer) {
        let Some(sealed) = &mut self.sealed else { return self.spend(bytes) };
        if bytes.is_empty() {
            return self.arrived(
                now,
                None,
                leg,
                source,
                &Err(Reject::Corrupt(tidecast_wire::Reason::Empty)),
                bytes,
            );
        }
        let (room, small) = reserve(&mut bytes);
        let (datagram, plain) = bytes.split_behind(room);
        let checked = Packet::parse(datagram).map(|packet| {
            let again = packet.is_retransmission() || packet.kind() == Kind::Repair;
            let control = !matches!(packet.kind(), Kind::Data | Kind::Repair);
            let admitted = sealed.admit(now, leg, &packet, datagram, plain);
            admitted.map(|admitted| (admitted, again, control, arrival::native(&packet)))
        });
        if let Some(small) = small {
            self.spend(small);
        }
        match checked {
            Err(error) => self.arrived(now, None, leg, source, &Err(error.into()), bytes),
            Ok(Err(refusal)) => self.refuse_sealed(refusal, now, leg, source, bytes),
            Ok(Ok((Admitted::Copy, again, control, _))) => self.copy(leg, again, control, bytes),
            Ok(Ok((Admitted::New, .., Err(reject)))) => {
                self.arrived(now, None, leg, source, &Err(reject), bytes)
            }
            Ok(Ok((Admitted::New, .., Ok(mut arrival)))) => {
                arrival.payload = open_payload(&mut bytes, room, arrival.payload);
                self.arrived(now, None, leg, source, &Ok::<Arrival, Reject>(arrival), bytes);
            }
        }
    }

    #[cold]
    fn refuse_sealed(&mut self, refusal: Refusal, now: Instant, leg: u8, source: SocketAddr, bytes: Buffer) {
        self.legs[usize::from(leg)].media += 1;
        self.others.media_received += 1;
        self.others.rejected += 1;
        *self.rejects.entry(refusal.as_str()).or_default() += 1;
        self.look_at(refusal.as_str(), now, source, &bytes);
        self.spend(bytes);
    }

    /// Counts a copy of a datagram that this leg has carried a moment ago.
    #[cold]
    fn copy(&mut self, leg: u8, again: bool, control: bool, bytes: Buffer) {
        let leg = &mut self.legs[usize::from(leg)];
        if control {
            leg.control += 1;
            self.others.control_received += 1;
        } else if again {
            leg.repair += 1;
            self.others.repair_received += 1;
        } else {
            leg.media += 1;
            self.others.media_received += 1;
            self.others.duplicate += 1;
        }
        self.spend(bytes);
    }
}

#[cfg(test)]
mod tests;
