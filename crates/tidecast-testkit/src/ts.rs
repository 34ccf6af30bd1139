//! Builds transport streams (ISO/IEC 13818-1): tables, pictures and clocks in packets of 188
//! bytes.

/// Bytes of a packet.
pub const PACKET: usize = 188;
const SYNC: u8 = 0x47;
/// PCR ticks until the clock wraps to 0: 33 bits of 90 kHz, each of 300 ticks.
const PCR_WRAP: u64 = (1 << 33) * 300;

/// The PID of the video of [`tables`].
pub const VIDEO: u16 = 0x100;
/// The PID of the audio of [`tables`].
pub const AUDIO: u16 = 0x101;
/// The PID of the program map of [`tables`].
pub const PMT: u16 = 0x1000;

/// The stream type of MPEG-2 video.
pub const MPEG2: u8 = 0x02;
/// The stream type of H.264.
pub const H264: u8 = 0x1b;
/// The stream type of H.265.
pub const H265: u8 = 0x24;

const HEADER: usize = 8;
const CRC: usize = 4;

/// Makes a section with these fields after `last_section_number`.
pub fn section(table: u8, id: u16, fields: &[u8]) -> Vec<u8> {
    let length = (HEADER - 3 + fields.len() + CRC) as u16;
    let mut section = vec![table];
    section.extend(((0xb0 << 8) | length).to_be_bytes());
    section.extend(id.to_be_bytes());
    section.extend([0xc1, 0, 0]);
    section.extend(fields);
    section.extend(crc(&section).to_be_bytes());
    section
}

/// CRC-32/MPEG-2 (annex A), bit by bit.
fn crc(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |crc, byte| {
        let shift = |crc: u32, _| if crc >> 31 == 1 { crc << 1 ^ 0x04c1_1db7 } else { crc << 1 };
        (0..8).fold(crc ^ u32::from(*byte) << 24, shift)
    })
}

/// Makes a program association section: programs 1, 2, ... with their tables on these PIDs.
pub fn association(pids: &[u16]) -> Vec<u8> {
    let entry = |(n, pid): (usize, &u16)| [0, n as u8 + 1, 0xe0 | (pid >> 8) as u8, *pid as u8];
    section(0x00, 1, &pids.iter().enumerate().flat_map(entry).collect::<Vec<_>>())
}

/// Makes a program map section with these streams (type, PID), each with a descriptor of 3 bytes.
pub fn map(streams: &[(u8, u16)]) -> Vec<u8> {
    let entry = |(kind, pid): &(u8, u16)| [*kind, 0xe0 | (pid >> 8) as u8, *pid as u8, 0xf0, 3, 0x52, 1, 7];
    let mut fields = vec![0xe1, 0x00, 0xf0, 2, 0x0b, 0];
    fields.extend(streams.iter().flat_map(entry));
    section(0x02, 1, &fields)
}

