//! Runs one leg: waits for its interface, joins the group, receives datagrams, and joins again
//! when necessary.
//!
//! The packet path's worker calls [`Leg::maintain`] at the time of [`Leg::due`], registers the
//! socket with its epoll when the result says so, and calls [`Leg::receive`] when the socket is
//! readable; the datagrams go on to [`tidecast_core::relay`].

use std::{
    fmt, io, mem,
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::{Duration, Instant},
};

use tracing::{debug, error, info, warn};

use super::{
    SocketError,
    interface::Interfaces,
    log_limiter::LogLimiter,
    multicast::{ReceiveBuffer, Standing, Subscription},
    sys::{self, ReceiveBatch},
};
use crate::{address::Input, clock::ClockPair, limits::LEG_CHECK};
use tidecast_core::buffer::{Buffer, Pool};

/// State of a leg.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// A resource is missing, such as the interface; the leg tries again every `LEG_CHECK`.
    Waiting(String),
    /// Joined (or bound, for unicast), on this interface if on a particular one.
    Joined(Option<String>),
    /// The leg cannot be opened, and waiting does not help.
    Failed(String),
    /// The group was left deliberately.
    Left,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            State::Waiting(reason) => write!(f, "waiting: {reason}"),
            State::Joined(Some(interface)) => write!(f, "joined on {interface}"),
            State::Joined(None) => f.write_str("bound"),
            State::Failed(reason) => write!(f, "failed: {reason}"),
            State::Left => f.write_str("left"),
        }
    }
}

/// Change of the socket by [`Leg::maintain`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Change {
    /// No change; joining again keeps the socket.
    None,
    /// There is a new socket, which must be registered. An older one is closed, which removes it
    /// from an epoll.
    Opened,
    /// The socket was closed.
    Closed,
}

/// Counters of a leg since it was created, over all its sockets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Datagrams passed on.
    pub datagrams: u64,
    /// Bytes of the datagrams passed on (UDP payload).
    pub bytes: u64,
    /// Datagrams longer than [`tidecast_wire::limits::DATAGRAM_BYTES_MAX`], which are not passed
    /// on.
    pub truncated: u64,
    /// Datagrams that the kernel dropped because the receive buffer was full.
    pub kernel_drops: u64,
    /// Number of joins, including the first.
    pub joins: u64,
    /// Datagrams that this program could not send.
    pub unsent: u64,
}

/// A socket's drop count: 32 bits that wrap, obtained in two ways whose values may arrive out of
/// order.
#[derive(Debug, Default)]
struct DropCount {
    last: u32,
}

impl DropCount {
    /// Returns the number of drops since the highest count so far. A count that came with a
    /// datagram is as old as the datagram, so a count from before the last direct query of the
    /// socket adds nothing.
    fn advance(&mut self, count: u32) -> u64 {
        let ahead = count.wrapping_sub(self.last);
        if ahead >= 1 << 31 {
            return 0;
        }
        self.last = count;
        u64::from(ahead)
    }
}

/// One leg: its address, its socket if it is open, its state and counters.
#[derive(Debug)]
pub struct Leg {
    input: Input,
    /// Name of its channel, for log lines.
    channel: Option<String>,
    receive_buffer: usize,
    subscription: Option<Subscription>,
    state: State,
    counters: Counters,
    drop_count: DropCount,
    /// The drop count according to the datagrams alone: the drops before each.
    told: DropCount,
    due: Option<Instant>,
    /// Whether opening was attempted at least once.
    tried: bool,
    /// Reason why nothing can arrive although the group is joined: the interface is down.
    fault: Option<String>,
    /// Whether the DSCP is needed, and the DSCP of the last datagram.
    asks_for_dscp: bool,
    dscp: Option<u8>,
    /// The interval at which the membership is reported in networks without a querier, and the
    /// next time.
    rejoin: Option<Duration>,
    rejoin_at: Instant,
    logged: Counters,
    log: LogLimiter,
    /// Whether a client caused the join; there may be a thousand such legs.
    on_demand: bool,
}

/// Whether the receive buffer of any on-demand leg has been checked: the buffers of all others are
/// equally small.
static SMALL_BUFFER_SAID: AtomicBool = AtomicBool::new(false);

