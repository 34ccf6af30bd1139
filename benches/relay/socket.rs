//! The sockets of the harness, all on loopback: group inputs, the generator's and the receivers'
//! sockets.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    os::fd::AsFd,
};

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};

/// Requested buffer per socket, which the kernel doubles (up to twice `net.core.rmem_max`); the
/// relay requests as much.
const BUFFER_BYTES: usize = 4 << 20;
/// The address of all sockets.
pub(crate) const LOOPBACK: Ipv4Addr = Ipv4Addr::LOCALHOST;

fn new() -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Returns a socket that receives one group's datagrams and nothing else.
pub(crate) fn join(group: SocketAddrV4) -> io::Result<Socket> {
    let socket = new()?;
    socket.set_reuse_address(true)?;
    socket.set_recv_buffer_size(BUFFER_BYTES)?;
    socket.set_multicast_all_v4(false)?;
    socket.bind(&SocketAddr::from(group).into())?;
    socket.join_multicast_v4(group.ip(), &LOOPBACK)?;
    Ok(socket)
}

/// Returns a socket to send from: to groups on loopback, and to hosts.
pub(crate) fn sender() -> io::Result<Socket> {
    let socket = new()?;
    socket.set_send_buffer_size(BUFFER_BYTES)?;
    socket.set_multicast_if_v4(&LOOPBACK)?;
    socket.set_multicast_ttl_v4(0)?;
    Ok(socket)
}

/// Returns a socket on a free port of loopback, with its address.
pub(crate) fn receiver() -> io::Result<(Socket, SocketAddrV4)> {
    let socket = new()?;
    socket.set_recv_buffer_size(BUFFER_BYTES)?;
    socket.bind(&SocketAddr::from((LOOPBACK, 0)).into())?;
    let address = socket.local_addr()?.as_socket_ipv4().ok_or(io::ErrorKind::AddrNotAvailable)?;
    Ok((socket, address))
}

/// Enables the kernel's arrival timestamps.
pub(crate) fn stamp(socket: &Socket) -> io::Result<()> {
    Ok(setsockopt(&socket.as_fd(), sockopt::ReceiveTimestampns, &true)?)
}

/// Returns a TCP port of loopback that was free a moment ago, for peers that cannot choose one
/// themselves.
pub(crate) fn free_tcp_port() -> io::Result<u16> {
    Ok(std::net::TcpListener::bind((LOOPBACK, 0))?.local_addr()?.port())
}
