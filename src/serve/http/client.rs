//! One streaming client, behind its response's head: what is written to its socket, and what waits for it.
//!
//! Whoever has a chunk writes it to the socket at once ([`Client::push`]); only what the socket does not take waits, and
//! the client's own task ([`Client::run`]) writes that when it can. The same task notices that the client has gone, that
//! it is behind for too long, and that its stream is silent.
//!
//! Behind a WebSocket each chunk is a message: a head stands before it, and answers to what the client sends between them.

use std::{
    collections::VecDeque,
    io::{self, ErrorKind, IoSlice},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{net::TcpStream, sync::Notify, time::timeout};

use super::websocket::{self, Far, Head};
use crate::{
    channel::tap::{Chunk, Piece},
    limits::{
        CHUNK_COST_BYTES, CLIENT_BACKLOG_BYTES_MAX, CLIENT_CHATTER_BYTES_MAX, HALF_CLOSED_SILENCE_MAX,
        START_LEAD,
    },
    registry::Share,
    serve::listen,
    shares::Place,
};
use tidecast_net::clock;

/// A client and its place among all.
#[derive(Debug)]
pub(super) struct Client {
    stream: TcpStream,
    share: Share,
    outbox: Mutex<Outbox>,
    /// Chunks are messages of a WebSocket.
    messages: bool,
    /// Something waits, or the stream has ended.
    attention: Notify,
    /// What was said is written.
    answered: Notify,
    _place: Option<Place>,
}

/// What waits for the client.
#[derive(Debug)]
struct Outbox {
    /// The number of the packet that comes next.
    next: u64,
    waiting: VecDeque<Arc<Chunk>>,
    /// Bytes of the first one that are written already, with its head.
    written: usize,
    /// What goes out before the next chunk that is not begun.
    said: Vec<u8>,
    /// What all of `waiting` counts.
    cost: usize,
    /// What may wait without the client being behind: it begins with what is over already.
    lead: usize,
    /// Since when more than that waits.
    behind: Option<Instant>,
    /// When the last chunk came.
    heard: Instant,
    /// Nothing more comes.
    ended: bool,
    /// The client wants no more.
    closed: bool,
}

/// Why a client's stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The channel has ended, and the client has got all of it.
    Channel,
    /// The client has gone.
    Gone,
    /// It was behind for `lag_max` without catching up.
    Behind,
    /// Its stream was silent for `idle_timeout`.
    Silent,
}

/// How long a client is kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    pub(super) lag_max: Duration,
    pub(super) idle_timeout: Duration,
}

impl Outbox {
    fn is_clear(&self) -> bool {
        self.waiting.is_empty() && self.said.is_empty()
    }

    fn wait(&mut self, chunk: Arc<Chunk>, now: Instant) {
        self.cost += cost(&chunk);
        self.waiting.push_back(chunk);
        if self.cost > self.lead {
            self.behind.get_or_insert(now);
        }
    }

    /// Skips the oldest chunks beyond the bound; not one that is partly written. Gives how many packets they held.
    fn skip(&mut self) -> u64 {
        let begun = usize::from(self.written > 0);
        let mut skipped = 0;
        while self.cost > CLIENT_BACKLOG_BYTES_MAX + self.lead && self.waiting.len() > begun + 1 {
            if let Some(chunk) = self.waiting.remove(begun) {
                self.cost -= cost(&chunk);
                skipped += u64::from(chunk.packets);
            }
        }
        skipped
    }

    /// The socket took so many bytes more of the first chunk, which is so long; gives that chunk if this was its end.
    fn advance(&mut self, bytes: usize, length: usize) -> Option<Arc<Chunk>> {
        self.written += bytes;
        let chunk = self.waiting.pop_front_if(|_| self.written >= length)?;
        self.written = 0;
        self.cost -= cost(&chunk);
        if self.cost <= self.lead {
            self.behind = None;
        }
        Some(chunk)
    }
}

fn cost(chunk: &Chunk) -> usize {
    chunk.bytes.len() + CHUNK_COST_BYTES
}

impl Client {
    /// A client that gets the packets from this number on.
    pub(super) fn new(stream: TcpStream, share: Share, next: u64, place: Option<Place>) -> Client {
        let (waiting, heard) = (VecDeque::new(), clock::now());
        let outbox = Outbox {
            next,
            waiting,
            written: 0,
            said: Vec::new(),
            cost: 0,
            lead: 0,
            behind: None,
            heard,
            ended: false,
            closed: false,
        };
        let (attention, answered) = (Notify::new(), Notify::new());
        Client {
            stream,
            share,
            outbox: Mutex::new(outbox),
            messages: false,
            attention,
            answered,
            _place: place,
        }
    }

