//! The data that the page uses, as programs get it: text for terminals, JSON, CSV, and the live
//! stream.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
};

use serde_json::Value;

use crate::common::{PATIENCE, Running, free_port, get, group, native, sender, until};

/// A relay of one channel, `main`, with its addresses.
struct Relay {
    running: Running,
    http: SocketAddr,
    to: (Ipv4Addr, u16),
}

fn relay() -> Relay {
    let to = (group(), free_port());
    let input = format!("udp://@{}:{}?if=127.0.0.1", to.0, to.1);
    let mut running =
        Running::tidecast(["relay", &input, "--format", "native", "--http", "127.0.0.1:0", "--hold", "50ms"]);
    let http = running.http();
    Relay { running, http, to }
}

impl Relay {
    fn send(&self, stream: u32, sequences: impl IntoIterator<Item = u64>) {
        let socket = sender();
        for sequence in sequences {
            let reading = format!("{{\"sensor\":\"s{stream}\",\"value\":{sequence}}}");
            socket.send_to(&native(stream, 1, sequence, reading.as_bytes()), self.to).expect("send");
        }
    }

    fn json(&self, path: &str) -> Value {
        let (status, head, body) = get(self.http, path);
        assert_eq!(status, 200, "{path}: {body}");
        assert!(head.contains("application/json"), "{head}");
        serde_json::from_str(&body).expect("JSON")
    }
}

/// Sends `GET path` with more header lines. Returns status, head and body as bytes.
fn get_with(http: SocketAddr, path: &str, headers: &str) -> (u16, String, Vec<u8>) {
    let mut stream = TcpStream::connect(http).expect("connect");
    stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {http}\r\nConnection: close\r\n{headers}\r\n")
        .expect("write");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("read");
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    (status, head, answer[end + 4..].to_vec())
}

/// A live stream, message by message.
pub(super) struct Live(BufReader<TcpStream>);

impl Live {
    pub(super) fn open(http: SocketAddr, query: &str, headers: &str) -> Live {
        let mut stream = TcpStream::connect(http).expect("connect");
        stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
        write!(stream, "GET /api/v1/live?{query} HTTP/1.1\r\nHost: {http}\r\n{headers}\r\n").expect("write");
        Live(BufReader::new(stream))
    }

    /// Returns the next message's id and data.
    pub(super) fn next(&mut self) -> (String, Value) {
        let mut id = String::new();
        loop {
            let mut line = String::new();
            assert!(self.0.read_line(&mut line).expect("a line") > 0, "the stream has ended");
            if let Some(text) = line.strip_prefix("id: ") {
                id = text.trim().to_owned();
            }
            if let Some(data) = line.strip_prefix("data: ").filter(|_| !id.is_empty()) {
                return (id, serde_json::from_str(data).expect("JSON"));
            }
        }
    }

    fn until(&mut self, what: &str, found: impl Fn(&Value) -> bool) -> Value {
        let seen = std::iter::repeat_with(|| self.next().1).take(30).find(found);
        seen.unwrap_or_else(|| panic!("waited in vain for {what}"))
    }
}

#[test]
fn browsers_get_the_page_and_terminals_text() {
    let relay = relay();
    let (status, _, text) = get_with(relay.http, "/", "Accept: */*\r\n");
    assert!(status == 200 && text.starts_with(b"tidecast "), "{}", String::from_utf8_lossy(&text));
    let browser = "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n";
    let (status, head, page) = get_with(relay.http, "/", browser);
    let page = String::from_utf8(page).expect("UTF-8");
    assert!(status == 200 && page.starts_with("<!doctype html>"), "{page}");
    for header in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "nosniff", "no-cache"]
    {
        assert!(head.contains(header), "no {header}: {head}");
    }
    assert!(!head.contains("unsafe-inline") && !head.contains("unsafe-eval"), "{head}");
    let tag = head.lines().find_map(|line| line.strip_prefix("etag: ")).expect("a tag").to_owned();
    let known = format!("{browser}If-None-Match: {tag}\r\n");
    let (status, _, nothing) = get_with(relay.http, "/", &known);
    assert_eq!((status, nothing.len()), (304, 0));

    let script = page.split('"').find(|part| part.ends_with("/app.js")).expect("its script");
    // The path is relative, so that a proxy may serve everything below a path.
    let script = &format!("/{script}");
    let (status, head, plain) = get_with(relay.http, script, "");
    assert_eq!(status, 200);
    assert!(
        head.contains("immutable") && head.contains("text/javascript") && head.contains("nosniff"),
        "{head}"
    );
    let (_, head, packed) = get_with(relay.http, script, "Accept-Encoding: gzip, br\r\n");
    assert!(head.contains("content-encoding: gzip") && packed.len() < plain.len(), "{head}");
    let (status, _, why) = get_with(relay.http, "/page/00000000/app.js", "");
    assert!(
        status == 404 && String::from_utf8_lossy(&why).contains("version"),
        "an old page's files are gone"
    );
}

