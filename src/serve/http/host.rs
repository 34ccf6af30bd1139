//! Decides which requests are meant for this relay. A page of another site can make its visitor's
//! browser send requests that only the visitor can send: under a name of its own that it resolves
//! to the relay's address (DNS rebinding), or across sites, where the page cannot read the answer
//! but can make the relay join groups. So the host name must be one of the relay's, and browsers
//! say where a request comes from (`Sec-Fetch-Site`, Fetch Metadata). Programs and players do not
//! send that header, and are served.

use std::{fs, net::IpAddr};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, Method, Version, header, uri::Authority},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{App, path, refusal::Refusal, via::Via};
use crate::config;

/// Names of this machine in lower case, in addition to all names without a dot.
#[derive(Debug, Default)]
pub(super) struct Names(Vec<String>);

/// Paths that join groups or open sessions.
const STREAMS: [&str; 6] = ["/udp/", "/rtp/", "/streams/", "/sse/", "/ws/", path::SOCKET_IO];

impl Names {
    /// The names of the machine: its host name, with the DNS search domains and as `.local`, and
    /// those in its hosts file.
    pub(super) fn of_machine() -> Names {
        let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
        Names::new(&read("/proc/sys/kernel/hostname"), &read("/etc/resolv.conf"), &read("/etc/hosts"))
    }

    fn new(hostname: &str, resolv: &str, hosts: &str) -> Names {
        let hostname = hostname.trim().to_lowercase();
        let short = hostname.split('.').next().unwrap_or_default();
        let mut names = vec![format!("{short}.local")];
        for line in resolv.lines() {
            let mut words = line.split_whitespace();
            if matches!(words.next(), Some("search" | "domain")) {
                names.extend(
                    words.map(|domain| format!("{short}.{}", domain.trim_matches('.').to_lowercase())),
                );
            }
        }
        for line in hosts.lines() {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            let address = words.next().and_then(|word| word.parse::<IpAddr>().ok());
            if address.is_some_and(|address| address.is_loopback()) {
                names.extend(words.map(str::to_lowercase));
            }
        }
        names.push(hostname);
        Names(names)
    }

    /// Whether the host in a URL is this relay's: an address, a name without a dot (no site on the
    /// internet has one), a name of the machine, or one that the operator names.
    fn admit(&self, host: &str, config: &config::Http) -> bool {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let bare = bare.split('%').next().unwrap_or(bare); // removes the zone of a link-local address
        if bare.parse::<IpAddr>().is_ok() {
            return true;
        }
        let name = host.strip_suffix('.').unwrap_or(host).to_lowercase();
        !name.contains('.')
            || name.ends_with(".localhost")
            || self.0.contains(&name)
            || config.hosts.iter().any(|known| known.is(&name))
    }
}

/// Passes on requests that are meant for this relay, and refuses others.
pub(super) async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    match check(&app, &request) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

fn check(app: &App, request: &Request) -> Result<(), Refusal> {
    let headers = request.headers();
    let named: Vec<_> = headers.get_all(header::HOST).iter().collect();
    // RFC 9112, section 3.2.
    if named.len() > 1 || (named.is_empty() && request.version() == Version::HTTP_11) {
        return Err(Refusal::Malformed(format!("{} Host headers: expected one", named.len())));
    }
    let named = named.first().map(|host| host.to_str().unwrap_or_default());
    // The authority in the request line takes precedence.
    let authority = match (request.uri().authority(), named) {
        (Some(authority), _) => Some(authority.clone()),
        (None, Some("") | None) => None,
        (None, Some(text)) => {
            Some(text.parse::<Authority>().ok().filter(|_| !text.contains('@')).ok_or_else(|| {
                Refusal::Malformed(format!(
                    "Host {text:?}: expected a name or an address, and perhaps a port"
                ))
            })?)
        }
    };
    // Its answer is public.
    if request.uri().path() == "/healthz" {
        return Ok(());
    }
    // A trusted proxy has already checked the name.
    let via_proxy = request.extensions().get::<Via>().is_some_and(|via| via.trusted);
    if let Some(authority) = &authority
        && !via_proxy
        && !app.names.admit(authority.host(), &app.config)
    {
        let host = authority.host();
        return Err(Refusal::Misdirected(format!(
            "{host:?} is no name of this relay: expected its address, localhost or the machine's name (the operator allows more with `--host {host}` or hosts in [http])"
        )));
    }
    own_page(request.method(), request.uri().path(), headers)?;
    across(&app.config, request.method(), request.uri().path(), headers)
}

/// Checks a request that changes something: unlike reading, it is never allowed to pages of other
/// origins, be they admitted. Programs send neither header. Socket.IO posts have rules of their
/// own.
fn own_page(method: &Method, path: &str, headers: &HeaderMap) -> Result<(), Refusal> {
    if method.is_safe() || path.starts_with(path::SOCKET_IO) {
        return Ok(());
    }
    let text = |name: header::HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let site = text(header::HeaderName::from_static("sec-fetch-site"));
    let (origin, host) = (text(header::ORIGIN), text(header::HOST));
    let own_site = matches!(site, None | Some("same-origin" | "none"));
    let own_origin = origin
        .is_none_or(|origin| origin.split_once("://").is_some_and(|(_, authority)| host == Some(authority)));
    if own_site && own_origin {
        return Ok(());
    }
    let from = origin.unwrap_or("another origin");
    Err(Refusal::Forbidden(format!(
        "a page of {from} asks for a change: expected one of this relay's own pages, or a program"
    )))
}

