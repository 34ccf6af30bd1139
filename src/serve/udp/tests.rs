//! Tests of both sides of the exchange together, over links that lose and change datagrams, with
//! the time as an argument.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use proptest::prelude::*;

use super::exchange::{Change, Exchange, Key, Outcome, Reaction, Rules};
use crate::{
    access::Access,
    config::Config,
    limits::{COOKIE_KEY_LIFE, COOKIE_VALID, UDP_ANSWERS_PER_SECOND, UDP_LEASE},
    shares::{Bounds, Resource, Shares},
};
use tidecast_core::subscriber::{Heard, Subscriber};
use tidecast_net::clock;
use tidecast_wire::subscribe::{ANSWER_BYTES, Answer, Ask, Refusal, Request, TokenDigest, Verdict};

const SECOND: Duration = Duration::from_secs(1);

fn keys(seed: u8) -> Box<dyn FnMut() -> Key + Send> {
    let mut next = seed;
    Box::new(move || {
        next = next.wrapping_add(1);
        [next; 16]
    })
}

/// Access by a configuration.
fn access(text: &str) -> Access {
    Access::new(text.parse::<Config>().unwrap().access, false)
}

/// Those who know the token `secret` may watch `cam` and whatever begins like it.
fn secret() -> Access {
    let digest = hex::encode(TokenDigest::of("secret").0);
    access(&format!(
        "[[token]]\nname = \"t\"\nsha256 = \"{digest}\"\nchannels = [\"cam*\"]\n[[channel]]\nname = \"cam\"\ninput = \"udp://@239.1.1.1:5000\""
    ))
}

fn rules() -> Rules {
    let mut bounds = Bounds::default();
    bounds.set_max(Resource::Udp, 2);
    bounds.set_share(Resource::Udp, 100);
    Rules { access: access(""), shares: Shares::new(bounds), lease: UDP_LEASE }
}

fn exchange(now: Instant) -> Exchange {
    Exchange::new(rules(), now, keys(0))
}

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 7], port))
}

fn known(name: &str) -> bool {
    name == "cam" || name == "mic"
}

fn request(ask: Ask, name: &str) -> Request<'_> {
    Request { ask, nonce: [7; 8], cookie: [0; 16], name, proof: b"" }
}

/// A request with the proof of a token.
fn proved(token: &str, request: Request<'_>) -> Vec<u8> {
    Request { proof: &TokenDigest::of(token).prove(&request), ..request }.emit()
}

fn cookie_of(reaction: &Reaction) -> [u8; 16] {
    match reaction.answer {
        Some(Answer { verdict: Verdict::Cookie, cookie, .. }) => cookie,
        other => panic!("no cookie: {other:?}"),
    }
}

fn verdict(reaction: &Reaction) -> Option<Verdict> {
    reaction.answer.map(|answer| answer.verdict)
}

/// Sends a request and its cookie from this address; returns the request that renews.
fn join<'a>(exchange: &mut Exchange, now: Instant, from: SocketAddr, name: &'a str) -> Request<'a> {
    let reaction = exchange.handle(now, from, &request(Ask::Cookie, name).emit(), known);
    assert_eq!(reaction.change, None, "an ask alone changes nothing");
    let subscribe = Request { cookie: cookie_of(&reaction), ..request(Ask::Subscribe, name) };
    let reaction = exchange.handle(now, from, &subscribe.emit(), known);
    assert_eq!(reaction.change, Some(Change::Joined { name: name.to_owned(), user: None }));
    assert_eq!(verdict(&reaction), Some(Verdict::Granted { lease: 30, renew: 10 }));
    subscribe
}

