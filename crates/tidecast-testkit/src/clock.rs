//! The clock of the tests, which provides their starting time. The tested code gets the time as an
//! argument.

use std::time::Instant;

/// Returns an instant to start with.
#[allow(clippy::disallowed_methods)] // the one allowed site
pub fn now() -> Instant {
    Instant::now()
}
