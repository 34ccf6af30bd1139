//! Replaces `progress` in a build without it: nothing is shown.

use std::io;

use super::Shown;

/// Shows nothing.
pub fn allow() {}

/// Writes.
pub fn above(write: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    write()
}

/// Nothing is shown.
pub fn give_back() {}

/// Lines that are not shown.
#[derive(Debug)]
pub struct Lines;

impl Lines {
    /// There are none.
    pub fn open() -> Option<Lines> {
        None
    }

    /// Draws nothing.
    pub fn set(&mut self, _lines: &[String]) {}
}

/// Progress that is not shown.
#[derive(Debug)]
pub struct Progress;

impl Progress {
    /// Shows nothing.
    pub fn start(_look: impl FnMut() -> Shown + Send + 'static) -> Option<Progress> {
        None
    }
}
