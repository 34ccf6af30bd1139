//! The tables of a transport stream that say what is in it: PAT and PMT (ISO/IEC 13818-1 section 2.4.4). Bytes only.

use crate::{
    limits::PSI_SECTION_BYTES_MAX,
    wire::ts::psi::{TABLE_PAT, TABLE_PMT, crc},
};

/// Header of a long section up to the first loop, and the checksum behind.
const HEADER: usize = 8;
const CHECKSUM: usize = 4;

/// Puts a PID's sections together.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    section: Vec<u8>,
    started: bool,
}

impl Assembler {
    /// One packet's payload, and whether a section begins in it; a section that is complete and undamaged.
    pub(super) fn push(&mut self, payload: &[u8], starts: bool) -> Option<Section<'_>> {
        let mut rest = payload;
        if starts {
            let (pointer, behind) = payload.split_first()?;
            rest = behind.get(usize::from(*pointer)..)?;
            self.section.clear();
            self.started = true;
        }
        if !self.started {
            return None;
        }
        let room = PSI_SECTION_BYTES_MAX.saturating_sub(self.section.len());
        self.section.extend_from_slice(&rest[..rest.len().min(room)]);
        let length =
            3 + usize::from(u16::from_be_bytes([self.section.get(1)? & 0x0f, *self.section.get(2)?]));
        if self.section.len() < length {
            return None;
        }
        self.started = false;
        Section::parse(self.section.get(..length)?)
    }
}

/// A section whose checksum is right, and which is in force.
#[derive(Debug, Clone, Copy)]
pub(super) struct Section<'a>(&'a [u8]);

/// An elementary stream of a programme.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Elementary {
    pub(super) pid: u16,
    /// What is in it, such as `H.264 video`.
    pub(super) kind: String,
}

impl<'a> Section<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Section<'a>> {
        let usable = bytes.len() >= HEADER + CHECKSUM && bytes[5] & 1 == 1 && crc(bytes) == 0;
        usable.then_some(Section(bytes))
    }

    fn number(&self) -> u16 {
        u16::from_be_bytes([self.0[3], self.0[4]])
    }

    fn body(&self) -> &'a [u8] {
        &self.0[HEADER..self.0.len() - CHECKSUM]
    }

    /// Programme numbers and the PIDs of their PMTs; the network's entry is left out.
    pub(super) fn programs(&self) -> Option<Vec<(u16, u16)>> {
        let entry = |e: &[u8; 4]| (u16::from_be_bytes([e[0], e[1]]), pid([e[2], e[3]]));
        let entries = self.body().as_chunks::<4>().0.iter().map(entry);
        (self.0[0] == TABLE_PAT).then(|| entries.filter(|(number, _)| *number != 0).collect())
    }

    /// Of a PMT: the programme's number, the PID of its PCR, and its streams.
    pub(super) fn streams(&self) -> Option<(u16, u16, Vec<Elementary>)> {
        let (fixed, rest) = self.body().split_first_chunk::<4>()?;
        if self.0[0] != TABLE_PMT {
            return None;
        }
        let mut rest = rest.get(length([fixed[2], fixed[3]])..)?;
        let mut streams = Vec::new();
        while let Some((entry, behind)) = rest.split_first_chunk::<5>() {
            let descriptors = behind.get(..length([entry[3], entry[4]]))?;
            let kind = kind(entry[0], descriptors);
            streams.push(Elementary { pid: pid([entry[1], entry[2]]), kind });
            rest = &behind[descriptors.len()..];
        }
        Some((self.number(), pid([fixed[0], fixed[1]]), streams))
    }
}

fn pid(bytes: [u8; 2]) -> u16 {
    u16::from_be_bytes(bytes) & 0x1fff
}

fn length(bytes: [u8; 2]) -> usize {
    usize::from(u16::from_be_bytes(bytes) & 0x0fff)
}

/// Stream types of ISO/IEC 13818-1 table 2-34 and of ATSC; private data is told by its descriptors.
fn kind(stream_type: u8, descriptors: &[u8]) -> String {
    let name = match stream_type {
        0x01 => "MPEG-1 video",
        0x02 => "MPEG-2 video",
        0x03 => "MPEG-1 audio",
        0x04 => "MPEG-2 audio",
        0x06 => return private(descriptors).unwrap_or("private data").to_owned(),
        0x0f => "AAC audio",
        0x10 => "MPEG-4 video",
        0x11 => "AAC audio (LATM)",
        0x15 => "metadata",
        0x1b => "H.264 video",
        0x20 => "H.264 video (MVC)",
        0x21 => "JPEG 2000 video",
        0x24 => "HEVC video",
        0x33 => "VVC video",
        0x42 => "AVS video",
        0x81 => "AC-3 audio",
        0x86 => "SCTE-35 cues",
        0x87 => "E-AC-3 audio",
        other => return format!("stream type {other:#04x}"),
    };
    name.to_owned()
}

