//! UDP outputs, unicast and multicast: one target, one socket.
//!
//! The packet path hands over what the relay delivered; it is sent in batches, never blocks, and what cannot be
//! sent is counted by reason and dropped. The sockets are not connected: a connected one would report the ICMP
//! error of an earlier datagram on a later, good one, and keep an old route.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6},
    os::fd::AsFd,
    time::Instant,
};

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};
use tracing::{info, warn};

use crate::{
    address::{Interface, Output},
    limits::{LOG_INTERVAL, OUTPUT_CHECK, OUTPUT_RETRY, SEND_BATCH, SEND_BUFFER_BYTES},
    net::{
        Error, interface,
        sys::{self, Outgoing, SendBatch},
    },
};

/// What an output has counted: each datagram is in exactly one of `packets` and the drops.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Datagrams sent.
    pub packets: u64,
    /// Their bytes (UDP payload).
    pub bytes: u64,
    /// Dropped: no interface, no route, refused by a firewall, or the like.
    pub unreachable: u64,
    /// Dropped: the socket's send buffer or the kernel's memory was full.
    pub full: u64,
    /// Dropped: longer than a datagram may be.
    pub too_big: u64,
}

impl Counters {
    /// All that were dropped.
    pub fn dropped(&self) -> u64 {
        self.unreachable + self.full + self.too_big
    }
}

/// A socket and what it was made for; when that changes it is made anew.
#[derive(Debug)]
struct Sender {
    socket: Socket,
    to: SocketAddr,
    origin: Option<Origin>,
}

/// The interface that datagrams leave through, and its IPv4 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Origin {
    index: u32,
    address: Option<Ipv4Addr>,
}

/// One UDP output.
#[derive(Debug)]
pub struct UdpOutput {
    output: Output,
    sender: Option<Sender>,
    fault: Option<Error>,
    counters: Counters,
    /// When to look at the socket again.
    due: Instant,
    log_after: Instant,
}

impl UdpOutput {
    /// Opens the socket. When that fails, [`UdpOutput::fault`] says why, and it is tried again while sending.
    pub fn new(output: Output, now: Instant) -> UdpOutput {
        let mut output = UdpOutput {
            output,
            sender: None,
            fault: None,
            counters: Counters::default(),
            due: now,
            log_after: now,
        };
        output.open(now);
        output
    }

    /// Sends the datagrams in order. One that cannot be sent is counted and skipped; the others go all the same.
    pub fn send<'a>(
        &mut self,
        now: Instant,
        batch: &mut SendBatch,
        packets: impl IntoIterator<Item = &'a [u8]>,
    ) {
        if now >= self.due {
            self.check(now);
        }
        let to = self.sender.as_ref().map(|sender| sender.to);
        let mut queue = [Outgoing { to, bytes: &[] }; SEND_BATCH];
        let mut len = 0;
        for bytes in packets {
            queue[len].bytes = bytes;
            len += 1;
            if len == SEND_BATCH {
                self.flush(now, batch, &queue);
                len = 0;
            }
        }
        self.flush(now, batch, &queue[..len]);
    }

    fn flush(&mut self, now: Instant, batch: &mut SendBatch, mut rest: &[Outgoing<'_>]) {
        let Some(sender) = &self.sender else {
            self.counters.unreachable += rest.len() as u64;
            return;
        };
        let mut failed = None;
        while !rest.is_empty() {
            let sent = batch.send(sender.socket.as_fd(), rest);
            let (gone, left) = rest.split_at(sent.count);
            self.counters.packets += gone.len() as u64;
            self.counters.bytes += gone.iter().map(|datagram| datagram.bytes.len() as u64).sum::<u64>();
            rest = left;
            if let Some(error) = sent.error {
                self.counters.drop_for(&error);
                failed = Some(error);
                rest = rest.get(1..).unwrap_or_default(); // the kernel would stop there again
            }
        }
        if let Some(error) = failed {
            self.failed(now, &error);
        }
    }

    fn failed(&mut self, now: Instant, error: &io::Error) {
        if is_stale(error) {
            self.due = self.due.min(now + OUTPUT_RETRY);
        }
        if now < self.log_after {
            return;
        }
        self.log_after = now + LOG_INTERVAL;
        let hint = match error.raw_os_error() {
            Some(libc::ENETUNREACH) if self.output.is_class_d() && self.output.interface.is_none() => {
                "; name the interface: add ?if=NAME or ?if=ADDRESS"
            }
            _ => "",
        };
        let dropped = self.counters.dropped();
        warn!(output = %self.output, "cannot send: {error}{hint}; {dropped} datagrams dropped so far");
    }

    /// Opens the socket if there is none, or anew if it no longer fits the interface.
    fn check(&mut self, now: Instant) {
        let fits = self.sender.as_ref().is_some_and(|sender| sender.fits(&self.output));
        if fits {
            self.due = now + OUTPUT_CHECK;
        } else {
            self.open(now);
        }
    }

    fn open(&mut self, now: Instant) {
        match Sender::open(&self.output) {
            Ok(sender) => {
                if self.fault.take().is_some() {
                    info!(output = %self.output, "open");
                }
                self.sender = Some(sender);
                self.due = now + OUTPUT_CHECK;
            }
            Err(error) => {
                let text = error.to_string();
                if self.fault.as_ref().is_none_or(|fault| fault.to_string() != text) {
                    warn!(output = %self.output, "cannot be opened: {text}; trying again");
                }
                self.sender = None;
                self.fault = Some(error);
                self.due = now + OUTPUT_RETRY;
            }
        }
    }

    /// The address.
    pub fn output(&self) -> &Output {
        &self.output
    }

    /// Why there is no socket; `None` when there is one.
    pub fn fault(&self) -> Option<&Error> {
        self.fault.as_ref()
    }

    /// The counters.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
}

