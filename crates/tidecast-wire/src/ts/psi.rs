//! Program specific information (ISO/IEC 13818-1 section 2.4.4): the PIDs of a transport stream,
//! from the sections of its program association and program map tables.
//!
//! [`super::access`] passes it the packets of these tables' PIDs and keeps those of complete
//! sections; `probe` reports the entries.

use super::{PACKET, payload, starts_unit};
use crate::limits::PSI_SECTION_BYTES_MAX;

/// The PID of the program association table.
pub const PID_PAT: u16 = 0;
/// `table_id` of a program association section.
pub const TABLE_PAT: u8 = 0;
/// `table_id` of a program map section.
pub const TABLE_PMT: u8 = 2;

/// Bytes before the entries of a section: up to `last_section_number`.
const HEADER: usize = 8;
/// Bytes of its checksum.
const CRC: usize = 4;
/// Replaces a `table_id` if no further section starts in a packet.
const STUFFING: u8 = 0xff;

/// Assembles sections from the TS packets of their PID, and keeps the packets of the last wanted
/// one.
#[derive(Clone, Debug, Default)]
pub struct Sections {
    section: Vec<u8>,
    /// Packets with parts of `section` so far; empty between sections.
    packets: Vec<u8>,
    whole: Vec<u8>,
}

impl Sections {
    /// Takes the next packet of the PID and passes on each section that it completes, if that is
    /// current and undamaged. `wanted` returns whether to keep the packets of the section.
    pub fn take(&mut self, packet: &[u8; PACKET], mut wanted: impl FnMut(Section<'_>) -> bool) {
        let Some(bytes) = payload(packet) else { return };
        if !starts_unit(packet) {
            if !self.packets.is_empty() {
                self.add(bytes, packet, &mut wanted);
            }
            return;
        }
        let parts = bytes.split_first().and_then(|(end, rest)| rest.split_at_checked(usize::from(*end)));
        let Some((end, mut begin)) = parts else { return };
        if !self.packets.is_empty() {
            self.add(end, packet, &mut wanted);
        }
        while begin.first().is_some_and(|table| *table != STUFFING) {
            self.section.clear();
            self.packets.clear();
            begin = self.add(begin, packet, &mut wanted);
        }
    }

    /// The packets of the last wanted section; empty before the first one.
    pub fn last(&self) -> &[u8] {
        &self.whole
    }

    /// Adds bytes to the section; returns the rest when it is complete.
    fn add<'a>(
        &mut self,
        bytes: &'a [u8],
        packet: &[u8; PACKET],
        wanted: &mut impl FnMut(Section<'_>) -> bool,
    ) -> &'a [u8] {
        let before = self.section.len();
        let room = PSI_SECTION_BYTES_MAX - before.min(PSI_SECTION_BYTES_MAX);
        self.section.extend_from_slice(&bytes[..bytes.len().min(room)]);
        if self.packets.len() <= PSI_SECTION_BYTES_MAX + PACKET {
            self.packets.extend_from_slice(packet);
        }
        let Some(section) = self.length().and_then(|length| self.section.get(..length)) else { return &[] };
        let packets = std::mem::take(&mut self.packets);
        if Section::parse(section).is_some_and(wanted) {
            self.whole = packets;
        }
        bytes.get(section.len() - before.min(section.len())..).unwrap_or_default()
    }

    fn length(&self) -> Option<usize> {
        let [_, high, low] = *self.section.first_chunk::<3>()?;
        Some(3 + length(high, low))
    }
}

/// A section that currently applies and has a correct checksum.
#[derive(Clone, Copy, Debug)]
pub struct Section<'a>(&'a [u8]);

/// An elementary stream that a program map section lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream<'a> {
    /// `stream_type`.
    pub kind: u8,
    /// Its PID.
    pub pid: u16,
    /// Its descriptors, each with tag and length.
    pub descriptors: &'a [u8],
}