impl Leg {
    /// Creates a leg that opens its socket at the first [`Leg::maintain`]. `receive_buffer` is in
    /// bytes as counted by the kernel; [`crate::limits::RECEIVE_BUFFER_BYTES`] is the default.
    pub fn new(input: Input, receive_buffer: usize, now: Instant) -> Leg {
        Leg {
            input,
            channel: None,
            receive_buffer,
            subscription: None,
            state: State::Waiting("not opened yet".to_owned()),
            counters: Counters::default(),
            drop_count: DropCount::default(),
            told: DropCount::default(),
            due: Some(now),
            tried: false,
            fault: None,
            asks_for_dscp: false,
            dscp: None,
            rejoin: None,
            rejoin_at: now,
            logged: Counters::default(),
            log: LogLimiter::default(),
            on_demand: false,
        }
    }

    /// Sets the channel that log lines name.
    pub fn belongs_to(&mut self, channel: &str) {
        self.channel = Some(channel.to_owned());
    }

    /// Logs state changes at debug level only, for a leg that a client caused.
    pub fn be_quiet(&mut self) {
        self.on_demand = true;
    }

    /// Requests the DSCP of received datagrams, from the first opening on.
    pub fn ask_for_dscp(&mut self) {
        self.asks_for_dscp = true;
    }

    /// Sets the interval at which the membership is reported without a query, from the first
    /// opening on.
    pub fn rejoin_every(&mut self, rejoin: Option<Duration>) {
        self.rejoin = rejoin;
    }

    /// Returns the DSCP of the last datagram, if [`Leg::ask_for_dscp`] was called.
    pub fn dscp(&self) -> Option<u8> {
        self.dscp
    }

    fn channel(&self) -> Option<&str> {
        self.channel.as_deref()
    }

    /// Returns when to call [`Leg::maintain`]; `None` if it has nothing left to do.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Opens the socket, joins and joins again as necessary, reads the kernel's drop count, and
    /// logs problems. Does nothing before [`Leg::due`].
    pub fn maintain(&mut self, now: Instant, interfaces: &mut Interfaces) -> Change {
        if self.due.is_none_or(|due| now < due) {
            return Change::None;
        }
        interfaces.refresh(now);
        self.due = Some(now + LEG_CHECK);
        let change = match self.subscription.as_mut().map(|subscription| subscription.standing(interfaces)) {
            None => self.open(now, interfaces),
            Some(Standing::Intact) => {
                self.report(now);
                Change::None
            }
            Some(Standing::Moved) => self.rejoin(now, interfaces),
            Some(Standing::Missing(error)) => {
                self.enter(State::Waiting(error.to_string()));
                Change::None
            }
        };
        self.tried = true;
        self.look_at_interface(interfaces);
        self.read_kernel_drops();
        self.log_troubles(now);
        change
    }

    fn open(&mut self, now: Instant, interfaces: &Interfaces) -> Change {
        match Subscription::open(&self.input, self.receive_buffer, interfaces) {
            Ok(subscription) => {
                if self.counters.joins == 0
                    && !(self.on_demand && SMALL_BUFFER_SAID.swap(true, Relaxed))
                    && let Some(warning) = subscription.receive_buffer().warning()
                {
                    warn!(channel = self.channel(), leg = %self.input, "{warning}");
                }
                if self.asks_for_dscp
                    && let Err(error) = subscription.ask_for_dscp()
                {
                    warn!(channel = self.channel(), leg = %self.input, "cannot tell the DSCP of what comes: {error}");
                }
                self.subscription = Some(subscription);
                self.rejoin_at = now + self.rejoin.unwrap_or_default();
                (self.drop_count, self.told) = (DropCount::default(), DropCount::default());
                self.joined();
                Change::Opened
            }
            Err(error) => {
                self.cannot_join(&error);
                Change::None
            }
        }
    }

    fn rejoin(&mut self, now: Instant, interfaces: &Interfaces) -> Change {
        let Some(subscription) = &mut self.subscription else { return Change::None };
        if !subscription.can_rejoin() {
            self.read_kernel_drops();
            self.subscription = None; // the port must be free before it is bound again
            return match self.open(now, interfaces) {
                Change::None => Change::Closed,
                change => change,
            };
        }
        match subscription.rejoin(interfaces) {
            Ok(()) => self.joined(),
            Err(error) => self.cannot_join(&error),
        }
        Change::None
    }

