//! Parses addresses as users write them (`udp://239.1.1.1:5000?if=eth1`) into a checked [`Input`]
//! or [`Output`], and writes them back.
//!
//! The syntax is that of ffmpeg and VLC. This is text processing only: no names or interfaces are
//! looked up, and no socket is opened. The values come from the command line, the configuration
//! file and HTTP paths ([`udpxy`]), and are used by `ingest` (inputs) and the program (outputs).

mod dscp;
mod endpoint;
mod error;
pub mod listen;
mod query;
mod recording;
mod remote;
pub mod udpxy;
mod zone;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

pub use dscp::Dscp;
pub use endpoint::Endpoint;
pub use error::AddressError;
use query::Query;
pub use recording::{Recording, RecordingError, Target};
pub use remote::{Remote, RemoteError, Source};

use tidecast_core::relay::Beside;
use tidecast_wire::{
    fec::{matrix::Shape, native},
    rtcp,
    st2022::{self, Axis},
};

/// Maximum length of a network interface's name in bytes: that of an alternative name on Linux
/// (`ALTIFNAMSIZ` is 128, with the final zero). The ordinary name has at most 15 bytes.
const INTERFACE_NAME_BYTES_MAX: usize = 127;

/// Scheme of a URL: the format of the datagrams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Scheme {
    /// `udp://`: the format that the channel is configured with.
    #[default]
    Udp,
    /// `rtp://`: RTP (RFC 3550).
    Rtp,
    /// `rist://`: RTP with retransmission by RIST simple profile (VSF TR-06-1); RTCP uses the next
    /// higher port.
    Rist,
}

impl Scheme {
    /// Whether the datagrams are RTP.
    pub fn is_rtp(self) -> bool {
        matches!(self, Scheme::Rtp | Scheme::Rist)
    }
}

/// A network interface, by name or by one of its addresses. Whether it exists is not checked: it
/// may appear later.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Interface {
    /// A name as in `ip link`: the ordinary name, an alternative name, or the index.
    Name(String),
    /// The interface that has this address.
    Addr(IpAddr),
    /// The interface with this name, with its IPv6 address: several interfaces may have the same
    /// link-local address.
    Zoned(Ipv6Addr, String),
}

/// Where a leg's datagrams come from: `udp://[SOURCE@]GROUP:PORT[?if=INTERFACE]`.
///
/// The zone of an IPv6 address (`[ff02::1%eth0]`) is another way to name the interface.
///
/// A unicast `group` is a local address to receive on; the unspecified address (`udp://@:PORT`)
/// means all local addresses.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Input {
    /// Format of the datagrams.
    pub scheme: Scheme,
    /// The multicast group to join, or the local unicast address.
    pub group: IpAddr,
    /// The UDP port, never 0.
    pub port: u16,
    /// Receive only datagrams of this sender (source-specific multicast, RFC 4607).
    pub source: Option<IpAddr>,
    /// Interface to join on; if it is `None`, the kernel's routes decide.
    pub interface: Option<Interface>,
}

/// Where datagrams go: `udp://ADDRESS:PORT[?ttl=4&loop=0&if=eth1&payload=1]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Output {
    /// Format of the datagrams.
    pub scheme: Scheme,
    /// The unicast or multicast address and the port, never 0.
    pub target: SocketAddr,
    /// Interface to send from; if it is `None`, the kernel's routes decide.
    pub interface: Option<Interface>,
    /// Time to live (IPv6: hop limit); the kernel's default is 1 for multicast and 64 for unicast.
    pub ttl: Option<u8>,
    /// Whether receivers on this host also get multicast copies; the kernel's default is yes.
    pub multicast_loop: Option<bool>,
    /// Send the payload only, instead of the whole datagram.
    pub payload: bool,
    /// FEC to add to the output.
    pub fec: Option<OutputFec>,
    /// How long a RIST output keeps packets for retransmission; the default is
    /// [`tidecast_core::limits::HISTORY`].
    pub buffer: Option<Duration>,
    /// Maximum rate of retransmissions, in percent of the media; the default is
    /// [`tidecast_core::limits::RETRANSMIT_SHARE`].
    pub share: Option<u8>,
    /// Where the sender's RTCP goes; by default to the next higher port if it was received there,
    /// and to the media's port if it was received there.
    pub rtcp: Option<OutputRtcp>,
    /// The DSCP; if it is `None`, the system's default, 0.
    pub dscp: Option<Dscp>,
}

