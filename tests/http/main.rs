//! The HTTP server of the real binary, on `lo`: its responses, the clients that it disconnects,
//! the delay of packets, and the correctness of its counters.

mod clients;
mod counters;
mod demand;
mod described;
mod descriptors;
mod ends;
mod latency;
mod life;
mod proxies;
mod requests;
mod shares;

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
use tidecast_testkit::common;
use tidecast_wire::native::{Kind, Repr};
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

/// Starts `serve` with this configuration after a section `[http]` with the address and the
/// interface, to which its first lines may add keys.
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

/// A response's head, and the connection for its body.
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

    /// Returns the rest, until the server closes.
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

/// Sends these bytes and reads the head of the response.
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

/// Returns the series of /metrics.
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

/// Returns the number of members of a group according to /proc/net/igmp, on all interfaces.
fn memberships(group: Ipv4Addr) -> u32 {
    let hex = format!("{:08X}", u32::from_le_bytes(group.octets()));
    let table = std::fs::read_to_string("/proc/net/igmp").expect("igmp");
    let lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let users =
        lines.filter(|words| words.first() == Some(&hex.as_str())).map(|words| words[1].parse::<u32>());
    users.map(|users| users.expect("a number")).sum()
}
