//! The system calls that move datagrams, and the only `unsafe` of the benchmark: [`Slots`] is
//! `recvmmsg` in place into one piece of memory, [`Sender`] is `sendmmsg` of bursts out of it,
//! each to many targets, with UDP_SEGMENT for bursts of more than one. The bare forwarders, the
//! generator and the receivers share them; none of it is the relay's own code, so that the relay
//! is compared with independent code.
#![allow(unsafe_code)] // system calls through libc; each block says why it is sound

use std::{
    io, mem,
    net::SocketAddrV4,
    ops::Range,
    os::fd::{AsRawFd, BorrowedFd},
    ptr,
};

/// Bytes for the control messages of one datagram: a header followed by a `timespec` or a `u16`.
const CONTROL_BYTES: usize = 32;
/// Maximum messages of one `sendmmsg` or `recvmmsg` (UIO_MAXIOV).
const CALL_MAX: usize = 1024;

#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; CONTROL_BYTES]);

/// Memory for datagrams, in adjacent slots of equal size.
pub(crate) struct Slots {
    stride: usize,
    memory: Vec<u8>,
    lens: Vec<usize>,
    headers: Vec<libc::mmsghdr>,
    /// The `headers` point to these.
    _iovecs: Vec<libc::iovec>,
    controls: Vec<Control>,
}

// SAFETY: the pointers in `headers` point to heap memory that this struct owns exclusively.
unsafe impl Send for Slots {}

impl Slots {
    /// Creates `count` slots of `stride` bytes.
    pub(crate) fn new(count: usize, stride: usize) -> Slots {
        let mut memory = vec![0_u8; count * stride];
        let slot = |memory: &mut [u8]| libc::iovec { iov_base: memory.as_mut_ptr().cast(), iov_len: stride };
        let mut iovecs: Vec<libc::iovec> = memory.chunks_exact_mut(stride).map(slot).collect();
        let mut headers = vec![empty_header(); count];
        for (header, iovec) in headers.iter_mut().zip(&mut iovecs) {
            header.msg_hdr.msg_iov = iovec;
            header.msg_hdr.msg_iovlen = 1;
        }
        let controls = vec![Control([0; CONTROL_BYTES]); count];
        Slots { stride, memory, lens: vec![0; count], headers, _iovecs: iovecs, controls }
    }

    /// Returns the true length of the datagram received into a slot, even if the slot was too
    /// small for it.
    pub(crate) fn len(&self, slot: usize) -> usize {
        self.lens[slot]
    }

    /// Returns the part of the datagram that the slot contains.
    pub(crate) fn bytes(&self, slot: usize) -> &[u8] {
        let start = slot * self.stride;
        &self.memory[start..start + self.lens[slot].min(self.stride)]
    }

    /// Returns a slot to write to, whose datagram has `len` bytes.
    pub(crate) fn fill(&mut self, slot: usize, len: usize) -> &mut [u8] {
        self.lens[slot] = len;
        &mut self.memory[slot * self.stride..slot * self.stride + len]
    }

    /// Receives the available datagrams into the slots of `range`, in order, without blocking.
    /// Returns their number.
    pub(crate) fn receive(&mut self, fd: BorrowedFd<'_>, range: Range<usize>) -> io::Result<usize> {
        let headers = &mut self.headers[range.clone()];
        let flags = libc::MSG_DONTWAIT | libc::MSG_TRUNC;
        let count = headers.len().min(CALL_MAX) as _;
        // SAFETY: the headers point to live memory of this struct with its true sizes (`new`,
        // `with_stamps`), which the kernel writes to during this call only, while `&mut self`
        // excludes other access. A null timeout is allowed.
        let count = unsafe {
            libc::recvmmsg(fd.as_raw_fd(), headers.as_mut_ptr(), count, flags as _, ptr::null_mut())
        };
        let Ok(count) = usize::try_from(count) else {
            return none_when_blocked(io::Error::last_os_error());
        };
        for (len, header) in self.lens[range].iter_mut().zip(&headers[..count]) {
            *len = header.msg_len as usize;
        }
        Ok(count)
    }

