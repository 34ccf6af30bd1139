//! The number of places per host. 127.0.0.1 is the relay's own host, which has no share; all other
//! addresses of 127.0.0.0/8 count as other hosts.

use socket2::{Domain, SockAddr, Socket, Type};

use super::*;

/// Connects from this address, which stands for a host.
pub(super) fn connect(from: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("socket");
    socket.bind(&SockAddr::from(SocketAddr::from((from, 0)))).expect("bind");
    socket.connect(&to.into()).expect("connect");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
    stream
}

fn ask_from(from: [u8; 4], to: SocketAddr, lines: &str) -> Answer {
    let mut stream = connect(from, to);
    // The request may be refused before it is read.
    let _ = stream.write_all(lines.as_bytes());
    read_head(stream)
}

fn get_from(from: [u8; 4], to: SocketAddr, path: &str) -> Answer {
    ask_from(from, to, &format!("GET {path} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n\r\n"))
}

fn refused(http: SocketAddr, resource: &str, reason: &str) -> f64 {
    let name = format!("tidecast_refused_total{{resource=\"{resource}\",reason=\"{reason}\"}}");
    series(http)[&name]
}

const FOE: [u8; 4] = [127, 0, 0, 2];
const FRIEND: [u8; 4] = [127, 0, 0, 3];

#[test]
fn a_host_has_a_quarter_of_the_streams() {
    let relay = serve("clients_max = 8\nlinger = \"0s\"");
    let path = format!("/udp/{}:{}", group(), free_port());
    let taken: Vec<Answer> = (0..2).map(|_| get_from(FOE, relay.http, &path)).collect();
    assert!(taken.iter().all(|answer| answer.status == 200));
    let third = get_from(FOE, relay.http, &path);
    assert_eq!((third.status, third.header("retry-after")), (503, Some("5")));
    assert!(third.body().starts_with("127.0.0.2 has 2 of 8 streams already, the share of one address"));
    assert_eq!(get_from(FRIEND, relay.http, &path).status, 200);
    let own: Vec<Answer> = (0..5).map(|_| open(relay.http, &path)).collect();
    assert_eq!(own.len(), 5);
    assert_eq!(refused(relay.http, "streams", "share"), 1.0);
    drop(taken);
    until("there is room again", || get_from(FOE, relay.http, &path).status == 200);
}

#[test]
fn a_host_that_opens_connections_shuts_nobody_out() {
    let relay = serve("clients_max = 36");
    let mut idle: Vec<TcpStream> = (0..25).map(|_| connect(FOE, relay.http)).collect();
    let over = get_from(FOE, relay.http, "/healthz");
    assert_eq!(over.status, 503);
    assert!(over.body().starts_with("127.0.0.2 has 25 of 100 connections already"));
    // Three more hosts: then the remaining places are for this one.
    for host in 4..7 {
        idle.extend((0..25).map(|_| connect([127, 0, 0, host], relay.http)));
    }
    let friend = get_from(FRIEND, relay.http, "/healthz");
    assert_eq!(friend.status, 503);
    assert!(friend.body().starts_with("100 connections are open already"));
    assert_eq!(get(relay.http, "/healthz").0, 200);
    assert!(refused(relay.http, "connections", "share") >= 1.0);
    assert!(refused(relay.http, "connections", "full") >= 1.0);
    drop(idle);
    until("there is room again", || get_from(FRIEND, relay.http, "/healthz").status == 200);
}

#[test]
fn a_host_has_a_quarter_of_the_pages_and_groups() {
    let relay = serve("clients_max = 2000\nlinger = \"0s\"\n[shares]\ngroups = 1");
    let pages: Vec<Answer> = (0..8).map(|_| get_from(FOE, relay.http, "/api/v1/live")).collect();
    assert!(pages.iter().all(|page| page.status == 200));
    assert!(
        get_from(FOE, relay.http, "/api/v1/live").body().starts_with("127.0.0.2 has 8 of 32 pages already")
    );
    assert_eq!(get_from(FRIEND, relay.http, "/api/v1/live").status, 200);
    let (group, port) = (group(), free_port());
    let path = |n: u16| format!("/udp/{group}:{}", port.wrapping_add(n).max(1024));
    let joined: Vec<Answer> = (0..11).map(|n| get_from(FOE, relay.http, &path(n))).collect();
    assert!(joined.iter().all(|answer| answer.status == 200));
    let over = get_from(FOE, relay.http, &path(20));
    assert_eq!(over.status, 503);
    assert!(over.body().starts_with("127.0.0.2 has 11 of 1024 groups on demand already"));
    assert_eq!(get_from(FOE, relay.http, &path(3)).status, 200, "it is joined already");
    assert_eq!(get_from(FRIEND, relay.http, &path(20)).status, 200);
}

