//! Reads and shifts the times in TS packets, for a stream that is repeated and must continue as if
//! it had not restarted.

use super::{PACKET, SYNC, adaptation, pcr, starts_unit};

/// Ticks per second of a PTS and a DTS, and of the base of a PCR.
pub const HZ: u64 = 90_000;
/// Ticks after which all of them wrap to 0, after 26.5 hours.
pub const WRAP: u64 = 1 << 33;

/// The start of a PES packet with timestamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PesStart {
    /// Its decoding time in ticks of [`HZ`]: the DTS, or the PTS if both are the same (ISO/IEC
    /// 13818-1 section 2.4.3.6).
    pub decoding_time: u64,
    /// Its bytes after the length field (`PES_packet_length`); 0 if unspecified, as in most
    /// pictures.
    pub length: u16,
}

/// Returns the PES packet that starts in this packet, if it has timestamps.
pub fn pes_start(packet: &[u8; PACKET]) -> Option<PesStart> {
    let (pts, dts) = places(packet)?;
    let decoding_time = read(packet, dts.unwrap_or(pts))?;
    let length = u16::from_be_bytes([packet[pts - 5], packet[pts - 4]]);
    Some(PesStart { decoding_time, length })
}

/// Shifts all times of a packet by this many ticks of [`HZ`]: PCR, OPCR, PTS and DTS. Scrambled
/// timestamps are unchanged.
pub fn shift(packet: &mut [u8; PACKET], ticks: u64) {
    for at in clock_places(packet).into_iter().flatten() {
        let base =
            u64::from(u32::from_be_bytes([packet[at], packet[at + 1], packet[at + 2], packet[at + 3]])) << 1
                | u64::from(packet[at + 4] >> 7);
        let base = (base + ticks) % WRAP;
        packet[at..at + 4].copy_from_slice(&((base >> 1) as u32).to_be_bytes());
        packet[at + 4] = packet[at + 4] & 0x7f | ((base & 1) as u8) << 7;
    }
    let Some((pts, dts)) = places(packet) else { return };
    for at in [Some(pts), dts].into_iter().flatten() {
        if let Some(time) = read(packet, at) {
            write(packet, at, (time + ticks) % WRAP);
        }
    }
}

/// Returns the positions of PCR and OPCR (section 2.4.3.4).
fn clock_places(packet: &[u8; PACKET]) -> [Option<usize>; 2] {
    const CLOCK: usize = 6;
    let Some((flags, fields)) = adaptation(packet) else { return [None; 2] };
    if packet[0] != SYNC || packet[1] & 0x80 != 0 {
        return [None; 2];
    }
    let first = 6; // after the header, the field's length and its flags
    let has_pcr = pcr(packet).is_some();
    let second = first + if flags & 0x10 != 0 { CLOCK } else { 0 };
    let has_original = flags & 0x08 != 0 && fields.len() >= second - first + CLOCK;
    [has_pcr.then_some(first), has_original.then_some(second)]
}

/// Returns the positions of PTS and DTS.
fn places(packet: &[u8; PACKET]) -> Option<(usize, Option<usize>)> {
    /// Streams whose PES packets have no such header: program stream map, padding, private stream
    /// 2 and others (section 2.4.3.7).
    const BARE: [u8; 8] = [0xbc, 0xbe, 0xbf, 0xf0, 0xf1, 0xf2, 0xf8, 0xff];
    const STAMP: usize = 5;
    let payload = super::payload(packet).filter(|_| starts_unit(packet))?;
    let at = PACKET - payload.len();
    let [0, 0, 1, stream, _, _, marks, flags, header] = *payload.first_chunk::<9>()? else { return None };
    if BARE.contains(&stream) || marks & 0xc0 != 0x80 {
        return None;
    }
    let stamps = match flags >> 6 {
        2 => 1,
        3 => 2,
        _ => return None,
    };
    let fits = usize::from(header) >= stamps * STAMP && payload.len() >= 9 + stamps * STAMP;
    fits.then_some((at + 9, (stamps == 2).then_some(at + 9 + STAMP)))
}

