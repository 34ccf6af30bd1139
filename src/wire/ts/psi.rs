//! Program specific information (ISO/IEC 13818-1 section 2.4.4): which PIDs a transport stream has, from the sections
//! of its program association and program map tables.
//!
//! [`super::access`] feeds it with the packets of these tables' PIDs and keeps the packets that it found whole.

use super::{PACKET, payload, starts_unit};
use crate::limits::{TS_PROGRAMS_MAX, TS_STREAMS_MAX};

/// The PID of the program association table.
pub const PID_PAT: u16 = 0;
/// `table_id` of a program association section.
pub const TABLE_PAT: u8 = 0;
/// `table_id` of a program map section.
pub const TABLE_PMT: u8 = 2;

/// Bytes before what a section lists: up to `last_section_number`.
const HEADER: usize = 8;
/// Bytes of its check sum.
const CRC: usize = 4;
/// Bytes of the longest section of these tables.
const SECTION_MAX: usize = 1024;

/// Puts the sections of one table together from the TS packets of its PID, and keeps the packets of the last one.
#[derive(Clone, Debug)]
pub struct Sections {
    table: u8,
    section: Vec<u8>,
    /// The packets that `section` came in so far; empty between sections.
    packets: Vec<u8>,
    whole: Vec<u8>,
}

impl Sections {
    /// Collects sections with this `table_id`.
    pub fn new(table: u8) -> Sections {
        Sections { table, section: Vec::new(), packets: Vec::new(), whole: Vec::new() }
    }

    /// Takes the next packet of the PID. Gives the section that it completes, if that is in force, undamaged and the
    /// first of its table.
    pub fn take(&mut self, packet: &[u8; PACKET]) -> Option<&[u8]> {
        let mut bytes = payload(packet)?;
        if starts_unit(packet) {
            let (pointer, rest) = bytes.split_first()?;
            let (end, begin) = rest.split_at_checked(usize::from(*pointer))?;
            if !self.packets.is_empty() && self.add(end, packet) {
                return self.complete();
            }
            self.section.clear();
            self.packets.clear();
            bytes = begin;
        } else if self.packets.is_empty() {
            return None;
        }
        if self.add(bytes, packet) { self.complete() } else { None }
    }

    /// The packets of the last section that [`Sections::take`] gave, as they came; empty: there was none.
    pub fn last(&self) -> &[u8] {
        &self.whole
    }

    /// Whether the section is complete with these bytes.
    fn add(&mut self, bytes: &[u8], packet: &[u8; PACKET]) -> bool {
        let room = SECTION_MAX - self.section.len().min(SECTION_MAX);
        self.section.extend_from_slice(&bytes[..bytes.len().min(room)]);
        if self.packets.len() <= SECTION_MAX + PACKET {
            self.packets.extend_from_slice(packet);
        }
        self.length().is_some_and(|length| self.section.len() >= length)
    }

    fn length(&self) -> Option<usize> {
        let [_, high, low] = *self.section.first_chunk::<3>()?;
        Some(3 + (usize::from(high & 0x0f) << 8 | usize::from(low)))
    }

    fn complete(&mut self) -> Option<&[u8]> {
        let packets = std::mem::take(&mut self.packets);
        let section = self.section.get(..self.length()?)?;
        let in_force = section.len() >= HEADER + CRC && section[5] & 1 == 1 && section[6] == 0;
        if !in_force || section[0] != self.table || crc(section) != 0 {
            return None;
        }
        self.whole = packets;
        Some(section)
    }
}

/// The PIDs of the program map tables that a program association section lists, in its order; at most
/// [`TS_PROGRAMS_MAX`].
pub fn programs(section: &[u8]) -> Vec<u16> {
    let listed = listed(section, 0).as_chunks::<4>().0.iter();
    // program number 0 names the network information table
    let programs = listed.filter(|entry| entry[..2] != [0, 0]).map(|entry| pid(entry[2], entry[3]));
    programs.take(TS_PROGRAMS_MAX).collect()
}

/// The elementary streams of a program map section: `stream_type` and PID, in its order; at most [`TS_STREAMS_MAX`].
pub fn streams(section: &[u8]) -> Vec<(u8, u16)> {
    let Some(&[_, _, high, low]) = section.get(HEADER..).and_then(|rest| rest.first_chunk::<4>()) else {
        return Vec::new();
    };
    let mut rest = listed(section, 4 + usize::from(u16::from_be_bytes([high & 0x0f, low])));
    let mut streams = Vec::new();
    while let Some((&[kind, pid_high, pid_low, high, low], more)) = rest.split_first_chunk::<5>() {
        if streams.len() == TS_STREAMS_MAX {
            break;
        }
        streams.push((kind, pid(pid_high, pid_low)));
        rest = more.get(usize::from(u16::from_be_bytes([high & 0x0f, low]))..).unwrap_or_default();
    }
    streams
}

/// What a section lists behind so many bytes of its own fields.
fn listed(section: &[u8], skip: usize) -> &[u8] {
    section.get(HEADER + skip..section.len().saturating_sub(CRC)).unwrap_or_default()
}

fn pid(high: u8, low: u8) -> u16 {
    u16::from_be_bytes([high & 0x1f, low])
}

/// CRC-32/MPEG-2 (ISO/IEC 13818-1 annex A); zero over a section with its check sum.
pub fn crc(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |crc, byte| {
        let mut crc = crc ^ u32::from(*byte) << 24;
        for _ in 0..8 {
            crc = crc << 1 ^ if crc >> 31 == 1 { 0x04c1_1db7 } else { 0 };
        }
        crc
    })
}