impl Counters {
    fn drop_for(&mut self, error: &io::Error) {
        *match error.raw_os_error() {
            Some(libc::EMSGSIZE) => &mut self.too_big,
            Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM) => &mut self.full,
            _ => &mut self.unreachable,
        } += 1;
    }
}

/// Errors of a socket whose interface or address is gone, so that a new one may do better.
fn is_stale(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ENODEV
                | libc::ENXIO
                | libc::EINVAL
                | libc::EADDRNOTAVAIL
                | libc::ENETUNREACH
                | libc::ENETDOWN
        )
    )
}

impl Sender {
    fn open(output: &Output) -> Result<Sender, Error> {
        let domain = Domain::for_address(output.target);
        let socket =
            Socket::new(domain, Type::DGRAM, Some(Protocol::UDP)).map_err(Error::socket("open a socket"))?;
        socket.set_nonblocking(true).map_err(Error::socket("make the socket non-blocking"))?;
        if setsockopt(&socket, sockopt::SndBufForce, &(SEND_BUFFER_BYTES / 2)).is_err() {
            // Without the privilege; the kernel gives what its limit allows.
            let set = socket.set_send_buffer_size(SEND_BUFFER_BYTES / 2);
            set.map_err(Error::socket("set the send buffer's size"))?;
        }
        if let Some(ttl) = output.ttl {
            set_ttl(&socket, output, u32::from(ttl)).map_err(Error::socket("set the TTL"))?;
        }
        let mut sender = Sender { socket, to: output.target, origin: None };
        if output.is_class_d() {
            sender.use_multicast_interface(output)?;
        } else if let Some(interface) = &output.interface {
            sender.use_unicast_interface(output, interface)?;
        }
        Ok(sender)
    }

    /// IP_MULTICAST_IF is set always: without it the kernel may send from 0.0.0.0, even with a route.
    fn use_multicast_interface(&mut self, output: &Output) -> Result<(), Error> {
        let origin = Origin::find(output)?;
        match output.target.ip() {
            IpAddr::V4(_) => sys::set_multicast_interface_v4(
                self.socket.as_fd(),
                origin.index,
                origin.address.unwrap_or(Ipv4Addr::UNSPECIFIED),
            ),
            IpAddr::V6(_) => self.socket.set_multicast_if_v6(origin.index),
        }
        .map_err(Error::socket("set the multicast interface"))?;
        if let Some(Interface::Addr(ip @ IpAddr::V6(_))) = output.interface {
            self.bind(ip, origin.index)?; // IPv6 takes an interface there, but no address
        }
        self.origin = Some(origin);
        let Some(on) = output.multicast_loop else { return Ok(()) };
        match output.target {
            SocketAddr::V4(_) => self.socket.set_multicast_loop_v4(on),
            SocketAddr::V6(_) => self.socket.set_multicast_loop_v6(on),
        }
        .map_err(Error::socket("set the multicast loop"))
    }

