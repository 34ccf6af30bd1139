//! Converts typed values to valid ones: applies the default, range and type of every key.
//!
//! An invalid value is reported and replaced by its default, so that one run finds every problem.
//! Rules that involve several keys or channels are in [`super::cross`].

mod access;

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::problem::Problem;
use super::raw::{Field, Raw, RawChannel, RawHttp, RawShares, RawTcp, RawUdp, Value};
use super::{
    Access, Channel, Config, Delay, Described, Fec, Hold, Http, Imported, Leg, Limits, Release,
    Retransmission, Shown, Tcp, Udp, cross, m3u, reports, seal,
};
use crate::limits::{
    BASE_BYTES_MAX, BURST, BURST_MAX, CHANNEL_BYTES_CONFIG_MAX, CHANNEL_BYTES_CONFIG_MIN, CHANNEL_NUMBER_MAX,
    CHUNK, CHUNK_MAX, CLIENTS, CLIENTS_MAX, CONNECTIONS_EXTRA, FAILOVER, FAILOVER_MAX, FAILOVER_MIN,
    FLOW_IDLE_MAX, FLOW_IDLE_MIN, FLOWS_CONFIG_MAX, HEADER_TIMEOUT, HEADER_TIMEOUT_MAX, HEADER_TIMEOUT_MIN,
    IDLE_TIMEOUT, IDLE_TIMEOUT_MAX, IDLE_TIMEOUT_MIN, LAG_MAX, LAG_MAX_MAX, LAG_MAX_MIN, LINGER, LINGER_MAX,
    RECEIVE_BUFFER_MAX, RECEIVE_BUFFER_MIN, REJOIN, REJOIN_MAX, REJOIN_MIN, START_BYTES, START_BYTES_MAX,
    TCP_CLIENTS, THREADS_MAX, TICK, TICK_MAX, TRUSTED_PROXIES_MAX, UDP_CLIENTS, UDP_CLIENTS_MAX, UDP_LEASE,
    UDP_LEASE_MAX, UDP_LEASE_MIN, WINDOW_CONFIG_MAX, WINDOW_CONFIG_MIN,
};
use crate::shares::{Bounds, Resource};
use tidecast_core::limits::{
    CHANNEL_BYTES_MAX, FLOW_IDLE, FLOWS_MAX, HOLD_CONFIG_MAX, REORDER_PACKETS_MAX, SHARE_PERCENT,
};
use tidecast_net::address::{Endpoint, Output, Recording, Scheme, Target, listen};
use tidecast_net::limits::CHANNEL_NAME_BYTES_MAX;
use tidecast_net::units;
use tidecast_wire::{Format, rtp::payload_types::Rtpmap, seal::Keyring};

/// Interprets the whole configuration; errors are added to `problems`. Relative file paths are
/// relative to `base`.
pub(super) fn validate(raw: &Raw, base: Option<&Path>, problems: &mut Vec<Problem>) -> Config {
    let mut check = Check { problems, base };
    let tick = check.tick(&raw.tick, TICK);
    let flows_share = check.share(&raw.shares.flows);
    let mut config = Config {
        tick,
        threads: check.count(&raw.threads, 1, 1..=THREADS_MAX),
        burst: check.count(&raw.burst, BURST, 1..=BURST_MAX),
        http: check.http(&raw.http),
        tcp: check.tcp(&raw.tcp),
        udp: check.udp(&raw.udp),
        access: Access::default(),
        bounds: check.shares(&raw.shares),
        channels: raw.channels.iter().map(|raw| check.channel(raw, tick, flows_share)).collect(),
    };
    let http = config.http.as_ref().map_or(0, |http| http.clients_max);
    config.bounds.set_max(Resource::Streams, http);
    config.bounds.set_max(Resource::Connections, http + CONNECTIONS_EXTRA);
    config.bounds.set_max(Resource::Tcp, config.tcp.as_ref().map_or(0, |tcp| tcp.clients_max));
    config.bounds.set_max(Resource::Udp, config.udp.as_ref().map_or(0, |udp| udp.clients_max));
    config.access = check.access(raw, &config.channels);
    cross::validate(raw, &config, check.problems);
    reports::place(&mut config.channels);
    config
}

/// Collects problems while values are read.
struct Check<'a> {
    problems: &'a mut Vec<Problem>,
    base: Option<&'a Path>,
}

