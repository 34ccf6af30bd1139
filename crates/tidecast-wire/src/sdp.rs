//! Session descriptions (SDP, RFC 8866) of RTP streams: parses the parts that stay valid after a
//! relay, and emits lines.
//!
//! Pure. A relay changes the addresses of packets, but not their contents: encodings, their
//! parameters, packet times and clocks are kept, while addresses, ports and roles are not.
//! `config` reads one per channel; `serve::sdp` writes the description of each output from it.

use std::{collections::HashSet, fmt, net::IpAddr};

use super::rtp::payload_types::{
    Encoding, MediaKind, PayloadTypes, Rtpmap, RtpmapError, assigned, parse_payload_type,
};
use crate::limits::{SDP_BYTES_MAX, SDP_MEDIA_MAX};

/// Attributes about addresses or session setup: those of the relay's outputs differ.
const NOT_KEPT: [&str; 31] = [
    "candidate",
    "charset",
    "control",
    "crypto",
    "end-of-candidates",
    "extmap-allow-mixed",
    "fingerprint",
    "group",
    "ice-lite",
    "ice-mismatch",
    "ice-options",
    "ice-pwd",
    "ice-ufrag",
    "inactive",
    "key-mgmt",
    "mid",
    "msid",
    "msid-semantic",
    "range",
    "recvonly",
    "remote-candidates",
    "rtcp",
    "rtcp-fb",
    "rtcp-mux-only",
    "rtcp-rsize",
    "sendonly",
    "sendrecv",
    "setup",
    "source-filter",
    "tool",
    "type",
];

/// Error in a description.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SdpError {
    /// Longer than [`SDP_BYTES_MAX`].
    #[error("{actual} bytes, expected at most {SDP_BYTES_MAX}")]
    TooLong {
        /// Bytes of the text.
        actual: usize,
    },
    /// An unusable line.
    #[error("line {line}: {what}")]
    Line {
        /// Line number, from 1.
        line: usize,
        /// What is wrong, and what was expected.
        what: String,
    },
    /// It describes no RTP.
    #[error("no line m=... RTP/AVP, expected one for each stream, such as m=audio 5004 RTP/AVP 98")]
    NoMedia,
    /// More than `SDP_MEDIA_MAX`.
    #[error("{actual} lines m=, expected at most {SDP_MEDIA_MAX}")]
    TooManyMedia {
        /// Count of lines.
        actual: usize,
    },
    /// A dynamic payload type without an `rtpmap`.
    #[error(
        "line {line}: payload type {payload_type} is dynamic, expected a line a=rtpmap:{payload_type} NAME/CLOCK_RATE \
         below it"
    )]
    Unexplained {
        /// Number of the `m=` line, from 1.
        line: usize,
        /// The payload type.
        payload_type: u8,
    },
}

/// A description of RTP streams.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Session {
    /// Session-level lines that are kept, such as `a=ts-refclk:ptp=IEEE1588-2008:...`.
    pub lines: Vec<String>,
    /// The streams, in order.
    pub media: Vec<Media>,
}

/// One RTP stream of a description: an `m=` line and what is below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media {
    /// First word of the line, such as `audio`.
    pub kind: String,
    /// Described destination address, if it is numeric.
    pub address: Option<IpAddr>,
    /// Port; 0 if a player must request the stream.
    pub port: u16,
    /// Such as `RTP/AVP`.
    pub protocol: String,
    /// The payload types, in the order of preference.
    pub payload_types: Vec<u8>,
    /// Encodings of the dynamic payload types.
    pub rtpmaps: Vec<Rtpmap>,
    /// Lines that are kept, including `a=rtpmap` and `a=fmtp`.
    pub lines: Vec<String>,
}

impl Media {
    /// Streams for payload types of which only the encodings are known: one for each kind of
    /// media. The order is kept.
    pub fn of(maps: &[Rtpmap]) -> Vec<Media> {
        let mut all: Vec<Media> = Vec::new();
        for map in maps {
            let kind = map.encoding.kind();
            let kind = kind.to_string();
            let place = all.iter().position(|media| media.kind == kind).unwrap_or_else(|| {
                all.push(Media { kind, ..Media::default() });
                all.len() - 1
            });
            all[place].payload_types.push(map.payload_type);
            all[place].lines.push(format!("a=rtpmap:{map}"));
            all[place].rtpmaps.push(map.clone());
        }
        all
    }

