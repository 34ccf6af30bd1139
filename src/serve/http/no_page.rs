//! What stands for `page` in a build without it: browsers get the text that everybody else gets.

use axum::{Router, http::HeaderMap, response::Response};

use super::App;

/// Leaves the routes as they are.
pub(super) fn mount(router: Router<App>) -> Router<App> {
    router
}

/// There is none.
pub(super) fn index(_headers: &HeaderMap) -> Option<Response> {
    None
}

/// Has nothing to compress.
pub(super) fn compress() {}
