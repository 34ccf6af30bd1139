//! Sends a stream to one UDP subscriber, through its own socket on the relay's port, connected to
//! it. So a host that is gone fills only its own send buffer, and ICMP errors are reported for
//! that subscriber.

use std::{io, net::SocketAddr, os::fd::AsFd, sync::Arc};

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};
use tokio::{
    io::{Interest, Ready},
    net::UdpSocket,
    sync::mpsc,
    time::timeout,
};

use crate::{
    channel::tap::{Batch, Event, Piece},
    limits::{UDP_FULL_PATIENCE, UDP_REQUESTS_AT_ONCE, UDP_SUBSCRIBER_BUFFER},
    registry::{
        Registry, Share,
        audience::{Transport, Who},
    },
};
use tidecast_net::sys::{Message, SendBatch};
use tidecast_wire::subscribe::REQUEST_BYTES_MAX;

/// Datagrams that came to a subscriber's socket, with their sender: renewals.
pub(super) type Strays = mpsc::Sender<(SocketAddr, Vec<u8>)>;

/// Why a subscriber's stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The channel has ended.
    Channel,
    /// An operator has disconnected the subscriber.
    Disconnected,
    /// ICMP reports that the subscriber is gone.
    Unreachable,
}

/// A socket on the port of `listening`, connected to this subscriber.
pub(super) fn towards(listening: &UdpSocket, at: SocketAddr) -> io::Result<UdpSocket> {
    let local = listening.local_addr()?;
    let socket = Socket::new(Domain::for_address(local), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    // A smaller buffer works as well: the system has a limit.
    let _ = socket.set_send_buffer_size(UDP_SUBSCRIBER_BUFFER);
    socket.set_reuse_address(true)?;
    // Only for this moment, so that no other program can share the port.
    let first = SockRef::from(listening);
    first.set_reuse_address(true)?;
    let bound = socket.bind(&local.into());
    first.set_reuse_address(false)?;
    bound?;
    // Between the two calls, datagrams of other senders may arrive: they are read like those of
    // the subscriber.
    socket.connect(&at.into())?;
    // Without this option, a host that does not answer ARP causes no error on this socket.
    match local {
        SocketAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4RecvErr, &true)?,
        SocketAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6RecvErr, &true)?,
    }
    UdpSocket::from_std(socket.into())
}

/// Whether ICMP has reported the destination port or host as unreachable.
fn is_unreachable(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ECONNREFUSED | libc::EHOSTUNREACH))
}

/// Sends a channel's datagrams to one subscriber until the channel ends, or the subscriber is
/// gone.
pub(super) async fn feed(
    registry: &Registry,
    socket: &UdpSocket,
    name: &str,
    (to, user): (SocketAddr, Option<Arc<str>>),
    strays: &Strays,
) -> End {
    let Ok(subscription) = registry.subscribe_records(name, Transport::Udp).await else {
        return End::Channel;
    };
    let (mut reader, share) = (subscription.reader, subscription.share);
    share.introduce(Who { user, ..Who::new(Some(to), None) });
    let disconnection = share.disconnection();
    let (mut next, to, mut sends) = (reader.number(), SockAddr::from(to), SendBatch::new());
    loop {
        let sent = tokio::select! {
            biased;
            () = disconnection.cancelled() => {
                share.cut_off_by_operator();
                return End::Disconnected;
            }
            ready = socket.ready(Interest::READABLE | Interest::ERROR) => {
                ready.and_then(|ready| receive(socket, ready, strays))
            }
            batch = reader.next() => {
                let Some(batch) = batch else { return End::Channel };
                share.lagged(batch.first().saturating_sub(next));
                next = batch.end();
                send(socket, &to, &batch, &mut sends, &share).await
            }
        };
        if sent.is_err_and(|error| is_unreachable(&error)) {
            return End::Unreachable;
        }
    }
}

