//! Analyses the traffic of a group: formats, flows, rates, losses before any recovery, FEC, RTCP
//! and transport streams; and suggests settings that would have recovered the losses.
//!
//! Pure: datagrams come from [`crate::commands`] (sockets or a capture file) with their time,
//! sender and port; [`Probe::report`] returns the results. Unlike [`tidecast_core::relay`], it
//! does not hold, reorder or recover packets.

mod control;
mod flow;
mod geometry;
mod guess;
mod identify;
mod kinds;
mod losses;
mod numbers;
pub mod report;
mod simulate;
mod suggest;
pub mod text;
mod ts;

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    time::Instant,
};

use foldhash::quality::RandomState;

use crate::limits::{PROBE_FLOWS_MAX, PROBE_TS_FLOWS_MAX};
use control::Control;
use flow::{ProbedFlow, numbers_of};
use geometry::Geometry;
use guess::Samples;
use losses::Losses;
use report::{BesideReport, NumbersReport, Report};
use tidecast_core::identify::Sources;
use tidecast_wire::{
    self as wire, Datagram, Format, Looks, Reason, Reject, custom, native, rtp, st2022, ts::looks_like,
};

/// Port of the stream on which a datagram arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// The requested port.
    Media,
    /// The next higher port, which RTCP uses.
    Control,
    /// Two (columns) or four (rows) above it, which the repair packets of ST 2022-1 use.
    Repair(u16),
}

impl Role {
    /// All ports of a stream, the media's first.
    pub const ALL: [Role; 4] = [
        Role::Media,
        Role::Control,
        Role::Repair(st2022::PORTS_ABOVE[0]),
        Role::Repair(st2022::PORTS_ABOVE[1]),
    ];

    /// Returns the offset from the media's port.
    pub fn port_above(self) -> u16 {
        match self {
            Role::Media => 0,
            Role::Control => wire::rtcp::PORT_ABOVE,
            Role::Repair(above) => above,
        }
    }
}

/// Identifies the flow of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    Native(u32),
    Rtp(u32, SocketAddr),
    Custom(custom::Id, SocketAddr),
    Unnumbered(SocketAddr),
}

/// All results so far.
#[derive(Debug)]
pub struct Probe {
    format: Format,
    /// The format of each source, if it is not configured.
    sources: Option<Box<Sources<Vec<u8>>>>,
    flows: HashMap<Key, ProbedFlow, RandomState>,
    /// The flows, in the order in which they started.
    order: Vec<Key>,
    ts_flows: usize,
    geometry: Geometry,
    control: Control,
    samples: Samples,
    first: Option<Instant>,
    last: Option<Instant>,
    packets: u64,
    bytes: u64,
    corrupt: u64,
    foreign: u64,
    /// Format that the first corrupt or foreign datagram resembled.
    refused: Option<Looks>,
    unfollowed: u64,
    /// Datagrams of the layout that have no sequence number.
    passed: u64,
    beside: BTreeMap<u16, u64>,
    payload_is_ts: bool,
}

impl Probe {
    /// Creates a probe for datagrams of this format; usually [`Format::Auto`].
    pub fn new(format: Format) -> Probe {
        Probe {
            sources: identify::sources(&format),
            format,
            flows: HashMap::default(),
            order: Vec::new(),
            ts_flows: 0,
            geometry: Geometry::default(),
            control: Control::default(),
            samples: Samples::default(),
            first: None,
            last: None,
            packets: 0,
            bytes: 0,
            corrupt: 0,
            foreign: 0,
            refused: None,
            unfollowed: 0,
            passed: 0,
            beside: BTreeMap::new(),
            payload_is_ts: false,
        }
    }

    /// Returns whether nothing has arrived yet.
    pub fn is_empty(&self) -> bool {
        self.packets == 0
    }

    /// Returns when the first datagram arrived.
    pub fn began(&self) -> Option<Instant> {
        self.first
    }

    /// Processes one datagram.
    pub fn push(&mut self, now: Instant, source: SocketAddr, role: Role, bytes: &[u8]) {
        self.first.get_or_insert(now);
        self.last = self.last.max(Some(now));
        self.packets += 1;
        self.bytes += bytes.len() as u64;
        match role {
            Role::Media => self.media(now, source, bytes),
            Role::Control if self.control.push(bytes) => {}
            Role::Control => self.other(role),
            Role::Repair(_) => match st2022::Repair::parse(bytes) {
                Ok(repair) => self.geometry.matrix(source.ip(), &repair),
                Err(_) => self.other(role),
            },
        }
    }

    fn other(&mut self, role: Role) {
        *self.beside.entry(role.port_above()).or_default() += 1;
    }

    fn media(&mut self, now: Instant, source: SocketAddr, bytes: &[u8]) {
        if self.sources.is_some() && !bytes.is_empty() {
            return self.identify(now, source, bytes);
        }
        let format = self.format.clone(); // cheap: a kind, or a shared layout
        self.parsed(now, source, bytes, wire::parse(&format, bytes));
    }