    /// A name ties the socket to that interface; an address is what the datagrams come from.
    fn use_unicast_interface(&mut self, output: &Output, interface: &Interface) -> Result<(), Error> {
        let found = interface::find(Some(interface), output.target.ip())?;
        if let SocketAddr::V6(to) = &mut self.to
            && to.ip().is_unicast_link_local()
        {
            to.set_scope_id(found.index);
        }
        match interface {
            Interface::Addr(ip) => self.bind(*ip, found.index)?,
            Interface::Name(name) => {
                let bound = self.socket.bind_device(Some(name.as_bytes()));
                bound.map_err(Error::socket("bind to the interface"))?;
            }
        }
        self.origin = Some(Origin::find(output)?);
        Ok(())
    }

    /// Makes `ip` the datagrams' source; `index` says which link a link-local address is of.
    fn bind(&self, ip: IpAddr, index: u32) -> Result<(), Error> {
        let address = match ip {
            IpAddr::V6(ip) if ip.is_unicast_link_local() => SocketAddrV6::new(ip, 0, 0, index).into(),
            ip => SocketAddr::new(ip, 0),
        };
        self.socket.bind(&address.into()).map_err(Error::socket("bind to the interface's address"))
    }

    /// Whether the interface is still the same. Without one, unicast follows the kernel's routes by itself.
    fn fits(&self, output: &Output) -> bool {
        self.origin.is_none_or(|origin| Origin::find(output).is_ok_and(|now| now == origin))
    }
}

impl Origin {
    fn find(output: &Output) -> Result<Origin, Error> {
        let target = output.target.ip();
        let found = interface::find(output.interface.as_ref(), target)?;
        let address = match (&output.interface, target) {
            (_, IpAddr::V6(_)) => None,
            (Some(Interface::Addr(IpAddr::V4(address))), _) => Some(*address),
            _ => interface::ipv4_of(&found.name),
        };
        Ok(Origin { index: found.index, address })
    }
}

fn set_ttl(socket: &Socket, output: &Output, ttl: u32) -> io::Result<()> {
    match (output.target, output.is_class_d()) {
        (SocketAddr::V4(_), true) => socket.set_multicast_ttl_v4(ttl),
        (SocketAddr::V4(_), false) => socket.set_ttl_v4(ttl),
        (SocketAddr::V6(_), true) => socket.set_multicast_hops_v6(ttl),
        (SocketAddr::V6(_), false) => socket.set_unicast_hops_v6(ttl),
    }
}

#[cfg(test)]
mod tests {
    use std::{net::UdpSocket, time::Duration};

    use super::*;
    use crate::{
        clock,
        limits::{DATAGRAM_BYTES_MAX, RECEIVE_BUFFER_BYTES},
        net::{
            multicast::Subscription,
            testing::{free_port, group, input, payloads, receive},
        },
    };

    fn output(url: &str) -> UdpOutput {
        UdpOutput::new(url.parse().unwrap(), clock::now())
    }

    #[test]
    fn a_unicast_target_gets_all_in_order() {
        let receiver = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut output = output(&format!("udp://{}?ttl=3", receiver.local_addr().unwrap()));
        let packets: Vec<[u8; 2]> = (0..150u16).map(u16::to_be_bytes).collect();
        output.send(clock::now(), &mut SendBatch::new(), packets.iter().map(|p| &p[..]));
        assert_eq!(payloads(&receive(&receiver, 150)), packets);
        assert_eq!(*output.counters(), Counters { packets: 150, bytes: 300, ..Counters::default() });
    }

    #[test]
    fn a_group_gets_it_from_the_interfaces_address() {
        for interface in ["127.0.0.1", "lo"] {
            let (group, port) = (group(), free_port());
            let subscription = Subscription::open(&input("", group, port), RECEIVE_BUFFER_BYTES).unwrap();
            let mut output = output(&format!("udp://{group}:{port}?if={interface}&ttl=0"));
            output.send(clock::now(), &mut SendBatch::new(), [&b"tide"[..]]);
            let received = receive(&subscription, 1);
            assert_eq!(payloads(&received), [b"tide"]);
            assert_eq!(received[0].source.ip(), Ipv4Addr::LOCALHOST);
        }
    }