impl Check<'_> {
    /// Returns a value if it is present and valid; otherwise the default.
    fn value<T>(
        &mut self,
        field: &Option<Field>,
        default: T,
        parse: impl FnOnce(&Value) -> Result<T, String>,
    ) -> T {
        field.as_ref().and_then(|field| self.one(field, parse)).unwrap_or(default)
    }

    fn one<T>(&mut self, field: &Field, parse: impl FnOnce(&Value) -> Result<T, String>) -> Option<T> {
        parse(&field.value).map_err(|reason| self.problems.push(Problem::of_field(field, reason))).ok()
    }

    fn all<T>(&mut self, fields: &[Field], parse: impl Fn(&Value) -> Result<T, String>) -> Vec<T> {
        fields.iter().filter_map(|field| self.one(field, &parse)).collect()
    }

    fn time(
        &mut self,
        field: &Option<Field>,
        default: Duration,
        range: RangeInclusive<Duration>,
    ) -> Duration {
        self.value(field, default, |value| {
            let duration = match value {
                Value::Text(text) => units::duration(text).ok(),
                _ => None,
            };
            duration.filter(|duration| range.contains(duration)).ok_or_else(|| {
                let [min, max, example] =
                    [*range.start(), *range.end(), default].map(humantime::format_duration);
                format!("expected a duration from {min} to {max}, such as \"{example}\"")
            })
        })
    }

    fn count(&mut self, field: &Option<Field>, default: u64, range: RangeInclusive<u64>) -> usize {
        let count = self.value(field, default, |value| {
            let count = match value {
                Value::Integer(number) => u64::try_from(*number).ok(),
                _ => None,
            };
            count
                .filter(|count| range.contains(count))
                .ok_or_else(|| format!("expected a whole number from {} to {}", range.start(), range.end()))
        });
        count as usize // every range ends far below 2^32
    }

    fn http(&mut self, raw: &RawHttp) -> Option<Http> {
        let local = Endpoint::from(SocketAddr::from((Ipv4Addr::LOCALHOST, HTTP_PORT)));
        let listen = self.value(&raw.listen, Some(local.clone()), |value| {
            listen::listen(text(value, "127.0.0.1:8080")?).map_err(display)
        });
        let allow = raw.allow.as_ref().map(|fields| self.all(fields, prefix));
        let http = Http {
            listen: listen.clone().unwrap_or(local),
            allow: allow.unwrap_or_else(|| vec![allow_default()]),
            clients_max: self.count(&raw.clients_max, CLIENTS, 1..=CLIENTS_MAX),
            linger: self.time(&raw.linger, LINGER, Duration::ZERO..=LINGER_MAX),
            header_timeout: self.time(
                &raw.header_timeout,
                HEADER_TIMEOUT,
                HEADER_TIMEOUT_MIN..=HEADER_TIMEOUT_MAX,
            ),
            idle_timeout: self.time(&raw.idle_timeout, IDLE_TIMEOUT, IDLE_TIMEOUT_MIN..=IDLE_TIMEOUT_MAX),
            chunk: self.time(&raw.chunk, CHUNK, Duration::ZERO..=CHUNK_MAX),
            lag_max: self.time(&raw.lag_max, LAG_MAX, LAG_MAX_MIN..=LAG_MAX_MAX),
            start_bytes_max: self
                .value(&raw.start_bytes_max, START_BYTES, |value| bytes(value, 0..=START_BYTES_MAX)),
            list_clients: self.value(&raw.list_clients, true, switch),
            control: self.value(&raw.control, false, switch),
            interface: self.value(&raw.interface, None, |value| parsed(value, "eth1").map(Some)),
            fec: self.value(&raw.fec, Fec::Off, |value| parsed(value, "st2022-1")),
            rejoin: self.rejoin(&raw.rejoin),
            playlist: self.playlist(&raw.playlist),
            origins: self.all(raw.origins.as_deref().unwrap_or_default(), |value| {
                parsed(value, "https://dash.example")
            }),
            admin: self.value(&raw.admin, None, |value| {
                listen::listen(text(value, "127.0.0.1:8081")?).map_err(display)
            }),
            trusted_proxies: self.proxies(raw.trusted_proxies.as_deref().unwrap_or_default()),
            base: self.value(&raw.base, "/".to_owned(), base),
            hosts: self.all(raw.hosts.as_deref().unwrap_or_default(), |value| parsed(value, "tv.example")),
        };
        listen.map(|_| http)
    }

    fn tcp(&mut self, raw: &RawTcp) -> Option<Tcp> {
        let listen = self.value(&raw.listen, None, |value| {
            listen::listen(text(value, "127.0.0.1:9000")?).map_err(display)
        });
        let clients_max = self.count(&raw.clients_max, TCP_CLIENTS, 1..=CLIENTS_MAX);
        listen.map(|listen| Tcp { listen, clients_max })
    }

    /// Returns the UDP server, which is off unless an address to listen on is configured.
    fn udp(&mut self, raw: &RawUdp) -> Option<Udp> {
        let listen = self
            .value(&raw.listen, None, |value| listen::listen(text(value, "0.0.0.0:4023")?).map_err(display));
        for field in [&raw.clients_max, &raw.lease].into_iter().flatten() {
            if raw.listen.is_none() {
                self.problems.push(Problem::of_field(field, "expected only with udp.listen, or --udp"));
            }
        }
        let clients_max = self.count(&raw.clients_max, UDP_CLIENTS, 1..=UDP_CLIENTS_MAX);
        let lease = self.time(&raw.lease, UDP_LEASE, UDP_LEASE_MIN..=UDP_LEASE_MAX);
        listen.map(|listen| Udp { listen, clients_max, lease })
    }

    /// Returns the share of one host, in percent.
    fn share(&mut self, field: &Option<Field>) -> usize {
        self.count(field, SHARE_PERCENT, 1..=100)
    }

    fn shares(&mut self, raw: &RawShares) -> Bounds {
        let mut bounds = Bounds::default();
        let shares = [
            (Resource::Connections, &raw.connections),
            (Resource::Admin, &raw.connections),
            (Resource::Streams, &raw.streams),
            (Resource::Groups, &raw.groups),
            (Resource::Pages, &raw.pages),
            (Resource::Tcp, &raw.tcp),
            (Resource::Udp, &raw.udp),
        ];
        for (resource, field) in shares {
            // An invalid share is reported only once.
            let share = if resource == Resource::Admin {
                bounds.of(Resource::Connections).share
            } else {
                self.share(field)
            };
            bounds.set_share(resource, share);
        }
        bounds
    }

    fn proxies(&mut self, fields: &[Field]) -> Vec<IpNet> {
        if let Some(field) = fields.get(TRUSTED_PROXIES_MAX) {
            let reason = format!("expected at most {TRUSTED_PROXIES_MAX} proxies; a prefix stands for many");
            self.problems.push(Problem::of_field(field, reason));
        }
        self.all(fields, network)
    }

    fn tick(&mut self, field: &Option<Field>, default: Duration) -> Duration {
        let range = Duration::ZERO..=TICK_MAX;
        // The example in the error is always the usual default.
        if field.is_some() { self.time(field, TICK, range) } else { default }
    }

    fn playlist(&mut self, field: &Option<Field>) -> Option<Arc<Imported>> {
        let base = self.base;
        self.value(field, None, |value| {
            Imported::read(text(value, "channels.m3u")?, base).map(Arc::new).map(Some)
        })
    }

    fn shown(&mut self, [id, name, logo, group, number]: &[Option<Field>; 5]) -> Shown {
        let mut said = |field: &Option<Field>, example: &str| {
            self.value(field, None, |value| m3u::attribute(text(value, example)?).map(Some))
        };
        let (id, name) = (said(id, "news.example"), said(name, "News"));
        let (logo, group) = (said(logo, "http://logos.example/news.png"), said(group, "Info"));
        let number = number.as_ref().map(|_| self.count(number, 1, 0..=CHANNEL_NUMBER_MAX) as u32);
        Shown { id, name, logo, group, number }
    }

    /// Returns the interval of membership reports, which are off unless an interval is configured.
    fn rejoin(&mut self, field: &Option<Field>) -> Option<Duration> {
        field.as_ref()?;
        Some(self.time(field, REJOIN, REJOIN_MIN..=REJOIN_MAX))
    }

    fn channel(&mut self, raw: &RawChannel, tick: Duration, flows_share: usize) -> Channel {
        let legs = self.all(raw.input.as_deref().unwrap_or_default(), |value| {
            parsed(value, "udp://@239.1.1.1:5000").map(|address| Leg { address, reports: false })
        });
        let format = self.value(&raw.format, Format::Auto, |value| parsed(value, "rtp"));
        let fec = self.value(&raw.fec, Fec::Off, |value| parsed(value, "st2022-1"));
        let rist = legs.iter().any(|leg| leg.address.scheme == Scheme::Rist);
        let described = self.described(raw, &legs);
        let rtp =
            fec == Fec::St2022 || described.is_some() || legs.iter().any(|leg| leg.address.scheme.is_rtp());
        let name = self.value(&raw.name, String::new(), name);
        let retransmission =
            self.value(&raw.retransmission, Retransmission::default(), |value| parsed(value, "on"));
        let hold = self.hold(raw, rist);
        let (release, hold) = self.release(raw, hold);
        let (outputs, recordings) = self.outputs(raw);
        let format = if rtp && format == Format::Auto { Format::Rtp } else { format };
        let (seal, format) = self.seal(raw, format);
        Channel {
            name,
            format,
            seal,
            legs,
            payload_types: described.as_ref().map_or_else(Arc::default, |it| Arc::new(it.payload_types())),
            described: described.map(Arc::new),
            fec,
            retransmission,
            hold,
            release,
            limits: self.limits(raw, flows_share),
            tick: self.tick(&raw.tick, tick),
            failover: self.time(&raw.failover, FAILOVER, FAILOVER_MIN..=FAILOVER_MAX),
            rejoin: self.rejoin(&raw.rejoin),
            outputs,
            recordings,
            shown: self.shown(&raw.m3u),
            sap: self.value(&raw.sap, false, switch),
            receive_buffer: self.value(&raw.receive_buffer, None, |value| {
                bytes(value, RECEIVE_BUFFER_MIN..=RECEIVE_BUFFER_MAX).map(Some)
            }),
        }
    }

    /// Returns the keys of a channel that takes sealed datagrams alone, and its format: that of
    /// the datagrams that can be sealed.
    fn seal(&mut self, raw: &RawChannel, format: Format) -> (Option<Arc<Keyring>>, Format) {
        let fields = raw.seal_keys.as_deref().unwrap_or_default();
        let required = self.value(&raw.seal, false, seal::required);
        let Some(field) = raw.seal.as_ref().filter(|_| required) else {
            if let Some(keys) = fields.first() {
                let reason = "expected only with seal = \"required\"";
                self.problems.push(Problem::at(keys.place.clone(), reason));
            }
            return (None, format);
        };
        if !matches!(format, Format::Auto | Format::Native) {
            let other = format.to_string();
            let reason =
                format!("expected the format native instead of {other:?}: nothing else can be sealed");
            self.problems.push(Problem::of_field(field, reason));
        }
        if fields.is_empty() {
            let reason = "expected seal_keys with a key, or with a file that `tidecast key new` writes";
            self.problems.push(Problem::of_field(field, reason));
        }
        let keyring = seal::keyring(fields, self.base, self.problems);
        (keyring.map(Arc::new), Format::Native)
    }

    /// Returns the description of the channel's RTP content, if configured.
    fn described(&mut self, raw: &RawChannel, legs: &[Leg]) -> Option<Described> {
        let maps = raw.rtpmap.as_ref().map(|fields| {
            let maps = self.all(fields, |value| parsed::<Rtpmap>(value, "98 L24/48000/2"));
            self.rtpmaps(fields, &maps);
            maps
        });
        if let (Some(field), Some(_)) = (&raw.sdp, &raw.rtpmap) {
            let reason = "expected sdp or rtpmap, not both: a description has its own a=rtpmap";
            self.problems.push(Problem::of_field(field, reason));
            return None;
        }
        let (base, sdp) = (self.base, raw.sdp.as_ref());
        let read = |value: &Value| Described::read(text(value, "stage.sdp")?, base, legs);
        let described = sdp.and_then(|field| self.one(field, read));
        described.or_else(|| maps.filter(|maps| !maps.is_empty()).map(|maps| Described::of_rtpmaps(&maps)))
    }

    /// Checks that each payload type has one meaning.
    fn rtpmaps(&mut self, fields: &[Field], maps: &[Rtpmap]) {
        for (index, map) in maps.iter().enumerate() {
            let first = maps[..index].iter().find(|first| first.payload_type == map.payload_type);
            // Maps and fields correspond only if all maps could be parsed.
            if let (Some(first), Some(field)) =
                (first, fields.get(index).filter(|_| fields.len() == maps.len()))
            {
                let reason = format!(
                    "expected one encoding of payload type {}, {first} stands there too",
                    map.payload_type
                );
                self.problems.push(Problem::of_field(field, reason));
            }
        }
    }

    fn outputs(&mut self, raw: &RawChannel) -> (Vec<Output>, Vec<Recording>) {
        let fields = raw.output.as_deref().unwrap_or_default();
        let (mut outputs, mut recordings) = (Vec::new(), Vec::new());
        for target in self.all(fields, |value| parsed(value, "udp://10.0.0.7:6000")) {
            match target {
                Target::Udp(output) => outputs.push(output),
                Target::Recording(recording) => recordings.push(recording),
            }
        }
        (outputs, recordings)
    }

    /// Returns the hold. `hold_min` and `hold_max` limit only the automatic hold. `rist`: a leg
    /// sends requests to a RIST sender.
    fn hold(&mut self, raw: &RawChannel, rist: bool) -> Hold {
        let hold = self.value(&raw.hold, Hold::default(), |value| parsed(value, "80ms"));
        let hold = if hold == Hold::default() { Hold::auto(rist) } else { hold };
        let Hold::Auto { min, max } = hold else {
            for field in [&raw.hold_min, &raw.hold_max].into_iter().flatten() {
                let reason = "expected only with hold = \"auto\" (a fixed hold has no bounds)";
                self.problems.push(Problem::of_field(field, reason));
            }
            return hold;
        };
        let min = self.time(&raw.hold_min, min, Duration::ZERO..=HOLD_CONFIG_MAX);
        let max = self.time(&raw.hold_max, max, Duration::ZERO..=HOLD_CONFIG_MAX);
        if min > max
            && let Some(field) = raw.hold_min.as_ref().or(raw.hold_max.as_ref())
        {
            let (min, max) = (humantime::format_duration(min), humantime::format_duration(max));
            let reason = format!("expected hold_min ({min}) not above hold_max ({max})");
            self.problems.push(Problem::of_field(field, reason));
        }
        Hold::Auto { min, max }
    }

    /// Returns when packets are released, and the hold. A gap that is held longer than the delay
    /// would make the following packets late, so a fixed delay limits the hold.
    fn release(&mut self, raw: &RawChannel, hold: Hold) -> (Release, Hold) {
        let release = self.value(&raw.release, Release::Asap, |value| parsed(value, "paced"));
        let Release::Paced(_) = release else {
            if let Some(field) = &raw.release_delay {
                self.problems.push(Problem::of_field(field, "expected only with release = \"paced\""));
            }
            return (release, hold);
        };
        let delay = self.value(&raw.release_delay, Delay::Auto, |value| parsed(value, "200ms"));
        let hold = match (delay, hold, &raw.release_delay) {
            (Delay::Fixed(delay), hold, Some(field)) => self.within(delay, hold, field, raw),
            _ => hold,
        };
        (Release::Paced(delay), hold)
    }

    /// Returns the hold limited by a fixed delay.
    fn within(&mut self, delay: Duration, hold: Hold, field: &Field, raw: &RawChannel) -> Hold {
        let time = humantime::format_duration;
        let (least, key) = match hold {
            Hold::Fixed(hold) => (hold, "hold"),
            Hold::Auto { min, .. } => (min, "hold_min"),
        };
        if delay < least {
            let reason = format!("expected at least the {key} ({})", time(least));
            self.problems.push(Problem::of_field(field, reason));
            return hold;
        }
        let Hold::Auto { min, max } = hold else { return hold };
        if let Some(field) = raw.hold_max.as_ref().filter(|_| max > delay) {
            let reason = format!("expected at most the release_delay ({})", time(delay));
            self.problems.push(Problem::of_field(field, reason));
        }
        Hold::Auto { min, max: max.min(delay) }
    }

    fn limits(&mut self, raw: &RawChannel, flows_share: usize) -> Limits {
        Limits {
            flows_max: self.count(&raw.flows_max, FLOWS_MAX as u64, 1..=FLOWS_CONFIG_MAX),
            bytes_max: self.value(&raw.bytes_max, CHANNEL_BYTES_MAX, |value| {
                bytes(value, CHANNEL_BYTES_CONFIG_MIN..=CHANNEL_BYTES_CONFIG_MAX)
            }),
            window_max: self.count(
                &raw.window_max,
                REORDER_PACKETS_MAX,
                WINDOW_CONFIG_MIN..=WINDOW_CONFIG_MAX,
            ) as u64,
            flow_idle: self.time(&raw.flow_idle, FLOW_IDLE, FLOW_IDLE_MIN..=FLOW_IDLE_MAX),
            flows_share,
        }
    }
}

