//! What operators may do: clients of every kind are disconnected by the API and by the page, only
//! where the configuration allows it, and never by a page of another site.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    process::Command,
};

use serde_json::Value;

use super::{SCRIPTS, check, have_browser};
use crate::{
    Script,
    common::{PATIENCE, Running, free_port, get, group, have, have_npm, metric, tidecast, until},
};

/// A relay with these lines in `[http]`.
struct Relay {
    running: Running,
    http: SocketAddr,
    tcp: SocketAddr,
    udp: SocketAddr,
    to: (std::net::Ipv4Addr, u16),
    _folder: tempfile::TempDir,
}

fn serve(lines: &str) -> Relay {
    let (to, [tcp, udp]) =
        ((group(), free_port()), [(); 2].map(|()| SocketAddr::from(([127, 0, 0, 1], free_port()))));
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("relay.toml");
    let text = format!(
        "[http]\nlisten = \"127.0.0.1:0\"\n{lines}\n[tcp]\nlisten = \"{tcp}\"\n[udp]\nlisten = \"{udp}\"\n\
         [[channel]]\nname = \"main\"\ninput = \"udp://@{}:{}?if=127.0.0.1\"\nformat = \"native\"\n",
        to.0, to.1
    );
    fs::write(&config, text).expect("write");
    let mut running = Running::tidecast(["serve".as_ref(), "-c".as_ref(), config.as_os_str()]);
    let http = running.http();
    Relay { running, http, tcp, udp, to, _folder: folder }
}

impl Relay {
    fn clients(&self) -> Vec<Value> {
        let (status, _, body) = get(self.http, "/api/v1/streams/main/clients?sort=transport");
        assert_eq!(status, 200, "{body}");
        let all: Value = serde_json::from_str(&body).expect("JSON");
        all["clients"].as_array().expect("a list").clone()
    }

    fn id(&self, transport: &str) -> u64 {
        until(transport, || {
            let clients = self.clients();
            let client = clients.iter().find(|client| client["transport"] == transport)?;
            client["id"].as_u64()
        })
    }
}

/// Sends a request with curl, as an operator's script does; returns the status and the body.
fn curl(method: &str, http: SocketAddr, path: &str, more: &[&str]) -> (u16, String) {
    let url = format!("http://{http}{path}");
    let output = Command::new("curl")
        .args(["-s", "-X", method, "-w", "\n%{http_code}", &url])
        .args(more)
        .output()
        .expect("curl");
    let text = String::from_utf8(output.stdout).expect("text");
    let (body, status) = text.rsplit_once('\n').expect("a status");
    (status.parse().expect("a number"), body.to_owned())
}

#[test]
fn an_operator_disconnects_clients_of_every_kind_and_no_other() {
    if !have("curl") || !have("node") || !["ws", "eventsource", "socket.io-client"].into_iter().all(have_npm)
    {
        return;
    }
    let relay = serve("control = true");
    let http = relay.http;
    let script = Script::of(format!("{SCRIPTS}/subscribers.mjs"), &[&format!("http://{http}")]);
    script.until_line("all listen");
    let mut player = Command::new("curl");
    player.args(["-sN", &format!("http://{http}/streams/main"), "-o", "/dev/null"]);
    let mut player = Running::start(player);
    let mut program = TcpStream::connect(relay.tcp).expect("connect");
    program.set_read_timeout(Some(PATIENCE)).expect("time-out");
    program.write_all(b"SUBSCRIBE main format=lines\n").expect("write");
    let mut host = Running::start(tidecast(["recv", &format!("tidecast://{}/main", relay.udp)]));
    until("six clients", || (relay.clients().len() == 6).then_some(()));

    let mut left = 6;
    for transport in ["http", "websocket", "sse", "socketio", "tcp", "udp"] {
        let id = relay.id(transport);
        let path = format!("/api/v1/streams/main/clients/{id}");
        let (status, body) = curl("DELETE", http, &path, &[]);
        let told: Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!((status, &told["transport"], &told["id"]), (200, &transport.into(), &id.into()), "{body}");
        left -= 1;
        if transport == "udp" {
            // Its program asks for the stream again.
            host.wait_for_line("has ended; asking for it again");
            until("it to come again", || (relay.id("udp") != id).then_some(()));
        } else {
            until("it to be gone", || (relay.clients().len() == left).then_some(()));
        }
        let by = format!("transport=\"{transport}\"");
        let cut_off = metric(http, &["tidecast_subscribers_cut_off_total{", &by, "reason=\"operator\""]);
        assert_eq!(cut_off, 1.0, "{transport}");
        let (status, why) = curl("DELETE", http, &path, &[]);
        assert!(status == 404 && why.contains("main has no client"), "{status} {why}");
    }
    assert!(player.wait().code().is_some(), "the body of a stream ends with its connection");
    for end in ["websocket 1008 ended", "sse ended", "socketio io server disconnect ended"] {
        script.until_line(end);
    }
    let mut last = String::new();
    program.read_to_string(&mut last).expect("the end");
    assert!(last.ends_with("ERR an operator has disconnected this client\n"), "{last}");

    let (_, _, events) = get(http, "/api/v1/events?channel=main&format=csv");
    for line in [&events, &relay.running.stderr()] {
        assert!(line.matches("operator").count() >= 6, "{line}");
    }
    assert!(
        events.contains("(http, curl/") && events.contains("was disconnected by an operator at 127.0.0.1:")
    );
}

