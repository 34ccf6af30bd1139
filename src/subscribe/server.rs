//! The relay's socket for UDP subscribers. Requests go to the [`Exchange`]; each subscriber has a task of its own, which
//! reads its channel's records and sends the datagrams as they came. Whoever's datagrams the socket does not take in
//! time misses some, which are counted, and nobody waits for that.

use std::{collections::HashMap, io, net::SocketAddr, os::fd::AsFd, sync::Arc, time::Duration};

use anyhow::Context;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::{
    io::Interest,
    net::UdpSocket,
    sync::{mpsc, watch},
    task::AbortHandle,
};
use tracing::{debug, warn};

use super::exchange::{Change, Exchange, Rules};
use crate::{
    clock, config,
    control::{Control, Share},
    egress::{
        subscribers::{Transport, Who},
        tap::{Batch, Event, Piece},
    },
    limits::{SEND_BUFFER_BYTES, UDP_LEASE_CHECK, UDP_REQUEST_BUFFER, UDP_REQUESTS_AT_ONCE},
    metrics::UdpRequests,
    net::{
        interface,
        sys::{Message, SendBatch},
    },
    wire::subscribe::{Answer, REQUEST_BYTES_MAX},
};

/// A bound socket.
#[derive(Debug)]
pub struct Server {
    socket: Arc<UdpSocket>,
    address: SocketAddr,
    token: Option<String>,
    lease: Duration,
}

/// A subscriber's task, and the how manieth it is.
struct Feed {
    number: u64,
    task: AbortHandle,
}

/// Everything that runs.
struct Running {
    socket: Arc<UdpSocket>,
    control: Control,
    exchange: Exchange,
    requests: UdpRequests,
    feeds: HashMap<SocketAddr, Feed>,
    started: u64,
    ends: mpsc::Sender<(SocketAddr, u64)>,
}

