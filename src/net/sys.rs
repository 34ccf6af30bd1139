//! The system calls that std, socket2 and nix do not wrap as needed, and the only `unsafe` of the crate.
//!
//! [`ReceiveBatch`] is `recvmmsg` into pooled buffers with control messages; [`SendBatch`] is `sendmmsg` that
//! reports the datagram at which it stopped. Beside them stand the socket options that take structures. Every
//! function here is safe to call; datagrams go on to [`super::ingest`] or come from [`crate::egress::udp`].
#![allow(unsafe_code)] // system calls through libc; each block says why it is sound

use std::{
    io,
    mem::{self, MaybeUninit},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
    os::fd::{AsRawFd, BorrowedFd},
    ptr,
    time::Duration,
};

use libc::{c_int, c_void, socklen_t};
use socket2::SockAddr;

use crate::{
    buffer::{Buffer, Pool},
    limits::{DATAGRAM_BYTES_MAX, RECEIVE_BATCH, SEND_BATCH, SLOT_BYTES},
};

/// Bytes for one datagram's control messages: a `timespec` and a `u32`, each behind a header.
const CONTROL_BYTES: usize = 64;

// SAFETY: CMSG_SPACE only computes a size.
const _: () = assert!(unsafe { libc::CMSG_SPACE(16) + libc::CMSG_SPACE(4) } as usize <= CONTROL_BYTES);

/// Aligned for the `cmsghdr` structures that the kernel writes.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; CONTROL_BYTES]);

/// One received datagram.
#[derive(Debug)]
pub struct Received {
    /// The datagram; empty when it was truncated.
    pub bytes: Buffer,
    /// Its sender.
    pub source: SocketAddr,
    /// When the kernel got it, since the Unix epoch (with SO_TIMESTAMPNS).
    pub stamp: Option<Duration>,
    /// Datagrams dropped by this socket before this one was queued, cumulative, wrapping (with SO_RXQ_OVFL,
    /// and only once there were any).
    pub drops: Option<u32>,
    /// Longer than [`DATAGRAM_BYTES_MAX`]: the rest is gone, so nothing of it is passed on.
    pub truncated: bool,
}

/// Receives up to [`RECEIVE_BATCH`] datagrams per system call.
///
/// Each datagram is received into a pooled buffer, and what exceeds [`SLOT_BYTES`] into an overflow area beside
/// it. That area is about 4 MB of zero pages which take no memory until a large datagram touches them; share one
/// batch among all sockets of a thread.
pub struct ReceiveBatch {
    slots: Vec<Buffer>,
    overflow: Vec<u8>,
    headers: Vec<libc::mmsghdr>,
    iovecs: Vec<[libc::iovec; 2]>,
    names: Vec<libc::sockaddr_storage>,
    controls: Vec<Control>,
}

const OVERFLOW_BYTES: usize = DATAGRAM_BYTES_MAX - SLOT_BYTES;
const EMPTY_IOVEC: libc::iovec = libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 };

// SAFETY: the raw pointers in `headers` and `iovecs` are used only within `receive`, which writes them anew on
// every call and holds `&mut self` meanwhile; between calls nothing reads them.
unsafe impl Send for ReceiveBatch {}

impl Default for ReceiveBatch {
    fn default() -> ReceiveBatch {
        ReceiveBatch::new()
    }
}

impl ReceiveBatch {
    /// A batch without buffers; the first call takes them from the pool.
    pub fn new() -> ReceiveBatch {
        ReceiveBatch {
            slots: (0..RECEIVE_BATCH).map(|_| Buffer::default()).collect(),
            overflow: vec![0; RECEIVE_BATCH * OVERFLOW_BYTES],
            headers: vec![zeroed_header(); RECEIVE_BATCH],
            iovecs: vec![[EMPTY_IOVEC; 2]; RECEIVE_BATCH],
            names: vec![zeroed_name(); RECEIVE_BATCH],
            controls: vec![Control([0; CONTROL_BYTES]); RECEIVE_BATCH],
        }
    }

