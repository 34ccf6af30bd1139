//! The validated configuration, from a TOML file or from flags.
//!
//! What was typed (`raw`, filled by `file` and by the flags of the commands) and what is valid
//! ([`Config`]) are different types; validation happens before any socket is bound, finds every
//! problem in one run, and says for each where it stands, its value and what was expected.
//! `docs/configuration.md` is the reference for users. Goes to the commands, which build sockets,
//! relays and servers from it.

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
mod validate;

use std::net::IpAddr;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::shares::Bounds;
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
use tidecast_wire::{Format, rtp::PayloadTypes};

/// A configuration file to start from: every key with its default, behind a `#`.
pub const SAMPLE: &str = include_str!("../deploy/tidecast.toml");

/// A configuration that makes sense.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// How long the packet path collects packets before it works on them; zero for the lowest
    /// latency. Of channels that do not say it, and of groups on demand.
    pub tick: Duration,
    /// Threads of the packet path, from 1.
    pub threads: usize,
    /// Datagrams of one size that go to a UDP target at once, from 1.
    pub burst: usize,
    /// The HTTP server, unless it is off.
    pub http: Option<Http>,
    /// The TCP listener for programs, unless it is off.
    pub tcp: Option<Tcp>,
    /// The server for UDP subscribers, unless it is off.
    pub udp: Option<Udp>,
    /// How many clients there may be, and how many of one host.
    pub bounds: Bounds,
    /// The channels; their names are unique.
    pub channels: Vec<Channel>,
}

/// The HTTP server: streams by name, groups on demand, metrics and state.
#[derive(Debug, Clone, PartialEq)]
pub struct Http {
    /// Where it listens.
    pub listen: Endpoint,
    /// The groups that clients may ask for; all of them multicast. Empty: none on demand.
    pub allow: Vec<IpNet>,
    /// Streaming clients at the same time.
    pub clients_max: usize,
    /// How long a group on demand stays joined after its last client left.
    pub linger: Duration,
    /// How long a client may take to send the head of its request.
    pub header_timeout: Duration,
    /// How long a client is kept while its stream is silent.
    pub idle_timeout: Duration,
    /// How long payloads are collected before they are written to the clients; zero: no longer than
    /// a tick.
    pub chunk: Duration,
    /// How long a client may be behind its stream without catching up.
    pub lag_max: Duration,
    /// Bytes of each transport stream that are kept for players that begin; zero: none.
    pub start_bytes_max: usize,
    /// Whether the API and the page list clients one by one, with their addresses.
    pub list_clients: bool,
    /// Where groups on demand are joined; without it the kernel's routes decide.
    pub interface: Option<Interface>,
    /// FEC of RTP groups on demand that comes on ports of its own.
    pub fec: Fec,
    /// How often memberships of groups on demand are reported although nobody asks.
    pub rejoin: Option<Duration>,
    /// A playlist whose groups are asked of this relay.
    pub playlist: Option<Arc<Imported>>,
    /// Whose pages may subscribe besides our own.
    pub origins: Vec<Origin>,
    /// Where page, API and metrics are served, if not where the streams are.
    pub admin: Option<Endpoint>,
    /// Who may say for whom a request comes.
    pub trusted_proxies: Vec<IpNet>,
    /// The path below which a proxy serves all this; begins and ends with a slash.
    pub base: String,
    /// Names under which clients may ask for this relay, besides its own.
    pub hosts: Vec<Host>,
}

/// The TCP listener: streams for programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tcp {
    /// Where it listens.
    pub listen: Endpoint,
    /// Clients at the same time.
    pub clients_max: usize,
}

impl Http {
    /// Whether pages of this origin may subscribe; `host` is ours, as the request names it.
    pub fn admits(&self, origin: &str, host: Option<&str>) -> bool {
        let own = origin.split_once("://").is_some_and(|(_, origin)| host == Some(origin));
        own || self.origins.iter().any(|known| known.is(origin))
    }

    /// Whether what this address says of others is believed.
    pub fn trusts(&self, proxy: IpAddr) -> bool {
        let proxy = proxy.to_canonical();
        self.trusted_proxies.iter().any(|prefix| prefix.contains(&proxy))
    }

