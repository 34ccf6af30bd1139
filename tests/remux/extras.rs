//! The services of a broadcast besides video and audio: teletext, DVB subtitles, SCTE-35 cues, a
//! programme guide and the time (EN 300 472, EN 300 743, SCTE 35, EN 300 468). They replace null
//! packets, so the bit rate stays the same.

use tidecast_wire::ts::{PACKET, Pcr, pcr, psi};

use super::film::RATE;

const NULL: u16 = 0x1fff;
const PMT: u16 = 0x1000;
/// PID of cues for advertisements: sections of `table_id` 0xfc.
pub const SCTE35: u16 = 0x102;
pub const TELETEXT: u16 = 0x103;
pub const SUBTITLES: u16 = 0x104;
/// PID of the current and the next programme.
pub const EIT: u16 = 0x12;
/// PID of the time of day.
pub const TDT: u16 = 0x14;

/// `PTS - PCR` of added services, in ticks of 90 kHz, about that of the pictures.
const AHEAD: u64 = 90_000;

/// One service: its PID, times per second, and its payload at a time (90 kHz).
struct Extra {
    pid: u16,
    per_second: usize,
    payload: fn(u64) -> Vec<u8>,
}

const ALL: [Extra; 5] = [
    Extra { pid: SCTE35, per_second: 1, payload: |_| with_pointer(section(splice_null())) },
    Extra { pid: TELETEXT, per_second: 10, payload: teletext },
    Extra { pid: SUBTITLES, per_second: 1, payload: subtitles },
    Extra { pid: EIT, per_second: 2, payload: |_| with_pointer(section(event())) },
    Extra { pid: TDT, per_second: 1, payload: |_| with_pointer(vec![0x70, 0x70, 5, 0xed, 0x98, 0x18, 0, 0]) },
];

/// Returns the film with all services, and a program map that lists the streams among them.
pub fn add(film: &[u8]) -> Vec<u8> {
    let packets = film.as_chunks::<PACKET>().0;
    let start = packets.iter().find_map(pcr).expect("a clock").ticks / 300;
    let per_second = RATE / 8.0 / PACKET as f64;
    let mut sent = [0_usize; ALL.len()];
    let mut out = Vec::with_capacity(film.len());
    for (place, packet) in packets.iter().enumerate() {
        let seconds = place as f64 / per_second;
        let due = |(extra, sent): (&Extra, &usize)| (*sent as f64) < seconds * extra.per_second as f64;
        let next = ALL.iter().zip(&sent).position(due);
        match (pid(packet), next) {
            (PMT, _) => out.extend(program_map(packet)),
            (NULL, Some(which)) => {
                let pts = (start + (seconds * 90_000.0) as u64 + AHEAD) % (Pcr::WRAP / 300);
                out.extend(carry(ALL[which].pid, sent[which], &(ALL[which].payload)(pts)));
                sent[which] += 1;
            }
            _ => out.extend(packet),
        }
    }
    assert!(sent.iter().all(|count| *count > 10), "too few null packets to replace: {sent:?}");
    out
}

pub fn pid(packet: &[u8; PACKET]) -> u16 {
    u16::from_be_bytes([packet[1] & 0x1f, packet[2]])
}

/// Returns a TS packet that starts a unit; a short unit is padded: sections after their end, PES
/// packets before them.
fn carry(pid: u16, count: usize, payload: &[u8]) -> Vec<u8> {
    let [high, low] = pid.to_be_bytes();
    let counter = (count % 16) as u8;
    let is_pes = payload.starts_with(&[0, 0, 1]);
    let missing = PACKET - 4 - payload.len();
    let mut packet = vec![0x47, 0x40 | high, low, 0x10 | counter];
    if is_pes && missing > 0 {
        packet[3] |= 0x20;
        packet.push(missing as u8 - 1);
        packet.extend([0x00].iter().chain([0xff; PACKET].iter()).take(missing - 1));
    }
    packet.extend(payload);
    packet.resize(PACKET, 0xff);
    packet
}