#[test]
fn wrong_questions_are_told_what_would_be_right() {
    let relay = relay();
    let refused = |path: &str, status: u16, words: &[&str]| {
        let (got, _, text) = get(relay.http, path);
        assert_eq!(got, status, "{path}: {text}");
        for word in words {
            assert!(text.contains(word), "{path}: no {word:?} in {text:?}");
        }
        assert_eq!(text.lines().count(), 1, "{text}");
    };
    refused("/api/v1/channels?sort=size", 400, &["\"size\"", "worst, name, rate"]);
    refused("/api/v1/channels?limit=99999", 400, &["99999", "at most 10000"]);
    refused("/api/v1/channels?format=xml", 400, &["xml", "json"]);
    refused("/api/v1/channels?serch=a", 400, &["serch", "search"]);
    refused(&format!("/api/v1/channels?search={}", "x".repeat(200)), 400, &["200 bytes", "at most 128"]);
    refused("/api/v1/streams/nobody/flows", 404, &["\"nobody\"", "main"]);
    refused("/api/v1/streams/main/leg", 404, &["\"leg\"", "legs, outputs, subscribers or clients"]);
    refused("/api/v1/history", 400, &["?channel=NAME", "main"]);
    refused("/api/v1/history?channel=nobody", 404, &["\"nobody\"", "main"]);
    refused("/api/v1/live?flow_sort=x", 400, &["\"x\"", "flow, source, rate"]);
    refused("/api/v1/channels?health=bad", 400, &["\"bad\"", "ok, degraded, silent"]);
    refused("/streams/main/snapshot.jpg?size=huge", 400, &["\"huge\"", "size=small"]);
}

#[test]
fn what_was_lost_is_in_the_tables_the_history_and_the_events() {
    let relay = relay();
    // 3 and 4 never arrive; more follow until the hold is over.
    relay.send(7, [0, 1, 2, 5, 6]);
    relay.send(12, 0..4);
    let row = until("a verdict", || {
        let row = relay.json("/api/v1/channels")["channels"][0].clone();
        (row["health"] == "degraded").then_some(row)
    });
    assert_eq!((&row["recent_lost"], &row["recent_lost_network"]), (&2.into(), &2.into()));
    assert!(row["reason"].as_str().expect("text").contains("% of the packets were lost"), "{row}");
    let of = |health: &str| relay.json(&format!("/api/v1/channels?health={health}"))["total"].clone();
    assert_eq!((of("degraded"), of("silent")), (1.into(), 0.into()));
    let (status, _, nothing) = get(relay.http, "/streams/main/snapshot.jpg?size=small");
    assert_eq!((status, nothing.len()), (204, 0), "a list gets no error where there is no picture");
    let page = Live::open(relay.http, "health=degraded", "").next().1;
    assert_eq!(page["channels"]["name"], serde_json::json!(["main"]));
    assert!(page["channels"]["rescued"][0].is_array(), "{page}");
    let totals = &page["totals"];
    assert_eq!((&totals["recent_lost"], &totals["recent_recovered_fec"]), (&2.into(), &0.into()));
    assert_eq!(totals["receivers"]["http"], serde_json::json!({ "clients": 0, "bytes": 0 }));
    let events = relay.json("/api/v1/events?channel=main");
    let events = events["events"].as_array().expect("events").clone();
    let lost = events.iter().find(|event| event["kind"] == "loss").expect("a loss");
    assert_eq!((&lost["text"], &lost["count"]), (&"lost 2 packets".into(), &2.into()));
    assert!(lost["advice"].as_str().expect("text").contains("second path"), "{lost}");
    assert!(
        events.iter().any(|event| event["kind"] == "leg" && event["text"].to_string().contains("joined"))
    );

    let flows = relay.json("/api/v1/streams/main/flows?sort=lost&limit=1");
    assert_eq!((&flows["total"], &flows["flows"][0]["flow"]), (&2.into(), &"7".into()));
    let found = relay.json("/api/v1/streams/main/flows?search=12");
    assert_eq!(found["flows"][0]["flow"], "12", "what is exactly asked for comes first: {found}");
    let history = relay.json("/api/v1/history?channel=main");
    let sum = |name: &str| -> f64 {
        history["columns"][name].as_array().expect(name).iter().filter_map(Value::as_f64).sum()
    };
    assert!(sum("lost") > 0.0 && sum("received") > 0.0, "{history}");
    let (_, head, csv) = get(relay.http, "/api/v1/streams/main/legs?format=csv");
    assert!(head.contains("text/csv") && head.contains("legs.csv"), "{head}");
    let mut lines = csv.lines();
    assert!(lines.next().expect("a heading").starts_with("address,state,"), "{csv}");
    assert!(lines.next().expect("a leg").contains(",joined,lo,"), "{csv}");
}

