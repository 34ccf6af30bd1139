//! The protocol of a TCP client, byte by byte; and requests that are refused over HTTP.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
};

use serde_json::{Value, json};

use crate::{
    common::{PATIENCE, free_port, get, group, native, tidecast, until},
    source::Relay,
};

/// A TCP client that reads lines.
struct Client {
    input: BufReader<TcpStream>,
}

impl Client {
    fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).expect("connect");
        stream.set_read_timeout(Some(PATIENCE)).expect("time-out");
        Client { input: BufReader::new(stream) }
    }

    fn say(&mut self, line: &str) {
        self.input.get_mut().write_all(format!("{line}\n").as_bytes()).expect("write");
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.input.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }

    /// Sends a line and returns the response.
    fn ask(&mut self, line: &str) -> String {
        self.say(line);
        self.line()
    }

    fn json(&mut self) -> Value {
        let line = self.line();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
    }

    fn exactly<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.input.read_exact(&mut bytes).expect("so many bytes");
        bytes
    }

    fn is_closed(&mut self) -> bool {
        matches!(self.input.read(&mut [0]), Ok(0) | Err(_))
    }
}

/// Waits until the relay has received this many packets.
fn until_received(relay: &Relay, count: f64) {
    let received = || crate::common::metric(relay.http, &["tidecast_packets_delivered_total{"]);
    until("the packets", || (received() >= count).then_some(()));
}

fn reading(number: u64, text: &str) -> Vec<u8> {
    native(7, 1, number, text.as_bytes())
}