    /// Receives what is there, at most [`RECEIVE_BATCH`] datagrams, and hands each to `sink` in order. Returns how
    /// many there were: 0 when there was none, a full batch when there may be more. Never blocks.
    pub fn receive(
        &mut self,
        fd: BorrowedFd<'_>,
        pool: &mut Pool,
        mut sink: impl FnMut(Received),
    ) -> io::Result<usize> {
        self.prepare(pool);
        let count = self.call(fd)?;
        for i in 0..count {
            sink(self.take(i));
        }
        Ok(count)
    }

    /// Fills empty slots and points the kernel's structures at the memory. Lengths are both in and out for the
    /// kernel (`msg_namelen`, `msg_controllen`), so all of them are set before every call.
    fn prepare(&mut self, pool: &mut Pool) {
        let overflow = self.overflow.chunks_exact_mut(OVERFLOW_BYTES);
        for (i, (slot, overflow)) in self.slots.iter_mut().zip(overflow).enumerate() {
            if slot.capacity() != SLOT_BYTES {
                *slot = pool.get();
            }
            self.iovecs[i] = [iovec(slot.memory_mut()), iovec(overflow)];
            let header = &mut self.headers[i].msg_hdr;
            header.msg_name = ptr::from_mut(&mut self.names[i]).cast();
            header.msg_namelen = mem::size_of::<libc::sockaddr_storage>() as socklen_t;
            header.msg_iov = self.iovecs[i].as_mut_ptr();
            header.msg_iovlen = 2;
            header.msg_control = self.controls[i].0.as_mut_ptr().cast();
            header.msg_controllen = CONTROL_BYTES as _;
            header.msg_flags = 0;
        }
    }

    fn call(&mut self, fd: BorrowedFd<'_>) -> io::Result<usize> {
        loop {
            // SAFETY: `prepare` has just pointed all RECEIVE_BATCH headers at live memory of this struct with
            // its true sizes, each piece used by one header only; the kernel writes to it during this call
            // only, while `&mut self` keeps everyone else away. A null timeout is allowed.
            let count = unsafe {
                libc::recvmmsg(
                    fd.as_raw_fd(),
                    self.headers.as_mut_ptr(),
                    RECEIVE_BATCH as _,
                    libc::MSG_DONTWAIT as _,
                    ptr::null_mut(),
                )
            };
            if let Ok(count) = usize::try_from(count) {
                return Ok(count);
            }
            let error = io::Error::last_os_error();
            match error.kind() {
                io::ErrorKind::Interrupted => continue,
                io::ErrorKind::WouldBlock => return Ok(0),
                _ => return Err(error),
            }
        }
    }

    /// Datagram `i` of the last call. Its buffer moves out, unless the datagram needs memory of its own.
    fn take(&mut self, i: usize) -> Received {
        let len = self.headers[i].msg_len as usize;
        let header = &self.headers[i].msg_hdr;
        let truncated = header.msg_flags & libc::MSG_TRUNC != 0;
        let (stamp, drops) = control_messages(header);
        let bytes = if truncated {
            Buffer::default()
        } else if len <= SLOT_BYTES {
            let mut slot = mem::take(&mut self.slots[i]);
            slot.set_len(len);
            slot
        } else {
            let start = i * OVERFLOW_BYTES;
            let rest = &self.overflow[start..start + (len - SLOT_BYTES).min(OVERFLOW_BYTES)];
            Buffer::from([&*self.slots[i].memory_mut(), rest].concat())
        };
        Received { bytes, source: socket_addr(&self.names[i]), stamp, drops, truncated }
    }
}

