//! What the socket tests share: free ports, groups of their own, senders on loopback, and a receiver that waits.
//!
//! Everything works on `lo` as an ordinary user.

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    os::fd::{AsFd, BorrowedFd},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::sys::{ReceiveBatch, Received};
use crate::{address::Input, buffer::Pool, clock};

/// How long a datagram on `lo` may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// How long a test waits for a datagram that must not come.
pub(crate) const QUIET: Duration = Duration::from_millis(100);

/// A port that nobody uses now.
pub(crate) fn free_port() -> u16 {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// A group that no other test of this or another process is likely to use.
pub(crate) fn group() -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let n = std::process::id().wrapping_mul(64).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
    Ipv4Addr::new(239, 255, (n >> 8) as u8, n as u8)
}

/// `udp://[SOURCE@]GROUP:PORT?if=127.0.0.1`
pub(crate) fn input(source: &str, group: Ipv4Addr, port: u16) -> Input {
    format!("udp://{source}@{group}:{port}?if=127.0.0.1").parse().unwrap()
}

/// A socket on loopback whose multicast goes out there.
pub(crate) fn sender(from: Ipv4Addr) -> UdpSocket {
    let socket = UdpSocket::bind((from, 0)).unwrap();
    socket2::SockRef::from(&socket).set_multicast_if_v4(&from).unwrap();
    socket
}

pub(crate) fn to(group: Ipv4Addr, port: u16) -> SocketAddr {
    (group, port).into()
}

pub(crate) fn wait_readable(fd: BorrowedFd<'_>, timeout: Duration) -> bool {
    let timeout = PollTimeout::try_from(timeout).unwrap();
    poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], timeout).unwrap() > 0
}

/// Receives until there are `count` datagrams, or for [`QUIET`] when `count` is 0.
pub(crate) fn receive(socket: &impl AsFd, count: usize) -> Vec<Received> {
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

/// The bytes only.
pub(crate) fn payloads(received: &[Received]) -> Vec<Vec<u8>> {
    received.iter().map(|r| r.bytes.to_vec()).collect()
}

/// `now`, or a moment later.
pub(crate) fn after(now: Instant, ms: u64) -> Instant {
    now + Duration::from_millis(ms)
}

/// A channel without legs and outputs that has counted this.
pub(crate) fn channel_state(name: &str, counters: crate::relay::Counters) -> super::state::ChannelState {
    super::state::ChannelState {
        name: name.to_owned(),
        format: "auto".to_owned(),
        on_demand: false,
        age_seconds: 1.0,
        counters,
        held: 0,
        held_bytes: 0,
        hold_seconds: 0.05,
        hold_max_seconds: Some(0.5),
        release_delay_seconds: Some(0.2),
        clock_drift_ppm: Some(-12.5),
        jitter_seconds: 0.0,
        rejects: Default::default(),
        refused: Default::default(),
        carries: Default::default(),
        followed: 0,
        legs: Vec::new(),
        flow_count: 0,
        flows_refused: Default::default(),
        first_format: None,
        flows: Vec::new().into(),
        outputs: Vec::new(),
        losses: Vec::new(),
    }
}
