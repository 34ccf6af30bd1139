//! Finding a network interface by name, by address, or by the route to a target.
//!
//! Used when sockets are opened and, about once a second, to see whether an interface was made anew. An
//! interface that is deleted and made again has another index, and that is what tells.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use nix::{
    ifaddrs::{InterfaceAddress, getifaddrs},
    net::if_::{InterfaceFlags, if_indextoname, if_nametoindex},
};

use super::Error;
use crate::address::Interface;

/// A port for asking the kernel for a route; nothing is sent to it ("discard", RFC 863).
const ROUTE_PORT: u16 = 9;

/// An interface that exists now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its name, such as `eth1`.
    pub name: String,
    /// Its index; another one after it was deleted and made again.
    pub index: u32,
}

/// Finds the named interface; without a name the one that the kernel routes `target` through.
pub fn find(interface: Option<&Interface>, target: IpAddr) -> Result<Found, Error> {
    match interface {
        Some(Interface::Name(name)) => by_name(name),
        Some(Interface::Addr(addr)) => by_address(*addr),
        None => by_route(target),
    }
}

fn by_name(name: &str) -> Result<Found, Error> {
    match if_nametoindex(name) {
        Ok(index) => Ok(Found { name: name.to_owned(), index }),
        Err(_) => Err(missing(Interface::Name(name.to_owned()))),
    }
}

fn by_address(wanted: IpAddr) -> Result<Found, Error> {
    addresses()
        .find(|entry| address_of(entry) == Some(wanted))
        .and_then(|entry| by_name(&entry.interface_name).ok())
        .ok_or_else(|| missing(Interface::Addr(wanted)))
}

/// Connecting a datagram socket sends nothing, but makes the kernel choose a route and with it an address.
fn by_route(target: IpAddr) -> Result<Found, Error> {
    let any: IpAddr = match target {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    let probe = UdpSocket::bind((any, 0)).map_err(Error::socket("open a socket"))?;
    let local = probe
        .connect((target, ROUTE_PORT))
        .and_then(|()| probe.local_addr())
        .map_err(|_| Error::NoRoute { target })?;
    match local {
        SocketAddr::V6(local) if local.scope_id() != 0 => by_index(local.scope_id()),
        local => by_address(local.ip()).ok(),
    }
    .ok_or(Error::NoRoute { target })
}

/// nix 0.31 returns an empty name instead of an error when there is no such interface.
fn by_index(index: u32) -> Option<Found> {
    let name = if_indextoname(index).ok()?.into_string().ok()?;
    (!name.is_empty()).then_some(Found { name, index })
}

/// Whether an interface with that index still exists.
pub fn exists(index: u32) -> bool {
    by_index(index).is_some()
}

/// Whether the interface is up; one that is gone is not.
pub fn is_up(name: &str) -> bool {
    addresses().any(|entry| entry.interface_name == name && entry.flags.contains(InterfaceFlags::IFF_UP))
}

/// The interface's first IPv4 address.
pub fn ipv4_of(name: &str) -> Option<Ipv4Addr> {
    addresses().filter(|entry| entry.interface_name == name).find_map(|entry| match address_of(&entry)? {
        IpAddr::V4(addr) => Some(addr),
        IpAddr::V6(_) => None,
    })
}

fn missing(wanted: Interface) -> Error {
    let mut names: Vec<String> = addresses().map(|entry| entry.interface_name).collect();
    names.sort();
    names.dedup();
    Error::InterfaceMissing { wanted, present: names.join(", ") }
}

/// Every address of every interface; nothing when the kernel cannot list them.
fn addresses() -> impl Iterator<Item = InterfaceAddress> {
    getifaddrs().into_iter().flatten()
}

fn address_of(entry: &InterfaceAddress) -> Option<IpAddr> {
    let address = entry.address.as_ref()?;
    let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(239, 255, 0, 1));

    #[test]
    fn loopback_is_found_by_name_and_by_address() {
        let by_name = find(Some(&Interface::Name("lo".into())), GROUP).unwrap();
        let by_addr = find(Some(&Interface::Addr(Ipv4Addr::LOCALHOST.into())), GROUP).unwrap();
        assert_eq!(by_name, by_addr);
        assert!(exists(by_name.index) && is_up("lo"));
        assert_eq!(ipv4_of("lo"), Some(Ipv4Addr::LOCALHOST));
    }

    #[test]
    fn loopback_is_found_by_route() {
        let found = find(None, Ipv4Addr::LOCALHOST.into()).unwrap();
        assert_eq!(found.name, "lo");
    }

    #[test]
    fn what_is_missing_is_named_with_what_is_present() {
        let error = find(Some(&Interface::Name("nosuch0".into())), GROUP).unwrap_err();
        assert!(error.is_retryable());
        let text = error.to_string();
        assert!(text.contains("\"nosuch0\"") && text.contains("lo"), "{text}");
        let nowhere = Ipv4Addr::new(198, 51, 100, 77).into();
        let text = find(Some(&Interface::Addr(nowhere)), GROUP).unwrap_err().to_string();
        assert!(text.contains("198.51.100.77"), "{text}");
        assert!(!exists(u32::MAX) && !is_up("nosuch0"));
    }
}
