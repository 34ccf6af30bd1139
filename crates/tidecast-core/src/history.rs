//! Keeps sent packets for retransmission, bounded in packets, bytes and age, with a budget that no
//! flood of requests can exceed.
//!
//! Pure: time comes in as an argument. `producer` keeps native datagrams here, and `channel::udp`
//! keeps RTP packets. The sender marks a packet as a retransmission and sends it on the same
//! socket.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
    time::{Duration, Instant},
};

use serde::Serialize;

use crate::limits::{
    HISTORY, HISTORY_BYTES_MAX, HISTORY_PACKETS_MAX, RETRANSMIT_BYTES_MIN, RETRANSMIT_PAUSE, RETRANSMIT_SHARE,
};

/// Bounds of a history, and of the retransmissions from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Settings {
    /// How long a packet is kept.
    pub age_max: Duration,
    /// Maximum number of packets kept.
    pub packets_max: usize,
    /// Maximum number of bytes kept.
    pub bytes_max: usize,
    /// Budget for retransmissions, in percent of the media's bytes.
    pub share: u8,
    /// Time during which a retransmitted packet is not sent again.
    pub pause: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            age_max: HISTORY,
            packets_max: HISTORY_PACKETS_MAX,
            bytes_max: HISTORY_BYTES_MAX,
            share: RETRANSMIT_SHARE,
            pause: RETRANSMIT_PAUSE,
        }
    }
}

/// Outcomes of the requested numbers: `requested` is the sum of the others except the bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Requested numbers.
    pub requested: u64,
    /// Retransmitted.
    pub resent: u64,
    /// Bytes of the retransmitted packets.
    pub resent_bytes: u64,
    /// No longer kept, or never sent.
    pub gone: u64,
    /// Retransmitted only just now, so the answer is under way.
    pub recent: u64,
    /// Refused because the budget was used up.
    pub refused: u64,
}

/// Requests received so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Requests {
    /// Requested numbers and their outcomes.
    pub numbers: Counters,
    /// Damaged datagrams, or datagrams of another format.
    pub malformed: u64,
    /// Requests from unexpected senders, or for other streams.
    pub foreign: u64,
}

/// Answer to a request for one packet.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// Retransmit this packet.
    Again(&'a [u8]),
    /// No longer kept, or never sent.
    Gone,
    /// Retransmitted only just now.
    Recent,
    /// The budget is used up.
    Refused,
}

/// The packets sent last, by a key of stream and number.
#[derive(Debug)]
pub struct History<K> {
    settings: Settings,
    /// In the order of sending.
    sent: VecDeque<Sent<K>>,
    /// Position of each key's packet, counted from the first packet ever kept.
    places: HashMap<K, u64>,
    /// Count of forgotten packets: the position of the oldest one kept.
    forgotten: u64,
    bytes: usize,
    budget: Budget,
    counters: Counters,
}

#[derive(Debug)]
struct Sent<K> {
    key: K,
    at: Instant,
    /// When it was last retransmitted.
    again: Option<Instant>,
    packet: Vec<u8>,
}

impl<K: Copy + Eq + Hash> History<K> {
    /// Creates an empty history.
    pub fn new(settings: Settings) -> History<K> {
        let budget = Budget::new(settings.share);
        let (sent, places) = (VecDeque::new(), HashMap::new());
        History { settings, sent, places, forgotten: 0, bytes: 0, budget, counters: Counters::default() }
    }

    /// Keeps a sent packet. It replaces an earlier one with the same key.
    pub fn keep(&mut self, now: Instant, key: K, packet: Vec<u8>) {
        self.bytes += packet.len();
        self.budget.earn(packet.len());
        self.places.insert(key, self.forgotten + self.sent.len() as u64);
        self.sent.push_back(Sent { key, at: now, again: None, packet });
        self.forget(now);
        self.budget.cap(self.bytes);
    }

    /// Drops packets beyond a bound.
    fn forget(&mut self, now: Instant) {
        let Settings { age_max, packets_max, bytes_max, .. } = self.settings;
        while let Some(oldest) = self.sent.front()
            && (self.sent.len() > packets_max || self.bytes > bytes_max || oldest.is_older(now, age_max))
        {
            self.bytes -= oldest.packet.len();
            if self.places.get(&oldest.key) == Some(&self.forgotten) {
                self.places.remove(&oldest.key);
            }
            self.sent.pop_front();
            self.forgotten += 1;
        }
    }

    /// Answers a request for a packet; the caller sends it if the answer is [`Answer::Again`].
    pub fn ask(&mut self, now: Instant, key: K) -> Answer<'_> {
        self.counters.requested += 1;
        let Settings { age_max, pause, .. } = self.settings;
        let place = self.places.get(&key).map(|place| (place - self.forgotten) as usize);
        let Some(sent) =
            place.and_then(|place| self.sent.get_mut(place)).filter(|s| !s.is_older(now, age_max))
        else {
            self.counters.gone += 1;
            return Answer::Gone;
        };
        if sent.again.is_some_and(|again| now.saturating_duration_since(again) < pause) {
            self.counters.recent += 1;
            return Answer::Recent;
        }
        if !self.budget.spend(sent.packet.len()) {
            self.counters.refused += 1;
            return Answer::Refused;
        }
        sent.again = Some(now);
        self.counters.resent += 1;
        self.counters.resent_bytes += sent.packet.len() as u64;
        Answer::Again(&sent.packet)
    }

    /// Counts `count` requested packets that are not processed.
    pub fn refuse(&mut self, count: u64) {
        self.counters.requested += count;
        self.counters.refused += count;
    }

    /// Outcomes of all requests so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Bytes kept.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Packets kept.
    pub fn packets(&self) -> usize {
        self.sent.len()
    }
}

impl<K> Sent<K> {
    fn is_older(&self, now: Instant, age_max: Duration) -> bool {
        now.saturating_duration_since(self.at) > age_max
    }
}

/// Budget for retransmissions: each sent packet adds its share, and an unused budget is bounded.
/// It needs no clock: in any time span, retransmissions take no more than the share of the packets
/// sent then or still kept, plus a fixed start.
#[derive(Debug)]
struct Budget {
    /// In hundredths of a byte, because the share is in percent.
    tokens: u64,
    share: u64,
}

const PERCENT: u64 = 100;

impl Budget {
    fn new(share: u8) -> Budget {
        Budget { tokens: RETRANSMIT_BYTES_MIN * PERCENT, share: share.into() }
    }

    fn earn(&mut self, bytes: usize) {
        self.tokens += bytes as u64 * self.share;
    }

    /// Limits the budget to the share of the kept bytes.
    fn cap(&mut self, kept: usize) {
        self.tokens = self.tokens.min((kept as u64 * self.share).max(RETRANSMIT_BYTES_MIN * PERCENT));
    }

    fn spend(&mut self, bytes: usize) -> bool {
        let left = self.tokens.checked_sub(bytes as u64 * PERCENT);
        self.tokens = left.unwrap_or(self.tokens);
        left.is_some()
    }
}

#[cfg(test)]
mod tests;
