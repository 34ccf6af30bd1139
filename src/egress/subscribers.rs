//! What the subscribers of one channel have got over one transport: counted by those who serve them, read by
//! the metrics and the state. Plain atomics, since a client's task must not wait for another's.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::Serialize;

/// Counts what subscribers get.
#[derive(Debug, Default)]
pub struct Subscribers {
    clients: AtomicU64,
    packets: AtomicU64,
    bytes: AtomicU64,
    lag: AtomicU64,
    closed: AtomicU64,
    ended_lag: AtomicU64,
    ended_idle: AtomicU64,
}

/// What was counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct SubscribersState {
    /// Clients at present.
    pub clients: u64,
    /// Packets handed to their connections.
    pub packets: u64,
    /// Payload bytes of them.
    pub bytes: u64,
    /// Packets that they did not get.
    pub dropped: Dropped,
    /// Clients that were cut off.
    pub cut_off: CutOff,
}

/// Packets that subscribers did not get, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Dropped {
    /// The client was too slow and skipped ahead.
    pub lag: u64,
    /// They were waiting for the client when its connection ended.
    pub closed: u64,
}

/// Clients that were cut off, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct CutOff {
    /// They were behind for too long.
    pub lag: u64,
    /// Their stream was silent for too long.
    pub idle: u64,
}

impl Subscribers {
    /// A client has come.
    pub fn joined(&self) {
        self.clients.fetch_add(1, Relaxed);
    }

    /// A client has left.
    pub fn left(&self) {
        self.clients.fetch_sub(1, Relaxed);
    }

    /// Packets went to a client.
    pub fn sent(&self, packets: u64, bytes: u64) {
        self.packets.fetch_add(packets, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
    }

    /// A client skipped packets.
    pub fn lagged(&self, packets: u64) {
        self.lag.fetch_add(packets, Relaxed);
    }

    /// Packets were waiting for a client that is gone.
    pub fn cut(&self, packets: u64) {
        self.closed.fetch_add(packets, Relaxed);
    }

    /// A client was cut off because it was behind for too long.
    pub fn cut_off_behind(&self) {
        self.ended_lag.fetch_add(1, Relaxed);
    }

    /// A client was cut off because its stream was silent for too long.
    pub fn cut_off_idle(&self) {
        self.ended_idle.fetch_add(1, Relaxed);
    }

    /// What was counted so far.
    pub fn state(&self) -> SubscribersState {
        SubscribersState {
            clients: self.clients.load(Relaxed),
            packets: self.packets.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            dropped: Dropped { lag: self.lag.load(Relaxed), closed: self.closed.load(Relaxed) },
            cut_off: CutOff { lag: self.ended_lag.load(Relaxed), idle: self.ended_idle.load(Relaxed) },
        }
    }
}