/// Default HTTP port: the usual one of a web server without privileges.
const HTTP_PORT: u16 = 8080;

/// Returns the administratively scoped groups (RFC 2365): they are private to a site, so serving
/// them on loopback is harmless.
fn allow_default() -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(239, 0, 0, 0), 8))
}

fn display(error: impl Display) -> String {
    error.to_string()
}

fn text<'a>(value: &'a Value, example: &str) -> Result<&'a str, String> {
    match value {
        Value::Text(text) => Ok(text),
        _ => Err(format!("expected text in quotes, such as {example:?}")),
    }
}

/// Parses text by the type's own parser.
fn parsed<T: FromStr<Err: Display>>(value: &Value, example: &str) -> Result<T, String> {
    text(value, example)?.parse().map_err(display)
}

/// Parses `true` or `false`.
fn switch(value: &Value) -> Result<bool, String> {
    match value {
        Value::Other(source) if source == "true" => Ok(true),
        Value::Other(source) if source == "false" => Ok(false),
        _ => Err("expected true or false, without quotes".to_owned()),
    }
}

fn bytes(value: &Value, range: RangeInclusive<usize>) -> Result<usize, String> {
    let bytes = match value {
        Value::Text(text) => units::bytes(text).ok(),
        Value::Integer(number) => usize::try_from(*number).ok(),
        Value::Other(_) => None,
    };
    bytes.filter(|bytes| range.contains(bytes)).ok_or_else(|| {
        let (min, max) = (units::display_bytes(*range.start()), units::display_bytes(*range.end()));
        format!("expected a number of bytes from {min} to {max}, such as \"8MiB\"")
    })
}

