//! Finds a network interface by name, by address, or by the route to a target.
//!
//! Used when sockets are opened and, about once a second, to detect that an interface was
//! recreated: an interface that is deleted and created again has another index.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    time::Instant,
};

use nix::{
    ifaddrs::{InterfaceAddress, getifaddrs},
    net::if_::InterfaceFlags,
};
use socket2::{Domain, Socket, Type};

use super::{SocketError, altname};
use crate::{
    address::{Endpoint, Interface},
    clock,
    limits::INTERFACES_AGE_MAX,
};

/// Port for querying the kernel's route; nothing is sent to it ("discard", RFC 863).
const ROUTE_PORT: u16 = 9;

/// An interface that exists now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The name, such as `eth1`.
    pub name: String,
    /// The index, which changes when the interface is deleted and created again.
    pub index: u32,
}

/// The interfaces and their addresses as read last. All sockets of a packet thread share one
/// reading: with hundreds of sockets, separate readings would cost more than their packets.
#[derive(Debug)]
pub struct Interfaces {
    entries: Vec<Entry>,
    read: Instant,
    /// Reason why the last reading failed; the entries are then from an earlier one.
    stale: Option<String>,
}

/// One address of an interface, or the interface itself.
#[derive(Debug)]
struct Entry {
    name: String,
    /// Index; present only in the entry for the interface itself.
    index: Option<u32>,
    address: Option<IpAddr>,
    up: bool,
    /// Whether the interface has a carrier, as far as its driver knows.
    running: bool,
}

impl Interfaces {
    /// Reads the interfaces. If the kernel cannot list them, the list is empty, and errors state
    /// the reason.
    pub fn read(now: Instant) -> Interfaces {
        let mut interfaces = Interfaces { entries: Vec::new(), read: now, stale: None };
        interfaces.read_again(now);
        interfaces
    }

    /// Reads the interfaces again. The old entries stay if the kernel cannot list them, for
    /// instance because no descriptor is free: that does not mean that the interfaces are gone.
    pub fn read_again(&mut self, now: Instant) {
        self.take(getifaddrs().map(|all| all.map(Entry::from).collect()), now);
    }

    fn take(&mut self, listed: nix::Result<Vec<Entry>>, now: Instant) {
        self.read = now;
        match listed {
            Ok(entries) => (self.entries, self.stale) = (entries, None),
            Err(error) => {
                if self.stale.is_none() {
                    tracing::warn!(
                        "cannot list the network interfaces: {error}; those of before count until it works again"
                    );
                }
                self.stale = Some(error.desc().to_owned());
            }
        }
    }

    /// Reads the interfaces again if the last reading is older than `INTERFACES_AGE_MAX`.
    pub fn refresh(&mut self, now: Instant) {
        if now.saturating_duration_since(self.read) >= INTERFACES_AGE_MAX {
            self.read_again(now);
        }
    }

    /// Finds the named interface; without a name, the one through which the kernel routes
    /// `target`.
    pub fn find(&self, interface: Option<&Interface>, target: IpAddr) -> Result<Found, SocketError> {
        match interface {
            Some(wanted @ Interface::Name(name)) => self.by_name(name).ok_or_else(|| self.missing(wanted)),
            Some(wanted @ Interface::Addr(addr)) => {
                self.by_address(*addr).ok_or_else(|| self.missing(wanted))
            }
            Some(wanted @ Interface::Zoned(address, name)) => {
                let has = |found: &Found| {
                    let own = self.entries.iter().filter(|entry| entry.name == found.name);
                    own.into_iter().any(|entry| entry.address == Some((*address).into()))
                };
                self.by_name(name).filter(has).ok_or_else(|| self.missing(wanted))
            }
            None => self.by_route(target),
        }
    }

    /// Finds an interface by its name, an alternative name, or its index, in this order.
    fn by_name(&self, name: &str) -> Option<Found> {
        let first = self.entries.iter().find(|entry| entry.name == name && entry.index.is_some());
        if let Some(index) = first.and_then(|entry| entry.index) {
            return Some(Found { name: name.to_owned(), index });
        }
        let alternative = altname::index(name).and_then(|index| self.by_index(index));
        alternative.or_else(|| self.by_index(name.parse().ok()?))
    }

    fn by_address(&self, wanted: IpAddr) -> Option<Found> {
        let entry = self.entries.iter().find(|entry| entry.address == Some(wanted))?;
        self.by_name(&entry.name)
    }

    /// Finds the interface of the route. Connecting a datagram socket sends nothing, but makes the
    /// kernel choose a route and thereby a local address.
    fn by_route(&self, target: IpAddr) -> Result<Found, SocketError> {
        let any: IpAddr = match target {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
        };
        let probe = UdpSocket::bind((any, 0)).map_err(SocketError::socket("open a socket"))?;
        let local = probe
            .connect((target, ROUTE_PORT))
            .and_then(|()| probe.local_addr())
            .map_err(|_| SocketError::NoRoute { target })?;
        match local {
            SocketAddr::V6(local) if local.scope_id() != 0 => self.by_index(local.scope_id()),
            local => self.by_address(local.ip()),
        }
        .ok_or(SocketError::NoRoute { target })
    }

