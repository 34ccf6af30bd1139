//! A client's end of its subscriptions: takes chunks from its hubs, and writes them to the socket
//! if it has one.
//!
//! The hub writes a chunk to the socket at once ([`PushQueue::push`]). What the socket does not
//! take waits, and the client's own task ([`PushQueue::write`]) writes it when it can. A client
//! whose queue is too long or too old is behind: its queue is dropped, and the missed numbers are
//! noted for each flow until the socket has taken the item that was partly written. Then the hub
//! sends the missed numbers, and the newest value of each flow. They come in pieces, like the last
//! values for a new client: the next piece follows when the client has taken the previous one.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{net::TcpStream, sync::mpsc};

use super::{
    chunk::EncodedChunk,
    message::Range,
    subscriptions::{HubCommand, Member, PendingChunk, PushQueue, Subscription, Subscriptions, Tally},
};
use crate::{
    channel::tap::FlowName,
    limits::{PUSH_QUEUE_AGE_MAX, PUSH_QUEUE_BYTES_MAX, PUSH_STALL_MAX},
    registry::{Share, audience::Who},
    serve::{
        listen,
        queue::{ClientQueue, End, State},
    },
};
use tidecast_net::clock;

impl State<Subscriptions> {
    fn wait(&mut self, chunk: Arc<EncodedChunk>, id: u64, since: Instant) {
        self.backlog.push(PendingChunk { chunk, subscription: Some(id), since });
    }

    fn is_late(&self, now: Instant) -> bool {
        let oldest = self.backlog.front().map_or(now, |first| first.since);
        // A single chunk is never too much.
        let long = self.backlog.cost() > PUSH_QUEUE_BYTES_MAX && self.backlog.len() > 1;
        long || now.saturating_duration_since(oldest) > PUSH_QUEUE_AGE_MAX
    }

    /// Drops the queue, except for a partly written item and answers to commands.
    pub(super) fn fall_behind(&mut self) {
        for pending in self.backlog.take_unsent(|pending| pending.subscription.is_some()) {
            if let Some(id) = pending.subscription {
                self.policy.miss(id, &pending.chunk);
            }
        }
        for subscription in &mut self.policy.list {
            subscription.behind = true;
        }
    }

    /// How long a client may continue if it has taken nothing since `moved`.
    fn left(&self, now: Instant, moved: Instant) -> Result<Duration, End> {
        let left = PUSH_STALL_MAX.checked_sub(now.saturating_duration_since(moved));
        left.filter(|left| !left.is_zero() && !self.policy.missed.overflown).ok_or(End::Behind)
    }
}

impl PushQueue {
    /// A queue for a client with a socket, or without one for use with [`PushQueue::next`].
    pub(in crate::serve) fn new(stream: Option<TcpStream>, who: Who) -> Arc<PushQueue> {
        if let Some(stream) = &stream {
            listen::be_patient(stream, PUSH_STALL_MAX);
        }
        Arc::new(ClientQueue::with(stream, Subscriptions::new(who)))
    }

    /// Names the client's token, for subscriptions that follow.
    pub(in crate::serve) fn introduce(&self, user: Arc<str>) {
        self.state().policy.who.user = Some(user);
    }

    /// Adds a subscription.
    pub(super) fn add(self: &Arc<Self>, share: Share, hub: mpsc::Sender<HubCommand>) -> Member {
        let mut state = self.state();
        let Subscriptions { who, disconnection, list, next_id, .. } = &mut state.policy;
        share.introduce(who.clone());
        share.disconnects(disconnection);
        let member = Member { queue: Arc::downgrade(self), id: *next_id };
        *next_id += 1;
        list.push(Subscription {
            member: member.clone(),
            share,
            hub,
            tally: Tally::default(),
            behind: false,
            missed: BTreeMap::new(),
            more: false,
            ended: false,
        });
        member
    }

    /// Ends a subscription. Its queued chunks are not sent.
    pub(in crate::serve) fn remove(&self, id: u64) -> Option<Tally> {
        let mut state = self.state();
        let Subscriptions { list, missed, .. } = &mut state.policy;
        let place = list.iter().position(|subscription| subscription.member.id == id)?;
        let subscription = list.remove(place);
        missed.forget(subscription.missed.len());
        for pending in state.backlog.take_unsent(|pending| pending.subscription == Some(id)) {
            subscription.share.cut(pending.chunk.packets);
        }
        Some(subscription.tally)
    }

    /// Counters of a subscription.
    pub(in crate::serve) fn tally(&self, id: u64) -> Option<Tally> {
        self.state().policy.get(id).map(|subscription| subscription.tally)
    }

    /// Whether it has no subscription, and its queue is empty.
    pub(in crate::serve) fn is_idle(&self) -> bool {
        let state = self.state();
        state.policy.list.is_empty() && state.backlog.is_empty()
    }

