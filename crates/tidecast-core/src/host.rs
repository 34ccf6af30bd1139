//! Defines which addresses count as one host when places are shared.

use std::{fmt, net::IpAddr};

/// An IPv4 address, or the first 64 bits of an IPv6 address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Host(IpAddr);

impl Host {
    /// The host of an address. An IPv4 address in IPv6 form is that IPv4 address.
    pub fn of(address: IpAddr) -> Host {
        match address.to_canonical() {
            IpAddr::V4(address) => Host(address.into()),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Host(IpAddr::from([a, b, c, d, 0, 0, 0, 0]))
            }
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(address) => address.fmt(f),
            IpAddr::V6(address) => write!(f, "{address}/64"),
        }
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
