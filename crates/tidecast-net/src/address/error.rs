//! Errors of parsing an address: every variant names the part, the value and the expected form.

use std::net::IpAddr;

use super::{Interface, Scheme};
use tidecast_wire::fec::matrix::ShapeError;

/// Reason why an address was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// The part before `://` is not a known scheme.
    #[error("scheme {0:?}: expected udp, rtp or rist")]
    Scheme(String),
    /// The address is not a numeric IP address.
    #[error(
        "address {0:?}: expected an IPv4 address or an IPv6 address in [brackets] (names are not looked up)"
    )]
    Host(String),
    /// No `:PORT` follows the address.
    #[error("no port in {0:?}: expected ADDRESS:PORT such as 239.1.1.1:5000")]
    PortMissing(String),
    /// The port is not a number from 1 to 65535.
    #[error("port {0:?}: expected 1 to 65535")]
    Port(String),
    /// The part before `@` is not the unicast address of a sender.
    #[error("source {0:?}: expected the sender's unicast IP address")]
    Source(String),
    /// Only a multicast group can be joined for one source.
    #[error(
        "source {source_address} with {group}: expected a multicast group (224.0.0.0/4 or ff00::/8) behind a source"
    )]
    SourceWithoutGroup {
        /// The source that was given.
        source_address: IpAddr,
        /// The address, which is not a group.
        group: IpAddr,
    },
    /// An IPv4 address was combined with an IPv6 address.
    #[error("{part} {value} with {address}: expected two addresses of the same family (IPv4 or IPv6)")]
    Family {
        /// The part with the other family: the source or the interface.
        part: &'static str,
        /// The address of that part.
        value: IpAddr,
        /// The group or target.
        address: IpAddr,
    },
    /// An output names a source, which only an input can have.
    #[error("source {0:?} in an output: expected ADDRESS:PORT alone")]
    SourceInOutput(String),
    /// Datagrams cannot be sent to this address.
    #[error("target {0}: expected a unicast or multicast address")]
    Target(IpAddr),
    /// The key of a `?key=value` option is unknown.
    #[error("option {key:?}: unknown, did you mean {nearest:?}? (expected one of: {known})")]
    UnknownOption {
        /// The key as written.
        key: String,
        /// The known key that is most similar to it.
        nearest: &'static str,
        /// All known keys.
        known: String,
    },
    /// The option exists, but only for outputs.
    #[error("option {0:?}: belongs to an output; expected only if=NAME|ADDR in an input")]
    OptionOfOutput(String),
    /// An option is given twice.
    #[error("option {0:?}: given twice, expected once")]
    RepeatedOption(String),
    /// An option's value is out of its range.
    #[error("option {key}={value:?}: expected {expected}")]
    OptionValue {
        /// The option.
        key: &'static str,
        /// The value as written.
        value: String,
        /// The values it may have.
        expected: &'static str,
    },
    /// An RTP output cannot send payloads only: they would not be RTP.
    #[error("option payload=1 with {0}://: expected udp:// (a payload without its header is not RTP)")]
    PayloadOfRtp(Scheme),
    /// Only a RIST output answers retransmission requests.
    #[error("option {option} with {scheme}://: expected rist://")]
    OptionOfRist {
        /// The option.
        option: &'static str,
        /// The scheme that does not have this option.
        scheme: Scheme,
    },
    /// Only an output that forwards datagrams unchanged can send RTCP.
    #[error("option rtcp with rist:// or payload=1: expected rtp://, or udp:// without payload=1")]
    Rtcp,
    /// There is no port above 65535 for RTCP.
    #[error("option rtcp=above with port 65535: expected a port up to 65534, or rtcp=mux")]
    RtcpPort,
    /// The port of RIST media must be even.
    #[error("port {0} with rist://: expected an even port (RTCP uses the odd one above it)")]
    RistPort(u16),
    /// SMPTE ST 2022-1 protects only RTP.
    #[error("option fec with udp://: expected rtp:// for st2022-1, or fec=rs:K,M for native datagrams")]
    FecOfUdp,
    /// Native FEC protects only native datagrams.
    #[error("option fec=rs with {0}://: expected udp:// (native datagrams), or fec=st2022-1:L,D for RTP")]
    NativeFecOfRtp(Scheme),
    /// Receivers would take native repair packets for payloads.
    #[error(
        "option fec=rs with payload=1: expected one of them (repair packets protect whole native datagrams)"
    )]
    NativeFecOfPayload,
    /// The ports for the repair packets would exceed 65535.
    #[error(
        "option fec with port {0}: expected a port up to 65531 (repair packets go to the port + 2 and + 4)"
    )]
    FecPort(u16),
    /// The matrix is not allowed by ST 2022-1.
    #[error("option fec: {0}")]
    Fec(#[from] ShapeError),
    /// An address has a zone, and another part names a different interface.
    #[error("interfaces {0} and {1}: expected one (the zone behind % and ?if= both name it)")]
    Interfaces(Interface, Interface),
    /// The text is not the name or address of a network interface.
    #[error("interface {0:?}: expected a name of 1 to 127 bytes (as `ip link` prints it) or an IP address")]
    Interface(String),
}
