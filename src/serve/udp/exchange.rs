//! The relay's side of UDP subscriptions, without sockets: who may subscribe to what, and for how
//! long.
//!
//! Nothing is stored for a request before its cookie has come back, so the cookie is computed from
//! the request alone: SipHash of address, port, nonce, stream and time under a secret key, like
//! DNS cookies (RFC 9018). Answers before that are not longer than the request, and their number
//! is limited by a budget.

use std::{
    collections::HashMap,
    hash::Hasher,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use siphasher::sip128::{Hasher128, SipHasher24};

use crate::{
    access::{Access, Denied},
    budget::PerSecond,
    limits::{COOKIE_KEY_LIFE, COOKIE_VALID, UDP_ANSWERS_PER_SECOND, UDP_RENEWALS},
    shares::{Caller, Place, Resource, Shares},
};
use tidecast_wire::subscribe::{Answer, Ask, Cookie, Nonce, Refusal, Request, Verdict};

/// Bytes of a cookie with its creation time, in tenths of a second since the start of the
/// exchange.
const TIME_BYTES: usize = 4;
/// A tenth of a second.
const TICK_MS: u128 = 100;

/// A secret key.
pub type Key = [u8; 16];

/// Requirements for subscribers.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Who may receive what.
    pub access: Access,
    /// Maximum subscribers, in all and per host.
    pub shares: Shares,
    /// How long a stream is sent without a renewal.
    pub lease: Duration,
}

/// State of the exchange with all subscribers.
pub struct Exchange {
    rules: Rules,
    keys: Keys,
    began: Instant,
    clients: HashMap<SocketAddr, Client>,
    /// Answers to unknown senders.
    answers: PerSecond,
}

#[derive(Debug)]
struct Client {
    name: String,
    nonce: Nonce,
    cookie: Cookie,
    until: Instant,
    place: Place,
}

/// Result of a datagram.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reaction {
    /// Answer to the sender; shorter than the request.
    pub answer: Option<Answer>,
    /// New or ended subscription, if any.
    pub change: Option<Change>,
    /// Outcome for the counters.
    pub outcome: Outcome,
}

/// Outcome of a datagram.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A cookie was requested and sent.
    Cookie,
    /// A subscription starts.
    Granted,
    /// A subscription is renewed.
    Renewed,
    /// A subscriber ends its subscription.
    Left,
    /// The request was refused.
    Refused(Refusal),
    /// The sender ends a subscription that does not exist: not answered.
    #[default]
    Stray,
    /// It is not a request: not answered.
    Malformed,
    /// There were too many in this second: not answered.
    Throttled,
    /// Not a request: ICMP reports that a subscriber is gone, and its lease ends.
    Unreachable,
}

impl Outcome {
    /// All outcomes.
    pub const ALL: [Outcome; 12] = [
        Outcome::Cookie,
        Outcome::Granted,
        Outcome::Renewed,
        Outcome::Left,
        Outcome::Refused(Refusal::NoStream),
        Outcome::Refused(Refusal::Token),
        Outcome::Refused(Refusal::Full),
        Outcome::Refused(Refusal::Cookie),
        Outcome::Stray,
        Outcome::Malformed,
        Outcome::Throttled,
        Outcome::Unreachable,
    ];

    /// Label in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Cookie => "cookie",
            Outcome::Granted => "granted",
            Outcome::Renewed => "renewed",
            Outcome::Left => "left",
            Outcome::Refused(Refusal::NoStream) => "refused_no_stream",
            Outcome::Refused(Refusal::Token) => "refused_token",
            Outcome::Refused(Refusal::Full) => "refused_full",
            Outcome::Refused(Refusal::Cookie) => "refused_cookie",
            Outcome::Refused(Refusal::Other(_)) => "refused",
            Outcome::Stray => "stray",
            Outcome::Malformed => "malformed",
            Outcome::Throttled => "throttled",
            Outcome::Unreachable => "vanished",
        }
    }
}