    /// The same client behind a WebSocket.
    pub(super) fn in_messages(mut self) -> Client {
        self.messages = true;
        self
    }

    /// The same client, which gets these chunks first.
    pub(super) fn starting_with(mut self, chunks: Vec<Arc<Chunk>>) -> Client {
        let outbox = self.outbox.get_mut().unwrap_or_else(PoisonError::into_inner);
        outbox.lead = START_LEAD * chunks.iter().map(|chunk| cost(chunk)).sum::<usize>();
        chunks.into_iter().for_each(|chunk| outbox.wait(chunk, outbox.heard));
        self.attention.notify_one();
        self
    }

    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        // Nothing here panics half way.
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a chunk, or lets it wait. Does nothing if the client had it, or came after it.
    pub(super) fn push(&self, chunk: &Arc<Chunk>, now: Instant) {
        let mut outbox = self.outbox();
        if chunk.first < outbox.next || outbox.closed {
            return;
        }
        let missed = chunk.first - outbox.next;
        outbox.next = chunk.end();
        outbox.heard = now;
        if outbox.is_clear() {
            match self.write(chunk, 0) {
                Ok(bytes) if bytes == self.length(chunk) => self.sent(chunk),
                // The task finds out why.
                result => {
                    outbox.wait(chunk.clone(), now);
                    outbox.written = result.unwrap_or(0);
                    self.attention.notify_one();
                }
            }
        } else {
            outbox.wait(chunk.clone(), now);
        }
        let skipped = missed + outbox.skip();
        if skipped > 0 {
            self.share.lagged(skipped);
        }
    }

    /// What stands before a chunk.
    fn head(&self, chunk: &Chunk) -> Head {
        if self.messages { Head::binary(chunk.bytes.len()) } else { Head::default() }
    }

    /// Bytes that a chunk is on the connection.
    fn length(&self, chunk: &Chunk) -> usize {
        self.head(chunk).as_slice().len() + chunk.bytes.len()
    }

    /// Writes what the socket takes of a chunk behind so many bytes of it.
    fn write(&self, chunk: &Chunk, written: usize) -> io::Result<usize> {
        let head = self.head(chunk);
        let head = head.as_slice();
        match head.get(written..) {
            Some(head) if !head.is_empty() => {
                self.stream.try_write_vectored(&[IoSlice::new(head), IoSlice::new(&chunk.bytes)])
            }
            _ => self.stream.try_write(&chunk.bytes[written - head.len()..]),
        }
    }

    /// Nothing more comes.
    pub(super) fn end(&self) {
        self.outbox().ended = true;
        self.attention.notify_one();
    }

    fn sent(&self, chunk: &Chunk) {
        self.share.sent(chunk.packets.into(), chunk.bytes.len() as u64);
    }

    /// Serves the client to its end.
    pub(super) async fn run(&self, patience: Patience) -> End {
        let end = tokio::select! {
            end = self.serve(patience) => end,
            () = self.gone() => End::Gone,
        };
        self.ended(end)
    }

    /// Serves a client behind a WebSocket, of which so much was read already, to its end.
    pub(super) async fn run_messages(&self, patience: Patience, early: Vec<u8>) -> End {
        let peer = websocket::Peer::default();
        let end = tokio::select! {
            end = self.serve(patience) => end,
            () = websocket::read(self, early, false, &peer) => End::Gone,
            () = websocket::ping(self, &peer) => End::Gone,
        };
        if end == End::Channel {
            websocket::leave(self, &peer).await;
        }
        self.ended(end)
    }

    fn ended(&self, end: End) -> End {
        match end {
            End::Behind => self.share.cut_off_behind(),
            End::Silent => self.share.cut_off_idle(),
            End::Channel | End::Gone => {}
        }
        end
    }

    async fn serve(&self, patience: Patience) -> End {
        loop {
            let silent = clock::now().saturating_duration_since(self.outbox().heard);
            let Some(left) = patience.idle_timeout.checked_sub(silent).filter(|left| !left.is_zero()) else {
                return End::Silent;
            };
            // No timer is set per chunk: whether one has come is looked up when this one fires.
            if timeout(left, self.attention.notified()).await.is_err() {
                continue;
            }
            match self.catch_up(patience).await {
                Ok(true) => return End::Channel,
                Ok(false) => {}
                Err(end) => return end,
            }
        }
    }

