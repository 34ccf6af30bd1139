//! A client's end of its subscriptions: a bounded queue, and the socket behind it if the writing is ours.
//!
//! The hub writes a chunk to the socket at once ([`Outlet::push`]); what the socket does not take waits, and the client's
//! own task ([`Outlet::write`]) writes that when it can. A client whose queue is too long or too old is behind: what
//! waits is dropped and noted by flow and numbers, and so is what comes, until the socket has taken what was begun. Then
//! the hub is asked for what the client is to be told: what it missed, and the newest value of each flow. That comes in
//! pieces, as the last values do that a new client gets: the next piece when the client has taken the one before.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, VecDeque, btree_map::Entry},
    io::{self, ErrorKind},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Instant,
};

use tokio::{
    net::TcpStream,
    sync::{Notify, mpsc},
    time::timeout,
};

use super::{chunk::Chunk, class::Member, hub::Command, message::Range};
use crate::{
    channel::tap::FlowName,
    limits::{MISSED_FLOWS_MAX, PUSH_QUEUE_AGE_MAX, PUSH_QUEUE_BYTES_MAX, PUSH_STALL_MAX},
    registry::{Share, audience::Who},
    serve::listen,
};
use tidecast_net::clock;

/// See the module.
#[derive(Debug)]
pub(in crate::serve) struct Outlet {
    /// Without one, somebody else writes what [`Outlet::next`] gives.
    stream: Option<TcpStream>,
    who: Who,
    state: Mutex<State>,
    /// Something waits, or has ended.
    attention: Notify,
    /// An answer has been written.
    answered: Notify,
    itself: Weak<Outlet>,
}

/// Why writing to a client ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::serve) enum End {
    /// All that it subscribed to has ended, or it was asked for, and the client has got all of it.
    Done,
    /// The client has gone.
    Gone,
    /// It took nothing for too long.
    Stalled,
}

/// What was counted of a subscription.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub(in crate::serve) struct Tally {
    /// Packets handed to the connection.
    pub(in crate::serve) packets: u64,
    /// Payload bytes of them.
    pub(in crate::serve) bytes: u64,
    /// Packets that it did not get.
    pub(in crate::serve) missed: u64,
}

#[derive(Debug, Default)]
struct State {
    subscriptions: Vec<Subscription>,
    next_id: u64,
    waiting: VecDeque<Waiting>,
    /// Bytes of the first one that are written already.
    written: usize,
    /// What all of `waiting` takes, in bytes.
    cost: usize,
    /// How many of `waiting` are answers.
    answers: usize,
    /// Flows of which something is noted as missed; the largest number: of some it could not be.
    notes: usize,
    /// Nothing more comes.
    ended: bool,
    /// Nothing of the subscriptions comes any more.
    closed: bool,
}

#[derive(Debug)]
struct Waiting {
    chunk: Arc<Chunk>,
    /// None: the answer to a command.
    subscription: Option<u64>,
    since: Instant,
}

#[derive(Debug)]
struct Subscription {
    id: u64,
    share: Share,
    hub: mpsc::Sender<Command>,
    tally: Tally,
    /// What comes is noted, and not sent.
    behind: bool,
    missed: BTreeMap<ByKey, Range>,
    /// The hub has more for the client when nothing waits any more.
    more: bool,
    /// Its channel has ended.
    ended: bool,
}

/// A flow, found by its key.
#[derive(Debug)]
struct ByKey(Arc<FlowName>);

impl Ord for ByKey {
    fn cmp(&self, other: &ByKey) -> Ordering {
        self.0.key.cmp(&other.0.key)
    }
}

