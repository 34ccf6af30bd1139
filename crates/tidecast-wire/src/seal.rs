//! Sealed native datagrams: keys, and the tag by which a receiver knows that a datagram is from
//! one who has the key. The payload of data may be encrypted as well.
//!
//! `encode` seals with a [`Sealer`]; `relay` opens with the [`SessionKeys`] that its [`Keyring`]
//! makes. The functions of cryptography are in `cipher`; without the feature `seal` they are
//! replaced by `no_cipher`, in which no key can exist.
//!
//! Keys are derived by HKDF-SHA-256, without a salt:
//!
//! | From | `info` | Bytes | What |
//! |---|---|---|---|
//! | channel key | "tidecast stream", stream u32 | 32 | stream key: all that one sensor needs |
//! | stream key | "tidecast session", session u32 | 16 + 32 | keys of a session: for data, for the rest |
//!
//! *Data* has a number that is never used twice, so it is sealed by AES-128-GCM, with the number
//! and the low 32 bits of the timestamp as nonce. (The timestamp keeps two sessions apart that
//! happen to have the same id.) The rest has no such number: a heartbeat repeats the next one, a
//! block has several repair packets, receivers choose those of NACKs, and relays make repair
//! packets, too. It needs none, since it is authenticated by HMAC-SHA-256, of which the first 16
//! bytes are sent, under another key. Repair packets are sums of ciphertexts, so nothing but data
//! has anything to encrypt.
//!
//! The tag covers header and payload, except for the flag "retransmission", which a producer sets
//! without the key.

use std::{fmt, str::FromStr};

use crate::{
    limits::SEAL_KEYS_MAX,
    native::{self, FLAGS, HEADER, Kind, Packet, RETRANSMISSION, Repr, TAG},
};

#[cfg(feature = "seal")]
mod cipher;
#[cfg(not(feature = "seal"))]
#[path = "seal/no_cipher.rs"]
mod cipher;

/// Bytes of a key.
pub const KEY: usize = 32;
/// The largest id of a key: it has four bits.
pub const KEY_ID_MAX: u8 = 15;

/// Why a key cannot be used. No message contains any part of the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Not a key at all.
    #[error("expected a key as ID:HEX, or ID/STREAM:HEX for one stream, from `tidecast key`")]
    Form,
    /// An id that does not fit into the header.
    #[error("key id {id}, expected 0 to {KEY_ID_MAX}")]
    Id {
        /// The id.
        id: u64,
    },
    /// Too short or too long.
    #[error("key {id}: {digits} hexadecimal digits, expected {}", 2 * KEY)]
    Length {
        /// Id of the key.
        id: u8,
        /// Count of its digits.
        digits: usize,
    },
    /// Other characters than hexadecimal digits.
    #[error("key {id}: character {at} after the colon is no hexadecimal digit")]
    Digit {
        /// Id of the key.
        id: u8,
        /// Position of the character, from 1.
        at: usize,
    },
    /// Nothing but comments.
    #[error("no key, expected one on a line of its own")]
    Missing,
    /// Two keys with one id for the same streams.
    #[error("two keys with id {id}, expected one: a new key needs another id")]
    Twice {
        /// The id.
        id: u8,
    },
    /// More than can be told apart.
    #[error("{count} keys, expected at most {SEAL_KEYS_MAX}")]
    TooMany {
        /// Count of the keys.
        count: usize,
    },
    /// A key for another stream.
    #[error("key {id} is for stream {actual}, expected one for stream {expected} or for all")]
    Stream {
        /// Id of the key.
        id: u8,
        /// The stream to be sent.
        expected: u32,
        /// Stream of the key.
        actual: u32,
    },
    /// Built without cryptography.
    #[error("this build cannot seal: it lacks the feature `seal`")]
    Unsupported,
    /// The system has no random numbers.
    #[error("the system gave no random numbers")]
    Random,
}

/// A key of a channel, for all streams, or one that was made of it for a single stream. It is
/// written as `ID:HEX` or `ID/STREAM:HEX`; `Debug` never shows it.
#[derive(Clone)]
pub struct Key {
    id: u8,
    stream: Option<u32>,
    secret: cipher::Secret,
}

impl Key {
    /// Makes a random key for a channel.
    ///
    /// # Errors
    /// [`KeyError::Id`], [`KeyError::Unsupported`], [`KeyError::Random`].
    pub fn random(id: u8) -> Result<Key, KeyError> {
        let id = checked_id(id.into())?;
        Ok(Key { id, stream: None, secret: cipher::Secret::random()? })
    }

