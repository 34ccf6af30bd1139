//! The socket of one leg: opening, binding, joining, rejoining and leaving.
//!
//! Each leg has its own socket, so that the kernel's limit of 20 memberships per socket never
//! matters, and drop counts and buffers belong to one leg. [`super::ingest`] receives from it and
//! decides when to try again.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsFd, BorrowedFd},
};

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use tracing::warn;

use super::{
    SocketError, igmp,
    interface::{self, Found, Interfaces},
    sys,
};
use crate::address::{Endpoint, Input};

/// Size of a socket's receive buffer, in bytes as counted by the kernel (more than the datagrams'
/// own).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceiveBuffer {
    /// The requested size.
    pub requested: usize,
    /// The size that the kernel granted.
    pub granted: usize,
}

impl ReceiveBuffer {
    /// Requests `requested` bytes: first beyond the system's limit, which requires CAP_NET_ADMIN,
    /// then within it. The kernel doubles the requested value.
    fn set(socket: &Socket, requested: usize) -> io::Result<ReceiveBuffer> {
        let half = requested.div_ceil(2);
        if setsockopt(socket, sockopt::RcvBufForce, &half).is_err() {
            socket.set_recv_buffer_size(half)?;
        }
        Ok(ReceiveBuffer { requested, granted: socket.recv_buffer_size()? })
    }

    /// Returns a warning for the user if the kernel granted less than requested.
    pub fn warning(&self) -> Option<String> {
        (self.granted < self.requested).then(|| {
            format!(
                "the receive buffer is {} bytes instead of {}, so bursts may be dropped; \
                 run `sysctl -w net.core.rmem_max={}`",
                self.granted,
                self.requested,
                self.requested.div_ceil(2)
            )
        })
    }
}

/// State of a subscription's interface.
#[derive(Debug)]
pub enum Standing {
    /// Unchanged since joining.
    Intact,
    /// The interface was recreated, or another one now has the address or the route: call
    /// [`Subscription::rejoin`].
    Moved,
    /// The interface is gone, and the membership with it.
    Missing(SocketError),
}

/// A leg's socket, bound, and joined if its address is a group. Dropping it closes the socket,
/// which leaves the group.
#[derive(Debug)]
pub struct Subscription {
    socket: Socket,
    input: Input,
    /// The interface joined on or bound to; `None` for unicast on any interface, and after
    /// leaving.
    on: Option<Found>,
    /// Whether the interface was found missing; the membership is then gone even if the interface
    /// reappears unchanged.
    lost: bool,
    receive_buffer: ReceiveBuffer,
}

impl Subscription {
    /// Requests the DSCP of each datagram from the kernel.
    ///
    /// # Errors
    /// The kernel does not support it.
    pub(super) fn ask_for_dscp(&self) -> io::Result<()> {
        match self.input.group.is_ipv6() {
            true => self.socket.set_recv_tclass_v6(true),
            false => self.socket.set_recv_tos_v4(true),
        }
    }

    /// Sends one datagram from the socket's own port; never blocks.
    pub(super) fn send(&self, bytes: &[u8], to: SocketAddr) -> io::Result<()> {
        self.socket.send_to(bytes, &to.into()).map(drop)
    }

    /// Opens, binds and joins. `receive_buffer` is in bytes as counted by the kernel.
    pub fn open(
        input: &Input,
        receive_buffer: usize,
        interfaces: &Interfaces,
    ) -> Result<Subscription, SocketError> {
        let on = match (&input.interface, input.is_class_d()) {
            (None, false) => None,
            _ => Some(interfaces.find(input.interface.as_ref(), input.group)?),
        };
        let socket = new_socket(input)?;
        let receive_buffer = ReceiveBuffer::set(&socket, receive_buffer)
            .map_err(SocketError::socket("set the receive buffer's size"))?;
        let subscription = Subscription { socket, input: input.clone(), on, lost: false, receive_buffer };
        subscription.bind()?;
        if let Some(on) = &subscription.on {
            subscription.join(on)?;
        }
        Ok(subscription)
    }

