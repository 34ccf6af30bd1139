//! The HTTP server of the real binary, on `lo`: what it answers, whom it cuts off, how long packets take through it,
//! and whether its counters are right.

mod common;

use std::{
    collections::BTreeMap,
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::unix::net::UnixDatagram,
    process::{Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use common::{PATIENCE, Running, free_port, get, group, have, now, sender, tidecast};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tidecast::wire::native::{Kind, Repr};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::Semaphore,
};

/// A relay with its HTTP server on a free port.
struct Relay {
    running: Running,
    http: SocketAddr,
    _folder: tempfile::TempDir,
}

/// Starts `serve` with this configuration; `[http]` is open and gets the address and the interface.
fn serve(config: &str) -> Relay {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("tidecast.toml");
    let http = "[http]\nlisten = \"127.0.0.1:0\"\ninterface = \"127.0.0.1\"\n";
    std::fs::write(&file, format!("{http}{config}")).expect("write");
    let mut running = Running::tidecast(["serve", "-c", file.to_str().expect("text")]);
    let ready = running.wait_for_line("tidecast: ready");
    let address = ready.split("http://").nth(1).and_then(|rest| rest.split(';').next());
    let http = address.and_then(|address| address.parse().ok()).expect("an address on the ready line");
    Relay { running, http, _folder: folder }
}

/// An answer's head, and the connection for its body.
struct Answer {
    status: u16,
    head: String,
    stream: TcpStream,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The rest, until the server closes.
    fn body(mut self) -> String {
        let mut body = String::new();
        self.stream.read_to_string(&mut body).expect("read");
        body
    }

    fn read(&mut self, bytes: usize) -> Vec<u8> {
        let mut read = vec![0; bytes];
        self.stream.read_exact(&mut read).expect("more of the stream");
        read
    }
}

/// Sends these bytes and reads the head of the answer.
fn ask(http: SocketAddr, request: &str) -> Answer {
    let mut stream = TcpStream::connect(http).expect("connect");
    stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
    stream.write_all(request.as_bytes()).expect("write");
    read_head(stream)
}

fn read_head(mut stream: TcpStream) -> Answer {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a whole head");
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).expect("text");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    Answer { status, head, stream }
}

fn request(http: SocketAddr, method: &str, path: &str) -> Answer {
    ask(http, &format!("{method} {path} HTTP/1.1\r\nHost: {http}\r\nConnection: close\r\n\r\n"))
}

fn open(http: SocketAddr, path: &str) -> Answer {
    let answer = request(http, "GET", path);
    assert_eq!(answer.status, 200, "{path}: {}", answer.head);
    answer
}

/// Sends native datagrams to a group.
struct Producer {
    socket: UdpSocket,
    to: SocketAddr,
    session: u32,
}

impl Producer {
    fn new(group: Ipv4Addr, port: u16) -> Producer {
        Producer { socket: sender(), to: (group, port).into(), session: 1 }
    }

    fn datagram(&self, kind: Kind, sequence: u64, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let (stream, session) = (7, self.session);
        Repr { kind, flags: 0, stream, session, sequence, timestamp: 0, payload }.emit(&mut bytes);
        bytes
    }

    fn send(&self, sequence: u64, payload: &[u8]) {
        self.send_bytes(&self.datagram(Kind::Data, sequence, payload));
    }

    fn send_bytes(&self, bytes: &[u8]) {
        self.socket.send_to(bytes, self.to).expect("send");
    }
}

fn median(mut values: Vec<Duration>) -> Duration {
    values.sort();
    values[values.len() / 2]
}

