//! The packet path: channels with their sockets, core and outputs, and the threads that run them.
//!
//! A datagram comes from a leg's socket ([`tidecast_net::ingest`]), goes through the channel's
//! core ([`tidecast_core::relay`]), and leaves through [`udp`] or into a [`tap`], which the
//! servers read. This module does not depend on its readers. A [`thread`] runs its share of the
//! channels and handles commands from outside.
//!
//! A turn receives the waiting datagrams ([`Channel::receive_ready`]), then calls
//! [`Channel::turn`], which advances the core's time, sends deliveries to the UDP outputs and into
//! the taps, and returns the memory to the pool.

mod alarm;
mod arrivals;
pub mod carries;
mod deliver;
pub mod losses;
mod port;
pub mod rtp;
pub mod state;
mod survey;
pub mod tap;
#[cfg(test)]
pub(crate) mod testing;
pub mod thread;
pub mod udp;
mod view;
pub mod wanted;

use std::{
    collections::HashMap,
    fmt,
    net::SocketAddr,
    os::fd::BorrowedFd,
    sync::Arc,
    time::{Duration, Instant},
};

use tracing::{debug, info, warn};

use self::{
    arrivals::{Queue, Waiting},
    carries::Seen,
    deliver::{Due, Note},
    losses::LossLog,
    port::{Port, Role},
    rtp::Wrapper,
    state::FlowState,
    tap::{Batch, FlowName, LastValues, Select, Tap},
    udp::UdpOutputs,
};
use crate::limits::{BURST, CHUNK, TICK};
use tidecast_core::{
    buffer::{Buffer, Pool},
    relay::{self, Beside, Delivery, FlowId, Input, Relay, Retransmission, Socket},
};
use tidecast_core::{follow::Follow, limits::POOL_SLOTS};
use tidecast_net::{address, clock::ClockPair, log_limiter::LogLimiter};
use tidecast_net::{
    ingest::Change,
    interface::Interfaces,
    sys::{ReceiveBatch, SendBatch},
};
use tidecast_wire::seal::Keyring;

/// Takes deliveries on the packet thread itself, with a flag whether a player would get each (see
/// [`tidecast_core::follow`]).
pub type Sink = Box<dyn FnMut(&Delivery, bool) + Send>;

/// Everything that a channel is created from.
pub struct ChannelSpec {
    /// Its name.
    pub name: String,
    /// The legs.
    pub inputs: Vec<address::Input>,
    /// Indices of the legs with RTCP on the port above, which is sent on.
    pub reports: Vec<usize>,
    /// The settings of the core, apart from its legs.
    pub relay: relay::Config,
    /// Whether to request missing packets.
    pub retransmission: Retransmission,
    /// The UDP outputs.
    pub outputs: Vec<address::Output>,
    /// Requested receive buffer per leg, in bytes.
    pub receive_buffer: usize,
    /// Interval at which memberships are reported without a query.
    pub rejoin: Option<Duration>,
    /// Players move to another flow after this long a silence.
    pub failover: Duration,
    /// How long packets are collected under load; zero for the lowest latency; `None` for the
    /// default of the thread.
    pub tick: Option<Duration>,
    /// Whether the channel exists only as long as clients request it.
    pub on_demand: bool,
    /// Histogram of the waits of closed gaps, in seconds.
    pub gap_wait: ::metrics::Histogram,
    /// Another receiver of the deliveries.
    pub sink: Option<Sink>,
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("name", &self.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for ChannelSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelSpec")
            .field("name", &self.name)
            .field("inputs", &self.inputs)
            .finish_non_exhaustive()
    }
}

/// Too many different selections of one channel's flows are being read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("too many flows of channel {name:?} are being read one by one")]
pub struct TooManyTaps {
    /// The channel's name.
    pub name: String,
}

/// Settings of the packet path, common to all channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathSettings {
    /// How long a thread sleeps at a time under load; zero for the lowest latency. Default for
    /// channels without their own setting.
    pub tick: Duration,
    /// Maximum datagrams of one size sent to a UDP target at once.
    pub burst: usize,
    /// How long payloads for HTTP clients are collected; zero for no longer than the tick.
    pub chunk: Duration,
    /// Whether to keep the last value of each flow for later subscribers.
    pub last_values: bool,
    /// Bytes of each transport stream to keep for players that start; zero to keep nothing.
    pub start_bytes_max: usize,
}