    /// Binds to the group, so that no other group's datagrams are received, or to the local
    /// address.
    fn bind(&self) -> Result<(), SocketError> {
        let mut address = self.input.socket_addr();
        if let Some(on) = &self.on {
            address = interface::on_link(address, on.index);
            if self.is_bound() {
                self.bind_to_interface(on)?;
            }
        } else if Endpoint::from(address).lacks_zone() {
            return Err(SocketError::ZoneMissing { address });
        }
        self.socket.bind(&address.into()).map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => SocketError::PortInUse { address },
            io::ErrorKind::AddrNotAvailable => SocketError::AddressMissing { address },
            _ => SocketError::Bind { address, error },
        })
    }

    /// Returns whether the socket is bound to its interface. The kernel checks the interface of an
    /// IPv4 membership for each datagram, but not that of an IPv6 one (`inet6_mc_check`): without
    /// the binding, the group is also received from every other interface on which any program of
    /// this host has joined it.
    fn is_bound(&self) -> bool {
        !self.input.is_class_d() || self.input.group.is_ipv6()
    }

    /// Binds to the interface. SO_BINDTODEVICE requires no privilege on a new socket since Linux
    /// 5.7; on older kernels, the group is received without the binding.
    fn bind_to_interface(&self, on: &Found) -> Result<(), SocketError> {
        match self.socket.bind_device(Some(on.name.as_bytes())) {
            Err(error) if self.input.is_class_d() && error.raw_os_error() == Some(libc::EPERM) => {
                let name = &on.name;
                warn!(
                    leg = %self.input,
                    "cannot be bound to {name}, which needs Linux 5.7 or CAP_NET_RAW: the same group on other interfaces comes in, too"
                );
                Ok(())
            }
            bound => bound.map_err(SocketError::socket("bind to the interface")),
        }
    }

    fn join(&self, on: &Found) -> Result<(), SocketError> {
        let Input { group, source, .. } = &self.input;
        let joined = match (group, source) {
            _ if !self.input.is_class_d() => Ok(()),
            (group, Some(source)) => sys::join_source(self.as_fd(), on.index, *group, *source),
            (IpAddr::V4(group), None) => {
                self.socket.join_multicast_v4_n(group, &InterfaceIndexOrAddress::Index(on.index))
            }
            (IpAddr::V6(group), None) => self.socket.join_multicast_v6(group, on.index),
        };
        joined.map_err(|error| SocketError::Join { group: *group, interface: on.name.clone(), error })
    }

    /// Leaves the group, for any source: unlike leaving a single source, that works (and frees the
    /// entry) even if the interface is gone.
    fn leave_on(&self, on: &Found) -> io::Result<()> {
        match self.input.group {
            _ if !self.input.is_class_d() => Ok(()),
            IpAddr::V4(group) => {
                self.socket.leave_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(on.index))
            }
            IpAddr::V6(group) => self.socket.leave_multicast_v6(&group, on.index),
        }
    }

    /// Checks whether the interface is still the one on which the group was joined; cheap enough
    /// to do once a second.
    ///
    /// A link that goes down and up, another address or another name do not end a membership;
    /// deletion does. An interface that is deleted and created again with the same index between
    /// two calls is not detected (the kernel counts indices up unless one is specified).
    pub fn standing(&mut self, interfaces: &Interfaces) -> Standing {
        let Some(on) = &self.on else { return Standing::Intact };
        match interfaces.find(self.input.interface.as_ref(), self.input.group) {
            Ok(found) if found.index == on.index && !self.lost => Standing::Intact,
            Ok(_) => Standing::Moved,
            Err(_) if !self.lost && interfaces.exists(on.index) => Standing::Intact,
            Err(error) => {
                self.lost = true;
                Standing::Missing(error)
            }
        }
    }

    /// Returns whether [`Subscription::rejoin`] is possible: it is not for a socket that is bound
    /// to one interface.
    pub fn can_rejoin(&self) -> bool {
        !self.is_bound()
    }

    /// Joins on the interface as it is now, on the same socket.
    ///
    /// The entry of the old membership in the socket is removed, because 20 of them would fill the
    /// socket; this is done after joining, so that the group is never left while it is needed.
    /// (With the same index, the entry must be removed first; its membership is lost already, so
    /// nothing is sent.)
    pub fn rejoin(&mut self, interfaces: &Interfaces) -> Result<(), SocketError> {
        let found = interfaces.find(self.input.interface.as_ref(), self.input.group)?;
        let stale = self.on.as_ref().filter(|on| on.index != found.index);
        if stale.is_none() {
            let _ = self.leave_on(&found); // it may be gone already, which is fine
        }
        let joined = self.join(&found);
        self.lost = joined.is_err();
        joined?;
        if let Some(stale) = stale {
            let _ = self.leave_on(stale); // it may be gone already, which is fine
        }
        self.on = Some(found);
        Ok(())
    }

    /// Reports the membership again without leaving, for networks without a querier: the kernel
    /// reports unprompted only when a membership is new. Does nothing if the address is not a
    /// group.
    ///
    /// Sending the report directly requires CAP_NET_RAW. Without it, the filter of the membership
    /// is changed and changed back: the kernel reports the change a few milliseconds later, when
    /// the old filter is in place again and is the only one to report. Between the two calls, for
    /// some microseconds, the socket receives nothing (with a source: also datagrams of other
    /// sources).
    ///
    /// # Errors
    /// Both ways failed.
    pub fn report(&mut self) -> io::Result<()> {
        let (Some(on), true) = (&self.on, self.input.is_class_d()) else { return Ok(()) };
        let Input { group, source, .. } = self.input;
        if let IpAddr::V4(group) = group {
            let source = source.and_then(|source| match source {
                IpAddr::V4(source) => Some(source),
                IpAddr::V6(_) => None,
            });
            if igmp::report(on, group, source).is_ok() {
                return Ok(());
            }
        }
        let (fd, index, one) = (self.socket.as_fd(), on.index, source.is_some());
        let other = source.is_none().then(|| nobody(group));
        sys::set_source_filter(fd, index, group, !one, other)?;
        let back = sys::set_source_filter(fd, index, group, one, source);
        self.lost |= back.is_err(); // the next check joins again
        back
    }

    /// Leaves the group; the socket stays open, so that queued datagrams can still be received.
    pub fn leave(&mut self) -> io::Result<()> {
        match self.on.take() {
            Some(on) => self.leave_on(&on),
            None => Ok(()),
        }
    }

    /// Returns the interface that was joined on or bound to.
    pub fn interface(&self) -> Option<&Found> {
        self.on.as_ref()
    }

    /// Returns the receive buffer's size, requested and granted.
    pub fn receive_buffer(&self) -> ReceiveBuffer {
        self.receive_buffer
    }
}

