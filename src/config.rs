//! The validated configuration, from a TOML file or from flags.
//!
//! Typed values (`raw`, filled by `file` and by the flags of the commands) and validated ones
//! ([`Config`]) have different types. Validation happens before any socket is bound, finds all
//! problems in one run, and reports for each its place, its value and the expected form.
//! `docs/configuration.md` is the reference for users. The commands build sockets, relays and
//! servers from the result.

mod access;
mod cross;
mod described;
mod file;
mod host;
mod m3u;
#[cfg(test)]
mod memory;
mod origin;
mod problem;
pub(crate) mod raw;
mod reports;
pub mod seal;
mod validate;

use std::net::IpAddr;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::shares::Bounds;
pub use access::{Access, Audit, JWT, Jwt, KeySource, LINK, LinkKey, Role, Roles, Scope, Token};
pub use described::Described;
pub use host::Host;
pub use m3u::{Imported, Shown};
pub use origin::Origin;
pub use problem::Errors;
use problem::Problem;
use raw::{Raw, SettingPlace};
use tidecast_core::relay;
pub use tidecast_core::relay::{Delay, Fec, Hold, Release, Retransmission};
use tidecast_net::address::{Endpoint, Input, Interface, Output, Recording};
use tidecast_wire::{Format, rtp::PayloadTypes, seal::Keyring};

/// A sample configuration file: every key with its default, commented out.
pub const SAMPLE: &str = include_str!("../deploy/tidecast.toml");

/// A valid configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// How long the packet path collects packets before it processes them; zero for the lowest
    /// latency. Applies to channels without their own value, and to groups on demand.
    pub tick: Duration,
    /// Number of threads of the packet path, at least 1.
    pub threads: usize,
    /// Number of datagrams of one size that are sent to a UDP target at once, at least 1.
    pub burst: usize,
    /// The HTTP server, unless it is off.
    pub http: Option<Http>,
    /// The TCP listener for programs, unless it is off.
    pub tcp: Option<Tcp>,
    /// The server for UDP subscribers, unless it is off.
    pub udp: Option<Udp>,
    /// Who may do what.
    pub access: Access,
    /// Maximum number of clients, in total and per host.
    pub bounds: Bounds,
    /// The channels; their names are unique.
    pub channels: Vec<Channel>,
}

/// The HTTP server: streams by name, groups on demand, metrics and state.
#[derive(Debug, Clone, PartialEq)]
pub struct Http {
    /// Address to listen on.
    pub listen: Endpoint,
    /// Groups that clients may request; all of them multicast. If empty, there are no groups on
    /// demand.
    pub allow: Vec<IpNet>,
    /// Maximum number of streaming clients at the same time.
    pub clients_max: usize,
    /// How long a group on demand stays joined after its last client left.
    pub linger: Duration,
    /// How long a client may take to send the head of its request.
    pub header_timeout: Duration,
    /// How long a client stays connected while its stream is silent.
    pub idle_timeout: Duration,
    /// How long payloads are collected before they are written to the clients; zero means no
    /// longer than a tick.
    pub chunk: Duration,
    /// How long a client may lag behind its stream without catching up.
    pub lag_max: Duration,
    /// Number of bytes of each transport stream that are kept for players that start; zero means
    /// none.
    pub start_bytes_max: usize,
    /// Whether the API and the page list individual clients, with their addresses.
    pub list_clients: bool,
    /// Whether the API and the page may act: disconnect clients.
    pub control: bool,
    /// Interface on which groups on demand are joined; if it is `None`, the kernel's routes
    /// decide.
    pub interface: Option<Interface>,
    /// FEC of RTP groups on demand that is received on separate ports.
    pub fec: Fec,
    /// Interval at which memberships of groups on demand are reported without a query.
    pub rejoin: Option<Duration>,
    /// A playlist whose groups are rewritten to point to this relay.
    pub playlist: Option<Arc<Imported>>,
    /// Origins of other sites whose pages may subscribe.
    pub origins: Vec<Origin>,
    /// Address on which page, API and metrics are served, if not that of the streams.
    pub admin: Option<Endpoint>,
    /// Proxies that are trusted to name the client of a request.
    pub trusted_proxies: Vec<IpNet>,
    /// The path below which a proxy serves this relay; starts and ends with a slash.
    pub base: String,
    /// Host names that clients may use for this relay, in addition to its own.
    pub hosts: Vec<Host>,
}

/// The TCP listener: streams for programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tcp {
    /// Address to listen on.
    pub listen: Endpoint,
    /// Maximum number of clients at the same time.
    pub clients_max: usize,
}

impl Http {
    /// Returns whether pages of this origin may subscribe; `host` is this relay's name in the
    /// request.
    pub fn admits(&self, origin: &str, host: Option<&str>) -> bool {
        let own = origin.split_once("://").is_some_and(|(_, origin)| host == Some(origin));
        own || self.origins.iter().any(|known| known.is(origin))
    }

    /// Returns whether this address is trusted to name other hosts as clients.
    pub fn trusts(&self, proxy: IpAddr) -> bool {
        let proxy = proxy.to_canonical();
        self.trusted_proxies.iter().any(|prefix| prefix.contains(&proxy))
    }

    /// Returns whether clients may request this group.
    pub fn allows(&self, group: IpAddr) -> bool {
        self.allow.iter().any(|prefix| prefix.contains(&group))
    }
}

/// The server for UDP subscribers on request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Udp {
    /// Address to listen on.
    pub listen: Endpoint,
    /// Maximum number of subscribers at the same time.
    pub clients_max: usize,
    /// How long a subscription lasts without a renewal.
    pub lease: Duration,
}