    /// Encodings of its payload types.
    pub fn encodings(&self) -> impl Iterator<Item = Encoding> + '_ {
        let types: PayloadTypes = self.rtpmaps.iter().cloned().collect();
        self.payload_types.iter().filter_map(move |payload_type| types.get(*payload_type))
    }

    /// Whether RTCP comes on the port of the media (RFC 5761).
    pub fn is_muxed(&self) -> bool {
        self.lines.iter().any(|line| line == "a=rtcp-mux")
    }
}

impl Default for Media {
    fn default() -> Media {
        Media {
            kind: MediaKind::Video.to_string(),
            address: None,
            port: 0,
            protocol: "RTP/AVP".to_owned(),
            payload_types: Vec::new(),
            rtpmaps: Vec::new(),
            lines: Vec::new(),
        }
    }
}

/// The lines of one stream, with the port to describe.
#[derive(Debug, Clone, Copy)]
pub struct MediaLines<'a> {
    /// The stream.
    pub media: &'a Media,
    /// The port.
    pub port: u16,
    /// Value of its own `c=` line, if it needs one.
    pub connection: Option<&'a str>,
}

impl fmt::Display for MediaLines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Media { kind, protocol, payload_types, lines, .. } = self.media;
        write!(f, "m={kind} {} {protocol}", self.port)?;
        payload_types.iter().try_for_each(|payload_type| write!(f, " {payload_type}"))?;
        f.write_str("\r\n")?;
        // The order of the lines is prescribed: c=, b=, a= (RFC 8866 section 5).
        if let Some(connection) = self.connection {
            write!(f, "c={connection}\r\n")?;
        }
        lines.iter().try_for_each(|line| write!(f, "{line}\r\n"))
    }
}

impl Session {
    /// Parses a description.
    ///
    /// # Errors
    /// Text that is not a description, an invalid `m=` line or `rtpmap`, a dynamic payload type
    /// without an `rtpmap`, or no RTP at all.
    pub fn parse(text: &str) -> Result<Session, SdpError> {
        if text.len() > SDP_BYTES_MAX {
            return Err(SdpError::TooLong { actual: text.len() });
        }
        let mut reader = Reader::default();
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (index, line) in text.lines().enumerate() {
            let line = line.trim_end();
            if !line.is_empty() {
                let number = index + 1;
                reader.line(number, line).map_err(|what| SdpError::Line { line: number, what })?;
            }
        }
        reader.finish()
    }

    /// Encodings of the payload types of all streams.
    pub fn payload_types(&self) -> PayloadTypes {
        self.media.iter().flat_map(|media| media.rtpmaps.iter().cloned()).collect()
    }
}

#[derive(Default)]
struct Reader {
    begun: bool,
    address: Option<IpAddr>,
    session: Session,
    /// Line numbers of the `m=` lines with RTP, from 1.
    places: Vec<usize>,
    /// The current `m=` line is not RTP.
    skipped: bool,
    count: usize,
}

impl Reader {
    fn line(&mut self, number: usize, line: &str) -> Result<(), String> {
        let Some((kind, value)) = line.split_once('=').filter(|(kind, _)| kind.len() == 1) else {
            return Err(format!(
                "{:?} is no line of a description, expected a letter, = and a value",
                short(line)
            ));
        };
        if !std::mem::replace(&mut self.begun, true) {
            return match (kind, value) {
                ("v", "0") => Ok(()),
                _ => Err(format!("{:?} at the beginning, expected v=0", short(line))),
            };
        }
        match kind {
            "m" => self.media(number, value),
            _ if self.skipped => Ok(()),
            "c" => self.connection(value),
            "a" => self.attribute(line, value),
            "b" => {
                self.keep(line);
                Ok(())
            }
            // name and times of a session: those of the relay differ
            "v" | "o" | "s" | "i" | "u" | "e" | "p" | "t" | "r" | "z" | "k" => Ok(()),
            _ => Err(format!("{kind}= is unknown, expected one of v o s i u e p c b t r z k a m")),
        }
    }