/// Passes on some received datagrams.
///
/// # Errors
/// An ICMP error, or another error of the socket.
fn receive(socket: &UdpSocket, ready: Ready, strays: &Strays) -> io::Result<()> {
    if ready.is_error() {
        let error = socket.take_error()?;
        // Clears the readiness; another error sets it again.
        let _ = socket.try_io(Interest::ERROR, || io::Result::<()>::Err(io::ErrorKind::WouldBlock.into()));
        if let Some(error) = error {
            return Err(error);
        }
    }
    let mut bytes = [0; REQUEST_BYTES_MAX + 1]; // a longer datagram is not a request
    for _ in 0..UDP_REQUESTS_AT_ONCE {
        match socket.try_recv_from(&mut bytes) {
            // One without room is lost, and is sent again.
            Ok((length, from)) => drop(strays.try_send((from, bytes[..length].to_vec()))),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Datagrams of a batch that wait for the socket. They count as missed if the subscriber goes.
struct Left<'a> {
    share: &'a Share,
    count: u64,
}

impl Drop for Left<'_> {
    fn drop(&mut self) {
        self.share.cut(self.count);
    }
}

/// Sends the datagrams of a batch. A datagram that cannot be sent counts as missed.
///
/// # Errors
/// The subscriber is gone.
async fn send(
    socket: &UdpSocket,
    to: &SockAddr,
    batch: &Batch,
    sends: &mut SendBatch,
    share: &Share,
) -> io::Result<()> {
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
                if !matches!(timeout(UDP_FULL_PATIENCE, socket.writable()).await, Ok(Ok(()))) {
                    share.lagged(std::mem::take(&mut left.count));
                    return Ok(());
                }
            }
            Err(error) if is_unreachable(&error) => return Err(error),
            Err(_) => {
                share.lagged(1);
                done += 1;
                left.count -= 1;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, UdpSocket as Plain};

    use super::*;

    async fn ready(lane: &UdpSocket) -> Ready {
        lane.ready(Interest::READABLE | Interest::ERROR).await.unwrap()
    }

    async fn listening() -> UdpSocket {
        UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap()
    }

    #[tokio::test]
    async fn each_subscriber_has_a_socket_on_the_same_port_and_strangers_have_none() {
        let listening = listening().await;
        let at = listening.local_addr().unwrap();
        let peers = [(); 2].map(|()| Plain::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let mut lanes = Vec::new();
        for peer in &peers {
            lanes.push(towards(&listening, peer.local_addr().unwrap()).unwrap());
        }
        let (strays, mut strayed) = mpsc::channel(8);
        for (peer, lane) in peers.iter().zip(&lanes) {
            assert_eq!(lane.local_addr().unwrap(), at);
            lane.send(b"reading").await.unwrap();
            let mut bytes = [0; 16];
            let (length, from) = peer.recv_from(&mut bytes).unwrap();
            assert_eq!((&bytes[..length], from), (&b"reading"[..], at));
            peer.send_to(b"renew", at).unwrap();
            receive(lane, ready(lane).await, &strays).unwrap();
            let expected = (peer.local_addr().unwrap(), b"renew".to_vec());
            assert_eq!(strayed.recv().await, Some(expected));
        }
        // Other senders' datagrams arrive at the common socket.
        let other = Plain::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        other.send_to(b"ask", at).unwrap();
        let mut bytes = [0; 16];
        let (_, from) = listening.recv_from(&mut bytes).await.unwrap();
        assert_eq!(from, other.local_addr().unwrap());
        // Nor can another program take over the port.
        let thief = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        thief.set_reuse_address(true).unwrap();
        assert!(thief.bind(&at.into()).is_err());
    }

    #[tokio::test]
    async fn a_port_that_is_closed_is_unreachable() {
        let listening = listening().await;
        let peer = Plain::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let lane = towards(&listening, peer.local_addr().unwrap()).unwrap();
        drop(peer);
        lane.send(b"reading").await.unwrap();
        let (strays, _strayed) = mpsc::channel(8);
        assert!(is_unreachable(&receive(&lane, ready(&lane).await, &strays).unwrap_err()));
        // It is reported once.
        assert!(timeout(UDP_FULL_PATIENCE, lane.ready(Interest::READABLE | Interest::ERROR)).await.is_err());
    }
}
