//! One streaming client after its response's head: what is written to its socket, and its backlog.
//!
//! A chunk is written to the socket at once ([`PlayerQueue::push`]). What the socket does not take
//! waits, and the client's own task ([`PlayerQueue::run`]) writes it when it can. The same task
//! detects that the client has gone, has been behind for too long, or that its stream is silent.
//!
//! Over a WebSocket each chunk is a message: it gets a frame head, and answers to what the client
//! sends go between messages.

use std::{
    io::ErrorKind,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{net::TcpStream, time::timeout};
use tokio_util::sync::CancellationToken;

use super::websocket::{self, Head};
use crate::{
    channel::tap::{Chunk, Piece},
    limits::{
        CHUNK_COST_BYTES, CLIENT_BACKLOG_BYTES_MAX, CLIENT_CHATTER_BYTES_MAX, HALF_CLOSED_SILENCE_MAX,
        START_LEAD,
    },
    registry::Share,
    serve::{
        listen,
        queue::{self, Backlog, ClientQueue, End, Policy, Queued, State},
    },
    shares::Place,
};
use tidecast_net::clock;

/// The queue of a client that gets a stream's payloads.
pub(super) type PlayerQueue = ClientQueue<Player>;

/// State of a client that gets a stream's payloads.
#[derive(Debug)]
pub(super) struct Player {
    share: Share,
    /// Chunks are messages of a WebSocket.
    messages: bool,
    /// Number of the next packet.
    next: u64,
    /// Backlog that does not count as behind, because the client started with older chunks.
    lead: usize,
    /// Since when the backlog exceeds that.
    behind: Option<Instant>,
    /// Arrival of the last chunk.
    heard: Instant,
    _place: Option<Place>,
}

/// An item in the backlog of a player.
#[derive(Debug)]
pub(super) enum Part {
    /// A chunk, and the frame head before it.
    Chunk(Head, Arc<Chunk>),
    /// An answer to a WebSocket frame of the client.
    Answer(Vec<u8>),
}

/// How long to keep a client.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    pub(super) lag_max: Duration,
    pub(super) idle_timeout: Duration,
}

fn cost(chunk: &Chunk) -> usize {
    chunk.bytes.len() + CHUNK_COST_BYTES
}

impl Queued for Part {
    fn parts(&self) -> [&[u8]; 2] {
        match self {
            Part::Chunk(head, chunk) => [head.as_slice(), &chunk.bytes],
            Part::Answer(bytes) => [&[], bytes],
        }
    }

    /// An answer does not make a client count as behind.
    fn cost(&self) -> usize {
        match self {
            Part::Chunk(_, chunk) => cost(chunk),
            Part::Answer(_) => 0,
        }
    }

    fn is_answer(&self) -> bool {
        matches!(self, Part::Answer(_))
    }
}

impl Part {
    fn packets(&self) -> u64 {
        match self {
            Part::Chunk(_, chunk) => chunk.packets.into(),
            Part::Answer(_) => 0,
        }
    }
}

impl Policy for Player {
    type Item = Part;
    const UNACKNOWLEDGED: End = End::Gone;

    fn say(state: &mut State<Player>, bytes: Vec<u8>) {
        let closes = bytes.first() == Some(&websocket::CLOSES) && !state.closed;
        state.backlog.push_answer(Part::Answer(bytes));
        // Nothing may follow the answer to the client's close frame.
        if closes {
            state.closed = true;
            let unsent = state.backlog.take_unsent(|part| !part.is_answer());
            state.policy.share.cut(unsent.iter().map(Part::packets).sum());
        }
    }

    fn sent(&mut self, part: &Part, backlog: &Backlog<Part>) {
        if let Part::Chunk(_, chunk) = part {
            if backlog.cost() <= self.lead {
                self.behind = None;
            }
            self.got(chunk);
        }
    }

    fn cut(&mut self, part: &Part) {
        self.share.cut(part.packets());
    }
}

impl Player {
    /// The frame head before a chunk.
    fn head(&self, chunk: &Chunk) -> Head {
        if self.messages { Head::binary(chunk.bytes.len()) } else { Head::default() }
    }

    fn got(&self, chunk: &Chunk) {
        self.share.sent(chunk.packets.into(), chunk.bytes.len() as u64);
    }

    /// Notes that something was added to the backlog.
    fn waits(&mut self, backlog: &Backlog<Part>, now: Instant) {
        if backlog.cost() > self.lead {
            self.behind.get_or_insert(now);
        }
    }

    /// Skips the oldest chunks beyond the bound. Returns the count of their packets.
    fn skip(&self, backlog: &mut Backlog<Part>) -> u64 {
        let mut skipped = 0;
        while backlog.cost() > CLIENT_BACKLOG_BYTES_MAX + self.lead
            && let Some(part) = backlog.skip()
        {
            skipped += part.packets();
        }
        skipped
    }

    /// How long the client may continue in its present state.
    fn left(&self, patience: Patience, now: Instant) -> Result<Duration, End> {
        let (since, max, end) = match self.behind {
            Some(behind) => (behind, patience.lag_max, End::Behind),
            None => (self.heard, patience.idle_timeout, End::Silent),
        };
        let left = max.checked_sub(now.saturating_duration_since(since)).filter(|left| !left.is_zero());
        // A client within its lead may fall behind meanwhile.
        left.map(|left| left.min(patience.lag_max)).ok_or(end)
    }
}

