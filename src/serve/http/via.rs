//! Client address and server address of a request: from its connection, or from a trusted proxy,
//! in X-Forwarded-For, -Proto and -Host or in Forwarded (RFC 7239).
//!
//! Each proxy appends the address that it was reached from. Read from the end, the first one that
//! is no trusted proxy is the client's; anyone may have written the ones before it. Headers from
//! others than trusted proxies are ignored. If both kinds of headers are present, X-Forwarded-
//! takes precedence: common proxies write these, and pass a Forwarded header on unchanged.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, HeaderName, Uri, header, uri::Authority};

use crate::{access::Grant, config, limits::FORWARDED_HOPS_MAX, registry::audience::Who, shares::Caller};

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The port of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    /// The port for streams, and for everything else unless there is an operator's port.
    Main,
    /// The operator's port.
    Admin,
}

/// Both ends of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends {
    pub(super) door: Door,
    pub(super) peer: Option<SocketAddr>,
    pub(super) local: Option<SocketAddr>,
}

/// Client and port of a request, stored in its extensions.
#[derive(Debug, Clone)]
pub(super) struct Via {
    /// The client whose share the request uses.
    pub(super) caller: Caller,
    /// Port on which it came.
    pub(super) door: Door,
    /// A trusted proxy has forwarded it.
    pub(super) trusted: bool,
    /// `http`, or `https` if a proxy reports it.
    pub(super) scheme: &'static str,
    /// The client's address, with its port if known.
    client: String,
    /// Host and port that the client has requested, if it named them.
    host: Option<String>,
    local: Option<SocketAddr>,
}

/// What one proxy reports about its client.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Hop {
    /// `None` if it does not report one.
    address: Option<IpAddr>,
    proto: Option<String>,
    host: Option<String>,
}

impl Via {
    /// Reads the headers of trusted proxies.
    pub(super) fn new(ends: Ends, uri: &Uri, headers: &HeaderMap, config: &config::Http) -> Via {
        let Ends { door, peer, local } = ends;
        let caller = peer.map_or(Caller::Proxy, |peer| Caller::at(peer.ip()));
        let named = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let host = uri.authority().map(|authority| authority.to_string()).or_else(|| named(header::HOST));
        let client = peer.map(|peer| SocketAddr::new(peer.ip().to_canonical(), peer.port()).to_string());
        let client = client.unwrap_or_default();
        let direct = Via { caller, door, trusted: false, scheme: "http", client, host, local };
        let is_forwarded = headers.contains_key(FOR) || headers.contains_key(header::FORWARDED);
        if !peer.is_some_and(|peer| config.trusts(peer.ip())) {
            // Requests from other hosts through a proxy on this host do not count as this host's
            // own.
            let caller = if is_forwarded && caller == Caller::Own { Caller::Proxy } else { caller };
            return Via { caller, ..direct };
        }
        let hop =
            if headers.contains_key(FOR) { x_forwarded(headers, config) } else { forwarded(headers, config) };
        let (proto, host) = match &hop {
            Some(hop) if !headers.contains_key(FOR) => (hop.proto.clone(), hop.host.clone()),
            _ => (last(headers, &PROTO), last(headers, &HOST)),
        };
        let scheme = match proto.map(|proto| proto.to_ascii_lowercase()).as_deref() {
            Some("https" | "wss") => "https",
            _ => "http",
        };
        let trusted = hop.is_some();
        let (caller, client) = match hop {
            None if caller == Caller::Own => (caller, direct.client),
            None => (Caller::Proxy, direct.client),
            Some(Hop { address: None, .. }) => (Caller::Proxy, direct.client),
            Some(Hop { address: Some(address), .. }) => (Caller::at(address), address.to_string()),
        };
        Via { caller, client, trusted, scheme, host: host.or(direct.host), ..direct }
    }

    /// Description of the client, with the name of its token.
    pub(super) fn who(&self, headers: &HeaderMap, grant: &Grant) -> Who {
        let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
        Who { address: self.client.clone(), user: grant.user(), ..Who::new(None, agent) }
    }

    /// The client's address, if known.
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.client.parse::<SocketAddr>().map(|address| address.ip()).or_else(|_| self.client.parse()).ok()
    }

    /// Host and port that the client has requested, as it named them.
    pub(super) fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// Address under which the client reaches this server: as it named it, otherwise our end of
    /// its connection. `None` if it named something that is not an address.
    pub(super) fn authority(&self) -> Option<Authority> {
        let Some(host) = &self.host else { return self.local?.to_string().parse().ok() };
        let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
        let authority: Authority = host.parse().ok()?;
        (!authority.host().is_empty() && host.chars().all(safe)).then_some(authority)
    }
}