    /// Whether clients may ask for this group.
    pub fn allows(&self, group: IpAddr) -> bool {
        self.allow.iter().any(|prefix| prefix.contains(&group))
    }
}

/// The server for UDP subscribers on request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Udp {
    /// Where it listens.
    pub listen: Endpoint,
    /// What subscribers must know; `None`: nothing.
    pub token: Option<String>,
    /// Subscribers at the same time.
    pub clients_max: usize,
    /// How long a stream comes without a renewal.
    pub lease: Duration,
}

/// One input, its legs, and where it goes.
#[derive(Debug, Clone, PartialEq)]
pub struct Channel {
    /// Unique; letters, digits, `.`, `_` and `-`.
    pub name: String,
    /// One or more paths of the same stream.
    pub legs: Vec<Leg>,
    /// How the datagrams are numbered; `rtp` if a leg's scheme says so.
    pub format: Format,
    /// What its RTP carries, if that was said.
    pub described: Option<Arc<Described>>,
    /// What RTP payload types mean.
    pub payload_types: Arc<PayloadTypes>,
    /// FEC that comes on ports of its own.
    pub fec: Fec,
    /// Whether missing packets are asked for.
    pub retransmission: Retransmission,
    /// How long a gap may delay later packets.
    pub hold: Hold,
    /// When packets that are in order go out.
    pub release: Release,
    /// Bounds of the channel's state.
    pub limits: Limits,
    /// How long a player's flow may be silent before another one takes over.
    pub failover: Duration,
    /// How often the memberships of its legs are reported although nobody asks.
    pub rejoin: Option<Duration>,
    /// How long its packets are collected before they are worked on; zero: each is handled at once.
    pub tick: Duration,
    /// UDP outputs; may be empty if there is an HTTP server.
    pub outputs: Vec<Output>,
    /// Where its packets are recorded.
    pub recordings: Vec<Recording>,
    /// How players show it.
    pub shown: Shown,
    /// Whether outputs to groups are announced (RFC 2974).
    pub sap: bool,
    /// Bytes of socket receive buffer to ask for, per leg; without it they follow the rate.
    pub receive_buffer: Option<usize>,
}

impl Channel {
    /// The description that it shares with the other streams of its session, if it has one from a
    /// file.
    pub fn session(&self) -> Option<&Path> {
        self.described.as_ref()?.file.as_deref()
    }

    /// The legs on whose port above RTCP is received, to be passed on, by index.
    pub fn reports(&self) -> Vec<usize> {
        (0..self.legs.len()).filter(|leg| self.legs[*leg].reports).collect()
    }

    /// What the channel's core is told, apart from its legs ([`relay::Config::for_legs`]).
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
            ..relay::Config::default()
        }
    }
}

/// One path of a channel's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leg {
    /// Where its datagrams come from.
    pub address: Input,
    /// Whether RTCP is received on the port above, to be passed on.
    pub reports: bool,
}

/// Bounds of a channel's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Flows at the same time.
    pub flows_max: usize,
    /// Bytes of held packets, over all flows.
    pub bytes_max: usize,
    /// Numbers per flow that may wait behind a gap (the format's number space may allow fewer).
    pub window_max: u64,
    /// A flow that was silent for so long is forgotten.
    pub flow_idle: Duration,
    /// The share of the flows that one host always has, in percent.
    pub flows_share: usize,
}

impl Config {
    /// Reads and validates a configuration file.
    ///
    /// # Errors
    /// Everything that is wrong with it, or why it cannot be read.
    pub fn from_file(path: &Path) -> Result<Config, Errors> {
        Config::finish(Some(path), |problems| read(path, problems))
    }

    /// A file's configuration, or an empty one, as `change` changes it.
    ///
    /// # Errors
    /// Everything that is wrong with the file and the changes.
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

fn read(path: &Path, problems: &mut Vec<Problem>) -> Raw {
    match std::fs::read_to_string(path) {
        Ok(text) => file::read(&text, problems),
        Err(error) => {
            problems.push(Problem::at(
                SettingPlace::File { line: None },
                format_args!("cannot be read: {error}"),
            ));
            Raw::default()
        }
    }
}

#[cfg(test)]
mod tests;
