//! MPEG-TS packets (ISO/IEC 13818-1) without RTP: the datagrams have no sequence numbers, so
//! losses show only in the packets' continuity counters.
//!
//! `wire::parse` creates a [`Packet`] of a received datagram. When it is delivered, [`packets`]
//! finds the stream's packets and [`Continuity`] checks their counters; pacing of a file uses
//! [`pcr`], and [`access`] finds where players can start.

pub mod access;
pub mod packets;
pub mod picture;
pub mod psi;
pub mod stamps;

use crate::limits::TS_PIDS_MAX;

/// Bytes of a TS packet.
pub const PACKET: usize = 188;
/// The first byte of every TS packet.
pub const SYNC: u8 = 0x47;
const PID_NULL: u16 = 0x1fff;

/// Returns whether a payload consists of TS packets only: a multiple of 188 bytes, at least one
/// packet, each starting with [`SYNC`].
pub fn looks_like(payload: &[u8]) -> bool {
    let (packets, rest) = payload.as_chunks::<PACKET>();
    !packets.is_empty() && rest.is_empty() && packets.iter().all(|packet| packet[0] == SYNC)
}

/// A datagram that consists of TS packets, or a piece of a stream of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a>(&'a [u8]);

impl<'a> Packet<'a> {
    /// Checks a datagram; returns `None` unless [`looks_like`] is true for it.
    pub fn parse(bytes: &'a [u8]) -> Option<Packet<'a>> {
        looks_like(bytes).then_some(Packet(bytes))
    }

    /// Creates a packet of a source that is known to send a transport stream, which may be split
    /// at any position.
    pub fn of_stream(bytes: &'a [u8]) -> Packet<'a> {
        Packet(bytes)
    }

    /// Returns the whole datagram.
    pub fn payload(&self) -> &'a [u8] {
        self.0
    }
}

/// Finds discontinuities of the continuity counters (ISO/IEC 13818-1 section 2.4.3.3), which are a
/// lower bound for the losses: the counters have 4 bits, so a loss of 16 packets of a PID is not
/// detected, and one of 15 looks like the permitted duplicate.
#[derive(Clone, Debug, Default)]
pub struct Continuity {
    /// State of each PID, sorted by PID; at most [`TS_PIDS_MAX`], further ones are not checked.
    pids: Vec<(u16, Counter)>,
    total: u64,
}

/// How well the continuity counters of some packets continue those of earlier ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fit {
    /// Packets of a PID whose counter was known.
    pub known: u64,
    /// Packets that did not continue their PID.
    pub broken: u64,
}

impl Fit {
    /// Returns whether the counters of the packets continue, if there are any to judge by.
    pub fn goes_on(&self) -> bool {
        self.known > 0 && self.broken == 0
    }
}

/// The last counter of a PID, and whether its packet already occurred twice.
#[derive(Clone, Copy, Debug, Default)]
enum Counter {
    #[default]
    Unknown,
    Once(u8),
    Twice(u8),
}

impl Continuity {
    /// Checks the TS packets of one payload, in order. Returns how many of them did not continue
    /// their PID. Bytes that are not TS packets are skipped.
    pub fn check(&mut self, payload: &[u8]) -> u64 {
        let packets = payload.as_chunks::<PACKET>().0.iter();
        let found = packets.filter(|packet| packet[0] == SYNC && !self.continues(packet)).count() as u64;
        self.total += found;
        found
    }

    /// Returns the discontinuities found in all payloads so far.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Adds to `fit` whether a packet continues its PID.
    pub fn fit(&mut self, packet: &[u8; PACKET], fit: &mut Fit) {
        let pid = pid(packet);
        let known = self.pids.binary_search_by_key(&pid, |(pid, _)| *pid).is_ok();
        let counts = counter(packet).is_some_and(|(_, has_payload)| has_payload);
        fit.known += u64::from(counts && known);
        fit.broken += u64::from(!self.continues(packet));
    }

    fn continues(&mut self, packet: &[u8; PACKET]) -> bool {
        let Some((actual, has_payload)) = counter(packet) else { return true };
        let announced = adaptation(packet).is_some_and(|(flags, _)| flags & 0x80 != 0);
        let Some(counter) = self.counter(pid(packet)) else { return true };
        let (next, continues) = match *counter {
            Counter::Once(last) if has_payload && actual == last => (Counter::Twice(actual), true),
            Counter::Once(last) | Counter::Twice(last) if has_payload => {
                (Counter::Once(actual), actual == (last + 1) & 0x0f)
            }
            same @ (Counter::Once(last) | Counter::Twice(last)) if actual == last => (same, true),
            Counter::Once(_) | Counter::Twice(_) => (Counter::Once(actual), false),
            Counter::Unknown => (Counter::Once(actual), true),
        };
        *counter = next;
        continues || announced
    }

