//! The relay's sockets for UDP subscribers. Requests go to the [`Exchange`]. Each subscriber has
//! its own task, which reads its channel's records and sends the datagrams unchanged, from its own
//! socket on the same port (`lane`). If that socket is too slow, the subscriber misses datagrams,
//! which are counted; other subscribers are not delayed.

use std::{collections::HashMap, io, net::SocketAddr, sync::Arc, time::Duration};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::{net::UdpSocket, sync::mpsc, task::AbortHandle};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{
    exchange::{Change, Exchange, Outcome, Rules},
    lane::{self, End, Strays},
};
use crate::{
    access::Access,
    config,
    holder::Holder,
    limits::{UDP_LEASE_CHECK, UDP_REQUEST_BUFFER, UDP_REQUESTS_AT_ONCE, UDP_STRAYS_MAX},
    metrics::{Metrics, UdpRequests},
    registry::Registry,
    serve::listen::{self, Clients, ListenError},
};
use tidecast_net::limits::SEND_BUFFER_BYTES;
use tidecast_net::{clock, log_limiter::LogLimiter};
use tidecast_wire::subscribe::{Answer, REQUEST_BYTES_MAX};

/// A bound socket.
#[derive(Debug)]
pub struct Server {
    socket: Arc<UdpSocket>,
    address: SocketAddr,
    lease: Duration,
}

/// A subscriber's task, its generation number, and the socket towards the subscriber.
struct Feed {
    number: u64,
    task: AbortHandle,
    socket: Arc<UdpSocket>,
}

/// State of the running server.
struct Running {
    socket: Arc<UdpSocket>,
    registry: Registry,
    exchange: Exchange,
    requests: UdpRequests,
    feeds: HashMap<SocketAddr, Feed>,
    started: u64,
    ends: mpsc::Sender<(SocketAddr, u64, End)>,
    /// Requests that came to the subscribers' sockets.
    strays: Strays,
    trouble: LogLimiter,
}

impl Server {
    /// Binds the socket. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The address is not one of this host, or in use.
    pub fn bind(config: &config::Udp) -> Result<Server, ListenError> {
        let (listen, clients) = (&config.listen, Clients::Udp);
        let resolved = listen::resolve(listen, clients)?;
        let refused = |error| listen::refused(error, listen, clients, Holder::of_udp, resolved);
        let socket = open(resolved).map_err(refused)?;
        let address = socket.local_addr().map_err(refused)?;
        Ok(Server { socket: Arc::new(socket), address, lease: config.lease })
    }

    /// Address of the socket.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stopped`, and then until all subscribers have received the remaining packets
    /// of their channels.
    pub async fn run(
        self,
        registry: Registry,
        access: Access,
        metrics: Arc<Metrics>,
        stop: CancellationToken,
    ) {
        let Server { socket, lease, .. } = self;
        let rules = Rules { access, shares: registry.shares().clone(), lease };
        let exchange = Exchange::new(rules, clock::now(), Box::new(rand::random));
        let (ends, mut ended) = mpsc::channel(UDP_REQUESTS_AT_ONCE);
        let (strays, mut strayed) = mpsc::channel(UDP_STRAYS_MAX);
        let mut running = Running {
            socket: socket.clone(),
            requests: metrics.udp_requests(Outcome::ALL.map(Outcome::as_str)),
            registry,
            exchange,
            feeds: HashMap::new(),
            started: 0,
            ends,
            strays,
            trouble: LogLimiter::default(),
        };
        let mut check = tokio::time::interval(UDP_LEASE_CHECK);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = check.tick() => running.expire(),
                Some((at, number, end)) = ended.recv() => running.end(at, number, end),
                Some((from, bytes)) = strayed.recv() => running.request(from, &bytes),
                ready = socket.readable() => match ready {
                    Ok(()) => running.requests(),
                    Err(error) => {
                        running.complain(format_args!("cannot wait for UDP subscribers: {error}"));
                        tokio::time::sleep(UDP_LEASE_CHECK).await;
                    }
                },
            }
        }
        while !running.feeds.is_empty() {
            let Some((at, number, end)) = ended.recv().await else { return };
            running.end(at, number, end);
        }
    }
}

