//! Messages of UDP subscriptions, version 1: `docs/udp-subscribe.md` is the reference.
//!
//! A request is never shorter than an answer, so that attackers cannot make a relay send more to
//! an address than they send in its name.

mod proof;

pub use proof::{PROOF_BYTES, TokenDigest};

/// Start of each message; the last byte is the version.
pub const MAGIC: [u8; 8] = *b"tidesub1";
/// Bytes of each answer.
pub const ANSWER_BYTES: usize = 40;
/// Minimum bytes of a request; it is padded with zeros.
pub const REQUEST_BYTES_MIN: usize = 64;
/// Maximum bytes of a request.
pub const REQUEST_BYTES_MAX: usize = NAME_AT + 2 * u8::MAX as usize;

const KIND_AT: usize = 8;
const CODE_AT: usize = 9;
const NAME_LENGTH_AT: usize = 10;
const PROOF_LENGTH_AT: usize = 11;
const LEASE_AT: usize = 10;
const RENEW_AT: usize = 12;
const NONCE_AT: usize = 16;
const COOKIE_AT: usize = 24;
const NAME_AT: usize = 40;

const _: () = assert!(ANSWER_BYTES <= REQUEST_BYTES_MIN);

/// A number that a subscriber chooses for each request; answers repeat it.
pub type Nonce = [u8; 8];
/// Proves that an address receives datagrams sent to it.
pub type Cookie = [u8; 16];

/// Kind of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// Requests a cookie.
    Cookie,
    /// Subscribes to the stream, or renews the lease.
    Subscribe,
    /// Ends the subscription.
    Leave,
}

/// A message from a subscriber.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request<'a> {
    /// Kind.
    pub ask: Ask,
    /// Repeated in the answer.
    pub nonce: Nonce,
    /// As received from the relay; zeros in a request for one.
    pub cookie: Cookie,
    /// Name of the stream.
    pub name: &'a str,
    /// Proof of a token ([`TokenDigest::prove`]); empty where the relay asks for none.
    pub proof: &'a [u8],
}

/// Why a subscription is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No stream has this name.
    NoStream,
    /// The request proves no token that may receive the stream.
    Token,
    /// There are too many subscribers.
    Full,
    /// The cookie is too old, or of another address: request another one.
    Cookie,
    /// A reason unknown to this version.
    Other(u8),
}

/// A message to a subscriber.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// Outcome of the request.
    pub verdict: Verdict,
    /// Copied from the request.
    pub nonce: Nonce,
    /// The requested cookie, or that of the request; zeros otherwise.
    pub cookie: Cookie,
}

/// Outcome of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Here is a cookie; subscribe with it.
    Cookie,
    /// The stream is sent.
    Granted {
        /// For this many seconds.
        lease: u16,
        /// Renew after this many seconds.
        renew: u16,
    },
    /// The stream is refused.
    Refused(Refusal),
    /// The stream has ended: as requested, or because the stream or the relay has ended.
    Ended,
}