    #[test]
    fn ttl_and_loop_are_set() {
        let output = output(&format!("udp://{}:{}?if=127.0.0.1&loop=0&ttl=9", group(), free_port()));
        let socket = &output.sender.as_ref().unwrap().socket;
        assert!(!socket.multicast_loop_v4().unwrap());
        assert_eq!(socket.multicast_ttl_v4().unwrap(), 9);
    }

    #[test]
    fn one_bad_datagram_costs_no_other() {
        let receiver = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut output = output(&format!("udp://{}", receiver.local_addr().unwrap()));
        let (long, now) = (vec![0; DATAGRAM_BYTES_MAX + 1], clock::now());
        let mut packets: Vec<&[u8]> = vec![b"x"; 100];
        for bad in [0, 63, 64, 99] {
            packets[bad] = &long;
        }
        output.send(now, &mut SendBatch::new(), packets);
        assert_eq!(receive(&receiver, 96).len(), 96);
        let expected = Counters { packets: 96, bytes: 96, too_big: 4, ..Counters::default() };
        assert_eq!((*output.counters(), output.counters().dropped()), (expected, 4));
    }

    #[test]
    fn a_target_that_nobody_listens_on_stays_usable() {
        let port = free_port();
        let mut output = output(&format!("udp://127.0.0.1:{port}"));
        let mut batch = SendBatch::new();
        for _ in 0..3 {
            output.send(clock::now(), &mut batch, [&b"early"[..]]);
        }
        let receiver = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        output.send(clock::now(), &mut batch, [&b"first"[..]]);
        assert_eq!(payloads(&receive(&receiver, 1)), [b"first"], "not lost to an ICMP error");
    }

    #[test]
    fn drops_are_counted_by_reason() {
        let mut counters = Counters::default();
        for (error, times) in [(libc::EAGAIN, 2), (libc::ENOBUFS, 1), (libc::EPERM, 3), (libc::EMSGSIZE, 1)] {
            (0..times).for_each(|_| counters.drop_for(&io::Error::from_raw_os_error(error)));
        }
        assert_eq!((counters.full, counters.unreachable, counters.too_big), (3, 3, 1));
    }

    #[test]
    fn a_missing_interface_is_tried_again_once_a_second() {
        let (group, port, now) = (group(), free_port(), clock::now());
        let subscription = Subscription::open(&input("", group, port), RECEIVE_BUFFER_BYTES).unwrap();
        let url = format!("udp://{group}:{port}?if=nosuch0");
        let mut output = UdpOutput::new(url.parse().unwrap(), now);
        assert!(output.fault().is_some_and(|e| e.is_retryable() && e.to_string().contains("nosuch0")));
        let mut batch = SendBatch::new();
        output.send(now, &mut batch, [&b"lost"[..]]);
        assert_eq!(output.counters().unreachable, 1);

        output.output.interface = Some("lo".parse().unwrap()); // as if it were there now
        output.send(now + OUTPUT_RETRY - Duration::from_millis(1), &mut batch, [&b"lost"[..]]);
        assert_eq!((output.counters().unreachable, output.counters().packets), (2, 0));
        output.send(now + OUTPUT_RETRY, &mut batch, [&b"sent"[..]]);
        assert!(output.fault().is_none());
        assert_eq!(payloads(&receive(&subscription, 1)), [b"sent"]);
    }

    #[test]
    fn a_socket_is_made_anew_when_its_interface_changed() {
        let (group, port, now) = (group(), free_port(), clock::now());
        let subscription = Subscription::open(&input("", group, port), RECEIVE_BUFFER_BYTES).unwrap();
        let mut output = UdpOutput::new(format!("udp://{group}:{port}?if=lo").parse().unwrap(), now);
        let mut batch = SendBatch::new();
        // As if the interface had been made again: the old index is nobody's.
        let sender = output.sender.as_mut().unwrap();
        sender.origin = Some(Origin { index: u32::MAX, address: None });
        output.send(now + OUTPUT_CHECK, &mut batch, [&b"new"[..]]);
        let sender = output.sender.as_ref().unwrap();
        assert_eq!(
            sender.origin.unwrap().index,
            interface::find(None, Ipv4Addr::LOCALHOST.into()).unwrap().index
        );
        assert_eq!(payloads(&receive(&subscription, 1)), [b"new"]);
    }
}