/// Waits until `check` holds.
fn until(what: &str, check: impl Fn() -> bool) {
    let start = now();
    while !check() {
        assert!(start.elapsed() < PATIENCE, "not in time: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// The series of /metrics.
fn series(http: SocketAddr) -> BTreeMap<String, f64> {
    let (status, head, text) = get(http, "/metrics");
    assert_eq!(status, 200);
    assert!(head.contains("text/plain; version=0.0.4"), "{head}");
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let parsed = lines.map(|line| line.rsplit_once(' ').expect("a value"));
    parsed.map(|(name, value)| (name.to_owned(), value.parse().expect("a number"))).collect()
}

fn state(http: SocketAddr) -> serde_json::Value {
    let (status, head, text) = get(http, "/api/v1/streams");
    assert_eq!(status, 200);
    assert!(head.to_ascii_lowercase().contains("content-type: application/json"), "{head}");
    serde_json::from_str(&text).expect("JSON")
}

/// Sums all series of a metric whose labels contain this text.
fn sum(series: &BTreeMap<String, f64>, metric: &str, label: &str) -> f64 {
    let of = |name: &str| name.starts_with(&format!("{metric}{{")) && name.contains(label);
    series.iter().filter(|(name, _)| of(name)).map(|(_, value)| value).sum()
}

#[test]
fn every_request_gets_its_status_and_one_line_that_says_what_would_be_right() {
    let input = format!("udp://@{}:{}?if=127.0.0.1", group(), free_port());
    let relay = serve(&format!("[[channel]]\nname = \"weather\"\ninput = \"{input}\""));
    for (method, path, status, part) in [
        ("GET", "/", 200, "/streams/weather"),
        ("GET", "/healthz", 200, "ok"),
        ("GET", "/readyz", 200, "ready"),
        ("GET", "/udp/", 400, "as in /udp/239.1.1.1:5000"),
        ("GET", "/udp/239.1.1.1", 400, "no port in \"239.1.1.1\""),
        ("GET", "/udp/239.1.1.1:0", 400, "expected 1 to 65535"),
        ("GET", "/udp/camera:5000", 400, "expected an IPv4 address"),
        ("GET", "/rtp/10.0.0.1@239.1.1.1:x", 400, "as in /rtp/"),
        ("GET", "/udp/239.1.1.1:5000/more", 400, "port"),
        ("GET", "/udp/10.0.0.1:5000", 403, "no multicast group"),
        ("GET", "/udp/127.0.0.1:22", 403, "expected one of 239.0.0.0/8"),
        ("GET", "/rtp/232.1.1.1:5000", 403, "`serve --allow 232.1.1.1`"),
        ("HEAD", "/udp/232.1.1.1:5000", 403, ""),
        ("GET", "/streams/wether", 404, "there is no stream \"wether\": expected weather"),
        ("GET", "/streams/", 404, "expected weather"),
        ("GET", "/stream/weather", 404, "see / for what is here"),
        ("GET", "/../etc/passwd", 404, "nothing"),
        ("POST", "/streams/weather", 405, "expected GET or HEAD"),
        ("DELETE", "/metrics", 405, "expected GET or HEAD"),
        ("PUT", "/udp/239.1.1.1:5000", 405, "expected GET or HEAD"),
        ("GET", "/api/v1/streams?flows=many", 400, "from 0 to"),
        ("GET", "/api/v1/streams?flows=1000000000", 400, "from 0 to"),
        ("GET", "/streams/weather?flow=", 400, "expected a key"),
    ] {
        let answer = request(relay.http, method, path);
        let (got, allow) = (answer.status, answer.header("allow").map(str::to_owned));
        let body = answer.body();
        assert_eq!((got, body.contains(part)), (status, true), "{method} {path}: {body:?}");
        assert_eq!(allow.as_deref(), (status == 405).then_some("GET, HEAD"), "{method} {path}");
        let lines = usize::from(method != "HEAD");
        assert!(status < 400 || body.lines().count() == lines, "{method} {path}: {body:?}");
    }
    let old = ask(relay.http, "GET /healthz HTTP/1.0\r\n\r\n");
    assert!(old.head.starts_with("HTTP/1.0 200"), "{}", old.head);
    assert_eq!(old.body(), "ok\n");
    assert_eq!(ask(relay.http, "NONSENSE\r\n\r\n").status, 400);
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(100_000));
    assert!([414, 431].contains(&ask(relay.http, &long).status));
}

#[test]
fn streams_say_what_they_are_and_end_with_the_connection() {
    let (group, port) = (group(), free_port());
    let input = format!("@{group}:{port}?if=127.0.0.1");
    let relay = serve(&format!(
        "linger = \"0s\"\n[[channel]]\nname = \"rtp\"\ninput = \"rtp://{input}\"\n[[channel]]\nname = \"sensors\"\ninput = \"udp://{input}\""
    ));
    let other = common::group();
    for (path, content_type) in [
        ("/streams/rtp".to_owned(), "video/mp2t"),
        ("/streams/sensors".to_owned(), "application/octet-stream"),
        (format!("/udp/{other}:{port}"), "video/mp2t"),
        (format!("/rtp/@{other}%3A{port}/"), "video/mp2t"),
    ] {
        for method in ["GET", "HEAD"] {
            let answer = request(relay.http, method, &path);
            assert_eq!(answer.status, 200, "{path}");
            assert_eq!(answer.header("content-type"), Some(content_type), "{method} {path}");
            assert_eq!(answer.header("cache-control"), Some("no-store"), "{method} {path}");
            assert_eq!(answer.header("connection"), Some("close"), "{method} {path}");
            assert_eq!(answer.header("content-length"), None, "{method} {path}");
            assert_eq!(answer.header("transfer-encoding"), None, "{method} {path}");
            if method == "HEAD" {
                assert_eq!(answer.body(), "", "{path}");
            }
        }
    }
    until("HEAD and clients that are gone leave no group joined", || memberships(other) == 0);
}

#[test]
fn one_flow_of_many_can_be_asked_for_before_it_begins() {
    let (group, port) = (group(), free_port());
    let relay = serve("");
    let path = format!("/udp/{group}:{port}");
    let mut all = open(relay.http, &path);
    let mut one = open(relay.http, &format!("{path}?flow=8"));
    let send = |stream: u32, payload: &[u8]| {
        let mut bytes = Vec::new();
        let repr =
            Repr { kind: Kind::Data, flags: 0, stream, session: 1, sequence: 0, timestamp: 0, payload };
        repr.emit(&mut bytes);
        sender().send_to(&bytes, (group, port)).expect("send");
    };
    send(7, b"seven");
    assert_eq!(all.read(5), b"seven");
    send(8, b"eight");
    assert_eq!(all.read(5), b"eight");
    assert_eq!(one.read(5), b"eight");
}

#[test]
fn a_client_that_sends_half_a_request_is_cut_off() {
    let relay = serve("header_timeout = \"300ms\"");
    for half in ["", "GET / HTTP/1.1\r\nHost: x\r\n"] {
        let mut stream = TcpStream::connect(relay.http).expect("connect");
        stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
        stream.write_all(half.as_bytes()).expect("write");
        let start = now();
        let mut rest = Vec::new();
        let end = stream.read_to_end(&mut rest);
        assert!(
            end.is_ok() || end.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset),
            "{half:?}"
        );
        let waited = start.elapsed();
        assert!(
            (Duration::from_millis(250)..Duration::from_secs(5)).contains(&waited),
            "{half:?}: {waited:?}"
        );
    }
    assert_eq!(get(relay.http, "/healthz").0, 200);
}

#[test]
fn beyond_the_limit_clients_are_told_to_come_again() {
    let port = free_port();
    let relay = serve("clients_max = 2\nlinger = \"0s\"");
    let path = format!("/udp/{}:{port}", group());
    let first = open(relay.http, &path);
    let _second = open(relay.http, &path);
    let refused = request(relay.http, "GET", &path);
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("5")));
    assert!(refused.body().starts_with("2 clients are served already"));
    assert_eq!(get(relay.http, "/healthz").0, 200);
    assert_eq!(state(relay.http)["clients"], 2);
    drop(first);
    until("a place is free again", || state(relay.http)["clients"] == 1);
    open(relay.http, &path);
}

