//! Places per host: one table for connections, streams, groups on demand, pages, TCP clients and
//! UDP subscribers, so that one host cannot take all of them.
//!
//! A host is an IPv4 address or an IPv6 /64, the smallest network that is assigned. Each host may
//! take a share of the places. Some places are reserved for this host's own requests (from
//! 127.0.0.1 or ::1), which have no share: the operator and the health check get in when others do
//! not. The flows of a channel are limited by its core (`relay/hosts.rs`).

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use crate::limits::{
    ADMIN_CONNECTIONS_MAX, CLIENTS, CONNECTIONS_EXTRA, ON_DEMAND_MAX, PAGES_MAX, PLACES_RESERVED_MAX,
    PLACES_RESERVED_SHARE, TCP_CLIENTS, UDP_CLIENTS,
};
use tidecast_core::host::Host;
use tidecast_core::limits::SHARE_PERCENT;

/// Resources that are shared by address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resource {
    /// Connections to the HTTP port.
    Connections,
    /// Connections to the operator's port.
    Admin,
    /// Streaming clients over HTTP.
    Streams,
    /// Groups joined on demand.
    Groups,
    /// Open pages.
    Pages,
    /// Connections to the TCP port.
    Tcp,
    /// UDP subscribers.
    Udp,
}

impl Resource {
    /// All resources.
    pub const ALL: [Resource; 7] = [
        Resource::Connections,
        Resource::Admin,
        Resource::Streams,
        Resource::Groups,
        Resource::Pages,
        Resource::Tcp,
        Resource::Udp,
    ];

    /// Name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Resource::Connections => "connections",
            Resource::Admin => "admin",
            Resource::Streams => "streams",
            Resource::Groups => "groups",
            Resource::Pages => "pages",
            Resource::Tcp => "tcp",
            Resource::Udp => "udp",
        }
    }

    /// Description of taken places, for messages.
    fn taken(self) -> &'static str {
        match self {
            Resource::Connections | Resource::Admin => "connections are open",
            Resource::Streams | Resource::Tcp => "clients are served",
            Resource::Groups => "groups are joined on demand",
            Resource::Pages => "pages are open",
            Resource::Udp => "subscribers are served",
        }
    }

    fn noun(self) -> &'static str {
        match self {
            Resource::Connections | Resource::Admin => "connections",
            Resource::Streams => "streams",
            Resource::Groups => "groups on demand",
            Resource::Pages => "pages",
            Resource::Tcp => "TCP clients",
            Resource::Udp => "UDP subscribers",
        }
    }
}

/// Owner of a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Caller {
    /// This host itself: it has no share, but reserved places.
    Own,
    /// A trusted proxy, for a client that it does not name: it has no share.
    Proxy,
    /// Any other host.
    Host(Host),
}

impl Caller {
    /// The caller at this address: 127.0.0.1 and ::1 are this host itself. Other addresses of
    /// 127.0.0.0/8 are hosts.
    pub fn at(address: IpAddr) -> Caller {
        let canonical = address.to_canonical();
        let own = [IpAddr::from([127, 0, 0, 1]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])];
        if own.contains(&canonical) { Caller::Own } else { Caller::Host(Host::of(canonical)) }
    }

    fn host(self) -> Option<Host> {
        match self {
            Caller::Host(host) => Some(host),
            Caller::Own | Caller::Proxy => None,
        }
    }
}

/// Number of places of a resource, and the maximum of one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// Places.
    pub max: usize,
    /// The share of a host, in percent from 1 to 100.
    pub share: usize,
}

impl Bound {
    /// Maximum places of one host: never less than one.
    pub fn of_host(self) -> usize {
        (self.max * self.share).div_ceil(100).max(1)
    }

    /// Places reserved for this host's own requests.
    pub fn reserved(self) -> usize {
        (self.max / PLACES_RESERVED_SHARE).min(PLACES_RESERVED_MAX)
    }
}

/// The bounds of all resources, in the order of [`Resource::ALL`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds(pub [Bound; Resource::ALL.len()]);

impl Bounds {
    /// Bound of one resource.
    pub fn of(&self, resource: Resource) -> Bound {
        self.0[resource as usize]
    }

    /// Sets the number of places of one resource.
    pub fn set_max(&mut self, resource: Resource, max: usize) {
        self.0[resource as usize].max = max;
    }

    /// Sets the share of a host, in percent.
    pub fn set_share(&mut self, resource: Resource, share: usize) {
        self.0[resource as usize].share = share;
    }
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds(Resource::ALL.map(|resource| {
            let max = match resource {
                Resource::Connections => CLIENTS as usize + CONNECTIONS_EXTRA,
                Resource::Admin => ADMIN_CONNECTIONS_MAX,
                Resource::Streams => CLIENTS as usize,
                Resource::Groups => ON_DEMAND_MAX,
                Resource::Pages => PAGES_MAX,
                Resource::Tcp => TCP_CLIENTS as usize,
                Resource::Udp => UDP_CLIENTS as usize,
            };
            Bound { max, share: SHARE_PERCENT as usize }
        }))
    }
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The maximum is reached.
    #[error("{max} {} already, expected fewer: try again later", .resource.taken())]
    Full {
        /// The resource.
        resource: Resource,
        /// Maximum places.
        max: usize,
    },
    /// The host has used its share.
    #[error(
        "{host} has {share} of {max} {} already, the share of one address: expected fewer; try again later",
        .resource.noun()
    )]
    Share {
        /// The resource.
        resource: Resource,
        /// The host.
        host: Host,
        /// Maximum places of one host.
        share: usize,
        /// Maximum places.
        max: usize,
    },
}