    /// Like [`Slots::receive`], with the kernel's receive timestamps (SO_TIMESTAMPNS), which
    /// [`Slots::stamp`] then returns.
    pub(crate) fn receive_stamped(&mut self, fd: BorrowedFd<'_>, range: Range<usize>) -> io::Result<usize> {
        for (header, control) in self.headers[range.clone()].iter_mut().zip(&mut self.controls[range.clone()])
        {
            header.msg_hdr.msg_control = control.0.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = CONTROL_BYTES as _;
        }
        self.receive(fd, range)
    }

    /// Returns when the kernel received the datagram of a slot, in nanoseconds since the Unix
    /// epoch.
    pub(crate) fn stamp(&self, slot: usize) -> Option<u64> {
        let header = &self.headers[slot].msg_hdr;
        // SAFETY: the kernel has filled in the header in `receive_stamped`, whose control memory
        // is in `controls`; CMSG_FIRSTHDR checks its length. The data of this type is a
        // `timespec`, read unaligned.
        unsafe {
            let message = libc::CMSG_FIRSTHDR(header).as_ref()?;
            let stamped =
                message.cmsg_level == libc::SOL_SOCKET && message.cmsg_type == libc::SCM_TIMESTAMPNS;
            let time = libc::CMSG_DATA(message).cast::<libc::timespec>();
            stamped.then(|| time.read_unaligned()).map(|t| t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64)
        }
    }
}

/// Datagrams of the same size in adjacent slots, and the targets to which they are sent as one
/// burst.
#[derive(Clone, Debug)]
pub(crate) struct Burst {
    /// Their slots.
    pub(crate) slots: Range<usize>,
    /// Targets, by their index in the [`Sender`]'s list.
    pub(crate) targets: Range<usize>,
}

/// Sends bursts to targets.
pub(crate) struct Sender {
    names: Vec<libc::sockaddr_in>,
    iovecs: Vec<libc::iovec>,
    controls: Vec<Control>,
    headers: Vec<libc::mmsghdr>,
}

// SAFETY: the pointers in `iovecs` and `headers` are written and used within `send` only.
unsafe impl Send for Sender {}

impl Sender {
    /// Creates a sender for these targets.
    pub(crate) fn new(targets: &[SocketAddrV4]) -> Sender {
        let names = targets.iter().map(|target| socket_name(*target)).collect();
        Sender { names, iovecs: Vec::new(), controls: Vec::new(), headers: Vec::new() }
    }

    /// Sends all bursts, each to all of its targets. Returns how many messages the kernel refused.
    pub(crate) fn send(&mut self, fd: BorrowedFd<'_>, slots: &Slots, bursts: &[Burst]) -> usize {
        self.describe_memory(slots, bursts);
        self.describe_messages(slots, bursts);
        let (mut done, mut refused) = (0, 0);
        while done < self.headers.len() {
            let rest = &mut self.headers[done..];
            let count = rest.len().min(CALL_MAX);
            // SAFETY: the headers have just been pointed to names, iovecs and controls of this
            // struct, which do not change before this call returns, and to the memory of `slots`,
            // which is borrowed for as long; the kernel only reads it (the pointers are mutable
            // only by type), and writes `msg_len` in the headers.
            let sent = unsafe {
                libc::sendmmsg(fd.as_raw_fd(), rest.as_mut_ptr(), count as _, libc::MSG_DONTWAIT as _)
            };
            match usize::try_from(sent) {
                Ok(sent) if sent > 0 => done += sent,
                _ => (done, refused) = (done + 1, refused + 1),
            }
        }
        refused
    }