/// Kernel time stamp and drop count. The kernel leaves out what it has nothing to say about.
fn control_messages(header: &libc::msghdr) -> (Option<Duration>, Option<u32>) {
    let (mut stamp, mut drops) = (None, None);
    // SAFETY: the kernel has filled in `header`, whose control memory is alive and holds well-formed messages up
    // to `msg_controllen`; CMSG_FIRSTHDR and CMSG_NXTHDR stay within that, and are null at the end. The data of
    // these two types is a `timespec` and a `u32`; they are read unaligned.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(header);
        while let Some(cmsg) = message.as_ref() {
            let data = libc::CMSG_DATA(message);
            match (cmsg.cmsg_level, cmsg.cmsg_type) {
                (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                    stamp = duration(data.cast::<libc::timespec>().read_unaligned());
                }
                (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => {
                    drops = Some(data.cast::<u32>().read_unaligned());
                }
                _ => {}
            }
            message = libc::CMSG_NXTHDR(header, message);
        }
    }
    (stamp, drops)
}

fn duration(time: libc::timespec) -> Option<Duration> {
    let seconds = u64::try_from(time.tv_sec).ok()?;
    let nanos = u32::try_from(time.tv_nsec).ok().filter(|n| *n < 1_000_000_000)?;
    Some(Duration::new(seconds, nanos))
}

/// The sender as the kernel wrote it; UDP sockets know these two families only.
fn socket_addr(name: &libc::sockaddr_storage) -> SocketAddr {
    if c_int::from(name.ss_family) == libc::AF_INET6 {
        // SAFETY: the family says that a `sockaddr_in6` is in the storage, which is larger and stricter aligned.
        let name = unsafe { &*ptr::from_ref(name).cast::<libc::sockaddr_in6>() };
        let ip = Ipv6Addr::from(name.sin6_addr.s6_addr);
        SocketAddrV6::new(ip, u16::from_be(name.sin6_port), name.sin6_flowinfo, name.sin6_scope_id).into()
    } else {
        // SAFETY: as above with `sockaddr_in`; the storage started as zeros, so all of it is initialised.
        let name = unsafe { &*ptr::from_ref(name).cast::<libc::sockaddr_in>() };
        let ip = Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr));
        (ip, u16::from_be(name.sin_port)).into()
    }
}

/// One datagram to send.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    /// Where to; `None` for a connected socket.
    pub to: Option<SocketAddr>,
    /// The datagram.
    pub bytes: &'a [u8],
}

/// How far [`SendBatch::send`] came.
#[derive(Debug)]
pub struct Sent {
    /// Datagrams that the kernel took, from the start of the list.
    pub count: usize,
    /// Why the next one failed; `None` when all went. Skip that one and send the rest.
    pub error: Option<io::Error>,
}

/// Sends up to [`SEND_BATCH`] datagrams per system call, without blocking. Share one among the outputs of a thread.
pub struct SendBatch {
    headers: Vec<libc::mmsghdr>,
    iovecs: Vec<libc::iovec>,
    names: Vec<SockAddr>,
}

// SAFETY: as for `ReceiveBatch`: the pointers are written and used within `send` only.
unsafe impl Send for SendBatch {}

impl Default for SendBatch {
    fn default() -> SendBatch {
        SendBatch::new()
    }
}

impl SendBatch {
    /// The structures for one batch.
    pub fn new() -> SendBatch {
        let nowhere = SockAddr::from(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
        SendBatch {
            headers: vec![zeroed_header(); SEND_BATCH],
            iovecs: vec![EMPTY_IOVEC; SEND_BATCH],
            names: vec![nowhere; SEND_BATCH],
        }
    }

    /// Sends the datagrams in order, up to the first that fails.
    pub fn send(&mut self, fd: BorrowedFd<'_>, datagrams: &[Outgoing<'_>]) -> Sent {
        let mut count = 0;
        while count < datagrams.len() {
            let rest = &datagrams[count..];
            match self.call(fd, &rest[..rest.len().min(SEND_BATCH)]) {
                Ok(sent) => count += sent,
                Err(error) => return Sent { count, error: Some(error) },
            }
        }
        Sent { count, error: None }
    }

