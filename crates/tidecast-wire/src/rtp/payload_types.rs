//! Meaning of RTP payload types: those that RFC 3551 assigns, and those that an `rtpmap` or a
//! session description assigns.
//!
//! Pure. `config` makes a channel's table; the core reads clock rates from it, and `serve::sdp`
//! reads descriptions and content types.

use std::{borrow::Cow, collections::BTreeMap, fmt, str::FromStr};

/// Number of payload types: seven bits (RFC 3550 section 5.1).
pub const PAYLOAD_TYPES: u8 = 128;

/// Purpose of a payload type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Audio, video or data.
    Media,
    /// Comfort noise between speech (RFC 3389).
    ComfortNoise,
    /// Telephone events and tones (RFC 4733).
    Events,
    /// Media with copies of earlier media (RFC 2198).
    Redundancy,
    /// FEC (RFC 5109, RFC 8627, SMPTE ST 2022-5).
    Repair,
    /// Retransmitted media (RFC 4588).
    Retransmission,
}

/// The first word of an `m=` line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the words themselves")]
pub enum MediaKind {
    Audio,
    Video,
    Text,
    Application,
}

/// An encoding, as in `rtpmap`: name, clock rate, channels.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Encoding {
    /// The registered name, as written; compared without case (RFC 8866 section 6.6).
    pub name: Cow<'static, str>,
    /// Ticks of the RTP timestamp, per second; never 0.
    pub clock_rate: u32,
    /// Audio channels; 1 for everything else.
    pub channels: u16,
}

/// Text that is not an `rtpmap`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}, expected PAYLOAD_TYPE NAME/CLOCK_RATE[/CHANNELS], such as 98 L24/48000/2")]
pub struct RtpmapError {
    what: String,
}

/// Assigned by RFC 3551, section 6: type, name, clock rate, channels.
const STATIC: [(u8, &str, u32, u16); 24] = [
    (0, "PCMU", 8_000, 1),
    (3, "GSM", 8_000, 1),
    (4, "G723", 8_000, 1),
    (5, "DVI4", 8_000, 1),
    (6, "DVI4", 16_000, 1),
    (7, "LPC", 8_000, 1),
    (8, "PCMA", 8_000, 1),
    (9, "G722", 8_000, 1),
    (10, "L16", 44_100, 2),
    (11, "L16", 44_100, 1),
    (12, "QCELP", 8_000, 1),
    (13, "CN", 8_000, 1),
    (14, "MPA", 90_000, 1),
    (15, "G728", 8_000, 1),
    (16, "DVI4", 11_025, 1),
    (17, "DVI4", 22_050, 1),
    (18, "G729", 8_000, 1),
    (25, "CelB", 90_000, 1),
    (26, "JPEG", 90_000, 1),
    (28, "nv", 90_000, 1),
    (31, "H261", 90_000, 1),
    (32, "MPV", 90_000, 1),
    (33, "MP2T", 90_000, 1),
    (34, "H263", 90_000, 1),
];

/// The encoding that RFC 3551 assigns to a payload type.
pub fn assigned(payload_type: u8) -> Option<Encoding> {
    let row = STATIC.binary_search_by_key(&payload_type, |row| row.0).ok()?;
    let (_, name, clock_rate, channels) = STATIC[row];
    Some(Encoding { name: name.into(), clock_rate, channels })
}

impl Encoding {
    /// Whether it has this name.
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// Purpose of its packets.
    pub fn purpose(&self) -> Purpose {
        match self.name.to_ascii_lowercase().as_str() {
            "cn" => Purpose::ComfortNoise,
            "telephone-event" | "tone" => Purpose::Events,
            "red" => Purpose::Redundancy,
            "rtx" => Purpose::Retransmission,
            "ulpfec"
            | "flexfec"
            | "flexfec-03"
            | "parityfec"
            | "1d-interleaved-parityfec"
            | "2d-parityfec"
            | "raptorfec"
            | "smpte2022-5-fec" => Purpose::Repair,
            _ => Purpose::Media,
        }
    }

    /// The media type under which it is registered. For unknown names the clock rate decides: 90
    /// kHz is that of video.
    pub fn kind(&self) -> MediaKind {
        match self.name.to_ascii_lowercase().as_str() {
            "mpa" | "mpa-robust" | "mp3" | "telephone-event" | "cn" => MediaKind::Audio,
            "t140" | "t140c" | "3gpp-tt" => MediaKind::Text,
            "vnd.onvif.metadata" | "vnd.onvif.metadata.gzip" | "smpte336m" | "ttml+xml" => {
                MediaKind::Application
            }
            _ if self.clock_rate == 90_000 => MediaKind::Video,
            _ => MediaKind::Audio,
        }
    }
}

