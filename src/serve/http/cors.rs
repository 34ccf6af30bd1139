//! CORS (as in the Fetch standard): pages of other sites that the operator names may read this
//! server's answers. Browsers ask beforehand where required, and check the headers of each answer.
//! [`super::push`] decides who may not send a request at all.

use std::sync::Arc;

use axum::http::{HeaderValue, Method, header, request::Parts};
use tower_http::cors::{AllowHeaders, AllowOrigin, AllowPrivateNetwork, CorsLayer};

use crate::{config, limits::CORS_MAX_AGE};

/// Answers preflight requests, and adds to every other answer which pages may read it.
pub(super) fn layer(config: &Arc<config::Http>) -> CorsLayer {
    let admits = |config: Arc<config::Http>| {
        move |origin: &HeaderValue, request: &Parts| {
            let host = request.headers.get(header::HOST).and_then(|host| host.to_str().ok());
            origin.to_str().is_ok_and(|origin| config.admits(origin, host))
        }
    };
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(admits(config.clone())))
        .allow_methods([Method::GET, Method::HEAD])
        // No answer depends on a header that a page can set.
        .allow_headers(AllowHeaders::mirror_request())
        // Needed for a page from the internet that accesses the visitor's own network.
        .allow_private_network(AllowPrivateNetwork::predicate(admits(config.clone())))
        .max_age(CORS_MAX_AGE)
}