impl Default for PathSettings {
    fn default() -> PathSettings {
        PathSettings {
            tick: TICK,
            burst: BURST as usize,
            chunk: CHUNK,
            last_values: false,
            start_bytes_max: 0,
        }
    }
}

/// Resources that the channels of one packet thread share.
struct Kit {
    pool: Pool,
    receive: ReceiveBatch,
    /// Queues for ports that are read side by side.
    queues: Vec<Queue>,
    send: SendBatch,
    interfaces: Interfaces,
    /// Maximum datagrams of one size sent to a UDP target at once.
    burst: usize,
    /// How long payloads for HTTP are collected.
    chunk: Duration,
    /// Whether the last value of each flow is kept.
    last_values: bool,
    /// Bytes of a stream to keep for players that start; zero for none.
    start_bytes_max: usize,
}

impl Kit {
    fn new(now: Instant, settings: PathSettings) -> Kit {
        Kit {
            pool: Pool::new(POOL_SLOTS),
            receive: ReceiveBatch::new(),
            queues: Vec::new(),
            send: SendBatch::new(),
            interfaces: Interfaces::read(now),
            burst: settings.burst,
            chunk: settings.chunk,
            last_values: settings.last_values,
            start_bytes_max: settings.start_bytes_max,
        }
    }
}

/// A channel on its packet thread; others reach it through
/// [`PacketThread::with_channel`](self::thread::PacketThread::with_channel).
pub struct Channel {
    name: String,
    tick: Option<Duration>,
    on_demand: bool,
    format: String,
    started: Instant,
    legs: usize,
    /// Ports for media in the order of the legs, then those for repair packets and RTCP.
    ports: Vec<Port>,
    /// Ports with waiting datagrams; sockets of the outputs are numbered after the ports.
    ready: Vec<usize>,
    /// Datagrams that were read from a port, and wait for earlier ones on other ports.
    kept: Vec<(usize, Waiting)>,
    relay: Relay,
    /// Flows seen so far by a survey.
    surveyed: Vec<FlowState>,
    hold: relay::Hold,
    relay_due: Option<Instant>,
    outputs: UdpOutputs,
    /// Makes RTP packets, if there are outputs that send RTP.
    wrapper: Option<Wrapper>,
    /// RTCP to send on.
    reports: Vec<(Beside, Vec<u8>)>,
    /// Flows whose next packet starts a run of their producer; used with a wrapper.
    starting: Vec<FlowId>,
    chunk: Duration,
    start_bytes_max: usize,
    payload_taps: Vec<Tap>,
    /// Tap for readers of records.
    packet_tap: Option<Tap<Batch>>,
    /// Last values for later subscribers.
    last_values: Option<LastValues>,
    sink: Option<Sink>,
    follow: Follow,
    /// What the packets carry.
    seen: Seen,
    /// Count of packets that a player gets.
    followed: u64,
    /// Names of the flows. An id may be reused, and a flow may be removed before its last packets
    /// are sent.
    names: HashMap<FlowId, Arc<FlowName>>,
    gap_wait: ::metrics::Histogram,
    due: Vec<Due>,
    notes: Vec<Note>,
    losses: LossLog,
    rejects_logged: u64,
    /// Count of warnings about single flows.
    flows_warned: u32,
    early_logged: u64,
    log: LogLimiter,
}