/// Parses a name that is used unescaped in URLs, metrics and tables.
fn name(value: &Value) -> Result<String, String> {
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    match value {
        Value::Text(name)
            if (1..=CHANNEL_NAME_BYTES_MAX).contains(&name.len())
                && name.chars().all(safe)
                && name != "."
                && name != ".." =>
        {
            Ok(name.clone())
        }
        _ => {
            Err(format!("expected a name of 1 to {CHANNEL_NAME_BYTES_MAX} letters, digits, '.', '_' and '-'"))
        }
    }
}

/// Parses a group or a range of groups.
fn prefix(value: &Value) -> Result<IpNet, String> {
    const EXPECTED: &str = "expected a prefix of multicast groups, such as \"239.1.0.0/16\" or \"ff15::/16\"";
    let Value::Text(text) = value else { return Err(EXPECTED.to_owned()) };
    let net: IpNet = match text.parse() {
        Ok(net) => net,
        Err(_) => text.parse::<IpAddr>().map(IpNet::from).map_err(|_| EXPECTED.to_owned())?,
    };
    let multicast = match net {
        IpNet::V4(net) => Ipv4Net::new_assert(Ipv4Addr::new(224, 0, 0, 0), 4).contains(&net),
        IpNet::V6(net) => Ipv6Net::new_assert(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8).contains(&net),
    };
    match net {
        _ if !multicast => Err("expected multicast groups only: inside 224.0.0.0/4 or ff00::/8".to_owned()),
        _ if net.addr() != net.network() => {
            Err(format!("expected no bits behind the prefix: {}, or {}", net.trunc(), net.addr()))
        }
        _ => Ok(net),
    }
}