#[test]
fn beyond_the_limit_of_connections_nobody_is_read() {
    let relay = serve("clients_max = 1");
    let mut idle: Vec<TcpStream> =
        (0..65).map(|_| TcpStream::connect(relay.http).expect("connect")).collect();
    let one_more = TcpStream::connect(relay.http).expect("connect");
    one_more.set_read_timeout(Some(PATIENCE)).expect("timeout");
    let refused = read_head(one_more);
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("5")));
    idle.truncate(60);
    until("there is room again", || {
        let mut stream = TcpStream::connect(relay.http).expect("connect");
        let asked = stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n");
        let mut answer = String::new();
        asked.and_then(|()| stream.read_to_string(&mut answer)).is_ok() && answer.contains("200 OK")
    });
}

#[test]
fn it_may_open_as_many_files_as_it_may_ask_for() {
    let relay = serve("");
    let limits =
        std::fs::read_to_string(format!("/proc/{}/limits", relay.running.child.id())).expect("limits");
    let files = limits.lines().find(|line| line.starts_with("Max open files")).expect("a line");
    let words: Vec<&str> = files.split_whitespace().collect();
    assert_eq!(words[3], words[4], "{files}");
}

/// Users of a group in /proc/net/igmp, on all interfaces.
fn memberships(group: Ipv4Addr) -> u32 {
    let hex = format!("{:08X}", u32::from_le_bytes(group.octets()));
    let table = std::fs::read_to_string("/proc/net/igmp").expect("igmp");
    let lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let users =
        lines.filter(|words| words.first() == Some(&hex.as_str())).map(|words| words[1].parse::<u32>());
    users.map(|users| users.expect("a number")).sum()
}

