//! What a client holds while it receives a channel: its place among the subscribers, and a reader.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use tokio_util::sync::CancellationToken;

use super::{
    audience::{ByTransport, Client, ClientState, SubscriberGroup, Transport, Who},
    on_demand::ChannelPlace,
};
use crate::channel::tap::{Chunk, Piece, TapReader};

/// A client's subscription to a channel.
#[derive(Debug)]
pub struct Subscription<P: Piece = Chunk> {
    /// Reader of everything from now on. It ends with the channel.
    pub reader: TapReader<P>,
    /// The client's share of the channel; dropping it unsubscribes.
    pub share: Share,
}

/// One client's share of a channel. A group on demand is left after its last share is dropped.
#[derive(Debug)]
pub struct Share {
    subscribers: Arc<SubscriberGroup>,
    client: Arc<Client>,
    /// Who is told at its end, with the channel's name and the transport.
    leaving: Option<(Arc<Leaving>, String, Transport)>,
    _place: Option<ChannelPlace>,
}

/// Who is called when a client leaves.
#[derive(Default)]
pub struct Leaving(OnceLock<OnLeaving>);

/// Takes a channel's name and what one of its clients has received.
pub type OnLeaving = Box<dyn Fn(&str, &ClientState) + Send + Sync>;

impl Leaving {
    /// Sets who is called; only the first one counts.
    pub(super) fn call(&self, told: OnLeaving) {
        let _ = self.0.set(told); // an error means that it was set before
    }
}

impl fmt::Debug for Leaving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Leaving")
    }
}

impl Share {
    /// A share of a channel. `place`: of a group on demand.
    pub(super) fn new(
        leaving: &Arc<Leaving>,
        name: &str,
        subscribers: &ByTransport,
        transport: Transport,
        place: Option<ChannelPlace>,
    ) -> Share {
        let subscribers = subscribers.of(transport);
        let client = subscribers.joined();
        let leaving = leaving.0.get().map(|_| (leaving.clone(), name.to_owned(), transport));
        Share { subscribers, client, leaving, _place: place }
    }

    /// A share without a channel.
    #[cfg(test)]
    pub(crate) fn detached(subscribers: Arc<SubscriberGroup>) -> Share {
        let client = subscribers.joined();
        Share { subscribers, client, leaving: None, _place: None }
    }

    /// Sets the description of the client.
    pub fn introduce(&self, who: Who) {
        self.client.introduce(who);
    }

    /// Counts packets sent to the client.
    pub fn sent(&self, packets: u64, bytes: u64) {
        self.subscribers.sent(&self.client, packets, bytes);
    }

    /// Counts packets that the client skipped.
    pub fn lagged(&self, packets: u64) {
        self.subscribers.lagged(&self.client, packets);
    }

    /// Counts packets that were queued when the client left.
    pub fn cut(&self, packets: u64) {
        self.subscribers.cut(packets);
    }

    /// Counts that the client was disconnected because it was behind for too long.
    pub fn cut_off_behind(&self) {
        self.subscribers.cut_off_behind();
    }

    /// Counts that the client was disconnected because its stream was silent for too long.
    pub fn cut_off_idle(&self) {
        self.subscribers.cut_off_idle();
    }

    /// Counts that an operator has disconnected the client.
    pub fn cut_off_by_operator(&self) {
        self.subscribers.cut_off_by_operator();
    }

    /// Cancelled when an operator disconnects the client.
    pub fn disconnection(&self) -> CancellationToken {
        self.client.disconnection()
    }

    /// Cancels this token, too, when an operator disconnects the client.
    pub fn disconnects(&self, connection: &CancellationToken) {
        self.client.disconnects(connection);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.subscribers.left(&self.client);
        if let Some((leaving, name, transport)) = &self.leaving
            && let Some(told) = leaving.0.get()
        {
            told(name, &self.client.state(*transport));
        }
    }
}