    /// Prepares one iovec per slot, or one for all if the slots are full; one control per burst.
    fn describe_memory(&mut self, slots: &Slots, bursts: &[Burst]) {
        self.iovecs.clear();
        self.controls.clear();
        for burst in bursts {
            let whole = slots.len(burst.slots.start) == slots.stride;
            for slot in burst.slots.clone() {
                let bytes = slots.bytes(slot);
                match self.iovecs.last_mut() {
                    Some(last) if whole && slot > burst.slots.start => last.iov_len += bytes.len(),
                    _ => self.iovecs.push(libc::iovec {
                        iov_base: bytes.as_ptr().cast_mut().cast(),
                        iov_len: bytes.len(),
                    }),
                }
            }
            self.controls.push(segment_control(slots.len(burst.slots.start)));
        }
    }

    fn describe_messages(&mut self, slots: &Slots, bursts: &[Burst]) {
        self.headers.clear();
        let mut iovec = 0;
        for (burst, control) in bursts.iter().zip(&mut self.controls) {
            let whole = slots.len(burst.slots.start) == slots.stride;
            let pieces = if whole { 1 } else { burst.slots.len() };
            let mut header = empty_header();
            header.msg_hdr.msg_iov = &mut self.iovecs[iovec];
            header.msg_hdr.msg_iovlen = pieces as _;
            if burst.slots.len() > 1 {
                header.msg_hdr.msg_control = control.0.as_mut_ptr().cast();
                // SAFETY: CMSG_SPACE only computes a size.
                header.msg_hdr.msg_controllen = unsafe { libc::CMSG_SPACE(2) } as _;
            }
            for name in &mut self.names[burst.targets.clone()] {
                header.msg_hdr.msg_name = ptr::from_mut(name).cast();
                header.msg_hdr.msg_namelen = mem::size_of::<libc::sockaddr_in>() as _;
                self.headers.push(header);
            }
            iovec += pieces;
        }
    }
}

/// Returns the control message UDP_SEGMENT: split the message into datagrams of `len` bytes.
fn segment_control(len: usize) -> Control {
    let mut control = Control([0; CONTROL_BYTES]);
    let mut header = empty_header().msg_hdr;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = CONTROL_BYTES as _;
    // SAFETY: CMSG_FIRSTHDR returns the start of `control`, which is large enough (32 bytes) and
    // aligned for one header and a `u16`, and lives until the end of this function.
    unsafe {
        let message = &mut *libc::CMSG_FIRSTHDR(&header);
        message.cmsg_level = libc::SOL_UDP;
        message.cmsg_type = libc::UDP_SEGMENT;
        message.cmsg_len = libc::CMSG_LEN(2) as _;
        libc::CMSG_DATA(message).cast::<u16>().write_unaligned(len as u16);
    }
    control
}

/// Discards data that a TCP connection has received, without copying it; at most `max` bytes.
/// Returns `None` if no data is available.
pub(crate) fn discard(fd: BorrowedFd<'_>, max: usize) -> io::Result<Option<usize>> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_TRUNC;
    // SAFETY: with MSG_TRUNC, TCP discards up to `max` bytes and writes nothing (tcp(7)), so a null
    // buffer is allowed.
    let count = unsafe { libc::recv(fd.as_raw_fd(), ptr::null_mut(), max, flags) };
    match usize::try_from(count) {
        Ok(count) => Ok(Some(count)),
        Err(_) => none_when_blocked(io::Error::last_os_error()).map(|_| None),
    }
}

/// Returns the datagrams that a socket dropped because its buffer was full (SO_MEMINFO).
pub(crate) fn drops(fd: BorrowedFd<'_>) -> u32 {
    const SK_MEMINFO_DROPS: usize = 8;
    let mut info = [0_u32; 9];
    let mut len = mem::size_of_val(&info) as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes to `info`, which has that size.
    let result = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            info.as_mut_ptr().cast(),
            &mut len,
        )
    };
    if result == 0 { info[SK_MEMINFO_DROPS] } else { 0 }
}

fn none_when_blocked(error: io::Error) -> io::Result<usize> {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(0),
        _ => Err(error),
    }
}

fn socket_name(address: SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as _,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
        sin_zero: [0; 8],
    }
}

fn empty_header() -> libc::mmsghdr {
    // SAFETY: all zeros is a valid `mmsghdr`: null pointers with zero lengths.
    unsafe { mem::zeroed() }
}
