//! nginx, Caddy and HAProxy in front of the relay, each with its configuration from
//! docs/proxies.md: streams, server-sent events and WebSockets pass through, at the root and below
//! a path, and the relay knows the clients' addresses.

use super::{shares::connect, *};

const DOCS: &str = include_str!("../../docs/proxies.md");
/// The client of the proxy.
const VIEWER: [u8; 4] = [127, 0, 0, 2];

/// Returns the configuration of a proxy in the documentation.
fn example(language: &str) -> &'static str {
    let block = DOCS.split(&format!("```{language}\n")).nth(1).and_then(|rest| rest.split("```").next());
    block.unwrap_or_else(|| panic!("no block of {language}"))
}

/// Replaces texts, each of which must occur.
fn with(text: &str, changes: &[(&str, &str)]) -> String {
    changes.iter().fold(text.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "no {from:?} in {text}");
        text.replace(from, to)
    })
}

/// Starts a proxy on this port, in front of this relay.
fn start(program: &str, config: &str, folder: &std::path::Path) -> Running {
    let file = folder.join("config");
    std::fs::write(&file, config).expect("write");
    let mut command = Command::new(program);
    match program {
        "nginx" => command.arg("-p").arg(folder).args(["-e", "stderr", "-c"]).arg(&file),
        "caddy" => command.args(["run", "--adapter", "caddyfile", "--config"]).arg(&file),
        _ => command.args(["-db", "-f"]).arg(&file),
    };
    command.env("HOME", folder).env("XDG_DATA_HOME", folder).env("XDG_CONFIG_HOME", folder);
    Running::start(command)
}

/// Reads until this text has arrived.
fn read_until(stream: &mut TcpStream, text: &str) -> String {
    let (mut read, mut bytes) = (Vec::new(), [0; 4096]);
    while !String::from_utf8_lossy(&read).contains(text) {
        let more = stream.read(&mut bytes).unwrap_or_else(|error| {
            panic!("{error} before {text:?} in {:?}", String::from_utf8_lossy(&read))
        });
        assert!(more > 0, "an end before {text:?} in {:?}", String::from_utf8_lossy(&read));
        read.extend_from_slice(&bytes[..more]);
    }
    String::from_utf8_lossy(&read).into_owned()
}

/// Checks what a viewer behind the proxy gets, below this path.
fn check(proxy: &str, configure: impl Fn(u16, SocketAddr) -> String, base: &str) {
    if !have(proxy) {
        return;
    }
    let (group, channel) = (group(), free_port());
    let relay = serve(&format!(
        "trusted_proxies = [\"127.0.0.1\"]\nbase = \"{base}/\"\n[[channel]]\nname = \"a\"\nformat = \"native\"\n\
         input = \"udp://@{group}:{channel}?if=127.0.0.1\"\n[[channel]]\nname = \"b\"\nformat = \"ts\"\n\
         input = \"udp://@{group}:{}?if=127.0.0.1\"",
        free_port()
    ));
    let folder = tempfile::tempdir().expect("folder");
    let port = free_port();
    let at = SocketAddr::from(([127, 0, 0, 1], port));
    let _proxy = start(proxy, &configure(port, relay.http), folder.path());
    until("the proxy listens", || TcpStream::connect(at).is_ok());
    let ask = |path: &str, lines: &str| {
        let mut stream = connect(VIEWER, at);
        let request =
            format!("GET {base}{path} HTTP/1.1\r\nHost: {at}\r\nX-Forwarded-For: 6.6.6.6\r\n{lines}\r\n");
        stream.write_all(request.as_bytes()).expect("write");
        stream
    };
    assert!(read_until(&mut ask("/healthz", ""), "ok\n").starts_with("HTTP/1.1 200"), "{proxy}");

    // The URL as typed by the viewer, below the path.
    let playlist = read_until(&mut ask("/playlist.m3u", ""), &format!("http://{at}{base}/streams/b\n"));
    assert!(playlist.starts_with("HTTP/1.1 200"), "{playlist}");
    let page = read_until(&mut ask("/", "Accept: text/html\r\n"), "</html>");
    let file =
        page.split("\"page/").nth(1).and_then(|rest| rest.split('"').next()).expect("a file of the page");
    assert!(read_until(&mut ask(&format!("/page/{file}"), ""), "\r\n\r\n").starts_with("HTTP/1.1 200"));

    let producer = Producer::new(group, channel);
    producer.send(0, b"\"first\"");
    let mut events = ask("/sse/a", "");
    let mut socket = ask(
        "/ws/a?format=json",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    );
    let mut stream = ask("/streams/a", "");
    let head = read_until(&mut stream, "\r\n\r\n");
    assert!(head.contains(" 200 OK\r\n"), "{proxy}: {head}"); // HAProxy keeps HTTP/1.0
    assert!(read_until(&mut events, "first").contains(" 200 OK\r\n"), "{proxy}");
    assert!(read_until(&mut socket, "first").starts_with("HTTP/1.1 101"), "{proxy}");
    until("three clients", || {
        get(relay.http, "/api/v1/streams/a/clients").2.matches("127.0.0.2").count() == 3
    });
    // Each packet arrives separately: nothing waits for further data.
    for number in 1..4 {
        let payload = format!("\"number {number}\"");
        producer.send(number, payload.as_bytes());
        read_until(&mut stream, &payload);
        read_until(&mut events, &format!("number {number}"));
        read_until(&mut socket, &format!("number {number}"));
    }
    let clients = get(relay.http, "/api/v1/streams/a/clients").2;
    assert!(!clients.contains("6.6.6.6"), "{clients}");
}