    /// One system call; at most SEND_BATCH datagrams. After a failure within the batch the kernel reports only how
    /// many went before it, and the error when asked to go on from there.
    fn call(&mut self, fd: BorrowedFd<'_>, datagrams: &[Outgoing<'_>]) -> io::Result<usize> {
        for (i, datagram) in datagrams.iter().enumerate() {
            let header = &mut self.headers[i].msg_hdr;
            (header.msg_name, header.msg_namelen) = match datagram.to {
                Some(to) => {
                    self.names[i] = SockAddr::from(to);
                    (self.names[i].as_ptr().cast_mut().cast(), self.names[i].len())
                }
                None => (ptr::null_mut(), 0),
            };
            let base = datagram.bytes.as_ptr().cast_mut().cast::<c_void>();
            self.iovecs[i] = libc::iovec { iov_base: base, iov_len: datagram.bytes.len() };
            header.msg_iov = ptr::from_mut(&mut self.iovecs[i]);
            header.msg_iovlen = 1;
        }
        loop {
            // SAFETY: the first `datagrams.len()` headers, at most SEND_BATCH, have just been pointed at names and
            // iovecs of this struct and at the datagrams' bytes, all alive for this call; the kernel only reads
            // names and bytes (the pointers are mutable by type only), and writes `msg_len` in the headers.
            let sent = unsafe {
                libc::sendmmsg(
                    fd.as_raw_fd(),
                    self.headers.as_mut_ptr(),
                    datagrams.len() as _,
                    libc::MSG_DONTWAIT as _,
                )
            };
            match usize::try_from(sent) {
                Ok(0) => return Err(io::ErrorKind::WouldBlock.into()), // not documented; must not loop for ever
                Ok(sent) => return Ok(sent),
                Err(_) => {}
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }
}

/// Joins `group` for datagrams of one source (RFC 3678 section 5.1), IPv4 or IPv6.
pub fn join_source(fd: BorrowedFd<'_>, index: u32, group: IpAddr, source: IpAddr) -> io::Result<()> {
    let level = if group.is_ipv4() { libc::IPPROTO_IP } else { libc::IPPROTO_IPV6 };
    let request = libc::group_source_req {
        gsr_interface: index,
        gsr_group: storage(group),
        gsr_source: storage(source),
    };
    set_option(fd, level, libc::MCAST_JOIN_SOURCE_GROUP, &request)
}

/// Sends multicast through the interface with this index, and from this address (IP_MULTICAST_IF). Without the
/// address, datagrams on `lo` would come from 0.0.0.0.
pub fn set_multicast_interface_v4(fd: BorrowedFd<'_>, index: u32, address: Ipv4Addr) -> io::Result<()> {
    let request = libc::ip_mreqn {
        imr_multiaddr: libc::in_addr { s_addr: 0 },
        imr_address: libc::in_addr { s_addr: u32::from(address).to_be() },
        imr_ifindex: index as c_int,
    };
    set_option(fd, libc::IPPROTO_IP, libc::IP_MULTICAST_IF, &request)
}

/// Datagrams that this socket has dropped since it was opened (wrapping), also when none has come since
/// (SO_MEMINFO).
pub fn drops(fd: BorrowedFd<'_>) -> io::Result<u32> {
    let mut counts = [0u32; 9];
    let mut len = mem::size_of_val(&counts) as socklen_t;
    // SAFETY: the kernel writes at most `len` bytes, the array's size, and any bit pattern is a valid u32.
    let result = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            counts.as_mut_ptr().cast(),
            &mut len,
        )
    };
    if result == 0 { Ok(counts[libc::SK_MEMINFO_DROPS as usize]) } else { Err(io::Error::last_os_error()) }
}

