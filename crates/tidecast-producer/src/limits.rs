//! Every bound of this crate, with its reason. A queue, map, loop or buffer without a bound here is a bug.
//!
//! What must hold between bounds is asserted beside them, so that a build fails and not a relay.

use std::time::Duration;

/// How much of a stall a paced source catches up at once: a sleeping laptop must not send an hour of video as one
/// burst, a scheduling hiccup must not slow a stream for good.
pub const PACE_CATCH_UP_MAX: Duration = Duration::from_millis(100);
/// The longest believable time between two PCRs (ISO 13818-1 asks for 100 ms); a longer one is a discontinuity.
pub(crate) const PCR_INTERVAL_MAX: Duration = Duration::from_secs(2);
/// Transport packets that may wait for the next PCR: 2 s at 100 Mbit/s, 25 MB.
pub(crate) const PCR_LOOKAHEAD_PACKETS_MAX: usize = 133_000;

/// Numbers of one request that are looked at: an outage of 100 ms at 100 Mbit/s, and a flood costs no more time
/// than its datagrams do. Whoever misses more asks again.
pub const REQUEST_NUMBERS_MAX: usize = 1024;
/// How long a producer waits at its end for another request, if there were any: a round trip of most networks.
pub(crate) const LINGER_REQUESTS: Duration = Duration::from_millis(200);
