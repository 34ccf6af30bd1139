//! The socket of UDP outputs: opened for an interface, and reopened when that changes.
//!
//! It is not connected: a connected one would report the ICMP error of an earlier datagram on a
//! later, good one, and keep an old route.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6},
    os::fd::{AsFd, BorrowedFd},
};

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};

use crate::limits::{SEND_BUFFER_SHARE, SOCKET_OUTPUTS_MAX};
use tidecast_net::limits::SEND_BUFFER_BYTES;
use tidecast_net::{
    SocketError,
    address::{Dscp, Interface, Output},
    interface::Interfaces,
    sys,
};

/// A socket, and the interface that it was opened for.
#[derive(Debug)]
pub struct Sender {
    socket: Socket,
    origin: Option<Origin>,
    /// Size of the send buffer, in the kernel's accounting.
    buffer: usize,
}

/// The interface for sending, and its IPv4 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Origin {
    index: u32,
    address: Option<Ipv4Addr>,
}

impl Sender {
    /// Opens a socket for `output`, with a buffer for `count` outputs.
    pub fn open(output: &Output, count: usize, interfaces: &Interfaces) -> Result<Sender, SocketError> {
        let domain = Domain::for_address(output.target);
        let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))
            .map_err(SocketError::socket("open a socket"))?;
        socket.set_nonblocking(true).map_err(SocketError::socket("make the socket non-blocking"))?;
        let buffer = set_buffer(&socket, count).map_err(SocketError::socket("set the send buffer's size"))?;
        if let Some(ttl) = output.ttl {
            set_ttl(&socket, output, u32::from(ttl)).map_err(SocketError::socket("set the TTL"))?;
        }
        let sender = Sender { socket, origin: None, buffer };
        if let Some(Dscp::Fixed(dscp)) = output.dscp {
            sender.set_dscp(dscp).map_err(SocketError::socket("set the DSCP"))?;
        }
        let mut sender = sender;
        if output.is_class_d() {
            sender.use_multicast_interface(output, interfaces)?;
        } else if let Some(interface) = &output.interface {
            sender.use_unicast_interface(output, interface, interfaces)?;
        }
        Ok(sender)
    }

    /// Always sets IP_MULTICAST_IF: without it the kernel may send from 0.0.0.0, even with a
    /// route.
    fn use_multicast_interface(
        &mut self,
        output: &Output,
        interfaces: &Interfaces,
    ) -> Result<(), SocketError> {
        let origin = Origin::find(output, interfaces)?;
        match output.target.ip() {
            IpAddr::V4(_) => sys::set_multicast_interface_v4(
                self.socket.as_fd(),
                origin.index,
                origin.address.unwrap_or(Ipv4Addr::UNSPECIFIED),
            ),
            IpAddr::V6(_) => self.socket.set_multicast_if_v6(origin.index),
        }
        .map_err(SocketError::socket("set the multicast interface"))?;
        if let Some(ip @ IpAddr::V6(_)) = output.interface.as_ref().and_then(Interface::address) {
            self.bind(ip, origin.index)?; // IPV6_MULTICAST_IF names an interface, but no source address
        }
        self.origin = Some(origin);
        let Some(on) = output.multicast_loop else { return Ok(()) };
        match output.target {
            SocketAddr::V4(_) => self.socket.set_multicast_loop_v4(on),
            SocketAddr::V6(_) => self.socket.set_multicast_loop_v6(on),
        }
        .map_err(SocketError::socket("set the multicast loop"))
    }

    /// An interface name binds the socket to that interface; an address becomes the source
    /// address.
    fn use_unicast_interface(
        &mut self,
        output: &Output,
        interface: &Interface,
        interfaces: &Interfaces,
    ) -> Result<(), SocketError> {
        let origin = Origin::find(output, interfaces)?;
        match interface.address() {
            Some(ip) => self.bind(ip, origin.index)?,
            None => {
                let found = interfaces.find(Some(interface), output.target.ip())?; // it may be an alternative name
                let bound = self.socket.bind_device(Some(found.name.as_bytes()));
                bound.map_err(SocketError::socket("bind to the interface"))?;
            }
        }
        self.origin = Some(origin);
        Ok(())
    }

    /// Makes `ip` the source address; `index`: the link of a link-local address.
    fn bind(&self, ip: IpAddr, index: u32) -> Result<(), SocketError> {
        let address = match ip {
            IpAddr::V6(ip) if ip.is_unicast_link_local() => SocketAddrV6::new(ip, 0, 0, index).into(),
            ip => SocketAddr::new(ip, 0),
        };
        self.socket.bind(&address.into()).map_err(SocketError::socket("bind to the interface's address"))
    }

    /// Whether the interface is unchanged. Without one, unicast follows the kernel's routes.
    pub(super) fn fits(&self, output: &Output, interfaces: &Interfaces) -> bool {
        self.origin.is_none_or(|origin| Origin::find(output, interfaces).is_ok_and(|now| now == origin))
    }

    /// The target as this socket needs it: a link-local one with its link.
    pub fn address(&self, output: &Output) -> SocketAddr {
        let mut to = output.target;
        if let (SocketAddr::V6(to), Some(origin)) = (&mut to, self.origin)
            && to.ip().is_unicast_link_local()
        {
            to.set_scope_id(origin.index);
        }
        to
    }

    /// Sends one datagram to another address than the target.
    pub fn send_to(&self, to: SocketAddr, datagram: &[u8]) -> io::Result<usize> {
        self.socket.send_to(datagram, &to.into())
    }

    /// Sets the class of service (DSCP), 0 to 63, of further datagrams. The two bits below it are
    /// for congestion (RFC 3168).
    pub(super) fn set_dscp(&self, dscp: u8) -> io::Result<()> {
        let class = u32::from(dscp) << 2;
        match self.socket.domain()? {
            Domain::IPV6 => self.socket.set_tclass_v6(class),
            _ => self.socket.set_tos_v4(class),
        }
    }

    /// Number of outputs for which the buffer is large enough.
    pub(super) fn outputs_max(&self) -> usize {
        (self.buffer / SEND_BUFFER_SHARE).clamp(1, SOCKET_OUTPUTS_MAX)
    }

    #[cfg(test)]
    pub(super) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// For tests: as if it had been opened when the interface had another index.
    #[cfg(test)]
    pub(super) fn misplace(&mut self) {
        self.origin = Some(Origin { index: u32::MAX, address: None });
    }

    #[cfg(test)]
    pub(super) fn index(&self) -> Option<u32> {
        self.origin.map(|origin| origin.index)
    }
}

