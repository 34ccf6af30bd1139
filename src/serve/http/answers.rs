//! Limits answers in flight. A client that does not read keeps its answer in memory, so all
//! answers together have a budget, and few are generated at the same time. Beyond that, clients
//! are asked to retry.

use std::sync::Arc;

use axum::{
    body::{Body, Bytes, HttpBody, to_bytes},
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::refusal::Refusal;
use crate::limits::{ANSWER_SMALL_BYTES, ANSWERS_BYTES_MAX, ANSWERS_MADE_MAX};

/// The budget for answers.
#[derive(Debug)]
pub(super) struct InFlight {
    /// One permit per answer that is being generated.
    making: Semaphore,
    /// One permit per byte.
    bytes: Arc<Semaphore>,
}

impl Default for InFlight {
    fn default() -> InFlight {
        let (making, bytes) = (Semaphore::new(ANSWERS_MADE_MAX), Semaphore::new(ANSWERS_BYTES_MAX));
        InFlight { making, bytes: Arc::new(bytes) }
    }
}

/// Body of an answer; counts towards the budget until its last byte is written.
struct Counted {
    bytes: Bytes,
    _permit: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Generates an answer within the budget.
pub(super) async fn bound(State(answers): State<Arc<InFlight>>, request: Request, next: Next) -> Response {
    let Ok(making) = answers.making.acquire().await else {
        return Refusal::Busy("the relay ends".to_owned()).into_response(); // it is never closed
    };
    let response = next.run(request).await;
    let (parts, body) = response.into_parts();
    let Some(size @ ANSWER_SMALL_BYTES..) = body.size_hint().exact() else {
        return Response::from_parts(parts, body); // small, or written as it is generated
    };
    let Ok(bytes) = to_bytes(body, usize::MAX).await else {
        return Refusal::Failed("the answer cannot be made".to_owned()).into_response(); // it is there already
    };
    drop(making);
    match answers.take(size) {
        Some(permit) => {
            let bytes = Bytes::from_owner(Counted { bytes, _permit: permit });
            Response::from_parts(parts, Body::from(bytes))
        }
        None => Refusal::Busy(format!(
            "answers of {ANSWERS_BYTES_MAX} bytes wait for clients that do not read them: try again later, or ask for less"
        ))
        .into_response(),
    }
}

impl InFlight {
    /// Takes a part of the budget, held until dropped. A size above the whole budget takes all of
    /// it.
    fn take(&self, size: u64) -> Option<OwnedSemaphorePermit> {
        let size = size.min(ANSWERS_BYTES_MAX as u64) as u32; // the bound is below 2^32
        self.bytes.clone().try_acquire_many_owned(size).ok()
    }
}

#[cfg(test)]
mod tests {
    use axum::{Router, http::StatusCode, middleware, routing::get};
    use hyper::service::Service as _;
    use hyper_util::service::TowerToHyperService;

    use super::*;

    #[tokio::test]
    async fn beyond_the_budget_clients_are_told_to_come_again() {
        const LONG: usize = ANSWERS_BYTES_MAX / 8;
        let bound = middleware::from_fn_with_state(Arc::<InFlight>::default(), bound);
        let router = Router::new()
            .route("/long", get(|| async { vec![0; LONG] }))
            .route("/short", get(|| async { "short" }))
            .route_layer(bound);
        let service = TowerToHyperService::new(router);
        let ask = |path: &str| service.call(Request::builder().uri(path).body(Body::empty()).unwrap());
        let mut unread = Vec::new();
        for _ in 0..8 {
            unread.push(ask("/long").await.unwrap());
        }
        assert!(unread.iter().all(|answer| answer.status() == StatusCode::OK));
        assert_eq!(ask("/long").await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(ask("/short").await.unwrap().status(), StatusCode::OK);
        let last = unread.pop().unwrap();
        let bytes = to_bytes(last.into_body(), LONG).await.unwrap();
        assert_eq!(
            ask("/long").await.unwrap().status(),
            StatusCode::SERVICE_UNAVAILABLE,
            "it waits for a socket"
        );
        drop(bytes);
        assert_eq!(ask("/long").await.unwrap().status(), StatusCode::OK);
    }

    #[test]
    fn what_is_in_flight_counts_until_it_is_gone() {
        let answers = InFlight::default();
        let half = answers.take(ANSWERS_BYTES_MAX as u64 / 2).unwrap();
        assert!(answers.take(u64::MAX).is_none());
        let bytes = Bytes::from_owner(Counted { bytes: Bytes::from_static(b"long"), _permit: half });
        let part = bytes.slice(1..2);
        drop(bytes);
        assert!(answers.take(u64::MAX).is_none(), "some of it is still to be written");
        drop(part);
        assert!(answers.take(u64::MAX).is_some(), "an answer that is larger than the budget goes out alone");
    }
}
