//! The hubs of all streams, and how a subscription gets to its hub.

use std::{collections::HashMap, sync::Arc};

use tokio::sync::{Mutex, mpsc};

use super::{
    hub::Hub,
    options::SubscribeOptions,
    position::Position,
    subscriptions::{HubCommand, PushQueue},
};
use crate::{
    limits::PUSH_JOINS_MAX,
    registry::{self, Registry, Share, audience::Transport},
};

/// One hub for each stream with subscribers over TCP or HTTP, so that a channel's last values are
/// stored once.
#[derive(Debug)]
pub struct Hubs {
    registry: Registry,
    table: Mutex<HashMap<String, mpsc::WeakSender<HubCommand>>>,
}

impl Hubs {
    /// Creates the table without hubs: each hub starts with its first subscriber.
    pub fn new(registry: Registry) -> Hubs {
        Hubs { registry, table: Mutex::default() }
    }

    /// Subscribes a queue to a configured channel; it gets the last value of each flow at once.
    /// Returns the subscription's id.
    ///
    /// # Errors
    /// The channel does not exist.
    pub(in crate::serve) async fn subscribe(
        &self,
        name: &str,
        transport: Transport,
        options: SubscribeOptions,
        queue: &Arc<PushQueue>,
    ) -> Result<u64, registry::RegistryError> {
        self.subscribe_after(name, transport, options, queue, None).await
    }

    /// [`Hubs::subscribe`] for a client of server-sent events that reconnects: instead of the last
    /// values it gets the events after `after`, as far as they are kept.
    ///
    /// # Errors
    /// The channel does not exist.
    pub(in crate::serve) async fn subscribe_after(
        &self,
        name: &str,
        transport: Transport,
        options: SubscribeOptions,
        queue: &Arc<PushQueue>,
        after: Option<Position>,
    ) -> Result<u64, registry::RegistryError> {
        let share = self.registry.share(name, transport)?;
        self.subscribe_shared(name, share, options, queue, after).await
    }

    /// [`Hubs::subscribe_after`] for a client that already has a share of the channel, as for a
    /// group on demand.
    ///
    /// # Errors
    /// The channel does not exist.
    pub(in crate::serve) async fn subscribe_shared(
        &self,
        name: &str,
        share: Share,
        options: SubscribeOptions,
        queue: &Arc<PushQueue>,
        after: Option<Position>,
    ) -> Result<u64, registry::RegistryError> {
        loop {
            let hub = self.hub(name).await?;
            // If the hub has just ended with its channel, the next attempt detects that.
            if let Ok(place) = hub.reserve().await {
                let member = queue.add(share, hub.clone());
                let id = member.id;
                place.send(HubCommand::Join(options, member, after));
                return Ok(id);
            }
        }
    }

    async fn hub(&self, name: &str) -> Result<mpsc::Sender<HubCommand>, registry::RegistryError> {
        let mut table = self.table.lock().await;
        table.retain(|_, hub| hub.strong_count() > 0);
        if let Some(hub) = table.get(name).and_then(mpsc::WeakSender::upgrade).filter(|hub| !hub.is_closed())
        {
            return Ok(hub);
        }
        let (last, reader) = self.registry.follow(name).await?;
        let place = self.registry.names().iter().position(|known| known == name);
        let (hub, commands) = mpsc::channel(PUSH_JOINS_MAX);
        table.insert(name.to_owned(), hub.downgrade());
        // There are at most CHANNELS_MAX configured channels; those on demand have no place.
        let id = place.map_or(0, |place| u16::try_from(place + 1).unwrap_or(u16::MAX));
        tokio::spawn(Hub::new(name, id, reader, &last).run(commands, hub.downgrade()));
        Ok(hub)
    }
}
