//! The core: how long a gap is waited for, how far numbers may jump, and what one channel may hold.

use std::time::Duration;

use super::{CHANNEL_BYTES_CONFIG_MAX, WINDOW_CONFIG_MAX};
use tidecast_core::limits::{CHANNEL_BYTES_MAX, REORDER_PACKETS_MAX};

/// A channel's jitter is the largest among the flows heard within this time.
pub const JITTER_RECENT: Duration = Duration::from_secs(10);
const _: () = assert!(CHANNEL_BYTES_MAX <= CHANNEL_BYTES_CONFIG_MAX);
const _: () = assert!(REORDER_PACKETS_MAX <= WINDOW_CONFIG_MAX);