impl PartialOrd for ByKey {
    fn partial_cmp(&self, other: &ByKey) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for ByKey {
    fn eq(&self, other: &ByKey) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for ByKey {}

impl Subscription {
    /// Notes what is missed without this chunk. `notes`: how many flows are noted in all subscriptions; with too many of
    /// them the others are not.
    fn miss(&mut self, chunk: &Chunk, notes: &mut usize) {
        for (flow, range) in chunk.spans() {
            match self.missed.entry(ByKey(flow.clone())) {
                Entry::Vacant(place) if *notes < MISSED_FLOWS_MAX => {
                    *notes += 1;
                    place.insert(range);
                }
                Entry::Vacant(_) => *notes = usize::MAX,
                Entry::Occupied(mut missed) => *missed.get_mut() = missed.get().and(range),
            }
        }
        self.skipped(chunk.packets + chunk.skipped);
    }

    fn skipped(&mut self, packets: u64) {
        if packets > 0 {
            self.tally.missed += packets;
            self.share.lagged(packets);
        }
    }

    fn sent(&mut self, chunk: &Chunk) {
        self.skipped(chunk.skipped);
        self.tally.packets += chunk.packets;
        self.tally.bytes += chunk.payload;
        self.share.sent(chunk.packets, chunk.payload);
    }
}

impl State {
    fn subscription(&mut self, id: u64) -> Option<&mut Subscription> {
        self.subscriptions.iter_mut().find(|subscription| subscription.id == id)
    }

    fn wait(&mut self, chunk: Arc<Chunk>, subscription: Option<u64>, since: Instant) {
        self.cost += chunk.cost();
        self.answers += usize::from(subscription.is_none());
        self.waiting.push_back(Waiting { chunk, subscription, since });
    }

    fn take(&mut self) -> Option<Waiting> {
        let first = self.waiting.pop_front()?;
        self.written = 0;
        self.cost -= first.chunk.cost();
        self.answers -= usize::from(first.subscription.is_none());
        Some(first)
    }

    fn sent(&mut self, sent: &Waiting) {
        if let Some(subscription) = sent.subscription.and_then(|id| self.subscription(id)) {
            subscription.sent(&sent.chunk);
        }
    }

    fn is_late(&self, now: Instant) -> bool {
        let oldest = self.waiting.front().map_or(now, |first| first.since);
        // One chunk alone is not too much.
        let long = self.cost > PUSH_QUEUE_BYTES_MAX && self.waiting.len() > 1;
        long || now.saturating_duration_since(oldest) > PUSH_QUEUE_AGE_MAX
    }

    /// Takes all that waits except for what is partly written.
    fn behind_begun(&mut self) -> VecDeque<Waiting> {
        let begun = usize::from(self.written > 0).min(self.waiting.len());
        self.waiting.split_off(begun)
    }

    /// Drops what waits, except for what is partly written and the answers to commands.
    fn fall_behind(&mut self) {
        for waiting in self.behind_begun() {
            match waiting.subscription {
                None => self.waiting.push_back(waiting),
                Some(id) => {
                    self.cost -= waiting.chunk.cost();
                    let mut notes = self.notes;
                    if let Some(subscription) = self.subscription(id) {
                        subscription.miss(&waiting.chunk, &mut notes);
                    }
                    self.notes = notes;
                }
            }
        }
        for subscription in &mut self.subscriptions {
            subscription.behind = true;
        }
    }
}

impl Outlet {
    /// A client's, for a socket, or without one for [`Outlet::next`].
    pub(in crate::serve) fn new(stream: Option<TcpStream>, who: Who) -> Arc<Outlet> {
        if let Some(stream) = &stream {
            listen::be_patient(stream, PUSH_STALL_MAX);
        }
        Arc::new_cyclic(|itself| Outlet {
            stream,
            who,
            state: Mutex::default(),
            attention: Notify::new(),
            answered: Notify::new(),
            itself: itself.clone(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing here panics half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The socket, for what comes from the client.
    pub(in crate::serve) fn stream(&self) -> io::Result<&TcpStream> {
        self.stream.as_ref().ok_or_else(|| ErrorKind::NotConnected.into())
    }

    /// One more subscription.
    pub(super) fn add(&self, share: Share, hub: mpsc::Sender<Command>) -> Member {
        share.introduce(self.who.clone());
        let mut state = self.state();
        let id = state.next_id;
        state.next_id += 1;
        state.subscriptions.push(Subscription {
            id,
            share,
            hub,
            tally: Tally::default(),
            behind: false,
            missed: BTreeMap::new(),
            more: false,
            ended: false,
        });
        Member { outlet: self.itself.clone(), id }
    }

    /// Ends a subscription. What waits of it is not sent.
    pub(in crate::serve) fn remove(&self, id: u64) -> Option<Tally> {
        let mut state = self.state();
        let place = state.subscriptions.iter().position(|subscription| subscription.id == id)?;
        let subscription = state.subscriptions.remove(place);
        if state.notes != usize::MAX {
            state.notes -= subscription.missed.len();
        }
        for waiting in state.behind_begun() {
            if waiting.subscription == Some(id) {
                state.cost -= waiting.chunk.cost();
                subscription.share.cut(waiting.chunk.packets);
            } else {
                state.waiting.push_back(waiting);
            }
        }
        Some(subscription.tally)
    }

    /// What was counted of a subscription.
    pub(in crate::serve) fn tally(&self, id: u64) -> Option<Tally> {
        self.state().subscription(id).map(|subscription| subscription.tally)
    }

    /// Whether it has no subscription, and nothing waits.
    pub(in crate::serve) fn is_idle(&self) -> bool {
        let state = self.state();
        state.subscriptions.is_empty() && state.waiting.is_empty()
    }

    /// How many bytes wait.
    pub(in crate::serve) fn waiting(&self) -> usize {
        self.state().cost
    }

    /// Writes a chunk, or lets it wait, or notes that it is missed. Answers whether the subscription is still there.
    pub(super) fn push(&self, id: u64, chunk: &Arc<Chunk>, now: Instant) -> bool {
        let mut state = self.state();
        let clear = state.waiting.is_empty();
        if state.closed {
            return false;
        }
        let mut notes = state.notes;
        let Some(subscription) = state.subscription(id) else { return false };
        if subscription.behind {
            subscription.miss(chunk, &mut notes);
            state.notes = notes;
            return true;
        }
        let written = match &self.stream {
            // The task finds out why not.
            Some(stream) if clear => stream.try_write(&chunk.bytes).unwrap_or(0),
            _ => 0,
        };
        if self.stream.is_some() && written == chunk.bytes.len() {
            subscription.sent(chunk);
            return true;
        }
        state.wait(chunk.clone(), Some(id), now);
        if clear {
            state.written = written;
        }
        if state.is_late(now) {
            state.fall_behind();
        }
        if clear {
            self.attention.notify_one();
        }
        true
    }

    /// Sends something that is no message of a subscription.
    pub(in crate::serve) fn say(&self, bytes: Vec<u8>) {
        let mut state = self.state();
        state.wait(Arc::new(Chunk::control(bytes)), None, clock::now());
        self.attention.notify_one();
    }

    /// Returns when no answer waits. Nothing is read from the client before, so that it cannot ask faster than it takes
    /// the answers.
    pub(in crate::serve) async fn answered(&self) {
        while self.state().answers > 0 {
            self.answered.notified().await;
        }
    }

    /// Something of what waited has gone to the client.
    fn took(&self, state: &mut State, taken: &Waiting) {
        state.sent(taken);
        if taken.subscription.is_none() {
            self.answered.notify_one();
        }
    }

    /// Ends with what waits.
    pub(in crate::serve) fn end(&self) {
        let mut state = self.state();
        (state.ended, state.closed) = (true, true);
        self.attention.notify_one();
    }

    /// A subscription's channel has ended; with the last of them everything has.
    pub(super) fn ended(&self, id: u64) {
        let mut state = self.state();
        if let Some(subscription) = state.subscription(id) {
            subscription.ended = true;
        }
        state.ended |= state.subscriptions.iter().all(|subscription| subscription.ended);
        self.attention.notify_one();
    }

    /// The next of the flows of which a subscription missed something. `None`: it is told of all of them, and gets what
    /// comes from here on.
    pub(super) fn next_missed(&self, id: u64) -> Option<(Arc<FlowName>, Range)> {
        let mut state = self.state();
        let subscription = state.subscription(id)?;
        let Some((flow, range)) = subscription.missed.pop_first() else {
            subscription.behind = false;
            return None;
        };
        if state.notes != usize::MAX {
            state.notes -= 1;
        }
        Some((flow.0, range))
    }

    /// Lets a piece wait of what a client that is behind missed.
    pub(super) fn tell(&self, id: u64, piece: Chunk) {
        let mut state = self.state();
        if state.subscription(id).is_some() && !state.closed {
            state.wait(Arc::new(piece), Some(id), clock::now());
            self.attention.notify_one();
        }
    }

    /// Whether the client has taken everything, so that there may be more of it at once; otherwise it asks when it has.
    /// `None`: the subscription has ended.
    pub(super) fn is_ready(&self, id: u64) -> Option<bool> {
        let mut state = self.state();
        let ready = state.waiting.is_empty();
        let closed = state.closed;
        let subscription = state.subscription(id).filter(|_| !closed)?;
        subscription.more = !ready;
        Some(ready)
    }

    /// Writes to the socket to the end.
    pub(in crate::serve) async fn write(&self) -> End {
        let Ok(stream) = self.stream() else { return End::Gone };
        loop {
            match self.catch_up(stream).await {
                Ok(true) => return End::Done,
                Ok(false) => self.ask().await,
                Err(error) if error.kind() == ErrorKind::TimedOut => {
                    self.cut_off();
                    return End::Stalled;
                }
                Err(_) => return End::Gone,
            }
            self.attention.notified().await;
        }
    }

    /// Writes what waits until nothing does. Answers whether everything has ended.
    async fn catch_up(&self, stream: &TcpStream) -> io::Result<bool> {
        loop {
            {
                let mut state = self.state();
                if state.notes == usize::MAX {
                    return Err(ErrorKind::TimedOut.into()); // it would not be told of all that it missed
                }
                let State { waiting, written, .. } = &mut *state;
                let Some(first) = waiting.front() else { return Ok(state.ended) };
                match stream.try_write(&first.chunk.bytes[*written..]) {
                    Ok(bytes) => {
                        *written += bytes;
                        if *written >= first.chunk.bytes.len()
                            && let Some(sent) = state.take()
                        {
                            self.took(&mut state, &sent);
                        }
                        continue;
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            }
            timeout(PUSH_STALL_MAX, stream.writable()).await.map_err(|_| ErrorKind::TimedOut)??;
        }
    }

    /// Asks the hubs for what a client is to be told that was behind and is not any more, and for the next pieces.
    async fn ask(&self) {
        let wanted: Vec<(mpsc::Sender<Command>, Member)> = {
            let mut state = self.state();
            if !state.waiting.is_empty() {
                return;
            }
            let wanted = state.subscriptions.iter_mut().filter(|s| !s.ended);
            let wanted = wanted.filter_map(|s| (std::mem::take(&mut s.more) || s.behind).then_some(s));
            wanted.map(|s| (s.hub.clone(), Member { outlet: self.itself.clone(), id: s.id })).collect()
        };
        for (hub, member) in wanted {
            // A hub that has ended has said so.
            let _ = hub.send(Command::Resume(member)).await;
        }
    }

    /// Counts that the client is cut off because it took nothing.
    pub(in crate::serve) fn cut_off(&self) {
        for subscription in &self.state().subscriptions {
            subscription.share.cut_off_behind();
        }
    }

    /// The next chunk, for one who writes it without a socket of ours. `None`: everything has ended.
    pub(in crate::serve) async fn next(&self) -> Option<Arc<Chunk>> {
        loop {
            {
                let mut state = self.state();
                if let Some(first) = state.take() {
                    self.took(&mut state, &first);
                    return Some(first.chunk);
                }
                if state.ended || state.notes == usize::MAX {
                    return None;
                }
            }
            self.ask().await;
            self.attention.notified().await;
        }
    }
}

impl Drop for Outlet {
    /// What waited when the connection ended was not sent.
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        let waiting = std::mem::take(&mut state.waiting);
        for waiting in waiting {
            if let Some(subscription) = waiting.subscription.and_then(|id| state.subscription(id)) {
                subscription.share.cut(waiting.chunk.packets);
            }
        }
    }
}

#[cfg(test)]
mod tests;