#[test]
fn three_clients_of_a_group_are_one_membership_which_goes_after_the_linger() {
    let (group, port) = (group(), free_port());
    let relay = serve("linger = \"1s\"");
    // The same group in three spellings.
    let paths =
        [format!("/udp/{group}:{port}"), format!("/udp/@{group}%3A{port}"), format!("/udp/{group}%{port}/")];
    let mut clients: Vec<Answer> = paths.iter().map(|path| open(relay.http, path)).collect();
    assert_eq!(memberships(group), 1);
    let channels = &state(relay.http)["channels"];
    assert_eq!(channels.as_array().map(Vec::len), Some(1));
    assert_eq!(channels[0]["name"], format!("udp-{group}-{port}"));
    assert_eq!(channels[0]["subscribers"]["http"]["clients"], 3);
    Producer::new(group, port).send(0, b"reading");
    for client in &mut clients {
        assert_eq!(client.read(7), b"reading");
    }
    clients.truncate(1);
    until("two have left", || state(relay.http)["channels"][0]["subscribers"]["http"]["clients"] == 1);
    thread::sleep(Duration::from_millis(1300));
    assert_eq!(memberships(group), 1);
    clients.clear();
    thread::sleep(Duration::from_millis(500));
    assert_eq!(memberships(group), 1, "within the linger");
    let mut back = open(relay.http, &paths[0]);
    thread::sleep(Duration::from_millis(1300));
    assert_eq!(memberships(group), 1, "somebody has come back");
    Producer::new(group, port).send(1, b"another");
    assert_eq!(back.read(7), b"another");
    drop(back);
    until("the group is left", || memberships(group) == 0);
    let delivered = format!("tidecast_packets_delivered_total{{channel=\"udp-{group}-{port}\"}}");
    assert_eq!(series(relay.http).get(&delivered), Some(&2.0), "counters outlive the channel");
}

#[test]
fn at_ten_packets_a_second_each_is_with_the_client_within_20_ms() {
    let (group, port) = (group(), free_port());
    let relay = serve("");
    let mut client = open(relay.http, &format!("/udp/{group}:{port}"));
    let producer = Producer::new(group, port);
    let mut delays = Vec::new();
    for n in 0..30u64 {
        let sent = now();
        producer.send(n, &n.to_be_bytes());
        assert_eq!(client.read(8), n.to_be_bytes());
        // The first packets wait until the flow's first number is certain.
        delays.push(sent.elapsed());
        thread::sleep(Duration::from_millis(100).saturating_sub(sent.elapsed()));
    }
    let median = median(delays.clone());
    assert!(median < Duration::from_millis(20), "{median:?} of {delays:?}");
}

/// Reads packets of 8 bytes until `last` and gives the longest silence.
fn longest_silence(client: &mut Answer, last: u64) -> Duration {
    let mut before: Option<Instant> = None;
    let mut longest = Duration::ZERO;
    loop {
        let number = client.read(8);
        let at = now();
        longest = longest.max(before.map_or(Duration::ZERO, |before| at - before));
        before = Some(at);
        if number == last.to_be_bytes() {
            return longest;
        }
    }
}

