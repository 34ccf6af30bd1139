//! The producer's socket: a UDP socket that is configured by the options of a checked [`Output`].
//!
//! I/O, used by [`crate::Producer`] and the `send` command. Datagrams come from an encoder and
//! leave the process here.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};

use socket2::{Domain, Protocol, Socket, Type};

use tidecast_net::address::{Interface, Output};
use tidecast_net::clock;
use tidecast_net::interface::{self, Interfaces};
use tidecast_net::{self as net, sys};

/// Why a socket for an output could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The interface does not exist, or no interface was named and there is no route to the group.
    #[error("output {target}: {cause}")]
    Interface {
        /// The target of the datagrams.
        target: SocketAddr,
        /// The error of the interface.
        cause: net::SocketError,
    },
    /// A system call failed.
    #[error("output {target}: cannot {action}: {cause}")]
    System {
        /// The target of the datagrams.
        target: SocketAddr,
        /// The operation that failed.
        action: &'static str,
        /// The error of the system.
        cause: io::Error,
    },
}

/// A blocking UDP socket with one target.
///
/// ```
/// use tidecast_producer::Sender;
///
/// let sender = Sender::open(&"udp://127.0.0.1:7000?ttl=1".parse()?)?;
/// sender.send(b"any bytes")?;
/// assert_eq!(sender.target().port(), 7000);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Sender {
    socket: Socket,
    target: SocketAddr,
}

impl Sender {
    /// Opens a socket that sends to the output's target, through its interface.
    ///
    /// # Errors
    /// [`OpenError`] when the interface does not exist or the system refuses an option.
    pub fn open(output: &Output) -> Result<Sender, OpenError> {
        let target = output.target;
        let failed = |action| move |cause| OpenError::System { target, action, cause };
        let socket = Socket::new(Domain::for_address(target), Type::DGRAM, Some(Protocol::UDP))
            .map_err(failed("open a UDP socket"))?;
        if output.is_class_d() {
            multicast(&socket, output)?;
        } else {
            unicast(&socket, output)?;
        }
        Ok(Sender { socket, target })
    }

    /// Returns a second handle of the same socket, for another thread.
    ///
    /// # Errors
    /// There is no descriptor left.
    pub fn try_clone(&self) -> io::Result<Sender> {
        Ok(Sender { socket: self.socket.try_clone()?, target: self.target })
    }

    /// Returns the target of the datagrams.
    pub fn target(&self) -> SocketAddr {
        self.target
    }

    /// Sends one datagram; waits while the socket's buffer is full.
    ///
    /// # Errors
    /// The system's error, with the target.
    pub fn send(&self, datagram: &[u8]) -> io::Result<()> {
        let sent = self.socket.send_to(datagram, &self.target.into());
        let named = |error: io::Error| {
            io::Error::new(error.kind(), format!("cannot send to {}: {error}", self.target))
        };
        sent.map(drop).map_err(named)
    }
}