/// Splits a section into packets of a PID, with continuity counters starting at `counter`.
pub fn packed(pid: u16, counter: u8, section: &[u8]) -> Vec<[u8; PACKET]> {
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

/// Makes the tables of one program with audio and with video of this stream type.
pub fn tables(counter: u8, kind: u8) -> Vec<[u8; PACKET]> {
    let map = map(&[(0x0f, AUDIO), (kind, VIDEO)]);
    [packed(0, counter, &association(&[PMT])), packed(PMT, counter, &map)].concat()
}

/// Makes a packet of a PID with stuffing followed by this payload. `starts` sets
/// `payload_unit_start_indicator`, `indicated` sets `random_access_indicator`.
pub fn packet(pid: u16, starts: bool, indicated: bool, payload: &[u8]) -> [u8; PACKET] {
    let mut packet = [0xff; PACKET];
    let start = if starts { 0x40 } else { 0 };
    let control = if payload.is_empty() { 2 } else { 3 };
    packet[..4].copy_from_slice(&[SYNC, start | (pid >> 8) as u8, pid as u8, control << 4]);
    packet[4] = (PACKET - 5 - payload.len()) as u8;
    packet[5] = if indicated { 0x40 } else { 0 };
    packet[PACKET - payload.len()..].copy_from_slice(payload);
    packet
}

/// The head of a video PES packet, with a timestamp.
pub const PES: &[u8] = &[0, 0, 1, 0xe0, 0, 0, 0x80, 0x80, 5, 0x21, 0, 1, 0, 1];
/// H.264: an access unit delimiter.
pub const AUD: &[u8] = &[0, 0, 0, 1, 9, 0xf0];
/// H.264: a sequence parameter set.
pub const SPS: &[u8] = &[0, 0, 1, 0x67, 0x64, 0, 0x28];
/// H.264: a picture parameter set.
pub const PPS: &[u8] = &[0, 0, 1, 0x68, 0xee];
/// H.264: a slice of an IDR picture.
pub const IDR: &[u8] = &[0, 0, 1, 0x65, 0x88, 0x84];
/// H.264: a slice with `first_mb_in_slice` 0 and `slice_type` 5 (P).
pub const P_SLICE: &[u8] = &[0, 0, 1, 0x41, 0b1001_1010, 2, 3, 4];
/// H.264: supplemental enhancement information with user data.
pub const SEI_USER: &[u8] = &[0, 0, 1, 6, 5, 3, 1, 2, 3, 0x80];

/// Makes a PES packet of a picture of this stream type; `key`: a decoder can start with it. Types
/// other than [`H264`] and [`H265`] get MPEG-2.
pub fn picture(kind: u8, key: bool) -> Vec<u8> {
    let parts: &[&[u8]] = match (kind, key) {
        (H264, true) => &[AUD, SPS, PPS, SEI_USER, IDR],
        (H264, false) => &[AUD, SEI_USER, P_SLICE],
        (H265, true) => &[&[0, 0, 1, 0x46, 1], &[0, 0, 1, 0x42, 1, 1], &[0, 0, 1, 0x28, 1, 0xaf]],
        (H265, false) => &[&[0, 0, 1, 0x46, 1], &[0, 0, 1, 0x02, 1, 0xd0]],
        (_, true) => &[&[0, 0, 1, 0xb3, 0x2d], &[0, 0, 1, 0xb8], &[0, 0, 1, 0, 0]],
        (_, false) => &[&[0, 0, 1, 0, 0x10, 2]],
    };
    [PES, &parts.concat()].concat()
}

/// Makes a packet of PID 0x100 that ends with `counter`, with a PCR and its discontinuity flag if
/// `pcr` is given.
pub fn clocked(counter: u32, pcr: Option<(u64, bool)>) -> [u8; PACKET] {
    let mut packet = [0xFF; PACKET];
    packet[..4].copy_from_slice(&[SYNC, 0x01, 0x00, 0x10]);
    if let Some((value, discontinuity)) = pcr {
        let (base, extension) = (value / 300, value % 300);
        packet[3] = 0x30;
        packet[4] = 7;
        packet[5] = 0x10 | if discontinuity { 0x80 } else { 0 };
        packet[6..10].copy_from_slice(&((base >> 1) as u32).to_be_bytes());
        packet[10] = ((base & 1) << 7) as u8 | 0x7E | (extension >> 8) as u8;
        packet[11] = extension as u8;
    }
    packet[184..].copy_from_slice(&counter.to_be_bytes());
    packet
}

/// Makes `intervals` PCR intervals of `ticks` (27 MHz) starting at the PCR `first`, each of
/// `packets` packets, and a final packet with a PCR.
pub fn stream(first: u64, intervals: u64, ticks: u64, packets: u32) -> Vec<[u8; PACKET]> {
    let mut out = Vec::new();
    for i in 0..=intervals {
        let value = (first + i * ticks) % PCR_WRAP;
        out.push(clocked(out.len() as u32, Some((value, false))));
        let fill = if i == intervals { 0 } else { packets - 1 };
        (0..fill).for_each(|_| out.push(clocked(out.len() as u32, None)));
    }
    out
}
