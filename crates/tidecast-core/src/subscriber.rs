//! The subscriber's side of the exchange, without a socket: what to send and when, and what the
//! answers mean.

use std::time::{Duration, Instant};

use tidecast_wire::subscribe::{self, Answer, Ask, Cookie, Nonce, Refusal, Request, Verdict};

/// How long a subscriber waits for an answer.
pub const ASK_AGAIN: Duration = Duration::from_secs(1);

/// One subscription.
pub struct Subscriber {
    name: String,
    token: String,
    fresh: Box<dyn FnMut() -> Nonce + Send>,
    nonce: Nonce,
    state: State,
    /// When to send something next.
    due: Instant,
    /// Whether the stream has come before: then a refusal is no reason to give up.
    served: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Asking,
    Answering(Cookie),
    Subscribed { cookie: Cookie, until: Instant },
}

/// What a datagram from the relay is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// One of the stream.
    Stream,
    /// The relay has said that the stream comes, for the first time since it was asked.
    Granted,
    /// The stream cannot be had.
    Refused(Refusal),
    /// The relay says that the stream has ended; it is asked again.
    Ended,
    /// Nothing that anybody else must know.
    Nothing,
}

impl Subscriber {
    /// Asks from now on. `fresh` makes numbers that nobody can guess.
    pub fn new(
        name: &str,
        token: &str,
        now: Instant,
        mut fresh: Box<dyn FnMut() -> Nonce + Send>,
    ) -> Subscriber {
        let (name, token, nonce) = (name.to_owned(), token.to_owned(), fresh());
        Subscriber { name, token, fresh, nonce, state: State::Asking, due: now, served: false }
    }

    /// When [`Subscriber::poll`] has something to send.
    pub fn due(&self) -> Instant {
        self.due
    }

    /// What to send now, if anything.
    pub fn poll(&mut self, now: Instant) -> Option<Vec<u8>> {
        if now < self.due {
            return None;
        }
        let (ask, cookie) = match self.state {
            State::Asking => (Ask::Cookie, [0; 16]),
            State::Answering(cookie) => {
                // If this is lost, another cookie may be needed.
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

    /// What to send at the end.
    pub fn leave(&self) -> Option<Vec<u8>> {
        match self.state {
            State::Subscribed { cookie, .. } => Some(self.request(Ask::Leave, cookie)),
            _ => None,
        }
    }

    fn request(&self, ask: Ask, cookie: Cookie) -> Vec<u8> {
        Request { ask, nonce: self.nonce, cookie, name: &self.name, token: self.token.as_bytes() }.emit()
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

    /// A relay that was restarted knows no cookie of before, and perhaps not yet the stream.
    fn refused(&mut self, now: Instant, refusal: Refusal) -> Heard {
        let again = refusal == Refusal::Cookie && matches!(self.state, State::Subscribed { .. });
        self.state = State::Asking;
        self.due = if again { now } else { now + ASK_AGAIN };
        if self.served || refusal == Refusal::Cookie { Heard::Nothing } else { Heard::Refused(refusal) }
    }
}
