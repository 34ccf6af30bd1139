//! Finds the packets of a transport stream in the payloads that carry it. A sender may split the
//! stream at any position (ffmpeg fills datagrams of 1,472 bytes), so packets can span datagrams;
//! and a packet may have 4 bytes before it or 16 after it.
//!
//! Each user of a stream's packets keeps one [`Packets`] for it and passes it each payload in
//! order: continuity (`relay`), instant start (`channel::tap`), RTP outputs (`channel::rtp`),
//! `probe`. The bytes themselves are forwarded unchanged.

use std::mem;

use super::{PACKET, SYNC};
use crate::limits::TS_SEARCH_SYNCS;

/// A packet together with the bytes that belong to it in the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unit {
    /// The 188 bytes of the packet.
    #[default]
    Plain,
    /// 192 bytes: an arrival timestamp of 4 bytes before the packet (M2TS, as on Blu-ray discs).
    Stamped,
    /// 204 bytes: 16 after the packet, for Reed-Solomon parity (ETSI EN 300 429).
    Parity,
}

impl Unit {
    /// All units, the most common first.
    pub const ALL: [Unit; 3] = [Unit::Plain, Unit::Stamped, Unit::Parity];
    /// Maximum bytes of a unit.
    pub const BYTES_MAX: usize = 204;

    /// Returns its number of bytes.
    pub fn bytes(self) -> usize {
        match self {
            Unit::Plain => PACKET,
            Unit::Stamped => 192,
            Unit::Parity => Unit::BYTES_MAX,
        }
    }

    /// Returns the unit with this many bytes; the most common one if there is none.
    pub fn with_bytes(bytes: usize) -> Unit {
        Unit::ALL.into_iter().find(|unit| unit.bytes() == bytes).unwrap_or_default()
    }

    /// Returns the number of bytes before the packet.
    pub fn front(self) -> usize {
        if self == Unit::Stamped { 4 } else { 0 }
    }

    /// Returns whether these bytes consist of whole units, at least one.
    pub fn fills(self, bytes: &[u8]) -> bool {
        !bytes.is_empty()
            && bytes.len().is_multiple_of(self.bytes())
            && bytes.chunks_exact(self.bytes()).all(|unit| unit[self.front()] == SYNC)
    }

    /// Returns the unit of which these bytes consist entirely.
    #[inline(always)]
    pub fn of_whole(bytes: &[u8]) -> Option<Unit> {
        // most bytes that are not a stream are recognized here, at the cost of comparing two bytes
        if bytes.first() != Some(&SYNC) && bytes.get(4) != Some(&SYNC) {
            return None;
        }
        Unit::ALL.into_iter().find(|unit| unit.fills(bytes))
    }

    /// Appends packets as units, for a stream that consists of them: each with this timestamp
    /// before it, or with dummy bytes in place of the parity.
    pub fn wrap(self, packets: &[[u8; PACKET]], stamp: [u8; 4], out: &mut Vec<u8>) {
        for packet in packets {
            out.extend_from_slice(&stamp[..self.front()]);
            out.extend_from_slice(packet);
            out.resize(out.len() + self.bytes() - self.front() - PACKET, 0xff);
        }
    }
}

/// A packet with its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed<'a> {
    /// The packet.
    pub packet: &'a [u8; PACKET],
    /// The whole unit.
    pub unit: &'a [u8],
    /// Position of the unit's start, relative to the start of the last payload; negative in an
    /// earlier payload.
    pub start: isize,
}

/// Follows one stream.
///
/// Each packet is passed on once, in order, when its last byte has arrived. After bytes that do
/// not fit (because of a loss or damage) the next packets are found by their sync bytes; a damaged
/// packet among whole ones is skipped. Memory is limited to the size of a few packets.
#[derive(Clone, Debug, Default)]
pub struct Packets {
    unit: Option<Unit>,
    /// The start of a unit; while the stream is not found, the bytes in which it may start.
    held: Vec<u8>,
}

impl Packets {
    /// Returns the stream's unit, once it is found.
    pub fn unit(&self) -> Option<Unit> {
        self.unit
    }

    /// Returns whether the last payload ended with a whole packet.
    pub fn is_between(&self) -> bool {
        self.unit.is_some() && self.held.is_empty()
    }

