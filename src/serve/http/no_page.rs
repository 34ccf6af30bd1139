//! Replaces `page` in a build without it: browsers get the text that other clients get.

use axum::{Router, http::HeaderMap, response::Response};

use super::App;

/// Adds no routes.
pub(super) fn mount(router: Router<App>) -> Router<App> {
    router
}

/// There is no page.
pub(super) fn index(_headers: &HeaderMap) -> Option<Response> {
    None
}

/// There is nothing to compress.
pub(super) fn compress() {}