/// A change of the subscribers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The sender gets this stream from now on, and no other one.
    Joined {
        /// Name of the stream.
        name: String,
        /// Name of the token that the sender has proved.
        user: Option<Arc<str>>,
    },
    /// The sender gets no stream any more.
    Left,
}

impl Exchange {
    /// An exchange without subscribers. `fresh` returns unpredictable keys.
    pub fn new(rules: Rules, now: Instant, fresh: Box<dyn FnMut() -> Key + Send>) -> Exchange {
        let (keys, answers) = (Keys::new(fresh, now), PerSecond::new(UDP_ANSWERS_PER_SECOND, now));
        Exchange { rules, keys, began: now, clients: HashMap::new(), answers }
    }

    /// Handles a datagram from this address. `known` returns whether a stream exists.
    pub fn handle(
        &mut self,
        now: Instant,
        from: SocketAddr,
        bytes: &[u8],
        known: impl FnOnce(&str) -> bool,
    ) -> Reaction {
        let Some(request) = Request::parse(bytes) else { return Reaction::silent(Outcome::Malformed) };
        let own =
            self.clients.get(&from).is_some_and(|client| client.is_behind(&request) && now < client.until);
        // The number of subscribers is bounded, so they need no budget.
        if !own && !self.answers.take(now) {
            return Reaction::silent(Outcome::Throttled);
        }
        let granted = match request.ask {
            Ask::Leave => Err(Denied::Unknown), // the cookie is enough
            _ => self.rules.access.with_proof(&request),
        };
        let granted = granted.ok().filter(|grant| grant.may_watch(request.name));
        match (request.ask, granted) {
            (Ask::Leave, _) if own => {
                self.clients.remove(&from);
                reaction(&request, Outcome::Left, Verdict::Ended, Some(Change::Left))
            }
            // There is no subscription to end, so there is no answer.
            (Ask::Leave, _) => Reaction::silent(Outcome::Stray),
            (_, None) => refused(&request, Refusal::Token),
            _ if !known(request.name) => refused(&request, Refusal::NoStream),
            (Ask::Cookie, _) if self.has_room(from) => {
                let cookie = self.cookie(now, from, &request);
                reaction(&Request { cookie, ..request }, Outcome::Cookie, Verdict::Cookie, None)
            }
            (Ask::Cookie, _) => refused(&request, Refusal::Full),
            (Ask::Subscribe, _) if !own && !self.is_valid(now, from, &request) => {
                refused(&request, Refusal::Cookie)
            }
            (Ask::Subscribe, Some(grant)) => match self.place(from) {
                Some(place) if own => self.grant(now, from, &request, place, None),
                Some(place) => {
                    let joined = Change::Joined { name: request.name.to_owned(), user: grant.user() };
                    self.grant(now, from, &request, place, Some(joined))
                }
                None => refused(&request, Refusal::Full),
            },
        }
    }

    fn grant(
        &mut self,
        now: Instant,
        from: SocketAddr,
        request: &Request<'_>,
        place: Place,
        change: Option<Change>,
    ) -> Reaction {
        let lease = self.rules.lease;
        let (name, nonce, cookie) = (request.name.to_owned(), request.nonce, request.cookie);
        self.clients.insert(from, Client { name, nonce, cookie, until: now + lease, place });
        let seconds = |time: Duration| u16::try_from(time.as_secs()).unwrap_or(u16::MAX).max(1);
        let verdict = Verdict::Granted { lease: seconds(lease), renew: seconds(lease / UDP_RENEWALS) };
        let outcome = if change.is_some() { Outcome::Granted } else { Outcome::Renewed };
        reaction(request, outcome, verdict, change)
    }

    /// Whether there is room for this subscriber, or it already has a place. Counts a refusal.
    fn has_room(&self, from: SocketAddr) -> bool {
        self.clients.contains_key(&from)
            || self.rules.shares.take(Resource::Udp, Caller::at(from.ip())).is_ok()
    }

    /// The place of this subscriber, or a new one.
    fn place(&mut self, from: SocketAddr) -> Option<Place> {
        match self.clients.remove(&from) {
            Some(client) => Some(client.place),
            None => self.rules.shares.take(Resource::Udp, Caller::at(from.ip())).ok(),
        }
    }