/// Where an output sends the RTCP of its streams' senders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OutputRtcp {
    /// To the port above the media's port.
    Above,
    /// To the media's port (RFC 5761).
    Muxed,
    /// To the media's port if it was received that way, otherwise nowhere, because the port above
    /// belongs to something else.
    IfMuxed,
    /// Nowhere.
    Off,
}

/// FEC that an output adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OutputFec {
    /// SMPTE ST 2022-1 for RTP, with this matrix; the repair packets go to higher ports.
    St2022(Shape),
    /// Reed-Solomon for native datagrams; the repair packets go to the same port.
    Native(native::Fec),
}

/// Returns whether the address is a multicast group: class D (224.0.0.0/4) for IPv4, or ff00::/8
/// for IPv6.
pub fn is_class_d(address: IpAddr) -> bool {
    address.is_multicast()
}

impl Interface {
    /// Returns the address, if the interface is named by one.
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Interface::Name(_) => None,
            Interface::Addr(address) => Some(*address),
            Interface::Zoned(address, _) => Some((*address).into()),
        }
    }
}

impl Input {
    /// Returns whether this input joins a multicast group; otherwise it receives unicast.
    pub fn is_class_d(&self) -> bool {
        is_class_d(self.group)
    }

    /// Returns the group (or local address) with the port.
    pub fn socket_addr(&self) -> SocketAddr {
        SocketAddr::new(self.group, self.port)
    }

    /// Returns the same input with its port raised by `offset`, or `None` if that exceeds 65535.
    pub fn on_port_above(&self, offset: u16) -> Option<Input> {
        Some(Input { port: self.port.checked_add(offset)?, ..self.clone() })
    }

    /// Returns where the sender's RTCP is received, if the scheme has RTCP.
    pub fn rtcp_addr(&self) -> Option<SocketAddr> {
        rtcp_addr(self.scheme, self.socket_addr())
    }

    /// Checks the rules that involve several parts: a source requires a group, all addresses must
    /// be of one family, and RTCP needs a port.
    fn checked(self) -> Result<Input, AddressError> {
        rist_port(self.scheme, self.port)?;
        if let Some(source) = self.source {
            if !self.is_class_d() {
                return Err(AddressError::SourceWithoutGroup { source_address: source, group: self.group });
            }
            same_family("source", source, self.group)?;
        }
        interface_family(&self.interface, self.group)?;
        Ok(self)
    }
}

impl Output {
    /// Returns the matrix of SMPTE ST 2022-1, if this output uses that FEC.
    pub fn st2022(&self) -> Option<Shape> {
        match self.fec? {
            OutputFec::St2022(shape) => Some(shape),
            OutputFec::Native(_) => None,
        }
    }

    /// Returns the parameters of native FEC, if this output uses it.
    pub fn native_fec(&self) -> Option<native::Fec> {
        match self.fec? {
            OutputFec::Native(fec) => Some(fec),
            OutputFec::St2022(_) => None,
        }
    }

    /// Returns the output for the repair packets of columns or rows, if this output has them.
    pub fn repair_output(&self, axis: Axis) -> Option<Output> {
        self.st2022().filter(|shape| axis == Axis::Column || shape.row_fec())?;
        let offset = st2022::PORTS_ABOVE[usize::from(axis == Axis::Row)];
        let target = SocketAddr::new(self.target.ip(), self.target.port().checked_add(offset)?);
        let plain = Output { fec: None, buffer: None, share: None, rtcp: None, ..self.clone() };
        Some(Output { scheme: Scheme::Rtp, target, ..plain })
    }

    /// Returns the address of the receiver's RTCP, if the scheme has RTCP.
    pub fn rtcp_addr(&self) -> Option<SocketAddr> {
        rtcp_addr(self.scheme, self.target)
    }

    /// Returns where to send the RTCP of the streams' senders that was received this way, or
    /// `None` if it is not sent.
    pub fn reports_to(&self, beside: Beside) -> Option<SocketAddr> {
        if self.payload || self.scheme == Scheme::Rist {
            return None;
        }
        match (self.rtcp, beside) {
            (Some(OutputRtcp::Off), _) | (Some(OutputRtcp::IfMuxed), Beside::Above) => None,
            (Some(OutputRtcp::Muxed), _) | (None | Some(OutputRtcp::IfMuxed), Beside::Muxed) => {
                Some(self.target)
            }
            (Some(OutputRtcp::Above), _) | (None, Beside::Above) => {
                let port = self.target.port().checked_add(rtcp::PORT_ABOVE)?;
                Some(SocketAddr::new(self.target.ip(), port))
            }
        }
    }

    /// Returns whether the target is a multicast group.
    pub fn is_class_d(&self) -> bool {
        is_class_d(self.target.ip())
    }
}

