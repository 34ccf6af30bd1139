//! One answer for everybody who asked before it was sought, so that many questions cost as much as
//! one.

use std::{
    future::Future,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use crate::limits::{SURVEY_INTERVAL, SURVEY_KEPT};
use tidecast_net::clock;

/// An answer shared by everybody who asked before it was sought.
#[derive(Debug)]
pub struct CommonAnswer<T> {
    /// When the last one was sought, and what was found.
    last: Arc<tokio::sync::Mutex<Option<(Instant, T)>>>,
}

/// How the last answer counts when somebody asks.
#[derive(Debug, Clone, Copy)]
pub struct Pause {
    /// The shortest time from the last answer to the next one.
    pub after: Duration,
    /// Whether the last answer suffices, if it was sought after the question.
    pub suffices: bool,
}

impl Pause {
    /// Any answer suffices, and answers are sought as often as surveys.
    pub const SHORT: Pause = Pause { after: SURVEY_INTERVAL, suffices: true };
}

impl<T> Default for CommonAnswer<T> {
    fn default() -> CommonAnswer<T> {
        CommonAnswer { last: Arc::default() }
    }
}

impl<T: Clone> CommonAnswer<T> {
    /// The last answer, if it was sought less than `age` ago.
    pub async fn last(&self, age: Duration) -> Option<T> {
        let last = self.last.lock().await;
        let recent = |sought| clock::now().saturating_duration_since(sought) < age;
        last.as_ref().filter(|(sought, _)| recent(*sought)).map(|(_, answer)| answer.clone())
    }
}

impl<T: Clone + Send + 'static> CommonAnswer<T> {
    /// An answer that was sought after this call. `pause` says whether the last one suffices; if
    /// not, `seek` finds another one, no sooner than the pause after the last one.
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
