//! Start and end of connections: offers of other protocols, clients that close their side,
//! WebSocket errors, Socket.IO sessions that are no longer used.

use std::net::Shutdown;

use super::*;

/// Headers that Java's HttpClient sends, and curl with `--http2`.
const H2C: &str = "Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\nUpgrade: h2c\r\n";

fn ask_with(http: SocketAddr, path: &str, headers: &str) -> Answer {
    ask(http, &format!("GET {path} HTTP/1.1\r\nHost: {http}\r\n{headers}\r\n"))
}

/// Sends numbered packets of eight bytes, starting at 0, until it is dropped.
struct Stream {
    over: Arc<std::sync::atomic::AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Stream {
    fn start(group: Ipv4Addr, port: u16) -> Stream {
        let over = Arc::<std::sync::atomic::AtomicBool>::default();
        let end = over.clone();
        let thread = thread::spawn(move || {
            let producer = Producer::new(group, port);
            for n in 0u64.. {
                if end.load(std::sync::atomic::Ordering::Relaxed) {
                    return;
                }
                producer.send(n, &n.to_be_bytes());
                thread::sleep(Duration::from_millis(10));
            }
        });
        Stream { over, thread: Some(thread) }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.over.store(true, std::sync::atomic::Ordering::Relaxed);
        let _ = self.thread.take().map(thread::JoinHandle::join);
    }
}

#[test]
fn an_offer_of_another_protocol_is_ignored() {
    let (group, port) = (group(), free_port());
    let relay = serve("");
    let _stream = Stream::start(group, port);
    let path = format!("/udp/{group}:{port}");
    for offer in
        [H2C, "Connection: Upgrade\r\nUpgrade: foo/1\r\n", "Connection: upgrade\r\nUpgrade: websocket\r\n"]
    {
        let mut answer = ask_with(relay.http, &path, offer);
        assert_eq!(answer.status, 200, "{offer}");
        let first = answer.read(16);
        assert_eq!(first[7] + 1, first[15], "{offer}: {first:?}");
        let answer = ask_with(relay.http, "/healthz", &format!("{offer}Connection: close\r\n"));
        assert_eq!((answer.status, answer.body().as_str()), (200, "ok\n"), "{offer}");
    }
    let url = format!("http://{}{path}", relay.http);
    if have("curl") {
        // The timeout ends it.
        let output = Command::new("curl").args(["-s", "-m", "2", "--http2", &url]).output().expect("curl");
        assert!(output.stdout.len() > 80, "{} bytes", output.stdout.len());
    }
    // Java is not a required peer, because its request is tested above.
    let player = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/http/Player.java");
    if let Ok(output) = Command::new("java").args([player, &url, "80"]).output() {
        assert_eq!(output.stdout.len(), 80, "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn a_client_that_closes_its_side_gets_its_answer_and_its_stream() {
    let (group, port) = (group(), free_port());
    let relay = serve(&channel());
    let half = |path: &str| {
        let mut stream = TcpStream::connect(relay.http).expect("connect");
        stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", relay.http).expect("write");
        stream.shutdown(Shutdown::Write).expect("shut down");
        read_head(stream)
    };
    assert_eq!(half("/healthz").body(), "ok\n");
    assert!(half("/metrics").body().contains("tidecast_"));
    let mut answer = half(&format!("/udp/{group}:{port}"));
    let stream = Stream::start(group, port);
    assert_eq!(answer.read(800)[792..], 99u64.to_be_bytes());
    let clients = || state(relay.http)["clients"].as_u64();
    assert_eq!(clients(), Some(1));
    drop(answer);
    until("its place is free", || clients() == Some(0));
    // A client that is gone is detected by a failed write, or when its stream is silent.
    drop(stream);
    let events = half("/sse/a");
    assert_eq!((events.status, clients()), (200, Some(1)));
    drop(events);
    until("its place is free", || clients() == Some(0));
}

/// A silent channel.
fn channel() -> String {
    format!("[[channel]]\nname = \"a\"\ninput = \"udp://@{}:{}?if=127.0.0.1\"", group(), free_port())
}

/// Returns a frame of a client, masked with zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = match payload.len() {
        short @ ..126 => vec![0x80 | short as u8],
        long => [&[0xfe][..], &(long as u16).to_be_bytes()].concat(),
    };
    [&[first][..], &length, &[0; 4], payload].concat()
}

#[test]
fn a_websocket_that_errs_is_closed_with_the_code_that_says_why() {
    let relay = serve(&channel());
    let key = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let cases: [(&str, Vec<u8>, u16); 9] = [
        ("not masked", vec![0x81, 1, b'x'], 1002),
        ("opcode 3", frame(0x83, b""), 1002),
        ("a bit of an extension", frame(0xc1, b"x"), 1002),
        ("a long ping", frame(0x89, &[b'p'; 126]), 1002),
        ("no UTF-8", frame(0x81, b"\xff\xfe"), 1007),
        ("a long message", frame(0x82, &[0; 5000]), 1009),
        ("long in pieces", [frame(0x02, &[0; 3000]), frame(0x80, &[0; 3000])].concat(), 1009),
        ("a close with half a code", frame(0x88, &[3]), 1002),
        ("a close", frame(0x88, &1000u16.to_be_bytes()), 1000),
    ];
    for (what, bytes, code) in cases {
        let mut answer = ask_with(relay.http, "/ws/a?format=json", key);
        assert_eq!(answer.status, 101);
        answer.stream.write_all(&bytes).expect("write");
        let mut rest = Vec::new();
        answer.stream.read_to_end(&mut rest).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(rest, [&[0x88, 2], &code.to_be_bytes()[..]].concat(), "{what}: one close frame");
    }
    // The relay also ends the connection with one close frame.
    let mut relay = relay;
    let mut answer = ask_with(relay.http, "/ws/a?format=json", key);
    relay.running.signal("TERM");
    let mut rest = Vec::new();
    answer.stream.read_to_end(&mut rest).expect("the end");
    assert_eq!(rest, [&[0x88, 2], &1001u16.to_be_bytes()[..]].concat());
    assert!(relay.running.wait().success());
}

#[test]
fn sessions_of_socket_io_take_places_and_bodies_must_come() {
    let relay = serve("clients_max = 2\nheader_timeout = \"2s\"");
    let open = || request(relay.http, "GET", "/socket.io/?EIO=4&transport=polling");
    let sessions: Vec<String> = (0..2)
        .map(|_| {
            let answer = open();
            assert_eq!(answer.status, 200);
            let body = answer.body();
            body.split("\"sid\":\"").nth(1).and_then(|rest| rest.split('"').next()).expect(&body).to_owned()
        })
        .collect();
    let refused = open();
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("5")));
    assert!(refused.body().starts_with("2 clients are served already"));
    assert_eq!(state(relay.http)["clients"], 2);
    let post = |session: &str, length: usize, body: &str| {
        let path = format!("/socket.io/?EIO=4&transport=polling&sid={session}");
        let head =
            format!("POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: {length}\r\n\r\n", relay.http);
        ask(relay.http, &(head + body))
    };
    // One client connects.
    let poll = || {
        request(relay.http, "GET", &format!("/socket.io/?EIO=4&transport=polling&sid={}", sessions[1])).body()
    };
    assert_eq!(post(&sessions[1], 2, "40").status, 200);
    let mut told = String::new();
    crate::common::until("the connection", || {
        told += &poll();
        told.contains("40{").then_some(())
    });
    // The other one closes: its place is free by the time at which it would have had to connect.
    assert_eq!(post(&sessions[0], 1, "1").status, 200);
    until("its place is free", || state(relay.http)["clients"] == 1);
    let start = now();
    let late = post(&sessions[1], 2, "4");
    assert_eq!(late.status, 408);
    assert_eq!(late.body(), "the body did not come: expected all of it within 2s\n");
    assert!(start.elapsed() < PATIENCE);
    let long = post(&sessions[1], 5000, &"4".repeat(5000));
    assert!(long.status == 413 && long.body().contains("expected a body of at most 4096 bytes"));
    // The first one disconnects, and connects again when it knows that this was done, which is
    // refused. Before, it would count as connected still, and the request would be ignored.
    assert_eq!(post(&sessions[1], 2, "41").status, 200);
    crate::common::until("the end of the connection", || {
        poll().split('\x1e').any(|packet| packet == "41").then_some(())
    });
    assert_eq!(post(&sessions[1], 2, "40").status, 200);
    crate::common::until("the refusal", || {
        let refused = told.contains("44{");
        if !refused {
            told += &poll();
        }
        refused.then_some(())
    });
    assert!(told.contains("this session has connected before"), "{told}");
}