#[test]
fn a_cookie_is_good_for_its_address_stream_and_time() {
    let now = clock::now();
    for (from, name, nonce, after, good) in [
        (at(1), "cam", 7, COOKIE_VALID - SECOND, true),
        (at(1), "cam", 7, COOKIE_VALID, false),
        (at(2), "cam", 7, SECOND, false),
        (at(1), "mic", 7, SECOND, false),
        (at(1), "cam", 8, SECOND, false),
        (SocketAddr::from(([10, 0, 0, 8], 1)), "cam", 7, SECOND, false),
    ] {
        let mut exchange = exchange(now);
        let cookie = cookie_of(&exchange.handle(now, at(1), &request(Ask::Cookie, "cam").emit(), known));
        let answer = Request { cookie, nonce: [nonce; 8], ..request(Ask::Subscribe, name) };
        let reaction = exchange.handle(now + after, from, &answer.emit(), known);
        let expected = if good { None } else { Some(Verdict::Refused(Refusal::Cookie)) };
        assert_eq!(reaction.change.is_some(), good, "{from} {name} {nonce} {after:?}");
        assert!(good || verdict(&reaction) == expected);
    }
}

#[test]
fn keys_rotate_and_cookies_outlive_one_rotation() {
    let start = clock::now();
    let mut exchange = exchange(start);
    let ask = request(Ask::Cookie, "cam").emit();
    let late = start + COOKIE_KEY_LIFE - SECOND;
    let cookie = cookie_of(&exchange.handle(late, at(1), &ask, known));
    // Another request meanwhile rotates the key.
    let other = cookie_of(&exchange.handle(late + SECOND * 2, at(2), &ask, known));
    assert_ne!(cookie[4..], other[4..]);
    let answer = Request { cookie, ..request(Ask::Subscribe, "cam") }.emit();
    assert!(exchange.handle(late + SECOND * 3, at(1), &answer, known).change.is_some());
    let mut restarted = Exchange::new(rules(), start, keys(100));
    let refused = restarted.handle(late + SECOND * 3, at(1), &answer, known);
    assert_eq!(verdict(&refused), Some(Verdict::Refused(Refusal::Cookie)));
}

#[test]
fn a_lease_lasts_while_it_is_renewed() {
    let start = clock::now();
    let mut exchange = exchange(start);
    let renewal = join(&mut exchange, start, at(1), "cam").emit();
    for seconds in [10, 20, 30, 59] {
        let now = start + SECOND * seconds;
        let reaction = exchange.handle(now, at(1), &renewal, known);
        assert_eq!((reaction.change, reaction.answer.is_some()), (None, true));
        assert_eq!(exchange.expire(now), []);
    }
    assert_eq!(exchange.expire(start + SECOND * 89 - Duration::from_millis(1)), []);
    assert_eq!(exchange.expire(start + SECOND * 89), [at(1)]);
    assert_eq!(exchange.addresses(), []);
    // Its cookie is too old by then.
    let reaction = exchange.handle(start + SECOND * 90, at(1), &renewal, known);
    assert_eq!(verdict(&reaction), Some(Verdict::Refused(Refusal::Cookie)));
}

#[test]
fn only_the_subscriber_itself_can_leave() {
    let now = clock::now();
    let mut exchange = exchange(now);
    let subscribed = join(&mut exchange, now, at(1), "cam");
    let forged = Request { ask: Ask::Leave, cookie: [1; 16], ..subscribed };
    assert_eq!(exchange.handle(now, at(1), &forged.emit(), known), Reaction::default());
    let leave = Request { ask: Ask::Leave, ..subscribed }.emit();
    assert_eq!(exchange.handle(now, at(2), &leave, known), Reaction::default());
    let reaction = exchange.handle(now, at(1), &leave, known);
    assert_eq!((reaction.change.clone(), verdict(&reaction)), (Some(Change::Left), Some(Verdict::Ended)));
    assert_eq!(exchange.addresses(), []);
}