/// A URL, split into its parts; only scheme and port have been checked.
struct Parts<'a> {
    scheme: Scheme,
    user: &'a str,
    host: &'a str,
    port: u16,
    query: &'a str,
}

impl<'a> Parts<'a> {
    fn cut(url: &'a str) -> Result<Parts<'a>, AddressError> {
        let (scheme, rest) = match url.split_once("://") {
            Some((scheme, rest)) => (scheme.parse()?, rest),
            None => (Scheme::Udp, url),
        };
        let (authority, query) = rest.split_once('?').unwrap_or((rest, ""));
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let (user, address) = authority.split_once('@').unwrap_or(("", authority));
        let (host, port) =
            address.rsplit_once(':').ok_or_else(|| AddressError::PortMissing(address.to_owned()))?;
        if port.ends_with(']') {
            return Err(AddressError::PortMissing(address.to_owned()));
        }
        Ok(Parts { scheme, user, host, port: parse_port(port)?, query })
    }
}

fn parse_port(port: &str) -> Result<u16, AddressError> {
    parse_port_or_any(port).ok().filter(|&port| port != 0).ok_or_else(|| AddressError::Port(port.to_owned()))
}

/// Parses a port; 0 means any free port.
fn parse_port_or_any(port: &str) -> Result<u16, AddressError> {
    number::<u16>(port).ok_or_else(|| AddressError::Port(port.to_owned()))
}

/// Parses decimal digits only: `u16::from_str` would accept a leading plus sign.
fn number<T: FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn is_unicast(address: IpAddr) -> bool {
    !(address.is_multicast() || address.is_unspecified() || address == IpAddr::V4(Ipv4Addr::BROADCAST))
}

/// Checks that a RIST port is even: RTCP uses the next higher, odd port.
fn rist_port(scheme: Scheme, port: u16) -> Result<(), AddressError> {
    if scheme == Scheme::Rist && !port.is_multiple_of(2) { Err(AddressError::RistPort(port)) } else { Ok(()) }
}

fn rtcp_addr(scheme: Scheme, media: SocketAddr) -> Option<SocketAddr> {
    let port = media.port().checked_add(rtcp::PORT_ABOVE)?;
    (scheme == Scheme::Rist).then_some(SocketAddr::new(media.ip(), port))
}

fn same_family(part: &'static str, value: IpAddr, address: IpAddr) -> Result<(), AddressError> {
    if value.is_ipv4() == address.is_ipv4() {
        Ok(())
    } else {
        Err(AddressError::Family { part, value, address })
    }
}

fn interface_family(interface: &Option<Interface>, address: IpAddr) -> Result<(), AddressError> {
    match interface {
        Some(interface) => {
            interface.address().map_or(Ok(()), |value| same_family("interface", value, address))
        }
        None => Ok(()),
    }
}

impl FromStr for Scheme {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Scheme, AddressError> {
        match text.to_ascii_lowercase().as_str() {
            "udp" => Ok(Scheme::Udp),
            "rtp" => Ok(Scheme::Rtp),
            "rist" => Ok(Scheme::Rist),
            _ => Err(AddressError::Scheme(text.to_owned())),
        }
    }
}

impl FromStr for Interface {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Interface, AddressError> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return match is_unicast(address) {
                true => Ok(Interface::Addr(address)),
                false => Err(AddressError::Interface(text.to_owned())),
            };
        }
        if let Some((address, zone)) = text.split_once('%')
            && let Some(address) = address.parse().ok().filter(|ip: &Ipv6Addr| is_unicast((*ip).into()))
            && let Ok(Interface::Name(zone)) = zone::parse(zone)
        {
            return Ok(Interface::Zoned(address, zone));
        }
        let forbidden = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
        let well_sized = (1..=INTERFACE_NAME_BYTES_MAX).contains(&text.len());
        if !well_sized || text == "." || text == ".." || text.contains(forbidden) {
            return Err(AddressError::Interface(text.to_owned()));
        }
        Ok(Interface::Name(text.to_owned()))
    }
}

impl FromStr for Input {
    type Err = AddressError;

    fn from_str(url: &str) -> Result<Input, AddressError> {
        let parts = Parts::cut(url)?;
        let query = Query::of_input(parts.query)?;
        let (group, zone) = match parts.host {
            "" => (IpAddr::V4(Ipv4Addr::UNSPECIFIED), None),
            host => zone::parse_host(host)?,
        };
        let (source, of_source) = zone::parse_user(parts.user)?;
        let interface = zone::one_interface([query.interface, zone, of_source])?;
        Input { scheme: parts.scheme, group, port: parts.port, source, interface }.checked()
    }
}