#[test]
fn at_fifty_packets_a_second_a_lost_one_silences_a_client_for_little_more_than_hold() {
    const INTERVAL: Duration = Duration::from_millis(20);
    const HOLD: Duration = Duration::from_millis(80);
    let (group, port) = (group(), free_port());
    let relay = serve(&format!(
        "[[channel]]\nname = \"a\"\nhold = \"80ms\"\ninput = \"udp://@{group}:{port}?if=127.0.0.1\""
    ));
    let mut client = open(relay.http, "/streams/a");
    let producer = thread::spawn(move || {
        let producer = Producer::new(group, port);
        for n in 0..100u64 {
            // One of twenty is lost, five in all.
            if n % 20 != 10 {
                producer.send(n, &n.to_be_bytes());
            }
            thread::sleep(INTERVAL);
        }
    });
    let silences: Vec<Duration> = (0..5).map(|n| longest_silence(&mut client, n * 20 + 19)).collect();
    producer.join().expect("no panic");
    let median = median(silences.clone());
    let expected = HOLD..HOLD + 2 * INTERVAL + Duration::from_millis(20);
    assert!(expected.contains(&median), "{median:?} of {silences:?}, expected {expected:?}");
    assert_eq!(series(relay.http)["tidecast_packets_lost_total{channel=\"a\"}"], 5.0);
}

#[test]
fn a_client_stays_while_the_producer_pauses_and_gets_the_rest() {
    let seconds = std::env::var("TIDECAST_PAUSE_SECONDS").map_or(12, |text| text.parse().expect("seconds"));
    let (group, port) = (group(), free_port());
    let relay = serve("");
    let mut client = open(relay.http, &format!("/udp/{group}:{port}"));
    let producer = Producer::new(group, port);
    for n in 0..20u64 {
        producer.send(n, &n.to_be_bytes());
    }
    assert_eq!(client.read(160)[152..], 19u64.to_be_bytes());
    thread::sleep(Duration::from_secs(seconds));
    let start = now();
    for n in 20..40u64 {
        producer.send(n, &n.to_be_bytes());
    }
    assert_eq!(client.read(160)[152..], 39u64.to_be_bytes());
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}

#[test]
fn a_silent_stream_ends_after_the_idle_timeout() {
    let relay = serve("idle_timeout = \"1s\"");
    let start = now();
    let client = open(relay.http, &format!("/udp/{}:{}", group(), free_port()));
    assert_eq!(client.body(), "");
    assert!(start.elapsed() >= Duration::from_millis(950), "{:?}", start.elapsed());
}

#[test]
fn a_client_that_stops_reading_is_cut_off_and_costs_the_others_nothing() {
    const PACKETS: usize = 12_000;
    let (group, port) = (group(), free_port());
    let relay = serve("lag_max = \"1s\"");
    let path = format!("/udp/{group}:{port}");
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("socket");
    socket.set_recv_buffer_size(16 << 10).expect("buffer");
    socket.connect(&relay.http.into()).expect("connect");
    let mut stream: TcpStream = socket.into();
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").expect("write");
    let stalled = read_head(stream);
    let mut reading = open(relay.http, &path);
    let reader = thread::spawn(move || reading.read(PACKETS * 1024));
    let producer = Producer::new(group, port);
    for n in 0..PACKETS {
        producer.send(n as u64, &[n as u8; 1024]);
        if n % 20 == 19 {
            thread::sleep(Duration::from_millis(2));
        }
    }
    let got = reader.join().expect("no panic");
    assert!(got.chunks(1024).enumerate().all(|(n, packet)| packet.iter().all(|byte| *byte == n as u8)));
    let clients = || state(relay.http)["channels"][0]["subscribers"]["http"]["clients"].as_u64();
    until("the client that does not read is cut off", || clients() == Some(0));
    let http = state(relay.http)["channels"][0]["subscribers"]["http"].clone();
    let (lag, closed) = (&http["dropped"]["lag"], &http["dropped"]["closed"]);
    let fates = http["packets"].as_u64().zip(lag.as_u64()).zip(closed.as_u64());
    let total = fates.map(|((packets, lag), closed)| packets + lag + closed);
    assert!(closed.as_u64() > Some(0), "{http}");
    assert_eq!(http["cut_off"], serde_json::json!({ "lag": 1, "idle": 0 }), "{http}");
    assert_eq!(sum(&series(relay.http), "tidecast_subscribers_cut_off_total", "reason=\"lag\""), 1.0);
    let line = "a client has been behind its stream for 1s: cut off";
    until("the log says why", || relay.running.stderr().contains(line));
    // What was skipped at the very end, after its last packet, shows in no packet's number.
    assert!(total.is_some_and(|total| total <= 2 * PACKETS as u64), "{http}");
    drop(stalled);
}