    /// Reports the membership, if it is due.
    fn report(&mut self, now: Instant) {
        let (Some(every), Some(subscription)) = (self.rejoin, &mut self.subscription) else { return };
        if now < self.rejoin_at {
            return;
        }
        self.rejoin_at = now + every;
        match subscription.report() {
            Ok(()) => debug!(channel = self.channel(), leg = %self.input, "reported the membership again"),
            Err(error) => {
                warn!(channel = self.channel(), leg = %self.input, "cannot report the membership again: {error}")
            }
        }
    }

    fn joined(&mut self) {
        self.counters.joins += 1;
        let interface = self.subscription.as_ref().and_then(Subscription::interface);
        let name = interface.map(|found| found.name.clone());
        self.enter(State::Joined(name));
    }

    /// Checks the interface: one that goes down keeps its memberships, but receives nothing.
    fn look_at_interface(&mut self, interfaces: &Interfaces) {
        let joined = matches!(self.state, State::Joined(_));
        let on = self.subscription.as_ref().and_then(Subscription::interface).filter(|_| joined);
        let fault = on.and_then(|on| interfaces.fault(on.index));
        if fault == self.fault {
            return;
        }
        match (&fault, on) {
            (Some(fault), _) => warn!(channel = self.channel(), leg = %self.input, "{fault}"),
            (None, Some(on)) => info!(channel = self.channel(), leg = %self.input, "{} is up again", on.name),
            (None, None) => {} // the state already names the problem
        }
        self.fault = fault;
    }

    /// Records that joining failed. Only the first attempt can fail permanently, because the
    /// caller that creates the leg reports it. The cause of a later failure may be repaired.
    fn cannot_join(&mut self, error: &SocketError) {
        if error.is_retryable() || self.tried {
            self.enter(State::Waiting(error.to_string()));
        } else {
            self.due = None;
            self.enter(State::Failed(error.to_string()));
        }
    }

    /// Changes the state and logs the change once. Joining again is logged even if the state is
    /// the same.
    fn enter(&mut self, state: State) {
        let again = matches!(state, State::Joined(_));
        if self.state == state && !again {
            return;
        }
        match &state {
            // The caller that creates the leg reports the result of the first attempt itself.
            State::Waiting(_) | State::Failed(_) if !self.tried => {
                debug!(channel = self.channel(), leg = %self.input, "{state}")
            }
            _ if self.on_demand => debug!(channel = self.channel(), leg = %self.input, "{state}"),
            State::Waiting(_) => warn!(channel = self.channel(), leg = %self.input, "{state}"),
            State::Failed(_) => error!(channel = self.channel(), leg = %self.input, "{state}"),
            State::Joined(_) | State::Left => info!(channel = self.channel(), leg = %self.input, "{state}"),
        }
        self.state = state;
    }

    /// Receives one batch and passes on each datagram, with its arrival time and sender, and the
    /// number of datagrams that the kernel dropped before it since the previous one. Returns the
    /// number of datagrams read: a full [`crate::limits::RECEIVE_BATCH`] means that there may be
    /// more.
    ///
    /// The arrival time is the kernel's timestamp on the monotonic clock, not earlier than `floor`
    /// (the time of the last call).
    pub fn receive(
        &mut self,
        batch: &mut ReceiveBatch,
        pool: &mut Pool,
        clocks: ClockPair,
        floor: Instant,
        mut f: impl FnMut(Instant, SocketAddr, Buffer, u64),
    ) -> io::Result<usize> {
        let Some(subscription) = &self.subscription else { return Ok(0) };
        let (counters, drop_count, told) = (&mut self.counters, &mut self.drop_count, &mut self.told);
        let (mut dropped, dscp) = (0, &mut self.dscp);
        batch.receive(subscription.as_fd(), pool, |received| {
            if received.dscp.is_some() {
                *dscp = received.dscp;
            }
            if let Some(count) = received.drops {
                counters.kernel_drops += drop_count.advance(count);
                dropped += told.advance(count);
            }
            if received.truncated {
                counters.truncated += 1;
                return;
            }
            counters.datagrams += 1;
            counters.bytes += received.bytes.len() as u64;
            let arrival = received.stamp.map_or(clocks.monotonic, |stamp| clocks.instant_of(stamp, floor));
            f(arrival, received.source, received.bytes, mem::take(&mut dropped));
        })
    }