/// Whether a datagram from a relay is an answer and not a packet of the stream.
pub fn is_message(bytes: &[u8]) -> bool {
    bytes.len() == ANSWER_BYTES && bytes.starts_with(&MAGIC)
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

impl<'a> Request<'a> {
    /// Parses a request. `None` if it is not one, or shorter than an answer.
    pub fn parse(bytes: &'a [u8]) -> Option<Request<'a>> {
        if !bytes.starts_with(&MAGIC) || !(REQUEST_BYTES_MIN..=REQUEST_BYTES_MAX).contains(&bytes.len()) {
            return None;
        }
        let ask = match bytes[KIND_AT] {
            1 => Ask::Cookie,
            2 => Ask::Subscribe,
            3 => Ask::Leave,
            _ => return None,
        };
        let proof_at = NAME_AT + usize::from(bytes[NAME_LENGTH_AT]);
        let end = proof_at + usize::from(bytes[PROOF_LENGTH_AT]);
        Some(Request {
            ask,
            nonce: array(bytes, NONCE_AT)?,
            cookie: array(bytes, COOKIE_AT)?,
            name: std::str::from_utf8(bytes.get(NAME_AT..proof_at)?).ok()?,
            proof: bytes.get(proof_at..end)?,
        })
    }

    /// Encodes the request. Name and proof are cut to 255 bytes each.
    pub fn emit(&self) -> Vec<u8> {
        let kind = match self.ask {
            Ask::Cookie => 1,
            Ask::Subscribe => 2,
            Ask::Leave => 3,
        };
        let cut = |bytes: &'a [u8]| &bytes[..bytes.len().min(u8::MAX.into())];
        let (name, proof) = (cut(self.name.as_bytes()), cut(self.proof));
        let lengths = [name.len() as u8, proof.len() as u8];
        let mut bytes =
            [&MAGIC[..], &[kind, 0], &lengths, &[0; 4], &self.nonce, &self.cookie, name, proof].concat();
        bytes.resize(bytes.len().max(REQUEST_BYTES_MIN), 0);
        bytes
    }
}

impl Answer {
    /// Parses an answer. `None` if it is not one, or of a kind unknown to this version.
    pub fn parse(bytes: &[u8]) -> Option<Answer> {
        if !is_message(bytes) {
            return None;
        }
        let number = |at| array(bytes, at).map(u16::from_be_bytes);
        let verdict = match bytes[KIND_AT] {
            129 => Verdict::Cookie,
            130 => Verdict::Granted { lease: number(LEASE_AT)?, renew: number(RENEW_AT)? },
            131 => Verdict::Refused(match bytes[CODE_AT] {
                1 => Refusal::NoStream,
                2 => Refusal::Token,
                3 => Refusal::Full,
                4 => Refusal::Cookie,
                other => Refusal::Other(other),
            }),
            132 => Verdict::Ended,
            _ => return None,
        };
        Some(Answer { verdict, nonce: array(bytes, NONCE_AT)?, cookie: array(bytes, COOKIE_AT)? })
    }

    /// Encodes the answer.
    pub fn emit(&self) -> [u8; ANSWER_BYTES] {
        let mut bytes = [0; ANSWER_BYTES];
        bytes[..KIND_AT].copy_from_slice(&MAGIC);
        bytes[KIND_AT] = match self.verdict {
            Verdict::Cookie => 129,
            Verdict::Granted { lease, renew } => {
                bytes[LEASE_AT..LEASE_AT + 2].copy_from_slice(&lease.to_be_bytes());
                bytes[RENEW_AT..RENEW_AT + 2].copy_from_slice(&renew.to_be_bytes());
                130
            }
            Verdict::Refused(refusal) => {
                bytes[CODE_AT] = match refusal {
                    Refusal::NoStream => 1,
                    Refusal::Token => 2,
                    Refusal::Full => 3,
                    Refusal::Cookie => 4,
                    Refusal::Other(code) => code,
                };
                131
            }
            Verdict::Ended => 132,
        };
        bytes[NONCE_AT..COOKIE_AT].copy_from_slice(&self.nonce);
        bytes[COOKIE_AT..].copy_from_slice(&self.cookie);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_bytes_stand_where_the_document_says() {
        let (nonce, cookie) = ([1, 2, 3, 4, 5, 6, 7, 8], [9; 16]);
        let request = Request { ask: Ask::Subscribe, nonce, cookie, name: "cam", proof: b"let me in" };
        let bytes = request.emit();
        assert_eq!((bytes.len(), &bytes[..16]), (64, &b"tidesub1\x02\0\x03\x09\0\0\0\0"[..]));
        assert_eq!((&bytes[16..24], &bytes[24..40]), (&nonce[..], &cookie[..]));
        assert_eq!((&bytes[40..52], &bytes[52..]), (&b"camlet me in"[..], &[0; 12][..]));
        let answer = Answer { verdict: Verdict::Granted { lease: 30, renew: 10 }, nonce, cookie };
        let bytes = answer.emit();
        assert_eq!(&bytes[..16], b"tidesub1\x82\0\0\x1E\0\x0A\0\0");
        let refused = Answer { verdict: Verdict::Refused(Refusal::Full), ..answer }.emit();
        assert_eq!(&refused[8..16], [131, 3, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn short_requests_are_none() {
        let request = Request { ask: Ask::Cookie, nonce: [0; 8], cookie: [0; 16], name: "a", proof: b"" };
        let bytes = request.emit();
        assert_eq!(Request::parse(&bytes), Some(request));
        assert_eq!(Request::parse(&bytes[..63]), None);
        let mut long = bytes.clone();
        long.resize(REQUEST_BYTES_MAX + 1, 0);
        assert_eq!(Request::parse(&long), None);
    }

    proptest! {
        #[test]
        fn requests_survive(ask in 0..3, nonce: Nonce, cookie: Cookie, name in "[a-z0-9.-]{0,64}", proof in proptest::collection::vec(any::<u8>(), 0..255)) {
            let ask = [Ask::Cookie, Ask::Subscribe, Ask::Leave][ask as usize];
            let request = Request { ask, nonce, cookie, name: &name, proof: &proof };
            let bytes = request.emit();
            prop_assert_eq!(Request::parse(&bytes), Some(request));
        }

        #[test]
        fn answers_survive(kind in 0..4, code: u8, lease: u16, renew: u16, nonce: Nonce, cookie: Cookie) {
            let verdict = match kind {
                0 => Verdict::Cookie,
                1 => Verdict::Granted { lease, renew },
                2 => Answer::parse(&Answer { verdict: Verdict::Refused(Refusal::Other(code)), nonce, cookie }.emit()).unwrap().verdict,
                _ => Verdict::Ended,
            };
            let answer = Answer { verdict, nonce, cookie };
            prop_assert_eq!(Answer::parse(&answer.emit()), Some(answer));
        }

        #[test]
        fn anything_may_come(bytes in proptest::collection::vec(any::<u8>(), 0..700), magic: bool) {
            let mut bytes = bytes;
            if magic && bytes.len() >= 8 {
                bytes[..8].copy_from_slice(&MAGIC);
            }
            let _ = (Request::parse(&bytes), Answer::parse(&bytes));
        }
    }
}