impl<'a> Section<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Section<'a>> {
        let usable = bytes.len() >= HEADER + CRC && bytes[5] & 1 == 1 && crc(bytes) == 0;
        usable.then_some(Section(bytes))
    }

    /// `table_id`.
    pub fn table(&self) -> u8 {
        self.0[0]
    }

    /// Number of the programme, in a program map section.
    pub fn number(&self) -> u16 {
        u16::from_be_bytes([self.0[3], self.0[4]])
    }

    /// Whether it is the first section of its table.
    pub fn is_first(&self) -> bool {
        self.0[6] == 0
    }

    /// Numbers of the programmes and PIDs of their map tables, in a program association section,
    /// in order.
    pub fn programs(&self) -> impl Iterator<Item = (u16, u16)> + use<'a> {
        let listed = self.listed().as_chunks::<4>().0.iter();
        let programs = listed.map(|e| (u16::from_be_bytes([e[0], e[1]]), pid(e[2], e[3])));
        // number 0 names the network information table
        programs.filter(|(number, _)| *number != 0)
    }

    /// PID of the programme's clock, in a program map section.
    pub fn clock(&self) -> Option<u16> {
        self.listed().first_chunk::<4>().map(|fixed| pid(fixed[0], fixed[1]))
    }

    /// Elementary streams, in a program map section, in order.
    pub fn streams(&self) -> impl Iterator<Item = Stream<'a>> + use<'a> {
        let streams = self.listed().split_first_chunk::<4>();
        let streams = streams.and_then(|(fixed, rest)| rest.get(length(fixed[2], fixed[3])..));
        let mut rest = streams.unwrap_or_default();
        std::iter::from_fn(move || {
            let (entry, more) = rest.split_first_chunk::<5>()?;
            let (descriptors, next) = more.split_at_checked(length(entry[3], entry[4])).unwrap_or_default();
            rest = next;
            Some(Stream { kind: entry[0], pid: pid(entry[1], entry[2]), descriptors })
        })
    }

    /// The bytes between header and checksum.
    fn listed(&self) -> &'a [u8] {
        &self.0[HEADER..self.0.len() - CRC]
    }
}

/// A length of 12 bits.
fn length(high: u8, low: u8) -> usize {
    usize::from(u16::from_be_bytes([high & 0x0f, low]))
}

fn pid(high: u8, low: u8) -> u16 {
    u16::from_be_bytes([high & 0x1f, low])
}

/// CRC-32/MPEG-2 (ISO/IEC 13818-1 annex A); zero over a section with its checksum.
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
mod tests {
    use super::*;
    use crate::ts::SYNC;
    use proptest::{collection::vec, prelude::*};
    use tidecast_testkit::ts::{association, map, packed, section};

    /// Returns the sections that a packet completes, as read by `read`.
    fn taken<T>(
        sections: &mut Sections,
        packet: &[u8; PACKET],
        mut read: impl FnMut(Section<'_>) -> T,
    ) -> Vec<T> {
        let mut all = Vec::new();
        sections.take(packet, |section| {
            all.push(read(section));
            true
        });
        all
    }

    fn programs(section: Section<'_>) -> Vec<(u16, u16)> {
        assert_eq!(section.table(), TABLE_PAT);
        section.programs().collect()
    }

    fn streams(section: Section<'_>) -> Vec<(u8, u16)> {
        assert_eq!((section.table(), section.clock()), (TABLE_PMT, Some(0x100)));
        section.streams().map(|stream| (stream.kind, stream.pid)).collect()
    }

    #[test]
    fn the_check_sum_is_the_one_of_the_standard() {
        assert_eq!(crc(b"123456789"), 0x0376_e6e7);
    }

    #[test]
    fn tables_come_back() {
        let mut sections = Sections::default();
        let packets = packed(0, 3, &association(&[0x1000, 0x1fe]));
        assert_eq!(taken(&mut sections, &packets[0], programs), [[(1, 0x1000), (2, 0x1fe)]]);
        assert_eq!(sections.last(), packets[0]);
        let network = section(TABLE_PAT, 1, &[0, 0, 0xe0, 0x10, 0, 1, 0xf0, 0]);
        assert_eq!(taken(&mut sections, &packed(0, 4, &network)[0], programs), [[(1, 0x1000)]]);
        let mut sections = Sections::default();
        let listed = [(0x1b, 0x100), (0x0f, 0x101)];
        let packet = packed(0x1000, 0, &map(&listed))[0];
        assert_eq!(taken(&mut sections, &packet, streams), [listed]);
        let descriptors = |section: Section<'_>| {
            (
                section.number(),
                section.streams().map(|stream| stream.descriptors.to_vec()).collect::<Vec<_>>(),
            )
        };
        assert_eq!(taken(&mut sections, &packet, descriptors), [(1, vec![vec![0x52, 1, 7]; 2])]);
    }

    #[test]
    fn packets_are_kept_of_what_is_wanted_alone() {
        let mut sections = Sections::default();
        let packets = packed(0, 0, &association(&[0x1000]));
        sections.take(&packets[0], |_| false);
        assert!(sections.last().is_empty());
        sections.take(&packets[0], |section| section.is_first());
        assert_eq!(sections.last(), packets[0]);
    }