/// A client that changes channels holds the previous ones for a while, and must not be refused
/// because of them.
#[test]
fn groups_that_only_linger_make_room() {
    let relay = serve("linger = \"1h\"\n[shares]\ngroups = 1");
    let (group, port) = (group(), free_port());
    for n in 0..30 {
        let path = format!("/udp/{group}:{}", port.wrapping_add(n).max(1024));
        until("another group", || get_from(FOE, relay.http, &path).status == 200);
    }
    let channels = state(relay.http)["channels"].as_array().expect("channels").len();
    assert!((11..=12).contains(&channels), "{channels}");
}

/// A group that others watch counts for them, and not for the client that started it.
#[test]
fn a_group_counts_for_one_who_watches_it() {
    let relay = serve("linger = \"0s\"\n[shares]\ngroups = 1");
    let (group, port) = (group(), free_port());
    let path = |n: u16| format!("/udp/{group}:{}", port.wrapping_add(n).max(1024));
    let mut friends = Vec::new();
    for n in 0..11 {
        let first = get_from(FOE, relay.http, &path(n));
        friends.push(get_from(FRIEND, relay.http, &path(n)));
        drop(first);
    }
    until("the groups are the others'", || get_from(FOE, relay.http, &path(40)).status == 200);
    // Clients that closed their sending side may continue to receive for a while.
    until("all of them are", || get_from(FRIEND, relay.http, &path(50)).status == 503);
}

#[test]
fn a_host_has_a_quarter_of_the_tcp_clients() {
    let port = free_port();
    let relay = serve(&format!("[tcp]\nlisten = \"127.0.0.1:{port}\"\nclients_max = 4"));
    let to = SocketAddr::from(([127, 0, 0, 1], port));
    let ask = |mut stream: &TcpStream| {
        let _ = stream.write_all(b"LIST\n"); // refused before, perhaps
        let mut answer = [0; 64];
        let bytes = stream.read(&mut answer).unwrap_or_default();
        String::from_utf8_lossy(&answer[..bytes]).into_owned()
    };
    let first = connect(FOE, to);
    assert_eq!(ask(&first), "OK []\n");
    assert!(ask(&connect(FOE, to)).starts_with("ERR 127.0.0.2 has 1 of 4 TCP clients already"));
    assert_eq!(ask(&connect(FRIEND, to)), "OK []\n");
    assert_eq!(refused(relay.http, "tcp", "share"), 1.0);
}

/// As behind a proxy on this host: each client counts separately, and the proxy's connections
/// carry requests of all clients.
#[test]
fn behind_a_trusted_proxy_clients_count_by_the_address_that_it_names() {
    let relay = serve("clients_max = 8\ntrusted_proxies = [\"127.0.0.1\"]\nlinger = \"0s\"");
    let path = format!("/udp/{}:{}", group(), free_port());
    let via = |client: &str| {
        let lines =
            format!("GET {path} HTTP/1.1\r\nHost: {}\r\nX-Forwarded-For: {client}\r\n\r\n", relay.http);
        ask(relay.http, &lines)
    };
    let taken: Vec<Answer> = (0..2).map(|_| via("192.0.2.1")).collect();
    assert!(taken.iter().all(|answer| answer.status == 200));
    assert!(via("192.0.2.1").body().starts_with("192.0.2.1 has 2 of 8 streams already"));
    assert_eq!(via("6.6.6.6, 192.0.2.1").status, 503);
    let other = via("192.0.2.2");
    assert_eq!(other.status, 200);
    let name = path.replace("/udp/", "udp-").replace(':', "-");
    let clients = get(relay.http, &format!("/api/v1/streams/{name}/clients")).2;
    assert!(clients.contains("\"192.0.2.1\"") && clients.contains("\"192.0.2.2\""), "{clients}");
}