#[test]
fn each_datagram_has_an_outcome() {
    let now = clock::now();
    let mut exchange = Exchange::new(Rules { access: secret(), ..rules() }, now, keys(0));
    let mut of = |from, bytes: &[u8]| {
        let reaction = exchange.handle(now, from, bytes, known);
        (reaction.outcome, reaction.answer.map(|answer| answer.cookie).unwrap_or_default())
    };
    let ask = request(Ask::Cookie, "cam");
    let (asked, cookie) = of(at(1), &proved("secret", ask));
    let subscribe = Request { ask: Ask::Subscribe, cookie, ..ask };
    let leave = Request { ask: Ask::Leave, ..subscribe };
    assert_eq!(asked, Outcome::Cookie);
    for (from, bytes, outcome) in [
        (1, subscribe.emit(), Outcome::Refused(Refusal::Token)),
        (1, proved("secret", subscribe), Outcome::Granted),
        (1, proved("secret", subscribe), Outcome::Renewed),
        (1, subscribe.emit(), Outcome::Refused(Refusal::Token)),
        (2, proved("secret", subscribe), Outcome::Refused(Refusal::Cookie)),
        (2, leave.emit(), Outcome::Stray),
        (2, ask.emit(), Outcome::Refused(Refusal::Token)),
        (2, proved("secret", Request { name: "cam2", ..ask }), Outcome::Refused(Refusal::NoStream)),
        (2, b"hello".to_vec(), Outcome::Malformed),
        (1, leave.emit(), Outcome::Left),
        (1, leave.emit(), Outcome::Stray),
    ] {
        assert_eq!(of(at(from), &bytes).0, outcome);
        assert!(Outcome::ALL.contains(&outcome));
    }
}

#[test]
fn refusals_name_their_reason() {
    let now = clock::now();
    let mut exchange = Exchange::new(Rules { access: secret(), ..rules() }, now, keys(0));
    let ask = request(Ask::Cookie, "cam");
    let mut refusal = |from, bytes: &[u8]| verdict(&exchange.handle(now, from, bytes, known));
    assert_eq!(refusal(at(1), &proved("secret", ask)), Some(Verdict::Cookie));
    for token in ["", "secre", "secret1", "Secret"] {
        let refused = Some(Verdict::Refused(Refusal::Token));
        assert_eq!(refusal(at(1), &proved(token, ask)), refused);
        // Without the token, a client cannot find out names either.
        assert_eq!(refusal(at(1), &proved(token, Request { name: "x", ..ask })), refused);
    }
    // Nor with the token of another stream.
    let other = Request { name: "mic", ..ask };
    assert_eq!(refusal(at(1), &proved("secret", other)), Some(Verdict::Refused(Refusal::Token)));
    let missing = Request { name: "cam2", ..ask };
    assert_eq!(refusal(at(1), &proved("secret", missing)), Some(Verdict::Refused(Refusal::NoStream)));

    let mut exchange = self::exchange(now);
    join(&mut exchange, now, at(1), "cam");
    let second = join(&mut exchange, now, at(2), "mic");
    let third = exchange.handle(now, at(3), &request(Ask::Cookie, "cam").emit(), known);
    assert_eq!(verdict(&third), Some(Verdict::Refused(Refusal::Full)));
    // A subscriber may change its stream.
    join(&mut exchange, now, at(2), "cam");
    assert_eq!(exchange.addresses().len(), 2);
    // The previous stream is not continued.
    let reaction = exchange.handle(now, at(2), &second.emit(), known);
    assert_eq!(
        reaction.change,
        Some(Change::Joined { name: "mic".to_owned(), user: None }),
        "its cookie is still good"
    );
}

#[test]
fn a_flood_leaves_nothing_behind_and_subscribers_go_on() {
    let start = clock::now();
    let mut exchange = exchange(start);
    let renewal = join(&mut exchange, start, at(1), "cam").emit();
    let (mut answered, ask) = (0, request(Ask::Cookie, "cam").emit());
    let forged = Request { cookie: [3; 16], ..request(Ask::Subscribe, "cam") }.emit();
    for n in 0..3 * UDP_ANSWERS_PER_SECOND {
        let from = SocketAddr::from((n.to_be_bytes(), 9));
        let bytes = if n % 2 == 0 { &ask } else { &forged };
        let reaction = exchange.handle(start + SECOND / 2, from, bytes, known);
        assert_eq!(reaction.change, None);
        answered += u32::from(reaction.answer.is_some());
        assert_eq!(reaction.outcome == Outcome::Throttled, reaction.answer.is_none());
    }
    assert_eq!(answered, UDP_ANSWERS_PER_SECOND - 2, "two were answered before");
    assert_eq!(exchange.addresses(), [at(1)]);
    assert!(exchange.handle(start + SECOND / 2, at(1), &renewal, known).answer.is_some());
    assert!(exchange.handle(start + SECOND * 2, at(5), &ask, known).answer.is_some());
}

