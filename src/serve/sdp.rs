//! Session descriptions (SDP, RFC 8866) of what a channel sends or receives, for players. Produces
//! text only: [`crate::serve::http`] serves it, and [`super::sap`] announces it.
//!
//! A description comes from the configuration (`sdp`, `rtpmap`), from a static payload type (RFC
//! 3551) or from a transport stream that was seen. Anything else has no description, because a
//! wrong one plays noise.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use crate::{
    channel::carries::{Carries, types},
    config::Channel,
    limits::SDP_TTL,
    registry::{Registry, format_on_demand},
};
use tidecast_net::{
    address::{Input, Output, OutputRtcp, Scheme, is_class_d},
    interface::address_towards,
};
use tidecast_wire::{
    Format,
    rtp::{
        PAYLOAD_TYPE_TS,
        payload_types::{Encoding, Rtpmap, assigned},
    },
    sdp::{Media, MediaLines},
};

/// Content of datagrams, in terms of a description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// TS packets without RTP.
    Ts,
    /// RTP.
    Rtp {
        /// Session-level lines.
        lines: Vec<String>,
        /// The streams.
        media: Vec<Media>,
    },
}

/// Why a description is not possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    /// No packet has come so far.
    #[error("nothing has come so far, and sdp or rtpmap in the channel does not say what will")]
    Silent,
    /// A dynamic payload type.
    #[error(
        "its RTP has payload type {0}, which only a description explains: expected sdp = \"FILE\" or \
         rtpmap = \"{0} NAME/CLOCK_RATE\" in the channel"
    )]
    PayloadType(u8),
    /// Neither RTP nor a transport stream.
    #[error("it carries no RTP and no MPEG transport stream")]
    Other,
}

/// Contents of a channel, as far as described or seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// The datagrams that are sent on unchanged.
    datagrams: Result<Content, Unknown>,
    /// Whether their payload is a transport stream.
    is_ts: bool,
}

impl Contents {
    /// Contents of a channel in which `seen` was seen.
    pub fn of(channel: &Channel, seen: &Carries) -> Contents {
        if let Some(described) = &channel.described {
            let (lines, media) = (described.lines.clone(), described.media.clone());
            let is_ts = media.iter().flat_map(Media::encodings).any(|encoding| encoding.is("MP2T"));
            return Contents { datagrams: Ok(Content::Rtp { lines, media }), is_ts };
        }
        Contents::of_format(&channel.format, seen)
    }

    /// Contents of packets of this format, of which `seen` was seen.
    pub fn of_format(format: &Format, seen: &Carries) -> Contents {
        let is_ts = seen.is_ts() || *format == Format::Ts;
        Contents { datagrams: Contents::seen(format, seen), is_ts }
    }

    /// Contents of a configured, running channel, as far as described or seen.
    pub async fn of_running(registry: &Registry, channel: &Channel) -> Contents {
        Contents::of(channel, &registry.carries(&channel.name).await.unwrap_or_default())
    }

    /// Contents of a group on demand, as far as seen; `None` while it is not joined.
    pub async fn of_group(registry: &Registry, group: &Input) -> Option<Contents> {
        let name = registry.name_on_demand(group)?;
        let seen = registry.carries(&name).await.unwrap_or_default();
        Some(Contents::of_format(&format_on_demand(group.scheme), &seen))
    }

    fn seen(format: &Format, seen: &Carries) -> Result<Content, Unknown> {
        if seen.stream_types != 0 {
            return Ok(transport_stream(types(seen.stream_types)));
        }
        if seen.plain_ts || *format == Format::Ts {
            return Ok(Content::Ts);
        }
        if seen.is_nothing() {
            return Err(Unknown::Silent);
        }
        let maps: Result<Vec<Rtpmap>, u8> = types(seen.other_types)
            .map(|payload_type| {
                let encoding = assigned(payload_type).filter(|_| payload_type != PAYLOAD_TYPE_TS);
                encoding.map(|encoding| Rtpmap { payload_type, encoding }).ok_or(payload_type)
            })
            .collect();
        let maps = maps.map_err(Unknown::PayloadType)?;
        if maps.is_empty() { Err(Unknown::Other) } else { Ok(rtp(&maps)) }
    }

    /// Whether players get a transport stream.
    pub fn is_ts(&self) -> bool {
        self.is_ts
    }

    /// Why unchanged datagrams cannot be described, if so.
    pub fn unknown(&self) -> Option<Unknown> {
        self.datagrams.as_ref().err().copied()
    }