    fn media(&mut self, number: usize, value: &str) -> Result<(), String> {
        const EXPECTED: &str = "expected m=MEDIA PORT RTP/AVP PAYLOAD_TYPES, such as m=audio 5004 RTP/AVP 98";
        self.count += 1;
        let mut words = value.split_whitespace();
        let (Some(kind), Some(port), Some(protocol)) = (words.next(), words.next(), words.next()) else {
            return Err(format!("m={} is cut short, {EXPECTED}", short(value)));
        };
        self.skipped = !is_rtp(protocol);
        if self.skipped {
            return Ok(());
        }
        let first = port.split('/').next().unwrap_or_default(); // after a slash: the count of ports
        let digits = first.bytes().all(|byte| byte.is_ascii_digit());
        let port =
            first.parse().ok().filter(|_| digits).ok_or_else(|| format!("port {port:?}, {EXPECTED}"))?;
        let mut payload_types = Vec::new();
        for word in words {
            let payload_type = parse_payload_type(word);
            let expected = "expected payload types from 0 to 127";
            payload_types.push(payload_type.ok_or_else(|| format!("payload type {word:?}, {expected}"))?);
        }
        if payload_types.is_empty() {
            return Err(format!("no payload type, {EXPECTED}"));
        }
        let unique: HashSet<_> = payload_types.iter().collect();
        if unique.len() < payload_types.len() {
            return Err("a payload type stands there twice, expected each once".to_owned());
        }
        let (kind, protocol, address) = (kind.to_owned(), protocol.to_owned(), self.address);
        let media = Media { kind, address, port, protocol, payload_types, ..Media::default() };
        self.session.media.push(media);
        self.places.push(number);
        Ok(())
    }

    /// Parses `IN IP4 239.1.1.1/32`; host names are not resolved.
    fn connection(&mut self, value: &str) -> Result<(), String> {
        let address = value.split_whitespace().nth(2).ok_or_else(|| {
            format!("c={} is cut short, expected c=IN IP4 ADDRESS or c=IN IP6 ADDRESS", short(value))
        })?;
        let address = address.split('/').next().and_then(|address| address.parse().ok());
        *self.session.media.last_mut().map_or(&mut self.address, |media| &mut media.address) = address;
        Ok(())
    }

    fn attribute(&mut self, line: &str, value: &str) -> Result<(), String> {
        let name = value.split(':').next().unwrap_or_default();
        if NOT_KEPT.contains(&name) {
            return Ok(());
        }
        if name == "rtpmap"
            && let Some(media) = self.session.media.last_mut()
        {
            let map: Rtpmap = value.parse().map_err(|error: RtpmapError| error.to_string())?;
            if let Some(other) = media.rtpmaps.iter().find(|other| other.payload_type == map.payload_type) {
                let (payload_type, encoding) = (other.payload_type, &other.encoding);
                return Err(format!(
                    "payload type {payload_type} is {encoding} already, expected one a=rtpmap for each"
                ));
            }
            media.rtpmaps.push(map);
        }
        self.keep(line);
        Ok(())
    }

    fn keep(&mut self, line: &str) {
        let Session { lines, media } = &mut self.session;
        media.last_mut().map_or(lines, |media| &mut media.lines).push(line.to_owned());
    }

    fn finish(mut self) -> Result<Session, SdpError> {
        if self.count > SDP_MEDIA_MAX {
            return Err(SdpError::TooManyMedia { actual: self.count });
        }
        if self.session.media.is_empty() {
            return Err(SdpError::NoMedia);
        }
        for (media, line) in self.session.media.iter_mut().zip(self.places) {
            media.lines.sort_by_key(|line| !line.starts_with("b="));
            let explained = |payload_type: &u8| {
                media.rtpmaps.iter().any(|map| map.payload_type == *payload_type)
                    || assigned(*payload_type).is_some()
            };
            if let Some(payload_type) = media.payload_types.iter().find(|it| !explained(it)) {
                return Err(SdpError::Unexplained { line, payload_type: *payload_type });
            }
        }
        self.session.lines.sort_by_key(|line| !line.starts_with("b="));
        Ok(self.session)
    }
}