impl Channel {
    fn new(spec: ChannelSpec, now: Instant, kit: &mut Kit) -> Channel {
        let ChannelSpec {
            name,
            inputs,
            reports,
            relay,
            receive_buffer,
            failover,
            on_demand,
            gap_wait,
            sink,
            ..
        } = spec;
        let (format, legs) = (relay.format.to_string(), inputs.len());
        let (hold, fec, seal) = (relay.hold, relay.fec, relay.seal.clone());
        let rist = |input: &address::Input| input.scheme == address::Scheme::Rist;
        let asks = inputs.iter().map(|input| spec.retransmission.asks(rist(input), input.is_class_d()));
        let relay = Relay::new(relay.for_legs(asks, rand::random()));
        let mut ports = Port::of_legs(inputs, fec, &reports, receive_buffer, now);
        for Port { socket, .. } in &mut ports {
            socket.belongs_to(&name);
            socket.rejoin_every(spec.rejoin);
            if on_demand {
                socket.be_quiet();
            }
        }
        let keeps_dscp = spec.outputs.iter().any(|output| output.dscp == Some(address::Dscp::Keep));
        if keeps_dscp {
            ports[..legs].iter_mut().for_each(|port| port.socket.ask_for_dscp());
        }
        let sends_rtp = spec.outputs.iter().any(|output| output.scheme.is_rtp());
        let owner = Some(name.as_str().into());
        Channel {
            name,
            tick: spec.tick,
            on_demand,
            format,
            started: now,
            legs,
            ports,
            ready: Vec::new(),
            kept: Vec::new(),
            relay,
            surveyed: Vec::new(),
            hold,
            relay_due: None,
            outputs: UdpOutputs::sealed(spec.outputs, owner, seal, kit.burst, now, &mut kit.interfaces),
            wrapper: sends_rtp.then(|| Wrapper::new(now)),
            reports: Vec::new(),
            starting: Vec::new(),
            chunk: kit.chunk,
            start_bytes_max: kit.start_bytes_max,
            payload_taps: (kit.start_bytes_max > 0)
                .then(|| Tap::new(Select::Auto, kit.chunk).with_start(kit.start_bytes_max, true))
                .into_iter()
                .collect(),
            packet_tap: None,
            last_values: kit.last_values.then(LastValues::default),
            sink,
            follow: Follow::new(failover),
            seen: Seen::new(now),
            followed: 0,
            names: HashMap::new(),
            gap_wait,
            due: Vec::new(),
            notes: Vec::new(),
            losses: LossLog::default(),
            rejects_logged: 0,
            flows_warned: 0,
            early_logged: 0,
            log: LogLimiter::default(),
        }
    }

    fn name(&self) -> &str {
        &self.name
    }

    /// Start time of the channel.
    fn started(&self) -> Instant {
        self.started
    }

    /// How long packets are collected, if configured.
    fn tick(&self) -> Option<Duration> {
        self.tick
    }

    /// When [`Channel::turn`] has something to do without an input.
    fn due(&self) -> Option<Instant> {
        let ports = self.ports.iter().filter_map(|port| port.socket.due());
        let taps = self.payload_taps.iter().filter_map(Tap::due);
        let records = self.packet_tap.as_ref().and_then(Tap::due);
        ports.chain(taps).chain(records).chain(self.relay_due).chain(self.outputs.due()).min()
    }

