//! What was sent, kept for a while, so that it can be sent again to those who ask: bounded in
//! packets, bytes and age, with a budget that no flood of requests can exceed.
//!
//! Pure: time comes in as an argument. `producer` keeps native datagrams here and `channel::udp`
//! RTP packets; what is looked up goes back to the same socket, marked as a retransmission by
//! whoever sends it.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
    time::{Duration, Instant},
};

use serde::Serialize;

use crate::limits::{
    HISTORY, HISTORY_BYTES_MAX, HISTORY_PACKETS_MAX, RETRANSMIT_BYTES_MIN, RETRANSMIT_PAUSE, RETRANSMIT_SHARE,
};

/// How much is kept, and how much of it is sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Settings {
    /// How long a packet is kept.
    pub age_max: Duration,
    /// Packets kept at most.
    pub packets_max: usize,
    /// Bytes kept at most.
    pub bytes_max: usize,
    /// What may be sent again, in percent of the media's bytes.
    pub share: u8,
    /// How long nobody gets the same packet again.
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

/// What became of the numbers that were asked for: `requested` is the sum of the others but the
/// bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Numbers asked for.
    pub requested: u64,
    /// Sent again.
    pub resent: u64,
    /// Bytes of those.
    pub resent_bytes: u64,
    /// Not kept any longer, or never sent.
    pub gone: u64,
    /// Sent again only just now: the answer is on its way.
    pub recent: u64,
    /// Beyond the budget.
    pub refused: u64,
}

/// What the receivers have asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Requests {
    /// Numbers to be sent again, and what became of them.
    pub numbers: Counters,
    /// Datagrams that are damaged, or of another format.
    pub malformed: u64,
    /// Datagrams of others than those who are asked, or that concern others.
    pub foreign: u64,
}

/// The answer to a request for one packet.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// Send this again.
    Again(&'a [u8]),
    /// It is not kept any longer, or was never sent.
    Gone,
    /// It was sent again only just now.
    Recent,
    /// The budget is used up.
    Refused,
}

/// The packets sent last, by a key that names each: stream and number.
#[derive(Debug)]
pub struct History<K> {
    settings: Settings,
    /// In the order of sending.
    sent: VecDeque<Sent<K>>,
    /// Which packet, counted from the first one ever kept, has a key.
    places: HashMap<K, u64>,
    /// How many packets were forgotten: the place of the oldest one kept.
    forgotten: u64,
    bytes: usize,
    budget: Budget,
    counters: Counters,
}

#[derive(Debug)]
struct Sent<K> {
    key: K,
    at: Instant,
    /// When it was last sent again.
    again: Option<Instant>,
    packet: Vec<u8>,
}

impl<K: Copy + Eq + Hash> History<K> {
    /// An empty one.
    pub fn new(settings: Settings) -> History<K> {
        let budget = Budget::new(settings.share);
        let (sent, places) = (VecDeque::new(), HashMap::new());
        History { settings, sent, places, forgotten: 0, bytes: 0, budget, counters: Counters::default() }
    }

    /// Keeps a packet that was sent. One of the same key takes the place of the earlier one.
    pub fn keep(&mut self, now: Instant, key: K, packet: Vec<u8>) {
        self.bytes += packet.len();
        self.budget.earn(packet.len());
        self.places.insert(key, self.forgotten + self.sent.len() as u64);
        self.sent.push_back(Sent { key, at: now, again: None, packet });
        self.forget(now);
        self.budget.cap(self.bytes);
    }

    /// Drops what is beyond a bound.
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

    /// Somebody asks for a packet; the caller sends it if it is [`Answer::Again`].
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

    /// Somebody asks for `count` packets more than are looked at.
    pub fn refuse(&mut self, count: u64) {
        self.counters.requested += count;
        self.counters.refused += count;
    }

    /// What was asked for so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Bytes kept at present.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Packets kept at present.
    pub fn packets(&self) -> usize {
        self.sent.len()
    }
}

impl<K> Sent<K> {
    fn is_older(&self, now: Instant, age_max: Duration) -> bool {
        now.saturating_duration_since(self.at) > age_max
    }
}

/// Bytes that may be sent again: each packet earns its share, and what is unused does not add up
/// for ever. It needs no clock: in any span, no more is sent again than the share of what was sent
/// then or is kept, and a fixed start.
#[derive(Debug)]
struct Budget {
    /// In hundredths of a byte, since the share is in percent.
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

    /// At most the share of what is kept.
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
