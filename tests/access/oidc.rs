//! Tokens of an OpenID Connect provider that others wrote (npm `oidc-provider`).

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

use crate::{
    Relay, bearer,
    common::{have_npm, until},
    start, tokens,
};

/// The provider; killed when dropped.
struct Provider {
    child: Child,
    address: SocketAddr,
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Provider {
    fn start() -> Option<Provider> {
        if !have_npm("oidc-provider") {
            return None;
        }
        let mut child = Command::new("node")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/access/oidc.mjs"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("node");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a port");
        let port: u16 = line.trim().parse().expect("a port");
        Some(Provider { child, address: SocketAddr::from(([127, 0, 0, 1], port)) })
    }

    /// An access token.
    fn token(&self, scope: &str, alg: &str, audience: &str, seconds: u32) -> String {
        let form =
            format!("grant_type=client_credentials&scope={scope}&resource=urn:{alg}:{audience}:{seconds}");
        let url = format!("http://{}/token", self.address);
        let output = Command::new("curl").args(["-s", "-u", "player:secret", "-d", &form, &url]).output();
        let answer = output.expect("curl").stdout;
        let answer: serde_json::Value = serde_json::from_slice(&answer).expect("JSON");
        answer["access_token"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    fn rules(&self) -> String {
        format!(
            "[jwt]\njwks = \"http://{0}/jwks\"\nissuer = \"http://{0}\"\naudience = \"tidecast\"\n",
            self.address
        )
    }
}

/// Waits until a relay has the keys of the provider.
fn wait_for_keys(relay: &Relay, token: &str) {
    until("the keys", || (relay.get("/metrics", &bearer(token)).status != 401).then_some(()));
}

#[test]
fn tokens_of_a_provider_play_a_stream() {
    let Some(provider) = Provider::start() else { return };
    let relay = start(&format!("{}{}", provider.rules(), tokens()));
    wait_for_keys(&relay, &provider.token("view", "RS256", "tidecast", 60));
    for alg in ["RS256", "ES256", "EdDSA"] {
        let token = provider.token("watch", alg, "tidecast", 60);
        assert_eq!(relay.get("/streams/cam", &bearer(&token)).status, 200, "{alg}");
        assert_eq!(
            relay.get(&format!("/streams/cam?token={token}"), &[]).status,
            200,
            "{alg} in the address"
        );
        let refused = relay.get("/metrics", &bearer(&token));
        assert!(refused.status == 403 && refused.body.contains("this needs the role view"), "{refused:?}");
    }
    let all = provider.token("watch%20view%20operate", "RS256", "tidecast", 60);
    assert_eq!(relay.get("/metrics", &bearer(&all)).status, 200);
    let missing = "/api/v1/streams/cam/clients/99999";
    assert_eq!(relay.ask("DELETE", missing, &bearer(&all), "").status, 404);
    let lines = relay.lines(&[&format!("AUTH {}", provider.token("watch", "ES256", "tidecast", 60)), "LIST"]);
    assert_eq!(lines[0], "OK {\"user\":\"jwt:player\"}");
    assert!(lines[1].contains("\"cam\""), "{lines:?}");
    // Tokens of the file count beside them.
    assert_eq!(relay.get("/metrics", &bearer("viewer")).status, 200);
}

#[test]
fn other_tokens_are_refused_with_the_reason() {
    let Some(provider) = Provider::start() else { return };
    let relay = start(&provider.rules());
    let good = provider.token("view", "RS256", "tidecast", 60);
    wait_for_keys(&relay, &good);
    let part = |value: &str| BASE64_URL_SAFE_NO_PAD.encode(value);
    let parts: Vec<&str> = good.split('.').collect();
    let none = format!("{}.{}.", part("{\"alg\":\"none\",\"kid\":\"key-RS256\"}"), parts[1]);
    let shared = format!("{}.{}.{}", part("{\"alg\":\"HS256\",\"kid\":\"key-RS256\"}"), parts[1], parts[2]);
    let more = part(
        &String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(parts[1]).expect("base64"))
            .expect("text")
            .replace("\"view\"", "\"operate\""),
    );
    let more = format!("{}.{more}.{}", parts[0], parts[2]);
    let other_alg =
        format!("{}.{}.{}", part("{\"alg\":\"ES256\",\"kid\":\"key-RS256\"}"), parts[1], parts[2]);
    for (token, why) in [
        (
            provider.token("view", "RS256", "elsewhere", 60),
            "it is for another audience, expected \"tidecast\"",
        ),
        (more, "its signature is wrong"),
        (none, "it is malformed"),
        (shared, "HS256 signs it, expected RS256, ES256 or EdDSA"),
        (other_alg, ""),
        (
            format!("{}.{}.{}", part("{\"alg\":\"RS256\",\"kid\":\"x\"}"), parts[1], parts[2]),
            "its key (kid) is none",
        ),
        (format!("{}.{}.{}", part("{\"alg\":\"RS256\"}"), parts[1], parts[2]), "it names no key (kid)"),
    ] {
        let answer = relay.get("/metrics", &bearer(&token));
        assert!(answer.status == 401 && answer.body.contains(why), "{token}\n{why}: {answer:?}");
    }
    assert_eq!(relay.get("/metrics", &bearer(&good)).status, 200);
    let other = Provider::start().expect("a second one");
    let foreign = relay.get("/metrics", &bearer(&other.token("view", "RS256", "tidecast", 60)));
    assert!(foreign.status == 401 && foreign.body.contains("its signature is wrong"), "{foreign:?}");
}

#[test]
fn a_token_ends_at_its_time_and_a_provider_may_be_away() {
    let Some(provider) = Provider::start() else { return };
    let relay = start(&provider.rules());
    let good = provider.token("view", "EdDSA", "tidecast", 60);
    wait_for_keys(&relay, &good);
    let short = provider.token("view", "EdDSA", "tidecast", 1);
    assert_eq!(relay.get("/metrics", &bearer(&short)).status, 200);
    drop(provider);
    let answer =
        until("its end", || Some(relay.get("/metrics", &bearer(&short))).filter(|it| it.status != 200));
    assert!(answer.status == 401 && answer.body.starts_with("this token has expired"), "{answer:?}");
    assert_eq!(relay.get("/metrics", &bearer(&good)).status, 200, "the keys are known");
}

#[test]
fn a_provider_that_does_not_answer_is_told() {
    let port = crate::free_port();
    let mut relay = start(&format!(
        "[jwt]\njwks = \"http://127.0.0.1:{port}/jwks\"\nissuer = \"http://127.0.0.1:{port}\"\naudience = \"tidecast\"\n"
    ));
    relay.running.wait_for_line("cannot get the keys for JWT from http://127.0.0.1:");
    assert_eq!(relay.get("/metrics", &bearer("a.b.c")).status, 401);
}