impl AsFd for Sender {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Origin {
    fn find(output: &Output, interfaces: &Interfaces) -> Result<Origin, SocketError> {
        let target = output.target.ip();
        let found = interfaces.find(output.interface.as_ref(), target)?;
        let address = match (&output.interface, target) {
            (_, IpAddr::V6(_)) => None,
            (Some(Interface::Addr(IpAddr::V4(address))), _) => Some(*address),
            _ => interfaces.ipv4_of(&found.name),
        };
        Ok(Origin { index: found.index, address })
    }
}

/// Requests a buffer for `count` outputs, first beyond the system's limit, which needs
/// CAP_NET_ADMIN. Returns the granted size; the kernel doubles the requested one.
fn set_buffer(socket: &Socket, count: usize) -> io::Result<usize> {
    let half = SEND_BUFFER_BYTES / 2 * count.min(SOCKET_OUTPUTS_MAX);
    if setsockopt(socket, sockopt::SndBufForce, &half).is_err() {
        socket.set_send_buffer_size(half)?;
    }
    socket.send_buffer_size()
}

fn set_ttl(socket: &Socket, output: &Output, ttl: u32) -> io::Result<()> {
    match (output.target, output.is_class_d()) {
        (SocketAddr::V4(_), true) => socket.set_multicast_ttl_v4(ttl),
        (SocketAddr::V4(_), false) => socket.set_ttl_v4(ttl),
        (SocketAddr::V6(_), true) => socket.set_multicast_hops_v6(ttl),
        (SocketAddr::V6(_), false) => socket.set_unicast_hops_v6(ttl),
    }
}
