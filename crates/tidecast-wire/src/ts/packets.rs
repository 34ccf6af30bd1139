//! Follows the packets of a transport stream through the bytes that carry it. A sender may cut the
//! stream anywhere (ffmpeg fills datagrams of 1,472 bytes), so packets span datagrams; and a packet
//! may come with 4 bytes in front or 16 behind.
//!
//! Whoever looks into a stream keeps one [`Packets`] for it and shows it each payload in order:
//! continuity (`relay`), instant start (`channel::tap`), RTP outputs (`channel::rtp`), `probe`. The
//! bytes themselves go on as they came.

use std::mem;

use super::{PACKET, SYNC};
use crate::limits::TS_SEARCH_SYNCS;

/// What a packet takes in the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unit {
    /// The 188 bytes of the packet.
    #[default]
    Plain,
    /// 192 bytes: an arrival time stamp of 4 bytes in front (M2TS, as on Blu-ray discs).
    Stamped,
    /// 204 bytes: 16 behind, for Reed-Solomon parity (ETSI EN 300 429).
    Parity,
}

impl Unit {
    /// All of them, the usual one first.
    pub const ALL: [Unit; 3] = [Unit::Plain, Unit::Stamped, Unit::Parity];
    /// The most bytes that one has.
    pub const BYTES_MAX: usize = 204;

    /// How many bytes it has.
    pub fn bytes(self) -> usize {
        match self {
            Unit::Plain => PACKET,
            Unit::Stamped => 192,
            Unit::Parity => Unit::BYTES_MAX,
        }
    }

    /// The one of so many bytes; of none of them, the usual one.
    pub fn with_bytes(bytes: usize) -> Unit {
        Unit::ALL.into_iter().find(|unit| unit.bytes() == bytes).unwrap_or_default()
    }

    /// Bytes before the packet.
    pub fn front(self) -> usize {
        if self == Unit::Stamped { 4 } else { 0 }
    }

    /// Whether these bytes are whole units and nothing else, at least one.
    pub fn fills(self, bytes: &[u8]) -> bool {
        !bytes.is_empty()
            && bytes.len().is_multiple_of(self.bytes())
            && bytes.chunks_exact(self.bytes()).all(|unit| unit[self.front()] == SYNC)
    }

    /// The unit of bytes that are whole units and nothing else.
    #[inline(always)]
    pub fn of_whole(bytes: &[u8]) -> Option<Unit> {
        // most of what is no stream shows it here, at the cost of two bytes
        if bytes.first() != Some(&SYNC) && bytes.get(4) != Some(&SYNC) {
            return None;
        }
        Unit::ALL.into_iter().find(|unit| unit.fills(bytes))
    }

    /// Appends packets as units, for a stream that is made of them: each with this time stamp in
    /// front, or with dummy bytes where the parity would stand.
    pub fn wrap(self, packets: &[[u8; PACKET]], stamp: [u8; 4], out: &mut Vec<u8>) {
        for packet in packets {
            out.extend_from_slice(&stamp[..self.front()]);
            out.extend_from_slice(packet);
            out.resize(out.len() + self.bytes() - self.front() - PACKET, 0xff);
        }
    }
}

/// A packet in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed<'a> {
    /// The packet.
    pub packet: &'a [u8; PACKET],
    /// All that it takes in the stream.
    pub unit: &'a [u8],
    /// Where that begins, counted from the begin of the payload that was shown last; below zero in
    /// one before.
    pub start: isize,
}

/// Follows one stream.
///
/// Each packet is told once, in order, when its last byte has come. After bytes that do not fit (a
/// loss, damage) the next packets are found by their sync bytes; a damaged packet among whole ones
/// is passed over. Memory is bounded by what a few packets take.
#[derive(Clone, Debug, Default)]
pub struct Packets {
    unit: Option<Unit>,
    /// The begin of a unit; while the stream is not found, the bytes that it may begin in.
    held: Vec<u8>,
}

impl Packets {
    /// What the stream's packets take, once it is found.
    pub fn unit(&self) -> Option<Unit> {
        self.unit
    }

    /// Whether the last payload ended with a whole packet.
    pub fn is_between(&self) -> bool {
        self.unit.is_some() && self.held.is_empty()
    }

    /// Takes the next payload, and tells each packet that it completes.
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

    /// The unit of a payload of whole units, if nothing that came before belongs to it. Nearly all
    /// payloads are such.
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

    /// Tells the packets in these bytes, of which the first `before` came earlier. How many need
    /// not be kept.
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
            // One that began in an earlier payload and does not lead to the next one lacks what was
            // lost in between.
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

/// Bytes at the end that a stream may begin in although it was not found yet.
const SEARCH_BYTES: usize = TS_SEARCH_SYNCS * Unit::BYTES_MAX + 4;

/// The first place where enough sync bytes stand at one distance: the unit, and where the first one
/// begins.
fn find(bytes: &[u8]) -> Option<(Unit, usize)> {
    let syncs = bytes.iter().enumerate().filter(|(_, byte)| **byte == SYNC).map(|(place, _)| place);
    let unit_at = |place| {
        // as far as the lookalikes reach, so that it does not matter how the bytes were cut
        let fits = |unit: &Unit| {
            bytes.len() >= place + TS_SEARCH_SYNCS * unit.bytes()
                && syncs_from(bytes, place, *unit, TS_SEARCH_SYNCS)
        };
        Unit::ALL.into_iter().find(fits).map(|unit| (unit, place))
    };
    let (unit, mut place) = syncs.filter_map(unit_at).next()?;
    // as seen by the packets that follow, because the first one may be damaged
    let mut others =
        lookalikes(unit).iter().filter_map(|ahead| (place + unit.bytes()).checked_add_signed(*ahead));
    if let Some(other) = others.find(|other| syncs_from(bytes, *other, unit, TS_SEARCH_SYNCS - 1)) {
        let before = other.checked_sub(unit.bytes()).filter(|before| bytes[*before] == SYNC);
        place = before.unwrap_or(other);
    }
    // The first one may lack what stands before it.
    Some((unit, place.checked_sub(unit.front()).unwrap_or(place + unit.bytes() - unit.front())))
}

/// How a file that begins with these bytes is a transport stream: what its packets take, and how
/// many bytes of something else stand before the first. Absent if it is none.
///
/// A short one that begins with a packet may have one alone; behind other bytes, and with more than
/// 188 bytes each, it takes several to tell.
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

/// Sync bytes that tell that a file is a transport stream: among random bytes they never come.
const BEGIN_SYNCS: usize = 2 * TS_SEARCH_SYNCS;

fn syncs_from(bytes: &[u8], place: usize, unit: Unit, count: usize) -> bool {
    (0..count).all(|n| bytes.get(place + n * unit.bytes()) == Some(&SYNC))
}

/// How far from the sync byte there may stand what looks like one in each unit: the high bytes of a
/// time stamp before it change seldom, and behind it a PID has the same two bytes in each packet.
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
