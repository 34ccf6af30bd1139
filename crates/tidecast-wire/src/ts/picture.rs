//! Determines whether a picture can be decoded without previous ones, from the first bytes of its
//! access unit: parameter sets and the kind of the first slice (ITU-T H.264 and H.265, section 7.4
//! of each), or a sequence header (ISO/IEC 13818-2 section 6.2.2).
//!
//! [`super::access`] passes it the payload of the video PID's packets until the result is known.

use crate::limits::KEY_SCAN_BYTES_MAX;

/// Codec of a video stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// MPEG-1 and MPEG-2 video.
    Mpeg2,
    /// AVC.
    H264,
    /// HEVC.
    H265,
    /// A codec whose pictures are not parsed: its packets must declare random access points.
    Other,
}

impl Codec {
    /// The codec of a `stream_type` (ISO/IEC 13818-1 table 2-34 and registrations); `None` if it
    /// is not video.
    pub fn of(stream_type: u8) -> Option<Codec> {
        match stream_type {
            0x01 | 0x02 => Some(Codec::Mpeg2),
            0x1b => Some(Codec::H264),
            0x24 => Some(Codec::H265),
            // MPEG-4 part 2, JPEG 2000, VVC, EVC, AVS2, AVS3, AVS, Dirac, VC-1
            0x10 | 0x21 | 0x33 | 0x35 | 0x42 | 0xd2 | 0xd4 | 0xd1 | 0xea => Some(Codec::Other),
            _ => None,
        }
    }
}

/// Bytes of a PES packet's header before its optional fields (ISO/IEC 13818-1 section 2.4.3.6).
const PES_HEADER: usize = 9;
/// Maximum bytes of a NAL unit that are parsed: supplemental information is identified by its
/// first messages, a slice by its first two numbers.
const SEI_BYTES: usize = 64;
const SLICE_BYTES: usize = 4;
/// `payloadType` of a recovery point (H.264 section D.1.8).
const RECOVERY_POINT: usize = 6;

/// An access unit of unknown type.
#[derive(Clone, Debug)]
pub struct Picture {
    codec: Codec,
    /// Remaining bytes of the PES packet's header.
    header: usize,
    /// Remaining bytes to examine.
    left: usize,
    /// The last four bytes.
    window: u32,
    unit: Unit,
    parameters: bool,
    recovery: bool,
    collected: Vec<u8>,
}

/// Position of the next byte in a NAL unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    /// In an irrelevant one.
    Passing,
    /// At its first byte.
    Header,
    /// In supplemental information.
    Sei,
    /// In the slice that decides.
    Slice,
}

impl Picture {
    /// The access unit that starts with this payload, which starts a PES packet. `None` if it
    /// cannot be examined.
    pub fn begin(codec: Codec, payload: &[u8]) -> Option<Picture> {
        if codec == Codec::Other || payload.get(..3) != Some(&[0, 0, 1]) {
            return None;
        }
        let header = PES_HEADER + usize::from(*payload.get(PES_HEADER - 1)?);
        Some(Picture {
            codec,
            header,
            left: KEY_SCAN_BYTES_MAX,
            window: u32::MAX,
            unit: Unit::Passing,
            parameters: false,
            recovery: false,
            collected: Vec::new(),
        })
    }

    /// Examines the next payload, beginning with the one of [`Picture::begin`]. Returns whether
    /// decoding can start with this picture, once that is known.
    pub fn look(&mut self, payload: &[u8]) -> Option<bool> {
        let skipped = self.header.min(payload.len());
        self.header -= skipped;
        for byte in &payload[skipped..] {
            if self.left == 0 {
                return Some(false);
            }
            self.left -= 1;
            if let Some(key) = self.step(*byte) {
                return Some(key);
            }
        }
        None
    }

