//! Share of one host in the places that all hosts use (`shares`).

use std::time::Duration;

/// One of this many places is reserved for this host's own requests,
pub const PLACES_RESERVED_SHARE: usize = 16;
/// but no more of them than this: an operator's tools, a scrape and a health check at the same
/// time.
pub const PLACES_RESERVED_MAX: usize = 16;
/// Maximum connections to the operator's port: pages, scrapes and scripts.
pub const ADMIN_CONNECTIONS_MAX: usize = 64;
/// Maximum trusted proxies, and networks of proxies.
pub const TRUSTED_PROXIES_MAX: usize = 64;
/// Maximum bytes of the path under which a proxy serves the relay.
pub const BASE_BYTES_MAX: usize = 256;
/// Maximum addresses evaluated in the headers of proxies: no request passes more proxies.
pub const FORWARDED_HOPS_MAX: usize = 32;
/// Maximum connections that get the reason of their refusal at the same time; others are closed.
pub const REFUSALS_AT_ONCE: usize = 16;
/// Time to wait for each of them: a round trip.
pub const REFUSAL_LINGER: Duration = Duration::from_millis(500);