/// The table. Cheap to clone; clones share their state.
#[derive(Debug, Clone, Default)]
pub struct Shares(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    bounds: Bounds,
    taken: Mutex<Taken>,
    refused: [[AtomicU64; REASONS.len()]; Resource::ALL.len()],
}

/// Reasons for refusals, in metrics.
const REASONS: [&str; 2] = ["full", "share"];

/// The taken places.
#[derive(Debug, Default)]
struct Taken {
    all: [usize; Resource::ALL.len()],
    /// Bounded by the places: a host is listed while it has one.
    by_host: HashMap<(Resource, Host), usize>,
}

impl Taken {
    fn add(&mut self, resource: Resource, caller: Caller) {
        self.all[resource as usize] += 1;
        if let Some(host) = caller.host() {
            *self.by_host.entry((resource, host)).or_default() += 1;
        }
    }

    fn remove(&mut self, resource: Resource, caller: Caller) {
        self.all[resource as usize] -= 1;
        let Some(host) = caller.host() else { return };
        if let Some(count) = self.by_host.get_mut(&(resource, host)) {
            *count -= 1;
            if *count == 0 {
                self.by_host.remove(&(resource, host));
            }
        }
    }

    fn check(&self, bound: Bound, resource: Resource, caller: Caller) -> Result<(), Refused> {
        let reserved = if caller == Caller::Own { 0 } else { bound.reserved() };
        let Bound { max, .. } = bound;
        if let Some(host) = caller.host() {
            let (share, has) = (bound.of_host(), self.by_host.get(&(resource, host)).copied());
            if has.unwrap_or_default() >= share {
                return Err(Refused::Share { resource, host, share, max });
            }
        }
        if self.all[resource as usize] >= max - reserved {
            return Err(Refused::Full { resource, max });
        }
        Ok(())
    }
}

impl Shares {
    /// A table without taken places.
    pub fn new(bounds: Bounds) -> Shares {
        Shares(Arc::new(Inner { bounds, ..Inner::default() }))
    }

    /// Number of taken places of a resource.
    pub fn taken(&self, resource: Resource) -> usize {
        self.table().all[resource as usize]
    }

    /// Takes a place.
    ///
    /// # Errors
    /// All places are taken, or the caller has used its share; the refusal is counted.
    pub fn take(&self, resource: Resource, caller: Caller) -> Result<Place, Refused> {
        let mut taken = self.table();
        self.admit(&taken, resource, caller)?;
        taken.add(resource, caller);
        drop(taken);
        Ok(Place { shares: self.clone(), resource, caller })
    }

    /// Whether there is a place at present. A refusal is not counted.
    ///
    /// # Errors
    /// As for [`Shares::take`].
    pub fn has_room(&self, resource: Resource, caller: Caller) -> Result<(), Refused> {
        self.table().check(self.0.bounds.of(resource), resource, caller)
    }

    fn admit(&self, taken: &Taken, resource: Resource, caller: Caller) -> Result<(), Refused> {
        taken.check(self.0.bounds.of(resource), resource, caller).inspect_err(|refused| {
            let reason = usize::from(matches!(refused, Refused::Share { .. }));
            self.0.refused[resource as usize][reason].fetch_add(1, Relaxed);
        })
    }

    /// Refusals so far: resource, reason (`full`, `share`), count.
    pub fn refused(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        Resource::ALL.into_iter().flat_map(|resource| {
            let counts = &self.0.refused[resource as usize];
            REASONS
                .into_iter()
                .zip(counts)
                .map(move |(reason, count)| (resource.as_str(), reason, count.load(Relaxed)))
        })
    }

    fn table(&self) -> MutexGuard<'_, Taken> {
        // Plain numbers, so a panic cannot leave them inconsistent.
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A taken place; dropping it frees the place.
#[derive(Debug)]
pub struct Place {
    shares: Shares,
    resource: Resource,
    caller: Caller,
}

impl Place {
    /// Owner of the place.
    pub fn caller(&self) -> Caller {
        self.caller
    }

    /// Counts it for another caller from now on.
    ///
    /// # Errors
    /// The other caller cannot have another place; then nothing changes, and the refusal is
    /// counted.
    pub fn pass_to(&mut self, caller: Caller) -> Result<(), Refused> {
        if caller == self.caller {
            return Ok(());
        }
        let mut taken = self.shares.table();
        taken.remove(self.resource, self.caller);
        let admitted = self.shares.admit(&taken, self.resource, caller);
        let owner = if admitted.is_ok() { caller } else { self.caller };
        taken.add(self.resource, owner);
        drop(taken);
        self.caller = owner;
        admitted
    }