    fn by_index(&self, index: u32) -> Option<Found> {
        let entry = self.entries.iter().find(|entry| entry.index == Some(index))?;
        Some(Found { name: entry.name.clone(), index })
    }

    /// Returns whether an interface with that index exists.
    pub fn exists(&self, index: u32) -> bool {
        self.by_index(index).is_some()
    }

    /// Returns why nothing can arrive on the existing interface: it is down, or has no carrier.
    pub fn fault(&self, index: u32) -> Option<String> {
        let Entry { name, up, running, .. } = self.entries.iter().find(|entry| entry.index == Some(index))?;
        match (up, running) {
            (false, _) => Some(format!("{name} is down: nothing comes until `ip link set {name} up`")),
            (true, false) => Some(format!(
                "{name} is down (no carrier): nothing comes until its cable is plugged in, or the other end is up"
            )),
            (true, true) => None,
        }
    }

    /// Returns the interface's first IPv4 address.
    pub fn ipv4_of(&self, name: &str) -> Option<Ipv4Addr> {
        self.entries.iter().filter(|entry| entry.name == name).find_map(|entry| match entry.address? {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        })
    }

    fn missing(&self, wanted: &Interface) -> SocketError {
        let mut names: Vec<&str> = self.entries.iter().map(|entry| &*entry.name).collect();
        names.sort_unstable();
        names.dedup();
        let mut present = names.join(", ");
        if let Some(why) = &self.stale {
            let known = if present.is_empty() { "unknown" } else { &present };
            present = format!("{known} (they cannot be listed now: {why})");
        }
        SocketError::InterfaceMissing { wanted: wanted.clone(), present }
    }
}

impl From<InterfaceAddress> for Entry {
    fn from(entry: InterfaceAddress) -> Entry {
        let address = entry.address.as_ref();
        let v4 = address.and_then(|a| a.as_sockaddr_in()).map(|a| IpAddr::V4(a.ip()));
        let v6 = || address.and_then(|a| a.as_sockaddr_in6()).map(|a| IpAddr::V6(a.ip()));
        let index = address.and_then(|a| a.as_link_addr()).map(|link| link.ifindex() as u32);
        // An IPv4 address may have its own label, such as `eth0:1`.
        let name = entry.interface_name.split(':').next().unwrap_or_default().to_owned();
        let has = |flag| entry.flags.contains(flag);
        let (up, running) = (has(InterfaceFlags::IFF_UP), has(InterfaceFlags::IFF_RUNNING));
        Entry { name, index, address: v4.or_else(v6), up, running }
    }
}

/// Like [`Interfaces::find`], with a new reading of the interfaces.
pub fn find(interface: Option<&Interface>, target: IpAddr) -> Result<Found, SocketError> {
    Interfaces::read(clock::now()).find(interface, target)
}

/// Converts an endpoint to a socket address, with its zone as an interface index.
///
/// # Errors
/// The interface does not exist, or a link-local address has no zone.
pub fn resolve(endpoint: &Endpoint) -> Result<SocketAddr, SocketError> {
    let address = endpoint.address();
    let Some(zone) = endpoint.zone() else {
        let missing = || SocketError::ZoneMissing { address };
        return (!endpoint.lacks_zone()).then_some(address).ok_or_else(missing);
    };
    Ok(on_link(address, find(Some(zone), address.ip())?.index))
}

/// Returns the address, with the link as its scope if it is valid on a single link only.
pub fn on_link(mut address: SocketAddr, index: u32) -> SocketAddr {
    if let SocketAddr::V6(address) = &mut address
        && is_link_scoped(*address.ip())
    {
        address.set_scope_id(index);
    }
    address
}

/// Returns whether an address is valid on a single link only: fe80::/10, ff01::/16 and ff02::/16
/// (RFC 4291).
fn is_link_scoped(ip: Ipv6Addr) -> bool {
    ip.is_unicast_link_local() || (ip.is_multicast() && matches!(ip.segments()[0] & 0xf, 1 | 2))
}

/// Returns a local address from which `target` is reached, of the same family; the loopback
/// address if there is none.
pub fn address_towards(interface: Option<&Interface>, target: IpAddr) -> IpAddr {
    let interfaces = Interfaces::read(clock::now());
    let of_interface = || interfaces.ipv4_of(&interfaces.find(interface, target).ok()?.name).map(IpAddr::V4);
    match (interface.and_then(Interface::address), target) {
        (Some(address), _) if address.is_ipv4() == target.is_ipv4() => address,
        (_, IpAddr::V4(_)) => of_interface().unwrap_or(Ipv4Addr::LOCALHOST.into()),
        (_, IpAddr::V6(target)) => {
            let index = interfaces.find(interface, target.into()).ok().map(|found| found.index);
            ipv6_source(index, target).unwrap_or(Ipv6Addr::LOCALHOST).into()
        }
    }
}