    /// Content of an output.
    fn of_output(&self, output: &Output) -> Result<Content, Unknown> {
        match (output.scheme, &self.datagrams) {
            (Scheme::Rist, _) => Err(Unknown::Other),
            (_, Err(Unknown::Silent)) => Err(Unknown::Silent),
            (Scheme::Udp, _) if output.payload && self.is_ts => Ok(Content::Ts),
            (Scheme::Udp, _) if output.payload => Err(Unknown::Other),
            (Scheme::Udp, datagrams) => datagrams.clone(),
            (Scheme::Rtp, Ok(content @ Content::Rtp { .. })) => Ok(content.clone()),
            (Scheme::Rtp, _) if self.is_ts => Ok(transport_stream([PAYLOAD_TYPE_TS])),
            (Scheme::Rtp, Err(unknown)) => Err(*unknown),
            (Scheme::Rtp, Ok(_)) => Err(Unknown::Other),
        }
    }

    /// Content type of the concatenated payloads (RFC 4856, RFC 2586, RFC 3190); `None` if
    /// unknown. Payloads that form no stream without their packets, such as those of H.264, are
    /// bytes.
    pub fn media_type(&self) -> Option<String> {
        const BYTES: &str = "application/octet-stream";
        if self.is_ts {
            return Some("video/mp2t".to_owned());
        }
        match &self.datagrams {
            Ok(Content::Rtp { media, .. }) => {
                let encoding = media.iter().flat_map(Media::encodings).next();
                Some(encoding.and_then(|encoding| stream_of(&encoding)).unwrap_or_else(|| BYTES.to_owned()))
            }
            Ok(Content::Ts) => Some("video/mp2t".to_owned()),
            Err(Unknown::Silent) => None,
            Err(_) => Some(BYTES.to_owned()),
        }
    }
}

/// Content type of payloads that form a stream by themselves.
fn stream_of(encoding: &Encoding) -> Option<String> {
    let Encoding { name, clock_rate, channels } = encoding;
    let sampled = ["L8", "L16", "L20", "L24", "PCMU", "PCMA"].into_iter().find(|name| encoding.is(name));
    match sampled {
        Some("PCMU") if (*clock_rate, *channels) == (8_000, 1) => Some("audio/basic".to_owned()),
        Some(name) => Some(format!("audio/{name};rate={clock_rate};channels={channels}")),
        None if name.to_ascii_lowercase().starts_with("vnd.onvif.metadata") => {
            Some(format!("application/{name}"))
        }
        None => None,
    }
}

/// Adjusts the description if an output sends RTCP on another port than it comes on.
fn place_rtcp(media: &mut Media, rtcp: Option<OutputRtcp>) {
    const MUXED: &str = "a=rtcp-mux";
    match rtcp {
        None | Some(OutputRtcp::IfMuxed) => {}
        Some(OutputRtcp::Muxed) if media.is_muxed() => {}
        Some(OutputRtcp::Muxed) => media.lines.push(MUXED.to_owned()),
        Some(OutputRtcp::Above | OutputRtcp::Off) => media.lines.retain(|line| line != MUXED),
    }
}

fn rtp(maps: &[Rtpmap]) -> Content {
    Content::Rtp { lines: Vec::new(), media: Media::of(maps) }
}

fn transport_stream(payload_types: impl IntoIterator<Item = u8>) -> Content {
    let encoding = || Encoding { name: "MP2T".into(), clock_rate: 90_000, channels: 1 };
    let map = |payload_type| Rtpmap { payload_type, encoding: encoding() };
    rtp(&payload_types.into_iter().map(map).collect::<Vec<_>>())
}

/// Contents sent to one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// Address on which it is received.
    pub target: SocketAddr,
    /// Content.
    pub content: Content,
    /// TTL of the datagrams, if known.
    pub ttl: Option<u8>,
    /// The only accepted sender (RFC 4570).
    pub source: Option<IpAddr>,
    /// An address of this host.
    pub origin: IpAddr,
}

impl Stream {
    /// Stream of an output.
    ///
    /// # Errors
    /// Players cannot receive it.
    pub fn of_output(output: &Output, contents: &Contents) -> Result<Stream, Unknown> {
        let mut content = contents.of_output(output)?;
        if let Content::Rtp { media, .. } = &mut content {
            media.iter_mut().for_each(|media| place_rtcp(media, output.rtcp));
        }
        let (target, ttl) = (output.target, output.ttl);
        let origin = address_towards(output.interface.as_ref(), target.ip());
        Ok(Stream { target, content, ttl, source: None, origin })
    }