impl Server {
    /// Binds the socket. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The address is not one of this host, or in use.
    pub fn bind(config: &config::Udp) -> anyhow::Result<Server> {
        let listen = &config.listen;
        let refused = || format!("udp.listen: cannot use {listen}");
        let socket = open(interface::resolve(listen).with_context(refused)?).with_context(refused)?;
        let address = socket.local_addr().context("udp.listen")?;
        let (token, lease) = (config.token.clone(), config.lease);
        Ok(Server { socket: Arc::new(socket), address, token, lease })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stopped`, and then until all subscribers have got what the channels still had for them.
    pub async fn run(self, control: Control, mut stopped: watch::Receiver<bool>) {
        let Server { socket, token, lease, .. } = self;
        let rules = Rules { token, shares: control.shares().clone(), lease };
        let exchange = Exchange::new(rules, clock::now(), Box::new(rand::random));
        let (ends, mut ended) = mpsc::channel(UDP_REQUESTS_AT_ONCE);
        let mut running = Running {
            socket: socket.clone(),
            requests: control.udp_requests(),
            control,
            exchange,
            feeds: HashMap::new(),
            started: 0,
            ends,
        };
        let mut check = tokio::time::interval(UDP_LEASE_CHECK);
        loop {
            tokio::select! {
                _ = stopped.changed() => break,
                _ = check.tick() => running.expire(),
                Some((at, number)) = ended.recv() => running.end(at, number),
                ready = socket.readable() => match ready {
                    Ok(()) => running.requests(),
                    Err(error) => {
                        warn!("cannot wait for UDP subscribers: {error}");
                        tokio::time::sleep(UDP_LEASE_CHECK).await;
                    }
                },
            }
        }
        while !running.feeds.is_empty() {
            let Some((at, number)) = ended.recv().await else { return };
            running.end(at, number);
        }
    }
}

fn open(listen: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(listen), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    // Less than was asked for does, too: the system has a limit.
    let _ = socket.set_recv_buffer_size(UDP_REQUEST_BUFFER);
    let _ = socket.set_send_buffer_size(SEND_BUFFER_BYTES);
    socket.bind(&listen.into())?;
    UdpSocket::from_std(socket.into())
}

impl Running {
    /// Takes some of the requests that wait.
    fn requests(&mut self) {
        let mut bytes = [0; REQUEST_BYTES_MAX + 1]; // a longer one is none
        for _ in 0..UDP_REQUESTS_AT_ONCE {
            match self.socket.try_recv_from(&mut bytes) {
                Ok((length, from)) => self.request(from, &bytes[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => return debug!("cannot receive from a UDP subscriber: {error}"),
            }
        }
    }

    fn request(&mut self, from: SocketAddr, bytes: &[u8]) {
        let control = &self.control;
        let reaction = self.exchange.handle(clock::now(), from, bytes, |name| control.knows(name));
        self.requests.count(reaction.outcome);
        if let Some(answer) = reaction.answer {
            self.answer(from, &answer);
        }
        match reaction.change {
            Some(Change::Joined(name)) => self.start(from, name),
            Some(Change::Left) => self.stop(from),
            None => {}
        }
    }

    fn answer(&self, to: SocketAddr, answer: &Answer) {
        // One that is lost is asked for again.
        if let Err(error) = self.socket.try_send_to(&answer.emit(), to) {
            debug!("cannot answer {to}: {error}");
        }
    }

    fn start(&mut self, at: SocketAddr, name: String) {
        self.stop(at);
        self.started += 1;
        let (number, ends) = (self.started, self.ends.clone());
        let (control, socket) = (self.control.clone(), self.socket.clone());
        debug!(channel = name, "{at} subscribes");
        let task = tokio::spawn(async move {
            feed(&control, &socket, &name, at).await;
            let _ = ends.send((at, number)).await; // nobody is left to know at the very end
        });
        self.feeds.insert(at, Feed { number, task: task.abort_handle() });
    }

    fn stop(&mut self, at: SocketAddr) {
        if let Some(feed) = self.feeds.remove(&at) {
            feed.task.abort();
        }
    }

    fn expire(&mut self) {
        for at in self.exchange.expire(clock::now()) {
            debug!("{at} has not renewed its subscription");
            self.stop(at);
        }
    }

    /// A stream has ended.
    fn end(&mut self, at: SocketAddr, number: u64) {
        if self.feeds.get(&at).is_none_or(|feed| feed.number != number) {
            return; // another one has taken its place
        }
        self.feeds.remove(&at);
        if let Some(answer) = self.exchange.end(at) {
            self.answer(at, &answer);
        }
    }
}

/// Sends a channel's datagrams to one subscriber until the channel ends.
async fn feed(control: &Control, socket: &UdpSocket, name: &str, to: SocketAddr) {
    let Ok(subscription) = control.subscribe_records(name, Transport::Udp).await else { return };
    let (mut reader, share) = (subscription.reader, subscription.share);
    share.introduce(Who::new(Some(to), None));
    let (mut next, to, mut sends) = (reader.number(), SockAddr::from(to), SendBatch::new());
    while let Some(batch) = reader.next().await {
        share.lagged(batch.first().saturating_sub(next));
        next = batch.end();
        send(socket, &to, &batch, &mut sends, &share).await;
    }
}

/// Datagrams of a batch that wait for the socket. A subscriber that goes meanwhile does not get them.
struct Left<'a> {
    share: &'a Share,
    count: u64,
}

impl Drop for Left<'_> {
    fn drop(&mut self) {
        self.share.cut(self.count);
    }
}

/// Sends the datagrams of a batch. One that cannot be sent counts as missed.
async fn send(socket: &UdpSocket, to: &SockAddr, batch: &Batch, sends: &mut SendBatch, share: &Share) {
    let datagrams = batch.records().iter().filter_map(|record| match &record.event {
        Event::Packet(info) => Some([io::IoSlice::new(batch.datagram(info))]),
        _ => None,
    });
    let datagrams: Vec<[io::IoSlice<'_>; 1]> = datagrams.collect();
    let messages: Vec<Message<'_>> =
        datagrams.iter().map(|parts| Message { to, parts, segment: None }).collect();
    let mut left = Left { share, count: messages.len() as u64 };
    let mut done = 0;
    while done < messages.len() {
        let sent = socket.try_io(Interest::WRITABLE, || {
            let sent = sends.send(socket.as_fd(), &messages[done..]);
            match sent.error {
                Some(error) if sent.count == 0 => Err(error),
                _ => Ok(sent.count),
            }
        });
        match sent {
            Ok(count) => {
                let bytes = datagrams[done..done + count].iter().map(|parts| parts[0].len() as u64).sum();
                share.sent(count as u64, bytes);
                done += count;
                left.count -= count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if socket.writable().await.is_err() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
            Err(_) => {
                share.lagged(1);
                done += 1;
                left.count -= 1;
            }
        }
    }
}
