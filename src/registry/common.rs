//! Shares one answer among all callers that asked before it was requested, so that many questions
//! cost as much as one.

use std::{
    future::Future,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use crate::limits::{SURVEY_INTERVAL, SURVEY_KEPT};
use tidecast_net::clock;

/// An answer shared by all callers that asked before it was requested.
#[derive(Debug)]
pub struct CommonAnswer<T> {
    /// When the last answer was requested, and the answer.
    last: Arc<tokio::sync::Mutex<Option<(Instant, T)>>>,
}

/// How to treat the last answer.
#[derive(Debug, Clone, Copy)]
pub struct Pause {
    /// Minimum time from the last answer to the next one.
    pub after: Duration,
    /// Whether the last answer is enough, if it was requested after the question.
    pub suffices: bool,
}

impl Pause {
    /// Any answer is enough, and answers are requested as often as surveys.
    pub const SHORT: Pause = Pause { after: SURVEY_INTERVAL, suffices: true };
}

impl<T> Default for CommonAnswer<T> {
    fn default() -> CommonAnswer<T> {
        CommonAnswer { last: Arc::default() }
    }
}

impl<T: Clone> CommonAnswer<T> {
    /// The last answer, if it was requested less than `age` ago.
    pub async fn last(&self, age: Duration) -> Option<T> {
        let last = self.last.lock().await;
        let recent = |sought| clock::now().saturating_duration_since(sought) < age;
        last.as_ref().filter(|(sought, _)| recent(*sought)).map(|(_, answer)| answer.clone())
    }
}

impl<T: Clone + Send + 'static> CommonAnswer<T> {
    /// An answer that is requested after this call. `pause` decides whether the last one is
    /// enough; if not, `seek` requests another one, not before the pause has passed.
    pub async fn get<F>(&self, pause: impl Fn(&T) -> Pause, seek: impl FnOnce() -> F) -> T
    where
        F: Future<Output = T> + Send + 'static,
    {
        let asked = clock::now();
        let mut last = self.last.clone().lock_owned().await;
        if let Some((sought, answer)) = &*last {
            let Pause { after, suffices } = pause(answer);
            if *sought >= asked && suffices {
                return answer.clone();
            }
            let elapsed = clock::now().saturating_duration_since(*sought);
            tokio::time::sleep(after.saturating_sub(elapsed)).await;
        }
        let (sought, seeking) = (clock::now(), seek());
        // Runs in a separate task: if the caller is cancelled, the next one need not start again.
        let kept = Arc::downgrade(&self.last);
        let task = tokio::spawn(async move {
            let answer = seeking.await;
            *last = Some((sought, answer.clone()));
            tokio::spawn(forget(kept, sought));
            answer
        });
        match task.await {
            Ok(answer) => answer,
            Err(error) => std::panic::resume_unwind(error.into_panic()), // the task is never aborted
        }
    }
}

/// Drops an answer some time after it was requested.
async fn forget<T>(kept: Weak<tokio::sync::Mutex<Option<(Instant, T)>>>, sought: Instant) {
    tokio::time::sleep(SURVEY_KEPT).await;
    if let Some(last) = kept.upgrade() {
        last.lock().await.take_if(|(at, _)| *at == sought);
    }
}
