//! Asking for packets again, and answering: neither side may be made to send more than its share.

use std::time::Duration;

/// How often a RIST sender reports: TR-06-1 asks for every 100 ms at least, and a tick may pass
/// before it goes out.
pub const RTCP_INTERVAL: Duration = Duration::from_millis(80);
