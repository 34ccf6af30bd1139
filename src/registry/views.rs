//! States of the channels for all callers: one survey answers all that asked before it started. So
//! the packet threads are queried a few times a second ([`SURVEY_INTERVAL`]), regardless of the
//! number of callers, and no answer is older than its question.

use std::{
    collections::HashMap,
    ops::Deref,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use tokio::time::timeout;

use super::{
    ChannelView, Shared,
    audience::ByTransportState,
    common::{CommonAnswer, Pause},
};
use crate::{
    channel::{state::ChannelState, thread::PacketThread},
    limits::{
        HEALTH_PATIENCE, STATE_BODIES_MAX, STATE_FLOWS, SURVEY_INTERVAL, SURVEY_INTERVAL_LARGE,
        SURVEY_PATIENCE,
    },
};

/// Packet threads that do not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the packet path does not answer: thread {}", .threads.iter().map(usize::to_string).collect::<Vec<_>>().join(", "))]
pub struct Stalled {
    /// Their indices.
    pub threads: Vec<usize>,
}

/// States of all channels at one time: the configured ones in their order, then the others by
/// name. Texts made from it are cached with it.
#[derive(Debug, Default)]
pub struct Census {
    channels: Vec<ChannelView>,
    /// By the maximum number of flows per channel.
    texts: Mutex<Vec<(usize, Bytes)>>,
}

impl Census {
    fn new(channels: Vec<ChannelView>) -> Census {
        Census { channels, texts: Mutex::default() }
    }

    /// The text with at most `flows` flows per channel; `write` makes it for the first caller.
    pub fn text(&self, flows: usize, write: impl FnOnce(&[ChannelView]) -> Vec<u8>) -> Bytes {
        // A panic loses only the text that was being written.
        let mut texts = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, text)) = texts.iter().find(|(known, _)| *known == flows) {
            return text.clone();
        }
        let text = Bytes::from(write(&self.channels));
        texts.truncate(STATE_BODIES_MAX - 1);
        texts.insert(0, (flows, text.clone()));
        text
    }
}

impl Deref for Census {
    type Target = [ChannelView];

    fn deref(&self) -> &[ChannelView] {
        &self.channels
    }
}

/// States of all channels at one time, shared by all callers.
pub type Views = Arc<Census>;

/// The shared answers.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// Without flows.
    plain: CommonAnswer<Result<Views, Stalled>>,
    /// With this maximum of flows.
    detailed: CommonAnswer<(usize, Result<Views, Stalled>)>,
    /// The largest number of flows that a caller waits for.
    flows_wanted: AtomicUsize,
    health: CommonAnswer<Result<(), Stalled>>,
}

impl Answers {
    pub(super) async fn views(&self, shared: &Arc<Shared>, flows_max: usize) -> Result<Views, Stalled> {
        let shared = shared.clone();
        if flows_max == 0 {
            return self.plain.get(|_| Pause::SHORT, || async move { shared.survey(0).await }).await;
        }
        self.flows_wanted.fetch_max(flows_max, Relaxed);
        let seek = || {
            let wanted = self.flows_wanted.swap(0, Relaxed).max(flows_max);
            async move { (wanted, shared.survey(wanted).await) }
        };
        let pause = |(flows, _): &(usize, _)| {
            let after = if *flows > STATE_FLOWS { SURVEY_INTERVAL_LARGE } else { SURVEY_INTERVAL };
            Pause { after, suffices: *flows >= flows_max }
        };
        self.detailed.get(pause, seek).await.1
    }

    /// Views that are at most slightly older than the question.
    pub(super) async fn recent_views(&self, shared: &Arc<Shared>) -> Result<Views, Stalled> {
        if let Some(views) = self.plain.last(SURVEY_INTERVAL).await {
            return views;
        }
        self.views(shared, 0).await
    }

    pub(super) async fn health(&self, shared: &Arc<Shared>) -> Result<(), Stalled> {
        let shared = shared.clone();
        let seek = || async move {
            let threads = shared.stalled(HEALTH_PATIENCE).await;
            if threads.is_empty() { Ok(()) } else { Err(Stalled { threads }) }
        };
        self.health.get(|_| Pause::SHORT, seek).await
    }
}

impl Shared {
    /// Queries all packet threads at once.
    async fn survey(&self, flows_max: usize) -> Result<Views, Stalled> {
        let ask = |thread: &PacketThread| {
            let thread = thread.clone();
            tokio::spawn(async move { timeout(SURVEY_PATIENCE, thread.states(flows_max)).await })
        };
        let asked: Vec<_> = self.packet_threads.iter().map(ask).collect();
        let (mut states, mut threads) = (Vec::new(), Vec::new());
        for (index, answer) in asked.into_iter().enumerate() {
            match answer.await {
                Ok(Ok(Ok(found))) => states.extend(found),
                _ => threads.push(index),
            }
        }
        if threads.is_empty() {
            Ok(Arc::new(Census::new(self.views_of(states))))
        } else {
            Err(Stalled { threads })
        }
    }

    fn views_of(&self, states: Vec<ChannelState>) -> Vec<ChannelView> {
        // By name: position, path and subscribers.
        let mut known: HashMap<String, (usize, String, ByTransportState)> = HashMap::new();
        for (order, channel) in self.channels().iter().enumerate() {
            let path = format!("/streams/{}", channel.name);
            known.insert(channel.name.clone(), (order, path, channel.subscribers.state()));
        }
        for entry in self.on_demand.entries() {
            known.insert(entry.name.clone(), (usize::MAX, entry.path.clone(), entry.subscribers.state()));
        }
        let mut views: Vec<(usize, ChannelView)> = Vec::new();
        for mut state in states {
            // A channel without an entry has started or ended between the two queries.
            let Some((order, path, subscribers)) = known.remove(&state.name) else { continue };
            self.add_external_outputs(&mut state);
            views.push((order, ChannelView { state, path, subscribers }));
        }
        views.sort_by(|(a, x), (b, y)| (a, &x.state.name).cmp(&(b, &y.state.name)));
        views.into_iter().map(|(_, view)| view).collect()
    }
}
