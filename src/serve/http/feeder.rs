//! Writes a tap's chunks to its clients: one task for up to [`FEEDER_CLIENTS_MAX`] of them, so
//! that a chunk wakes one task instead of a thousand.
//!
//! A client joins with its own reader, which started at its request: chunks that the task has
//! already taken come from that reader, and all later ones from the task.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::sync::mpsc::{self, Receiver, Sender, WeakSender};

use super::player::PlayerQueue;
use crate::{
    channel::tap::{Chunk, Piece, TapReader},
    limits::FEEDER_CLIENTS_MAX,
};
use tidecast_net::clock;

/// The feeders of all taps.
#[derive(Debug, Default)]
pub(super) struct Feeders {
    /// Indexed by [`TapReader::tap`].
    table: Mutex<HashMap<usize, Vec<WeakSender<Join>>>>,
}

/// A client's seat with a feeder; the feeder ends with its last seat.
#[derive(Debug)]
pub(super) struct Seat {
    _feeder: Sender<Join>,
}

type Join = (Weak<PlayerQueue>, TapReader);

impl Feeders {
    /// Sends a client its tap's chunks, from the position of its reader on.
    pub(super) fn join(&self, client: &Arc<PlayerQueue>, reader: TapReader) -> Seat {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.retain(|_, feeders| {
            feeders.retain(|feeder| feeder.strong_count() > 0);
            !feeders.is_empty()
        });
        let feeders = table.entry(reader.tap()).or_default();
        let mut join = (Arc::downgrade(client), reader);
        for feeder in feeders.iter().filter_map(WeakSender::upgrade) {
            if feeder.strong_count() <= FEEDER_CLIENTS_MAX {
                match feeder.try_send(join) {
                    Ok(()) => return Seat { _feeder: feeder },
                    Err(error) => join = error.into_inner(),
                }
            }
        }
        let (feeder, joins) = mpsc::channel(FEEDER_CLIENTS_MAX);
        feeders.push(feeder.downgrade());
        tokio::spawn(Feeder::new(join).run(joins));
        Seat { _feeder: feeder }
    }
}

/// State of the task.
#[derive(Debug)]
struct Feeder {
    reader: TapReader,
    /// Number of the next packet.
    next: u64,
    clients: Vec<Weak<PlayerQueue>>,
    /// The tap has ended.
    ended: bool,
}

impl Feeder {
    fn new((client, reader): Join) -> Feeder {
        Feeder { next: reader.number(), reader, clients: vec![client], ended: false }
    }

    /// Runs until the last client has gone.
    async fn run(mut self, mut joins: Receiver<Join>) {
        loop {
            tokio::select! {
                biased;
                join = joins.recv() => match join {
                    Some(join) => self.admit(join),
                    None => return,
                },
                chunk = self.reader.next(), if !self.ended => match chunk {
                    Some(chunk) => self.feed(&chunk),
                    None => self.end(),
                },
            }
            // Writing takes a while, so other tasks get a turn.
            tokio::task::yield_now().await;
        }
    }

    fn admit(&mut self, (client, mut reader): Join) {
        // While the stream is silent, nothing else removes clients that have left.
        self.clients.retain(|client| client.strong_count() > 0);
        if let Some(joined) = client.upgrade() {
            while let Some(chunk) = reader.try_next().filter(|chunk| chunk.first < self.next) {
                joined.push(&chunk, clock::now());
            }
            if self.ended {
                joined.end();
            }
            self.clients.push(client);
        }
    }

    fn feed(&mut self, chunk: &Arc<Chunk>) {
        let now = clock::now();
        self.next = chunk.end();
        self.clients.retain(|client| {
            let client = client.upgrade();
            client.inspect(|client| client.push(chunk, now)).is_some()
        });
    }

    fn end(&mut self) {
        self.ended = true;
        for client in self.clients.drain(..).filter_map(|client| client.upgrade()) {
            client.end();
        }
    }
}

#[cfg(test)]
mod tests;