    /// Takes the next payload, and passes on each packet that it completes.
    pub fn push(&mut self, payload: &[u8], mut each: impl FnMut(Placed<'_>)) {
        if let Some(unit) = self.whole(payload) {
            let starts = (0..).step_by(unit.bytes());
            for (start, bytes) in starts.zip(payload.chunks_exact(unit.bytes())) {
                tell(bytes, unit, start, &mut each);
            }
            return;
        }
        let before = self.held.len();
        let mut bytes = mem::take(&mut self.held);
        bytes.extend_from_slice(payload);
        let used = self.follow(&bytes, before, &mut each);
        bytes.drain(..used);
        self.held = bytes;
    }

    /// Returns the unit of a payload of whole units, unless it completes an earlier packet. Nearly
    /// all payloads are of this kind.
    fn whole(&mut self, payload: &[u8]) -> Option<Unit> {
        match self.unit {
            Some(unit) => (self.held.is_empty() && unit.fills(payload)).then_some(unit),
            None if self.held.is_empty() => {
                self.unit = Unit::of_whole(payload);
                self.unit
            }
            None => None,
        }
    }

    /// Passes on the packets in these bytes, of which the first `before` were received earlier.
    /// Returns how many bytes need not be kept.
    fn follow(&mut self, bytes: &[u8], before: usize, each: &mut impl FnMut(Placed<'_>)) -> usize {
        let mut at = 0;
        loop {
            let rest = &bytes[at..];
            let Some(unit) = self.unit else {
                let Some((unit, start)) = find(rest) else {
                    return at + rest.len().saturating_sub(SEARCH_BYTES);
                };
                self.unit = Some(unit);
                at += start;
                continue;
            };
            if rest.len() < unit.bytes() {
                return at;
            }
            let next = rest.get(unit.bytes() + unit.front()).map(|byte| *byte == SYNC);
            let fits = rest[unit.front()] == SYNC;
            // A packet that started in an earlier payload and is not followed directly by the next
            // one lacks the bytes lost in between.
            if fits && (at >= before || next != Some(false)) {
                tell(&rest[..unit.bytes()], unit, at as isize - before as isize, each);
                at += unit.bytes();
            } else if !fits && next == Some(true) {
                at += unit.bytes();
            } else {
                self.unit = None;
            }
        }
    }
}

/// Bytes at the end in which a stream may start although it has not been found yet.
const SEARCH_BYTES: usize = TS_SEARCH_SYNCS * Unit::BYTES_MAX + 4;

/// Returns the first position at which enough sync bytes have the same distance: the unit, and the
/// start of the first one.
fn find(bytes: &[u8]) -> Option<(Unit, usize)> {
    let syncs = bytes.iter().enumerate().filter(|(_, byte)| **byte == SYNC).map(|(place, _)| place);
    let unit_at = |place| {
        // up to the distance of the lookalikes, so that the result does not depend on how the
        // bytes were split
        let fits = |unit: &Unit| {
            bytes.len() >= place + TS_SEARCH_SYNCS * unit.bytes()
                && syncs_from(bytes, place, *unit, TS_SEARCH_SYNCS)
        };
        Unit::ALL.into_iter().find(fits).map(|unit| (unit, place))
    };
    let (unit, mut place) = syncs.filter_map(unit_at).next()?;
    // judged by the following packets, because the first one may be damaged
    let mut others =
        lookalikes(unit).iter().filter_map(|ahead| (place + unit.bytes()).checked_add_signed(*ahead));
    if let Some(other) = others.find(|other| syncs_from(bytes, *other, unit, TS_SEARCH_SYNCS - 1)) {
        let before = other.checked_sub(unit.bytes()).filter(|before| bytes[*before] == SYNC);
        place = before.unwrap_or(other);
    }
    // The bytes before the first packet may be missing.
    Some((unit, place.checked_sub(unit.front()).unwrap_or(place + unit.bytes() - unit.front())))
}

/// Determines whether a file that starts with these bytes is a transport stream. Returns its unit,
/// and the number of other bytes before the first packet; `None` if it is not one.
///
/// A short file that starts with a packet may consist of a single one; after other bytes, or with
/// more than 188 bytes per unit, several packets are required.
pub fn begin(bytes: &[u8]) -> Option<(Unit, usize)> {
    let runs = |unit: &Unit| {
        let places = (unit.front()..bytes.len()).step_by(unit.bytes()).take(BEGIN_SYNCS);
        let least = if *unit == Unit::Plain { 1 } else { TS_SEARCH_SYNCS - 1 };
        bytes.len() >= least * unit.bytes() && places.into_iter().all(|place| bytes[place] == SYNC)
    };
    if let Some(unit) = Unit::ALL.into_iter().find(runs) {
        return Some((unit, 0));
    }
    let mut from = 0;
    loop {
        let (unit, start) = find(&bytes[from..])?;
        let start = from + start;
        let mut places = (start + unit.front()..bytes.len()).step_by(unit.bytes()).take(BEGIN_SYNCS);
        if places.all(|place| bytes[place] == SYNC) {
            return Some((unit, start));
        }
        from = start + 1;
    }
}

/// Number of sync bytes that identify a file as a transport stream: they do not occur by chance in
/// random bytes.
const BEGIN_SYNCS: usize = 2 * TS_SEARCH_SYNCS;

fn syncs_from(bytes: &[u8], place: usize, unit: Unit, count: usize) -> bool {
    (0..count).all(|n| bytes.get(place + n * unit.bytes()) == Some(&SYNC))
}

/// Returns the distances from the sync byte at which other bytes may look like one in each unit:
/// the high bytes of a timestamp before it rarely change, and after it a PID has the same two
/// bytes in each packet.
fn lookalikes(unit: Unit) -> &'static [isize] {
    match unit {
        Unit::Plain | Unit::Parity => &[-2, -1],
        Unit::Stamped => &[4, 3, -2, -1],
    }
}

fn tell(bytes: &[u8], unit: Unit, start: isize, each: &mut impl FnMut(Placed<'_>)) {
    if let Some(packet) = bytes.get(unit.front()..).and_then(<[u8]>::first_chunk) {
        each(Placed { packet, unit: bytes, start });
    }
}

#[cfg(test)]
mod tests;