#[test]
fn nobody_is_disconnected_unless_the_operator_allows_it() {
    if !have("curl") {
        return;
    }
    let path = "/api/v1/streams/main/clients/1";
    for (lines, key) in
        [("", "control = true in [http]"), ("control = true\nlist_clients = false", "list_clients")]
    {
        let relay = serve(lines);
        let (status, why) = curl("DELETE", relay.http, path, &[]);
        assert!(status == 403 && why.contains(key), "{status} {why}");
    }
    let admin = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let relay = serve(&format!("control = true\nadmin = \"{admin}\""));
    let (status, why) = curl("DELETE", relay.http, path, &[]);
    assert!(status == 404 && why.contains("is not served at this port"), "{status} {why}");
    let (status, why) = curl("DELETE", admin, path, &[]);
    assert!(status == 404 && why.contains("main has no client 1"), "{status} {why}");
}

#[test]
fn a_page_of_another_site_disconnects_nobody_and_other_requests_are_refused_in_words() {
    if !have("curl") {
        return;
    }
    let relay = serve("control = true\norigins = [\"*\"]");
    let http = relay.http;
    let mut player = Command::new("curl");
    player.args(["-sN", &format!("http://{http}/streams/main"), "-o", "/dev/null"]);
    let _player = Running::start(player);
    let path = format!("/api/v1/streams/main/clients/{}", relay.id("http"));
    for header in [
        "Origin: http://evil.example",
        "Origin: null",
        "Origin: http://127.0.0.1:1",
        "Sec-Fetch-Site: cross-site",
        "Sec-Fetch-Site: same-site",
    ] {
        let (status, why) = curl("DELETE", http, &path, &["-H", header]);
        assert!(
            status == 403 && why.contains("expected one of this relay's own pages"),
            "{header}: {status} {why}"
        );
    }
    // What a page asks beforehand; "*" in origins admits reading alone.
    let asks =
        ["-D", "-", "-H", "Origin: http://evil.example", "-H", "Access-Control-Request-Method: DELETE"];
    let (_, head) = curl("OPTIONS", http, &path, &asks);
    assert!(head.to_lowercase().contains("access-control-allow-methods: get,head\r\n"), "{head}");
    for (method, path, status, expected) in [
        ("GET", path.as_str(), 405, "expected DELETE"),
        ("POST", path.as_str(), 405, "expected DELETE"),
        ("DELETE", "/api/v1/streams/main/clients", 405, "expected GET or HEAD"),
        ("DELETE", "/api/v1/streams/main/clients/all", 400, "expected an id"),
        ("DELETE", "/api/v1/streams/main/clients/-1", 400, "expected an id"),
        ("DELETE", "/api/v1/streams/none/clients/1", 404, "expected one of main"),
        ("GET", "/api/v1/streams/main/lags", 404, "expected flows, legs, outputs, subscribers or clients"),
    ] {
        let (got, why) = curl(method, http, path, &[]);
        assert!(got == status && why.contains(expected), "{method} {path}: {got} {why}");
    }
    let (_, head) = curl("GET", http, &path, &["-D", "-"]);
    assert!(head.contains("allow: DELETE\r\n"), "{head}");
    assert_eq!(relay.clients().len(), 1, "it is still there");
    let own = [format!("Origin: http://{http}"), "Sec-Fetch-Site: same-origin".to_owned()];
    let (status, body) = curl("DELETE", http, &path, &["-H", &own[0], "-H", &own[1]]);
    assert_eq!(status, 200, "{body}");
}

#[test]
fn the_page_disconnects_a_client_after_asking_and_only_where_it_may() {
    if !have_browser() || !have("curl") {
        return;
    }
    for allowed in [true, false] {
        let relay = serve(&format!("control = {allowed}"));
        let players: Vec<Running> = ["first", "second"]
            .into_iter()
            .map(|agent| {
                let mut curl = Command::new("curl");
                curl.args([
                    "-sN",
                    "-A",
                    agent,
                    &format!("http://{}/streams/main", relay.http),
                    "-o",
                    "/dev/null",
                ]);
                Running::start(curl)
            })
            .collect();
        let target = format!("udp://{}:{}?if=127.0.0.1&ttl=0", relay.to.0, relay.to.1);
        let words = ["send", "--format", "native", "--sensor", "2", "--interval", "100ms", &target];
        let _producer = Running::start(tidecast(words));
        until("two clients", || (relay.clients().len() == 2).then_some(()));
        check("control.mjs", relay.http, &[if allowed { "allowed" } else { "refused" }]);
        drop(players);
    }
}