proptest! {
    /// Before its cookie has come back, an address gets no stream, and never more bytes than it
    /// sent.
    #[test]
    fn nothing_is_amplified(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        shaped: bool,
        kind in 0_u8..5,
        lengths in (0_u8..80, 0_u8..80),
    ) {
        let now = clock::now();
        let mut exchange = exchange(now);
        let mut bytes = bytes;
        if shaped && bytes.len() >= 43 {
            bytes[..8].copy_from_slice(b"tidesub1");
            (bytes[8], bytes[10], bytes[11]) = (kind, lengths.0, lengths.1);
            bytes[40..43].copy_from_slice(b"cam");
        }
        let reaction = exchange.handle(now, at(1), &bytes, known);
        prop_assert_eq!(reaction.change, None);
        prop_assert!(reaction.answer.is_none() || ANSWER_BYTES <= bytes.len());
    }

    /// However datagrams are lost, duplicated or delayed, a subscriber finally gets its stream,
    /// keeps it, and gets it again after a restart of the relay.
    #[test]
    fn a_bad_link_delays_and_no_more(losses in proptest::collection::vec(0_u8..10, 600), restart in 20_u32..60) {
        let start = clock::now();
        let mut exchange = exchange(start);
        let mut nonce = 0_u64;
        let fresh = Box::new(move || { nonce += 1; nonce.to_be_bytes() });
        let mut subscriber = Subscriber::new("cam", "", start, fresh);
        let (mut served, mut tries) = (0, losses.into_iter().cycle());
        let mut passes = move || tries.next().is_some_and(|chance| chance >= 3);
        for tick in 0..3000_u32 {
            let now = start + SECOND / 10 * tick;
            if tick == restart * 10 {
                exchange = Exchange::new(rules(), now, keys(50));
            }
            exchange.expire(now);
            served += u32::from(exchange.addresses() == [at(1)]);
            let Some(request) = subscriber.poll(now) else { continue };
            if !passes() { continue; }
            let Some(answer) = exchange.handle(now, at(1), &request, known).answer else { continue };
            if passes() {
                let heard = subscriber.handle(now, &answer.emit());
                prop_assert!(!matches!(heard, Heard::Refused(_) | Heard::Stream), "{heard:?}");
            }
        }
        prop_assert!(exchange.addresses() == [at(1)]);
        prop_assert!(served > 1500, "served for {served} of 3000 ticks");
    }
}

#[test]
fn a_subscriber_takes_no_answer_but_its_own() {
    let now = clock::now();
    let mut subscriber = Subscriber::new("cam", "", now, Box::new(|| [5; 8]));
    let asked = subscriber.poll(now).unwrap();
    assert_eq!(Request::parse(&asked).unwrap().ask, Ask::Cookie);
    assert_eq!(subscriber.poll(now), None);
    let answer = |nonce, verdict| Answer { verdict, nonce, cookie: [2; 16] }.emit();
    assert_eq!(subscriber.handle(now, &answer([6; 8], Verdict::Ended)), Heard::Nothing);
    assert_eq!(subscriber.handle(now, b"a datagram of the stream"), Heard::Stream);
    assert_eq!(subscriber.handle(now, &answer([5; 8], Verdict::Cookie)), Heard::Nothing);
    let back = subscriber.poll(now).unwrap();
    let back = Request::parse(&back).unwrap();
    assert_eq!((back.ask, back.cookie), (Ask::Subscribe, [2; 16]));
    let granted = answer([5; 8], Verdict::Granted { lease: 30, renew: 10 });
    assert_eq!(subscriber.handle(now, &granted), Heard::Granted);
    assert_eq!((subscriber.due(), subscriber.handle(now, &granted)), (now + SECOND * 10, Heard::Nothing));
    assert_eq!(subscriber.handle(now, &answer([5; 8], Verdict::Ended)), Heard::Ended);
    assert_eq!(subscriber.due(), now + SECOND);
    let mut refused = Subscriber::new("x", "", now, Box::new(|| [5; 8]));
    refused.poll(now);
    let no = answer([5; 8], Verdict::Refused(Refusal::NoStream));
    assert_eq!(refused.handle(now, &no), Heard::Refused(Refusal::NoStream));
}
