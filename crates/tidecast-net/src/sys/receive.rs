//! `recvmmsg` into pooled buffers, with timestamps and drop counts. Datagrams go on to
//! [`crate::ingest`].
#![allow(unsafe_code)] // system calls through libc; each block says why it is sound

use std::{
    io,
    mem::{self, MaybeUninit},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
    os::fd::{AsRawFd, BorrowedFd},
    ptr,
    time::Duration,
};

use libc::{c_int, socklen_t};

use super::{EMPTY_IOVEC, zeroed_header};
use crate::limits::RECEIVE_BATCH;
use tidecast_core::{
    buffer::{Buffer, Pool},
    limits::SLOT_BYTES,
};
use tidecast_wire::limits::DATAGRAM_BYTES_MAX;

/// Bytes for one datagram's control messages: a `timespec`, a `u32` and an `int`, each after a
/// header.
const CONTROL_BYTES: usize = 88;

// SAFETY: CMSG_SPACE only computes a size.
const _: () = assert!(unsafe { libc::CMSG_SPACE(16) + 2 * libc::CMSG_SPACE(4) } as usize <= CONTROL_BYTES);

/// Memory aligned for the `cmsghdr` structures that the kernel writes.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; CONTROL_BYTES]);

/// One received datagram.
#[derive(Debug)]
pub struct Received {
    /// The datagram; empty when it was truncated.
    pub bytes: Buffer,
    /// The sender's address.
    pub source: SocketAddr,
    /// Time at which the kernel received it, since the Unix epoch (with SO_TIMESTAMPNS).
    pub stamp: Option<Duration>,
    /// Number of datagrams that this socket dropped before this one was queued, cumulative,
    /// wrapping (with SO_RXQ_OVFL, and only if there were any).
    pub drops: Option<u32>,
    /// Its DSCP, 0 to 63 (if the socket was set to provide it).
    pub dscp: Option<u8>,
    /// Whether it was longer than [`DATAGRAM_BYTES_MAX`]: the rest is lost, so nothing of it is
    /// passed on.
    pub truncated: bool,
}

/// Receives up to [`RECEIVE_BATCH`] datagrams per system call.
///
/// Each datagram is received into a pooled buffer, and the part beyond [`SLOT_BYTES`] into a
/// separate overflow area. That area is about 4 MB of zero pages, which use no memory until a
/// large datagram writes to them; all sockets of a thread should share one batch.
pub struct ReceiveBatch {
    slots: Vec<Buffer>,
    overflow: Vec<u8>,
    headers: Vec<libc::mmsghdr>,
    iovecs: Vec<[libc::iovec; 2]>,
    names: Vec<libc::sockaddr_storage>,
    controls: Vec<Control>,
    /// Number of headers, from the first, that were used since they were last set up.
    used: usize,
}

const OVERFLOW_BYTES: usize = DATAGRAM_BYTES_MAX - SLOT_BYTES;

// SAFETY: the raw pointers in `headers` and `iovecs` point to heap memory that this struct owns
// and that does not move with it; they are used only within `receive`, which holds `&mut self`.
unsafe impl Send for ReceiveBatch {}

impl Default for ReceiveBatch {
    fn default() -> ReceiveBatch {
        ReceiveBatch::new()
    }
}

impl ReceiveBatch {
    /// Creates a batch without buffers; the first call takes them from the pool.
    pub fn new() -> ReceiveBatch {
        ReceiveBatch {
            slots: (0..RECEIVE_BATCH).map(|_| Buffer::default()).collect(),
            overflow: vec![0; RECEIVE_BATCH * OVERFLOW_BYTES],
            headers: vec![zeroed_header(); RECEIVE_BATCH],
            iovecs: vec![[EMPTY_IOVEC; 2]; RECEIVE_BATCH],
            names: vec![zeroed_name(); RECEIVE_BATCH],
            controls: vec![Control([0; CONTROL_BYTES]); RECEIVE_BATCH],
            used: RECEIVE_BATCH,
        }
    }

    /// Receives the available datagrams, at most [`RECEIVE_BATCH`], and passes each to `sink` in
    /// order. Returns their number: 0 if there was none, a full batch if there may be more. Never
    /// blocks.
    pub fn receive(
        &mut self,
        fd: BorrowedFd<'_>,
        pool: &mut Pool,
        mut sink: impl FnMut(Received),
    ) -> io::Result<usize> {
        self.prepare(pool);
        let count = self.call(fd)?;
        self.used = count;
        for i in 0..count {
            sink(self.take(i));
        }
        Ok(count)
    }