#[test]
fn a_live_stream_goes_on_where_it_was_and_a_silent_channel_is_told() {
    let relay = relay();
    relay.send(7, 0..20);
    let mut live = Live::open(relay.http, "channel=main", "");
    let first = live.until("a reading", |message| {
        message["detail"]["values"]["7"].is_array() || {
            let sequences = message["tick"].as_u64().expect("a tick");
            relay.send(7, 20 * sequences..20 * sequences + 20);
            false
        }
    });
    assert_eq!(first["detail"]["values"]["7"][2]["sensor"], "s7");
    assert_eq!(first["detail"]["flows"]["flow"], serde_json::json!(["7"]));
    let (id, before) = live.next();
    assert!(before["detail"]["history"]["times"].as_array().expect("times").len() <= 2, "only what is new");
    drop(live);
    let mut again = Live::open(relay.http, "channel=main", &format!("Last-Event-ID: {id}\r\n"));
    let (_, after) = again.next();
    let tick = |message: &Value| message["tick"].as_u64().expect("a tick");
    let new = after["detail"]["history"]["times"].as_array().expect("times").len() as u64;
    assert_eq!(new, tick(&after) - tick(&before), "what came meanwhile and nothing else");
    let silent = again.until("silence", |message| message["totals"]["silent"] == 1);
    let events = silent["events"].as_array().expect("events");
    let told = events.iter().find(|event| event["kind"] == "silence").expect("it is told at once");
    assert!(told["advice"].as_str().expect("text").contains("nobody sends to"), "{told}");
    relay.send(7, 2000..2020);
    again.until("its end", |message| message["totals"]["silent"] == 0);
}

#[test]
fn a_channel_is_there_as_soon_as_the_relay_is_ready() {
    for _ in 0..5 {
        let relay = relay();
        assert_eq!(relay.json("/api/v1/channels")["total"], 1);
        assert_eq!(relay.json("/api/v1/streams/main/legs")["total"], 1);
        assert_eq!(relay.json("/api/v1/history?channel=main")["times"].as_array().expect("times").len(), 1);
    }
}

#[test]
fn the_live_stream_has_the_rate_of_each_leg_and_the_last_reading_of_each_channel() {
    let (first, second) = ((group(), free_port()), (group(), free_port()));
    let input = |(group, port): (Ipv4Addr, u16)| format!("udp://@{group}:{port}?if=127.0.0.1");
    let (one, two) = (input(first), input(second));
    let mut running = Running::tidecast(["relay", &one, &two, "--format", "native", "--http", "127.0.0.1:0"]);
    let http = running.http();
    let relay = Relay { running, http, to: first };
    let mut live = Live::open(relay.http, "", "");
    let message = live.until("a reading", |message| {
        let tick = message["tick"].as_u64().expect("a tick");
        relay.send(7, 20 * tick..20 * tick + 20);
        message["channels"]["reading"][0]["sensor"] == "s7" && message["totals"]["inputs"].get(1).is_some()
    });
    let totals = &message["totals"];
    let of = |leg: usize, key: &str| totals["inputs"][leg][key].clone();
    assert_eq!((of(0, "name"), of(0, "leg"), of(1, "leg")), ("main".into(), 1.into(), 2.into()));
    assert!(of(0, "bits_per_second").as_f64() > Some(1000.0) && of(1, "bits_per_second") == 0, "{totals}");
    assert_eq!(totals["legs"], 2);
}

#[test]
fn pages_are_bounded_and_end_with_the_relay() {
    let mut relay = relay();
    let mut pages: Vec<Live> = (0..32).map(|_| Live::open(relay.http, "", "")).collect();
    pages.iter_mut().for_each(|page| drop(page.next()));
    let (status, head, text) = get(relay.http, "/api/v1/live");
    assert_eq!(status, 503, "{text}");
    assert!(text.contains("32 pages") && head.to_lowercase().contains("retry-after"), "{head}: {text}");
    pages.pop();
    until("the place of one that has gone", || {
        let (status, ..) = get_head(relay.http);
        (status == 200).then_some(())
    });
    relay.running.stop();
}

/// Returns the status of a live stream, and disconnects at once.
fn get_head(http: SocketAddr) -> (u16, String) {
    let mut live = Live::open(http, "", "");
    let mut line = String::new();
    live.0.read_line(&mut line).expect("a status line");
    (line.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status"), line)
}
