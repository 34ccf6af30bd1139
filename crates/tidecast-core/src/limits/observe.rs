//! Status displays (`observe`, `serve/http`): examples of refused datagrams.

use std::time::Duration;

/// Interval at which an example of a refused datagram is taken, for each reason: a flood must not
/// cost more than counting.
pub(crate) const REFUSED_LOOK: Duration = Duration::from_secs(1);
/// Maximum source addresses kept with each example: two are enough to show a collision.
pub(crate) const REFUSED_SOURCES_MAX: usize = 2;