/// A proxy reuses a connection for other clients: the connection counts for the client whose
/// request it carries.
#[test]
fn a_connection_of_a_proxy_counts_for_whom_it_serves() {
    let relay = serve("clients_max = 36\ntrusted_proxies = [\"127.0.0.1\"]");
    let lines = |client: &str| {
        format!("GET /healthz HTTP/1.1\r\nHost: {}\r\nX-Forwarded-For: {client}\r\n\r\n", relay.http)
    };
    let open: Vec<Answer> = (0..25).map(|_| ask(relay.http, &lines("192.0.2.1"))).collect();
    assert!(open.iter().all(|answer| answer.status == 200));
    let over = ask(relay.http, &lines("192.0.2.1"));
    assert_eq!((over.status, over.header("connection")), (503, Some("close")));
    let mut moved = ask(relay.http, &lines("192.0.2.2"));
    moved.stream.write_all(lines("192.0.2.3").as_bytes()).expect("write");
    assert_eq!(get(relay.http, "/healthz").0, 200);
}

#[test]
fn the_operator_has_a_port_of_its_own() {
    let (admin, channel) = (free_port(), free_port());
    let relay = serve(&format!(
        "admin = \"127.0.0.1:{admin}\"\n[[channel]]\nname = \"a\"\ninput = \"udp://@{}:{channel}?if=127.0.0.1\"",
        group()
    ));
    let admin = SocketAddr::from(([127, 0, 0, 1], admin));
    let browser = |to: SocketAddr| {
        ask(to, &format!("GET / HTTP/1.1\r\nHost: {to}\r\nAccept: text/html\r\nConnection: close\r\n\r\n"))
    };
    let page = browser(admin);
    assert_eq!(page.status, 200);
    let body = page.body();
    assert!(body.contains("<html"), "{body}");
    let file =
        body.split("page/").nth(1).and_then(|rest| rest.split('"').next()).expect("a file of the page");
    let operators =
        ["/metrics", "/api/v1/streams", "/api/v1/channels", "/api/v1/live", &format!("/page/{file}")];
    for path in operators {
        assert_eq!(request(admin, "GET", path).status, 200, "{path}");
        let refused = request(relay.http, "GET", path);
        assert_eq!(refused.status, 404, "{path}");
        assert!(refused.body().contains("is not served at this port"), "{path}");
    }
    for path in ["/healthz", "/readyz", "/playlist.m3u"] {
        assert_eq!(request(admin, "GET", path).status, 200, "{path}");
        assert_eq!(request(relay.http, "GET", path).status, 200, "{path}");
    }
    assert_eq!(request(relay.http, "GET", "/streams/a").status, 200);
    assert_eq!(request(admin, "GET", "/streams/a").status, 200);
    let public = browser(relay.http).body();
    assert!(!public.contains("<html") && !public.contains("/api/") && !public.contains("udp://"), "{public}");
    // The limit of streams does not exclude the operator.
    assert!(relay.running.stderr().contains(&format!("; admin: http://{admin}")));
}

#[test]
fn below_a_base_everything_is_there_and_the_playlist_says_it() {
    let channel = free_port();
    let relay = serve(&format!(
        "base = \"/tv/\"\ntrusted_proxies = \"127.0.0.1\"\n[[channel]]\nname = \"a\"\nformat = \"ts\"\ninput = \"udp://@{}:{channel}?if=127.0.0.1\"",
        group()
    ));
    for path in ["/healthz", "/streams/a", "/metrics", "/api/v1/streams", "/sse/a"] {
        assert_eq!(request(relay.http, "GET", &format!("/tv{path}")).status, 200, "{path}");
        assert_eq!(request(relay.http, "GET", path).status, 200, "{path}: a proxy has taken it off");
    }
    for path in ["/tvx/healthz", "/tvhealthz", "/TV/healthz"] {
        assert_eq!(request(relay.http, "GET", path).status, 404, "{path}");
    }
    let moved = request(relay.http, "GET", "/tv");
    assert_eq!((moved.status, moved.header("location")), (308, Some("/tv/")));
    let lines = "GET /tv/playlist.m3u HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nX-Forwarded-For: 192.0.2.1\r\n\
                 X-Forwarded-Proto: https\r\nX-Forwarded-Host: tv.example:8443\r\nConnection: close\r\n\r\n";
    let playlist = ask(relay.http, lines).body();
    assert!(playlist.contains("\nhttps://tv.example:8443/tv/streams/a\n"), "{playlist}");
    let old = ask(relay.http, "GET /playlist.m3u HTTP/1.0\r\n\r\n").body();
    assert!(old.contains(&format!("\nhttp://{}/tv/streams/a\n", relay.http)), "{old}");
}
