//! Free ports, separate groups, and senders on loopback. Everything works on `lo` as an ordinary
//! user.

use std::{
    fmt::Debug,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    os::fd::{AsFd, BorrowedFd},
    str::FromStr,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tidecast_core::buffer::Pool;
use tidecast_net::{
    clock,
    sys::{ReceiveBatch, Received},
};

/// How long a datagram on `lo` may take before a test fails.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// How long a test waits for a datagram that must not arrive.
pub const QUIET: Duration = Duration::from_millis(100);

/// Returns a port that is unused now.
pub fn free_port() -> u16 {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// Returns a group that no other test of this or another process is likely to use.
pub fn group() -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let n = std::process::id().wrapping_mul(64).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
    Ipv4Addr::new(239, 255, (n >> 8) as u8, n as u8)
}

/// Parses `udp://[SOURCE@]GROUP:PORT?if=127.0.0.1`.
pub fn input<I: FromStr<Err: Debug>>(source: &str, group: Ipv4Addr, port: u16) -> I {
    format!("udp://{source}@{group}:{port}?if=127.0.0.1").parse().unwrap()
}

/// Opens a socket on loopback whose multicast goes out there.
pub fn sender(from: Ipv4Addr) -> UdpSocket {
    let socket = UdpSocket::bind((from, 0)).unwrap();
    socket2::SockRef::from(&socket).set_multicast_if_v4(&from).unwrap();
    socket
}

/// Returns the address of `group` and `port`.
pub fn to(group: Ipv4Addr, port: u16) -> SocketAddr {
    (group, port).into()
}

/// Waits until `fd` is readable; returns `false` if `timeout` passes first.
pub fn wait_readable(fd: BorrowedFd<'_>, timeout: Duration) -> bool {
    let timeout = PollTimeout::try_from(timeout).unwrap();
    poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], timeout).unwrap() > 0
}

/// Receives until there are `count` datagrams, or for [`QUIET`] if `count` is 0.
pub fn receive(socket: &impl AsFd, count: usize) -> Vec<Received> {
    let (mut batch, mut pool, mut all) = (ReceiveBatch::new(), Pool::new(256), Vec::new());
    let (start, patience) = (clock::now(), if count == 0 { QUIET } else { PATIENCE });
    while all.len() < count.max(1) {
        let left = (start + patience).saturating_duration_since(clock::now());
        if !wait_readable(socket.as_fd(), left) {
            break;
        }
        batch.receive(socket.as_fd(), &mut pool, |received| all.push(received)).unwrap();
    }
    all
}

/// Returns the bytes of the received datagrams.
pub fn payloads(received: &[Received]) -> Vec<Vec<u8>> {
    received.iter().map(|r| r.bytes.to_vec()).collect()
}

/// Sends datagrams through `socket` without a checksum (SO_NO_CHECK): the kernel then does not
/// split messages either.
pub fn turn_checksums_off(socket: &impl AsFd) -> std::io::Result<()> {
    let fd = std::os::fd::AsRawFd::as_raw_fd(&socket.as_fd());
    let on = 1i32;
    let size = size_of::<i32>() as libc::socklen_t;
    // SAFETY: the kernel reads `size` bytes from a live reference and keeps nothing.
    #[allow(unsafe_code)] // no crate offers this option
    let result = unsafe {
        libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_NO_CHECK, std::ptr::from_ref(&on).cast(), size)
    };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}