    /// Reads the keys of a file: one a line; empty lines and those that begin with # are skipped.
    ///
    /// # Errors
    /// The first problem.
    pub fn read_all(text: &str) -> Result<Vec<Key>, KeyError> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let keys: Vec<Key> = lines.map(str::parse).collect::<Result<_, _>>()?;
        if keys.is_empty() { Err(KeyError::Missing) } else { Ok(keys) }
    }

    /// Whether a text is meant as a key rather than as the name of a file.
    pub fn looks_like_one(text: &str) -> bool {
        let name = text.split_once(':').map_or("", |(name, _)| name);
        !name.is_empty() && name.chars().all(|c| c.is_ascii_digit() || c == '/')
    }

    /// Id of the key, as datagrams carry it.
    pub fn id(&self) -> u8 {
        self.id
    }

    /// The only stream that the key is for.
    pub fn stream(&self) -> Option<u32> {
        self.stream
    }

    /// The key as text, which is secret.
    pub fn secret_text(&self) -> String {
        let digits: String = self.secret.bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let Key { id, stream, .. } = self;
        stream.map_or_else(|| format!("{id}:{digits}"), |stream| format!("{id}/{stream}:{digits}"))
    }

    /// The key for one stream: with it nobody can send as another one.
    ///
    /// # Errors
    /// [`KeyError::Stream`].
    pub fn for_stream(&self, stream: u32) -> Result<Key, KeyError> {
        let id = self.id;
        match self.stream {
            None => {
                let secret = self.secret.derive(&[b"tidecast stream", &stream.to_be_bytes()]);
                Ok(Key { id, stream: Some(stream), secret })
            }
            Some(actual) if actual == stream => Ok(self.clone()),
            Some(actual) => Err(KeyError::Stream { id, expected: stream, actual }),
        }
    }

    fn session(&self, stream: u32, session: u32) -> Option<SessionKeys> {
        let key = self.for_stream(stream).ok()?;
        let ciphers = key.secret.ciphers(&[b"tidecast session", &session.to_be_bytes()]);
        Some(SessionKeys { id: self.id, ciphers })
    }
}

fn checked_id(id: u64) -> Result<u8, KeyError> {
    u8::try_from(id).ok().filter(|id| *id <= KEY_ID_MAX).ok_or(KeyError::Id { id })
}

impl FromStr for Key {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Key, KeyError> {
        let (name, digits) = text.split_once(':').ok_or(KeyError::Form)?;
        let (id, stream) = name.split_once('/').map_or((name, None), |(id, stream)| (id, Some(stream)));
        let id = checked_id(id.parse().map_err(|_| KeyError::Form)?)?;
        let stream = stream.map(str::parse).transpose().map_err(|_| KeyError::Form)?;
        let digits = digits.trim().chars();
        if let Some(at) = digits.clone().position(|digit| !digit.is_ascii_hexdigit()) {
            return Err(KeyError::Digit { id, at: at + 1 });
        }
        let nibbles: Vec<u8> =
            digits.filter_map(|digit| digit.to_digit(16)).map(|nibble| nibble as u8).collect();
        let bytes: Vec<u8> =
            nibbles.chunks(2).map(|pair| pair.iter().fold(0, |byte, nibble| byte << 4 | nibble)).collect();
        let secret = <[u8; KEY]>::try_from(bytes).ok().filter(|_| nibbles.len() == 2 * KEY);
        let secret = secret.ok_or(KeyError::Length { id, digits: nibbles.len() })?;
        Ok(Key { id, stream, secret: cipher::Secret::new(secret)? })
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("id", &self.id).field("stream", &self.stream).finish_non_exhaustive()
    }
}

/// Two keys are equal if they are for the same use and have the same secret.
impl PartialEq for Key {
    fn eq(&self, other: &Key) -> bool {
        (self.id, self.stream) == (other.id, other.stream) && self.secret.bytes() == other.secret.bytes()
    }
}

impl Eq for Key {}

/// The live keys of a channel: usually one, two while they are exchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyring {
    keys: Vec<Key>,
}

impl Keyring {
    /// Creates a keyring.
    ///
    /// # Errors
    /// [`KeyError::Missing`], [`KeyError::TooMany`], [`KeyError::Twice`].
    pub fn new(keys: Vec<Key>) -> Result<Keyring, KeyError> {
        if keys.is_empty() {
            return Err(KeyError::Missing);
        }
        if keys.len() > SEAL_KEYS_MAX {
            return Err(KeyError::TooMany { count: keys.len() });
        }
        let same = |a: &Key, b: &Key| (a.id, a.stream) == (b.id, b.stream);
        let twice =
            keys.iter().enumerate().find(|(place, key)| keys[..*place].iter().any(|other| same(other, key)));
        match twice {
            Some((_, key)) => Err(KeyError::Twice { id: key.id }),
            None => Ok(Keyring { keys }),
        }
    }