    /// Processes a parsed datagram, or the error for a damaged one.
    fn parsed(
        &mut self,
        now: Instant,
        source: SocketAddr,
        bytes: &[u8],
        datagram: Result<Datagram<'_>, Reject>,
    ) {
        match datagram {
            Ok(Datagram::Native(packet)) => self.native(now, source, &packet, bytes.len()),
            Ok(Datagram::Rtp(packet)) => self.rtp(now, source, &packet, bytes.len()),
            Ok(Datagram::Custom(packet)) => self.custom(now, source, &packet, bytes.len()),
            Ok(Datagram::Ts(_)) => self.unnumbered(now, source, bytes, true),
            Ok(Datagram::Raw(_)) => {
                self.samples.push(source, bytes);
                self.unnumbered(now, source, bytes, false);
            }
            Err(Reject::Foreign(Reason::Rtcp)) if self.control.push(bytes) => {}
            Err(reject) => {
                self.refused.get_or_insert_with(|| Looks::of(bytes));
                match reject {
                    Reject::Foreign(_) => self.foreign += 1,
                    Reject::Corrupt(_) => self.corrupt += 1,
                }
            }
        }
    }

    fn native(&mut self, now: Instant, source: SocketAddr, packet: &native::Packet<'_>, len: usize) {
        match packet.kind() {
            native::Kind::Data => {}
            native::Kind::Repair => {
                if let Ok(repair) = native::Repair::parse(packet.payload()) {
                    self.geometry.block(&repair);
                }
                return;
            }
            native::Kind::Heartbeat | native::Kind::End | native::Kind::Nack => return,
        }
        let stream = packet.stream();
        let new = || ProbedFlow::native(now, stream, source.to_string());
        if let Some(flow) = self.flow(Key::Native(stream), looks_like(packet.payload()), new) {
            flow.push_native(now, packet, len);
        }
    }

    fn rtp(&mut self, now: Instant, source: SocketAddr, packet: &rtp::Packet<'_>, len: usize) {
        let ssrc = packet.ssrc();
        // RIST sets the lowest bit in retransmissions, which may come from any port
        if ssrc & 1 == 1
            && let Some(flow) = self.flows.get_mut(&Key::Rtp(ssrc & !1, source))
        {
            flow.push_retransmitted();
            return;
        }
        let new = || ProbedFlow::rtp(now, packet, source.to_string());
        if let Some(flow) = self.flow(Key::Rtp(ssrc, source), looks_like(packet.payload()), new) {
            flow.push_rtp(now, packet, len);
        }
    }

    fn custom(&mut self, now: Instant, source: SocketAddr, packet: &custom::Packet<'_>, len: usize) {
        if packet.passes() {
            self.passed += 1;
            return;
        }
        let id = packet.id(source);
        let unspecified = SocketAddr::from(([0, 0, 0, 0], 0));
        let key = Key::Custom(id.unwrap_or_default(), if id.is_none() { source } else { unspecified });
        let new = || ProbedFlow::custom(now, packet, source);
        if let Some(flow) = self.flow(key, false, new) {
            flow.push_custom(now, packet, len);
        }
        if packet.mixed()
            && let Format::Custom(layout) = self.format.clone()
        {
            for run in layout.others(packet.payload(), source) {
                let key = Key::Custom(
                    run.id.unwrap_or_default(),
                    if run.id.is_none() { source } else { unspecified },
                );
                if let Some(flow) = self.flows.get_mut(&key) {
                    flow.push_used(now, run.number, run.count);
                }
            }
        }
    }

    fn unnumbered(&mut self, now: Instant, source: SocketAddr, bytes: &[u8], is_ts: bool) {
        let new = || ProbedFlow::unnumbered(now, source.to_string(), is_ts);
        if let Some(flow) = self.flow(Key::Unnumbered(source), is_ts, new) {
            flow.push_unnumbered(now, bytes, is_ts);
        }
    }

    /// Returns the flow, which may start with this datagram, or `None` if there are too many.
    fn flow(&mut self, key: Key, is_ts: bool, new: impl FnOnce() -> ProbedFlow) -> Option<&mut ProbedFlow> {
        if !self.flows.contains_key(&key) {
            if self.flows.len() >= PROBE_FLOWS_MAX {
                self.unfollowed += 1;
                return None;
            }
            self.flows.insert(key, new());
            self.order.push(key);
        }
        self.payload_is_ts |= is_ts;
        let flow = self.flows.get_mut(&key)?;
        if is_ts && flow.ts.is_none() && self.ts_flows < PROBE_TS_FLOWS_MAX {
            flow.ts = Some(Box::default());
            self.ts_flows += 1;
        }
        Some(flow)
    }

