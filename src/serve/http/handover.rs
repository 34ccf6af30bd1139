//! Passes from a request to its connection what to send after the response's head.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::upgrade::OnUpgrade;

use crate::{
    registry::{Share, Subscription, audience::Who},
    serve::push::{Position, SubscribeOptions},
    shares::Place,
};

/// Where a request handler stores what its connection sends after the head. One per connection, in
/// the extensions of its requests.
#[derive(Debug, Clone, Default)]
pub(super) struct Handover {
    left: Arc<Mutex<Left>>,
}

/// Contents of a [`Handover`].
#[derive(Debug, Default)]
struct Left {
    ordered: Option<Ordered>,
    /// The client's offer to switch protocols, accepted or not.
    offer: Option<OnUpgrade>,
}

/// What a client has requested.
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
        // Fields are set one at a time, so a panic cannot leave them inconsistent.
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn give(&self, ordered: Ordered) {
        self.left().ordered = Some(ordered);
    }

    /// Stores a request's offer to switch protocols.
    pub(super) fn offered(&self, offer: Option<OnUpgrade>) {
        if offer.is_some() {
            self.left().offer = offer;
        }
    }

    /// Takes the last offer.
    pub(super) fn offer(&self) -> Option<OnUpgrade> {
        self.left().offer.take()
    }

    /// Takes what was requested.
    pub(super) fn take(&self) -> Option<Ordered> {
        self.left().ordered.take()
    }
}

/// A requested subscription.
#[derive(Debug)]
pub(super) struct PushOrder {
    pub(super) name: String,
    /// For a group on demand, the client's share.
    pub(super) share: Option<Share>,
    pub(super) options: SubscribeOptions,
    pub(super) who: Who,
    /// The last event that a client of server-sent events has received.
    pub(super) after: Option<Position>,
    pub(super) place: Place,
}

/// Contents of a WebSocket.
#[derive(Debug)]
pub(super) enum Messages {
    /// Packets and gaps as messages.
    Told(PushOrder),
    /// A stream as players receive it.
    Raw { subscription: Subscription, place: Place },
}