    /// Writes what waits until nothing does. Answers whether the stream has ended.
    async fn catch_up(&self, patience: Patience) -> Result<bool, End> {
        loop {
            if let Some(ended) = self.write_some().map_err(|_| End::Gone)? {
                return Ok(ended);
            }
            let left = self.left(patience)?;
            // Whether it is behind may have changed when this time is over.
            if let Ok(Err(_)) = timeout(left, self.stream.writable()).await {
                return Err(End::Gone);
            }
        }
    }

    /// Writes a piece of what waits. Answers whether the stream has ended if nothing waits.
    fn write_some(&self) -> io::Result<Option<bool>> {
        let mut outbox = self.outbox();
        if outbox.written == 0 && !outbox.said.is_empty() {
            return self.write_said(&mut outbox);
        }
        let Some(chunk) = outbox.waiting.front() else { return Ok(Some(outbox.ended)) };
        let length = self.length(chunk);
        match self.write(chunk, outbox.written) {
            Ok(bytes) => {
                if let Some(chunk) = outbox.advance(bytes, length) {
                    self.sent(&chunk);
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(None)
    }

    fn write_said(&self, outbox: &mut Outbox) -> io::Result<Option<bool>> {
        match self.stream.try_write(&outbox.said) {
            Ok(bytes) => {
                outbox.said.drain(..bytes);
                if outbox.said.is_empty() {
                    self.answered.notify_one();
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(None)
    }

    /// How long the client may go on as it is.
    fn left(&self, patience: Patience) -> Result<Duration, End> {
        let now = clock::now();
        let outbox = self.outbox();
        let (since, max, end) = match outbox.behind {
            Some(behind) => (behind, patience.lag_max, End::Behind),
            None => (outbox.heard, patience.idle_timeout, End::Silent),
        };
        let left = max.checked_sub(now.saturating_duration_since(since)).filter(|left| !left.is_zero());
        // Within its lead it may become behind meanwhile.
        left.map(|left| left.min(patience.lag_max)).ok_or(end)
    }

    /// Returns when the client has gone, or sends what nobody asked for.
    async fn gone(&self) {
        let mut chatter = 0;
        while chatter <= CLIENT_CHATTER_BYTES_MAX {
            if self.stream.readable().await.is_err() {
                return;
            }
            match self.stream.try_read(&mut [0; 512]) {
                Ok(0) => return self.half_closed().await,
                Ok(bytes) => chatter += bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }
}

impl Client {
    /// It has closed its side, and may listen all the same; one that has gone answers the next chunk with a reset. Returns
    /// when that has come, or no chunk does.
    async fn half_closed(&self) {
        while timeout(HALF_CLOSED_SILENCE_MAX, listen::broken(&self.stream)).await.is_err() {
            if clock::now().saturating_duration_since(self.outbox().heard) >= HALF_CLOSED_SILENCE_MAX {
                return;
            }
        }
    }
}

impl Far for Client {
    fn stream(&self) -> io::Result<&TcpStream> {
        Ok(&self.stream)
    }

    fn say(&self, bytes: Vec<u8>) {
        let mut outbox = self.outbox();
        outbox.said.extend_from_slice(&bytes);
        // Nothing may follow the answer to its close.
        if bytes.first() == Some(&websocket::CLOSES) && !outbox.closed {
            outbox.closed = true;
            let begun = usize::from(outbox.written > 0).min(outbox.waiting.len());
            let unsent = outbox.waiting.split_off(begun);
            self.share.cut(unsent.iter().map(|chunk| u64::from(chunk.packets)).sum());
        }
        drop(outbox);
        self.attention.notify_one();
    }

    fn is_clear(&self) -> bool {
        let outbox = self.outbox();
        outbox.is_clear() && outbox.said.is_empty()
    }

    async fn answered(&self) {
        while !self.outbox().said.is_empty() {
            self.answered.notified().await;
        }
    }

    fn end(&self) {
        Client::end(self);
    }
}

impl Drop for Client {
    /// What waited for the client when its connection ended was not sent.
    fn drop(&mut self) {
        let packets = self.outbox().waiting.iter().map(|chunk| u64::from(chunk.packets)).sum();
        self.share.cut(packets);
    }
}

#[cfg(test)]
mod tests;