/// Whether it is a profile of RTP over UDP.
fn is_rtp(protocol: &str) -> bool {
    matches!(protocol, "RTP/AVP" | "RTP/AVPF" | "RTP/SAVP" | "RTP/SAVPF")
}

/// The start of a text.
fn short(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The announcement of an AES67 device.
    const AES67: &str = "v=0\r\no=- 1311738121 1311738121 IN IP4 192.168.1.1\r\ns=Stage left I/O\r\n\
        c=IN IP4 239.0.0.1/32\r\nt=0 0\r\na=clock-domain:PTPv2 0\r\na=ts-refclk:ptp=IEEE1588-2008:39-A7-94-FF-FE-07-CB-D0:37\r\n\
        a=mediaclk:direct=963214424\r\nm=audio 5004 RTP/AVP 96\r\ni=Channels 1-8\r\na=rtpmap:96 L24/48000/8\r\n\
        a=sendonly\r\na=source-filter: incl IN IP4 239.0.0.1 192.168.1.1\r\na=ptime:0.250\r\nb=AS:9500\r\n";
    const CAMERA: &str = "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=camera\nt=0 0\na=tool:libavformat\na=control:*\n\
        m=video 5000 RTP/AVP 96\nc=IN IP4 127.0.0.1\nb=AS:500\na=rtpmap:96 H264/90000\n\
        a=fmtp:96 packetization-mode=1; profile-level-id=42C01E\na=control:streamid=0\na=rtcp-mux\n\
        m=audio 5002/1 RTP/AVP 97 13 101\na=rtpmap:97 opus/48000/2\na=rtpmap:101 telephone-event/8000\n\
        m=application 9 UDP/DTLS/SCTP webrtc-datachannel\na=sctp-port:5000\nx-unknown\n";

    fn lines(media: &Media) -> String {
        MediaLines { media, port: 7000, connection: None }.to_string()
    }

    #[test]
    fn clocks_and_packet_times_stay_and_addresses_do_not() {
        let session = Session::parse(AES67).unwrap();
        let expected = [
            "a=clock-domain:PTPv2 0",
            "a=ts-refclk:ptp=IEEE1588-2008:39-A7-94-FF-FE-07-CB-D0:37",
            "a=mediaclk:direct=963214424",
        ];
        assert_eq!(session.lines, expected);
        let media = &session.media[0];
        assert_eq!((media.port, media.address), (5004, Some("239.0.0.1".parse().unwrap())));
        let expected = "m=audio 7000 RTP/AVP 96\r\nb=AS:9500\r\na=rtpmap:96 L24/48000/8\r\na=ptime:0.250\r\n";
        assert_eq!(lines(media), expected);
        assert_eq!(session.payload_types().clock_rate(96), Some(48_000));
        let own = MediaLines { media, port: 7000, connection: Some("IN IP4 239.2.2.2/4") }.to_string();
        assert!(own.starts_with("m=audio 7000 RTP/AVP 96\r\nc=IN IP4 239.2.2.2/4\r\nb=AS:9500\r\n"), "{own}");
    }

    #[test]
    fn the_bandwidth_comes_before_the_attributes() {
        let text = CAMERA.replace("a=tool:libavformat\n", "a=clock-domain:PTPv2 0\nb=AS:600\n");
        let session = Session::parse(&text.replace("x-unknown\n", "")).unwrap();
        assert_eq!(session.lines, ["b=AS:600", "a=clock-domain:PTPv2 0"]);
    }

    #[test]
    fn streams_of_a_camera() {
        let mut text = CAMERA.replace("x-unknown\n", "");
        let session = Session::parse(&text).unwrap();
        assert_eq!((session.media.len(), session.lines.len()), (2, 0));
        let (video, audio) = (&session.media[0], &session.media[1]);
        assert_eq!((video.is_muxed(), audio.is_muxed()), (true, false));
        assert_eq!((video.port, audio.port, video.address), (5000, 5002, Some("127.0.0.1".parse().unwrap())));
        assert!(lines(video).contains("a=fmtp:96 packetization-mode=1; profile-level-id=42C01E\r\n"));
        let encodings: Vec<String> = audio.encodings().map(|encoding| encoding.to_string()).collect();
        assert_eq!(encodings, ["opus/48000/2", "CN/8000", "telephone-event/8000"]);
        // with a byte order mark, and other line ends
        text = format!("\u{feff}{}", text.replace('\n', "\r\n"));
        assert_eq!(Session::parse(&text).unwrap(), session);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let with = |media: &str| format!("v=0\no=- 0 0 IN IP4 127.0.0.1\ns=-\nt=0 0\n{media}\n");
        for (text, expected) in [
            (String::new(), "no line m=... RTP/AVP, expected one for each stream"),
            ("hello".into(), "line 1: \"hello\" is no line of a description"),
            ("o=x".into(), "line 1: \"o=x\" at the beginning, expected v=0"),
            (with("a=recvonly"), "no line m=... RTP/AVP"),
            (with("m=video 6020 udp 33"), "no line m=... RTP/AVP"),
            (with("m=audio"), "line 5: m=audio is cut short, expected m=MEDIA PORT RTP/AVP PAYLOAD_TYPES"),
            (with("m=audio x RTP/AVP 0"), "line 5: port \"x\""),
            (with("m=audio +5 RTP/AVP 0"), "line 5: port \"+5\""),
            (with("m=audio 70000 RTP/AVP 0"), "line 5: port \"70000\""),
            (with("m=audio 5004 RTP/AVP"), "line 5: no payload type"),
            (
                with("m=audio 5004 RTP/AVP 128"),
                "line 5: payload type \"128\", expected payload types from 0 to 127",
            ),
            (with("m=audio 5004 RTP/AVP 8 8"), "line 5: a payload type stands there twice"),
            (
                with("m=audio 5004 RTP/AVP 98"),
                "line 5: payload type 98 is dynamic, expected a line a=rtpmap:98",
            ),
            (with("m=audio 5004 RTP/AVP 98\na=rtpmap:98 L24/0"), "line 6: \"0\" is no clock rate in hertz"),
            (with("m=audio 5004 RTP/AVP 98\na=rtpmap:98"), "line 6: no encoding behind \"98\""),
            (
                with("m=audio 5004 RTP/AVP 98\na=rtpmap:98 L24/48000\na=rtpmap:98 L16/48000"),
                "line 7: payload type 98 is L24/48000 already",
            ),
            (with("c=IN IP4"), "line 5: c=IN IP4 is cut short"),
            (with("y=1"), "line 5: y= is unknown"),
            (with(&"m=audio 5004 RTP/AVP 0\n".repeat(65)), "65 lines m=, expected at most 64"),
            (with(&"a=x\n".repeat(20_000)), "bytes, expected at most 65536"),
        ] {
            let error = Session::parse(&text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}\nexpected {expected}");
        }
    }

    #[test]
    fn encodings_alone_make_a_stream_for_each_kind() {
        let maps = ["96 H264/90000", "0 PCMU/8000", "13 CN/8000"].map(|text| text.parse().unwrap());
        let all: String = Media::of(&maps).iter().map(lines).collect();
        let expected = "m=video 7000 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n\
            m=audio 7000 RTP/AVP 0 13\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:13 CN/8000\r\n";
        assert_eq!(all, expected);
    }

    proptest::proptest! {
        #[test]
        fn any_text_has_an_answer(text in "[voscmab=/: 0-9a-zA-Z\r\n]{0,300}") {
            let _ = Session::parse(&text);
            let _ = Session::parse(&format!("v=0\nm=audio 1 RTP/AVP 0\n{text}"));
        }
    }
}