    /// Stream of an input group.
    ///
    /// # Errors
    /// Players cannot receive it, or the input is no group.
    pub fn of_input(input: &Input, contents: &Contents) -> Result<Stream, Unknown> {
        if !input.is_class_d() {
            return Err(Unknown::Other);
        }
        let content = contents.datagrams.clone()?;
        let (target, source) = (input.socket_addr(), input.source);
        let origin = address_towards(input.interface.as_ref(), target.ip());
        Ok(Stream { target, content, ttl: None, source, origin })
    }

    /// Value of the `c=` line.
    fn connection(&self) -> String {
        let group = self.target.ip();
        let ttl = self.ttl.unwrap_or(SDP_TTL);
        match is_class_d(group) && group.is_ipv4() {
            true => format!("{}/{ttl}", Net(group)),
            false => Net(group).to_string(),
        }
    }

    fn write_source(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(source) = self.source else { return Ok(()) };
        let family = if source.is_ipv4() { "IP4" } else { "IP6" };
        write!(f, "a=source-filter: incl IN {family} {} {source}\r\n", self.target.ip())
    }

    /// Whether it is linear audio as in AES67 and SMPTE ST 2110-30.
    fn is_linear_audio(&self) -> bool {
        let Content::Rtp { media, .. } = &self.content else { return false };
        media.iter().flat_map(Media::encodings).any(|encoding| encoding.is("L16") || encoding.is("L24"))
    }
}

/// A description; its `Display` is the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Name of the session.
    pub name: String,
    /// The streams; never empty.
    pub streams: Vec<Stream>,
    /// Rises when a description changes: seconds since the Unix epoch.
    pub version: u64,
}

impl Description {
    /// A description of one or more streams; `None` without any.
    pub fn new(name: &str, streams: Vec<Stream>, version: u64) -> Option<Description> {
        (!streams.is_empty()).then(|| Description { name: name.to_owned(), streams, version })
    }

    /// Address on which the first stream is received.
    pub fn target(&self) -> SocketAddr {
        self.streams[0].target
    }

    /// An address of this host.
    pub fn origin(&self) -> IpAddr {
        self.streams[0].origin
    }

    /// Whether AES67 devices may use it.
    pub fn is_for_aes67(&self) -> bool {
        self.streams.iter().any(Stream::is_linear_audio)
    }

    /// Session id: the same number for the same stream, even if its description changes.
    fn session(&self) -> u32 {
        crc32fast::hash(format!("{} {}", self.name, self.target()).as_bytes())
    }

    /// Session-level lines.
    fn lines(&self, prefix: char) -> impl Iterator<Item = &String> {
        let lines = match &self.streams[0].content {
            Content::Rtp { lines, .. } => &lines[..],
            Content::Ts => &[],
        };
        lines.iter().filter(move |line| line.starts_with(prefix))
    }
}

/// `IN IP4` or `IN IP6`, and the address.
struct Net(IpAddr);

impl fmt::Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = if self.0.is_ipv4() { "IP4" } else { "IP6" };
        write!(f, "IN {family} {}", self.0)
    }
}