/// Descriptors of EN 300 468 and registrations (ISO/IEC 13818-1 section 2.6.8) that say what private data is.
fn private(mut descriptors: &[u8]) -> Option<&'static str> {
    while let [tag, length, rest @ ..] = descriptors {
        let body = rest.get(..usize::from(*length))?;
        match (*tag, body) {
            (0x05, [b'O', b'p', b'u', b's', ..]) => return Some("Opus audio"),
            (0x05, [b'A', b'C', b'-', b'3', ..]) | (0x6a, _) => return Some("AC-3 audio"),
            (0x05, [b'K', b'L', b'V', b'A', ..]) => return Some("KLV metadata"),
            (0x05, [b'H', b'E', b'V', b'C', ..]) => return Some("HEVC video"),
            (0x7a, _) => return Some("E-AC-3 audio"),
            (0x7b, _) => return Some("DTS audio"),
            (0x56, _) => return Some("teletext"),
            (0x59, _) => return Some("DVB subtitles"),
            _ => descriptors = &rest[body.len()..],
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    /// A section with its checksum.
    fn section(table: u8, number: u16, body: &[u8]) -> Vec<u8> {
        let length = (5 + body.len() + CHECKSUM) as u16;
        let mut bytes = vec![table, 0xb0 | (length >> 8) as u8, length as u8];
        bytes.extend_from_slice(&number.to_be_bytes());
        bytes.extend_from_slice(&[0xc1, 0, 0]);
        bytes.extend_from_slice(body);
        let crc = crc(&bytes);
        bytes.extend_from_slice(&crc.to_be_bytes());
        bytes
    }

    #[test]
    fn tables_that_span_packets_are_read() {
        let mut body = vec![0xe1, 0x00, 0xf0, 0];
        for i in 0..60u8 {
            body.extend_from_slice(&[0x1b, 0xe1, i, 0xf0, 3, 0x52, 1, i]);
        }
        body.extend_from_slice(&[6, 0xe2, 0, 0xf0, 6, 0x05, 4, b'O', b'p', b'u', b's']);
        let bytes = [&[0][..], &section(TABLE_PMT, 7, &body)].concat();
        let mut assembler = Assembler::default();
        let mut pieces = bytes.chunks(184).enumerate();
        let found = pieces.find_map(|(i, piece)| assembler.push(piece, i == 0).and_then(|s| s.streams()));
        let (number, pcr, streams) = found.expect("whole");
        assert_eq!((number, pcr, streams.len()), (7, 0x100, 61));
        assert_eq!(streams[59], Elementary { pid: 0x13b, kind: "H.264 video".to_owned() });
        assert_eq!(streams[60].kind, "Opus audio");
    }

    #[test]
    fn damaged_and_other_tables_are_none() {
        let good = [&[0][..], &section(TABLE_PAT, 1, &[0, 0, 0xe0, 0x10, 0, 1, 0xf0, 0])].concat();
        let mut assembler = Assembler::default();
        let found = assembler.push(&good, true).expect("good");
        assert_eq!(found.programs(), Some(vec![(1, 0x1000)]));
        assert!(found.streams().is_none());
        for at in 1..good.len() {
            let mut damaged = good.clone();
            damaged[at] ^= 0x04;
            assert!(Assembler::default().push(&damaged, true).is_none(), "byte {at}");
        }
        assert!(Assembler::default().push(&good[1..], false).is_none(), "no beginning");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(pieces in vec((vec(any::<u8>(), 0..184), any::<bool>()), 0..20)) {
            let mut assembler = Assembler::default();
            for (piece, starts) in &pieces {
                if let Some(section) = assembler.push(piece, *starts) {
                    let _ = (section.programs(), section.streams());
                }
            }
            prop_assert!(assembler.section.len() <= PSI_SECTION_BYTES_MAX);
        }

        #[test]
        fn arbitrary_tables_never_panic(table in 0u8..4, body in vec(any::<u8>(), 0..200)) {
            let bytes = [&[0][..], &section(table, 1, &body)].concat();
            let mut assembler = Assembler::default();
            if let Some(section) = assembler.push(&bytes, true) {
                let _ = (section.programs(), section.streams());
            }
        }
    }
}