impl AsFd for Subscription {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Returns an address of the group's family that no host sends from: a reserved one (RFC 1112), or
/// one of the discard prefix (RFC 6666).
fn nobody(group: IpAddr) -> IpAddr {
    match group {
        IpAddr::V4(_) => Ipv4Addr::new(240, 0, 0, 1).into(),
        IpAddr::V6(_) => Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 1).into(),
    }
}

/// Creates an unbound socket with every option that is the same for all legs.
fn new_socket(input: &Input) -> Result<Socket, SocketError> {
    let domain = Domain::for_address(input.socket_addr());
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))
        .map_err(SocketError::socket("open a socket"))?;
    socket.set_nonblocking(true).map_err(SocketError::socket("make the socket non-blocking"))?;
    if input.is_class_d() {
        // Every socket gets a copy of a multicast datagram. With unicast, the socket bound last
        // would take all datagrams.
        socket.set_reuse_address(true).map_err(SocketError::socket("share the port"))?;
    }
    // Without this, the socket also receives groups that other sockets joined (even if it is bound
    // to a group).
    match domain {
        Domain::IPV4 => socket.set_multicast_all_v4(false),
        _ => socket.set_only_v6(true).and_then(|()| socket.set_multicast_all_v6(false)),
    }
    .map_err(SocketError::socket("turn IP_MULTICAST_ALL off"))?;
    setsockopt(&socket, sockopt::ReceiveTimestampns, &true)
        .map_err(|e| SocketError::socket("turn time stamps on")(e.into()))?;
    setsockopt(&socket, sockopt::RxqOvfl, &1)
        .map_err(|e| SocketError::socket("turn drop counts on")(e.into()))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, UdpSocket};

    use super::*;
    use crate::{address::Interface, clock, limits::RECEIVE_BUFFER_BYTES};
    use tidecast_testkit::sockets::{free_port, group, input, payloads, receive, sender, to};

    fn interfaces() -> Interfaces {
        Interfaces::read(clock::now())
    }

    fn open(input: &Input) -> Subscription {
        Subscription::open(input, RECEIVE_BUFFER_BYTES, &interfaces()).unwrap()
    }

    #[test]
    fn a_joined_group_is_received_with_stamps() {
        let (group, port, sender) = (group(), free_port(), sender(Ipv4Addr::LOCALHOST));
        let subscription = open(&input("", group, port));
        assert_eq!(subscription.interface().unwrap().name, "lo");
        let before = clock::unix();
        sender.send_to(b"tide", to(group, port)).unwrap();
        let received = receive(&subscription, 1);
        assert_eq!(payloads(&received), [b"tide"]);
        assert_eq!(received[0].source, sender.local_addr().unwrap());
        assert!(received[0].stamp.unwrap() >= before);
    }

    #[test]
    fn groups_on_one_port_do_not_leak_into_each_other() {
        let (one, two, port) = (group(), group(), free_port());
        let sender = sender(Ipv4Addr::LOCALHOST);
        let (first, second) = (open(&input("", one, port)), open(&input("", two, port)));
        sender.send_to(b"two", to(two, port)).unwrap();
        sender.send_to(b"one", to(one, port)).unwrap();
        assert_eq!(payloads(&receive(&first, 1)), [b"one"]);
        assert_eq!(payloads(&receive(&second, 1)), [b"two"]);
        assert!(receive(&first, 0).is_empty() && receive(&second, 0).is_empty());
    }

    #[test]
    fn two_subscriptions_of_one_group_both_get_it() {
        let (group, port) = (group(), free_port());
        let (first, second) = (open(&input("", group, port)), open(&input("", group, port)));
        sender(Ipv4Addr::LOCALHOST).send_to(b"both", to(group, port)).unwrap();
        assert_eq!(payloads(&receive(&first, 1)), [b"both"]);
        assert_eq!(payloads(&receive(&second, 1)), [b"both"]);
    }

    #[test]
    fn only_the_wanted_source_is_received() {
        let (group, port) = (group(), free_port());
        let subscription = open(&input("127.0.0.2", group, port));
        sender(Ipv4Addr::LOCALHOST).send_to(b"wrong", to(group, port)).unwrap();
        sender(Ipv4Addr::new(127, 0, 0, 2)).send_to(b"right", to(group, port)).unwrap();
        assert_eq!(payloads(&receive(&subscription, 1)), [b"right"]);
        assert!(receive(&subscription, 0).is_empty());
    }

    #[test]
    fn nothing_comes_after_leaving() {
        for source in ["", "127.0.0.1"] {
            let (group, port, sender) = (group(), free_port(), sender(Ipv4Addr::LOCALHOST));
            let mut subscription = open(&input(source, group, port));
            sender.send_to(b"before", to(group, port)).unwrap();
            subscription.leave().unwrap();
            sender.send_to(b"after", to(group, port)).unwrap();
            assert_eq!(payloads(&receive(&subscription, 1)), [b"before"]);
            assert!(receive(&subscription, 0).is_empty());
            subscription.leave().unwrap(); // leaving again does nothing
        }
    }

    #[test]
    fn a_lost_membership_is_joined_again_on_the_same_socket() {
        for source in ["", "127.0.0.1"] {
            let (group, port, sender) = (group(), free_port(), sender(Ipv4Addr::LOCALHOST));
            let mut subscription = open(&input(source, group, port));
            assert!(matches!(subscription.standing(&interfaces()), Standing::Intact));
            let interface = subscription.input.interface.replace(Interface::Name("nosuch0".into()));
            // Its index still exists, so it is taken as renamed; then as gone.
            assert!(matches!(subscription.standing(&interfaces()), Standing::Intact));
            subscription.on.as_mut().unwrap().index = u32::MAX;
            assert!(matches!(subscription.standing(&interfaces()), Standing::Missing(_)));
            assert!(matches!(subscription.rejoin(&interfaces()), Err(SocketError::InterfaceMissing { .. })));
            subscription.input.interface = interface;
            subscription.on = interfaces().find(subscription.input.interface.as_ref(), group.into()).ok();
            assert!(matches!(subscription.standing(&interfaces()), Standing::Moved), "it was lost meanwhile");
            for _ in 0..30 {
                subscription.rejoin(&interfaces()).unwrap();
            }
            assert!(matches!(subscription.standing(&interfaces()), Standing::Intact));
            sender.send_to(b"back", to(group, port)).unwrap();
            assert_eq!(payloads(&receive(&subscription, 1)), [b"back"]);
            assert!(receive(&subscription, 0).is_empty(), "one membership, one copy");
        }
    }

    #[test]
    fn unicast_and_any_address_are_bound_without_joining() {
        for host in ["127.0.0.1", ""] {
            let port = free_port();
            let subscription = open(&format!("udp://@{host}:{port}").parse().unwrap());
            assert!(subscription.interface().is_none());
            sender(Ipv4Addr::LOCALHOST).send_to(b"uni", to(Ipv4Addr::LOCALHOST, port)).unwrap();
            assert_eq!(payloads(&receive(&subscription, 1)), [b"uni"]);
        }
    }

    #[test]
    fn a_port_that_is_not_shared_is_said_to_be_in_use() {
        let other = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let port = other.local_addr().unwrap().port();
        for input in [input("", group(), port), format!("udp://@:{port}").parse().unwrap()] {
            let error = Subscription::open(&input, RECEIVE_BUFFER_BYTES, &interfaces()).unwrap_err();
            assert!(matches!(error, SocketError::PortInUse { .. }) && !error.is_retryable(), "{error}");
            assert!(error.to_string().contains(&input.socket_addr().to_string()), "{error}");
        }
    }

    #[test]
    fn a_missing_local_address_may_come() {
        let input = format!("udp://@198.51.100.77:{}", free_port()).parse().unwrap();
        let error = Subscription::open(&input, RECEIVE_BUFFER_BYTES, &interfaces()).unwrap_err();
        assert!(matches!(error, SocketError::AddressMissing { .. }) && error.is_retryable(), "{error}");
    }

    #[test]
    fn too_small_a_receive_buffer_names_the_sysctl() {
        let given = ReceiveBuffer { requested: 4 << 20, granted: 425_984 };
        let text = given.warning().unwrap();
        assert!(text.contains("sysctl -w net.core.rmem_max=2097152") && text.contains("425984"), "{text}");
        assert_eq!(ReceiveBuffer { requested: 1, granted: 1 }.warning(), None);
        let subscription =
            Subscription::open(&input("", group(), free_port()), 100_000, &interfaces()).unwrap();
        assert_eq!(subscription.receive_buffer(), ReceiveBuffer { requested: 100_000, granted: 100_000 });
    }
}