impl FromStr for Output {
    type Err = AddressError;

    fn from_str(url: &str) -> Result<Output, AddressError> {
        let parts = Parts::cut(url)?;
        let Query { interface, ttl, multicast_loop, payload, fec, buffer, share, rtcp, dscp } =
            Query::of_output(parts.query)?;
        if !parts.user.is_empty() {
            return Err(AddressError::SourceInOutput(parts.user.to_owned()));
        }
        let (address, zone) = zone::parse_host(parts.host)?;
        if !is_class_d(address) && !is_unicast(address) {
            return Err(AddressError::Target(address));
        }
        let interface = zone::one_interface([interface, zone])?;
        interface_family(&interface, address)?;
        let payload = payload.unwrap_or(false);
        rist_port(parts.scheme, parts.port)?;
        if payload && parts.scheme.is_rtp() {
            return Err(AddressError::PayloadOfRtp(parts.scheme));
        }
        let (rtp, native) =
            (matches!(fec, Some(OutputFec::St2022(_))), matches!(fec, Some(OutputFec::Native(_))));
        if rtp && !parts.scheme.is_rtp() {
            return Err(AddressError::FecOfUdp);
        }
        let of_rist = buffer.map(|_| "buffer").or(share.map(|_| "share"));
        if let Some(option) = of_rist.filter(|_| parts.scheme != Scheme::Rist) {
            return Err(AddressError::OptionOfRist { option, scheme: parts.scheme });
        }
        if let Some(of) = rtcp {
            if parts.scheme == Scheme::Rist || payload {
                return Err(AddressError::Rtcp);
            }
            if of == OutputRtcp::Above && parts.port == u16::MAX {
                return Err(AddressError::RtcpPort);
            }
        }
        if native && parts.scheme.is_rtp() {
            return Err(AddressError::NativeFecOfRtp(parts.scheme));
        }
        if native && payload {
            return Err(AddressError::NativeFecOfPayload);
        }
        if rtp && st2022::PORTS_ABOVE.iter().any(|offset| parts.port.checked_add(*offset).is_none()) {
            return Err(AddressError::FecPort(parts.port));
        }
        let target = SocketAddr::new(address, parts.port);
        Ok(Output {
            scheme: parts.scheme,
            target,
            interface,
            ttl,
            multicast_loop,
            payload,
            fec,
            buffer,
            share,
            rtcp,
            dscp,
        })
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Scheme::Udp => "udp",
            Scheme::Rtp => "rtp",
            Scheme::Rist => "rist",
        })
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Interface::Name(name) => f.write_str(name),
            Interface::Addr(address) => address.fmt(f),
            Interface::Zoned(address, name) => write!(f, "{address}%{name}"),
        }
    }
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.scheme)?;
        match self.source {
            Some(IpAddr::V6(source)) => write!(f, "[{source}]")?,
            Some(source) => write!(f, "{source}")?,
            None => {}
        }
        match self.group {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) => write!(f, "@:{}", self.port)?,
            _ => write!(f, "@{}", self.socket_addr())?,
        }
        query::write_interface(f, '?', &self.interface)
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.target)?;
        let mut mark = '?';
        let mut next = || std::mem::replace(&mut mark, '&');
        if let Some(ttl) = self.ttl {
            write!(f, "{}ttl={ttl}", next())?;
        }
        if let Some(multicast_loop) = self.multicast_loop {
            write!(f, "{}loop={}", next(), u8::from(multicast_loop))?;
        }
        if self.payload {
            write!(f, "{}payload=1", next())?;
        }
        if let Some(fec) = &self.fec {
            query::write_fec(f, next(), fec)?;
        }
        if let Some(buffer) = self.buffer {
            write!(
                f,
                "{}buffer={}",
                next(),
                humantime::format_duration(buffer).to_string().replace(' ', "")
            )?;
        }
        if let Some(share) = self.share {
            write!(f, "{}share={share}", next())?;
        }
        if let Some(rtcp) = self.rtcp {
            let rtcp = match rtcp {
                OutputRtcp::Above => "above",
                OutputRtcp::Muxed => "mux",
                OutputRtcp::IfMuxed => "if-muxed",
                OutputRtcp::Off => "off",
            };
            write!(f, "{}rtcp={rtcp}", next())?;
        }
        if let Some(dscp) = self.dscp {
            write!(f, "{}dscp={dscp}", next())?;
        }
        query::write_interface(f, next(), &self.interface)
    }
}

#[cfg(test)]
mod tests;
