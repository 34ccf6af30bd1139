//! Signed links: HMAC-SHA-256 (RFC 2104) over path, expiry and, if wanted, address. Players that
//! know no headers follow them, and nobody makes one for another stream.

use std::{net::IpAddr, time::Duration};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::config::LinkKey;

/// Start of what the code is computed over, so that the key serves no other purpose.
const LABEL: &str = "tidecast link 1";

/// What the query of a link says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link<'a> {
    /// Seconds since the Unix epoch.
    exp: &'a str,
    sig: &'a str,
    /// The address that may follow it, if it is for one alone.
    addr: Option<&'a str>,
    /// Whose link it is, if it is not the operator's.
    by: Option<&'a str>,
}

impl<'a> Link<'a> {
    /// Finds it in a query; `None` if there is no signature.
    pub fn find(query: &'a str) -> Option<Link<'a>> {
        let value = |key: &str| {
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.find(|(name, _)| *name == key).map(|(_, value)| value)
        };
        let sig = value("sig")?;
        Some(Link { exp: value("exp").unwrap_or_default(), sig, addr: value("addr"), by: value("by") })
    }

    pub(super) fn is_signed(&self, key: &LinkKey, path: &str) -> bool {
        let Ok(sig) = BASE64_URL_SAFE_NO_PAD.decode(self.sig) else { return false };
        code(key, path, self.exp, self.addr.unwrap_or_default(), self.by.unwrap_or_default())
            .verify_slice(&sig)
            .is_ok()
    }

    pub(super) fn is_from(&self, from: Option<IpAddr>) -> bool {
        self.addr.is_none_or(|only| only.parse().ok().is_some_and(|only: IpAddr| from == Some(only)))
    }

    /// Which token's link it is: its id in hexadecimal digits.
    pub(super) fn by(&self) -> Option<&'a str> {
        self.by
    }

    pub(super) fn expires(&self) -> Option<Duration> {
        self.exp.parse().ok().map(Duration::from_secs)
    }
}

/// The query of a link to `path` that is valid until `expires`, in seconds since the Unix epoch,
/// for one address alone if there is one. `by`: whose link it is, if not the operator's.
pub(super) fn query(
    key: &LinkKey,
    path: &str,
    expires: u64,
    only: Option<IpAddr>,
    by: Option<&str>,
) -> String {
    let (exp, addr) = (expires.to_string(), only.map(|only| only.to_string()).unwrap_or_default());
    let sig = BASE64_URL_SAFE_NO_PAD
        .encode(code(key, path, &exp, &addr, by.unwrap_or_default()).finalize().into_bytes());
    let addr = if addr.is_empty() { addr } else { format!("&addr={addr}") };
    let by = by.map(|by| format!("&by={by}")).unwrap_or_default();
    format!("exp={exp}{addr}{by}&sig={sig}")
}

fn code(key: &LinkKey, path: &str, exp: &str, addr: &str, by: &str) -> Hmac<Sha256> {
    let mut code = Hmac::<Sha256>::new_from_slice(&key.0).expect("HMAC takes keys of any length");
    // None of these has a line break.
    code.update([LABEL, path, exp, addr, by].join("\n").as_bytes());
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_for_its_path_time_and_address() {
        let key = LinkKey([7; 32]);
        let only: IpAddr = "192.0.2.1".parse().unwrap();
        let text = query(&key, "/streams/cam", 2_000_000_000, Some(only), Some("ab"));
        let link = Link::find(&text).unwrap();
        assert!(link.is_signed(&key, "/streams/cam"));
        assert!(link.is_from(Some(only)) && !link.is_from(None));
        assert!(!link.is_from(Some("192.0.2.2".parse().unwrap())));
        assert_eq!(link.expires(), Some(Duration::from_secs(2_000_000_000)));
        assert!(!link.is_signed(&LinkKey([8; 32]), "/streams/cam"));
        assert!(!link.is_signed(&key, "/streams/cam2") && !link.is_signed(&key, "/streams/"));
        for other in [
            Link { exp: "2000000001", ..link },
            Link { addr: None, ..link },
            Link { addr: Some("192.0.2.2"), ..link },
            Link { by: None, ..link },
            Link { by: Some("cd"), ..link },
            Link { sig: "", ..link },
            Link { sig: "AAAA", ..link },
        ] {
            assert!(!other.is_signed(&key, "/streams/cam"), "{other:?}");
        }
        assert_eq!(Link::find("exp=5&x=sig"), None);
    }

    /// Computed by Python's hmac and base64.
    #[test]
    fn the_signature_is_the_one_of_the_document() {
        assert_eq!(query(&LinkKey([7; 32]), "/streams/cam", 2_000_000_000, None, None), PYTHON);
    }

    const PYTHON: &str = "exp=2000000000&sig=pOHz03IsbPn3OJ1gZiO5Yfwdd2_rlm3IotHXJ0N-oGU";
}
