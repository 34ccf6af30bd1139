//! System calls that std, socket2 and nix do not wrap as needed.
//!
//! [`ReceiveBatch`] is `recvmmsg` into pooled buffers with control messages; [`SendBatch`] is
//! `sendmmsg` with UDP_SEGMENT that reports the message at which it stopped. This file contains
//! the socket options that take structures. Every function is safe to call; datagrams go on to
//! [`super::ingest`] or come from `channel::udp`.
#![allow(unsafe_code)] // system calls through libc; each block says why it is sound

use std::{
    io,
    mem::{self, MaybeUninit},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::fd::{AsRawFd, BorrowedFd},
    ptr,
};

use libc::{c_int, socklen_t};
use socket2::SockAddr;

mod receive;
mod send;

pub use receive::{ReceiveBatch, Received};
pub use send::{Message, SendBatch, Sent};

/// Limits the C library's allocator to a few arenas instead of eight per CPU, so that memory freed
/// by one thread can be used by another. Large blocks are always mapped separately and returned to
/// the system when freed; otherwise the allocator adapts and keeps them. The process is therefore
/// as small after a peak as before it. Must be called before other threads are started.
pub fn share_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        const ARENAS: c_int = 2;
        const LARGE_BYTES: c_int = 256 << 10;
        // SAFETY: the call takes two numbers and changes a setting of the allocator. If it is
        // refused, the default stays.
        let set = |setting, value| unsafe { libc::mallopt(setting, value) };
        set(libc::M_ARENA_MAX, ARENAS);
        set(libc::M_MMAP_THRESHOLD, LARGE_BYTES);
    }
}

const EMPTY_IOVEC: libc::iovec = libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 };

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

/// Sets the filter of a membership (RFC 3678, section 5.2): datagrams of this source only, or of
/// all others. Without a source: of none, or of all.
pub fn set_source_filter(
    fd: BorrowedFd<'_>,
    index: u32,
    group: IpAddr,
    include: bool,
    source: Option<IpAddr>,
) -> io::Result<()> {
    let level = if group.is_ipv4() { libc::IPPROTO_IP } else { libc::IPPROTO_IPV6 };
    let filter = GroupFilter {
        interface: index,
        group: storage(group),
        mode: if include { libc::MCAST_INCLUDE } else { libc::MCAST_EXCLUDE } as u32,
        count: u32::from(source.is_some()),
        source: storage(source.unwrap_or(group)),
    };
    set_option(fd, level, libc::MCAST_MSFILTER, &filter)
}

/// `struct group_filter` with one source.
#[derive(Clone, Copy)]
#[repr(C)]
struct GroupFilter {
    interface: u32,
    group: libc::sockaddr_storage,
    mode: u32,
    count: u32,
    source: libc::sockaddr_storage,
}

/// Adds the router alert option (RFC 2113) to sent datagrams, as membership reports require.
pub fn set_router_alert(fd: BorrowedFd<'_>) -> io::Result<()> {
    const ROUTER_ALERT: [u8; 4] = [0x94, 4, 0, 0];
    set_option(fd, libc::IPPROTO_IP, libc::IP_OPTIONS, &ROUTER_ALERT)
}

/// Sends multicast through the interface with this index, from this address (IP_MULTICAST_IF).
/// Without the address, datagrams on `lo` would come from 0.0.0.0.
pub fn set_multicast_interface_v4(fd: BorrowedFd<'_>, index: u32, address: Ipv4Addr) -> io::Result<()> {
    let request = libc::ip_mreqn {
        imr_multiaddr: libc::in_addr { s_addr: 0 },
        imr_address: libc::in_addr { s_addr: u32::from(address).to_be() },
        imr_ifindex: index as c_int,
    };
    set_option(fd, libc::IPPROTO_IP, libc::IP_MULTICAST_IF, &request)
}

/// Returns the number of datagrams that this socket has dropped since it was opened (wrapping),
/// even if none arrived since (SO_MEMINFO).
pub fn drops(fd: BorrowedFd<'_>) -> io::Result<u32> {
    let mut counts = [0u32; 9];
    let mut len = mem::size_of_val(&counts) as socklen_t;
    // SAFETY: the kernel writes at most `len` bytes, the array's size, and any bit pattern is a
    // valid u32.
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

/// Sets an option; `T` is one of libc's plain structures.
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
    // SAFETY: the structure consists of integers, for which zero is valid.
    let mut to: libc::sockaddr_storage = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: socket2 guarantees `len()` valid bytes, at most a `sockaddr_storage`; the two do not
    // overlap.
    unsafe {
        ptr::copy_nonoverlapping(
            from.as_ptr().cast::<u8>(),
            ptr::from_mut(&mut to).cast(),
            from.len() as usize,
        )
    };
    to
}

fn zeroed_header() -> libc::mmsghdr {
    // SAFETY: integers and pointers only, for which zero is valid (null, length 0).
    unsafe { MaybeUninit::zeroed().assume_init() }
}
