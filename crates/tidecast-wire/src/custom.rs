//! Numbered datagrams of other formats: a [`Layout`] describes where in a datagram the number is,
//! so that existing sensors are relayed unchanged.
//!
//! `config` makes a layout from a profile's name or from the grammar (see [`Layout::from_str`]);
//! `wire::parse` reads datagrams with it and passes each [`Packet`] to `relay`. A layout has a
//! `DatagramLayout` for each kind of datagram of a protocol: the first one whose matches all hold
//! reads the datagram.
//!
//! [`Layout::from_str`]: std::str::FromStr::from_str

use std::net::SocketAddr;

use super::{Reason, Reject, seq::Space};

mod bundle;
mod field;
mod grammar;
mod id;
mod profiles;
mod scale;

pub use bundle::Run;
use field::{Field, IdPart, Length, Match, Step, Unit, Value};
pub use grammar::LayoutError;
pub use id::{Id, Sender};
pub(super) use profiles::{is_profile, profile_names};
pub use scale::{Scale, Scaled};

/// Positions of number, stream and time in a datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The profile that it was made from.
    profile: Option<&'static str>,
    /// At least one, of which at least one has numbers.
    kinds: Vec<DatagramLayout>,
}

/// Layout of one kind of datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
struct DatagramLayout {
    matches: Vec<Match>,
    /// `None`: it carries no number.
    seq: Option<Field>,
    wrap: Option<(u64, u64)>,
    space: Space,
    sender: Sender,
    ids: Vec<IdPart>,
    step: Step,
    /// The step that marks the end of the session, if it is not the largest one.
    end: Option<u64>,
    time: Option<(Field, Unit)>,
    /// If it is a part of the message with that number: its index, and the count of parts.
    part: Option<(Value, Value)>,
    /// The term of the stream in which the numbers start at 0.
    term: Option<Field>,
    /// The datagram is a sequence of messages; each has this length.
    bundle: Option<Length>,
    /// Minimum length; a shorter datagram is corrupt.
    len_min: usize,
}

impl DatagramLayout {
    /// The number space of its streams. Numbers from a [`Scale`] never wrap.
    fn stream_space(&self) -> Space {
        if self.part.is_some() || self.term.is_some() { Space::FULL } else { self.space }
    }

    /// Whether it reads these bytes. `None` if they are too short to decide.
    fn holds(&self, bytes: &[u8]) -> Option<bool> {
        let mut known = Some(true);
        for part in &self.matches {
            match part.holds(bytes) {
                Some(true) => {}
                Some(false) => return Some(false),
                None => known = None,
            }
        }
        known
    }

    /// Reads one message. `None` if it ends within one of its fields.
    fn read<'a>(&self, bytes: &'a [u8]) -> Option<Packet<'a>> {
        if bytes.len() < self.len_min {
            return None;
        }
        let mut packet = Packet {
            bytes,
            number: 0,
            body: Body::Passes,
            step: 0,
            wire: self.space,
            space: self.stream_space(),
            sender: self.sender,
            id: self.read_id(bytes)?,
            timestamp: None,
            place: Place::Plain,
            mixed: false,
        };
        let Some(seq) = self.seq else { return Some(packet) };
        let wire = seq.read(bytes)?;
        let (low, high) = self.wrap.unwrap_or((0, u64::MAX));
        if (low..=high).contains(&wire) {
            packet.number = wire - low;
            packet.body = Body::Numbered;
        } else {
            packet.body = Body::Unnumbered;
        }
        packet.place = self.read_place(bytes)?;
        let (step, ends) = self.read_step(bytes)?;
        packet.step = step;
        if ends && packet.body == Body::Numbered {
            packet.body = Body::Ends;
        }
        if let Some((field, unit)) = self.time {
            packet.timestamp = unit.to_micros(field.read(bytes)?);
        }
        Some(packet)
    }

    /// How many numbers the datagram takes, and whether it ends its session. 0 marks a heartbeat,
    /// and the largest value (or the layout's `end`) an end of session: both take no number and
    /// announce the next one (MoldUDP64).
    fn read_step(&self, bytes: &[u8]) -> Option<(u64, bool)> {
        let step = self.step.read(bytes)?;
        let ends = self.end.or(self.step.end()) == Some(step);
        Some((if ends { 0 } else { step }, ends))
    }

    fn read_place(&self, bytes: &[u8]) -> Option<Place> {
        Some(match (self.part, self.term) {
            (Some((index, count)), _) => Place::Part { index: index.read(bytes)?, count: count.read(bytes)? },
            (None, Some(term)) => Place::Term(term.read(bytes)? as u32),
            _ if self.step == Step::Records => Place::Records,
            _ => Place::Plain,
        })
    }

    fn read_id(&self, bytes: &[u8]) -> Option<Id> {
        let mut id = Id::default();
        for part in &self.ids {
            match part {
                IdPart::Number(field) => id.push(&field.read(bytes)?.to_be_bytes()[8 - field.width..]),
                IdPart::Bytes { .. } => id.push(bytes.get(part.end() - part.len()..part.end())?),
            }
        }
        Some(id)
    }
}

