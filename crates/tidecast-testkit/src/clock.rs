//! The clock of the tests: where they begin. What is tested gets time as an argument.

use std::time::Instant;

/// Returns an instant to begin with.
#[allow(clippy::disallowed_methods)] // the one allowed site
pub fn now() -> Instant {
    Instant::now()
}
