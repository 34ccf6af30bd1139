//! Signed links, the login, the audit log, and the clients of others.

use std::{
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use crate::{
    Relay, bearer,
    common::{PATIENCE, Running, have, now, tidecast, until},
    config, start, start_silent, tokens,
};
use tidecast_testkit::examples::python;

const LINKS: &str = "link_key = \"0707070707070707070707070707070707070707070707070707070707070707\"\n";

fn signed(relay: &Relay, path: &str, more: &[&str]) -> String {
    let file = config(relay.folder.path());
    let url = format!("http://{}{path}", relay.http);
    let output = tidecast(["token", "link", file.to_str().expect("text"), &url])
        .args(more)
        .output()
        .expect("tidecast token link");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let url = String::from_utf8(output.stdout).expect("text");
    url.trim().strip_prefix(&format!("http://{}", relay.http)).expect("the same server").to_owned()
}

#[test]
fn a_link_opens_its_stream_and_no_other_until_it_is_over() {
    let relay = start(&format!("{LINKS}{}", tokens()));
    let link = signed(&relay, "/streams/cam", &[]);
    assert_eq!(relay.get(&link, &[]).status, 200, "{link}");
    assert_eq!(relay.get(&format!("{link}&start=live"), &[]).status, 200, "options of players");
    assert_eq!(relay.get(&link.replace("/cam", "/mic"), &[]).status, 403);
    assert_eq!(relay.get(&link.replace("/streams/cam", "/metrics"), &[]).status, 401);
    assert_eq!(relay.get(&link.replace("exp=1", "exp=2"), &[]).status, 403);
    assert_eq!(relay.get(&signed(&relay, "/sse/cam", &[]), &[]).status, 200, "messages, too");
    let mine = signed(&relay, "/streams/cam", &["--addr", "127.0.0.1"]);
    assert_eq!(relay.get(&mine, &[]).status, 200, "{mine}");
    assert_eq!(relay.get(&mine.replace("&addr=127.0.0.1", ""), &[]).status, 403);
    let other = signed(&relay, "/streams/cam", &["--addr", "10.1.2.3"]);
    assert_eq!(relay.get(&other, &[]).status, 403);
    let short = signed(&relay, "/streams/cam", &["--for", "1s"]);
    assert_eq!(relay.get(&short, &[]).status, 200, "{short}");
    let answer =
        until("the link's end", || Some(relay.get(&short, &[])).filter(|answer| answer.status != 200));
    assert!(answer.status == 403 && answer.body.starts_with("this link has expired"), "{answer:?}");
    let file = config(relay.folder.path());
    let url = format!("http://{}/socket.io/", relay.http);
    let refused = tidecast(["token", "link", file.to_str().expect("text"), &url]).output().expect("runs");
    let text = String::from_utf8_lossy(&refused.stderr);
    assert!(text.contains("expected the address of a stream, with one of /streams/, /udp/"), "{text}");
}

#[test]
fn a_playlist_has_links_to_what_its_caller_may_watch() {
    let relay = start_silent(&format!("{LINKS}{}", tokens()));
    let text = relay.get("/playlist.m3u", &bearer("camera-man")).body;
    assert!(text.contains("/streams/cam?exp=") && !text.contains("mic"), "{text}");
    let url = text.lines().find(|line| line.starts_with("http://")).expect("an address");
    let path = url.strip_prefix(&format!("http://{}", relay.http)).expect("the same server");
    assert_eq!(relay.get(path, &[]).status, 200, "{url}");
    drop(relay);
    // Without a key the token in the address is carried on.
    let relay = start_silent(&tokens());
    let text = relay.get("/playlist.m3u?token=watcher", &[]).body;
    assert!(text.contains("/streams/cam?token=watcher\n"), "{text}");
    let text = relay.get("/playlist.m3u", &bearer("watcher")).body;
    assert!(text.contains("/streams/cam\n"), "{text}");
}

#[test]
fn a_browser_logs_in_by_a_form_and_keeps_a_cookie() {
    let relay = start(&tokens());
    let html = ["accept: text/html".to_owned()];
    let form = relay.get("/", &html);
    assert!(form.status == 401 && form.body.contains("<form method=\"post\" action=\"/login\">"), "{form:?}");
    assert!(
        form.header("content-security-policy").is_some_and(|policy| policy.contains("default-src 'none'"))
    );
    let wrong = relay.ask("POST", "/login", &html, "token=wrong&to=/");
    assert!(wrong.status == 401 && wrong.body.contains("<p role=\"alert\">unknown token"), "{wrong:?}");
    let right = relay.ask("POST", "/login", &html, "username=tidecast&token=viewer&to=%2Fmetrics");
    assert_eq!((right.status, right.header("location")), (303, Some("/metrics")));
    let cookie = right.header("set-cookie").expect("a cookie");
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    let pair = cookie.split(';').next().expect("a pair");
    assert_eq!(relay.get("/metrics", &[format!("cookie: {pair}")]).status, 200);
    for elsewhere in ["//evil.example", "https:evil", "%2F%2Fevil.example", "/\\evil.example"] {
        let answer = relay.ask("POST", "/login", &html, &format!("token=viewer&to={elsewhere}"));
        assert_eq!(answer.header("location"), Some("/"), "{elsewhere}");
    }
    let evil = [html[0].clone(), "origin: http://evil.example".to_owned()];
    assert_eq!(relay.ask("POST", "/login", &evil, "token=viewer").status, 403, "another site's form");
    let out = relay.ask("POST", "/logout", &[format!("cookie: {pair}")], "");
    assert!(out.header("set-cookie").is_some_and(|cookie| cookie.contains("Max-Age=0")), "{out:?}");
}

#[test]
fn the_audit_log_says_who_did_what_and_has_no_token() {
    let mut relay = start(&format!("{LINKS}{}", tokens()));
    assert_eq!(relay.get("/metrics", &bearer("sesame")).status, 401);
    assert_eq!(relay.get("/streams/mic?token=camera-man", &[]).status, 403);
    assert_eq!(relay.get("/metrics", &bearer("watcher")).status, 403);
    relay.lines(&["AUTH camera-man", "SUBSCRIBE mic"]);
    relay.lines(&["AUTH watcher", "SUBSCRIBE cam format=lines", "CLOSE"]);
    relay.recv("cam", Some("watcher"));
    let stream = relay.http;
    let mut listener = Command::new("curl");
    listener.args(["-sN", "-o", "/dev/null", &format!("http://{stream}/streams/cam?token=chief")]);
    let _listener = Running::start(listener);
    let id = until("the client", || {
        let text = relay.get("/api/v1/streams/cam/clients", &bearer("viewer")).body;
        let answer: serde_json::Value = serde_json::from_str(&text).ok()?;
        let client = answer["clients"].as_array()?.iter().find(|client| client["user"] == "chief")?;
        client["id"].as_u64()
    });
    relay.send(1);
    let path = format!("/api/v1/streams/cam/clients/{id}");
    assert_eq!(relay.ask("DELETE", &path, &bearer("operator"), "").status, 200);
    let lines = until("the lines", || {
        Some(relay.audit())
            .filter(|lines| lines.iter().filter(|line| line["event"] == "watched").count() >= 3)
    });
    relay.running.stop();
    let has = |event: &str, pairs: &[(&str, &str)]| {
        let fits = |line: &&serde_json::Value| {
            let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
            line["event"] == event && pairs.iter().all(|(key, part)| text(key).starts_with(part))
        };
        assert!(lines.iter().any(|line| fits(&line)), "no {event} {pairs:?} in {lines:#?}");
    };
    has("refused", &[("what", "GET /metrics"), ("why", "unknown token"), ("address", "127.0.0.1:")]);
    has(
        "refused",
        &[("what", "GET /streams/mic"), ("why", "this token is not for mic"), ("user", "camera-man")],
    );
    has("refused", &[("what", "GET /metrics"), ("why", "this needs the role view")]);
    has("refused", &[("what", "SUBSCRIBE mic"), ("user", "camera-man")]);
    has("watched", &[("channel", "cam"), ("transport", "tcp"), ("user", "watcher")]);
    has("watched", &[("channel", "cam"), ("transport", "udp"), ("user", "watcher")]);
    has("watched", &[("channel", "cam"), ("transport", "http"), ("user", "chief"), ("agent", "curl/")]);
    has("changed", &[("what", "disconnected 127.0.0.1:"), ("user", "operator")]);
    let text = std::fs::read_to_string(relay.folder.path().join("audit.jsonl")).expect("the log");
    assert!(!text.contains("sesame") && !text.contains("token="), "{text}");
}

#[test]
fn the_python_subscriber_proves_its_token() {
    let relay = start(&tokens());
    let run = |token: &str| {
        let mut command = python("subscriber");
        command.args([relay.udp.ip().to_string(), relay.udp.port().to_string()]);
        command.args(["cam", "1", token]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("python");
        let start = now();
        while start.elapsed() < PATIENCE && child.try_wait().expect("wait").is_none() {
            relay.send(u64::try_from(start.elapsed().as_millis()).expect("small"));
            thread::sleep(Duration::from_millis(50));
        }
        child.wait_with_output().expect("ends")
    };
    assert!(run("camera-man").status.success());
    let refused = run("wrong");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("refused: another token is expected"));
}

#[test]
fn players_present_a_password_or_follow_a_link() {
    if !have("curl") {
        return;
    }
    let relay = start(&format!("{LINKS}{}", tokens()));
    let curl = |args: &[&str]| {
        let output = Command::new("curl")
            .args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "-m", "2"])
            .args(args)
            .output();
        String::from_utf8(output.expect("curl").stdout).expect("text")
    };
    let stream = format!("http://{}/streams/cam", relay.http);
    assert_eq!(curl(&["-u", "me:watcher", &stream]), "200");
    assert_eq!(curl(&["-u", "me:wrong", &stream]), "401");
    assert_eq!(curl(&[&stream.replace("http://", "http://me:watcher@")]), "200");
    assert_eq!(curl(&["-H", "Authorization: Bearer watcher", &stream]), "200");
    let link = format!("http://{}{}", relay.http, signed(&relay, "/streams/cam", &[]));
    assert_eq!(curl(&[&link]), "200");
}