/// Checks a request caused by a page of another site. A link to a page that only shows something
/// is allowed; everything else needs an allowed origin.
fn across(config: &config::Http, method: &Method, path: &str, headers: &HeaderMap) -> Result<(), Refusal> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if text("sec-fetch-site") != "cross-site" {
        return Ok(());
    }
    let link = text("sec-fetch-mode") == "navigate" && text("sec-fetch-dest") == "document";
    if link && *method == Method::GET && !STREAMS.iter().any(|stream| path.starts_with(stream)) {
        return Ok(());
    }
    // Plain requests, such as those of <video>, carry no Origin, only a Referer.
    let from = match text("origin") {
        "" => origin_of(text("referer")),
        origin => origin,
    };
    if !from.is_empty() && config.admits(from, None) {
        return Ok(());
    }
    let from = if from.is_empty() { "another site" } else { from };
    Err(Refusal::Forbidden(format!(
        "a page of {from} asks across sites: expected one of this relay's own pages (the operator allows more with `--origin` or origins in [http])"
    )))
}

/// `https://dash.example` of `https://dash.example/a?b`
fn origin_of(url: &str) -> &str {
    let Some(start) = url.find("://").map(|place| place + 3) else { return "" };
    let end = url[start..].find('/').map_or(url.len(), |place| start + place);
    &url[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names_of_the_machine_are_ours() {
        let config: config::Config = "http.hosts = [\"tv.example\", \"*.home.example\"]".parse().unwrap();
        let http = config.http.unwrap();
        let hosts =
            "127.0.0.1 localhost\n127.0.1.1 Relay.Corp.example relay # here\n10.0.0.9 other.example\n";
        let names = Names::new("relay\n", "nameserver 10.0.0.1\nsearch lan corp.example.\n", hosts);
        for ours in [
            "127.0.0.1",
            "[::1]",
            "[fe80::1%25eth0]",
            "192.168.1.5",
            "localhost",
            "LOCALHOST",
            "relay",
            "tidecast",
            "relay.local",
            "relay.lan",
            "relay.corp.example",
            "Relay.Corp.Example.",
            "tv.example",
            "a.home.example",
            "a.localhost",
        ] {
            assert!(names.admit(ours, &http), "{ours}");
        }
        for other in
            ["evil.example", "relay.evil.example", "other.example", "home.example", "1.2.3.4.evil.example"]
        {
            assert!(!names.admit(other, &http), "{other}");
        }
    }

    #[test]
    fn only_our_own_pages_and_programs_change_something() {
        let asks = |method: Method, path: &str, headers: &[(&'static str, &str)]| {
            let headers: HeaderMap = headers
                .iter()
                .map(|(name, value)| (header::HeaderName::from_static(name), value.parse().unwrap()))
                .collect();
            own_page(&method, path, &headers).is_ok()
        };
        let (path, host) = ("/api/v1/streams/a/clients/1", ("host", "relay:8080"));
        let own = [host, ("origin", "http://relay:8080"), ("sec-fetch-site", "same-origin")];
        assert!(asks(Method::DELETE, path, &own) && asks(Method::DELETE, path, &[host]), "curl, too");
        assert!(asks(Method::DELETE, path, &[host, ("origin", "https://relay:8080")]), "behind a proxy");
        for other in [
            ("origin", "http://evil.example"),
            ("origin", "http://relay:9090"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            assert!(!asks(Method::DELETE, path, &[host, other]), "{other:?}");
            assert!(!asks(Method::POST, path, &[host, other]), "{other:?}");
            assert!(asks(Method::GET, path, &[host, other]), "left to the other rules: {other:?}");
            assert!(asks(Method::POST, "/socket.io/", &[host, other]), "likewise: {other:?}");
        }
    }

    #[test]
    fn other_sites_follow_links_and_no_more() {
        let config: config::Config = "http.origins = [\"https://dash.example\"]".parse().unwrap();
        let config = config.http.unwrap();
        let asks = |path: &str, headers: &[(&'static str, &str)]| {
            let headers: HeaderMap = headers
                .iter()
                .map(|(name, value)| (header::HeaderName::from_static(name), value.parse().unwrap()))
                .collect();
            across(&config, &Method::GET, path, &headers).is_ok()
        };
        let cross = ("sec-fetch-site", "cross-site");
        let link = [cross, ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
        assert!(asks("/", &link) && asks("/metrics", &link) && !asks("/udp/239.1.1.1:5000", &link));
        assert!(!asks("/api/v1/streams", &[cross]) && !asks("/streams/a", &[cross]) && !asks("/", &[cross]));
        assert!(asks("/streams/a", &[]) && asks("/streams/a", &[("sec-fetch-site", "same-origin")]));
        for admitted in [("origin", "https://dash.example"), ("referer", "https://dash.example/tv?a=b")] {
            assert!(asks("/streams/a", &[cross, admitted]), "{admitted:?}");
        }
        for other in [
            ("origin", "https://evil.example"),
            ("origin", "null"),
            ("referer", "https://evil.example/https://dash.example"),
        ] {
            assert!(!asks("/streams/a", &[cross, other]), "{other:?}");
        }
    }
}
