//! Each credential at each endpoint over each transport.

use base64::{Engine, prelude::BASE64_STANDARD};

use crate::{Answer, Relay, bearer, start, tokens};

/// Endpoints over HTTP with what they answer to `[nobody, watcher, camera-man, viewer, operator,
/// chief]`. `/GROUP` stands for an allowed group on demand that `camera-man` has, `/OTHER` for one
/// that it has not.
#[rustfmt::skip]
const EXPECTED: &[(&str, &str, [u16; 6])] = &[
    ("GET", "/healthz",                  [200, 200, 200, 200, 200, 200]),
    ("GET", "/readyz",                   [200, 200, 200, 200, 200, 200]),
    ("GET", "/login",                    [200, 200, 200, 200, 200, 200]),
    ("GET", "/",                         [401, 403, 403, 200, 200, 200]),
    ("GET", "/status",                   [401, 403, 403, 200, 200, 200]),
    ("GET", "/metrics",                  [401, 403, 403, 200, 200, 200]),
    ("GET", "/api/v1/streams",           [401, 403, 403, 200, 200, 200]),
    ("GET", "/api/v1/channels",          [401, 403, 403, 200, 200, 200]),
    ("GET", "/api/v1/streams/cam/flows", [401, 403, 403, 200, 200, 200]),
    ("GET", "/api/v1/streams/cam/clients", [401, 403, 403, 200, 200, 200]),
    ("GET", "/api/v1/streams/cam/legs",  [401, 403, 403, 200, 200, 200]),
    ("GET", "/api/v1/streams/cam/outputs", [401, 403, 403, 200, 200, 200]),
    ("GET", "/api/v1/streams/cam/subscribers", [401, 403, 403, 200, 200, 200]),
    ("GET", "/api/v1/history?channel=cam", [401, 403, 403, 200, 200, 200]),
    ("GET", "/api/v1/events",            [401, 403, 403, 200, 200, 200]),
    ("GET", "/api/v1/losses",            [401, 403, 403, 200, 200, 200]),
    ("GET", "/api/v1/live",              [401, 403, 403, 200, 200, 200]),
    ("GET", "/api/v1/openapi.json",      [401, 403, 403, 200, 200, 200]),
    ("GET", "/page/none/app.js",         [401, 403, 403, 404, 404, 404]),
    ("GET", "/nothing",                  [401, 403, 403, 404, 404, 404]),
    ("DELETE", "/api/v1/streams/cam/clients/99999", [401, 403, 403, 403, 404, 404]),
    ("PUT", "/api/v1/streams",           [401, 403, 403, 403, 405, 405]),
    ("GET", "/playlist.m3u",             [401, 200, 200, 403, 403, 200]),
    ("HEAD", "/streams/cam",             [401, 200, 200, 403, 403, 200]),
    ("GET", "/streams/cam",              [401, 200, 200, 403, 403, 200]),
    ("GET", "/streams/mic",              [401, 200, 403, 403, 403, 200]),
    ("GET", "/streams/none",             [401, 404, 403, 403, 403, 404]),
    ("GET", "/streams/mic.sdp",          [401, 404, 403, 403, 403, 404]),
    ("GET", "/udp/GROUP",                [401, 200, 200, 403, 403, 200]),
    ("GET", "/udp/OTHER",                [401, 200, 403, 403, 403, 200]),
    ("GET", "/rtp/OTHER",                [401, 200, 403, 403, 403, 200]),
    ("GET", "/sse/cam",                  [401, 200, 200, 403, 403, 200]),
    ("GET", "/sse/mic",                  [401, 200, 403, 403, 403, 200]),
    ("GET", "/sse/udp/OTHER",            [401, 200, 403, 403, 403, 200]),
    ("WS", "/ws/cam",                    [401, 101, 101, 403, 403, 101]),
    ("WS", "/ws/mic",                    [401, 101, 403, 403, 403, 101]),
    ("WS", "/ws/mic?format=raw",         [401, 101, 403, 403, 403, 101]),
    ("WS", "/ws/udp/OTHER",              [401, 101, 403, 403, 403, 101]),
    ("GET", "/socket.io/?EIO=4&transport=polling", [401, 200, 200, 403, 403, 200]),
];