    /// The keys.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// The key with this id that counts for this stream: its own, if there is one.
    pub fn key(&self, id: u8, stream: u32) -> Option<&Key> {
        let of = |wanted: Option<u32>| self.keys.iter().find(|key| key.id == id && key.stream == wanted);
        of(Some(stream)).or_else(|| of(None))
    }

    /// Keys of a session, derived from the key with this id. It costs some microseconds.
    pub fn session(&self, id: u8, stream: u32, session: u32) -> Option<SessionKeys> {
        self.key(id, stream)?.session(stream, session)
    }
}

/// Keys of one session of one stream.
pub struct SessionKeys {
    id: u8,
    ciphers: cipher::Ciphers,
}

impl fmt::Debug for SessionKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionKeys").field("id", &self.id).finish_non_exhaustive()
    }
}

impl SessionKeys {
    /// Id of the key from which they were derived.
    pub fn id(&self) -> u8 {
        self.id
    }

    /// Appends the datagram, sealed: flags and tag are made here. `encrypt` concerns data alone.
    pub fn seal(&self, repr: &Repr<'_>, encrypt: bool, out: &mut Vec<u8>) {
        let start = out.len();
        let data = repr.kind == Kind::Data;
        let flags = native::sealed_flags(self.id, encrypt && data);
        out.reserve(repr.len() + TAG);
        Repr { flags, ..*repr }.emit_unchecked(out);
        let nonce = nonce(repr.sequence, repr.timestamp);
        let (header, payload) = out[start..].split_at_mut(HEADER);
        let tag = match (data, encrypt) {
            (true, true) => self.ciphers.seal(nonce, header, payload),
            (true, false) => self.ciphers.seal(nonce, &out[start..], &mut []),
            (false, _) => self.ciphers.authenticate(&out[start..]),
        };
        out.extend_from_slice(&tag);
        out[start + FLAGS] |= repr.flags & RETRANSMISSION;
        native::emit_checksum(start, out);
    }

    /// Whether the tag is right. `datagram` is the one that `packet` was parsed from. An encrypted
    /// payload goes to `plain`, which is as long; otherwise `plain` is not used.
    #[must_use]
    pub fn open(&self, packet: &Packet<'_>, datagram: &[u8], plain: &mut [u8]) -> bool {
        let (Some(tag), Some(id)) = (packet.tag(), packet.key_id()) else { return false };
        if id != self.id {
            return false;
        }
        if packet.is_retransmission() {
            let mut original = datagram.to_vec();
            original[FLAGS] &= !RETRANSMISSION;
            return self.verify(packet, &original, tag, plain);
        }
        self.verify(packet, datagram, tag, plain)
    }

    fn verify(&self, packet: &Packet<'_>, datagram: &[u8], tag: &[u8; TAG], plain: &mut [u8]) -> bool {
        let covered = &datagram[..packet.payload_range().end];
        let nonce = nonce(packet.sequence(), packet.timestamp());
        match packet.kind() {
            Kind::Data if packet.is_encrypted() => {
                let (header, payload) = covered.split_at(HEADER);
                self.ciphers.open(nonce, header, payload, tag, plain)
            }
            Kind::Data => self.ciphers.open(nonce, covered, &[], tag, &mut []),
            _ => self.ciphers.verify(covered, tag),
        }
    }
}

/// The nonce of a data packet.
fn nonce(sequence: u64, timestamp: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[..8].copy_from_slice(&sequence.to_be_bytes());
    nonce[8..].copy_from_slice(&(timestamp as u32).to_be_bytes()); // the low half
    nonce
}

/// Seals the datagrams of one session of one stream.
#[derive(Debug)]
pub struct Sealer {
    keys: SessionKeys,
    encrypt: bool,
}

impl Sealer {
    /// Creates a sealer for one session. No number of a session may be sent twice with different
    /// content: another run of a producer is another session.
    ///
    /// # Errors
    /// [`KeyError::Stream`] if the key is for another stream.
    pub fn new(key: &Key, stream: u32, session: u32, encrypt: bool) -> Result<Sealer, KeyError> {
        let keys = key.for_stream(stream)?.session(stream, session);
        // The key is that of the stream, so it has keys for its sessions.
        keys.map(|keys| Sealer { keys, encrypt }).ok_or(KeyError::Form)
    }

    /// Appends the datagram, sealed.
    pub fn seal(&self, repr: &Repr<'_>, out: &mut Vec<u8>) {
        self.keys.seal(repr, self.encrypt, out);
    }

    /// Whether a datagram without a payload to decrypt, such as a request, is sealed with the same
    /// key. `datagram` is the one that `packet` was parsed from.
    pub fn knows(&self, packet: &Packet<'_>, datagram: &[u8]) -> bool {
        packet.kind() != Kind::Data && self.keys.open(packet, datagram, &mut [])
    }
}

#[cfg(all(test, feature = "seal"))]
mod tests;