/// Returns the same table with three more streams, and the registration that SCTE 35 requires.
fn program_map(packet: &[u8; PACKET]) -> Vec<u8> {
    let old = &packet[5..]; // after the pointer: ffmpeg starts a packet with the table, which fits into one
    let old = &old[..3 + (usize::from(old[1] & 0x0f) << 8 | usize::from(old[2]))];
    assert_eq!((packet[4], old[0], psi::crc(old)), (0, psi::TABLE_PMT, 0), "a program map in one packet");
    let info = 12 + (usize::from(old[10] & 0x0f) << 8 | usize::from(old[11]));
    let mut new = old[..info].to_vec();
    new.extend([0x05, 4, b'C', b'U', b'E', b'I']);
    new[11] += 6;
    new.extend(&old[info..old.len() - 4]);
    new.extend([0x86, 0xe1, 0x02, 0xf0, 3, 0x8a, 1, 0]);
    new.extend([0x06, 0xe1, 0x03, 0xf0, 7, 0x56, 5, b'e', b'n', b'g', 0x09, 0x00]);
    new.extend([0x06, 0xe1, 0x04, 0xf0, 10, 0x59, 8, b'e', b'n', b'g', 0x10, 0, 1, 0, 1]);
    carry(PMT, usize::from(packet[3] & 0x0f), &with_pointer(section(new)))
}

/// Completes a section with its length and its checksum.
fn section(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes[2] = (bytes.len() + 4 - 3) as u8;
    bytes.extend(psi::crc(&bytes).to_be_bytes());
    bytes
}

fn with_pointer(mut section: Vec<u8>) -> Vec<u8> {
    section.insert(0, 0);
    section
}

fn splice_null() -> Vec<u8> {
    vec![0xfc, 0x30, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xf0, 0x00, 0x00, 0, 0]
}

fn event() -> Vec<u8> {
    let mut bytes = vec![0x4e, 0xf0, 0, 0, 1, 0xc1, 0, 0, 0, 1, 0xff, 0x01, 0, 0x4e];
    bytes.extend([0, 1, 0xed, 0x98, 0x18, 0, 0, 1, 0, 0, 0x80, 11]);
    bytes.extend([0x4d, 9, b'e', b'n', b'g', 4, b'F', b'i', b'l', b'm', 0]);
    bytes
}

/// Returns a PES packet of `private_stream_1` with a timestamp and this many bytes of stuffing.
fn pes(pts: u64, stuffing: usize, data: &[u8]) -> Vec<u8> {
    let length = 3 + 5 + stuffing + data.len();
    let mut bytes = vec![0, 0, 1, 0xbd, (length >> 8) as u8, length as u8, 0x84, 0x80, 5 + stuffing as u8];
    bytes.push(0x21 | (pts >> 29 & 0x0e) as u8);
    bytes.extend([(pts >> 22) as u8, (pts >> 14) as u8 | 1, (pts >> 7) as u8, (pts << 1) as u8 | 1]);
    bytes.resize(bytes.len() + stuffing, 0xff);
    bytes.extend(data);
    bytes
}

/// Returns one line and two units of stuffing.
fn teletext(pts: u64) -> Vec<u8> {
    let mut data = vec![0x10, 0x02, 44, 0xe7, 0xe4];
    data.extend([0x15; 42]);
    for _ in 0..2 {
        data.extend([0xff, 44]);
        data.extend([0xff; 44]);
    }
    pes(pts, 31, &data)
}

/// Returns an empty page.
fn subtitles(pts: u64) -> Vec<u8> {
    let page = [0x20, 0, 0x0f, 0x10, 0, 1, 0, 2, 10, 0];
    let end = [0x0f, 0x80, 0, 1, 0, 0, 0xff];
    pes(pts, 0, &[&page[..], &end].concat())
}
