//! The sending side (`producer`, `send`).

use std::time::Duration;

/// How much of a stall a paced source catches up at once: a sleeping laptop must not send an hour of video as one
/// burst, a scheduling hiccup must not slow a stream for good.
pub const PACE_CATCH_UP_MAX: Duration = Duration::from_millis(100);
/// The longest believable time between two PCRs (ISO 13818-1 asks for 100 ms); a longer one is a discontinuity.
pub const PCR_INTERVAL_MAX: Duration = Duration::from_secs(2);
/// Transport packets that may wait for the next PCR: 2 s at 100 Mbit/s, 25 MB.
pub const PCR_LOOKAHEAD_PACKETS_MAX: usize = 133_000;
/// How long a producer may be silent before a heartbeat says that it lives, and how often it then does.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);
/// How often the end of a session is said: one lost datagram must not hide it.
pub const END_REPEATS: usize = 3;
/// Blocks of 64 KiB that `send` reads ahead from a pipe: smooths a slow reader, and is no memory to speak of.
pub const SEND_PIPE_BLOCKS_MAX: usize = 8;