/// Reads a stream's head, then this many bytes of its body.
async fn read_stream(http: SocketAddr, path: &str, heads: &Semaphore, bytes: usize) -> Vec<u8> {
    let mut stream = tokio::net::TcpStream::connect(http).await.expect("connect");
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await.expect("write");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("a whole head"));
    }
    assert!(head.starts_with(b"HTTP/1.0 200"), "{}", String::from_utf8_lossy(&head));
    heads.add_permits(1);
    let mut body = vec![0; bytes];
    stream.read_exact(&mut body).await.expect("more of the stream");
    body
}

/// The test's own connections; the relay raises its limit itself.
fn allow_files(count: u64) {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    assert!(
        hard >= count,
        "the hard limit of open files is {hard}, expected at least {count}: ulimit -Hn {count}"
    );
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("the hard limit");
}

#[test]
fn a_thousand_clients_of_one_channel_all_get_the_same_bytes() {
    const CLIENTS: u32 = 1000;
    const PACKETS: usize = 100;
    const LENGTH: usize = 1000;
    allow_files(u64::from(CLIENTS) + 100);
    let (group, port) = (group(), free_port());
    let relay = serve(&format!("[[channel]]\nname = \"a\"\ninput = \"udp://@{group}:{port}?if=127.0.0.1\""));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    let http = relay.http;
    runtime.block_on(async {
        let heads = Arc::new(Semaphore::new(0));
        let client = || {
            let heads = heads.clone();
            async move { read_stream(http, "/streams/a", &heads, PACKETS * LENGTH).await }
        };
        let clients: Vec<_> = (0..CLIENTS).map(|_| tokio::spawn(client())).collect();
        let heads = heads.acquire_many(CLIENTS).await.expect("not closed");
        let sending = thread::spawn(move || {
            let producer = Producer::new(group, port);
            for n in 0..PACKETS {
                producer.send(n as u64, &[n as u8; LENGTH]);
                thread::sleep(Duration::from_millis(2));
            }
        });
        for client in clients {
            let body = client.await.expect("no panic");
            assert!(body.chunks(LENGTH).enumerate().all(|(n, packet)| packet == [n as u8; LENGTH]));
        }
        sending.join().expect("no panic");
        drop(heads);
    });
    let of = |metric: &str| sum(&series(http), metric, "output=\"http\"");
    let packets = f64::from(CLIENTS) * PACKETS as f64;
    until("every packet is counted", || of("tidecast_output_packets_total") == packets);
    assert_eq!(of("tidecast_output_dropped_packets_total"), 0.0);
}

/// 1000 numbered packets with known faults, and datagrams that are none.
fn send_with_faults(producer: &Producer) {
    for n in 0..1000u64 {
        match n {
            // Lost.
            100 | 200 | 300..=304 => {}
            // Swapped with the one after it.
            400 => producer.send(401, b"x"),
            401 => producer.send(400, b"x"),
            // Twice.
            500..=509 => {
                producer.send(n, b"x");
                producer.send(n, b"x");
            }
            n => producer.send(n, b"x"),
        }
        if n % 10 == 9 {
            thread::sleep(Duration::from_millis(2));
        }
    }
    let mut damaged = producer.datagram(Kind::Data, 1000, b"x");
    damaged[30] ^= 1;
    for _ in 0..3 {
        producer.send_bytes(&damaged);
    }
    producer.send_bytes(&[0x80, 33, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1]);
    producer.send_bytes(&producer.datagram(Kind::Heartbeat, 1000, b""));
}

