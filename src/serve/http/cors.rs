//! Pages of other sites that the operator names may read what is here (CORS, as the Fetch standard
//! has it): their browsers ask first where they must, and look for our word in each answer. Who may
//! not be asked at all is [`super::push`]'s.

use std::sync::Arc;

use axum::http::{HeaderValue, Method, header, request::Parts};
use tower_http::cors::{AllowHeaders, AllowOrigin, AllowPrivateNetwork, CorsLayer};

use crate::{config, limits::CORS_MAX_AGE};

/// Answers preflights, and says in every other answer whose pages may read it.
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
        // Nothing here depends on a header that a page may set.
        .allow_headers(AllowHeaders::mirror_request())
        // A page of the internet asks for what is in the visitor's own network.
        .allow_private_network(AllowPrivateNetwork::predicate(admits(config.clone())))
        .max_age(CORS_MAX_AGE)
}