/// `T` is one of libc's plain structures.
fn set_option<T: Copy>(fd: BorrowedFd<'_>, level: c_int, option: c_int, value: &T) -> io::Result<()> {
    // SAFETY: the kernel reads `size_of::<T>()` bytes from a live reference and keeps nothing.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            option,
            ptr::from_ref(value).cast(),
            mem::size_of::<T>() as socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn storage(ip: IpAddr) -> libc::sockaddr_storage {
    let from = SockAddr::from(SocketAddr::new(ip, 0));
    let mut to = zeroed_name();
    // SAFETY: socket2 guarantees `len()` valid bytes, at most a `sockaddr_storage`; the two do not overlap.
    unsafe {
        ptr::copy_nonoverlapping(
            from.as_ptr().cast::<u8>(),
            ptr::from_mut(&mut to).cast(),
            from.len() as usize,
        )
    };
    to
}

fn iovec(memory: &mut [u8]) -> libc::iovec {
    libc::iovec { iov_base: memory.as_mut_ptr().cast(), iov_len: memory.len() }
}

fn zeroed_header() -> libc::mmsghdr {
    // SAFETY: integers and pointers only, for which zero is valid (null, length 0).
    unsafe { MaybeUninit::zeroed().assume_init() }
}

fn zeroed_name() -> libc::sockaddr_storage {
    // SAFETY: integers only.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

#[cfg(test)]
mod tests {
    use std::{net::UdpSocket, os::fd::AsFd};

    use nix::sys::socket::{setsockopt, sockopt};

    use super::*;
    use crate::{
        clock,
        net::testing::{self, PATIENCE},
    };

    fn pair() -> (UdpSocket, UdpSocket, SocketAddr) {
        let receiver = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = receiver.local_addr().unwrap();
        (UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap(), receiver, address)
    }

    #[test]
    fn batches_keep_order_and_tell_the_sender() {
        let (sender, receiver, to) = pair();
        setsockopt(&receiver, sockopt::RcvBuf, &(1 << 20)).unwrap();
        let datagrams: Vec<[u8; 4]> = (0..200u32).map(u32::to_be_bytes).collect();
        let outgoing: Vec<Outgoing> = datagrams.iter().map(|d| Outgoing { to: Some(to), bytes: d }).collect();
        let sent = SendBatch::new().send(sender.as_fd(), &outgoing);
        assert!(sent.error.is_none() && sent.count == 200, "{sent:?}");

        let (mut batch, mut pool, mut all) = (ReceiveBatch::new(), Pool::new(64), Vec::new());
        let mut counts = Vec::new();
        loop {
            let count = batch.receive(receiver.as_fd(), &mut pool, |received| all.push(received)).unwrap();
            counts.push(count);
            if count < RECEIVE_BATCH {
                break;
            }
        }
        assert_eq!(counts, [64, 64, 64, 8]);
        assert!(all.iter().map(|r| &*r.bytes).eq(datagrams.iter().map(|d| &d[..])));
        assert!(all.iter().all(|r| r.source == sender.local_addr().unwrap()));
        assert_eq!(batch.receive(receiver.as_fd(), &mut pool, |_| panic!("nothing is left")).unwrap(), 0);
    }

    #[test]
    fn buffers_move_out_and_come_back_from_the_pool() {
        let (sender, receiver, to) = pair();
        let (mut batch, mut pool) = (ReceiveBatch::new(), Pool::new(64));
        let mut addresses = Vec::new();
        for round in 0..2 * RECEIVE_BATCH {
            sender.send_to(&[round as u8], to).unwrap();
            assert!(testing::wait_readable(receiver.as_fd(), PATIENCE));
            let mut got = None;
            batch.receive(receiver.as_fd(), &mut pool, |received| got = Some(received.bytes)).unwrap();
            let bytes = got.unwrap();
            assert_eq!(&*bytes, [round as u8]);
            addresses.push(bytes.as_ptr());
            pool.put(bytes);
        }
        assert!(
            addresses[2..].iter().all(|a| addresses[..2].contains(a)),
            "no memory but the first two buffers'"
        );
    }

    #[test]
    fn any_size_comes_whole() {
        let (sender, receiver, to) = pair();
        setsockopt(&receiver, sockopt::RcvBuf, &(4 << 20)).unwrap();
        let sizes = [0, 1, SLOT_BYTES - 1, SLOT_BYTES, SLOT_BYTES + 1, DATAGRAM_BYTES_MAX, 0, 9000, 1316];
        let datagrams: Vec<Vec<u8>> =
            sizes.iter().map(|&n| (0..n).map(|i| (i * 7 + i / 251 + n) as u8).collect()).collect();
        for round in 0..3 {
            for datagram in &datagrams {
                sender.send_to(datagram, to).unwrap();
            }
            let received = testing::receive(&receiver, datagrams.len());
            assert!(testing::payloads(&received) == datagrams, "round {round}");
            assert!(received.iter().all(|r| !r.truncated));
        }
    }

    #[test]
    fn what_is_longer_than_any_ipv4_datagram_is_reported_and_not_passed_on() {
        let Ok(receiver) = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)) else { return }; // a host without IPv6
        let to = receiver.local_addr().unwrap();
        let sender = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
        sender.send_to(&vec![1; DATAGRAM_BYTES_MAX + 1], to).unwrap();
        sender.send_to(&vec![2; DATAGRAM_BYTES_MAX], to).unwrap();
        let received = testing::receive(&receiver, 2);
        assert!(received[0].truncated && received[0].bytes.is_empty());
        assert!(!received[1].truncated && *received[1].bytes == vec![2; DATAGRAM_BYTES_MAX]);
        assert_eq!(received[1].source, sender.local_addr().unwrap());
    }

    #[test]
    fn stamps_and_drop_counts_come_with_each_datagram() {
        let (sender, receiver, to) = pair();
        setsockopt(&receiver, sockopt::ReceiveTimestampns, &true).unwrap();
        setsockopt(&receiver, sockopt::RxqOvfl, &1).unwrap();
        setsockopt(&receiver, sockopt::RcvBuf, &4096).unwrap();
        let before = clock::unix();
        for i in 0..100u8 {
            sender.send_to(&[i; 64], to).unwrap();
        }
        let first = testing::receive(&receiver, 1);
        let dropped = 100 - first.len() as u32;
        assert!(dropped > 0, "a small buffer must overflow");
        assert!(first.iter().all(|r| r.drops.is_none()), "queued before the first drop");
        assert_eq!(drops(receiver.as_fd()).unwrap(), dropped);

        sender.send_to(b"next", to).unwrap();
        let next = testing::receive(&receiver, 1);
        assert_eq!(next[0].drops, Some(dropped));
        for received in first.iter().chain(&next) {
            let stamp = received.stamp.unwrap();
            assert!(stamp >= before && stamp <= clock::unix(), "{stamp:?} after {before:?}");
        }
    }

    #[test]
    fn a_bad_destination_is_reported_and_costs_no_other() {
        let (sender, receiver, to) = pair();
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0)); // EINVAL
        let datagrams: Vec<[u8; 1]> = (0..150u8).map(|i| [i]).collect();
        let outgoing: Vec<Outgoing> = datagrams
            .iter()
            .map(|d| Outgoing {
                to: Some(if [0, 70, 71, 149].contains(&d[0]) { nowhere } else { to }),
                bytes: d,
            })
            .collect();
        let (mut batch, mut rest, mut stops) = (SendBatch::new(), &outgoing[..], Vec::new());
        while !rest.is_empty() {
            let sent = batch.send(sender.as_fd(), rest);
            rest = &rest[sent.count..];
            if let Some(error) = sent.error {
                assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
                stops.push(rest[0].bytes[0]);
                rest = &rest[1..];
            }
        }
        assert_eq!(stops, [0, 70, 71, 149]);
        let received = testing::payloads(&testing::receive(&receiver, 146));
        let expected: Vec<Vec<u8>> = (0..150u8).filter(|i| !stops.contains(i)).map(|i| vec![i]).collect();
        assert_eq!(received, expected);
    }

    #[test]
    fn a_connected_socket_needs_no_destination() {
        let (sender, receiver, to) = pair();
        sender.connect(to).unwrap();
        let sent = SendBatch::new().send(sender.as_fd(), &[Outgoing { to: None, bytes: b"hello" }]);
        assert!(sent.error.is_none() && sent.count == 1);
        assert_eq!(testing::payloads(&testing::receive(&receiver, 1)), [b"hello"]);
    }
}