fn open(listen: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(listen), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    // A smaller buffer works as well: the system has a limit.
    let _ = socket.set_recv_buffer_size(UDP_REQUEST_BUFFER);
    let _ = socket.set_send_buffer_size(SEND_BUFFER_BYTES);
    socket.bind(&listen.into())?;
    UdpSocket::from_std(socket.into())
}

impl Running {
    /// Handles some of the waiting requests.
    fn requests(&mut self) {
        let mut bytes = [0; REQUEST_BYTES_MAX + 1]; // a longer datagram is not a request
        for _ in 0..UDP_REQUESTS_AT_ONCE {
            match self.socket.try_recv_from(&mut bytes) {
                Ok((length, from)) => self.request(from, &bytes[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => return debug!("cannot receive from a UDP subscriber: {error}"),
            }
        }
    }

    fn request(&mut self, from: SocketAddr, bytes: &[u8]) {
        let registry = &self.registry;
        let reaction = self.exchange.handle(clock::now(), from, bytes, |name| registry.knows(name));
        self.requests.count(reaction.outcome.as_str());
        if let Some(answer) = reaction.answer {
            self.answer(from, &answer);
        }
        match reaction.change {
            Some(Change::Joined { name, user }) => self.start(from, name, user),
            Some(Change::Left) => drop(self.stop(from)),
            None => {}
        }
    }

    fn answer(&self, to: SocketAddr, answer: &Answer) {
        // A subscriber repeats its request if the answer is lost.
        if let Err(error) = self.socket.try_send_to(&answer.emit(), to) {
            debug!("cannot answer {to}: {error}");
        }
    }

    fn start(&mut self, at: SocketAddr, name: String, user: Option<Arc<str>>) {
        let known = self.stop(at);
        let socket = match known.map_or_else(|| lane::towards(&self.socket, at).map(Arc::new), Ok) {
            Ok(socket) => socket,
            Err(error) => {
                self.complain(format_args!("cannot serve a UDP subscriber: {error}"));
                return self.tell_end(at);
            }
        };
        self.started += 1;
        let (number, ends, strays) = (self.started, self.ends.clone(), self.strays.clone());
        let (registry, own) = (self.registry.clone(), socket.clone());
        debug!(channel = name, "{at} subscribes");
        let task = tokio::spawn(async move {
            let end = lane::feed(&registry, &own, &name, (at, user), &strays).await;
            let _ = ends.send((at, number, end)).await; // at the very end there is no receiver
        });
        self.feeds.insert(at, Feed { number, task: task.abort_handle(), socket });
    }

    /// Ends a subscriber's stream; returns its socket.
    fn stop(&mut self, at: SocketAddr) -> Option<Arc<UdpSocket>> {
        let feed = self.feeds.remove(&at)?;
        feed.task.abort();
        Some(feed.socket)
    }

    fn expire(&mut self) {
        for at in self.exchange.expire(clock::now()) {
            debug!("{at} has not renewed its subscription");
            self.stop(at);
        }
    }

    /// A subscriber's stream has ended.
    fn end(&mut self, at: SocketAddr, number: u64, end: End) {
        if self.feeds.get(&at).is_none_or(|feed| feed.number != number) {
            return; // a newer stream has replaced it
        }
        self.feeds.remove(&at);
        match end {
            End::Channel | End::Disconnected => self.tell_end(at),
            End::Unreachable => {
                debug!("{at} is not there any more: its subscription ends");
                self.requests.count(Outcome::Unreachable.as_str());
                let _ = self.exchange.end(at); // the subscriber is gone, so it gets no message
            }
        }
    }

    fn tell_end(&mut self, at: SocketAddr) {
        if let Some(answer) = self.exchange.end(at) {
            self.answer(at, &answer);
        }
    }

    /// Logs an error, at a limited rate.
    fn complain(&mut self, what: std::fmt::Arguments<'_>) {
        if self.trouble.admits(clock::now()) {
            warn!("{what}");
        }
    }
}