/// The last value of a header that may have several.
fn last(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let value = headers.get_all(name).iter().next_back()?.to_str().ok()?;
    let value = value.rsplit(',').next()?.trim();
    (!value.is_empty()).then(|| value.to_owned())
}

/// The client, from the addresses in `hops`, nearest proxy first.
fn client<'a>(hops: impl Iterator<Item = Hop> + 'a, config: &config::Http) -> Option<Hop> {
    let mut client = None;
    for hop in hops.take(FORWARDED_HOPS_MAX) {
        let goes_on = hop.address.is_some_and(|address| config.trusts(address));
        client = Some(hop);
        if !goes_on {
            break;
        }
    }
    client
}

fn x_forwarded(headers: &HeaderMap, config: &config::Http) -> Option<Hop> {
    let values: Vec<&str> =
        headers.get_all(FOR).iter().map(|value| value.to_str().unwrap_or_default()).collect();
    let names = values.iter().rev().flat_map(|value| value.rsplit(','));
    client(names.map(|name| Hop { address: address(name.trim()), ..Hop::default() }), config)
}

fn forwarded(headers: &HeaderMap, config: &config::Http) -> Option<Hop> {
    let values = headers.get_all(header::FORWARDED).iter();
    let values: Vec<&str> = values.map(|value| value.to_str().unwrap_or_default()).collect();
    let elements: Vec<&str> = values.iter().flat_map(|value| split(value, b',')).collect();
    client(elements.iter().rev().map(|element| element_of(element)), config)
}

/// `for=192.0.2.43;proto=https;host=tv.example`
fn element_of(element: &str) -> Hop {
    let mut hop = Hop::default();
    for pair in split(element, b';') {
        let Some((name, value)) = pair.split_once('=') else { continue };
        let value = unquoted(value.trim());
        match name.trim().to_ascii_lowercase().as_str() {
            "for" => hop.address = address(&value),
            "proto" => hop.proto = Some(value),
            "host" => hop.host = Some(value),
            _ => {}
        }
    }
    hop
}

