//! Tests of `[access]` and `[[token]]`.

use super::*;
use crate::config::Role;

const DIGEST: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

fn token(lines: &str) -> String {
    format!("[[token]]\nname = \"lobby\"\nsha256 = \"{DIGEST}\"\n{lines}\n{}", channel(""))
}

#[test]
fn a_token_watches_unless_more_is_said() {
    let config: Config = token("").parse().unwrap();
    let token = &config.access.tokens[0];
    assert!(token.roles.has(Role::Watch) && !token.roles.has(Role::View) && token.expires.is_none());
    assert!(token.scope.has_channel("any") && config.access.has_rules());
    assert!(!"".parse::<Config>().unwrap().access.has_rules());
}

#[test]
fn wrong_tokens_are_named() {
    for (lines, expected) in [
        ("roles = [\"admin\"]", "token[0].roles[0] = \"admin\": expected watch, view or operate"),
        ("roles = []", "token[0].roles: no role, expected watch, view or operate"),
        ("channels = [\"came\"]", "no [[channel]] has this name, expected one that has, such as \"cam\""),
        ("channels = [\"a/b\"]", "expected a channel's name, or the start of names and *"),
        ("groups = [\"10.0.0.0/8\"]", "expected multicast groups only"),
        ("expires = \"soon\"", "expected a time in UTC such as 2027-01-31T12:00:00Z"),
        ("role = \"view\"", "token[0].role: unknown key, did you mean \"roles\"?"),
    ] {
        let text = error(&token(lines));
        assert!(text.contains(expected), "{text}");
    }
    for (text, expected) in [
        ("[[token]]\nname = \"a\"", "token[0].sha256: missing, expected what `tidecast token new` prints"),
        (
            "[[token]]\nname = \"a\"\nsha256 = \"12\"",
            "expected 64 hexadecimal digits, these are 2 characters",
        ),
        (
            "access.anonymous = []",
            "nobody may do anything: expected a [[token]], or a role such as \"watch\"",
        ),
        ("access.link_key = \"secret\"", "access.link_key = \"secret\": expected 64 hexadecimal digits"),
        ("access.audit = \"\"", "expected a file, or - for standard error"),
        ("[jwt]\njwks = \"keys.json\"", "jwt.issuer: missing, expected the tokens' iss"),
        ("jwt.jwks = \"http://login.example/keys\"", "expected https://, or http:// on this host, or a file"),
        (
            "jwt.jwks = \"http://localhost.example/keys\"",
            "expected https://, or http:// on this host, or a file",
        ),
        (
            "[[token]]\nname = \"link\"\nsha256 = \"12\"",
            "expected another name: this one is that of signed links",
        ),
        ("udp.token = \"x\"", "udp.token: unknown key"),
    ] {
        let text = error(text);
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn each_token_stands_there_once() {
    let twice = token("") + &token("").replace("name = \"cam\"", "name = \"cam2\"").replace(":5000", ":5001");
    let text = error(&twice);
    assert!(text.contains("token[1].name = \"lobby\": expected another name, see line 2"), "{text}");
    assert!(text.contains("the token \"lobby\" has it already, expected a token of its own"), "{text}");
}

#[test]
fn what_allows_less_ends_what_it_has_opened() {
    let access = |text: &str| text.parse::<Config>().unwrap().access;
    let (old, day) = (access(&token("")), Duration::from_secs(86_400 * 365 * 57));
    let ends = |newer: &str, user: Option<&str>| old.ends(&access(newer), user, day);
    assert!(!ends(&token(""), Some("lobby")) && !ends(&token("expires = \"2999-01-01\""), Some("lobby")));
    assert!(ends("", Some("lobby")) && ends(&token("roles = [\"view\"]"), Some("lobby")));
    assert!(ends(&token("channels = [\"cam\"]"), Some("lobby")));
    assert!(ends(&token("expires = \"2020-01-01\""), Some("lobby")));
    let open = access("");
    assert!(open.ends(&old, None, day), "the first token closes what was open");
    assert!(!old.ends(&open, None, day) && !open.ends(&open, None, day));
    let key = |digit: &str| access(&format!("access.link_key = \"{}\"", digit.repeat(64)));
    assert!(key("1").ends(&key("2"), Some("link"), day) && !key("1").ends(&key("1"), Some("link"), day));
    let jwt =
        |audience: &str| access(&format!("[jwt]\njwks = \"k\"\nissuer = \"i\"\naudience = \"{audience}\""));
    assert!(
        jwt("a").ends(&jwt("b"), Some("jwt:ann"), day) && !jwt("a").ends(&jwt("a"), Some("jwt:ann"), day)
    );
}