    /// Writes a chunk, queues it, or notes it as missed. Returns whether the subscription still
    /// exists.
    pub(super) fn push(&self, id: u64, chunk: &Arc<EncodedChunk>, now: Instant) -> bool {
        let mut state = self.state();
        let clear = state.backlog.is_empty();
        if state.closed {
            return false;
        }
        let Some(subscription) = state.policy.get(id) else { return false };
        if subscription.behind {
            state.policy.miss(id, chunk);
            return true;
        }
        let written = match self.stream() {
            // The client's task finds the reason of an error.
            Ok(stream) if clear => stream.try_write(&chunk.bytes).unwrap_or(0),
            _ => 0,
        };
        if self.stream().is_ok() && written == chunk.bytes.len() {
            subscription.sent(chunk);
            return true;
        }
        if clear {
            let pending = PendingChunk { chunk: chunk.clone(), subscription: Some(id), since: now };
            state.backlog.push_begun(pending, written);
        } else {
            state.wait(chunk.clone(), id, now);
        }
        if state.is_late(now) {
            state.fall_behind();
        }
        if clear {
            self.wake();
        }
        true
    }

    /// The channel of a subscription has ended. With the last one, the queue ends.
    pub(super) fn ended(&self, id: u64) {
        let mut state = self.state();
        if let Some(subscription) = state.policy.get(id) {
            subscription.ended = true;
        }
        state.ended |= state.policy.list.iter().all(|subscription| subscription.ended);
        self.wake();
    }

    /// The next flow with numbers that a subscription missed. `None`: all were reported, and the
    /// subscription gets chunks from here on.
    pub(super) fn next_missed(&self, id: u64) -> Option<(Arc<FlowName>, Range)> {
        let mut state = self.state();
        let subscription = state.policy.get(id)?;
        let Some((flow, range)) = subscription.missed.pop_first() else {
            subscription.behind = false;
            return None;
        };
        state.policy.missed.forget(1);
        Some((flow.0, range))
    }

    /// Queues a piece for a client that is behind.
    pub(super) fn tell(&self, id: u64, piece: EncodedChunk) {
        let mut state = self.state();
        if state.policy.get(id).is_some() && !state.closed {
            state.wait(Arc::new(piece), id, clock::now());
            self.wake();
        }
    }

    /// Whether the client has taken everything, so that the next piece may follow at once;
    /// otherwise the client's task asks for it later. `None`: the subscription has ended.
    pub(super) fn is_ready(&self, id: u64) -> Option<bool> {
        let mut state = self.state();
        let ready = state.backlog.is_empty();
        let closed = state.closed;
        let subscription = state.policy.get(id).filter(|_| !closed)?;
        subscription.more = !ready;
        Some(ready)
    }

    /// Writes to the socket until the end.
    pub(in crate::serve) async fn write(&self) -> End {
        loop {
            let written = self.catch_up(State::<Subscriptions>::left).await;
            let end = match written {
                _ if self.is_overflown() => Err(End::Behind),
                other => other,
            };
            match end {
                Ok(true) => return End::Done,
                Ok(false) => self.ask().await,
                Err(End::Behind) => {
                    self.cut_off();
                    return End::Behind;
                }
                Err(end) => return end,
            }
            self.woken().await;
        }
    }

    fn is_overflown(&self) -> bool {
        self.state().policy.missed.overflown
    }

    /// Asks the hubs for the missed numbers of a client that has caught up, and for further
    /// pieces.
    async fn ask(&self) {
        let wanted: Vec<(mpsc::Sender<HubCommand>, Member)> = {
            let mut state = self.state();
            if !state.backlog.is_empty() {
                return;
            }
            let wanted = state.policy.list.iter_mut().filter(|s| !s.ended);
            let wanted = wanted.filter_map(|s| (std::mem::take(&mut s.more) || s.behind).then_some(s));
            wanted.map(|s| (s.hub.clone(), s.member.clone())).collect()
        };
        for (hub, member) in wanted {
            // A hub that has ended has reported its end.
            let _ = hub.send(HubCommand::Resume(member)).await;
        }
    }

    /// Counts that the client was disconnected because it took nothing.
    pub(in crate::serve) fn cut_off(&self) {
        for subscription in &self.state().policy.list {
            subscription.share.cut_off_behind();
        }
    }

    /// Returns when an operator disconnects the client, and counts that.
    pub(in crate::serve) async fn disconnected(&self) -> End {
        let disconnection = self.state().policy.disconnection.clone();
        disconnection.cancelled().await;
        for subscription in &self.state().policy.list {
            subscription.share.cut_off_by_operator();
        }
        End::Disconnected
    }

    /// The next chunk, for clients without a socket here. `None`: everything has ended.
    pub(in crate::serve) async fn next(&self) -> Option<Arc<EncodedChunk>> {
        loop {
            {
                let mut state = self.state();
                if let Some(first) = state.backlog.pop() {
                    self.took(&mut state, &first);
                    return Some(first.chunk);
                }
                if state.ended || state.policy.missed.overflown {
                    return None;
                }
            }
            self.ask().await;
            self.woken().await;
        }
    }
}

#[cfg(test)]
mod tests;