impl Layout {
    /// Names and layouts of the profiles.
    pub fn profiles() -> &'static [(&'static str, &'static str)] {
        &profiles::PROFILES
    }

    /// Reads one datagram.
    ///
    /// # Errors
    /// Foreign if the `match` parts of no kind hold; corrupt if the datagram ends within one of
    /// its fields.
    pub fn read<'a>(&self, bytes: &'a [u8]) -> Result<Packet<'a>, Reject> {
        if bytes.is_empty() {
            return Err(Reject::Corrupt(Reason::Empty));
        }
        let (kind, packet) = self.read_message(bytes)?;
        if kind.bundle.is_some() {
            return Ok(self.read_bundle(packet));
        }
        Ok(packet)
    }

    /// Reads the first message in these bytes.
    fn read_message<'a>(&self, bytes: &'a [u8]) -> Result<(&DatagramLayout, Packet<'a>), Reject> {
        let mut cut = false;
        for kind in &self.kinds {
            match kind.holds(bytes) {
                Some(true) => {
                    let packet = kind.read(bytes).ok_or(Reject::Corrupt(Reason::Truncated))?;
                    return Ok((kind, packet));
                }
                Some(false) => {}
                None => cut = true,
            }
        }
        Err(if cut { Reject::Corrupt(Reason::Truncated) } else { Reject::Foreign(Reason::Match) })
    }

    /// For each kind, which part of the sender's address belongs to the stream id, and whether
    /// fields do.
    pub fn id_forms(&self) -> Vec<(Sender, bool)> {
        self.kinds.iter().map(|kind| (kind.sender, !kind.ids.is_empty())).collect()
    }

    /// How reliably it identifies a datagram: the minimum of bits that a numbered datagram must
    /// match.
    pub fn strength(&self) -> usize {
        let numbered = self.kinds.iter().filter(|kind| kind.seq.is_some());
        numbered.map(|kind| kind.matches.iter().map(Match::bits).sum()).min().unwrap_or(0)
    }
}

/// Information in a datagram about its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    /// Its number, or the next one to be used when it takes none.
    Numbered,
    /// The same, and its session ends.
    Ends,
    /// The number is outside of `wrap`, so the datagram is not numbered.
    Unnumbered,
    /// Its kind has no numbers.
    Passes,
}

/// How much the number reveals without previous datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Everything.
    Plain,
    /// The message that it is a part of.
    Part { index: u64, count: u64 },
    /// The position in a term.
    Term(u32),
    /// The count of records before it, but not of its own.
    Records,
}

/// A datagram that was read with a [`Layout`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    bytes: &'a [u8],
    number: u64,
    step: u64,
    /// The number space on the wire.
    wire: Space,
    space: Space,
    timestamp: Option<u64>,
    body: Body,
    sender: Sender,
    id: Id,
    place: Place,
    mixed: bool,
}

impl<'a> Packet<'a> {
    /// The number, masked, from 0 (`wrap`'s lowest number is 0); 0 when the datagram is not
    /// numbered.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Whether the datagram has a number: one outside of `wrap` means that it has none (Art-Net's
    /// 0).
    pub fn numbered(&self) -> bool {
        matches!(self.body, Body::Numbered | Body::Ends)
    }

    /// Whether its position in the stream depends on previous datagrams: see [`Scale`].
    pub fn scaled(&self) -> bool {
        self.place != Place::Plain
    }

    /// Whether it is of a kind that has no numbers (`pass`): it is sent on in its place.
    pub fn passes(&self) -> bool {
        self.body == Body::Passes
    }

    /// How many numbers the datagram takes; 0 for a control datagram, whose number is the next one
    /// to be used.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// The number space of its stream: that of the wire, or of the numbers from a [`Scale`].
    pub fn space(&self) -> Space {
        self.space
    }

    /// Whether it is a control datagram that ends its session; the others are heartbeats.
    pub fn ends(&self) -> bool {
        self.body == Body::Ends
    }

    /// The stream that it belongs to. `None`: the layout identifies streams by address and port.
    pub fn id(&self, source: SocketAddr) -> Option<Id> {
        let by_source = self.sender == Sender::Port && self.id == Id::default();
        (!by_source).then(|| self.id.of(self.sender, source))
    }

    /// Whether it holds messages of further streams, or has gaps between its messages: see
    /// [`Layout::others`].
    pub fn mixed(&self) -> bool {
        self.mixed
    }

    /// Microseconds since the sender's epoch; `None` without `time`, or beyond 64 bits.
    pub fn timestamp(&self) -> Option<u64> {
        self.timestamp
    }

    /// The whole datagram.
    pub fn payload(&self) -> &'a [u8] {
        self.bytes
    }
}

#[cfg(test)]
mod tests;
