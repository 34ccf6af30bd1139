//! The sending side (`send`).

use std::time::Duration;

/// Blocks of 64 KiB that `send` reads ahead from a pipe: smooths a slow reader, and is no memory to
/// speak of.
pub const SEND_PIPE_BLOCKS_MAX: usize = 8;
/// How much of a stall a paced source catches up at once: a sleeping laptop must not send an hour
/// of video as one burst, a scheduling hiccup must not slow a stream for good.
pub const PACE_CATCH_UP_MAX: Duration = Duration::from_millis(100);
/// The longest believable time between two PCRs (ISO 13818-1 asks for 100 ms); a longer one is a
/// discontinuity.
pub const PCR_INTERVAL_MAX: Duration = Duration::from_secs(2);
/// Transport packets that may wait for the next PCR: 2 s at 100 Mbit/s, 25 MB.
pub const PCR_LOOKAHEAD_PACKETS_MAX: usize = 133_000;
