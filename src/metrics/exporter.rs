//! What Prometheus reads of a running relay: its channels are added up once for all who have asked
//! before.

use std::sync::{Arc, Weak};

use bytes::Bytes;

use super::{Metrics, Sample};
use crate::{
    limits::METRICS_UPKEEP,
    registry::{ChannelView, CommonAnswer, Pause, Registry, Stalled},
};

/// Answers scrapes. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Exporter {
    metrics: Arc<Metrics>,
    registry: Registry,
    text: Arc<CommonAnswer<Result<Bytes, Stalled>>>,
}

impl Exporter {
    /// Exports what `metrics` has of the channels of `registry`. Must be called within a tokio
    /// runtime.
    pub fn start(metrics: Arc<Metrics>, registry: Registry) -> Exporter {
        tokio::spawn(upkeep(Arc::downgrade(&metrics)));
        Exporter { metrics, registry, text: Arc::default() }
    }

    /// What Prometheus reads, as text.
    ///
    /// # Errors
    /// A packet thread has ended or does not answer.
    pub async fn text(&self) -> Result<Bytes, Stalled> {
        let (metrics, registry) = (self.metrics.clone(), self.registry.clone());
        let render = move || async move {
            let shares = registry.shares();
            registry.with_census(|channels| metrics.render(&samples(channels), shares)).await.map(Bytes::from)
        };
        self.text.get(|_| Pause::SHORT, render).await
    }
}

fn samples(channels: &[ChannelView]) -> Vec<Sample<'_>> {
    channels.iter().map(|view| Sample { state: &view.state, subscribers: &view.subscribers }).collect()
}

/// Folds the histograms' samples, scraped or not, while the relay lives.
async fn upkeep(metrics: Weak<Metrics>) {
    loop {
        tokio::time::sleep(METRICS_UPKEEP).await;
        let Some(metrics) = metrics.upgrade() else { return };
        metrics.upkeep();
    }
}
