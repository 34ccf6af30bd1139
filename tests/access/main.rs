//! Who may do what, with the real binary: each role at each endpoint over each transport, with each
//! way of presenting a token; signed links; the audit log; what others' clients do with it.

mod clients;
mod matrix;
mod oidc;

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    time::Duration,
};

use common::{Running, free_port, group, native, sender, tidecast, until};
use tidecast_testkit::common;
use tidecast_wire::subscribe::TokenDigest;

/// A relay with tokens, whose names are the tokens themselves, and two channels, `cam` and `mic`,
/// that receive readings.
struct Relay {
    running: Running,
    http: SocketAddr,
    tcp: SocketAddr,
    udp: SocketAddr,
    folder: tempfile::TempDir,
    group: Ipv4Addr,
    port: u16,
}

const TOKENS: &str = r#"
[[token]]
name = "watcher"
roles = ["watch"]
[[token]]
name = "camera-man"
roles = ["watch"]
channels = ["cam"]
groups = ["239.200.0.0/16"]
[[token]]
name = "viewer"
roles = ["view"]
[[token]]
name = "operator"
roles = ["operate"]
[[token]]
name = "chief"
roles = ["watch", "view", "operate"]
[[token]]
name = "expired"
roles = ["watch", "view", "operate"]
expires = "2020-01-01"
"#;

/// The tokens, with the digest of each name behind it.
fn tokens() -> String {
    let mut text = String::new();
    for line in TOKENS.lines() {
        text += &format!("{line}\n");
        if let Some(name) = line.strip_prefix("name = \"").and_then(|rest| rest.strip_suffix('"')) {
            let digest = hex::encode(TokenDigest::of(name).0);
            text += &format!("sha256 = \"{digest}\"\n");
        }
    }
    text
}

fn start(access: &str) -> Relay {
    let relay = start_silent(access);
    relay.send(0);
    relay
}

/// A relay that receives nothing so far.
fn start_silent(access: &str) -> Relay {
    let folder = tempfile::tempdir().expect("a folder");
    let (group, port, tcp, udp) = (group(), free_port(), free_port(), free_port());
    let input = format!("udp://@{group}:{port}?if=127.0.0.1");
    let other = format!("udp://@{}:{port}?if=127.0.0.1", common::group());
    let text = format!(
        "[http]\nlisten = \"127.0.0.1:0\"\ninterface = \"127.0.0.1\"\n[tcp]\nlisten = \"127.0.0.1:{tcp}\"\n\
         [udp]\nlisten = \"127.0.0.1:{udp}\"\nlease = \"3s\"\n[access]\naudit = \"audit.jsonl\"\n{access}\n\
         [[channel]]\nname = \"cam\"\ninput = \"{input}\"\n[[channel]]\nname = \"mic\"\ninput = \"{other}\"\n"
    );
    let file = config(folder.path());
    std::fs::write(&file, text).expect("a file");
    let mut running = Running::tidecast([Path::new("serve"), &file]);
    let http = running.http();
    let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    Relay { running, http, tcp: local(tcp), udp: local(udp), folder, group, port }
}

fn config(folder: &Path) -> PathBuf {
    folder.join("relay.toml")
}

/// An answer over HTTP: status, head, and what comes of the body within a moment.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let start = format!("{name}: ");
        self.head.lines().find_map(|line| line.strip_prefix(&start))
    }
}

impl Relay {
    fn send(&self, number: u64) {
        let datagram = native(7, 99, number, b"{\"celsius\":21}");
        sender().send_to(&datagram, (self.group, self.port)).expect("send");
    }

    /// Requests a path; `headers`: whole lines.
    fn ask(&self, method: &str, path: &str, headers: &[String], body: &str) -> Answer {
        let mut stream = TcpStream::connect(self.http).expect("connect");
        stream.set_read_timeout(Some(Duration::from_millis(300))).expect("timeout");
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n", self.http);
        for line in headers {
            head += &format!("{line}\r\n");
        }
        let length =
            if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
        stream.write_all(format!("{head}{length}\r\n{body}").as_bytes()).expect("write");
        let mut bytes = Vec::new();
        until("an answer", || {
            let mut part = [0; 65_536];
            match stream.read(&mut part) {
                Ok(0) => Some(()),
                Ok(count) => {
                    bytes.extend_from_slice(&part[..count]);
                    is_whole(&bytes).then_some(())
                }
                // A stream goes on.
                Err(_) => find(&bytes, b"\r\n\r\n").map(|_| ()),
            }
        });
        let end = find(&bytes, b"\r\n\r\n").expect("a head");
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        Answer { status, head, body: String::from_utf8_lossy(&bytes[end + 4..]).into_owned() }
    }

    fn get(&self, path: &str, headers: &[String]) -> Answer {
        self.ask("GET", path, headers, "")
    }

    /// The answers to lines over TCP.
    fn lines(&self, lines: &[&str]) -> Vec<String> {
        let mut stream = TcpStream::connect(self.tcp).expect("connect");
        stream.set_read_timeout(Some(Duration::from_millis(300))).expect("timeout");
        let mut text = Vec::new();
        for line in lines {
            stream.write_all(format!("{line}\n").as_bytes()).expect("write");
        }
        let mut part = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut part) {
            text.extend_from_slice(&part[..count]);
        }
        String::from_utf8_lossy(&text).lines().map(str::to_owned).collect()
    }

    /// How `recv` over UDP ends, and what it says.
    fn recv(&self, name: &str, token: Option<&str>) -> (Option<i32>, String) {
        let token = token.map(|token| format!("?token={token}")).unwrap_or_default();
        let url = format!("tidecast://{}/{name}{token}", self.udp);
        let output = tidecast(["recv", &url, "--for", "3s"]).output().expect("recv");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    fn audit(&self) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(self.folder.path().join("audit.jsonl")).expect("the audit log");
        text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// Whether an answer with a length has come.
fn is_whole(bytes: &[u8]) -> bool {
    let Some(end) = find(bytes, b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    length.is_some_and(|length| bytes.len() >= end + 4 + length)
}

fn bearer(token: &str) -> Vec<String> {
    vec![format!("authorization: Bearer {token}")]
}
