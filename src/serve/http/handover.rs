//! From a request to its connection: what the connection carries behind the answer's head.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::upgrade::OnUpgrade;

use crate::{
    registry::{Share, Subscription, audience::Who},
    serve::push::{Position, SubscribeOptions},
    shares::Place,
};

/// Where a request handler leaves what its connection carries behind the head. One per connection,
/// in the extensions of its requests.
#[derive(Debug, Clone, Default)]
pub(super) struct Handover {
    left: Arc<Mutex<Left>>,
}

/// What is left for a connection.
#[derive(Debug, Default)]
struct Left {
    ordered: Option<Ordered>,
    /// The client offered to speak another protocol, accepted or not.
    offer: Option<OnUpgrade>,
}

/// What a client has asked for.
#[derive(Debug)]
pub(super) enum Ordered {
    /// Payloads.
    Stream { subscription: Subscription, place: Place },
    /// Server-sent events.
    Events(PushOrder),
    /// A WebSocket.
    WebSocket(Messages),
}

impl Handover {
    fn left(&self) -> MutexGuard<'_, Left> {
        // Single values: no panic can leave it half changed.
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn give(&self, ordered: Ordered) {
        self.left().ordered = Some(ordered);
    }

    /// A request may offer another protocol.
    pub(super) fn offered(&self, offer: Option<OnUpgrade>) {
        if offer.is_some() {
            self.left().offer = offer;
        }
    }

    /// What comes out of the last offer.
    pub(super) fn offer(&self) -> Option<OnUpgrade> {
        self.left().offer.take()
    }

    /// What was left here.
    pub(super) fn take(&self) -> Option<Ordered> {
        self.left().ordered.take()
    }
}

/// A subscription that was asked for.
#[derive(Debug)]
pub(super) struct PushOrder {
    pub(super) name: String,
    /// Of a group on demand, the client's share.
    pub(super) share: Option<Share>,
    pub(super) options: SubscribeOptions,
    pub(super) who: Who,
    /// The last event that a client of server-sent events has had.
    pub(super) after: Option<Position>,
    pub(super) place: Place,
}

/// What a WebSocket carries.
#[derive(Debug)]
pub(super) enum Messages {
    /// Packets and gaps.
    Told(PushOrder),
    /// A stream as players get it.
    Raw { subscription: Subscription, place: Place },
}
