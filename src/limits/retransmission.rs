//! Requesting retransmissions, and answering requests: bounds that keep attackers from amplifying
//! either.

use std::time::Duration;

/// Interval of a RIST sender's reports: TR-06-1 requires one every 100 ms, and a tick may pass
/// before it is sent.
pub const RTCP_INTERVAL: Duration = Duration::from_millis(80);