    fn step(&mut self, byte: u8) -> Option<bool> {
        self.window = self.window << 8 | u32::from(byte);
        let known = match self.unit {
            Unit::Header => self.enter(byte),
            Unit::Sei if self.collected.len() < SEI_BYTES => {
                self.collect(byte);
                None
            }
            Unit::Slice => {
                self.collected.push(byte);
                self.tell_slice()
            }
            Unit::Sei | Unit::Passing => None,
        };
        if self.window & 0xff_ffff == 1 && self.unit != Unit::Slice {
            if self.unit == Unit::Sei {
                self.recovery |= has_recovery_point(&self.collected);
            }
            self.unit = Unit::Header;
        }
        known
    }

    /// Whether decoding can start with this slice, once enough bytes are there.
    fn tell_slice(&mut self) -> Option<bool> {
        if self.collected.len() < SLICE_BYTES {
            return None;
        }
        self.unit = Unit::Passing;
        Some(is_intra(&self.collected))
    }

    /// Collects bytes without emulation prevention bytes (H.264 section 7.4.1.1).
    fn collect(&mut self, byte: u8) {
        if self.window & 0xff_ffff != 3 {
            self.collected.push(byte);
        }
    }

    /// The first byte of a NAL unit, or after another start code.
    fn enter(&mut self, byte: u8) -> Option<bool> {
        self.unit = Unit::Passing;
        match self.codec {
            Codec::H264 => self.enter_h264(byte & 0x1f),
            Codec::H265 => match byte >> 1 & 0x3f {
                33 => {
                    self.parameters = true;
                    None
                }
                16..=23 => Some(self.parameters),
                0..=15 => Some(false),
                _ => None,
            },
            Codec::Mpeg2 => match byte {
                0xb3 => Some(true),
                0x00 => Some(false),
                _ => None,
            },
            Codec::Other => Some(false),
        }
    }

    fn enter_h264(&mut self, kind: u8) -> Option<bool> {
        match kind {
            7 => self.parameters = true,
            6 => (self.unit, self.collected) = (Unit::Sei, Vec::with_capacity(SEI_BYTES)),
            5 => return Some(self.parameters),
            1 if self.parameters && self.recovery => return Some(true),
            1 if self.parameters => {
                (self.unit, self.collected) = (Unit::Slice, Vec::with_capacity(SLICE_BYTES));
            }
            1..=4 => return Some(false),
            _ => {}
        }
        None
    }
}

/// Whether supplemental information (H.264 section 7.3.2.3.1) contains a recovery point.
fn has_recovery_point(mut bytes: &[u8]) -> bool {
    while let Some((kind, rest)) = extended(bytes) {
        let Some((size, rest)) = extended(rest) else { return false };
        if kind == RECOVERY_POINT {
            // the trailing bits look like a message without a size
            return size > 0;
        }
        bytes = rest.get(size..).unwrap_or_default();
    }
    false
}

/// A number in supplemental information: 255 for each byte 0xff, and the byte that follows.
fn extended(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let ones = bytes.iter().take_while(|byte| **byte == 0xff).count();
    let last = bytes.get(ones)?;
    Some((ones * 255 + usize::from(*last), &bytes[ones + 1..]))
}

/// Whether a slice with this start (H.264 section 7.3.3) refers to no other picture: `slice_type`
/// 2 or 7.
fn is_intra(bytes: &[u8]) -> bool {
    let mut bits = Bits { bytes, at: 0 };
    let (_first, kind) = (bits.exp_golomb(), bits.exp_golomb());
    matches!(kind, Some(2 | 7))
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn next(&mut self) -> Option<u32> {
        let byte = self.bytes.get(self.at / 8)?;
        let bit = byte >> (7 - self.at % 8) & 1;
        self.at += 1;
        Some(bit.into())
    }

    /// H.264 section 9.1.
    fn exp_golomb(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while self.next()? == 0 {
            zeros += 1;
        }
        let mut value = 1;
        for _ in 0..zeros {
            value = value << 1 | self.next()?;
        }
        Some(value - 1)
    }
}

