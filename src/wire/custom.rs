//! Any other numbered datagram: a [`Layout`] says where in it the number stands, and existing sensors are relayed
//! unchanged.
//!
//! `config` makes a layout out of a profile's name or of the grammar (see [`Layout::from_str`]); `wire::parse` reads
//! datagrams with it and hands each [`Packet`] to `relay`.
//!
//! [`Layout::from_str`]: std::str::FromStr::from_str

use std::fmt;

use super::{Reason, Reject, seq::Space};
use crate::limits::CUSTOM_ID_BYTES_MAX;

mod grammar;
pub use grammar::Error;

/// The profiles that are known by name, with their layouts.
const PROFILES: [(&str, &str); 11] = [
    ("mavlink1", "match=u8@0=0xFE,seq=u8@2,id=u8@3,id=u8@4"),
    ("mavlink2", "match=u8@0=0xFD,seq=u8@4,id=u8@5,id=u8@6"),
    ("sacn", "match=\"ASC-E1.17\"@4,seq=u8@111,id=16B@22,id=u16be@113"),
    ("artnet", "match=\"Art-Net\"@0,seq=u8@12,wrap=1..255,id=u16le@14"),
    ("lcm", "match=u32be@0=0x4c433032,seq=u32be@4,id=src"),
    ("ccsds", "seq=u16be@2&0x3fff,id=u16be@0&0x07ff"),
    ("vita49", "seq=u8@1&0x0f,id=u32be@4"),
    ("moldudp64", "seq=u64be@10,step=u16be@18,id=10B@0"),
    ("netflow9", "seq=u32be@12,id=u32be@16"),
    ("sflow5", "seq=u32be@16,id=4B@8,id=u32be@12"),
    ("ptp", "seq=u16be@30,id=10B@20"),
];

pub(super) fn is_profile(name: &str) -> bool {
    PROFILES.iter().any(|(known, _)| *known == name)
}

pub(super) fn profile_names() -> String {
    PROFILES.map(|(name, _)| name).join(", ")
}

/// Where in a datagram its number, its stream and its time stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The profile that it was made from.
    profile: Option<&'static str>,
    matches: Vec<Match>,
    seq: Field,
    wrap: Option<(u64, u64)>,
    space: Space,
    /// None: the sender's address and port.
    ids: Vec<IdPart>,
    step: Option<Field>,
    /// The step that says that the session ends, if it is not the largest one.
    end: Option<u64>,
    time: Option<(Field, Unit)>,
    /// Bytes that all fields need; a shorter datagram is corrupt.
    len_min: usize,
}

/// An unsigned integer in a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Field {
    offset: usize,
    /// Bytes, 1 to 8.
    width: usize,
    little_endian: bool,
    /// Not 0. The value is shifted right so that the mask's lowest bit becomes bit 0.
    mask: u64,
}

impl Field {
    fn end(&self) -> usize {
        self.offset + self.width
    }

    /// The largest value it can have.
    fn max(&self) -> u64 {
        self.mask >> self.mask.trailing_zeros()
    }

    fn read(&self, bytes: &[u8]) -> Option<u64> {
        let bytes = bytes.get(self.offset..self.end())?;
        let shift_in = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
        let value = if self.little_endian {
            bytes.iter().rev().fold(0, shift_in)
        } else {
            bytes.iter().fold(0, shift_in)
        };
        Some((value & self.mask) >> self.mask.trailing_zeros())
    }
}

/// What a datagram must hold to be one of the stream's.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Match {
    Number(Field, u64),
    Text(usize, String),
}

impl Match {
    fn end(&self) -> usize {
        match self {
            Match::Number(field, _) => field.end(),
            Match::Text(offset, text) => offset + text.len(),
        }
    }

    /// None when the datagram ends before.
    fn holds(&self, bytes: &[u8]) -> Option<bool> {
        match self {
            Match::Number(field, expected) => Some(field.read(bytes)? == *expected),
            Match::Text(offset, text) => Some(bytes.get(*offset..self.end())? == text.as_bytes()),
        }
    }
}

/// A part of the stream's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum IdPart {
    Number(Field),
    Bytes { offset: usize, len: usize },
}

impl IdPart {
    fn len(&self) -> usize {
        match self {
            IdPart::Number(field) => field.width,
            IdPart::Bytes { len, .. } => *len,
        }
    }

    fn end(&self) -> usize {
        match self {
            IdPart::Number(field) => field.end(),
            IdPart::Bytes { offset, len } => offset + len,
        }
    }
}

