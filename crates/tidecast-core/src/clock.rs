//! The clock of the unit tests: where they begin. What is tested gets time as an argument.

use std::time::Instant;

/// An instant to begin with.
#[allow(clippy::disallowed_methods)] // the one allowed site
pub(crate) fn now() -> Instant {
    Instant::now()
}
