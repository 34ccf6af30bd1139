//! Sockets: joining groups, receiving in batches, sending in batches.
//!
//! A datagram enters the program here. [`multicast`] opens and joins, [`ingest`] keeps one leg
//! alive and receives from it, [`sys`] holds the system calls (with `unsafe`), [`interface`] finds
//! network interfaces. What was received goes to [`tidecast_core::relay`] next; what goes out comes
//! from `channel::udp`.

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

/// Why a socket could not be opened, bound or joined.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SocketError {
    /// There is no interface of that name, or none has that address; it may come.
    #[error("{}; present: {present}", match .wanted {
        Interface::Name(name) => format!("there is no network interface named {name:?}"),
        Interface::Addr(addr) => format!("no network interface has the address {addr}"),
        Interface::Zoned(addr, name) => format!("there is no network interface named {name:?} with the address {addr}"),
    })]
    InterfaceMissing {
        /// What the address named.
        wanted: Interface,
        /// The names of the interfaces that exist, separated by commas.
        present: String,
    },
    /// No interface was named, and the kernel has no route to choose one by.
    #[error("no route to {target}, so the interface must be named: add ?if=NAME or ?if=ADDRESS")]
    NoRoute {
        /// The group or target.
        target: IpAddr,
    },
    /// A link-local address means something only on a link that its zone names.
    #[error("{address} needs a zone, the interface of its link: [{}%eth0]:{}", .address.ip(), .address.port())]
    ZoneMissing {
        /// The address as it was given.
        address: SocketAddr,
    },
    /// Another program holds the port without sharing it.
    #[error("{address} is in use by another program that does not share it")]
    PortInUse {
        /// What was to be bound.
        address: SocketAddr,
    },
    /// The address to bind is not this host's; it may come.
    #[error("{address} is not an address of this host")]
    AddressMissing {
        /// What was to be bound.
        address: SocketAddr,
    },
    /// The address could not be bound for another reason, such as a port that needs a privilege.
    #[error("cannot bind {address}: {error}")]
    Bind {
        /// What was to be bound.
        address: SocketAddr,
        /// What the kernel said.
        error: io::Error,
    },
    /// The group could not be joined.
    #[error("cannot join {group} on {interface}: {error}")]
    Join {
        /// The group.
        group: IpAddr,
        /// The interface's name.
        interface: String,
        /// What the kernel said.
        error: io::Error,
    },
    /// Any other call on a socket failed.
    #[error("cannot {what}: {error}")]
    Socket {
        /// What was to be done.
        what: &'static str,
        /// What the kernel said.
        error: io::Error,
    },
}

impl SocketError {
    /// Whether the cause may go away by itself: an interface, an address or a route that is not
    /// there yet.
    pub fn is_retryable(&self) -> bool {
        match self {
            SocketError::InterfaceMissing { .. }
            | SocketError::NoRoute { .. }
            | SocketError::AddressMissing { .. } => true,
            SocketError::Join { error, .. } | SocketError::Socket { error, .. } => matches!(
                error.raw_os_error(),
                // The interface went between two calls, or is not ready; memory may come back.
                Some(libc::ENODEV | libc::ENXIO | libc::ENETDOWN | libc::EADDRNOTAVAIL | libc::ENOMEM)
            ),
            SocketError::ZoneMissing { .. } | SocketError::PortInUse { .. } | SocketError::Bind { .. } => {
                false
            }
        }
    }

    /// For `map_err`: names what was to be done.
    pub fn socket(what: &'static str) -> impl Fn(io::Error) -> SocketError {
        move |error| SocketError::Socket { what, error }
    }
}
