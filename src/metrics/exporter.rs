//! Exports the metrics of a running relay to Prometheus. Concurrent scrapes share one survey.

use std::sync::{Arc, Weak};

use bytes::Bytes;

use super::{Metrics, Sample};
use crate::{
    limits::METRICS_UPKEEP,
    registry::{ChannelView, CommonAnswer, Pause, Registry, Stalled},
};

/// Answers scrapes. Cheap to clone; clones share their state.
#[derive(Debug, Clone)]
pub struct Exporter {
    metrics: Arc<Metrics>,
    registry: Registry,
    text: Arc<CommonAnswer<Result<Bytes, Stalled>>>,
}

impl Exporter {
    /// Exports `metrics` for the channels of `registry`. Must be called within a tokio runtime.
    pub fn start(metrics: Arc<Metrics>, registry: Registry) -> Exporter {
        tokio::spawn(upkeep(Arc::downgrade(&metrics)));
        Exporter { metrics, registry, text: Arc::default() }
    }

    /// The text for Prometheus.
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

/// Folds the histograms' samples as long as the relay runs, with or without scrapes.
async fn upkeep(metrics: Weak<Metrics>) {
    loop {
        tokio::time::sleep(METRICS_UPKEEP).await;
        let Some(metrics) = metrics.upgrade() else { return };
        metrics.upkeep();
    }
}
