//! A client's subscriptions: what was sent for each, and what it missed. A hub addresses a client
//! by its [`Member`], and a client sends its hubs a [`HubCommand`].

use std::{
    cmp::Ordering,
    collections::{BTreeMap, btree_map::Entry},
    sync::{Arc, Weak},
    time::Instant,
};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{chunk::EncodedChunk, message::Range, options::SubscribeOptions, position::Position};
use crate::{
    channel::tap::FlowName,
    limits::MISSED_FLOWS_MAX,
    registry::{Share, audience::Who},
    serve::queue::{Backlog, ClientQueue, End, Policy, Queued, State},
};
use tidecast_net::clock;

/// Queue of a client that gets messages.
pub(in crate::serve) type PushQueue = ClientQueue<Subscriptions>;

/// A subscription, as the destination of chunks.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) queue: Weak<PushQueue>,
    /// Id among the client's subscriptions.
    pub(super) id: u64,
}

/// A command for a hub.
#[derive(Debug)]
pub(super) enum HubCommand {
    /// A client subscribes, or reconnects after this event.
    Join(SubscribeOptions, Member, Option<Position>),
    /// A client that was behind has caught up, or one with a burst has taken its last piece.
    Resume(Member),
}

/// Counters of a subscription.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub(in crate::serve) struct Tally {
    /// Packets passed to the connection.
    pub(in crate::serve) packets: u64,
    /// Payload bytes of these packets.
    pub(in crate::serve) bytes: u64,
    /// Packets that the client did not get.
    pub(in crate::serve) missed: u64,
}

/// State of a client's subscriptions.
#[derive(Debug)]
pub(in crate::serve) struct Subscriptions {
    pub(super) who: Who,
    /// Cancelled when an operator disconnects the client.
    pub(super) disconnection: CancellationToken,
    pub(super) list: Vec<Subscription>,
    pub(super) next_id: u64,
    pub(super) missed: MissedFlows,
}

/// Count of flows with missed numbers, over all subscriptions.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct MissedFlows {
    noted: usize,
    /// There were more than the maximum, so the client cannot get a list of everything that it
    /// missed.
    pub(super) overflown: bool,
}

/// A chunk in a client's queue.
#[derive(Debug)]
pub(in crate::serve) struct PendingChunk {
    pub(super) chunk: Arc<EncodedChunk>,
    /// `None` for the answer to a command.
    pub(super) subscription: Option<u64>,
    pub(super) since: Instant,
}

/// One subscription.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) member: Member,
    pub(super) share: Share,
    pub(super) hub: mpsc::Sender<HubCommand>,
    pub(super) tally: Tally,
    /// Chunks are noted as missed instead of being sent.
    pub(super) behind: bool,
    pub(super) missed: BTreeMap<ByKey, Range>,
    /// The hub has more for the client once its queue is empty.
    pub(super) more: bool,
    /// The channel has ended.
    pub(super) ended: bool,
}

/// A flow, compared by its key.
#[derive(Debug)]
pub(super) struct ByKey(pub(super) Arc<FlowName>);

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

impl MissedFlows {
    /// Whether another flow may be noted.
    fn note(&mut self) -> bool {
        let room = self.noted < MISSED_FLOWS_MAX;
        self.noted += usize::from(room);
        self.overflown |= !room;
        room
    }

    /// Removes `flows` from the count.
    pub(super) fn forget(&mut self, flows: usize) {
        self.noted -= flows;
    }
}

impl Queued for PendingChunk {
    fn parts(&self) -> [&[u8]; 2] {
        [&[], &self.chunk.bytes]
    }

    fn cost(&self) -> usize {
        self.chunk.cost()
    }

    fn is_answer(&self) -> bool {
        self.subscription.is_none()
    }
}

impl Policy for Subscriptions {
    type Item = PendingChunk;
    const UNACKNOWLEDGED: End = End::Behind;

    /// Answers keep their place among the messages.
    fn say(state: &mut State<Subscriptions>, bytes: Vec<u8>) {
        let chunk = Arc::new(EncodedChunk::control(bytes));
        state.backlog.push(PendingChunk { chunk, subscription: None, since: clock::now() });
    }

    fn sent(&mut self, pending: &PendingChunk, _: &Backlog<PendingChunk>) {
        if let Some(subscription) = pending.subscription.and_then(|id| self.get(id)) {
            subscription.sent(&pending.chunk);
        }
    }

    fn cut(&mut self, pending: &PendingChunk) {
        if let Some(subscription) = pending.subscription.and_then(|id| self.get(id)) {
            subscription.share.cut(pending.chunk.packets);
        }
    }
}

impl Subscriptions {
    /// Creates the state without subscriptions.
    pub(super) fn new(who: Who) -> Subscriptions {
        let disconnection = CancellationToken::new();
        Subscriptions { who, disconnection, list: Vec::new(), next_id: 0, missed: MissedFlows::default() }
    }

    /// The subscription with this id.
    pub(super) fn get(&mut self, id: u64) -> Option<&mut Subscription> {
        self.list.iter_mut().find(|subscription| subscription.member.id == id)
    }

    /// Notes the numbers that a subscription misses without this chunk.
    pub(super) fn miss(&mut self, id: u64, chunk: &EncodedChunk) {
        let Subscriptions { list, missed, .. } = self;
        if let Some(subscription) = list.iter_mut().find(|subscription| subscription.member.id == id) {
            subscription.miss(chunk, missed);
        }
    }
}

impl Subscription {
    /// Notes the numbers that are missed without this chunk. `flows`: count over all
    /// subscriptions; beyond the maximum, further flows are not noted.
    fn miss(&mut self, chunk: &EncodedChunk, flows: &mut MissedFlows) {
        for (flow, range) in chunk.spans() {
            match self.missed.entry(ByKey(flow.clone())) {
                Entry::Vacant(place) if flows.note() => {
                    place.insert(range);
                }
                Entry::Vacant(_) => {}
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

    /// Counts a chunk that was sent to the client.
    pub(super) fn sent(&mut self, chunk: &EncodedChunk) {
        self.skipped(chunk.skipped);
        self.tally.packets += chunk.packets;
        self.tally.bytes += chunk.payload;
        self.share.sent(chunk.packets, chunk.payload);
    }
}