    fn counter(&mut self, pid: u16) -> Option<&mut Counter> {
        let place = match self.pids.binary_search_by_key(&pid, |(pid, _)| *pid) {
            Ok(place) => place,
            Err(_) if self.pids.len() >= TS_PIDS_MAX => return None,
            Err(place) => {
                self.pids.insert(place, (pid, Counter::Unknown));
                place
            }
        };
        self.pids.get_mut(place).map(|(_, counter)| counter)
    }
}

/// A program clock reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pcr {
    /// The PID that carries it.
    pub pid: u16,
    /// Ticks of 27 MHz; wraps at 300 * 2^33, after 26.5 hours.
    pub ticks: u64,
    /// Whether the clock restarts here (`discontinuity_indicator`).
    pub discontinuity: bool,
}

impl Pcr {
    /// Ticks per second.
    pub const HZ: u64 = 27_000_000;
    /// Ticks after which the clock wraps to 0.
    pub const WRAP: u64 = 300 << 33;
}

/// Returns the program clock reference of a TS packet, if it has one (ISO/IEC 13818-1 section
/// 2.4.3.5).
pub fn pcr(packet: &[u8; PACKET]) -> Option<Pcr> {
    let (flags, fields) = adaptation(packet)?;
    let [b0, b1, b2, b3, b4, b5] = *fields.first_chunk::<6>()?;
    if packet[0] != SYNC || flags & 0x10 == 0 {
        return None;
    }
    let base = u64::from(u32::from_be_bytes([b0, b1, b2, b3])) << 1 | u64::from(b4 >> 7);
    let extension = u64::from(u16::from_be_bytes([b4 & 1, b5]));
    // an extension of 300 or more means damage: it counts up to 299 before the base is incremented
    let ticks = (extension < 300).then_some(base * 300 + extension)?;
    Some(Pcr { pid: pid(packet), ticks, discontinuity: flags & 0x80 != 0 })
}

/// Returns the payload of a TS packet that is undamaged and not scrambled, if it has one.
fn payload(packet: &[u8; PACKET]) -> Option<&[u8]> {
    let damaged = packet[0] != SYNC || packet[1] & 0x80 != 0;
    let (scrambled, control) = (packet[3] & 0xc0 != 0, packet[3] >> 4 & 3);
    let start = match control {
        1 => 4,
        3 => 5 + usize::from(packet[4]),
        _ => return None,
    };
    if damaged || scrambled { None } else { packet.get(start..) }
}

/// Returns the PID of a TS packet.
pub fn pid(packet: &[u8; PACKET]) -> u16 {
    u16::from_be_bytes([packet[1] & 0x1f, packet[2]])
}

/// Returns the continuity counter, and whether the packet has a payload and therefore increments
/// it; `None` if the counter is meaningless: in null packets, damaged ones, and those with
/// reserved flags.
pub fn counter(packet: &[u8; PACKET]) -> Option<(u8, bool)> {
    let control = packet[3] >> 4 & 3;
    let counts = pid(packet) != PID_NULL && packet[1] & 0x80 == 0 && control != 0;
    counts.then_some((packet[3] & 0x0f, control & 1 != 0))
}

/// Sets the continuity counter of a packet to the low four bits of `counter`.
pub fn set_counter(packet: &mut [u8; PACKET], counter: u8) {
    packet[3] = packet[3] & 0xf0 | counter & 0x0f;
}

/// Clears the discontinuity indicator of a packet.
pub fn clear_discontinuity(packet: &mut [u8; PACKET]) {
    if adaptation(packet).is_some() {
        packet[5] &= 0x7f;
    }
}

/// Returns whether a section or a PES packet starts in this TS packet
/// (`payload_unit_start_indicator`).
fn starts_unit(packet: &[u8; PACKET]) -> bool {
    packet[1] & 0x40 != 0
}

