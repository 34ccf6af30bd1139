//! One channel on the packet path: its legs' sockets, its core, its outputs.
//!
//! A turn is: receive what is there ([`Channel::receive`]), then [`Channel::turn`], which lets time pass in the
//! core, sends what it delivers to the UDP outputs and into the taps, and gives the memory back to the pool.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    net::SocketAddr,
    os::fd::BorrowedFd,
    sync::Arc,
    time::{Duration, Instant},
};

use tracing::{info, warn};

use super::{
    Error,
    ingest::Change,
    interface::Interfaces,
    port::{self, LegTimes, Port, Role},
    state::{ChannelState, FlowState, LegState, OutputState, PacingState},
    sys::{ReceiveBatch, SendBatch},
    worker::Pace,
};
use crate::{
    address,
    buffer::Pool,
    clock::{self, ClockPair},
    egress::{
        follow::Follow,
        rtp::{Media, Wrapper},
        tap::{Batch, Event, FlowName, LastValues, Select, Tap, TapReader},
        udp::{Datagram, Rtp, Tools, UdpOutput, UdpOutputs},
    },
    history::Requests,
    limits::{JITTER_RECENT, LEG_BATCHES, LOG_INTERVAL, POOL_SLOTS, RECEIVE_BATCH, TAPS_MAX},
    relay::{self, Delivery, FlowId, Input, Output, PacketFormat, Relay, Retransmission, Socket},
    wire::ts,
};

/// Takes deliveries on the packet thread itself, and hears whether a player would take each (see
/// [`crate::egress::follow`]).
pub type Sink = Box<dyn FnMut(&Delivery, bool) + Send>;

/// What a channel is made from.
pub struct ChannelSpec {
    /// Its name.
    pub name: String,
    /// The legs.
    pub inputs: Vec<address::Input>,
    /// The core's settings; `legs`, `asks` and `seed` are set here.
    pub relay: relay::Config,
    /// Whether missing packets are asked for.
    pub retransmission: Retransmission,
    /// The UDP outputs.
    pub outputs: Vec<address::Output>,
    /// Receive buffer asked for per leg, in bytes.
    pub receive_buffer: usize,
    /// Players move to another flow after this long a silence.
    pub failover: Duration,
    /// Whether the channel exists only while somebody asks for it.
    pub on_demand: bool,
    /// Where the waits of closed gaps are recorded, in seconds.
    pub gap_wait: ::metrics::Histogram,
    /// What else takes the deliveries.
    pub sink: Option<Sink>,
}

impl fmt::Debug for ChannelSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelSpec")
            .field("name", &self.name)
            .field("inputs", &self.inputs)
            .finish_non_exhaustive()
    }
}

/// What the channels of one packet thread work with in turn.
pub(super) struct Kit {
    pub(super) pool: Pool,
    pub(super) receive: ReceiveBatch,
    pub(super) send: SendBatch,
    pub(super) interfaces: Interfaces,
    /// Datagrams of one size that go to a UDP target at once.
    pub(super) burst: usize,
    /// How long payloads for HTTP are collected.
    pub(super) chunk: Duration,
    /// Whether the last value of each flow is kept.
    pub(super) last_values: bool,
}

impl Kit {
    pub(super) fn new(now: Instant, pace: Pace) -> Kit {
        let Pace { burst, chunk, last_values, .. } = pace;
        Kit {
            pool: Pool::new(POOL_SLOTS),
            receive: ReceiveBatch::new(),
            send: SendBatch::new(),
            interfaces: Interfaces::read(now),
            burst,
            chunk,
            last_values,
        }
    }
}

/// A delivery of this turn, and whether the player's outputs take it.
#[derive(Debug)]
struct Due {
    delivery: Delivery,
    followed: bool,
    use_as: RtpUse,
    /// The flow's name, if somebody wants to know it.
    name: Option<Arc<FlowName>>,
}

/// What RTP outputs do with a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RtpUse {
    /// It is RTP.
    AsItIs,
    /// TS packets to be sent as RTP; `starts`: of a new run of their producer.
    Wrapped { starts: bool },
    /// TS packets of a flow that is not followed.
    Unfollowed,
    /// It can be no RTP.
    Never,
}