impl fmt::Display for MediaKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            MediaKind::Audio => "audio",
            MediaKind::Video => "video",
            MediaKind::Text => "text",
            MediaKind::Application => "application",
        })
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.name, self.clock_rate)?;
        // Some players require the channel count for Opus and linear PCM.
        if self.channels > 1 { write!(f, "/{}", self.channels) } else { Ok(()) }
    }
}

/// A payload type and its encoding, as `rtpmap` writes them: `98 L24/48000/2`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rtpmap {
    /// Below [`PAYLOAD_TYPES`].
    pub payload_type: u8,
    /// Its encoding.
    pub encoding: Encoding,
}

impl fmt::Display for Rtpmap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.payload_type, self.encoding)
    }
}

impl FromStr for Rtpmap {
    type Err = RtpmapError;

    /// The value of an attribute `rtpmap` (RFC 8866 section 6.6), with or without a leading
    /// `a=rtpmap:`.
    fn from_str(text: &str) -> Result<Rtpmap, RtpmapError> {
        let wrong = |what: String| RtpmapError { what };
        let value = text.trim();
        let value = value.strip_prefix("a=").unwrap_or(value);
        let value = value.strip_prefix("rtpmap:").unwrap_or(value);
        let Some((payload_type, encoding)) = value.split_once([' ', '\t']) else {
            return Err(wrong(format!("no encoding behind {value:?}")));
        };
        let payload_type = parse_payload_type(payload_type)
            .ok_or_else(|| wrong(format!("{payload_type:?} is no payload type from 0 to 127")))?;
        Ok(Rtpmap { payload_type, encoding: encoding.trim().parse()? })
    }
}

impl FromStr for Encoding {
    type Err = RtpmapError;

    fn from_str(text: &str) -> Result<Encoding, RtpmapError> {
        let wrong = |what: String| RtpmapError { what };
        let mut parts = text.split('/');
        let name = parts.next().unwrap_or_default();
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(wrong(format!("{name:?} is no name of an encoding")));
        }
        let Some(rate) = parts.next() else {
            return Err(wrong(format!("no clock rate behind {name:?}")));
        };
        let clock_rate = number(rate)
            .filter(|rate| *rate > 0)
            .ok_or_else(|| wrong(format!("{rate:?} is no clock rate in hertz, from 1 to {}", u32::MAX)))?;
        // Video may have an empty channel count.
        let channels = match parts.next().filter(|text| !text.is_empty()) {
            None => 1,
            Some(text) => number(text)
                .and_then(|count| u16::try_from(count).ok())
                .filter(|count| *count > 0)
                .ok_or_else(|| wrong(format!("{text:?} is no count of channels, from 1 to {}", u16::MAX)))?,
        };
        match parts.next() {
            None => Ok(Encoding { name: name.to_owned().into(), clock_rate, channels }),
            Some(more) => Err(wrong(format!("{more:?} behind the channels"))),
        }
    }
}

/// Parses a payload type.
pub fn parse_payload_type(text: &str) -> Option<u8> {
    number(text).and_then(|number| u8::try_from(number).ok()).filter(|number| *number < PAYLOAD_TYPES)
}

