//! Sockets: joining groups, and receiving and sending datagrams in batches.
//!
//! Datagrams enter the program here. [`multicast`] opens sockets and joins groups, [`ingest`] runs
//! one leg and receives from it, [`sys`] contains the system calls (with `unsafe`), [`interface`]
//! finds network interfaces. Received datagrams go to [`tidecast_core::relay`] next; datagrams to
//! send come from `channel::udp`.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use crate::address::Interface;

#[cfg(not(target_os = "linux"))]
compile_error!(
    "tidecast runs on Linux only: it receives with recvmmsg, kernel time stamps and drop counts, and waits with epoll"
);

pub mod address;
mod altname;
pub mod clock;
pub mod diagnose;
mod igmp;
pub mod ingest;
pub mod interface;
pub mod limits;
pub mod log_limiter;
pub mod multicast;
pub mod sys;
pub mod units;

/// Reason why a socket could not be opened, bound or joined.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SocketError {
    /// No interface has that name or address; it may appear later.
    #[error("{}; present: {present}", match .wanted {
        Interface::Name(name) => format!("there is no network interface named {name:?}"),
        Interface::Addr(addr) => format!("no network interface has the address {addr}"),
        Interface::Zoned(addr, name) => format!("there is no network interface named {name:?} with the address {addr}"),
    })]
    InterfaceMissing {
        /// The interface named in the address.
        wanted: Interface,
        /// The names of the interfaces that exist, separated by commas.
        present: String,
    },
    /// No interface was named, and the kernel has no route by which to choose one.
    #[error("no route to {target}, so the interface must be named: add ?if=NAME or ?if=ADDRESS")]
    NoRoute {
        /// The group or target.
        target: IpAddr,
    },
    /// A link-local address is valid only with a zone that names its link.
    #[error("{address} needs a zone, the interface of its link: [{}%eth0]:{}", .address.ip(), .address.port())]
    ZoneMissing {
        /// The address as it was given.
        address: SocketAddr,
    },
    /// Another program has bound the port without sharing it.
    #[error("{address} is in use by another program that does not share it")]
    PortInUse {
        /// The address to bind.
        address: SocketAddr,
    },
    /// The address to bind does not belong to this host; it may be added later.
    #[error("{address} is not an address of this host")]
    AddressMissing {
        /// The address to bind.
        address: SocketAddr,
    },
    /// The address could not be bound for another reason, such as a port that requires a
    /// privilege.
    #[error("cannot bind {address}: {error}")]
    Bind {
        /// The address to bind.
        address: SocketAddr,
        /// The kernel's error.
        error: io::Error,
    },
    /// The group could not be joined.
    #[error("cannot join {group} on {interface}: {error}")]
    Join {
        /// The group.
        group: IpAddr,
        /// The interface's name.
        interface: String,
        /// The kernel's error.
        error: io::Error,
    },
    /// Another call on a socket failed.
    #[error("cannot {what}: {error}")]
    Socket {
        /// The operation that failed.
        what: &'static str,
        /// The kernel's error.
        error: io::Error,
    },
}

impl SocketError {
    /// Returns whether the cause may disappear by itself: an interface, an address or a route that
    /// does not exist yet.
    pub fn is_retryable(&self) -> bool {
        match self {
            SocketError::InterfaceMissing { .. }
            | SocketError::NoRoute { .. }
            | SocketError::AddressMissing { .. } => true,
            SocketError::Join { error, .. } | SocketError::Socket { error, .. } => matches!(
                error.raw_os_error(),
                // The interface disappeared between two calls, or is not ready; memory may become
                // free.
                Some(libc::ENODEV | libc::ENXIO | libc::ENETDOWN | libc::EADDRNOTAVAIL | libc::ENOMEM)
            ),
            SocketError::ZoneMissing { .. } | SocketError::PortInUse { .. } | SocketError::Bind { .. } => {
                false
            }
        }
    }

    /// Returns a function for `map_err` that names the operation that failed.
    pub fn socket(what: &'static str) -> impl Fn(io::Error) -> SocketError {
        move |error| SocketError::Socket { what, error }
    }
}