/// Returns the flags and the following fields of the adaptation field, unless it is absent or
/// empty.
fn adaptation(packet: &[u8; PACKET]) -> Option<(u8, &[u8])> {
    if packet[3] & 0x20 == 0 {
        return None;
    }
    let (flags, fields) = packet[5..].get(..usize::from(packet[4]))?.split_first()?;
    Some((*flags, fields))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    const PAYLOAD: u8 = 1;
    const ADAPTATION: u8 = 2;
    const BOTH: u8 = 3;

    fn packet(pid: u16, control: u8, counter: u8, adaptation: &[u8]) -> [u8; PACKET] {
        let mut packet = [0xff; PACKET];
        let [high, low] = pid.to_be_bytes();
        packet[..4].copy_from_slice(&[SYNC, high, low, control << 4 | counter]);
        packet[4..4 + adaptation.len()].copy_from_slice(adaptation);
        packet
    }

    /// Returns the number of discontinuities for each of the packets (control, counter, adaptation
    /// field) of one PID.
    fn check(packets: &[(u8, u8, &[u8])]) -> Vec<u64> {
        let mut continuity = Continuity::default();
        packets.iter().map(|(c, n, a)| continuity.check(&packet(0x100, *c, *n, a))).collect()
    }

    #[test]
    fn looks_like_whole_packets() {
        let two = [packet(0, PAYLOAD, 0, &[]), packet(1, PAYLOAD, 0, &[])].concat();
        assert!(looks_like(&two) && looks_like(&two[..188]));
        assert_eq!(Packet::parse(&two).unwrap().payload(), two);
        assert!(!looks_like(&[]) && !looks_like(&two[..187]) && !looks_like(&two[..189]));
        let mut damaged = two.clone();
        damaged[188] = 0x48;
        assert!(!looks_like(&damaged));
        assert_eq!(Packet::parse(&damaged), None);
    }

    #[test]
    fn counters_that_go_on() {
        let packets: Vec<_> = (0..40u8).map(|i| (PAYLOAD, i & 15, &[][..])).collect();
        assert_eq!(check(&packets).iter().sum::<u64>(), 0);
    }

    #[test]
    fn each_gap_counts_once() {
        let packets = [(PAYLOAD, 3, &[][..]), (PAYLOAD, 4, &[]), (PAYLOAD, 7, &[]), (PAYLOAD, 8, &[])];
        assert_eq!(check(&packets), [0, 0, 1, 0]);
    }

    #[test]
    fn one_duplicate_is_allowed() {
        let once = (PAYLOAD, 5, &[][..]);
        assert_eq!(check(&[once, once, (PAYLOAD, 6, &[])]), [0, 0, 0]);
        assert_eq!(check(&[once, once, once]), [0, 0, 1]);
    }

    #[test]
    fn without_payload_the_counter_stands_still() {
        let field = &[1, 0][..];
        assert_eq!(
            check(&[(PAYLOAD, 5, &[]), (ADAPTATION, 5, field), (ADAPTATION, 5, field), (BOTH, 6, field)]),
            [0, 0, 0, 0]
        );
        assert_eq!(check(&[(PAYLOAD, 5, &[]), (ADAPTATION, 6, field), (PAYLOAD, 7, &[])]), [0, 1, 0]);
        // the duplicate after a packet without payload is still the first one
        assert_eq!(check(&[(PAYLOAD, 5, &[]), (ADAPTATION, 5, field), (PAYLOAD, 5, &[])]), [0, 0, 0]);
    }

    #[test]
    fn an_announced_discontinuity_is_none() {
        let announced = &[1, 0x80][..];
        assert_eq!(check(&[(PAYLOAD, 5, &[]), (BOTH, 11, announced), (PAYLOAD, 12, &[])]), [0, 0, 0]);
        assert_eq!(check(&[(PAYLOAD, 5, &[]), (ADAPTATION, 2, announced), (PAYLOAD, 3, &[])]), [0, 0, 0]);
        // an adaptation field of no bytes announces nothing, whatever follows it
        assert_eq!(check(&[(PAYLOAD, 5, &[]), (BOTH, 11, &[0, 0x80])]), [0, 1]);
    }

    #[test]
    fn null_packets_reserved_control_and_damaged_packets_do_not_count() {
        let mut continuity = Continuity::default();
        let mut erroneous = packet(0x100, PAYLOAD, 9, &[]);
        erroneous[1] |= 0x80;
        for packet in [
            packet(0x100, PAYLOAD, 1, &[]),
            packet(0x1fff, PAYLOAD, 1, &[]),
            packet(0x1fff, PAYLOAD, 9, &[]),
            packet(0x100, 0, 9, &[]),
            erroneous,
            packet(0x100, PAYLOAD, 2, &[]),
        ] {
            assert_eq!(continuity.check(&packet), 0, "{:02x?}", &packet[..4]);
        }
    }

    #[test]
    fn pids_are_apart_and_the_total_adds_up() {
        let mut continuity = Continuity::default();
        let first = [packet(0x100, PAYLOAD, 1, &[]), packet(0x101, PAYLOAD, 9, &[])].concat();
        let second = [packet(0x100, PAYLOAD, 3, &[]), packet(0x101, PAYLOAD, 11, &[])].concat();
        assert_eq!((continuity.check(&first), continuity.check(&second)), (0, 2));
        assert_eq!(continuity.check(&packet(0x101, PAYLOAD, 0, &[])), 1);
        assert_eq!(continuity.total(), 3);
    }

    #[test]
    fn a_cleared_indicator_leaves_the_clock_reference() {
        let announced = packet(1, ADAPTATION, 4, &[7, 0x90, 0, 0, 0, 0, 0x7e, 0]);
        let mut cleared = announced;
        clear_discontinuity(&mut cleared);
        assert_eq!(pcr(&cleared), Some(Pcr { pid: 1, ticks: 0, discontinuity: false }));
        assert_eq!(cleared[6..], announced[6..]);
        // the payload begins where the flags of an adaptation field would be
        let mut plain = packet(1, PAYLOAD, 4, &[]);
        clear_discontinuity(&mut plain);
        assert_eq!(plain, packet(1, PAYLOAD, 4, &[]));
    }

    #[test]
    fn clock_references() {
        // base 0x123456789 (33 bits), six reserved bits, extension 0x105
        let field = [7, 0x10, 0x91, 0xa2, 0xb3, 0xc4, 0xff, 0x05];
        let ticks = 0x1_2345_6789 * 300 + 0x105;
        assert_eq!(
            pcr(&packet(0x123, BOTH, 0, &field)),
            Some(Pcr { pid: 0x123, ticks, discontinuity: false })
        );
        let announced = [7, 0x90, 0, 0, 0, 0, 0x7e, 0];
        assert_eq!(
            pcr(&packet(1, ADAPTATION, 0, &announced)),
            Some(Pcr { pid: 1, ticks: 0, discontinuity: true })
        );
        let last = [7, 0x10, 0xff, 0xff, 0xff, 0xff, 0xff, 0x2b];
        assert_eq!(pcr(&packet(1, BOTH, 0, &last)).unwrap().ticks, Pcr::WRAP - 1);
        let beyond = [7, 0x10, 0, 0, 0, 0, 0x01, 0x2c];
        assert_eq!(pcr(&packet(1, BOTH, 0, &beyond)), None);
        for absent in [&[0, 0x10][..], &[6, 0x10, 0, 0, 0, 0, 0, 0], &[7, 0, 0, 0, 0, 0, 0, 0], &[184, 0x10]]
        {
            assert_eq!(pcr(&packet(1, BOTH, 0, absent)), None, "{absent:?}");
        }
        assert_eq!(pcr(&packet(1, PAYLOAD, 0, &field)), None);
        let mut no_sync = packet(1, BOTH, 0, &field);
        no_sync[0] = 0;
        assert_eq!(pcr(&no_sync), None);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic_nor_grow(payloads in vec(vec(any::<u8>(), 0..600), 0..8)) {
            let mut continuity = Continuity::default();
            let mut sum = 0;
            for mut payload in payloads {
                for at in (0..payload.len()).step_by(PACKET) {
                    payload[at] = SYNC;
                }
                for packet in payload.as_chunks().0 {
                    prop_assert!(pcr(packet).is_none_or(|pcr| pcr.ticks < Pcr::WRAP));
                }
                sum += continuity.check(&payload);
                prop_assert!(continuity.pids.len() <= TS_PIDS_MAX);
            }
            prop_assert_eq!(continuity.total(), sum);
        }

        #[test]
        fn without_loss_none_is_found_and_with_loss_no_more_than_was_lost(
            pids in vec(0x20u16..0x28, 1..400),
            lost in vec(prop::bool::weighted(0.1), 400),
        ) {
            let mut counters = [0u8; 0x28];
            let stream: Vec<_> = pids.iter().map(|&pid| {
                let counter = &mut counters[usize::from(pid)];
                *counter = (*counter + 1) & 15;
                packet(pid, PAYLOAD, *counter, &[])
            }).collect();
            prop_assert_eq!(Continuity::default().check(&stream.concat()), 0);
            let arrived: Vec<_> = stream.iter().zip(&lost).filter(|(_, lost)| !**lost).map(|(p, _)| *p).collect();
            let found = Continuity::default().check(&arrived.concat());
            prop_assert!(found <= (stream.len() - arrived.len()) as u64);
        }
    }
}