    /// Returns the results so far; `input` is the probed address.
    pub fn report(&self, now: Instant, input: &str) -> Report {
        let seconds = self.first.map_or(0.0, |first| now.saturating_duration_since(first).as_secs_f64());
        let per_second = |count: u64| if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
        let flows: Vec<_> = self.order.iter().filter_map(|key| self.flows.get(key)).collect();
        let flows: Vec<_> = flows.into_iter().map(|flow| flow.report(now)).collect();
        let jitter = flows.iter().filter_map(|flow| flow.jitter_seconds).reduce(f64::max);
        Report {
            input: input.to_owned(),
            seconds,
            format: self.format_words(),
            packets: self.packets,
            bytes: self.bytes,
            packets_per_second: per_second(self.packets),
            bits_per_second: per_second(self.bytes) * 8.0,
            numbers: self.numbers(now, flows.iter().filter_map(|flow| flow.numbers.as_ref())),
            jitter_seconds: jitter,
            corrupt: self.corrupt,
            foreign: self.foreign,
            refused_format: self.refused.and_then(Looks::format),
            kernel_drops: 0,
            fec: self.geometry.report(),
            rtcp: self.control.report(),
            flows,
            unfollowed: self.unfollowed,
            unnumbered: self.passed,
            beside: self
                .beside
                .iter()
                .map(|(above, packets)| BesideReport { port_above: *above, packets: *packets })
                .collect(),
            format_guess: self.samples.guess(),
            suggestion: None,
        }
    }

    /// Returns the report with a suggestion, which requires a simulation. Datagrams whose format
    /// is still undecided count as unnumbered.
    pub fn final_report(&mut self, now: Instant, input: &str) -> Report {
        self.settle_all(now);
        let mut report = self.report(now, input);
        report.suggestion = suggest::suggest(&self.seen(now), input);
        report
    }

    fn numbers<'a>(&self, now: Instant, each: impl Iterator<Item = &'a NumbersReport>) -> NumbersReport {
        let (expected, losses) = self.losses(now);
        let mut all = numbers_of(expected, &losses);
        for one in each {
            all.reordered += one.reordered;
            all.duplicates += one.duplicates;
            all.retransmitted += one.retransmitted;
            all.restarts += one.restarts;
            all.strays += one.strays;
            all.reorder_distance_max = all.reorder_distance_max.max(one.reorder_distance_max);
            all.lateness_max_seconds = all.lateness_max_seconds.max(one.lateness_max_seconds);
        }
        all
    }

    fn losses(&self, now: Instant) -> (u64, Losses) {
        let (mut expected, mut losses) = (0, Losses::default());
        for flow in self.flows.values() {
            let (more, its) = flow.losses(now);
            expected += more;
            losses.merge(&its);
        }
        (expected, losses)
    }

    /// Returns the data on which a suggestion is based.
    fn seen(&self, now: Instant) -> suggest::Seen {
        let (expected, losses) = self.losses(now);
        let numbered = || self.flows.values().filter(|flow| flow.is_numbered());
        let most = numbered().map(|flow| flow.rate().0).max().unwrap_or(0);
        let rates = numbered().map(ProbedFlow::rate).filter(|(packets, _)| *packets * 4 >= most);
        suggest::Seen {
            expected,
            losses,
            lateness: numbered().map(ProbedFlow::lateness).max().unwrap_or_default(),
            rate: rates.map(|(_, rate)| rate).filter(|rate| *rate > 0.0).reduce(f64::min).unwrap_or(0.0),
            format: self.kind(),
            flows: numbered().count(),
        }
    }

    fn kind(&self) -> suggest::StreamKind {
        let is = |wanted: fn(&Key) -> bool| self.order.first().is_some_and(wanted);
        if is(|key| matches!(key, Key::Native(_))) {
            suggest::StreamKind::Native
        } else if is(|key| matches!(key, Key::Rtp(..))) {
            suggest::StreamKind::Rtp
        } else if is(|key| matches!(key, Key::Custom(..))) {
            suggest::StreamKind::Custom
        } else {
            suggest::StreamKind::Unnumbered
        }
    }

    fn format_words(&self) -> String {
        let has = |wanted: fn(&Key) -> bool| self.order.iter().any(wanted);
        let mut names = Vec::new();
        if has(|key| matches!(key, Key::Native(_))) {
            names.push("native");
        }
        if has(|key| matches!(key, Key::Rtp(..))) {
            names.push("RTP");
        }
        if has(|key| matches!(key, Key::Custom(..))) {
            names.push("numbered as --format says");
        }
        let unnumbered = self.flows.values().filter(|flow| !flow.is_numbered());
        let (plain, ts) = unnumbered
            .fold((false, false), |(plain, ts), flow| (plain || flow.ts.is_none(), ts || flow.ts.is_some()));
        if ts {
            names.push("MPEG-TS without RTP (not numbered)");
        }
        if plain {
            names.push("unnumbered");
        }
        let mut words = names.join(" and ");
        if self.payload_is_ts && !ts && !words.is_empty() {
            words.push_str(" with MPEG-TS");
        }
        if words.is_empty() { "nothing".to_owned() } else { words }
    }
}

#[cfg(test)]
mod tests;