impl PlayerQueue {
    /// A client that gets the packets from `next` on.
    pub(super) fn new(stream: TcpStream, share: Share, next: u64, place: Option<Place>) -> PlayerQueue {
        let heard = clock::now();
        let player = Player { share, messages: false, next, lead: 0, behind: None, heard, _place: place };
        ClientQueue::with(Some(stream), player)
    }

    /// Adds a WebSocket head to each chunk from now on. Call it before
    /// [`PlayerQueue::starting_with`].
    pub(super) fn in_messages(mut self) -> PlayerQueue {
        let state = self.state_mut();
        debug_assert!(state.backlog.is_empty(), "a chunk waits without its head");
        state.policy.messages = true;
        self
    }

    /// Puts these chunks at the start of the client's backlog.
    pub(super) fn starting_with(mut self, chunks: Vec<Arc<Chunk>>) -> PlayerQueue {
        let State { backlog, policy: player, .. } = self.state_mut();
        player.lead = START_LEAD * chunks.iter().map(|chunk| cost(chunk)).sum::<usize>();
        for chunk in chunks {
            backlog.push(Part::Chunk(player.head(&chunk), chunk));
            player.waits(backlog, player.heard);
        }
        self.wake();
        self
    }

    /// Writes a chunk, or adds it to the backlog. Does nothing if the client has had it.
    pub(super) fn push(&self, chunk: &Arc<Chunk>, now: Instant) {
        let mut state = self.state();
        let State { backlog, policy: player, closed, .. } = &mut *state;
        if chunk.first < player.next || *closed {
            return;
        }
        let missed = chunk.first - player.next;
        player.next = chunk.end();
        player.heard = now;
        let head = player.head(chunk);
        if backlog.is_empty() {
            let parts: [&[u8]; 2] = [head.as_slice(), &chunk.bytes];
            match self.stream().and_then(|stream| queue::write(stream, parts, 0)) {
                Ok(bytes) if bytes == parts[0].len() + parts[1].len() => player.got(chunk),
                // The client's task finds the reason.
                result => {
                    backlog.push_begun(Part::Chunk(head, chunk.clone()), result.unwrap_or(0));
                    player.waits(backlog, now);
                    self.wake();
                }
            }
        } else {
            backlog.push(Part::Chunk(head, chunk.clone()));
            player.waits(backlog, now);
        }
        let skipped = missed + player.skip(backlog);
        if skipped > 0 {
            player.share.lagged(skipped);
        }
    }

    /// Serves the client until it ends.
    pub(super) async fn run(&self, patience: Patience) -> End {
        let disconnection = self.disconnection();
        let end = tokio::select! {
            end = self.serve(patience) => end,
            () = self.gone() => End::Gone,
            () = disconnection.cancelled() => End::Disconnected,
        };
        self.ended(end)
    }

    /// Serves a client over a WebSocket until it ends. `early`: bytes that were already read from
    /// it.
    pub(super) async fn run_messages(&self, patience: Patience, early: Vec<u8>) -> End {
        let (peer, disconnection) = (websocket::Peer::default(), self.disconnection());
        let end = tokio::select! {
            end = self.serve(patience) => end,
            () = websocket::read(self, early, false, &peer) => End::Gone,
            () = websocket::ping(self, &peer) => End::Gone,
            () = disconnection.cancelled() => End::Disconnected,
        };
        let end = self.ended(end);
        websocket::leave(self, &peer, end).await;
        end
    }

    fn disconnection(&self) -> CancellationToken {
        self.state().policy.share.disconnection()
    }

    fn ended(&self, end: End) -> End {
        let state = self.state();
        let share = &state.policy.share;
        match end {
            End::Behind => share.cut_off_behind(),
            End::Silent => share.cut_off_idle(),
            End::Disconnected => share.cut_off_by_operator(),
            End::Done | End::Gone => {}
        }
        end
    }

    async fn serve(&self, patience: Patience) -> End {
        loop {
            let silent = clock::now().saturating_duration_since(self.heard());
            let Some(left) = patience.idle_timeout.checked_sub(silent).filter(|left| !left.is_zero()) else {
                return End::Silent;
            };
            // No timer is set per chunk: when this one fires, it checks whether one has come.
            if timeout(left, self.woken()).await.is_err() {
                continue;
            }
            match self.catch_up(|state, now, _| state.policy.left(patience, now)).await {
                Ok(true) => return End::Done,
                Ok(false) => {}
                Err(end) => return end,
            }
        }
    }

    /// Arrival of the last chunk.
    fn heard(&self) -> Instant {
        self.state().policy.heard
    }

    /// Returns when the client has gone, or sends too much.
    async fn gone(&self) {
        let Ok(stream) = self.stream() else { return };
        let mut chatter = 0;
        while chatter <= CLIENT_CHATTER_BYTES_MAX {
            if stream.readable().await.is_err() {
                return;
            }
            match stream.try_read(&mut [0; 512]) {
                Ok(0) => return self.half_closed(stream).await,
                Ok(bytes) => chatter += bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }

    /// The client has closed its side, and may still listen. If it has gone, it answers the next
    /// chunk with a reset. Returns on that reset, or when no chunk comes for a while.
    async fn half_closed(&self, stream: &TcpStream) {
        while timeout(HALF_CLOSED_SILENCE_MAX, listen::broken(stream)).await.is_err() {
            if clock::now().saturating_duration_since(self.heard()) >= HALF_CLOSED_SILENCE_MAX {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests;
