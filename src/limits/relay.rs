//! The core: hold, plausible jumps of numbers, and memory of one channel.

use std::time::Duration;

use super::{CHANNEL_BYTES_CONFIG_MAX, WINDOW_CONFIG_MAX};
use tidecast_core::limits::{CHANNEL_BYTES_MAX, REORDER_PACKETS_MAX};

/// Age of a flow's last packet up to which its jitter counts for that of the channel.
pub const JITTER_RECENT: Duration = Duration::from_secs(10);
const _: () = assert!(CHANNEL_BYTES_MAX <= CHANNEL_BYTES_CONFIG_MAX);
const _: () = assert!(REORDER_PACKETS_MAX <= WINDOW_CONFIG_MAX);
