//! Replaces `socketio` in a build without it: its path does not exist.

use axum::Router;

use super::App;

/// There is nothing to close.
#[derive(Debug)]
pub(super) struct Handle;

impl Handle {
    /// Does nothing.
    pub(super) async fn close(&self) {}
}

/// Adds no routes.
pub(super) fn mount(router: Router, _app: &App) -> (Router, Handle) {
    (router, Handle)
}