#[test]
fn each_line_gets_one_answer() {
    let relay = Relay::start(&[]);
    let mut client = Client::connect(relay.tcp);
    assert_eq!(client.ask("LIST"), r#"OK [{"format":"auto","id":1,"name":"readings"}]"#);
    assert_eq!(client.ask("list"), client.ask("LIST\r"));
    assert_eq!(
        client.ask("HELO"),
        r#"ERR command "HELO": expected AUTH, LIST, SUBSCRIBE, UNSUBSCRIBE, STATS or CLOSE"#
    );
    let unknown = client.ask("SUBSCRIBE film");
    assert_eq!(unknown, r#"ERR there is no stream "film": expected readings"#);
    assert!(
        client
            .ask("UNSUBSCRIBE readings")
            .starts_with("ERR UNSUBSCRIBE readings: not subscribed, expected SUBSCRIBE")
    );
    assert_eq!(
        client.ask("SUBSCRIBE readings format=lines"),
        r#"OK {"format":"lines","id":1,"name":"readings"}"#
    );
    assert!(
        client
            .ask("SUBSCRIBE readings format=lines")
            .starts_with("ERR SUBSCRIBE readings: subscribed already")
    );
    assert_eq!(
        client.ask("STATS"),
        r#"OK {"subscriptions":[{"bytes":0,"missed":0,"name":"readings","packets":0}],"waiting_bytes":0}"#
    );
    assert!(client.ask("UNSUBSCRIBE readings").starts_with("OK {"));
    assert_eq!(
        client.ask("SUBSCRIBE readings"),
        "ERR format frames: expected lines, the first one of this connection"
    );
    assert_eq!(client.ask("CLOSE"), r#"OK "closed""#);
    assert!(client.is_closed());
    let mut client = Client::connect(relay.tcp);
    assert!(
        client.ask(&"x".repeat(2000)).starts_with("ERR a line of more than 1024 bytes: expected a command")
    );
    assert!(client.is_closed());
}

#[test]
fn the_first_subscriber_gets_the_last_value_at_once_and_then_what_comes() {
    let relay = Relay::start(&[]);
    for number in 0..3 {
        relay.send(&reading(number, &format!("{{\"n\": {number}}}")));
    }
    until_received(&relay, 3.0);
    let mut client = Client::connect(relay.tcp);
    client.ask("SUBSCRIBE readings format=lines");
    let last = client.json();
    assert_eq!(
        (&last["seq"], &last["last"], &last["payload"]),
        (&json!(2), &json!(true), &json!({ "n": 2 }))
    );
    relay.send(&reading(3, "warm"));
    let next = client.json();
    assert_eq!(
        (&next["seq"], &next["encoding"], &next["payload"]),
        (&json!(3), &json!("text"), &json!("warm"))
    );
    assert!(next.get("last").is_none() && next["how"] == "received" && next["timestamp"].is_u64());
    relay.send(&reading(6, "late"));
    let lost = client.json();
    assert_eq!((&lost["type"], &lost["from"], &lost["to"]), (&json!("lost"), &json!(4), &json!(5)));
    assert_eq!(client.json()["seq"], 6);
    let stats = client.ask("STATS");
    assert!(stats.contains("\"packets\":3,") || stats.contains("\"packets\":3}"), "{stats}");
}

#[test]
fn frames_and_payloads_are_as_documented() {
    let relay = Relay::start(&[]);
    relay.send(&reading(0, "a"));
    until_received(&relay, 1.0);
    let mut frames = Client::connect(relay.tcp);
    frames.ask("SUBSCRIBE readings flow=7");
    let mut raw = Client::connect(relay.tcp);
    raw.ask("SUBSCRIBE readings format=raw");
    relay.until_clients(&["tcp"], 2);
    relay.send(&reading(1, "bc"));
    let head: [u8; 4] = frames.exactly();
    assert_eq!(u32::from_be_bytes(head), 24 + 1 + 1);
    let frame: [u8; 26] = frames.exactly();
    assert_eq!((&frame[..8], frame[15], &frame[24..]), (&[0, 4 | 8, 0, 1, 0, 1, 0, 0][..], 0, &b"7a"[..]));
    let frame: [u8; 4 + 27] = frames.exactly();
    assert_eq!((frame[3], frame[5], frame[19], &frame[28..]), (27, 4, 1, &b"7bc"[..]));
    assert_eq!(&raw.exactly::<2>(), b"bc");
    frames.say("STATS");
    let answer: [u8; 4] = frames.exactly();
    let mut text = vec![0; u32::from_be_bytes(answer) as usize];
    frames.input.read_exact(&mut text).expect("an answer");
    assert_eq!((text[0], &text[24..27]), (5, &b"OK "[..]));
}

#[test]
fn a_rate_lets_the_newest_win() {
    let relay = Relay::start(&[]);
    relay.send(&reading(0, "0"));
    until_received(&relay, 1.0);
    let mut client = Client::connect(relay.tcp);
    client.ask("SUBSCRIBE readings format=lines every=2s");
    assert_eq!(client.json()["seq"], 0);
    for number in 1..6 {
        relay.send(&reading(number, &number.to_string()));
    }
    let told = [client.json()["seq"].as_u64(), client.json()["seq"].as_u64()];
    // The first one is sent at once; of the others only the newest is sent when the interval is
    // over.
    assert_eq!(told, [Some(1), Some(5)]);
}

/// Reconnects like a browser's EventSource that has lost its connection.
#[test]
fn events_go_on_where_a_client_was_cut_off() {
    let relay = Relay::start(&[]);
    let open = |last: Option<&str>| {
        let mut client = Client::connect(relay.http);
        let last = last.map(|last| format!("Last-Event-ID: {last}\r\n")).unwrap_or_default();
        client.say(&format!("GET /sse/readings HTTP/1.1\r\nHost: {}\r\n{last}\r", relay.http));
        while !client.line().is_empty() {}
        client
    };
    // The id and the number of the next event.
    let event = |client: &mut Client| {
        let (mut id, mut seq) = (None, None);
        loop {
            let line = client.line();
            if let Some(text) = line.strip_prefix("id: ") {
                id = Some(text.to_owned());
            } else if let Some(text) = line.strip_prefix("data: ") {
                seq = serde_json::from_str::<Value>(text).expect("JSON")["seq"].as_u64();
            } else if let (true, Some(id), Some(seq)) = (line.is_empty(), &id, seq) {
                return (id.clone(), seq);
            }
        }
    };
    let mut first = open(None);
    relay.send(&reading(0, "0"));
    let (id, seq) = event(&mut first);
    assert_eq!(seq, 0);
    drop(first);
    (1..6).for_each(|number| relay.send(&reading(number, &number.to_string())));
    until_received(&relay, 6.0);
    let mut second = open(Some(&id));
    let told: Vec<u64> = (0..5).map(|_| event(&mut second).1).collect();
    assert_eq!(told, [1, 2, 3, 4, 5], "what was told meanwhile, and nothing twice");
    relay.send(&reading(6, "6"));
    assert_eq!(event(&mut second).1, 6);
    let mut stranger = open(Some("63f00a1b2c3d4-117"));
    assert_eq!(event(&mut stranger).1, 6, "of another run: the last value");
}

#[test]
fn what_cannot_be_served_is_refused_with_what_would_be_right() {
    let relay = Relay::start(&["--origin", "https://dash.example"]);
    let (status, _, text) = get(relay.http, "/sse/film");
    assert_eq!((status, text.as_str()), (404, "there is no stream \"film\": expected readings\n"));
    let (status, _, text) = get(relay.http, "/sse/readings?every=often");
    assert!(status == 400 && text.starts_with("every \"often\": expected a duration"), "{text}");
    let (status, _, text) = get(relay.http, "/ws/readings");
    assert!(
        status == 400 && text.starts_with("no WebSocket: ") && text.contains("expected what new WebSocket"),
        "{text}"
    );
    let asked = |origin: &str| {
        let mut stream = TcpStream::connect(relay.http).expect("connect");
        let head = format!("HEAD /sse/readings HTTP/1.1\r\nHost: {}\r\nOrigin: {origin}\r\n\r\n", relay.http);
        stream.write_all(head.as_bytes()).expect("write");
        stream.set_read_timeout(Some(PATIENCE)).expect("time-out");
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).expect("a line");
        line.split(' ').nth(1).expect("a status").to_owned()
    };
    assert_eq!(asked("https://evil.example"), "403");
    assert_eq!(asked("https://dash.example"), "200");
    assert_eq!(asked(&format!("http://{}", relay.http)), "200");
}

#[test]
fn a_port_in_use_is_named() {
    let port = free_port();
    let _taken = std::net::TcpListener::bind(("127.0.0.1", port)).expect("bind");
    let input = format!("udp://@{}:{}?if=127.0.0.1", group(), free_port());
    let output = tidecast(["relay", &input, "--tcp", &format!("127.0.0.1:{port}")]).output().expect("run");
    let text = String::from_utf8_lossy(&output.stderr);
    let holder = std::fs::read_to_string("/proc/self/comm").expect("Linux");
    let (holder, id) = (holder.trim(), std::process::id());
    let expected = format!(
        "cannot listen on 127.0.0.1:{port} for TCP clients: {holder} (process {id}) has this port, expected a free one"
    );
    assert!(!output.status.success() && text.contains(&expected), "{text}");
}