fn nginx(location: &str) -> impl Fn(u16, SocketAddr) -> String {
    move |port, relay| {
        let server = with(
            example("nginx"),
            &[
                ("listen 80;", &format!("listen 127.0.0.1:{port};")),
                ("127.0.0.1:8080", &relay.to_string()),
                ("location / {", location),
            ],
        );
        format!(
            "daemon off; master_process off; pid nginx.pid; events {{}}\nhttp {{\naccess_log off;\n\
             client_body_temp_path b; proxy_temp_path p; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;\n{server}}}"
        )
    }
}

#[test]
fn nginx_passes_everything_on() {
    check("nginx", nginx("location / {"), "");
    check("nginx", nginx("location /tv/ {"), "/tv");
}

fn caddy(proxy: &'static str) -> impl Fn(u16, SocketAddr) -> String {
    move |port, relay| {
        let site = with(
            example("caddy"),
            &[
                ("tv.example {", &format!("http://127.0.0.1:{port} {{")),
                ("reverse_proxy 127.0.0.1:8080", proxy),
            ],
        );
        format!("{{\nadmin off\n}}\n{}", with(&site, &[("127.0.0.1:8080", &relay.to_string())]))
    }
}

#[test]
fn caddy_passes_everything_on() {
    check("caddy", caddy("reverse_proxy 127.0.0.1:8080"), "");
    check("caddy", caddy("handle /tv/* {\nreverse_proxy 127.0.0.1:8080\n}"), "/tv");
    check("caddy", caddy("handle_path /tv/* {\nreverse_proxy 127.0.0.1:8080\n}"), "/tv");
}

fn haproxy(backend: &'static str) -> impl Fn(u16, SocketAddr) -> String {
    move |port, relay| {
        let changes = [
            ("bind :80", format!("bind 127.0.0.1:{port}")),
            ("127.0.0.1:8080", relay.to_string()),
            ("default_backend relay", backend.to_owned()),
        ];
        let changes: Vec<(&str, &str)> = changes.iter().map(|(from, to)| (*from, to.as_str())).collect();
        with(example("haproxy"), &changes)
    }
}

#[test]
fn haproxy_passes_everything_on() {
    check("haproxy", haproxy("default_backend relay"), "");
    check("haproxy", haproxy("use_backend relay if { path_beg /tv/ }"), "/tv");
}