    /// Removes and returns the subscribers whose lease is over.
    pub fn expire(&mut self, now: Instant) -> Vec<SocketAddr> {
        let over: Vec<SocketAddr> =
            self.clients.iter().filter(|(_, client)| client.until <= now).map(|(at, _)| *at).collect();
        over.iter().for_each(|at| drop(self.clients.remove(at)));
        over
    }

    /// Removes a subscriber whose stream has ended; returns the message for it.
    pub fn end(&mut self, at: SocketAddr) -> Option<Answer> {
        let Client { nonce, cookie, .. } = self.clients.remove(&at)?;
        Some(Answer { verdict: Verdict::Ended, nonce, cookie })
    }

    #[cfg(test)]
    /// Addresses of the subscribers.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.clients.keys().copied().collect()
    }

    fn cookie(&mut self, now: Instant, from: SocketAddr, request: &Request<'_>) -> Cookie {
        let age = now.saturating_duration_since(self.began).as_millis() / TICK_MS;
        let time = (age as u32).to_be_bytes(); // wraps after 13 years
        self.keys.rotate(now);
        sealed(&self.keys.current, time, from, request)
    }

    fn is_valid(&mut self, now: Instant, from: SocketAddr, request: &Request<'_>) -> bool {
        let Some(time) = request.cookie.first_chunk::<TIME_BYTES>() else { return false };
        let made = self.began + Duration::from_millis(u64::from(u32::from_be_bytes(*time)) * TICK_MS as u64);
        let fresh = made <= now && now < made + COOKIE_VALID;
        self.keys.rotate(now);
        let keys = [self.keys.current, self.keys.previous];
        fresh && keys.iter().any(|key| is_same(&sealed(key, *time, from, request), &request.cookie))
    }
}

impl Reaction {
    fn silent(outcome: Outcome) -> Reaction {
        Reaction { outcome, ..Reaction::default() }
    }
}

impl Client {
    fn is_behind(&self, request: &Request<'_>) -> bool {
        self.name == request.name && self.nonce == request.nonce && is_same(&self.cookie, &request.cookie)
    }
}

fn reaction(request: &Request<'_>, outcome: Outcome, verdict: Verdict, change: Option<Change>) -> Reaction {
    let answer = Answer { verdict, nonce: request.nonce, cookie: request.cookie };
    Reaction { answer: Some(answer), change, outcome }
}

fn refused(request: &Request<'_>, refusal: Refusal) -> Reaction {
    let request = Request { cookie: [0; 16], ..*request };
    reaction(&request, Outcome::Refused(refusal), Verdict::Refused(refusal), None)
}

/// The time, and a code that only this relay can compute.
fn sealed(key: &Key, time: [u8; TIME_BYTES], from: SocketAddr, request: &Request<'_>) -> Cookie {
    let mut hasher = SipHasher24::new_with_key(key);
    let address = match from.ip() {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    hasher.write(&time);
    hasher.write(&address.octets());
    hasher.write(&from.port().to_be_bytes());
    hasher.write(&request.nonce);
    hasher.write(request.name.as_bytes());
    let mut cookie = hasher.finish128().as_bytes();
    cookie[..TIME_BYTES].copy_from_slice(&time);
    cookie
}

/// Compares in constant time.
fn is_same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

/// The key of new cookies, and the previous one, whose cookies may still come back.
struct Keys {
    current: Key,
    previous: Key,
    since: Instant,
    fresh: Box<dyn FnMut() -> Key + Send>,
}

impl Keys {
    fn new(mut fresh: Box<dyn FnMut() -> Key + Send>, now: Instant) -> Keys {
        Keys { current: fresh(), previous: fresh(), since: now, fresh }
    }

    fn rotate(&mut self, now: Instant) {
        if now.saturating_duration_since(self.since) >= COOKIE_KEY_LIFE {
            self.previous = std::mem::replace(&mut self.current, (self.fresh)());
            self.since = now;
        }
    }
}