    #[test]
    fn a_long_table_spans_packets_and_the_next_one_may_begin_in_its_last() {
        let listed: Vec<_> = (0..30).map(|n| (0x0f, 0x200 + n)).collect();
        let (section, next) = (map(&listed), map(&[(0x1b, 0x100)]));
        let mut packets = packed(0x1000, 0, &section);
        assert_eq!(packets.len(), 2);
        let mut sections = Sections::default();
        assert!(taken(&mut sections, &packets[0], streams).is_empty());
        assert_eq!(taken(&mut sections, &packets[1], streams), [&listed[..]]);
        assert_eq!(sections.last(), packets.as_flattened());
        // the same, as the end of a section before another one
        let rest = section.len() - (PACKET - 5);
        packets[1][1] |= 0x40;
        packets[1].copy_within(4..4 + rest, 5);
        packets[1][4] = rest as u8;
        let mut sections = Sections::default();
        assert!(taken(&mut sections, &packets[0], streams).is_empty());
        assert_eq!(taken(&mut sections, &packets[1], streams), [&listed[..]]);
        packets[1][5 + rest..][..next.len()].copy_from_slice(&next);
        let mut sections = Sections::default();
        assert!(taken(&mut sections, &packets[0], streams).is_empty());
        assert_eq!(taken(&mut sections, &packets[1], streams), [&listed[..], &[(0x1b, 0x100)]]);
        assert_eq!(sections.last(), packets[1]);
        // it may continue in the next packet
        let (here, there) = next.split_at(9);
        let end = PACKET - here.len();
        packets[1][5 + rest..].fill(STUFFING);
        packets[1].copy_within(5..5 + rest, end - rest);
        packets[1][end..].copy_from_slice(here);
        packets[1][3] |= 0x20;
        packets[1][4] = (end - rest - 6) as u8;
        packets[1][5] = 0;
        packets[1][end - rest - 1] = rest as u8;
        let mut last = [STUFFING; PACKET];
        last[..4].copy_from_slice(&[SYNC, 0x10, 0, 0x12]);
        last[4..4 + there.len()].copy_from_slice(there);
        let mut sections = Sections::default();
        assert!(taken(&mut sections, &packets[0], streams).is_empty());
        assert_eq!(taken(&mut sections, &packets[1], streams), [&listed[..]]);
        assert_eq!(taken(&mut sections, &last, streams), [[(0x1b, 0x100)]]);
        assert_eq!(sections.last(), [packets[1], last].as_flattened());
    }

    #[test]
    fn damaged_and_future_sections_are_passed_over_and_a_middle_without_its_beginning() {
        let good = association(&[0x1000]);
        let mut sections = Sections::default();
        let mut next = good[..good.len() - 4].to_vec();
        next[5] &= !1;
        next.extend(crc(&next).to_be_bytes());
        let damaged = (0..good.len()).map(|at| {
            let mut damaged = good.clone();
            damaged[at] ^= 4;
            damaged
        });
        for bad in damaged.chain([next, vec![0, 0xb0, 0]]) {
            assert!(taken(&mut sections, &packed(0, 0, &bad)[0], programs).is_empty(), "{bad:02x?}");
        }
        assert!(sections.last().is_empty());
        let mut middle = packed(0, 0, &good)[0];
        middle[1] &= !0x40;
        assert!(taken(&mut Sections::default(), &middle, programs).is_empty());
        assert_eq!(taken(&mut sections, &packed(0, 0, &good)[0], programs).len(), 1);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic_and_stay_bounded(
            packets in vec((vec(any::<u8>(), PACKET), any::<bool>()), 0..40),
            fields in vec(any::<u8>(), 0..64),
        ) {
            let mut sections = Sections::default();
            for (bytes, starts) in packets {
                let mut packet: [u8; PACKET] = bytes.try_into().unwrap();
                packet[0] = SYNC;
                packet[1] = if starts { 0x40 } else { 0 };
                sections.take(&packet, |_| true);
                prop_assert!(sections.section.len() <= PSI_SECTION_BYTES_MAX);
                prop_assert!(sections.packets.len() <= PSI_SECTION_BYTES_MAX + 2 * PACKET);
            }
            for table in [TABLE_PAT, TABLE_PMT] {
                let bytes = section(table, 1, &fields);
                let section = Section::parse(&bytes).unwrap();
                prop_assert!(section.programs().count() <= fields.len() / 4);
                prop_assert!(section.streams().count() <= fields.len() / 5);
                section.clock();
            }
        }
    }
}