    /// Counts it for another caller from now on that already uses it, regardless of its share.
    pub fn leave_to(&mut self, caller: Caller) {
        let mut taken = self.shares.table();
        taken.remove(self.resource, self.caller);
        taken.add(self.resource, caller);
        drop(taken);
        self.caller = caller;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shares.table().remove(self.resource, self.caller);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> Caller {
        Caller::at(text.parse().unwrap())
    }

    fn shares(max: usize, share: usize) -> Shares {
        let mut bounds = Bounds::default();
        bounds.set_max(Resource::Streams, max);
        bounds.set_share(Resource::Streams, share);
        Shares::new(bounds)
    }

    fn take(shares: &Shares, who: &str, count: usize) -> Vec<Place> {
        (0..count).map_while(|_| shares.take(Resource::Streams, host(who)).ok()).collect()
    }

    #[test]
    fn a_host_is_an_ipv4_address_or_an_ipv6_network() {
        let of = |text: &str| Host::of(text.parse().unwrap()).to_string();
        assert_eq!(of("10.1.2.3"), "10.1.2.3");
        assert_eq!(of("::ffff:10.1.2.3"), "10.1.2.3");
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
        assert_eq!(of("2001:db8:1:2::9"), of("2001:db8:1:2:ffff::"));
        assert_ne!(of("2001:db8:1:2::"), of("2001:db8:1:3::"));
        for own in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(host(own), Caller::Own, "{own}");
        }
        assert_eq!(host("127.0.0.2"), Caller::Host(Host::of("127.0.0.2".parse().unwrap())));
    }

    #[test]
    fn one_host_has_its_share_and_the_next_one_still_gets_in() {
        let shares = shares(100, 25);
        let mut many = take(&shares, "10.0.0.1", 100);
        assert_eq!(many.len(), 25);
        let refused = shares.take(Resource::Streams, host("10.0.0.1")).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "10.0.0.1 has 25 of 100 streams already, the share of one address: expected fewer; try again later"
        );
        assert_eq!(take(&shares, "10.0.0.2", 5).len(), 5);
        many.pop();
        assert_eq!(take(&shares, "10.0.0.1", 5).len(), 1);
        assert_eq!(many.len(), 24);
        assert_eq!(shares.taken(Resource::Streams), 24);
        let counted: Vec<_> = shares.refused().filter(|(_, _, count)| *count > 0).collect();
        assert_eq!(counted, [("streams", "share", 3)]);
    }

    #[test]
    fn an_ipv6_network_has_one_share() {
        let shares = shares(8, 25);
        let places: Vec<Place> = (0..100)
            .filter_map(|n| shares.take(Resource::Streams, host(&format!("2001:db8::{n:x}"))).ok())
            .collect();
        assert_eq!(places.len(), 2);
    }

    #[test]
    fn the_last_places_are_for_this_host_which_may_have_all() {
        let shares = shares(100, 100);
        let strangers = take(&shares, "10.0.0.1", 100);
        assert_eq!(strangers.len(), 94);
        let refused = shares.take(Resource::Streams, host("10.0.0.2")).unwrap_err();
        assert_eq!(refused.to_string(), "100 clients are served already, expected fewer: try again later");
        assert_eq!(take(&shares, "127.0.0.1", 100).len(), 6);
        drop(strangers);
        assert_eq!(take(&shares, "::1", 200).len(), 100);
    }

    #[test]
    fn a_share_is_one_place_at_least() {
        for (max, expected) in [(1, 1), (2, 1), (4, 1), (5, 2), (32, 8), (1000, 250), (1064, 266)] {
            assert_eq!(Bound { max, share: 25 }.of_host(), expected, "{max}");
        }
        assert_eq!(Bound { max: 3, share: 1 }.of_host(), 1);
    }

    #[test]
    fn a_place_that_is_passed_on_counts_for_the_other_one() {
        let shares = shares(8, 25);
        let mut place = shares.take(Resource::Streams, Caller::Proxy).unwrap();
        place.pass_to(host("10.0.0.1")).unwrap();
        let second = take(&shares, "10.0.0.1", 5);
        assert_eq!(second.len(), 1);
        let mut third = shares.take(Resource::Streams, Caller::Proxy).unwrap();
        assert!(matches!(third.pass_to(host("10.0.0.1")), Err(Refused::Share { .. })));
        assert_eq!(third.caller(), Caller::Proxy);
        place.pass_to(host("10.0.0.2")).unwrap();
        third.pass_to(host("10.0.0.1")).unwrap();
        place.leave_to(host("10.0.0.1"));
        drop((place, second, third));
        assert_eq!(shares.taken(Resource::Streams), 0);
        assert!(shares.table().by_host.is_empty());
    }
}
