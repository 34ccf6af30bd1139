//! Receives a stream that a relay sends on request: subscribes, renews the lease, and passes the
//! datagrams to the packet thread.

use std::{io, net::SocketAddr};

use anyhow::{Context, anyhow};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    net::UdpSocket,
    sync::oneshot,
    time::{Instant, sleep_until},
};

use super::CHANNEL;
use crate::{channel::thread::PacketThread, commands::service::say, limits::UDP_REQUESTS_AT_ONCE};
use tidecast_core::subscriber::{Heard, Subscriber};
use tidecast_core::{buffer::Buffer, limits::SLOT_BYTES};
use tidecast_net::{address::Remote, clock, interface, limits::RECEIVE_BUFFER_BYTES};
use tidecast_wire::subscribe::Refusal;

/// A running subscription.
pub(super) struct Running {
    remote: Remote,
    socket: UdpSocket,
    relay: SocketAddr,
    subscriber: Subscriber,
    packet_thread: PacketThread,
    granted: Option<oneshot::Sender<()>>,
    /// Memory for one datagram.
    bytes: Vec<u8>,
}

/// Opens the socket; the receiver is notified when the relay has granted the stream.
pub(super) fn open(
    remote: &Remote,
    packet_thread: &PacketThread,
) -> anyhow::Result<(Running, oneshot::Receiver<()>)> {
    let unreachable = || format!("cannot reach {remote}");
    let relay = interface::resolve(&remote.relay).with_context(unreachable)?;
    let socket = connect(relay).with_context(unreachable)?;
    let subscriber = Subscriber::new(&remote.name, &remote.token, clock::now(), Box::new(rand::random));
    let (granted, hears) = oneshot::channel();
    let running = Running {
        remote: remote.clone(),
        socket,
        relay,
        subscriber,
        packet_thread: packet_thread.clone(),
        granted: Some(granted),
        bytes: vec![0; SLOT_BYTES.max(u16::MAX.into())],
    };
    Ok((running, hears))
}

fn connect(relay: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(relay), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    // A smaller buffer works as well: the system has a limit.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
    // From here on only the relay's datagrams arrive.
    socket.connect(&relay.into())?;
    UdpSocket::from_std(socket.into())
}

impl Running {
    /// Receives until `left` is dropped, and then ends the subscription.
    ///
    /// # Errors
    /// The relay refuses.
    pub(super) async fn run(mut self, mut left: oneshot::Receiver<()>) -> anyhow::Result<()> {
        loop {
            if let Some(request) = self.subscriber.poll(clock::now()) {
                self.send(&request);
            }
            let due = Instant::from_std(self.subscriber.due());
            tokio::select! {
                _ = &mut left => break,
                () = sleep_until(due) => {}
                // An unreachable port may be that of a relay that restarts: the request is
                // repeated.
                _ = self.socket.readable() => self.receive()?,
            }
        }
        if let Some(request) = self.subscriber.leave() {
            self.send(&request);
        }
        Ok(())
    }

    fn send(&self, request: &[u8]) {
        // Treated as lost: the request is repeated.
        if let Err(error) = self.socket.try_send(request) {
            tracing::debug!("cannot ask {}: {error}", self.remote);
        }
    }

    fn receive(&mut self) -> anyhow::Result<()> {
        let mut stream = Vec::new();
        for _ in 0..UDP_REQUESTS_AT_ONCE {
            let Ok(length) = self.socket.try_recv(&mut self.bytes) else { break };
            let bytes = &self.bytes[..length];
            match self.subscriber.handle(clock::now(), bytes) {
                Heard::Stream => stream.push(Buffer::from(bytes)),
                Heard::Granted => {
                    self.granted.take().map(|granted| granted.send(()));
                }
                Heard::Refused(refusal) => return Err(anyhow!("{}: {}", self.remote, reason(refusal))),
                Heard::Ended => say(&format!("{} has ended; asking for it again", self.remote)),
                Heard::Nothing => {}
            }
        }
        if !stream.is_empty() {
            self.packet_thread.inject(CHANNEL, self.relay, stream);
        }
        Ok(())
    }
}

fn reason(refusal: Refusal) -> String {
    match refusal {
        Refusal::NoStream => "there is no stream of this name".to_owned(),
        Refusal::Token => "the relay expects another token (?token=...)".to_owned(),
        Refusal::Full => "the relay has as many subscribers as it may: try again later".to_owned(),
        Refusal::Cookie => "the relay does not know this cookie".to_owned(),
        Refusal::Other(code) => format!("the relay refuses (code {code})"),
    }
}