    /// Sends one datagram from the leg's own address and port. Never blocks.
    ///
    /// # Errors
    /// No socket is open, its send buffer is full, or the address cannot be reached.
    pub fn send(&mut self, bytes: &[u8], to: SocketAddr) -> io::Result<()> {
        let sent = match &self.subscription {
            Some(subscription) => subscription.send(bytes, to),
            None => Err(io::ErrorKind::NotConnected.into()),
        };
        self.counters.unsent += u64::from(sent.is_err());
        sent
    }

    /// Queries the socket's drop count, which shows drops even if no datagram has arrived since.
    pub fn read_kernel_drops(&mut self) {
        let count = self.socket().map(sys::drops);
        if let Some(Ok(count)) = count {
            self.counters.kernel_drops += self.drop_count.advance(count);
        }
    }

    fn log_troubles(&mut self, now: Instant) {
        if !self.log.is_open(now) {
            return;
        }
        let dropped = self.counters.kernel_drops - self.logged.kernel_drops;
        let truncated = self.counters.truncated - self.logged.truncated;
        if (dropped == 0 && truncated == 0) || !self.log.admits(now) {
            return;
        }
        if dropped > 0 {
            let granted = self.receive_buffer().map_or(0, |buffer| buffer.granted);
            warn!(channel = self.channel(), leg = %self.input, "the kernel dropped {dropped} datagrams: its receive buffer ({granted} bytes) was full");
        }
        if truncated > 0 {
            warn!(channel = self.channel(), leg = %self.input, "dropped {truncated} datagrams that were too long");
        }
        self.logged = self.counters;
    }

    /// Leaves the group permanently; queued datagrams can still be received.
    pub fn leave(&mut self) {
        if let Some(Err(error)) = self.subscription.as_mut().map(Subscription::leave) {
            warn!(channel = self.channel(), leg = %self.input, "cannot leave: {error}"); // closing the socket will
        }
        self.due = None;
        self.enter(State::Left);
    }

    /// Returns the address.
    pub fn input(&self) -> &Input {
        &self.input
    }

