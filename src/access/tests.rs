//! Tests of tokens, proofs and links by the rules of a configuration.

use super::*;
use crate::config::Config;
use tidecast_wire::subscribe::Ask;

/// Access by a configuration in which `@NAME@` stands for the digest of the token NAME.
fn access(text: &str) -> Access {
    let mut text = text.to_owned();
    for token in ["watcher", "seer", "boss", "old", "part"] {
        let hex = hex::encode(TokenDigest::of(token).0);
        text = text.replace(&format!("@{token}@"), &hex);
    }
    Access::new(text.parse::<Config>().unwrap().access, false)
}

const RULES: &str = r#"
[access]
link_key = "0707070707070707070707070707070707070707070707070707070707070707"
[[token]]
name = "lobby"
sha256 = "@watcher@"
[[token]]
name = "grafana"
sha256 = "@seer@"
roles = ["view"]
[[token]]
name = "admin"
sha256 = "@boss@"
roles = ["watch", "operate"]
[[token]]
name = "guest"
sha256 = "@old@"
expires = "2020-01-01"
[[token]]
name = "club"
sha256 = "@part@"
channels = ["sport-*", "news"]
groups = ["239.1.0.0/16"]
[[channel]]
name = "news"
input = "udp://@239.1.1.1:5000"
"#;

fn roles(grant: &Grant) -> [bool; 3] {
    Role::ALL.map(|role| grant.has(role))
}

#[test]
fn tokens_have_their_roles() {
    let access = access(RULES);
    let with = |token: &str| access.with_token(Caller::Own, token).map(|grant| roles(&grant));
    assert_eq!(with("watcher"), Ok([true, false, false]));
    assert_eq!(with("seer"), Ok([false, true, false]));
    assert_eq!(with("boss"), Ok([true, true, true]));
    assert_eq!(with("old"), Err(Denied::Expired));
    assert_eq!(with("Watcher"), Err(Denied::Unknown));
    assert_eq!(roles(&access.anonymous()), [false; 3]);
    assert_eq!(access.anonymous().needs(Role::View), Err(Denied::NoToken(Role::View)));
    let seer = access.with_token(Caller::Own, "seer").unwrap();
    assert_eq!(seer.needs(Role::Operate), Err(Denied::Role(Role::Operate)));
    assert_eq!(seer.user().as_deref(), Some("grafana"));
}

#[test]
fn a_scope_bounds_what_is_watched() {
    let grant = access(RULES).with_token(Caller::Own, "part").unwrap();
    for good in ["news", "sport-1"] {
        assert_eq!(grant.channel(good, true), Ok(()));
    }
    assert_eq!(grant.channel("film", true), Err(Denied::Stream("film".to_owned())));
    assert_eq!(grant.group("239.1.2.3".parse().unwrap()), Ok(()));
    assert!(grant.group("239.2.2.3".parse().unwrap()).is_err());
    let unknown = grant.channel("sport-9", false);
    assert_eq!(unknown, Err(Denied::Stream("sport-9".to_owned())), "it does not learn which there are");
    let all = access(RULES).with_token(Caller::Own, "watcher").unwrap();
    assert_eq!((all.channel("film", true), all.group("239.2.2.3".parse().unwrap())), (Ok(()), Ok(())));
}

#[test]
fn without_rules_everyone_watches_and_views() {
    let open = access("");
    assert!(!open.has_rules());
    assert_eq!(roles(&open.anonymous()), [true, true, false]);
    assert_eq!(roles(&open.with_token(Caller::Own, "any").unwrap()), [true, true, false]);
    assert_eq!(roles(&Access::new(config::Access::default(), true).anonymous()), [true; 3]);
    let some = access("access.anonymous = [\"watch\"]");
    assert!(some.has_rules());
    assert_eq!(roles(&some.anonymous()), [true, false, false]);
}

#[test]
fn a_right_token_passes_however_many_wrong_ones_came() {
    let access = access(RULES);
    let wrong = |_| access.with_token(Caller::Own, "guess").unwrap_err();
    let answers: Vec<Denied> = (0..12).map(wrong).collect();
    assert!(answers[..10].iter().all(|answer| *answer == Denied::Unknown));
    assert!(answers[10..].iter().all(|answer| *answer == Denied::TooMany));
    assert!(access.with_token(Caller::Own, "watcher").is_ok());
}

#[test]
fn a_proof_has_the_roles_of_its_token() {
    let access = access(RULES);
    let request = Request { ask: Ask::Cookie, nonce: [1; 8], cookie: [0; 16], name: "news", proof: b"" };
    let with = |token: &str| {
        let proof = TokenDigest::of(token).prove(&request);
        access.with_proof(&Request { proof: &proof, ..request }).map(|grant| roles(&grant))
    };
    assert_eq!((with("watcher"), with("seer")), (Ok([true, false, false]), Ok([false, true, false])));
    assert_eq!((with("old"), with("guess")), (Err(Denied::Expired), Err(Denied::Unknown)));
    assert_eq!(access.with_proof(&request).map(|grant| roles(&grant)), Ok([false; 3]));
}

#[test]
fn a_link_opens_its_path_until_its_time() {
    let access = access(RULES);
    let watcher = access.with_token(Caller::Own, "watcher").unwrap();
    let text = access.sign("/streams/news", &watcher).unwrap();
    let link = Link::find(&text).unwrap();
    let grant = access.with_link(Caller::Own, "/streams/news", &link, None).unwrap();
    assert_eq!((roles(&grant), grant.user().as_deref()), ([true, false, false], Some("lobby")));
    let other = access.with_link(Caller::Own, "/streams/film", &link, None);
    assert_eq!(other.unwrap_err(), Denied::Forged);
    let ending = Grant { expires: Some(Duration::from_secs(5)), ..watcher };
    let text = access.sign("/streams/news", &ending).unwrap();
    let link = Link::find(&text).unwrap();
    assert!(text.starts_with("exp=5&"), "no longer than its token");
    let over = access.with_link(Caller::Own, "/streams/news", &link, None);
    assert_eq!(over.unwrap_err(), Denied::LinkExpired);
    let open = Access::new(config::Access::default(), false);
    assert_eq!(open.sign("/streams/news", &open.anonymous()), None);
}

#[test]
fn a_link_ends_with_the_token_that_it_came_from() {
    let access = access(RULES);
    let part = access.with_token(Caller::Own, "part").unwrap();
    let text = access.sign("/streams/news", &part).unwrap();
    let link = Link::find(&text).unwrap();
    let grant = access.with_link(Caller::Own, "/streams/news", &link, None).unwrap();
    assert_eq!(grant.user().as_deref(), Some("club"));
    assert!(grant.channel("film", true).is_err(), "no more than its token");
    access
        .replace(config::Access { tokens: Vec::new(), ..self::access(RULES).rules().config.clone() }, false);
    let gone = access.with_link(Caller::Own, "/streams/news", &link, None);
    assert_eq!(gone.unwrap_err(), Denied::Unknown);
    assert_eq!(access.renew(&part).unwrap_err(), Denied::Unknown);
}
