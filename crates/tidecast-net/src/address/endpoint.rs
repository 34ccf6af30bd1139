//! The address and port of a listener or of a remote relay: `127.0.0.1:8080`,
//! `[fe80::1%eth0]:8080`.

use std::{
    fmt,
    net::{Ipv6Addr, SocketAddr},
    str::FromStr,
};

use super::{AddressError, Interface, parse_port_or_any, zone};

/// An address with its port, and the zone of an IPv6 address (RFC 4007) by name or index. Whether
/// the interface exists is checked only when a socket is created (`net::interface`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    address: SocketAddr,
    zone: Option<Interface>,
}

impl Endpoint {
    /// Returns the address and port, without the zone.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the interface that the zone names.
    pub fn zone(&self) -> Option<&Interface> {
        self.zone.as_ref()
    }

    /// Returns whether the address is valid on a single link only but has no zone that names the
    /// link.
    pub fn lacks_zone(&self) -> bool {
        matches!(self.address, SocketAddr::V6(address) if address.ip().is_unicast_link_local())
            && self.zone.is_none()
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Endpoint {
        Endpoint { address, zone: None }
    }
}

impl FromStr for Endpoint {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Endpoint, AddressError> {
        let refused = || AddressError::Host(text.to_owned());
        if !text.contains('%') {
            return text.parse::<SocketAddr>().map(Endpoint::from).map_err(|_| refused());
        }
        let (host, port) =
            text.strip_prefix('[').and_then(|rest| rest.rsplit_once("]:")).ok_or_else(refused)?;
        let (address, zone) = zone::cut(host);
        let address: Ipv6Addr = address.parse().map_err(|_| refused())?;
        let address = SocketAddr::from((address, parse_port_or_any(port)?));
        Ok(Endpoint { address, zone: zone.map(zone::parse).transpose()? })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.zone {
            Some(zone) => write!(f, "[{}%{zone}]:{}", self.address.ip(), self.address.port()),
            None => self.address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_come_back_as_written() {
        for text in
            ["127.0.0.1:8080", "[::]:0", "[fe80::1%eth0]:8080", "[fe80::1%3]:1", "[ff02::1%br-lan.1]:65535"]
        {
            assert_eq!(text.parse::<Endpoint>().map(|one| one.to_string()), Ok(text.to_owned()));
        }
        let zoned: Endpoint = "[fe80::1%25eth0]:8080".parse().unwrap();
        assert_eq!(zoned.zone(), Some(&Interface::Name("eth0".to_owned())));
        assert_eq!(zoned.address(), "[fe80::1]:8080".parse().unwrap());
        assert!(!zoned.lacks_zone() && Endpoint::from(zoned.address()).lacks_zone());
        assert!(!"[fd00::1]:80".parse::<Endpoint>().unwrap().lacks_zone());
        let wrong = [
            "",
            "8080",
            "fe80::1%eth0:80",
            "[fe80::1%]:80",
            "[fe80::1%a/b]:80",
            "[fe80::1%eth0]:",
            "10.0.0.1%eth0:80",
            "[fe80::1%fe80::2]:80",
        ];
        for text in wrong {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
    }
}