    /// Fills empty slots and points the kernel's structures to the memory. The kernel reads and
    /// writes the lengths (`msg_namelen`, `msg_controllen`), so a header that was used is set up
    /// again completely. The other headers are unchanged: most calls receive a few datagrams.
    fn prepare(&mut self, pool: &mut Pool) {
        let overflow = self.overflow.chunks_exact_mut(OVERFLOW_BYTES);
        for (i, (slot, overflow)) in self.slots.iter_mut().zip(overflow).enumerate().take(self.used) {
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
        self.used = 0;
    }

    fn call(&mut self, fd: BorrowedFd<'_>) -> io::Result<usize> {
        loop {
            // SAFETY: `prepare` has pointed all RECEIVE_BATCH headers to live memory of this
            // struct with its true sizes, each piece used by one header only, and again whenever a
            // buffer moved out; the kernel writes to it during this call only, while `&mut self`
            // excludes other access. A null timeout is allowed.
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

    /// Takes datagram `i` of the last call. Its buffer moves out, unless the datagram needs a
    /// separate allocation.
    fn take(&mut self, i: usize) -> Received {
        let len = self.headers[i].msg_len as usize;
        let header = &self.headers[i].msg_hdr;
        let truncated = header.msg_flags & libc::MSG_TRUNC != 0;
        let Told { stamp, drops, dscp } = control_messages(header);
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
        Received { bytes, source: socket_addr(&self.names[i]), stamp, drops, dscp, truncated }
    }
}

/// Data that the kernel provides with a datagram; it omits what does not apply.
#[derive(Debug, Default)]
struct Told {
    stamp: Option<Duration>,
    drops: Option<u32>,
    dscp: Option<u8>,
}

/// Reads the kernel timestamp, drop count and DSCP.
fn control_messages(header: &libc::msghdr) -> Told {
    let Told { mut stamp, mut drops, mut dscp } = Told::default();
    // SAFETY: the kernel has filled in `header`, whose control memory is alive and holds
    // well-formed messages up to `msg_controllen`; CMSG_FIRSTHDR and CMSG_NXTHDR stay within that,
    // and are null at the end. The data of these types is a `timespec`, a `u32`, a byte and an
    // `int`; they are read unaligned.
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
                (libc::IPPROTO_IP, libc::IP_TOS) => dscp = Some(data.read() >> 2),
                (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                    dscp = Some((data.cast::<c_int>().read_unaligned() as u8) >> 2);
                }
                _ => {}
            }
            message = libc::CMSG_NXTHDR(header, message);
        }
    }
    Told { stamp, drops, dscp }
}

fn duration(time: libc::timespec) -> Option<Duration> {
    let seconds = u64::try_from(time.tv_sec).ok()?;
    let nanos = u32::try_from(time.tv_nsec).ok().filter(|n| *n < 1_000_000_000)?;
    Some(Duration::new(seconds, nanos))
}

/// Converts the sender's address as the kernel wrote it; UDP sockets have only these two families.
fn socket_addr(name: &libc::sockaddr_storage) -> SocketAddr {
    if c_int::from(name.ss_family) == libc::AF_INET6 {
        // SAFETY: according to the family, a `sockaddr_in6` is in the storage, which is larger and
        // has a stricter alignment.
        let name = unsafe { &*ptr::from_ref(name).cast::<libc::sockaddr_in6>() };
        let ip = Ipv6Addr::from(name.sin6_addr.s6_addr);
        SocketAddrV6::new(ip, u16::from_be(name.sin6_port), name.sin6_flowinfo, name.sin6_scope_id).into()
    } else {
        // SAFETY: as above with `sockaddr_in`; the storage started as zeros, so all of it is
        // initialised.
        let name = unsafe { &*ptr::from_ref(name).cast::<libc::sockaddr_in>() };
        let ip = Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr));
        (ip, u16::from_be(name.sin_port)).into()
    }
}
fn iovec(memory: &mut [u8]) -> libc::iovec {
    libc::iovec { iov_base: memory.as_mut_ptr().cast(), iov_len: memory.len() }
}

fn zeroed_name() -> libc::sockaddr_storage {
    // SAFETY: the structure consists of integers, for which zero is valid.
    unsafe { MaybeUninit::zeroed().assume_init() }
}
#[cfg(test)]
mod tests {
    use std::{net::UdpSocket, os::fd::AsFd};

    use nix::sys::socket::{setsockopt, sockopt};

    use super::*;
    use crate::{clock, sys::drops};
    use tidecast_testkit::sockets::{self as testing, PATIENCE};

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
        for datagram in &datagrams {
            sender.send_to(datagram, to).unwrap();
        }
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
}