/// Tables for tests.
#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::wire::ts::SYNC;
    use proptest::{collection::vec, prelude::*};

    /// A section of these fields behind `last_section_number`.
    pub(crate) fn section(table: u8, id: u16, fields: &[u8]) -> Vec<u8> {
        let length = (HEADER - 3 + fields.len() + CRC) as u16;
        let mut section = vec![table];
        section.extend(((0xb0 << 8) | length).to_be_bytes());
        section.extend(id.to_be_bytes());
        section.extend([0xc1, 0, 0]);
        section.extend(fields);
        section.extend(crc(&section).to_be_bytes());
        section
    }

    /// A program association section: programs 1, 2, ... with their tables on these PIDs.
    pub(crate) fn association(pids: &[u16]) -> Vec<u8> {
        let entry = |(n, pid): (usize, &u16)| [0, n as u8 + 1, 0xe0 | (pid >> 8) as u8, *pid as u8];
        section(TABLE_PAT, 1, &pids.iter().enumerate().flat_map(entry).collect::<Vec<_>>())
    }

    /// A program map section with these streams (type, PID), each with a descriptor of 3 bytes.
    pub(crate) fn map(streams: &[(u8, u16)]) -> Vec<u8> {
        let entry =
            |(kind, pid): &(u8, u16)| [*kind, 0xe0 | (pid >> 8) as u8, *pid as u8, 0xf0, 3, 0x52, 1, 7];
        let mut fields = vec![0xe1, 0x00, 0xf0, 2, 0x0b, 0];
        fields.extend(streams.iter().flat_map(entry));
        section(TABLE_PMT, 1, &fields)
    }

    /// A section in TS packets of a PID, the counter beginning with this.
    pub(crate) fn packed(pid: u16, counter: u8, section: &[u8]) -> Vec<[u8; PACKET]> {
        let bytes = [&[0], section].concat();
        let packet = |(n, part): (usize, &[u8])| {
            let mut packet = [0xff; PACKET];
            let start = if n == 0 { 0x40 } else { 0 };
            let counter = counter.wrapping_add(n as u8) & 15;
            packet[..4].copy_from_slice(&[SYNC, start | (pid >> 8) as u8, pid as u8, 0x10 | counter]);
            packet[4..4 + part.len()].copy_from_slice(part);
            packet
        };
        bytes.chunks(PACKET - 4).enumerate().map(packet).collect()
    }

    #[test]
    fn the_check_sum_is_the_one_of_the_standard() {
        assert_eq!(crc(b"123456789"), 0x0376_e6e7);
    }

    #[test]
    fn tables_come_back() {
        let mut sections = Sections::new(TABLE_PAT);
        let packets = packed(0, 3, &association(&[0x1000, 0x1fe]));
        assert_eq!(programs(sections.take(&packets[0]).unwrap()), [0x1000, 0x1fe]);
        assert_eq!(sections.last(), packets[0]);
        let mut sections = Sections::new(TABLE_PMT);
        let listed = [(0x1b, 0x100), (0x0f, 0x101)];
        assert_eq!(streams(sections.take(&packed(0x1000, 0, &map(&listed))[0]).unwrap()), listed);
    }

    #[test]
    fn a_long_table_spans_packets_and_the_next_one_may_begin_in_its_last() {
        let listed: Vec<_> = (0..30).map(|n| (0x0f, 0x200 + n)).collect();
        let section = map(&listed);
        let mut packets = packed(0x1000, 0, &section);
        assert_eq!(packets.len(), 2);
        let mut sections = Sections::new(TABLE_PMT);
        assert!(sections.take(&packets[0]).is_none());
        assert_eq!(streams(sections.take(&packets[1]).unwrap()), listed);
        assert_eq!(sections.last(), packets.as_flattened());
        // the same, as the end of a section before another one
        let rest = section.len() - (PACKET - 5);
        packets[1][1] |= 0x40;
        packets[1].copy_within(4..4 + rest, 5);
        packets[1][4] = rest as u8;
        let mut sections = Sections::new(TABLE_PMT);
        assert!(sections.take(&packets[0]).is_none());
        assert_eq!(streams(sections.take(&packets[1]).unwrap()), listed);
    }

    #[test]
    fn damaged_foreign_and_future_sections_are_passed_over() {
        let good = association(&[0x1000]);
        let mut sections = Sections::new(TABLE_PAT);
        let mut damaged = good.clone();
        damaged[9] ^= 1;
        let mut next = good[..good.len() - 4].to_vec();
        next[5] &= !1;
        next.extend(crc(&next).to_be_bytes());
        for bad in [damaged, next, section(0x42, 1, &[0, 1, 0xe1, 0]), vec![0, 0xb0, 0]] {
            assert!(sections.take(&packed(0, 0, &bad)[0]).is_none(), "{bad:02x?}");
        }
        assert!(sections.last().is_empty());
        assert!(sections.take(&packed(0, 0, &good)[0]).is_some());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic_and_stay_bounded(
            packets in vec((vec(any::<u8>(), PACKET), any::<bool>()), 0..40),
            fields in vec(any::<u8>(), 0..64),
        ) {
            let mut sections = Sections::new(TABLE_PMT);
            for (bytes, starts) in packets {
                let mut packet: [u8; PACKET] = bytes.try_into().unwrap();
                packet[1] = if starts { 0x40 } else { 0 };
                sections.take(&packet);
                prop_assert!(sections.section.len() <= SECTION_MAX);
                prop_assert!(sections.packets.len() <= SECTION_MAX + 2 * PACKET);
            }
            for table in [TABLE_PAT, TABLE_PMT] {
                let section = section(table, 1, &fields);
                prop_assert!(programs(&section).len() <= TS_PROGRAMS_MAX);
                prop_assert!(streams(&section).len() <= TS_STREAMS_MAX);
            }
            programs(&fields);
            streams(&fields);
        }
    }
}