/// One input stream with its legs and destinations.
#[derive(Debug, Clone, PartialEq)]
pub struct Channel {
    /// Unique name; letters, digits, `.`, `_` and `-`.
    pub name: String,
    /// One or more paths of the same stream.
    pub legs: Vec<Leg>,
    /// How the datagrams are numbered; `rtp` if a leg's scheme implies it.
    pub format: Format,
    /// Description of its RTP content, if configured.
    pub described: Option<Arc<Described>>,
    /// Meanings of RTP payload types.
    pub payload_types: Arc<PayloadTypes>,
    /// FEC that is received on separate ports.
    pub fec: Fec,
    /// Whether missing packets are requested.
    pub retransmission: Retransmission,
    /// The keys, if sealed datagrams alone are taken.
    pub seal: Option<Arc<Keyring>>,
    /// How long a gap may delay later packets.
    pub hold: Hold,
    /// When packets in order are sent.
    pub release: Release,
    /// Limits of the channel's state.
    pub limits: Limits,
    /// How long a player's flow may be silent before another one replaces it.
    pub failover: Duration,
    /// Interval at which the memberships of its legs are reported without a query.
    pub rejoin: Option<Duration>,
    /// How long its packets are collected before they are processed; zero means that each is
    /// processed at once.
    pub tick: Duration,
    /// UDP outputs; may be empty if there is an HTTP server.
    pub outputs: Vec<Output>,
    /// Folders into which its packets are recorded.
    pub recordings: Vec<Recording>,
    /// How players show it.
    pub shown: Shown,
    /// Whether outputs to groups are announced by SAP (RFC 2974).
    pub sap: bool,
    /// Requested bytes of socket receive buffer per leg; if it is `None`, they depend on the bit
    /// rate.
    pub receive_buffer: Option<usize>,
}

impl Channel {
    /// Returns the file of the session description that it shares with the other streams of its
    /// session, if any.
    pub fn session(&self) -> Option<&Path> {
        self.described.as_ref()?.file.as_deref()
    }

    /// Returns the indices of the legs for which RTCP is received on the port above and forwarded.
    pub fn reports(&self) -> Vec<usize> {
        (0..self.legs.len()).filter(|leg| self.legs[*leg].reports).collect()
    }

    /// Returns the configuration of the channel's core, apart from its legs
    /// ([`relay::Config::for_legs`]).
    pub fn core(&self) -> relay::Config {
        relay::Config {
            format: self.format.clone(),
            fec: self.fec,
            payload_types: self.payload_types.clone(),
            hold: self.hold,
            release: self.release,
            flows_max: self.limits.flows_max,
            flows_share: self.limits.flows_share,
            window_max: self.limits.window_max,
            bytes_max: self.limits.bytes_max,
            flow_idle: self.limits.flow_idle,
            seal: self.seal.clone(),
            ..relay::Config::default()
        }
    }
}

/// One path of a channel's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leg {
    /// Address on which its datagrams arrive.
    pub address: Input,
    /// Whether RTCP is received on the port above and forwarded.
    pub reports: bool,
}

/// Limits of a channel's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Maximum number of flows at the same time.
    pub flows_max: usize,
    /// Maximum number of bytes of held packets, over all flows.
    pub bytes_max: usize,
    /// Maximum sequence numbers per flow that may wait for a gap (the format's number space may
    /// allow fewer).
    pub window_max: u64,
    /// Time after which a silent flow is removed.
    pub flow_idle: Duration,
    /// Share of the flows that is guaranteed to each host, in percent.
    pub flows_share: usize,
}

impl Config {
    /// Reads and validates a configuration file.
    ///
    /// # Errors
    /// All problems of the file, or the reason why it cannot be read.
    pub fn from_file(path: &Path) -> Result<Config, Errors> {
        Config::finish(Some(path), |problems| read(path, problems))
    }

    /// Returns the configuration of a file, or an empty one, modified by `change`.
    ///
    /// # Errors
    /// All problems of the file and the changes.
    pub(crate) fn from_raw(file: Option<&Path>, change: impl FnOnce(&mut Raw)) -> Result<Config, Errors> {
        Config::finish(file, |problems| {
            let mut raw = file.map(|path| read(path, problems)).unwrap_or_default();
            change(&mut raw);
            raw
        })
    }

    fn finish(file: Option<&Path>, raw: impl FnOnce(&mut Vec<Problem>) -> Raw) -> Result<Config, Errors> {
        let mut problems = Vec::new();
        let raw = raw(&mut problems);
        let base = file.and_then(Path::parent);
        let config = validate::validate(&raw, base, &mut problems);
        if problems.is_empty() { Ok(config) } else { Err(Errors::new(file, problems)) }
    }
}

impl FromStr for Config {
    type Err = Errors;

    /// Validates the text of a configuration file.
    fn from_str(text: &str) -> Result<Config, Errors> {
        Config::finish(None, |problems| file::read(text, problems))
    }
}

/// What would be right instead of a file that cannot be read.
fn advice(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::IsADirectory => {
            ", expected a configuration file (`tidecast config --sample` prints one to start from)"
        }
        std::io::ErrorKind::InvalidData => ", expected TOML, which is UTF-8",
        _ => "",
    }
}

fn read(path: &Path, problems: &mut Vec<Problem>) -> Raw {
    match std::fs::read_to_string(path) {
        Ok(text) => file::read(&text, problems),
        Err(error) => {
            problems.push(Problem::at(
                SettingPlace::File { line: None },
                format_args!("cannot be read: {error}{}", advice(&error)),
            ));
            Raw::default()
        }
    }
}

#[cfg(test)]
mod tests;