#[test]
fn the_counters_are_what_was_sent_and_add_up() {
    let (group, port, target) = (group(), free_port(), free_port());
    let relay = serve(&format!(
        "[[channel]]\nname = \"a\"\nformat = \"native\"\nhold = \"100ms\"\n\
         input = \"udp://@{group}:{port}?if=127.0.0.1\"\noutput = \"udp://127.0.0.1:{target}\""
    ));
    let mut client = open(relay.http, "/streams/a");
    let listener = UdpSocket::bind((Ipv4Addr::LOCALHOST, target)).expect("bind");
    send_with_faults(&Producer::new(group, port));
    assert_eq!(client.read(993), [b'x'; 993]);
    let lost = |series: &BTreeMap<String, f64>| sum(series, "tidecast_packets_lost_total", "");
    until("the last packet has its fate", || lost(&series(relay.http)) == 7.0);
    let series = series(relay.http);
    let of = |metric: &str, label: &str| sum(&series, &format!("tidecast_{metric}"), label);
    for (metric, label, value) in [
        ("packets_received_total", "kind=\"media\"", 993.0 + 10.0 + 3.0 + 1.0),
        ("packets_received_total", "kind=\"control\"", 1.0),
        ("packets_received_total", "kind=\"repair\"", 0.0),
        ("packets_delivered_total", "", 993.0),
        ("numbers_expected_total", "", 1000.0),
        ("packets_lost_total", "", 7.0),
        ("packets_recovered_total", "", 0.0),
        ("packets_reordered_total", "", 1.0),
        ("packets_discarded_total", "reason=\"duplicate\"", 10.0),
        ("packets_discarded_total", "reason=\"corrupt\"", 3.0),
        ("packets_discarded_total", "reason=\"foreign\"", 1.0),
        ("packets_discarded_total", "", 14.0),
        ("invalid_datagrams_total", "", 4.0),
        ("kernel_drops_total", "", 0.0),
        ("sessions_total", "", 1.0),
        ("packets_held", "", 0.0),
        ("flows", "", 1.0),
        ("subscribers", "transport=\"http\"", 1.0),
        ("output_packets_total", "output=\"http\"", 993.0),
        ("output_bytes_total", "output=\"http\"", 993.0),
        ("output_packets_total", &format!("output=\"udp://127.0.0.1:{target}\""), 993.0),
        ("output_dropped_packets_total", "", 0.0),
    ] {
        assert_eq!(of(metric, label), value, "{metric} {label}");
    }
    // The swapped pair waits only if the losses before it have been given up by then.
    assert!((3.0..=4.0).contains(&of("gap_wait_seconds_count", "")));
    let media = of("packets_received_total", "kind=\"media\"") + of("packets_recovered_total", "");
    let fates =
        of("packets_delivered_total", "") + of("packets_discarded_total", "") + of("packets_held", "");
    assert_eq!(media, fates);
    drop(listener);
    let channel = &state(relay.http)["channels"][0];
    assert_eq!(channel["counters"]["delivered"], 993);
    assert_eq!((&channel["flows"][0]["flow"], &channel["flows"][0]["session"]), (&"7".into(), &1.into()));
    assert_eq!((&channel["legs"][0]["state"], &channel["path"]), (&"joined".into(), &"/streams/a".into()));
    if have("promtool") {
        promtool_has_nothing_to_say(&get(relay.http, "/metrics").2);
    }
}

fn promtool_has_nothing_to_say(metrics: &str) {
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = promtool.spawn().expect("promtool");
    child.stdin.take().expect("piped").write_all(metrics.as_bytes()).expect("write");
    let output = child.wait_with_output().expect("promtool");
    assert!(output.status.success() && output.stderr.is_empty() && output.stdout.is_empty(), "{output:?}");
}

#[test]
fn a_missing_interface_delays_its_own_leg_only() {
    let (group, port) = (group(), free_port());
    let relay = serve(&format!(
        "[[channel]]\nname = \"a\"\ninput = \"udp://@{group}:{port}?if=127.0.0.1\"\n\
         [[channel]]\nname = \"b\"\ninput = \"udp://@{group}:{port}?if=nope0\""
    ));
    let ready = relay.running.stderr();
    assert!(
        ready.contains("ready: 2 channels") && ready.contains("waiting: udp://") && ready.contains("nope0")
    );
    let answer = request(relay.http, "GET", "/readyz");
    assert_eq!(answer.status, 503);
    let reasons = answer.body();
    assert!(reasons.starts_with("b: udp://") && reasons.lines().count() == 1, "{reasons}");
    let mut client = open(relay.http, "/streams/a");
    Producer::new(group, port).send(0, b"reading");
    assert_eq!(client.read(7), b"reading");
}

#[test]
fn a_group_that_cannot_be_joined_now_is_a_503_that_says_why() {
    let address = format!("127.0.0.1:{}", free_port());
    let _relay = Running::tidecast(["serve", "--http", &address, "--if", "nope0"]);
    let answer = request(address.parse().expect("an address"), "GET", &format!("/udp/{}:5000", group()));
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("5")));
    let why = answer.body();
    assert!(why.contains("nope0") && why.lines().count() == 1, "{why}");
}