/// Digits only: `from_str` would accept a plus sign.
fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Characters of a token (RFC 8866 section 9).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`{|}~".contains(&byte)
}

/// The payload types of a stream: as described; others as RFC 3551 assigns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PayloadTypes {
    described: BTreeMap<u8, Encoding>,
}

impl PayloadTypes {
    /// Whether any payload type is described.
    pub fn is_described(&self) -> bool {
        !self.described.is_empty()
    }

    /// The described payload types.
    pub fn described(&self) -> impl Iterator<Item = Rtpmap> + '_ {
        let row = |(payload_type, encoding): (&u8, &Encoding)| Rtpmap {
            payload_type: *payload_type,
            encoding: encoding.clone(),
        };
        self.described.iter().map(row)
    }

    /// Describes a payload type; returns its previous description.
    pub fn insert(&mut self, map: Rtpmap) -> Option<Encoding> {
        self.described.insert(map.payload_type, map.encoding)
    }

    /// Encoding of a payload type, if it is described or assigned.
    pub fn get(&self, payload_type: u8) -> Option<Encoding> {
        self.described.get(&payload_type).cloned().or_else(|| assigned(payload_type))
    }

    /// Clock rate of a payload type, if it is described or assigned.
    pub fn clock_rate(&self, payload_type: u8) -> Option<u32> {
        let assigned = || STATIC.iter().find(|row| row.0 == payload_type).map(|row| row.2);
        self.described.get(&payload_type).map(|encoding| encoding.clock_rate).or_else(assigned)
    }

    /// Purpose of a payload type; unknown ones count as media.
    pub fn purpose(&self, payload_type: u8) -> Purpose {
        self.get(payload_type).map_or(Purpose::Media, |encoding| encoding.purpose())
    }
}

impl FromIterator<Rtpmap> for PayloadTypes {
    fn from_iter<I: IntoIterator<Item = Rtpmap>>(maps: I) -> PayloadTypes {
        let described = maps.into_iter().map(|map| (map.payload_type, map.encoding)).collect();
        PayloadTypes { described }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_of_rfc_3551() {
        let types = PayloadTypes::default();
        assert_eq!(types.get(0).unwrap().to_string(), "PCMU/8000");
        assert_eq!(types.get(10).unwrap().to_string(), "L16/44100/2");
        assert_eq!(types.get(33).unwrap().to_string(), "MP2T/90000");
        assert_eq!(
            [0, 6, 9, 16, 14, 33, 96, 127].map(|t| types.clock_rate(t)),
            [Some(8_000), Some(16_000), Some(8_000), Some(11_025), Some(90_000), Some(90_000), None, None]
        );
        assert_eq!((types.purpose(13), types.purpose(0)), (Purpose::ComfortNoise, Purpose::Media));
        assert!(STATIC.is_sorted_by_key(|row| row.0));
        assert_eq!(types.get(14).unwrap().kind(), MediaKind::Audio);
        assert_eq!(types.get(26).unwrap().kind(), MediaKind::Video);
        assert!(!types.is_described());
    }

    /// RFC 3551, tables 4 and 5.
    #[test]
    fn clock_rates_of_rfc_3551() {
        let types = PayloadTypes::default();
        let of = |rate: u32| (0..PAYLOAD_TYPES).filter(|t| types.clock_rate(*t) == Some(rate)).collect();
        let [telephone, wide, cd, low, half, video]: [Vec<u8>; 6] =
            [8_000, 16_000, 44_100, 11_025, 22_050, 90_000].map(of);
        assert_eq!(telephone, [0, 3, 4, 5, 7, 8, 9, 12, 13, 15, 18]);
        assert_eq!((wide, cd, low, half), (vec![6], vec![10, 11], vec![16], vec![17]));
        assert_eq!(video, [14, 25, 26, 28, 31, 32, 33, 34]);
        assert_eq!((0..PAYLOAD_TYPES).filter(|t| types.clock_rate(*t).is_some()).count(), 24);
    }

    #[test]
    fn what_is_said_goes_before_what_is_assigned() {
        let maps = ["98 L24/48000/2", "a=rtpmap:0 x-mine/16000", "rtpmap:101 telephone-event/8000"];
        let types: PayloadTypes = maps.iter().map(|text| text.parse::<Rtpmap>().unwrap()).collect();
        assert_eq!([98, 0, 8].map(|t| types.clock_rate(t)), [Some(48_000), Some(16_000), Some(8_000)]);
        assert_eq!(types.get(98).unwrap().channels, 2);
        assert_eq!((types.purpose(101), types.purpose(77)), (Purpose::Events, Purpose::Media));
        let written: Vec<String> = types.described().map(|map| map.to_string()).collect();
        assert_eq!(written, ["0 x-mine/16000", "98 L24/48000/2", "101 telephone-event/8000"]);
    }

    #[test]
    fn purposes_by_name_in_any_case() {
        for (text, purpose) in [
            ("RED/48000/2", Purpose::Redundancy),
            ("ulpfec/90000", Purpose::Repair),
            ("flexfec-03/90000", Purpose::Repair),
            ("rtx/90000", Purpose::Retransmission),
            ("cn/16000", Purpose::ComfortNoise),
            ("opus/48000/2", Purpose::Media),
            ("H264/90000", Purpose::Media),
        ] {
            assert_eq!(text.parse::<Encoding>().unwrap().purpose(), purpose, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, expected) in [
            ("", "no encoding behind \"\""),
            ("98", "no encoding behind \"98\""),
            ("128 L24/48000", "\"128\" is no payload type from 0 to 127"),
            ("-1 L24/48000", "\"-1\" is no payload type"),
            ("+8 L24/48000", "\"+8\" is no payload type"),
            ("x L24/48000", "\"x\" is no payload type"),
            ("98 L24", "no clock rate behind \"L24\""),
            ("98 L24/0", "\"0\" is no clock rate in hertz"),
            ("98 L24/48k", "\"48k\" is no clock rate"),
            ("98 L24/4294967296", "is no clock rate"),
            ("98 L24/48000/0", "\"0\" is no count of channels"),
            ("98 L24/48000/65536", "is no count of channels"),
            ("98 L24/48000/2/3", "\"3\" behind the channels"),
            ("98 /48000", "\"\" is no name"),
            ("98 L 24/48000", "\"L 24\" is no name"),
        ] {
            let error = text.parse::<Rtpmap>().unwrap_err().to_string();
            assert!(error.starts_with(expected) || error.contains(expected), "{text:?}: {error}");
            assert!(error.ends_with("such as 98 L24/48000/2"), "{error}");
        }
    }
}