/// Returns the address that the kernel sends from: an interface may have several, and the target's
/// scope decides between them. Connecting sends nothing.
fn ipv6_source(interface: Option<u32>, target: Ipv6Addr) -> Option<Ipv6Addr> {
    let socket = Socket::new(Domain::IPV6, Type::DGRAM, None).ok()?;
    if let Some(index) = interface {
        socket.set_multicast_if_v6(index).ok()?;
    }
    socket.connect(&SocketAddr::from((target, ROUTE_PORT)).into()).ok()?;
    match socket.local_addr().ok()?.as_socket()?.ip() {
        IpAddr::V6(source) => Some(source),
        IpAddr::V4(_) => None,
    }
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
        let interfaces = Interfaces::read(clock::now());
        assert!(interfaces.exists(by_name.index) && interfaces.fault(by_name.index).is_none());
        let by_index = find(Some(&Interface::Name(by_name.index.to_string())), GROUP).unwrap();
        assert_eq!(by_index, by_name, "a zone may be an index");
        assert_eq!(interfaces.ipv4_of("lo"), Some(Ipv4Addr::LOCALHOST));
    }

    #[test]
    fn the_address_towards_a_target_is_one_of_this_host() {
        let lo = Interface::Name("lo".into());
        assert_eq!(address_towards(Some(&lo), GROUP), Ipv4Addr::LOCALHOST);
        let given = Interface::Addr("10.0.0.1".parse().unwrap());
        assert_eq!(address_towards(Some(&given), GROUP), "10.0.0.1".parse::<IpAddr>().unwrap());
        assert!(address_towards(Some(&given), Ipv6Addr::LOCALHOST.into()).is_ipv6());
        assert!(!address_towards(Some(&Interface::Name("nosuch0".into())), GROUP).is_unspecified());
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
        let interfaces = Interfaces::read(clock::now());
        assert!(!interfaces.exists(u32::MAX));
    }

    #[test]
    fn an_interface_that_is_down_is_said_to_be_down() {
        let entry = |name: &str, index, up, running| Entry {
            name: name.to_owned(),
            index: Some(index),
            address: None,
            up,
            running,
        };
        let entries =
            vec![entry("eth0", 1, true, true), entry("eth1", 2, false, false), entry("eth2", 3, true, false)];
        let interfaces = Interfaces { entries, read: clock::now(), stale: None };
        assert_eq!(interfaces.fault(1), None);
        assert!(
            interfaces
                .fault(2)
                .unwrap()
                .starts_with("eth1 is down: nothing comes until `ip link set eth1 up`")
        );
        assert!(interfaces.fault(3).unwrap().starts_with("eth2 is down (no carrier)"));
        assert_eq!(interfaces.fault(4), None, "it is missing, which is said elsewhere");
    }

    #[test]
    fn a_list_that_cannot_be_read_leaves_the_one_before() {
        let mut interfaces = Interfaces::read(clock::now());
        let lo = Interface::Addr(Ipv4Addr::LOCALHOST.into());
        interfaces.take(Err(nix::errno::Errno::EMFILE), clock::now());
        assert_eq!(interfaces.find(Some(&lo), GROUP).unwrap().name, "lo");
        let text = interfaces.find(Some(&Interface::Name("nosuch0".into())), GROUP).unwrap_err().to_string();
        assert!(text.contains("lo") && text.contains("cannot be listed now: Too many open files"), "{text}");
        let mut none = Interfaces { entries: Vec::new(), read: clock::now(), stale: None };
        none.take(Err(nix::errno::Errno::EMFILE), clock::now());
        let text = none.find(Some(&lo), GROUP).unwrap_err().to_string();
        assert!(text.contains("present: unknown (they cannot be listed now"), "{text}");
        none.read_again(clock::now());
        assert!(none.find(Some(&lo), GROUP).is_ok() && none.stale.is_none());
    }

    #[test]
    fn zones_become_indices_where_an_address_needs_one() {
        let at = |text: &str| resolve(&text.parse().unwrap());
        let lo = find(Some(&Interface::Name("lo".into())), GROUP).unwrap().index;
        assert_eq!(at("127.0.0.1:80").unwrap(), "127.0.0.1:80".parse().unwrap());
        assert_eq!(at("[fe80::1%lo]:80").unwrap(), format!("[fe80::1%{lo}]:80").parse().unwrap());
        assert_eq!(at("[fd00::1%lo]:80").unwrap(), "[fd00::1]:80".parse().unwrap());
        let error = at("[fe80::1]:80").unwrap_err().to_string();
        assert!(error.contains("[fe80::1%eth0]:80"), "{error}");
        let error = at("[fe80::1%nosuch0]:80").unwrap_err().to_string();
        assert!(error.contains("\"nosuch0\"") && error.contains("lo"), "{error}");
    }
}