    /// Returns the state.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Returns the reason why nothing can arrive although the group is joined: the interface is
    /// down.
    pub fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// Returns the counters; `kernel_drops` is as of the last datagram or [`Leg::maintain`].
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Returns the socket, to register it with an epoll.
    pub fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.subscription.as_ref().map(AsFd::as_fd)
    }

    /// Returns the size of the socket's receive buffer.
    pub fn receive_buffer(&self) -> Option<ReceiveBuffer> {
        self.subscription.as_ref().map(Subscription::receive_buffer)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, UdpSocket};

    use super::*;
    use crate::{clock, limits::RECEIVE_BUFFER_BYTES};
    use tidecast_testkit::sockets::{PATIENCE, free_port, group, input, sender, to, wait_readable};

    /// Returns the time `ms` milliseconds after `now`.
    fn after(now: Instant, ms: u64) -> Instant {
        now + Duration::from_millis(ms)
    }

    fn maintain(leg: &mut Leg, now: Instant) -> Change {
        leg.maintain(now, &mut Interfaces::read(now))
    }

    /// Receives all available datagrams, and returns them with their arrival times.
    fn drain(leg: &mut Leg, floor: Instant) -> Vec<(Instant, Buffer)> {
        let (mut batch, mut pool, mut all) = (ReceiveBatch::new(), Pool::new(64), Vec::new());
        wait_readable(leg.socket().unwrap(), PATIENCE);
        let pair = ClockPair::read();
        while leg
            .receive(&mut batch, &mut pool, pair, floor, |at, _, bytes, _| all.push((at, bytes)))
            .unwrap()
            > 0
        {}
        all
    }

    #[test]
    fn a_leg_joins_and_counts_what_it_receives() {
        let (group, port, now) = (group(), free_port(), clock::now());
        let mut leg = Leg::new(input("", group, port), RECEIVE_BUFFER_BYTES, now);
        assert!(leg.socket().is_none());
        assert_eq!(maintain(&mut leg, now), Change::Opened);
        assert_eq!(*leg.state(), State::Joined(Some("lo".to_owned())));
        assert_eq!(maintain(&mut leg, now), Change::None, "not due");
        assert_eq!(maintain(&mut leg, now + LEG_CHECK), Change::None, "intact");

        let sender = sender(Ipv4Addr::LOCALHOST);
        sender.send_to(b"abc", to(group, port)).unwrap();
        sender.send_to(b"", to(group, port)).unwrap();
        let received = drain(&mut leg, now);
        let bytes: Vec<&[u8]> = received.iter().map(|(_, bytes)| &**bytes).collect();
        assert_eq!(bytes, [&b"abc"[..], b""]);
        assert!(received.iter().all(|(at, _)| *at >= now && *at <= clock::now()));
        assert!(received.is_sorted_by_key(|(at, _)| *at));
        assert_eq!(*leg.counters(), Counters { datagrams: 2, bytes: 3, joins: 1, ..Counters::default() });

        leg.leave();
        assert_eq!((leg.state(), leg.due()), (&State::Left, None));
        sender.send_to(b"late", to(group, port)).unwrap();
        assert!(!wait_readable(leg.socket().unwrap(), tidecast_testkit::sockets::QUIET));
    }

    #[test]
    fn a_missing_interface_is_waited_for() {
        let (port, now) = (free_port(), clock::now());
        let input: Input = format!("udp://@{}:{port}?if=nosuch0", group()).parse().unwrap();
        let mut leg = Leg::new(input, RECEIVE_BUFFER_BYTES, now);
        for round in 0..3 {
            let now = now + LEG_CHECK * round;
            assert_eq!(leg.due(), Some(now));
            assert_eq!(maintain(&mut leg, now), Change::None);
            assert!(
                matches!(leg.state(), State::Waiting(reason) if reason.contains("nosuch0")),
                "{}",
                leg.state()
            );
        }
        leg.input.interface = Some("lo".parse().unwrap()); // as if it were there now
        assert_eq!(maintain(&mut leg, after(now, 2_999)), Change::None, "not due");
        assert_eq!(maintain(&mut leg, after(now, 3_000)), Change::Opened);
        assert_eq!(*leg.state(), State::Joined(Some("lo".to_owned())));
    }

    #[test]
    fn a_leg_that_waiting_cannot_help_fails_and_says_so() {
        let other = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let now = clock::now();
        let port = other.local_addr().unwrap().port();
        let mut leg = Leg::new(input("", group(), port), RECEIVE_BUFFER_BYTES, now);
        assert_eq!(maintain(&mut leg, now), Change::None);
        assert!(matches!(leg.state(), State::Failed(reason) if reason.contains("in use")), "{}", leg.state());
        assert_eq!(leg.due(), None);
    }

    #[test]
    fn kernel_drops_are_seen_at_once_and_counted_once() {
        let (group, port, now) = (group(), free_port(), clock::now());
        let mut leg = Leg::new(input("", group, port), 4096, now);
        let _ = maintain(&mut leg, now);
        let sender = sender(Ipv4Addr::LOCALHOST);
        let send = |n: u64| {
            for i in 0..n {
                sender.send_to(&[i as u8; 500], to(group, port)).unwrap();
            }
        };
        send(50);
        let _ = maintain(&mut leg, now + LEG_CHECK);
        let dropped = leg.counters().kernel_drops;
        assert!(dropped > 0, "seen although nothing was received");
        assert_eq!(drain(&mut leg, now).len() as u64, 50 - dropped);
        // These carry the old count; then more are dropped, which the next datagram shows.
        send(50);
        drain(&mut leg, now);
        send(1);
        drain(&mut leg, now);
        let counters = *leg.counters();
        assert!(counters.kernel_drops > dropped);
        assert_eq!(counters.datagrams + counters.kernel_drops, 101);
        leg.read_kernel_drops();
        assert_eq!(*leg.counters(), counters);
    }

    #[test]
    fn drop_counts_wrap_and_older_ones_add_nothing() {
        let mut count = DropCount { last: u32::MAX - 1 };
        assert_eq!(count.advance(u32::MAX), 1);
        assert_eq!(count.advance(2), 3);
        assert_eq!(count.advance(u32::MAX), 0, "from before");
        assert_eq!(count.advance(2), 0);
        assert_eq!(count.advance(5), 3);
    }
}