#[test]
fn what_cannot_start_says_why_in_one_line_and_exits_with_its_code() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("bind");
    let taken = taken.local_addr().expect("address").to_string();
    let folder = tempfile::tempdir().expect("folder");
    let file = |text: &str| {
        let file = folder.path().join(format!("{}.toml", text.len()));
        std::fs::write(&file, text).expect("write");
        file.to_str().expect("text").to_owned()
    };
    let fast = file("[[channel]]\nname = \"a\"\ninput = \"udp://@239.1.1.1:5000\"\nhold = \"fast\"");
    let cases: [(&[&str], i32, &str); 7] = [
        (&["serve", "-c", &fast], 78, "hold = \"fast\""),
        (&["serve", "-c", "/no/such.toml"], 78, "cannot be read"),
        (&["serve", "--allow", "10.0.0.0/8"], 2, "--allow \"10.0.0.0/8\": expected multicast groups"),
        (&["relay", "udp://@239.1.1.1:0", "--to", "udp://127.0.0.1:6000"], 2, "expected 1 to 65535"),
        (&["serve", "--http", &taken], 1, "another program has this port"),
        (
            &["relay", "udp://@239.1.1.1:5000?if=127.0.0.1", "--http", &taken],
            1,
            "another program has this port",
        ),
        (&["serve", "--http", "192.0.2.1:8080"], 1, "cannot listen on 192.0.2.1:8080"),
    ];
    for (args, code, part) in cases {
        let output = tidecast(args).output().expect("start");
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), text.contains(part)), (Some(code), true), "{args:?}: {text}");
        assert_eq!(text.lines().count(), 1, "{args:?}: {text}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_signal_ends_it_with_the_clients_served_to_the_last_byte() {
    let (group, port) = (group(), free_port());
    let mut relay = serve("");
    let mut client = open(relay.http, &format!("/udp/{group}:{port}"));
    let producer = Producer::new(group, port);
    producer.send(0, b"first");
    assert_eq!(client.read(5), b"first");
    // The one before it is missing, so it is held back when the signal comes.
    producer.send(2, b"last");
    thread::sleep(Duration::from_millis(20));
    let start = now();
    relay.running.stop();
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert_eq!(client.body(), "last");
    assert_eq!(memberships(group), 0);
}

#[test]
fn the_service_manager_is_told() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("bind");
    socket.set_read_timeout(Some(PATIENCE)).expect("timeout");
    let next = || {
        let mut bytes = [0; 256];
        let length = socket.recv(&mut bytes).expect("a notification");
        String::from_utf8_lossy(&bytes[..length]).trim().to_owned()
    };
    let mut command = tidecast(["serve", "--http", "127.0.0.1:0"]);
    command.env("NOTIFY_SOCKET", &path);
    let mut running = Running::start(command);
    assert_eq!(next(), "READY=1");
    running.signal("TERM");
    assert_eq!(next(), "STOPPING=1");
    assert!(running.wait().success());
}

#[test]
fn relay_ends_with_a_summary() {
    let (group, port, target) = (group(), free_port(), free_port());
    let receiver = UdpSocket::bind((Ipv4Addr::LOCALHOST, target)).expect("bind");
    receiver.set_read_timeout(Some(PATIENCE)).expect("timeout");
    let input = format!("udp://@{group}:{port}?if=127.0.0.1");
    let output = format!("udp://127.0.0.1:{target}?payload=1");
    let mut relay = Running::tidecast(["relay", &input, "--to", &output, "--name", "cam", "--hold", "40ms"]);
    assert!(relay.stderr().contains("tidecast: ready: 1 channel\n"), "{}", relay.stderr());
    let producer = Producer::new(group, port);
    for n in [0u64, 1, 3, 2, 2, 4, 6, 7] {
        producer.send(n, &[n as u8]);
    }
    for n in [0u8, 1, 2, 3, 4, 6, 7] {
        let mut bytes = [0; 8];
        let length = receiver.recv(&mut bytes).expect("a packet");
        assert_eq!(bytes[..length], [n]);
    }
    let summary = "tidecast: cam: received 8, delivered 7, lost 1, recovered 0, reordered 1, duplicates 1\n";
    let stderr = relay.stop();
    assert!(stderr.contains(summary), "{stderr}");
}
