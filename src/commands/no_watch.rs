//! Replaces `watch` in a build without it, which has no `--watch`.

use std::io;

use super::Failure;
use crate::observe::Observer;

/// There is no view to check.
pub(super) fn check() -> Result<(), Failure> {
    Ok(())
}

/// A view that is never opened.
#[derive(Debug)]
pub(super) struct View;

impl View {
    /// Shows nothing.
    pub(super) fn open(_observer: Observer, _page: Option<String>) -> io::Result<View> {
        Ok(View)
    }
}