const CALLERS: [Option<&str>; 6] =
    [None, Some("watcher"), Some("camera-man"), Some("viewer"), Some("operator"), Some("chief")];

fn ask(relay: &Relay, method: &str, path: &str, headers: Vec<String>) -> Answer {
    let path = path.replace("GROUP", "239.200.7.7:5000").replace("OTHER", "239.201.7.7:5000");
    let mut headers = headers;
    let method = if method == "WS" {
        headers.extend(
            [
                "connection: Upgrade",
                "upgrade: websocket",
                "sec-websocket-version: 13",
                "sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==",
            ]
            .map(str::to_owned),
        );
        "GET"
    } else {
        method
    };
    relay.ask(method, &path, &headers, "")
}

#[test]
fn each_role_has_what_the_table_says_over_http() {
    let relay = start(&tokens());
    let mut wrong = Vec::new();
    for (method, path, expected) in EXPECTED {
        for (caller, expected) in CALLERS.iter().zip(expected) {
            let answer = ask(&relay, method, path, caller.map(bearer).unwrap_or_default());
            if answer.status != *expected {
                wrong.push(format!("{method} {path} as {caller:?}: {}, expected {expected}", answer.status));
            }
        }
        // An expired and a revoked token are none, but where nothing is needed.
        for token in ["expired", "revoked"] {
            let refused = if expected[0] == 401 { 401 } else { expected[0] };
            let answer = ask(&relay, method, path, bearer(token));
            if answer.status != refused && answer.status != 429 {
                wrong.push(format!("{method} {path} with {token}: {}, expected {refused}", answer.status));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_snapshot_is_for_those_who_may_watch_its_channel() {
    let relay = start(&tokens());
    let ask = |headers: &[String]| relay.get("/streams/mic/snapshot.jpg", headers).status;
    assert_eq!((ask(&[]), ask(&bearer("viewer")), ask(&bearer("camera-man"))), (401, 403, 403));
    // There is no picture yet, or no ffmpeg.
    assert!(matches!(ask(&bearer("watcher")), 204 | 501 | 503));
}

#[test]
fn a_token_may_be_presented_in_four_ways() {
    let relay = start(&tokens());
    let ways = |token: &str| {
        let password = BASE64_STANDARD.encode(format!("anyone:{token}"));
        [
            ("bearer", bearer(token), String::new()),
            ("basic", vec![format!("authorization: Basic {password}")], String::new()),
            ("cookie", vec![format!("cookie: a=b; tidecast_token={token}")], String::new()),
            ("query", Vec::new(), format!("?token={token}")),
        ]
    };
    for (token, expected) in [("viewer", 200), ("watcher", 403), ("wrong", 401), ("expired", 401)] {
        for (way, headers, query) in ways(token) {
            let answer = relay.get(&format!("/metrics{query}"), &headers);
            assert_eq!(answer.status, expected, "{token} by {way}: {answer:?}");
        }
    }
    // Handlers that know their own keys alone do not stumble over it.
    for path in ["/sse/cam", "/api/v1/channels", "/api/v1/live"] {
        assert_eq!(relay.get(&format!("{path}?token=chief"), &[]).status, 200, "{path}");
    }
    assert_eq!(ask(&relay, "WS", "/ws/cam?format=json&token=watcher", Vec::new()).status, 101);
    let nobody = relay.get("/metrics", &[]);
    assert_eq!(nobody.header("www-authenticate"), Some("Basic realm=\"tidecast\""));
    assert!(nobody.body.starts_with("this needs the role view: expected a token"), "{nobody:?}");
    // A page's own requests must not make the browser ask for a password.
    let page = relay.get("/metrics", &["sec-fetch-mode: cors".to_owned()]);
    assert_eq!(page.header("www-authenticate"), Some("Bearer realm=\"tidecast\""));
}

#[test]
fn wrong_tokens_are_slowed_down_and_right_ones_pass() {
    let relay = start(&tokens());
    let statuses: Vec<u16> = (0..13).map(|_| relay.get("/metrics", &bearer("guess")).status).collect();
    assert_eq!(statuses[..10], [401; 10], "{statuses:?}");
    assert!(statuses[12] == 429, "{statuses:?}");
    assert!(relay.get("/metrics", &bearer("guess")).header("retry-after").is_some());
    assert_eq!(relay.get("/metrics", &bearer("viewer")).status, 200);
    let lines = relay.lines(&["AUTH guess"]);
    assert_eq!(lines, ["ERR too many wrong tokens from this host: expected a right one, or a pause"]);
}

#[test]
fn readiness_has_no_names_for_those_who_may_not_view() {
    let relay = start(&tokens());
    assert_eq!(relay.get("/readyz", &[]).body, "ready\n");
}

#[test]
fn tcp_clients_present_a_token_first() {
    let relay = start(&tokens());
    assert_eq!(
        relay.lines(&["LIST", "SUBSCRIBE cam", "STATS"])[..2],
        [
            "ERR this needs the role watch: expected AUTH token first",
            "ERR this needs the role watch: expected AUTH token first",
        ]
    );
    let all = relay.lines(&["AUTH watcher", "LIST"]);
    assert_eq!(all[0], "OK {\"user\":\"watcher\"}");
    assert!(all[1].contains("\"cam\"") && all[1].contains("\"mic\""), "{all:?}");
    let some = relay.lines(&[
        "AUTH camera-man",
        "LIST",
        "SUBSCRIBE mic format=lines",
        "SUBSCRIBE /udp/239.201.7.7:5000 format=lines",
        "SUBSCRIBE cam format=lines",
    ]);
    assert!(some[1].contains("\"cam\"") && !some[1].contains("\"mic\""), "{some:?}");
    assert_eq!(some[2], "ERR this token is not for mic: expected one of its channels or groups");
    assert_eq!(some[3], "ERR this token is not for 239.201.7.7: expected one of its channels or groups");
    assert!(some[4].starts_with("OK {") && some[5].contains("celsius"), "{some:?}");
    let viewer = relay.lines(&["AUTH viewer", "LIST", "SUBSCRIBE cam"]);
    assert_eq!(viewer[1], "ERR this needs the role watch, which this token does not have");
    assert_eq!(viewer[2], viewer[1]);
    assert_eq!(relay.lines(&["AUTH expired"]), ["ERR this token has expired: expected a newer one"]);
    assert_eq!(relay.lines(&["AUTH wrong"]), ["ERR unknown token: expected one that the operator gave out"]);
}

#[test]
fn udp_subscribers_prove_a_token() {
    let relay = start(&tokens());
    for (name, token, may) in [
        ("cam", None, false),
        ("cam", Some("wrong"), false),
        ("cam", Some("expired"), false),
        ("cam", Some("viewer"), false),
        ("mic", Some("camera-man"), false),
        ("cam", Some("watcher"), true),
        ("cam", Some("camera-man"), true),
        ("mic", Some("chief"), true),
    ] {
        let (code, text) = relay.recv(name, token);
        let refused = text.contains("expects another token");
        assert_eq!(!refused, may, "{name} with {token:?}: {code:?} {text}");
    }
}

#[test]
fn without_a_token_the_anonymous_roles_count() {
    let relay = start(&format!("anonymous = [\"watch\"]\n{}", tokens()));
    assert_eq!(relay.get("/streams/cam", &[]).status, 200);
    assert_eq!(relay.get("/metrics", &[]).status, 401);
    assert!(relay.lines(&["LIST"])[0].starts_with("OK ["));
    assert!(!relay.recv("cam", None).1.contains("token"));
    // A wrong token is told, and not taken for none.
    assert_eq!(relay.get("/streams/cam", &bearer("wrong")).status, 401);
}

#[test]
fn without_rules_nothing_changes() {
    let relay = start("");
    assert_eq!(relay.get("/metrics", &[]).status, 200);
    assert_eq!(relay.get("/metrics", &bearer("any")).status, 200, "tokens of proxies are no concern");
    assert_eq!(relay.get("/streams/cam", &[]).status, 200);
    assert_eq!(relay.ask("DELETE", "/api/v1/streams/cam/clients/1", &[], "").status, 403);
    assert!(relay.lines(&["LIST"])[0].starts_with("OK ["));
}