/// Access units for tests.
#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};
    use tidecast_testkit::ts::{self, AUD, IDR, P_SLICE, PES, PPS, SEI_USER, SPS};

    /// `slice_type` 7 (I).
    const I_SLICE: &[u8] = &[0, 0, 1, 0x41, 0b1000_1000, 2, 3, 4];
    /// A buffering period whose content has an emulation prevention byte, then a recovery point.
    const SEI_RECOVERY: &[u8] = &[0, 0, 1, 6, 0, 3, 0, 0, 3, 1, 6, 1, 0xc4, 0x80];

    fn picture(codec: Codec, key: bool) -> Vec<u8> {
        let kind = match codec {
            Codec::H264 => ts::H264,
            Codec::H265 => ts::H265,
            Codec::Mpeg2 | Codec::Other => ts::MPEG2,
        };
        ts::picture(kind, key)
    }

    fn key(codec: Codec, parts: &[&[u8]], step: usize) -> Option<bool> {
        let bytes = [PES, &parts.concat()].concat();
        let mut picture = Picture::begin(codec, &bytes)?;
        bytes.chunks(step).find_map(|part| picture.look(part))
    }

    #[test]
    fn pictures_of_each_codec_are_told_apart_however_they_are_cut() {
        for codec in [Codec::Mpeg2, Codec::H264, Codec::H265] {
            for expected in [true, false] {
                let bytes = picture(codec, expected);
                for step in 1..bytes.len() {
                    let mut begun = Picture::begin(codec, &bytes).unwrap();
                    let found = bytes.chunks(step).find_map(|part| begun.look(part));
                    assert_eq!(found, Some(expected), "{codec:?} in steps of {step}");
                }
            }
        }
    }

    #[test]
    fn h264_begins_at_idr_recovery_point_or_intra_with_its_parameters() {
        for step in [1, 5, 184] {
            let of = |parts: &[&[u8]]| key(Codec::H264, parts, step);
            assert_eq!(of(&[AUD, IDR]), Some(false), "nothing decodes it without its parameters");
            assert_eq!(of(&[AUD, SPS, PPS, SEI_RECOVERY, P_SLICE]), Some(true));
            assert_eq!(of(&[AUD, SEI_RECOVERY, P_SLICE]), Some(false));
            assert_eq!(of(&[AUD, SPS, PPS, SEI_USER, P_SLICE]), Some(false));
            assert_eq!(of(&[AUD, SPS, PPS, I_SLICE]), Some(true));
            assert_eq!(of(&[AUD, SPS, PPS]), None);
        }
    }

    #[test]
    fn what_is_no_picture_is_not_looked_at() {
        assert!(Picture::begin(Codec::H264, &[0, 0, 2, 0xe0, 0, 0, 0, 0, 0, 0]).is_none());
        assert!(Picture::begin(Codec::H264, PES[..8].as_ref()).is_none());
        assert!(Picture::begin(Codec::Other, PES).is_none());
        assert_eq!((Codec::of(0x1b), Codec::of(0x0f)), (Some(Codec::H264), None));
        let long = vec![0xff; KEY_SCAN_BYTES_MAX + 1];
        assert_eq!(key(Codec::H264, &[&long], 184), Some(false));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic_and_are_told_in_the_end(
            parts in vec(prop_oneof![vec(any::<u8>(), 0..200), vec(0u8..2, 0..20), Just(SEI_RECOVERY.to_vec())], 0..40),
            codec in prop_oneof![Just(Codec::H264), Just(Codec::H265), Just(Codec::Mpeg2)],
        ) {
            let mut picture = Picture::begin(codec, PES).unwrap();
            for part in parts {
                picture.look(&part);
                prop_assert!(picture.collected.len() <= SEI_BYTES);
            }
            let rest = vec![0xff; KEY_SCAN_BYTES_MAX + PES.len() + 1];
            prop_assert!((0..2).any(|_| picture.look(&rest).is_some()));
        }
    }
}
