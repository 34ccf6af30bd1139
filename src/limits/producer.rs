//! The sending side (`send`).

use std::time::Duration;

/// Maximum blocks of 64 KiB that `send` reads ahead from a pipe: smooths a slow reader, and takes
/// little memory.
pub const SEND_PIPE_BLOCKS_MAX: usize = 8;
/// Maximum stall that a paced source catches up at once: a laptop that slept must not send an hour
/// of video as one burst, but a scheduling hiccup must not delay a stream permanently.
pub const PACE_CATCH_UP_MAX: Duration = Duration::from_millis(100);
/// Maximum plausible time between two PCRs (ISO 13818-1 requires 100 ms); a longer one is a
/// discontinuity.
pub const PCR_INTERVAL_MAX: Duration = Duration::from_secs(2);
/// Maximum transport packets that wait for the next PCR: 2 s at 100 Mbit/s, 25 MB.
pub const PCR_LOOKAHEAD_PACKETS_MAX: usize = 133_000;