impl AsFd for Sender {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Configures a socket for a group: the interface is always set, because routes may choose another
/// one, and because without it datagrams may come from 0.0.0.0.
fn multicast(socket: &Socket, output: &Output) -> Result<(), OpenError> {
    let target = output.target;
    let failed = |action| move |cause| OpenError::System { target, action, cause };
    let interfaces = Interfaces::read(clock::now());
    let found = interfaces
        .find(output.interface.as_ref(), target.ip())
        .map_err(|cause| OpenError::Interface { target, cause })?;
    let set = match (target.ip(), &output.interface) {
        (IpAddr::V6(_), _) => socket.set_multicast_if_v6(found.index),
        (IpAddr::V4(_), Some(Interface::Addr(IpAddr::V4(address)))) => {
            sys::set_multicast_interface_v4(socket.as_fd(), found.index, *address)
        }
        (IpAddr::V4(_), _) => {
            let address = interfaces.ipv4_of(&found.name).unwrap_or(Ipv4Addr::UNSPECIFIED);
            sys::set_multicast_interface_v4(socket.as_fd(), found.index, address)
        }
    };
    set.map_err(failed("send through that interface"))?;
    let v4 = target.is_ipv4();
    if let Some(on) = output.multicast_loop {
        let set = if v4 { socket.set_multicast_loop_v4(on) } else { socket.set_multicast_loop_v6(on) };
        set.map_err(failed("set the multicast loop"))?;
    }
    if let Some(ttl) = output.ttl {
        let ttl = u32::from(ttl);
        let set = if v4 { socket.set_multicast_ttl_v4(ttl) } else { socket.set_multicast_hops_v6(ttl) };
        set.map_err(failed("set the multicast TTL"))?;
    }
    Ok(())
}

/// Configures a socket for a single host: a named interface is the only one that is used, an
/// address is the source address of the datagrams.
fn unicast(socket: &Socket, output: &Output) -> Result<(), OpenError> {
    let target = output.target;
    let failed = |action| move |cause| OpenError::System { target, action, cause };
    if let Some(wanted) = &output.interface {
        let found = interface::find(Some(wanted), target.ip())
            .map_err(|cause| OpenError::Interface { target, cause })?;
        match wanted.address() {
            None => {
                socket.bind_device(Some(found.name.as_bytes())).map_err(failed("bind to that interface"))?;
            }
            Some(address) => {
                let source = interface::on_link(SocketAddr::new(address, 0), found.index);
                socket.bind(&source.into()).map_err(failed("bind to that address"))?;
            }
        }
    }
    if let Some(ttl) = output.ttl {
        let ttl = u32::from(ttl);
        let set = if target.is_ipv4() { socket.set_ttl_v4(ttl) } else { socket.set_unicast_hops_v6(ttl) };
        set.map_err(failed("set the TTL"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::time::Duration;

    fn open(url: &str) -> Result<Sender, OpenError> {
        Sender::open(&url.parse().expect("a good URL"))
    }

    #[test]
    fn a_group_is_reached_through_the_named_interface() {
        for interface in ["127.0.0.1", "lo"] {
            let receiver = UdpSocket::bind(("239.66.1.9", 0)).expect("bind to the group");
            let group = Ipv4Addr::new(239, 66, 1, 9);
            receiver.join_multicast_v4(&group, &Ipv4Addr::LOCALHOST).expect("join on loopback");
            receiver.set_read_timeout(Some(Duration::from_secs(5))).expect("set a time-out");
            let port = receiver.local_addr().expect("bound").port();
            let sender =
                open(&format!("udp://239.66.1.9:{port}?if={interface}&ttl=0&loop=1")).expect("opens");
            sender.send(b"hello").expect("sends");
            let mut bytes = [0; 16];
            let (len, from) = receiver.recv_from(&mut bytes).expect("arrives");
            assert_eq!((&bytes[..len], from.ip()), (&b"hello"[..], IpAddr::V4(Ipv4Addr::LOCALHOST)));
        }
    }

    #[test]
    fn a_single_host_is_reached_through_the_named_interface() {
        let receiver = UdpSocket::bind("127.0.0.1:0").expect("bind");
        receiver.set_read_timeout(Some(Duration::from_secs(5))).expect("set a time-out");
        let port = receiver.local_addr().expect("bound").port();
        for interface in ["127.0.0.1", "lo"] {
            let sender = open(&format!("udp://127.0.0.1:{port}?if={interface}&ttl=3")).expect("opens");
            sender.send(b"x").expect("sends");
            assert_eq!(receiver.recv(&mut [0; 16]).expect("arrives"), 1, "through {interface}");
        }
    }

    #[test]
    fn an_unknown_interface_is_named_in_the_error() {
        for url in ["udp://239.1.1.1:5000?if=nonesuch0", "udp://10.0.0.1:5000?if=nonesuch0"] {
            let error = open(url).expect_err("no such interface").to_string();
            assert!(error.contains("nonesuch0") && error.contains("present: "), "{error}");
        }
        let error = open("udp://239.1.1.1:5000?if=203.0.113.9").expect_err("not an address of this host");
        assert!(error.to_string().starts_with("output 239.1.1.1:5000: "), "{error}");
    }

    #[test]
    fn a_datagram_that_is_too_long_is_an_error_of_the_send() {
        let sender = open("udp://127.0.0.1:9").expect("opens");
        let error = sender.send(&[0; 65_508]).expect_err("too long for UDP").to_string();
        assert!(error.contains("127.0.0.1:9"), "{error}");
    }
}
