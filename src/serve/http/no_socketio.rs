//! What stands for `socketio` in a build without it: nothing is at its path.

use axum::Router;

use super::App;

/// Has nothing to end.
#[derive(Debug)]
pub(super) struct Handle;

impl Handle {
    /// Does nothing.
    pub(super) async fn close(&self) {}
}

/// Leaves the routes as they are.
pub(super) fn mount(router: Router, _app: &App) -> (Router, Handle) {
    (router, Handle)
}
