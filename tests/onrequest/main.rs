//! Streams on request: UDP subscribers, recordings, and captures that are played again, with the
//! real binary and real peers.

mod examples;
mod recordings;
mod subscribers;

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    time::Duration,
};

use common::{Running, free_port, group};
use tidecast_testkit::common;

/// Starts a relay of a group on loopback with these flags. Returns it with the group, the port,
/// and the address for subscribers.
fn relay(flags: &[&str]) -> (Running, Ipv4Addr, u16, SocketAddr) {
    let (group, port, udp) = (group(), free_port(), free_port());
    let input = format!("udp://@{group}:{port}?if=127.0.0.1");
    let listen = format!("127.0.0.1:{udp}");
    let mut words = vec!["relay", &input, "--udp", &listen, "--http", "127.0.0.1:0", "--name", "cam"];
    words.extend(flags);
    (Running::tidecast(words), group, port, listen.parse().expect("an address"))
}

/// Returns a socket on loopback with a large buffer and a short timeout.
fn socket() -> UdpSocket {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).expect("socket");
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("bind");
    let _ = socket.set_recv_buffer_size(8 << 20); // as large as the system allows
    socket.set_read_timeout(Some(Duration::from_millis(500))).expect("timeout");
    socket.into()
}