/// SIGHUP, as from a terminal that is closed.
#[test]
fn a_hangup_ends_it_as_cleanly_as_a_request_to_end() {
    let mut relay = Running::tidecast(["serve", "--http", "127.0.0.1:0"]);
    relay.signal("HUP");
    assert!(relay.wait().success());
    let mut command = Command::new("nohup");
    command.args([env!("CARGO_BIN_EXE_tidecast"), "serve", "--http", "127.0.0.1:0"]);
    let mut relay = Running::start(command);
    relay.wait_for_line("tidecast: ready");
    relay.signal("HUP");
    thread::sleep(Duration::from_millis(300));
    assert!(relay.child.try_wait().expect("wait").is_none(), "nohup keeps it");
    relay.stop();
}

#[test]
fn requests_under_other_names_and_across_sites_are_refused() {
    let relay = serve("hosts = [\"tv.example\"]\norigins = [\"https://dash.example\"]");
    let asked = |request: &str| {
        let answer = ask(relay.http, request);
        (answer.status, answer.body())
    };
    let get = |path: &str, headers: &str| {
        asked(&format!("GET {path} HTTP/1.1\r\nConnection: close\r\n{headers}\r\n"))
    };
    let evil = get("/api/v1/channels", "Host: evil.example\r\nOrigin: http://evil.example\r\n");
    assert_eq!(evil.0, 421);
    assert!(
        evil.1.starts_with("\"evil.example\" is no name of this relay: expected its address")
            && evil.1.contains("`--host evil.example`"),
        "{}",
        evil.1
    );
    for ours in ["127.0.0.1", "[::1]:8080", "localhost:1", "tidecast", "tv.example:80", "TV.EXAMPLE."] {
        assert_eq!(get("/api/v1/channels", &format!("Host: {ours}\r\n")).0, 200, "{ours}");
    }
    assert_eq!(get("/healthz", "Host: evil.example\r\n").0, 200, "it says nothing that is worth anything");
    assert_eq!(get("/healthz", ""), (400, "0 Host headers: expected one\n".to_owned()));
    assert_eq!(get("/healthz", "Host: a\r\nHost: a\r\n"), (400, "2 Host headers: expected one\n".to_owned()));
    assert_eq!(get("/", "Host: a@b\r\n").0, 400);
    assert_eq!(get("http://evil.example/", "Host: localhost\r\n").0, 421, "the first line counts more");
    assert_eq!(asked("GET /readyz HTTP/1.0\r\n\r\n").0, 200);
    let cross = "Host: localhost\r\nSec-Fetch-Site: cross-site\r\n";
    let group = format!("/udp/{}:{}", group(), free_port());
    for path in [&group, "/api/v1/channels", "/metrics", "/socket.io/?EIO=4&transport=polling"] {
        let (status, said) = get(path, cross);
        assert!(status == 403 && said.contains("asks across sites"), "{path}: {status} {said}");
    }
    assert_eq!(
        memberships(group[5..].split(':').next().and_then(|group| group.parse().ok()).expect("a group")),
        0
    );
    assert_eq!(get("/metrics", &format!("{cross}Origin: https://dash.example\r\n")).0, 200);
    let link = format!("{cross}Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n");
    assert_eq!((get("/", &link).0, get(&group, &link).0), (200, 403));
}
