//! How the channels stand, for all who ask: one survey answers everybody who has asked before it began. So whatever is
//! asked, and however often, the packet threads are asked a few times a second ([`SURVEY_INTERVAL`]), and no answer is older
//! than its question.

use std::{
    collections::HashMap,
    future::Future,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::time::timeout;

use super::{ChannelView, Shared};
use crate::{
    egress::subscribers::ByTransportState,
    limits::{
        HEALTH_PATIENCE, STATE_FLOWS, SURVEY_INTERVAL, SURVEY_INTERVAL_LARGE, SURVEY_KEPT, SURVEY_PATIENCE,
    },
    net::state::ChannelState,
};
use tidecast_net::clock;

/// Packet threads that do not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the packet path does not answer: thread {}", .threads.iter().map(usize::to_string).collect::<Vec<_>>().join(", "))]
pub struct Stalled {
    /// Their numbers.
    pub threads: Vec<usize>,
}

/// All channels at one time: the configured ones in their order, then the others by name.
pub type Views = Arc<Vec<ChannelView>>;

/// An answer that all share who asked before it was sought.
#[derive(Debug)]
pub(super) struct Common<T> {
    /// When the last one was sought, and what was found.
    last: Arc<tokio::sync::Mutex<Option<(Instant, T)>>>,
}

/// What the last answer means for the one who asks now.
struct Pause {
    /// How long after it the next one is sought.
    after: Duration,
    /// Whether it does, if it is new enough.
    does: bool,
}

impl Pause {
    const SHORT: Pause = Pause { after: SURVEY_INTERVAL, does: true };
}

impl<T> Default for Common<T> {
    fn default() -> Common<T> {
        Common { last: Arc::default() }
    }
}

impl<T: Clone + Send + 'static> Common<T> {
    /// An answer that was sought after this call and for which `pause` gives a time, from `seek` if need be: no sooner than
    /// that time after the last one.
    async fn get<F>(&self, pause: impl Fn(&T) -> Pause, seek: impl FnOnce() -> F) -> T
    where
        F: Future<Output = T> + Send + 'static,
    {
        let asked = clock::now();
        let mut last = self.last.clone().lock_owned().await;
        if let Some((sought, answer)) = &*last {
            let Pause { after, does } = pause(answer);
            if *sought >= asked && does {
                return answer.clone();
            }
            let elapsed = clock::now().saturating_duration_since(*sought);
            tokio::time::sleep(after.saturating_sub(elapsed)).await;
        }
        let (sought, seeking) = (clock::now(), seek());
        // A task of its own: whoever goes away in the middle does not make the next one begin anew.
        let kept = Arc::downgrade(&self.last);
        let task = tokio::spawn(async move {
            let answer = seeking.await;
            *last = Some((sought, answer.clone()));
            tokio::spawn(forget(kept, sought));
            answer
        });
        match task.await {
            Ok(answer) => answer,
            Err(error) => std::panic::resume_unwind(error.into_panic()), // nobody aborts it
        }
    }
}

/// Drops an answer some time after it was of use.
async fn forget<T>(kept: Weak<tokio::sync::Mutex<Option<(Instant, T)>>>, sought: Instant) {
    tokio::time::sleep(SURVEY_KEPT).await;
    if let Some(last) = kept.upgrade() {
        last.lock().await.take_if(|(at, _)| *at == sought);
    }
}

/// The answers that are shared.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// Without flows.
    plain: Common<Result<Views, Stalled>>,
    /// With so many flows at most.
    detailed: Common<(usize, Result<Views, Stalled>)>,
    /// The most flows that anybody waits for.
    flows_wanted: AtomicUsize,
    metrics: Common<Result<Bytes, Stalled>>,
    health: Common<Result<(), Stalled>>,
}

impl Answers {
    pub(super) async fn views(&self, shared: &Arc<Shared>, flows_max: usize) -> Result<Views, Stalled> {
        let shared = shared.clone();
        if flows_max == 0 {
            return self
                .plain
                .get(|_| Pause::SHORT, || async move { shared.survey(0).await.map(Arc::new) })
                .await;
        }
        self.flows_wanted.fetch_max(flows_max, Relaxed);
        let seek = || {
            let wanted = self.flows_wanted.swap(0, Relaxed).max(flows_max);
            async move { (wanted, shared.survey(wanted).await.map(Arc::new)) }
        };
        let pause = |(flows, _): &(usize, _)| {
            let after = if *flows > STATE_FLOWS { SURVEY_INTERVAL_LARGE } else { SURVEY_INTERVAL };
            Pause { after, does: *flows >= flows_max }
        };
        self.detailed.get(pause, seek).await.1
    }

    /// Views that are hardly older than the question, or newer.
    pub(super) async fn recent_views(&self, shared: &Arc<Shared>) -> Result<Views, Stalled> {
        if let Some((sought, views)) = &*self.plain.last.lock().await
            && clock::now().saturating_duration_since(*sought) < SURVEY_INTERVAL
        {
            return views.clone();
        }
        self.views(shared, 0).await
    }

    pub(super) async fn metrics(&self, shared: &Arc<Shared>) -> Result<Bytes, Stalled> {
        let shared = shared.clone();
        self.metrics.get(|_| Pause::SHORT, || async move { shared.render().await.map(Bytes::from) }).await
    }
}

impl Answers {
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
    /// Asks all packet threads at once.
    async fn survey(&self, flows_max: usize) -> Result<Vec<ChannelView>, Stalled> {
        let ask = |worker: &crate::net::worker::Worker| {
            let worker = worker.clone();
            tokio::spawn(async move { timeout(SURVEY_PATIENCE, worker.states(flows_max)).await })
        };
        let asked: Vec<_> = self.workers.iter().map(ask).collect();
        let (mut states, mut threads) = (Vec::new(), Vec::new());
        for (index, answer) in asked.into_iter().enumerate() {
            match answer.await {
                Ok(Ok(Ok(found))) => states.extend(found),
                _ => threads.push(index),
            }
        }
        if threads.is_empty() { Ok(self.views_of(states)) } else { Err(Stalled { threads }) }
    }

    fn views_of(&self, states: Vec<ChannelState>) -> Vec<ChannelView> {
        // By name: the order, the path and the clients.
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
            // Without an entry it has come or gone between the two questions.
            let Some((order, path, subscribers)) = known.remove(&state.name) else { continue };
            self.add_external_outputs(&mut state);
            views.push((order, ChannelView { state, path, subscribers }));
        }
        views.sort_by(|(a, x), (b, y)| (a, &x.state.name).cmp(&(b, &y.state.name)));
        views.into_iter().map(|(_, view)| view).collect()
    }
}