/// Parses a host or network, such as that of proxies.
fn network(value: &Value) -> Result<IpNet, String> {
    const EXPECTED: &str = "expected an address or a prefix, such as \"127.0.0.1\" or \"10.0.0.0/24\"";
    let Value::Text(text) = value else { return Err(EXPECTED.to_owned()) };
    let net: IpNet = match text.parse() {
        Ok(net) => net,
        Err(_) => text.parse::<IpAddr>().map(IpNet::from).map_err(|_| EXPECTED.to_owned())?,
    };
    if net.addr() != net.network() {
        return Err(format!("expected no bits behind the prefix: {}, or {}", net.trunc(), net.addr()));
    }
    Ok(net)
}

/// Parses a path that is a prefix of other paths.
fn base(value: &Value) -> Result<String, String> {
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '~');
    let is_part = |part: &str| !matches!(part, "" | "." | "..") && part.chars().all(safe);
    match value {
        Value::Text(path) if path == "/" => Ok(path.clone()),
        Value::Text(path)
            if path.len() <= BASE_BYTES_MAX
                && path.strip_prefix('/').and_then(|path| path.strip_suffix('/')).is_some_and(|inner| inner.split('/').all(is_part)) =>
        {
            Ok(path.clone())
        }
        _ => Err("expected a path that begins and ends with a slash, such as \"/tv/\", of letters, digits, '.', '_', '~' and '-'".to_owned()),
    }
}
