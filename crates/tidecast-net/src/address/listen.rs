//! Parses the listen addresses of servers.

use std::net::{Ipv4Addr, SocketAddr};

use super::Endpoint;
use crate::units::UnitError;

const LISTEN: UnitError = UnitError { expected: "ADDRESS:PORT such as 127.0.0.1:8080, or off" };
const LISTEN_ADDRESS: UnitError = UnitError { expected: "ADDRESS:PORT such as 127.0.0.1:8080" };

/// Parses where an HTTP server listens: an address with its port (and zone), `localhost:PORT`, or
/// `off` (`None`).
///
/// # Errors
/// Any other text. A port alone is refused, because it is unclear whether it means this host only
/// or all networks.
pub fn listen(text: &str) -> Result<Option<Endpoint>, UnitError> {
    if text == "off" {
        return Ok(None);
    }
    if let Some(port) = text.strip_prefix("localhost:") {
        let port = port.parse().map_err(|_| LISTEN)?;
        return Ok(Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into()));
    }
    text.parse().map(Some).map_err(|_| LISTEN)
}

/// Like [`listen`], for a server that cannot be switched off.
///
/// # Errors
/// As for [`listen`], and `off`.
pub fn listen_address(text: &str) -> Result<Endpoint, UnitError> {
    listen(text).ok().flatten().ok_or(LISTEN_ADDRESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listen_addresses() {
        assert_eq!(listen_address("off"), Err(LISTEN_ADDRESS));
        assert_eq!(listen_address("host:80"), Err(LISTEN_ADDRESS));
        let at = |text: &str| Some(text.parse::<Endpoint>().unwrap());
        assert_eq!(listen("127.0.0.1:8080"), Ok(at("127.0.0.1:8080")));
        assert_eq!(listen("localhost:80"), Ok(at("127.0.0.1:80")));
        assert_eq!(listen("[::]:0"), Ok(at("[::]:0")));
        assert_eq!(listen("[fe80::1%eth0]:80"), Ok(at("[fe80::1%eth0]:80")));
        assert_eq!(listen("off"), Ok(None));
        for text in ["", "8080", ":8080", "127.0.0.1", "host:80", "localhost:", "127.0.0.1:65536"] {
            assert_eq!(listen(text), Err(LISTEN), "{text}");
        }
    }
}