impl Due {
    /// What is to be sent as RTP, if this is.
    fn wrapped(&self) -> Option<Media<'_>> {
        let RtpUse::Wrapped { starts } = self.use_as else { return None };
        let Delivery { flow, seq, packet, .. } = &self.delivery;
        let number = (packet.format == PacketFormat::Native).then_some(*seq);
        Some(Media { flow: *flow, starts, number, arrived: packet.arrived, payload: packet.payload() })
    }
}

/// What else happened in this turn, for those who read records: before the delivery at this place.
type Note = (usize, Arc<FlowName>, Event);

pub(super) struct Channel {
    name: String,
    on_demand: bool,
    format: String,
    started: Instant,
    legs: usize,
    /// The media's in the order of the legs, then those for repair packets and RTCP.
    ports: Vec<Port>,
    relay: Relay,
    hold: relay::Hold,
    relay_due: Option<Instant>,
    outputs: UdpOutputs,
    /// If there are outputs that send RTP.
    wrapper: Option<Wrapper>,
    /// Flows whose next packet begins a run of their producer, if there is a wrapper.
    starting: Vec<FlowId>,
    chunk: Duration,
    taps: Vec<Tap>,
    /// For those who must know of each packet.
    records: Option<Tap<Batch>>,
    /// For those who will.
    last_values: Option<LastValues>,
    sink: Option<Sink>,
    follow: Follow,
    /// Names of the flows: an id may be used again, and a flow may be gone before its last packets are sent.
    names: HashMap<FlowId, Arc<FlowName>>,
    gap_wait: ::metrics::Histogram,
    due: Vec<Due>,
    notes: Vec<Note>,
    rejects_logged: u64,
    early_logged: u64,
    log_after: Instant,
}