/// What one step of a time stamp is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Seconds,
    Milliseconds,
    Microseconds,
    Nanoseconds,
}

impl Unit {
    /// None beyond 64 bits.
    fn to_micros(self, value: u64) -> Option<u64> {
        match self {
            Unit::Seconds => value.checked_mul(1_000_000),
            Unit::Milliseconds => value.checked_mul(1_000),
            Unit::Microseconds => Some(value),
            Unit::Nanoseconds => Some(value / 1_000),
        }
    }
}

impl Layout {
    /// Names and layouts of the profiles.
    pub fn profiles() -> &'static [(&'static str, &'static str)] {
        &PROFILES
    }

    /// Reads one datagram.
    ///
    /// # Errors
    /// Foreign when a `match` does not hold; corrupt when the datagram ends before one of its fields does.
    pub fn read<'a>(&self, bytes: &'a [u8]) -> Result<Packet<'a>, Reject> {
        if bytes.is_empty() {
            return Err(Reject::Corrupt(Reason::Empty));
        }
        if self.matches.iter().any(|part| part.holds(bytes) == Some(false)) {
            return Err(Reject::Foreign(Reason::Match));
        }
        if bytes.len() < self.len_min {
            return Err(Reject::Corrupt(Reason::Truncated));
        }
        self.read_fields(bytes).ok_or(Reject::Corrupt(Reason::Truncated))
    }

    fn read_fields<'a>(&self, bytes: &'a [u8]) -> Option<Packet<'a>> {
        let wire = self.seq.read(bytes)?;
        let (low, high) = self.wrap.unwrap_or((0, u64::MAX));
        let numbered = (low..=high).contains(&wire);
        let (step, ends) = self.read_step(bytes)?;
        let timestamp = match self.time {
            Some((field, unit)) => unit.to_micros(field.read(bytes)?),
            None => None,
        };
        Some(Packet {
            bytes,
            number: numbered.then(|| wire - low),
            step,
            ends,
            id: self.read_id(bytes)?,
            timestamp,
        })
    }

    /// How many numbers the datagram takes, and whether it ends its session. 0 is a heartbeat, and the largest value (or
    /// the layout's `end`) an end of session: both take no number and say which one comes next (MoldUDP64).
    fn read_step(&self, bytes: &[u8]) -> Option<(u64, bool)> {
        let Some(field) = self.step else { return Some((1, false)) };
        let step = field.read(bytes)?;
        let ends = step == self.end.unwrap_or(field.max());
        Some((if ends { 0 } else { step }, ends))
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

    /// The space of [`Packet::number`].
    pub fn space(&self) -> Space {
        self.space
    }

    /// Whether the sender's address and port are the stream's id.
    pub fn id_is_source(&self) -> bool {
        self.ids.is_empty()
    }
}

/// Which stream a datagram belongs to: the parts of the layout's `id`, joined; numbers big-endian, in the width of
/// their type. Empty when the sender's address is the id.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Id {
    len: u8,
    bytes: [u8; CUSTOM_ID_BYTES_MAX],
}

impl Id {
    /// The bytes, at most [`CUSTOM_ID_BYTES_MAX`].
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Appends a part; the layout has checked that all parts fit, and what did not would be left out.
    fn push(&mut self, part: &[u8]) {
        let free = &mut self.bytes[usize::from(self.len)..];
        let len = part.len().min(free.len());
        free[..len].copy_from_slice(&part[..len]);
        self.len += len as u8;
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Id({self})")
    }
}

/// A datagram that was read with a [`Layout`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    bytes: &'a [u8],
    /// None: outside of the layout's `wrap`.
    number: Option<u64>,
    step: u64,
    ends: bool,
    id: Id,
    timestamp: Option<u64>,
}

impl<'a> Packet<'a> {
    /// The number, masked, from 0 (`wrap`'s lowest number is 0); 0 when the datagram is not numbered.
    pub fn number(&self) -> u64 {
        self.number.unwrap_or(0)
    }

    /// Whether the datagram has a number: one outside of `wrap` says that it has none (Art-Net's 0).
    pub fn numbered(&self) -> bool {
        self.number.is_some()
    }

    /// How many numbers the datagram takes; 0 for a control datagram, whose number is the next one to be used.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// Whether it is a control datagram that ends its session; the others are heartbeats.
    pub fn ends(&self) -> bool {
        self.ends
    }

    /// Which stream it belongs to.
    pub fn id(&self) -> Id {
        self.id
    }

    /// Microseconds, since whatever the sender counts from; none without `time`, or beyond 64 bits.
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