fn read(packet: &[u8; PACKET], at: usize) -> Option<u64> {
    let stamp: [u8; 5] = packet.get(at..at + 5)?.try_into().ok()?;
    let [b0, b1, b2, b3, b4] = stamp.map(u64::from);
    let marked = b0 & b2 & b4 & 1 == 1;
    marked.then_some((b0 >> 1 & 7) << 30 | b1 << 22 | (b2 >> 1) << 15 | b3 << 7 | b4 >> 1)
}

/// Writes a time; its first four bits and the marker bits are unchanged.
fn write(packet: &mut [u8; PACKET], at: usize, time: u64) {
    packet[at] = packet[at] & 0xf1 | ((time >> 30) as u8 & 7) << 1;
    packet[at + 1] = (time >> 22) as u8;
    packet[at + 2] = ((time >> 15) as u8) << 1 | 1;
    packet[at + 3] = (time >> 7) as u8;
    packet[at + 4] = (time as u8) << 1 | 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a packet with both clocks, and a PES header with both timestamps.
    fn packet(pcr: [u8; 6], pts: [u8; 5], dts: [u8; 5]) -> [u8; PACKET] {
        let mut packet = [0xaa; PACKET];
        packet[..6].copy_from_slice(&[SYNC, 0x41, 0, 0x37, 13, 0x18]);
        packet[6..12].copy_from_slice(&pcr);
        packet[12..18].copy_from_slice(&pcr);
        packet[18..27].copy_from_slice(&[0, 0, 1, 0xe0, 1, 2, 0x80, 0xc0, 10]);
        packet[27..32].copy_from_slice(&pts);
        packet[32..37].copy_from_slice(&dts);
        packet
    }

    #[test]
    fn every_time_moves_and_nothing_else() {
        // PCR base 1 with extension 0x105; PTS 3,600 and DTS 0, as ffmpeg writes them
        let before = packet([0, 0, 0, 0, 0xff, 0x05], [0x31, 0, 1, 0x1c, 0x21], [0x11, 0, 1, 0, 1]);
        let mut after = before;
        assert_eq!(pes_start(&before), Some(PesStart { decoding_time: 0, length: 258 }));
        shift(&mut after, WRAP - 1);
        assert_eq!(pcr(&after).unwrap().ticks, 0x105);
        assert_eq!(pes_start(&after).unwrap().decoding_time, WRAP - 1);
        let last = [0x1f, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(after, packet([0, 0, 0, 0, 0x7f, 0x05], [0x31, 0, 1, 0x1c, 0x1f], last));
        shift(&mut after, 1);
        assert_eq!(after, before);
    }

    #[test]
    fn what_has_no_times_stays() {
        let good = packet([0; 6], [0x21, 0, 1, 0, 1], [0x11, 0, 1, 0, 1]);
        let changed = |at: usize, to: u8| {
            let mut packet = good;
            packet[at] = to;
            packet[5] = 0; // no clocks
            packet
        };
        for (at, to) in [
            (0, 0),     // no sync byte
            (1, 0xc1),  // damaged
            (1, 0x01),  // no unit starts here
            (3, 0xb7),  // scrambled
            (3, 0x27),  // no payload
            (20, 2),    // no start code
            (21, 0xbe), // padding
            (24, 0x00), // MPEG-1
            (25, 0x00), // no timestamps
            (26, 9),    // a header too short for both
            (4, 200),   // an adaptation field beyond the packet
            (4, 168),   // a PES header that ends beyond it
        ] {
            let before = changed(at, to);
            let mut after = before;
            shift(&mut after, 7);
            assert_eq!((after, pes_start(&after)), (before, None), "{at}: {to:#x}");
        }
    }
}