impl fmt::Display for Description {
    /// The order of the lines is prescribed (RFC 8866 section 5).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = &self.streams[0];
        write!(f, "v=0\r\no=- {} {} {}\r\n", self.session(), self.version, Net(first.origin))?;
        write!(f, "s={}\r\nc={}\r\n", self.name, first.connection())?;
        self.lines('b').try_for_each(|line| write!(f, "{line}\r\n"))?;
        f.write_str("t=0 0\r\n")?;
        self.lines('a').try_for_each(|line| write!(f, "{line}\r\n"))?;
        f.write_str("a=recvonly\r\n")?;
        first.write_source(f)?;
        for stream in &self.streams {
            let own = Some(stream.connection()).filter(|connection| *connection != first.connection());
            let (port, connection) = (stream.target.port(), own.as_deref());
            match &stream.content {
                Content::Ts => write!(
                    f,
                    "m=video {port} udp {PAYLOAD_TYPE_TS}\r\na=rtpmap:{PAYLOAD_TYPE_TS} MP2T/90000\r\n"
                )?,
                Content::Rtp { media, .. } => {
                    for media in media {
                        MediaLines { media, port, connection }.fmt(f)?;
                    }
                }
            }
            if connection.is_some() {
                stream.write_source(f)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(more: &str) -> Channel {
        let text = format!("[[channel]]\nname = \"cam\"\ninput = \"udp://@239.1.1.1:5000\"\n{more}");
        text.parse::<crate::config::Config>().unwrap().channels.remove(0)
    }

    fn ts() -> Carries {
        Carries { plain_ts: true, ..Carries::default() }
    }

    fn rtp_types(payload_types: &[u8]) -> Carries {
        let other_types = payload_types.iter().fold(0, |set, payload_type| set | 1 << payload_type);
        Carries { other_types, ..Carries::default() }
    }

    fn output(text: &str, more: &str, seen: Carries) -> Result<String, Unknown> {
        let contents = Contents::of(&channel(more), &seen);
        let stream = Stream::of_output(&text.parse().unwrap(), &contents)?;
        Ok(Description::new("cam", vec![stream], 7).unwrap().to_string())
    }

    #[test]
    fn an_rtp_output_to_a_group() {
        let expected = "v=0\r\no=- 3541866323 7 IN IP4 10.0.0.1\r\ns=cam\r\nc=IN IP4 239.2.2.2/4\r\nt=0 0\r\n\
            a=recvonly\r\nm=video 6020 RTP/AVP 33\r\na=rtpmap:33 MP2T/90000\r\n";
        let text = output("rtp://239.2.2.2:6020?ttl=4&if=10.0.0.1", "", ts()).unwrap();
        let session = text.split(' ').nth(1).unwrap().to_owned();
        assert_eq!(text.replacen(&session, "3541866323", 1), expected);
        assert!(session.parse::<u32>().is_ok());
        // the same stream keeps its session id
        assert!(output("rtp://239.2.2.2:6020?ttl=9", "", ts()).unwrap().contains(&session));
        assert!(!output("rtp://239.2.2.3:6020", "", ts()).unwrap().contains(&session));
        // RTP keeps its payload type
        let seen = Carries { stream_types: 1 << 96, ..Carries::default() };
        let text = output("rtp://239.2.2.2:6020", "", seen).unwrap();
        assert!(text.ends_with("m=video 6020 RTP/AVP 96\r\na=rtpmap:96 MP2T/90000\r\n"), "{text}");
    }

    #[test]
    fn what_a_player_cannot_take_has_none() {
        let native = Carries { wrapped_ts: true, ..Carries::default() };
        assert!(
            output("udp://127.0.0.1:6000?payload=1", "", native).unwrap().contains("m=video 6000 udp 33\r\n")
        );
        assert!(output("rtp://127.0.0.1:6000", "", native).unwrap().contains("m=video 6000 RTP/AVP 33\r\n"));
        assert_eq!(output("udp://127.0.0.1:6000", "", native), Err(Unknown::Other));
        assert!(output("udp://[ff15::1]:6000", "", ts()).unwrap().contains("c=IN IP6 ff15::1\r\n"));
        assert_eq!(output("rist://127.0.0.1:6000", "", ts()), Err(Unknown::Other));
        assert_eq!(
            output("rtp://127.0.0.1:6000", "format = \"rtp\"", Carries::default()),
            Err(Unknown::Silent)
        );
        assert!(output("rtp://127.0.0.1:6000", "format = \"ts\"", Carries::default()).is_ok());
        let text = Carries { other: true, ..Carries::default() };
        assert_eq!(output("rtp://127.0.0.1:6000", "", text), Err(Unknown::Other));
    }

    #[test]
    fn static_types_describe_themselves_and_dynamic_ones_do_not() {
        let text = output("rtp://127.0.0.1:6000", "", rtp_types(&[0, 13])).unwrap();
        let expected = "m=audio 6000 RTP/AVP 0 13\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:13 CN/8000\r\n";
        assert!(text.ends_with(expected), "{text}");
        assert_eq!(output("rtp://127.0.0.1:6000", "", rtp_types(&[98])), Err(Unknown::PayloadType(98)));
        assert_eq!(output("udp://127.0.0.1:6000", "", rtp_types(&[13, 98])), Err(Unknown::PayloadType(98)));
        // data with the payload type of a transport stream that is none
        assert_eq!(output("rtp://127.0.0.1:6000", "", rtp_types(&[33])), Err(Unknown::PayloadType(33)));
        assert_eq!(output("udp://127.0.0.1:6000?payload=1", "", rtp_types(&[0])), Err(Unknown::Other));
        let error = Unknown::PayloadType(98).to_string();
        assert!(error.contains("rtpmap = \"98 NAME/CLOCK_RATE\""), "{error}");
    }

    #[test]
    fn what_was_said_counts_before_and_beside_what_is_seen() {
        let said = "rtpmap = \"98 L24/48000/2\"";
        for seen in [Carries::default(), rtp_types(&[98]), rtp_types(&[0])] {
            let text = output("rtp://239.2.2.2:6000", said, seen).unwrap();
            assert!(text.ends_with("m=audio 6000 RTP/AVP 98\r\na=rtpmap:98 L24/48000/2\r\n"), "{text}");
        }
        let muxed = output("rtp://239.2.2.2:6000?rtcp=mux", said, Carries::default()).unwrap();
        assert!(muxed.ends_with("a=rtpmap:98 L24/48000/2\r\na=rtcp-mux\r\n"), "{muxed}");
    }

    #[test]
    fn a_group_with_its_source() {
        let of = |text: &str| {
            let contents =
                Contents::of(&channel(""), &Carries { stream_types: 1 << 33, ..Carries::default() });
            let stream = Stream::of_input(&text.parse().unwrap(), &contents)?;
            Ok(Description::new("cam", vec![stream], 7).unwrap().to_string())
        };
        let text = of("rtp://10.0.0.5@232.1.1.1:5000").unwrap();
        assert!(text.contains("c=IN IP4 232.1.1.1/127\r\n"), "{text}");
        assert!(text.contains("a=source-filter: incl IN IP4 232.1.1.1 10.0.0.5\r\nm=video 5000 RTP/AVP 33"));
        assert_eq!(of("udp://@127.0.0.1:5000"), Err(Unknown::Other));
    }

    #[test]
    fn streams_of_one_session_have_addresses_of_their_own() {
        let lines = vec!["b=AS:1000".to_owned(), "a=ts-refclk:ntp=10.0.0.1".to_owned()];
        let stream = |text: &str, map: &str| {
            let Content::Rtp { media, .. } = rtp(&[map.parse().unwrap()]) else { unreachable!() };
            let content = Content::Rtp { lines: lines.clone(), media };
            let origin = "10.0.0.1".parse().unwrap();
            Stream { target: text.parse().unwrap(), content, ttl: Some(1), source: None, origin }
        };
        let video = stream("239.2.2.2:6000", "96 H264/90000");
        let (beside, apart) =
            (stream("239.2.2.2:6002", "97 L16/48000/2"), stream("239.2.2.3:6000", "0 PCMU/8000"));
        let all = Description::new("cam", vec![video.clone(), beside, apart], 7).unwrap();
        let text = all.to_string();
        let expected = "s=cam\r\nc=IN IP4 239.2.2.2/1\r\nb=AS:1000\r\nt=0 0\r\na=ts-refclk:ntp=10.0.0.1\r\na=recvonly\r\n\
            m=video 6000 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n\
            m=audio 6002 RTP/AVP 97\r\na=rtpmap:97 L16/48000/2\r\n\
            m=audio 6000 RTP/AVP 0\r\nc=IN IP4 239.2.2.3/1\r\na=rtpmap:0 PCMU/8000\r\n";
        assert!(text.ends_with(expected), "{text}");
        assert!(all.is_for_aes67());
        assert!(!Description::new("cam", vec![video], 7).unwrap().is_for_aes67());
        // it can be parsed again
        assert_eq!(tidecast_wire::sdp::Session::parse(&text).unwrap().media.len(), 3);
    }

    #[test]
    fn payloads_have_a_type_where_they_are_a_stream_without_their_packets() {
        let of = |more: &str, seen: Carries| Contents::of(&channel(more), &seen).media_type();
        for (map, expected) in [
            ("98 L24/48000/2", "audio/L24;rate=48000;channels=2"),
            ("98 l16/44100", "audio/L16;rate=44100;channels=1"),
            ("96 PCMA/8000", "audio/PCMA;rate=8000;channels=1"),
            ("96 H264/90000", "application/octet-stream"),
            ("111 opus/48000/2", "application/octet-stream"),
            ("33 MP2T/90000", "video/mp2t"),
            ("107 vnd.onvif.metadata/90000", "application/vnd.onvif.metadata"),
        ] {
            assert_eq!(of(&format!("rtpmap = {map:?}"), Carries::default()).unwrap(), expected);
        }
        assert_eq!(of("", rtp_types(&[0])).unwrap(), "audio/basic");
        assert_eq!(of("", rtp_types(&[98])).unwrap(), "application/octet-stream");
        assert_eq!(of("", Carries { stream_types: 1 << 96, ..Carries::default() }).unwrap(), "video/mp2t");
        assert_eq!((of("", ts()).unwrap().as_str(), of("", Carries::default())), ("video/mp2t", None));
        assert_eq!(
            of("", Carries { other: true, ..Carries::default() }).unwrap(),
            "application/octet-stream"
        );
    }
}
