//! Session descriptions (RFC 8866) of a channel's transport stream, as players open them: where it goes, or where it
//! comes from. Text only: [`super::http`] gives it to who asks, [`super::sap`] announces it.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use crate::{
    address::{Input, Output, Scheme, is_class_d},
    limits::SDP_TTL,
    net::interface::address_towards,
    wire::Format,
};

/// The static payload type of MPEG-TS (RFC 3551 section 6).
const MP2T: u8 = 33;

/// How a transport stream is carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carriage {
    /// In RTP packets (RFC 2250).
    Rtp,
    /// In datagrams of TS packets alone.
    Udp,
}

impl Carriage {
    /// What the datagrams of a channel are that go on as they came: as its format says, or as its first flow's does.
    pub fn of_datagrams(format: &Format, flow: Option<&str>) -> Option<Carriage> {
        match (format, flow) {
            (Format::Rtp, _) | (Format::Auto, Some("rtp")) => Some(Carriage::Rtp),
            (Format::Ts, _) | (Format::Auto, Some("ts")) => Some(Carriage::Udp),
            _ => None,
        }
    }

    /// What an output sends; absent where no player can take it.
    fn of_output(output: &Output, datagrams: Option<Carriage>) -> Option<Carriage> {
        match output.scheme {
            Scheme::Rtp => Some(Carriage::Rtp),
            Scheme::Udp if output.payload => Some(Carriage::Udp),
            Scheme::Udp => datagrams,
            Scheme::Rist => None,
        }
    }
}

/// A description; its `Display` is the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// What it is called.
    pub name: String,
    /// Where the stream is received.
    pub target: SocketAddr,
    /// How it is carried.
    pub carriage: Carriage,
    /// Of the datagrams, as far as it is known.
    pub ttl: Option<u8>,
    /// The only sender that is listened to (RFC 4570).
    pub source: Option<IpAddr>,
    /// An address of this host.
    pub origin: IpAddr,
    /// Rises when a description changes: seconds since the Unix epoch.
    pub version: u64,
}

impl Description {
    /// What an output sends; absent where no player can take it. `datagrams`: what goes on as it came.
    pub fn of_output(
        name: &str,
        output: &Output,
        datagrams: Option<Carriage>,
        version: u64,
    ) -> Option<Description> {
        let carriage = Carriage::of_output(output, datagrams)?;
        let (target, ttl) = (output.target, output.ttl);
        let origin = address_towards(output.interface.as_ref(), target.ip());
        Some(Description { name: name.to_owned(), target, carriage, ttl, source: None, origin, version })
    }

    /// What comes from a group; absent where no player can take it.
    pub fn of_input(
        name: &str,
        input: &Input,
        datagrams: Option<Carriage>,
        version: u64,
    ) -> Option<Description> {
        let carriage = if input.scheme.is_rtp() { Carriage::Rtp } else { datagrams? };
        let (target, source) = (input.socket_addr(), input.source);
        let origin = address_towards(input.interface.as_ref(), target.ip());
        let name = name.to_owned();
        input.is_class_d().then_some(Description {
            name,
            target,
            carriage,
            ttl: None,
            source,
            origin,
            version,
        })
    }

    /// The same number for the same stream, whatever else changes.
    fn session(&self) -> u32 {
        crc32fast::hash(format!("{} {}", self.name, self.target).as_bytes())
    }
}

/// `IP4` or `IP6`, and the address.
struct Net(IpAddr);

impl fmt::Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = if self.0.is_ipv4() { "IP4" } else { "IP6" };
        write!(f, "IN {family} {}", self.0)
    }
}

impl fmt::Display for Description {
    /// The order of the lines is fixed (RFC 8866 section 5).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (group, port) = (self.target.ip(), self.target.port());
        write!(f, "v=0\r\no=- {} {} {}\r\n", self.session(), self.version, Net(self.origin))?;
        write!(f, "s={}\r\nc={}", self.name, Net(group))?;
        if is_class_d(group) && group.is_ipv4() {
            write!(f, "/{}", self.ttl.unwrap_or(SDP_TTL))?;
        }
        f.write_str("\r\nt=0 0\r\na=recvonly\r\n")?;
        if let Some(source) = self.source {
            let family = if source.is_ipv4() { "IP4" } else { "IP6" };
            write!(f, "a=source-filter: incl IN {family} {group} {source}\r\n")?;
        }
        let protocol = match self.carriage {
            Carriage::Rtp => "RTP/AVP",
            Carriage::Udp => "udp",
        };
        write!(f, "m=video {port} {protocol} {MP2T}\r\na=rtpmap:{MP2T} MP2T/90000\r\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(text: &str, datagrams: Option<Carriage>) -> Option<String> {
        Description::of_output("cam", &text.parse().unwrap(), datagrams, 7).map(|text| text.to_string())
    }

    #[test]
    fn an_rtp_output_to_a_group() {
        let expected = "v=0\r\no=- 3541866323 7 IN IP4 10.0.0.1\r\ns=cam\r\nc=IN IP4 239.2.2.2/4\r\nt=0 0\r\n\
            a=recvonly\r\nm=video 6020 RTP/AVP 33\r\na=rtpmap:33 MP2T/90000\r\n";
        let text = output("rtp://239.2.2.2:6020?ttl=4&if=10.0.0.1", None).unwrap();
        let session = text.split(' ').nth(1).unwrap().to_owned();
        assert_eq!(text.replacen(&session, "3541866323", 1), expected);
        assert!(session.parse::<u32>().is_ok());
        // the same stream keeps its number
        assert!(output("rtp://239.2.2.2:6020?ttl=9", None).unwrap().contains(&session));
        assert!(!output("rtp://239.2.2.3:6020", None).unwrap().contains(&session));
    }

    #[test]
    fn what_a_player_cannot_take_has_none() {
        let udp = Some(Carriage::Udp);
        assert!(output("udp://127.0.0.1:6000?payload=1", None).unwrap().contains("m=video 6000 udp 33\r\n"));
        assert!(output("udp://[ff15::1]:6000", udp).unwrap().contains("c=IN IP6 ff15::1\r\n"));
        assert_eq!(output("udp://127.0.0.1:6000", None), None);
        assert_eq!(output("rist://127.0.0.1:6000", udp), None);
        assert_eq!(Carriage::of_datagrams(&Format::Auto, Some("ts")), udp);
        assert_eq!(Carriage::of_datagrams(&Format::Native, Some("native")), None);
    }

    #[test]
    fn a_group_with_its_source() {
        let of = |text: &str| Description::of_input("cam", &text.parse().unwrap(), Some(Carriage::Udp), 7);
        let text = of("rtp://10.0.0.5@232.1.1.1:5000").unwrap().to_string();
        assert!(text.contains("c=IN IP4 232.1.1.1/127\r\n"), "{text}");
        assert!(text.contains("a=source-filter: incl IN IP4 232.1.1.1 10.0.0.5\r\nm=video 5000 RTP/AVP 33"));
        assert_eq!(of("udp://@127.0.0.1:5000"), None);
    }
}
