//! Client side of a UDP subscription, without a socket: what to send and when, and how to read the
//! answers.

use std::time::{Duration, Instant};

use tidecast_wire::subscribe::{self, Answer, Ask, Cookie, Nonce, Refusal, Request, TokenDigest, Verdict};

/// How long a subscriber waits for an answer.
pub const ASK_AGAIN: Duration = Duration::from_secs(1);

/// One subscription.
pub struct Subscriber {
    name: String,
    /// Of its token, if it has one.
    token: Option<TokenDigest>,
    fresh: Box<dyn FnMut() -> Nonce + Send>,
    nonce: Nonce,
    state: State,
    /// When to send the next datagram.
    due: Instant,
    /// Whether the stream has come before; then a refusal is not final.
    served: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Asking,
    Answering(Cookie),
    Subscribed { cookie: Cookie, until: Instant },
}

/// Meaning of a datagram from the relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// A packet of the stream.
    Stream,
    /// The relay grants the subscription, for the first time since the request.
    Granted,
    /// The relay refuses the subscription.
    Refused(Refusal),
    /// The stream has ended; the subscriber requests it again.
    Ended,
    /// Nothing that concerns the caller.
    Nothing,
}

impl Subscriber {
    /// Creates a subscription and starts to send requests. `token`: what the relay expects; may be
    /// empty. `fresh` returns unpredictable numbers.
    pub fn new(
        name: &str,
        token: &str,
        now: Instant,
        mut fresh: Box<dyn FnMut() -> Nonce + Send>,
    ) -> Subscriber {
        let (name, nonce) = (name.to_owned(), fresh());
        let token = (!token.is_empty()).then(|| TokenDigest::of(token));
        Subscriber { name, token, fresh, nonce, state: State::Asking, due: now, served: false }
    }

    /// When [`Subscriber::poll`] has something to send.
    pub fn due(&self) -> Instant {
        self.due
    }

    /// The datagram to send now, if any.
    pub fn poll(&mut self, now: Instant) -> Option<Vec<u8>> {
        if now < self.due {
            return None;
        }
        let (ask, cookie) = match self.state {
            State::Asking => (Ask::Cookie, [0; 16]),
            State::Answering(cookie) => {
                // If this is lost, a new cookie may be needed.
                self.state = State::Asking;
                (Ask::Subscribe, cookie)
            }
            State::Subscribed { until, .. } if until <= now => {
                self.state = State::Asking;
                (Ask::Cookie, [0; 16])
            }
            State::Subscribed { cookie, .. } => (Ask::Subscribe, cookie),
        };
        if ask == Ask::Cookie {
            self.nonce = (self.fresh)();
        }
        self.due = now + ASK_AGAIN;
        Some(self.request(ask, cookie))
    }

    /// The datagram to send at the end.
    pub fn leave(&self) -> Option<Vec<u8>> {
        match self.state {
            State::Subscribed { cookie, .. } => Some(self.request(Ask::Leave, cookie)),
            _ => None,
        }
    }

    fn request(&self, ask: Ask, cookie: Cookie) -> Vec<u8> {
        let request = Request { ask, nonce: self.nonce, cookie, name: &self.name, proof: &[] };
        match &self.token {
            Some(token) => Request { proof: &token.prove(&request), ..request }.emit(),
            None => request.emit(),
        }
    }

    /// Takes a datagram from the relay.
    pub fn handle(&mut self, now: Instant, bytes: &[u8]) -> Heard {
        if !subscribe::is_message(bytes) {
            return Heard::Stream;
        }
        let Some(answer) = Answer::parse(bytes).filter(|answer| answer.nonce == self.nonce) else {
            return Heard::Nothing;
        };
        match answer.verdict {
            Verdict::Cookie => {
                if self.state == State::Asking {
                    (self.state, self.due) = (State::Answering(answer.cookie), now);
                }
                Heard::Nothing
            }
            Verdict::Granted { lease, renew } => {
                let first = !matches!(self.state, State::Subscribed { .. });
                let until = now + Duration::from_secs(lease.into());
                self.state = State::Subscribed { cookie: answer.cookie, until };
                self.due = now + Duration::from_secs(renew.into());
                self.served = true;
                if first { Heard::Granted } else { Heard::Nothing }
            }
            Verdict::Refused(refusal) => self.refused(now, refusal),
            Verdict::Ended => {
                (self.state, self.due) = (State::Asking, now + ASK_AGAIN);
                Heard::Ended
            }
        }
    }

    /// After its restart, a relay does not know the old cookie, and perhaps not the stream yet.
    fn refused(&mut self, now: Instant, refusal: Refusal) -> Heard {
        let again = refusal == Refusal::Cookie && matches!(self.state, State::Subscribed { .. });
        self.state = State::Asking;
        self.due = if again { now } else { now + ASK_AGAIN };
        if self.served || refusal == Refusal::Cookie { Heard::Nothing } else { Heard::Refused(refusal) }
    }
}
