//! What one host may have of what all hosts use (`shares`).

use std::time::Duration;

/// One in so many places is kept for this host's own requests.
pub const PLACES_RESERVED_SHARE: usize = 16;
/// And no more of them than this: an operator's tools, a scrape and a health check at the same
/// time.
pub const PLACES_RESERVED_MAX: usize = 16;
/// Connections to the port for the operator: pages, scrapes and scripts.
pub const ADMIN_CONNECTIONS_MAX: usize = 64;
/// Proxies, and networks of proxies, that may be trusted.
pub const TRUSTED_PROXIES_MAX: usize = 64;
/// Bytes of the path below which a proxy serves the relay.
pub const BASE_BYTES_MAX: usize = 256;
/// Addresses in the headers that proxies write which are looked at: no request passes more proxies.
pub const FORWARDED_HOPS_MAX: usize = 32;
/// Connections that are told why they are refused, at the same time; others are closed.
pub const REFUSALS_AT_ONCE: usize = 16;
/// How long each of them is waited for: a round trip.
pub const REFUSAL_LINGER: Duration = Duration::from_millis(500);
