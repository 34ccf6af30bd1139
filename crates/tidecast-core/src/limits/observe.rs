//! What the page shows (`observe`, `serve/http`), and what a channel has lost lately.

use std::time::Duration;

/// How often a datagram that was refused is looked at, for each reason: a flood of them must not
/// cost more than counting.
pub(crate) const REFUSED_LOOK: Duration = Duration::from_secs(1);
/// Addresses that are kept of the senders of such datagrams, for each reason: two tell a collision.
pub(crate) const REFUSED_SOURCES_MAX: usize = 2;