impl Channel {
    pub(super) fn new(spec: ChannelSpec, now: Instant, kit: &mut Kit) -> Channel {
        let ChannelSpec { name, inputs, relay, receive_buffer, failover, on_demand, gap_wait, sink, .. } =
            spec;
        let (format, legs) = (relay.format.to_string(), inputs.len());
        let asks = inputs
            .iter()
            .map(|input| spec.retransmission.asks(input.scheme == address::Scheme::Rist, input.is_class_d()));
        let (asks, seed) = (asks.collect(), rand::random());
        let ports = Port::of_legs(inputs, relay.fec, receive_buffer, now);
        let hold = relay.hold;
        let relay = Relay::new(relay::Config { legs, asks, seed, ..relay });
        let sends_rtp = spec.outputs.iter().any(|output| output.scheme.is_rtp());
        Channel {
            name,
            on_demand,
            format,
            started: now,
            legs,
            ports,
            relay,
            hold,
            relay_due: None,
            outputs: UdpOutputs::new(spec.outputs, kit.burst, now, &mut kit.interfaces),
            wrapper: sends_rtp.then(|| Wrapper::new(now)),
            starting: Vec::new(),
            chunk: kit.chunk,
            taps: Vec::new(),
            records: None,
            last_values: kit.last_values.then(LastValues::default),
            sink,
            follow: Follow::new(failover),
            names: HashMap::new(),
            gap_wait,
            due: Vec::new(),
            notes: Vec::new(),
            rejects_logged: 0,
            early_logged: 0,
            log_after: now,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// When [`Channel::turn`] has something to do although nothing comes.
    pub(super) fn due(&self) -> Option<Instant> {
        let ports = self.ports.iter().filter_map(|port| port.socket.due());
        let taps = self.taps.iter().filter_map(Tap::due);
        let records = self.records.as_ref().and_then(Tap::due);
        ports.chain(taps).chain(records).chain(self.relay_due).chain(self.outputs.due()).min()
    }

    /// Whether a port brings media, not repair packets or answers.
    pub(super) fn is_media(&self, port: usize) -> bool {
        self.ports.get(port).is_some_and(|port| port.role == Role::Media)
    }

    /// Opens, joins and joins again as needed. Calls `opened` with the channel's name and the index of each socket that
    /// is new: the ports', then those that receivers of the outputs answer to.
    pub(super) fn maintain(
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

    /// Sends a request or a report from the socket that receives what it is about. One that cannot be sent now is lost
    /// like one that got lost on its way: the core asks again.
    fn transmit(&mut self, leg: u8, from: Socket, to: SocketAddr, bytes: &[u8], now: Instant) {
        let port = self.ports.iter_mut().find(|port| port.leg == leg && port.role.socket() == Some(from));
        let Some(port) = port else { return };
        if let Err(error) = port.socket.send(bytes, to) {
            self.log_limited(now, |name| warn!(channel = name, "cannot send to {to}: {error}"));
        }
    }

    /// Receives from one port until it is empty or others should have their turn. Returns the packets received.
    pub(super) fn receive(&mut self, port: usize, kit: &mut Kit, clocks: ClockPair, floor: Instant) -> usize {
        if let Some(place) = port.checked_sub(self.ports.len()) {
            let Kit { receive, pool, send, .. } = kit;
            return self.outputs.receive(place, clocks.monotonic, &mut Tools { receive, pool, send });
        }
        let mut received = 0;
        for _ in 0..LEG_BATCHES {
            let relay = &mut self.relay;
            let Kit { receive, pool, .. } = kit;
            let Port { socket, leg, role } = &mut self.ports[port];
            let count = socket.receive(receive, pool, clocks, floor, |now, source, bytes| {
                relay.handle_input(Port::input(*leg, *role, now, source, bytes));
            });
            self.collect(clocks.monotonic);
            match count {
                Ok(count) => {
                    received += count;
                    if count < RECEIVE_BATCH {
                        break;
                    }
                }
                Err(error) => {
                    // maintain() looks after the socket; the packets of other legs go on.
                    self.log_limited(clocks.monotonic, |name| {
                        warn!(channel = name, "cannot receive: {error}")
                    });
                    break;
                }
            }
        }
        received
    }

    /// Takes what the core puts out.
    fn collect(&mut self, now: Instant) {
        let named =
            self.records.is_some() || self.taps.iter().any(|tap| matches!(tap.select(), Select::Flow(_)));
        loop {
            match self.relay.poll_output() {
                Output::Deliver(delivery) => {
                    let concerned = Follow::concerns(delivery.packet.format);
                    let followed = !concerned || self.follow.takes(delivery.flow, now);
                    let use_as = self.use_as(&delivery, concerned, followed, now);
                    let name = named.then(|| self.names.get(&delivery.flow).cloned()).flatten();
                    self.due.push(Due { delivery, followed, use_as, name });
                }
                Output::GapClosed { waited, .. } => self.gap_wait.record(waited.as_secs_f64()),
                Output::SessionStarted { flow, key, source, succeeds } => {
                    self.names.insert(flow, Arc::new(FlowName { key, source }));
                    self.note(flow, Event::Started);
                    if self.wrapper.is_some() && !self.starting.contains(&flow) {
                        self.starting.push(flow);
                    }
                    if let Some(succeeds) = succeeds {
                        self.follow.succeeded(flow, succeeds, now);
                    }
                }
                Output::FlowEnded { flow } => {
                    self.note(flow, Event::Ended);
                    self.names.remove(&flow);
                    if let Some(last) = &mut self.last_values {
                        last.forget(flow);
                    }
                    self.starting.retain(|starting| *starting != flow);
                    self.follow.ended(flow);
                }
                Output::Lost { flow, from, count } => self.note(flow, Event::Lost { from, count }),
                Output::Transmit { leg, from, to, bytes } => self.transmit(leg, from, to, &bytes, now),
                Output::Timeout(at) => {
                    self.relay_due = at;
                    break;
                }
            }
        }
    }

    /// Remembers what happened, if somebody reads records.
    fn note(&mut self, flow: FlowId, event: Event) {
        if self.records.is_some()
            && let Some(name) = self.names.get(&flow)
        {
            self.notes.push((self.due.len(), name.clone(), event));
        }
    }

    /// What RTP outputs do with a delivery. Of several streams of TS packets they send the one that a player follows,
    /// also where others than players take all (native).
    #[inline]
    fn use_as(&mut self, delivery: &Delivery, concerned: bool, followed: bool, now: Instant) -> RtpUse {
        let format = delivery.packet.format;
        if format == PacketFormat::Rtp {
            return RtpUse::AsItIs;
        }
        if self.wrapper.is_none()
            || !(format == PacketFormat::Ts || ts::looks_like(delivery.packet.payload()))
        {
            return RtpUse::Never;
        }
        let followed = if concerned { followed } else { self.follow.takes(delivery.flow, now) };
        let place = self.starting.iter().position(|flow| *flow == delivery.flow);
        let starts = place.map(|place| self.starting.swap_remove(place)).is_some();
        if followed { RtpUse::Wrapped { starts } } else { RtpUse::Unfollowed }
    }

    /// Lets time pass and sends on what is due. `passed` is the time up to which everything that came has been
    /// received. `at_once`: nothing waits for more to come.
    pub(super) fn turn(&mut self, now: Instant, passed: Instant, at_once: bool, kit: &mut Kit) {
        if self.relay_due.is_some_and(|at| at <= passed) {
            self.relay.handle_input(Input::Timeout { now: passed });
            self.collect(now);
        }
        self.send(now, kit);
        self.record(now);
        self.keep_last_values(now);
        if self.outputs.due().is_some_and(|at| at <= now) {
            self.outputs.poll(now, &mut kit.send, &mut kit.interfaces);
        }
        for tap in &mut self.taps {
            tap.turn(now, at_once);
        }
        if let Some(records) = &mut self.records {
            records.turn(now, at_once);
        }
        for due in self.due.drain(..) {
            kit.pool.put(due.delivery.packet.bytes);
        }
        self.relay.reclaim(&mut kit.pool);
        self.taps.retain(|tap| !tap.is_idle());
        self.records.take_if(|records| records.is_idle());
        self.log_rejects(now);
        self.log_early(now);
    }

    fn send(&mut self, now: Instant, kit: &mut Kit) {
        if self.due.is_empty() {
            return;
        }
        let mut wrapped = self.wrapper.as_mut().map(|w| w.wrap(self.due.iter().filter_map(Due::wrapped)));
        let datagrams = self.due.iter().map(move |due| {
            let packet = &due.delivery.packet;
            let rtp = match due.use_as {
                RtpUse::AsItIs => Rtp::Packet(&packet.bytes),
                RtpUse::Wrapped { .. } => {
                    wrapped.as_mut().and_then(Iterator::next).map_or(Rtp::Not, Rtp::Packet)
                }
                RtpUse::Unfollowed => Rtp::Unfollowed,
                RtpUse::Never => Rtp::Not,
            };
            Datagram { whole: &packet.bytes, payload: packet.payload(), rtp, followed: due.followed }
        });
        self.outputs.send(now, &mut kit.send, &mut kit.interfaces, datagrams);
        for tap in &mut self.taps {
            for due in &self.due {
                let wanted = match tap.select() {
                    Select::Auto => due.followed,
                    Select::Flow(key) => due.name.as_ref().is_some_and(|name| name.key == *key),
                };
                if wanted {
                    tap.push(due.delivery.packet.payload(), now);
                }
            }
        }
        if let Some(sink) = &mut self.sink {
            for due in &self.due {
                sink(&due.delivery, due.followed);
            }
        }
    }

    /// Tells those who read records what happened in this turn, in order.
    fn record(&mut self, now: Instant) {
        let Some(records) = &mut self.records else { return };
        let mut notes = self.notes.drain(..).peekable();
        let wall = clock::unix();
        for (place, due) in self.due.iter().enumerate() {
            while let Some((_, flow, event)) = notes.next_if(|(before, ..)| *before <= place) {
                records.event(flow, event, now);
            }
            let Some(flow) = &due.name else { continue };
            let age = now.saturating_duration_since(due.delivery.packet.arrived);
            records.packet(flow, &due.delivery, due.followed, wall.saturating_sub(age), now);
        }
        for (_, flow, event) in notes {
            records.event(flow, event, now);
        }
    }

    fn keep_last_values(&mut self, now: Instant) {
        let Some(last) = self.last_values.as_mut().filter(|_| !self.due.is_empty()) else { return };
        let wall = clock::unix();
        last.keep(self.due.iter().map(|due| &due.delivery), |delivery| {
            wall.saturating_sub(now.saturating_duration_since(delivery.packet.arrived))
        });
    }

    /// The last value of each flow, and a reader of what happens from here on.
    pub(super) fn follow(&mut self, now: Instant) -> (Batch, TapReader<Batch>) {
        if let Some(records) = &mut self.records {
            records.turn(now, true); // what came before the last values
        }
        let last = self.last_values.as_ref().map(|last| last.batch(&self.names));
        (last.unwrap_or_default(), self.records())
    }

    /// A reader of what happens, packet by packet.
    pub(super) fn records(&mut self) -> TapReader<Batch> {
        self.records.get_or_insert_with(|| Tap::new(Select::Auto, self.chunk)).reader()
    }

    /// A reader of what `select` names. `None`: too many different ones.
    pub(super) fn tap(&mut self, select: Select) -> Option<TapReader> {
        if let Some(tap) = self.taps.iter().find(|tap| *tap.select() == select) {
            return Some(tap.reader());
        }
        let single = |select: &Select| matches!(select, Select::Flow(_));
        if single(&select) && self.taps.iter().filter(|tap| single(tap.select())).count() >= TAPS_MAX {
            return None;
        }
        let tap = Tap::new(select, self.chunk);
        let reader = tap.reader();
        self.taps.push(tap);
        Some(reader)
    }

    /// The end: leaves the groups, takes what is queued, and sends everything on.
    pub(super) fn finish(&mut self, kit: &mut Kit, clocks: ClockPair, floor: Instant) {
        for port in 0..self.ports.len() {
            self.ports[port].socket.leave();
            self.receive(port, kit, clocks, floor);
            self.ports[port].socket.read_kernel_drops();
        }
        self.relay.finish(clocks.monotonic);
        self.collect(clocks.monotonic);
        self.turn(clocks.monotonic, clocks.monotonic, true, kit);
        self.outputs.finish(clocks.monotonic, &mut kit.send, &mut kit.interfaces);
    }

    /// Why legs have failed for good, or wait.
    pub(super) fn troubles(&self, failed: bool) -> Vec<String> {
        let needed = self.ports.iter().filter(|port| port.role != Role::PerhapsRepair);
        needed.filter_map(|port| port.trouble(failed)).collect()
    }

    /// Says which ports that may be done without could not be opened.
    pub(super) fn warn_of_ports(&self) {
        let others = self.ports.iter().filter(|port| port.role == Role::PerhapsRepair);
        for trouble in others.filter_map(|port| port.trouble(true)) {
            warn!(channel = self.name, "no repair packets from {trouble}");
        }
    }

    fn log_rejects(&mut self, now: Instant) {
        if now < self.log_after {
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

    /// Says when memory does not suffice for the delay of a paced release.
    fn log_early(&mut self, now: Instant) {
        let early = self.relay.released_early();
        if early > self.early_logged && now >= self.log_after {
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
        if now >= self.log_after {
            self.log_after = now + LOG_INTERVAL;
            log(&self.name);
        }
    }

    /// The channel at its end, flows that had ended before included.
    pub(super) fn last_state(&mut self, now: Instant) -> ChannelState {
        let mut state = self.state(now, usize::MAX);
        state.flows.extend(self.relay.departed().map(|flow| flow_state(flow.clone(), now)));
        state
    }

    /// The channel as it stands, with at most `flows_max` flows.
    pub(super) fn state(&mut self, now: Instant, flows_max: usize) -> ChannelState {
        let recent = now.checked_sub(JITTER_RECENT).unwrap_or(self.started);
        let ((hold, jitter), pacing) = (self.relay.timing(recent), self.relay.pacing(recent));
        let mut rejects = self.relay.reject_reasons().clone();
        let too_long: u64 = self.ports.iter().map(|port| port.socket.counters().truncated).sum();
        if too_long > 0 {
            rejects.insert("too_long", too_long);
        }
        let flows = self.relay.flows().take(flows_max).map(|flow| flow_state(flow, now)).collect();
        ChannelState {
            name: self.name.clone(),
            format: self.format.clone(),
            on_demand: self.on_demand,
            age_seconds: now.saturating_duration_since(self.started).as_secs_f64(),
            counters: self.relay.totals(),
            held: self.relay.held(),
            held_bytes: self.relay.bytes_held(),
            hold_seconds: hold.as_secs_f64(),
            hold_max_seconds: self.hold.bound().map(|bound| bound.as_secs_f64()),
            release_delay_seconds: pacing.map(|pacing| pacing.delay.as_secs_f64()),
            clock_drift_ppm: pacing.map(|pacing| pacing.drift_ppm),
            jitter_seconds: jitter.as_secs_f64(),
            rejects,
            legs: (0..self.legs).map(|leg| self.leg_state(leg, now)).collect(),
            flow_count: self.relay.flow_count(),
            flows,
            outputs: self.outputs.iter().map(output_state).collect(),
        }
    }

    fn leg_state(&mut self, index: usize, now: Instant) -> LegState {
        let of_leg = |port: &&mut Port| usize::from(port.leg) == index;
        self.ports.iter_mut().filter(of_leg).for_each(|port| port.socket.read_kernel_drops());
        let ports = self.ports.iter().filter(|port| usize::from(port.leg) == index);
        // The media's ports stand first, in the order of the legs.
        let skew = now.checked_sub(JITTER_RECENT).and_then(|since| self.relay.skew(index, since));
        let round_trip = self.relay.round_trip(index as u8); // there are at most LEGS_MAX
        let times = LegTimes { skew, round_trip };
        port::leg_state(&self.ports[index].socket, ports, self.relay.legs()[index].clone(), times)
    }
}

fn flow_state(flow: relay::FlowState, now: Instant) -> FlowState {
    let idle = now.saturating_duration_since(flow.last_arrival).as_secs_f64();
    // The rate is measured when packets come; a flow that has missed ten of them has stopped.
    let stopped = |rate: f64| idle * rate > 10.0 && idle > 1.0;
    FlowState {
        flow: flow.key,
        source: flow.source.to_string(),
        format: flow.format.as_str(),
        session: flow.session,
        counters: flow.counters,
        held: flow.held,
        hold_seconds: flow.hold.as_secs_f64(),
        pacing: flow.pacing.map(pacing_state),
        jitter_seconds: flow.jitter.as_secs_f64(),
        round_trip_seconds: flow.round_trip.map(|trip| trip.as_secs_f64()),
        packets_per_second: flow.packets_per_second.map(|rate| if stopped(rate) { 0.0 } else { rate }),
        idle_seconds: idle,
        ended: flow.ended,
        fec_matrix: flow.fec_matrix.map(|(columns, rows)| [columns, rows]),
    }
}

fn pacing_state(pacing: relay::Pacing) -> PacingState {
    let relay::Pacing { clock, delay, drift_ppm } = pacing;
    PacingState { clock, delay_seconds: delay.as_secs_f64(), drift_ppm }
}

fn output_state((output, fault): (&UdpOutput, Option<&Error>)) -> OutputState {
    let counters = output.counters();
    let dropped = [
        ("unreachable", counters.unreachable),
        ("full", counters.full),
        ("too_big", counters.too_big),
        ("not_rtp", counters.not_rtp),
    ];
    OutputState {
        address: output.output().to_string(),
        packets: counters.packets,
        bytes: counters.bytes,
        dropped: BTreeMap::from(dropped),
        requests: output.requests().map(request_state).unwrap_or_default(),
        invalid: output.requests().map(invalid_state).unwrap_or_default(),
        fault: fault.map(ToString::to_string),
    }
}

fn request_state(requests: &Requests) -> BTreeMap<&'static str, u64> {
    let numbers = &requests.numbers;
    BTreeMap::from([
        ("resent", numbers.resent),
        ("gone", numbers.gone),
        ("recent", numbers.recent),
        ("refused", numbers.refused),
    ])
}

fn invalid_state(requests: &Requests) -> BTreeMap<&'static str, u64> {
    BTreeMap::from([("malformed", requests.malformed), ("foreign", requests.foreign)])
}