/// Splits at separators outside of quotes.
fn split(text: &str, separator: u8) -> Vec<&str> {
    let (mut parts, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            byte if byte == separator && !quoted => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn unquoted(value: &str) -> String {
    let Some(inner) = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')) else {
        return value.to_owned();
    };
    let (mut text, mut escaped) = (String::new(), false);
    for c in inner.chars() {
        if c == '\\' && !escaped {
            escaped = true;
        } else {
            text.push(c);
            escaped = false;
        }
    }
    text
}

/// Parses an address as proxies write it, with or without a port: `192.0.2.43:47011`,
/// `[2001:db8::17]:4711`, `2001:db8::17`.
fn address(text: &str) -> Option<IpAddr> {
    let bracketed = text.strip_prefix('[').and_then(|text| text.split_once(']')).map(|(inner, _)| inner);
    let address = bracketed.unwrap_or(text);
    address.parse().or_else(|_| text.parse().map(|address: SocketAddr| address.ip())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn config(proxies: &str) -> config::Http {
        let text = format!("[http]\ntrusted_proxies = {proxies}\n");
        text.parse::<Config>().unwrap().http.unwrap()
    }

    fn via_of(peer: &str, proxies: &str, lines: &[(&'static str, &str)]) -> Via {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        let ends =
            Ends { door: Door::Main, peer: Some(format!("{peer}:5000").parse().unwrap()), local: None };
        Via::new(ends, &Uri::from_static("/"), &headers, &config(proxies))
    }

    fn client_of(peer: &str, lines: &[(&'static str, &str)]) -> (Caller, String) {
        let via = via_of(peer, r#"["127.0.0.1", "10.0.0.0/24"]"#, lines);
        (via.caller, via.client)
    }

    fn host(text: &str) -> Caller {
        Caller::at(text.parse().unwrap())
    }

    #[test]
    fn the_last_address_that_is_no_trusted_proxy_is_the_client() {
        let from = |value: &str| client_of("127.0.0.1", &[("x-forwarded-for", value)]);
        assert_eq!(from("192.0.2.1"), (host("192.0.2.1"), "192.0.2.1".to_owned()));
        assert_eq!(from("6.6.6.6, 192.0.2.1, 10.0.0.7").0, host("192.0.2.1"));
        assert_eq!(from("6.6.6.6,192.0.2.1:8080").0, host("192.0.2.1"));
        assert_eq!(from("2001:db8::1").0, host("2001:db8::2"));
        assert_eq!(from("[2001:db8::1]:443").0, host("2001:db8::1"));
        assert_eq!(from("unknown").0, Caller::Proxy);
        assert_eq!(from("6.6.6.6, unknown").0, Caller::Proxy);
        assert_eq!(from("10.0.0.9, 10.0.0.7").0, host("10.0.0.9"));
        let twice = [("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "192.0.2.1")];
        assert_eq!(client_of("10.0.0.2", &twice).0, host("192.0.2.1"));
    }

    #[test]
    fn forwarded_says_the_same() {
        let from = |value: &str| client_of("127.0.0.1", &[("forwarded", value)]);
        assert_eq!(from("for=192.0.2.43").0, host("192.0.2.43"));
        assert_eq!(from("for=6.6.6.6, For=\"192.0.2.43:47011\";proto=https").0, host("192.0.2.43"));
        assert_eq!(from("for=\"[2001:db8::17]:4711\"").0, host("2001:db8::17"));
        assert_eq!(from("for=\"a,for=1.2.3.4\"").0, Caller::Proxy);
        assert_eq!(from("for=_hidden").0, Caller::Proxy);
        let both = [("forwarded", "for=6.6.6.6"), ("x-forwarded-for", "192.0.2.1")];
        assert_eq!(client_of("127.0.0.1", &both).0, host("192.0.2.1"));
    }

    #[test]
    fn others_are_not_believed() {
        let lines =
            [("x-forwarded-for", "192.0.2.1"), ("x-forwarded-proto", "https"), ("x-forwarded-host", "evil")];
        let via = via_of("10.9.9.9", r#"["127.0.0.1"]"#, &lines);
        assert_eq!((via.caller, via.scheme, via.host()), (host("10.9.9.9"), "http", None));
        assert_eq!(via.client, "10.9.9.9:5000");
        let via = via_of("127.0.0.1", "[]", &lines);
        assert_eq!((via.caller, via.scheme), (Caller::Proxy, "http"));
    }

    #[test]
    fn without_such_a_header_this_host_asks_for_itself() {
        assert_eq!(client_of("127.0.0.1", &[]).0, Caller::Own);
        assert_eq!(client_of("10.0.0.2", &[]).0, Caller::Proxy);
        assert_eq!(client_of("10.9.0.2", &[]).0, host("10.9.0.2"));
        assert_eq!(
            client_of("::ffff:127.0.0.1".parse::<IpAddr>().map(|_| "[::ffff:127.0.0.1]").unwrap(), &[]).0,
            Caller::Own
        );
    }

    #[test]
    fn scheme_and_host_are_those_that_the_client_has_used() {
        let lines = [
            ("host", "127.0.0.1:8080"),
            ("x-forwarded-for", "192.0.2.1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "evil.example, tv.example"),
        ];
        let via = via_of("127.0.0.1", r#""127.0.0.1""#, &lines);
        assert_eq!((via.scheme, via.host()), ("https", Some("tv.example")));
        let lines =
            [("host", "127.0.0.1:8080"), ("forwarded", "for=192.0.2.1;proto=https;host=\"tv.example:8443\"")];
        let via = via_of("127.0.0.1", r#""127.0.0.1""#, &lines);
        assert_eq!((via.scheme, via.authority().unwrap().as_str()), ("https", "tv.example:8443"));
        let via =
            via_of("127.0.0.1", r#""127.0.0.1""#, &[("host", "relay"), ("x-forwarded-for", "192.0.2.1")]);
        assert_eq!((via.scheme, via.host()), ("http", Some("relay")));
    }

    #[test]
    fn only_an_address_may_stand_in_the_playlist() {
        let of = |text: &str| {
            via_of("127.0.0.1", "[]", &[("host", text)]).authority().map(|host| host.to_string())
        };
        for good in ["127.0.0.1:8080", "[::1]:8080", "relay.example", "relay_1:80"] {
            assert_eq!(of(good).as_deref(), Some(good));
        }
        for bad in ["", "a b", "a/b", "user@host", "a\"b", "a,b", "ä"] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }

    /// HTTP/1.0 requests have no Host.
    #[test]
    fn without_a_name_the_own_end_of_the_connection_is_the_place() {
        let local = Some("192.0.2.7:8080".parse().unwrap());
        let ends = Ends { door: Door::Main, peer: Some("192.0.2.1:5000".parse().unwrap()), local };
        let via = Via::new(ends, &Uri::from_static("/"), &HeaderMap::new(), &config("[]"));
        assert_eq!(via.authority().unwrap().as_str(), "192.0.2.7:8080");
    }
}