    /// Opens and joins sockets, again if needed. Calls `opened` with the channel's name and the
    /// index of each new socket: those of the ports, then those that receivers of the outputs
    /// answer to.
    fn maintain(
        &mut self,
        now: Instant,
        interfaces: &mut Interfaces,
        mut opened: impl FnMut(&str, usize, BorrowedFd<'_>),
    ) {
        for (index, port) in self.ports.iter_mut().enumerate() {
            if port.socket.maintain(now, interfaces) == Change::Opened
                && let Some(socket) = port.socket.socket()
            {
                opened(&self.name, index, socket);
            }
        }
        let count = self.ports.len();
        self.outputs.maintain(now, interfaces, |place, socket| {
            opened(&self.name, count + place, socket);
        });
    }

    /// Sends a request or a report from the socket that receives the media it concerns. A datagram
    /// that cannot be sent is treated like one lost on the network: the core repeats it.
    fn transmit(&mut self, leg: u8, from: Socket, to: SocketAddr, bytes: &[u8], now: Instant) {
        let port = self.ports.iter_mut().find(|port| port.leg == leg && port.role.socket() == Some(from));
        let Some(port) = port else { return };
        if let Err(error) = port.socket.send(bytes, to) {
            self.log_limited(now, |name| warn!(channel = name, "cannot send to {to}: {error}"));
        }
    }

    /// Takes datagrams that came on a socket outside of the channel.
    fn inject(&mut self, source: SocketAddr, datagrams: Vec<Buffer>, now: Instant) {
        for bytes in datagrams {
            self.relay.handle_input(Input::Packet { now, leg: 0, source, bytes });
            self.collect(now);
        }
    }

    /// Advances the core's time and sends what is due. `passed`: all datagrams that came before
    /// this time have been received. `at_once`: sends without waiting for more.
    fn turn(&mut self, now: Instant, passed: Instant, at_once: bool, kit: &mut Kit) {
        if self.relay_due.is_some_and(|at| at <= passed) {
            self.relay.handle_input(Input::Timeout { now: passed });
            self.collect(now);
        }
        if let Some(dscp) = self.dscp() {
            self.outputs.keep_dscp(dscp);
        }
        self.send(now, kit);
        for (beside, bytes) in self.reports.drain(..) {
            self.outputs.report(now, beside, &bytes);
        }
        self.record(now);
        self.keep_last_values(now);
        if self.outputs.due().is_some_and(|at| at <= now) {
            self.outputs.poll(now, &mut kit.send, &mut kit.interfaces);
        }
        for tap in &mut self.payload_taps {
            tap.turn(now, at_once);
        }
        if let Some(records) = &mut self.packet_tap {
            records.turn(now, at_once);
        }
        for due in self.due.drain(..) {
            kit.pool.put(due.delivery.packet.bytes);
        }
        self.relay.reclaim(&mut kit.pool);
        self.payload_taps.retain(|tap| !tap.is_idle());
        self.packet_tap.take_if(|records| records.is_idle());
        self.log_rejects(now);
        self.log_early(now);
    }

    /// DSCP of the latest media, for outputs that keep it: from the first leg that carries any.
    fn dscp(&self) -> Option<u8> {
        self.ports[..self.legs].iter().find_map(|port| port.socket.dscp())
    }

    /// Ends the channel: leaves the groups, processes waiting datagrams, and sends everything.
    fn finish(&mut self, kit: &mut Kit, clocks: ClockPair, floor: Instant) {
        self.ports.iter_mut().for_each(|port| port.socket.leave());
        self.ready = (0..self.ports.len()).collect();
        self.receive_ready(kit, clocks, floor);
        // Takes what still waits for a port that a sender keeps full.
        self.receive_ready(kit, clocks, floor);
        self.ports.iter_mut().for_each(|port| port.socket.read_kernel_drops());
        self.relay.finish(clocks.monotonic);
        self.collect(clocks.monotonic);
        self.turn(clocks.monotonic, clocks.monotonic, true, kit);
        self.outputs.finish(clocks.monotonic, &mut kit.send, &mut kit.interfaces);
    }

    /// Why legs have failed permanently (`failed`), or wait.
    fn troubles(&self, failed: bool) -> Vec<String> {
        let needed = self.ports.iter().filter(|port| port.role.is_needed());
        needed.filter_map(|port| port.trouble(failed)).collect()
    }

    /// Logs which optional ports could not be opened.
    fn warn_of_ports(&self) {
        let others = self.ports.iter().filter(|port| port.role == Role::PerhapsRepair);
        for trouble in others.filter_map(|port| port.trouble(true)) {
            if self.on_demand {
                debug!(channel = self.name, "no repair packets from {trouble}");
            } else {
                warn!(channel = self.name, "no repair packets from {trouble}");
            }
        }
        let reports = self.ports.iter().filter(|port| port.role == Role::Reports);
        for trouble in reports.filter_map(|port| port.trouble(true)) {
            info!(channel = self.name, "no RTCP from {trouble}");
        }
    }

    /// Exchanges the keys of a channel that takes sealed datagrams alone.
    pub fn rekey(&mut self, keyring: Arc<Keyring>) {
        self.outputs.rekey(&keyring);
        self.relay.rekey(keyring);
    }

    fn log_rejects(&mut self, now: Instant) {
        if !self.log.is_open(now) {
            return;
        }
        let reasons = self.relay.reject_reasons();
        let rejects: u64 = reasons.values().sum();
        if rejects > self.rejects_logged {
            let text: Vec<String> =
                reasons.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
            let (new, text) = (rejects - self.rejects_logged, text.join(", "));
            self.rejects_logged = rejects;
            self.log_limited(now, |name| {
                info!(
                    channel = name,
                    "dropped {new} datagrams that are corrupt or of another format (in all: {text})"
                )
            });
        }
    }

    /// Logs that memory does not suffice for the delay of paced release.
    fn log_early(&mut self, now: Instant) {
        let early = self.relay.released_early();
        if early > self.early_logged && self.log.is_open(now) {
            let new = early - std::mem::replace(&mut self.early_logged, early);
            self.log_limited(now, |name| {
                warn!(
                    channel = name,
                    "{new} packets left before their time: raise limits.bytes_max, or lower release_delay"
                )
            });
        }
    }

    fn log_limited(&mut self, now: Instant, log: impl FnOnce(&str)) {
        if self.log.admits(now) {
            log(&self.name);
        }
    }
}
