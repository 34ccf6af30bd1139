//! The sending side (`producer`, `send`).

/// Blocks of 64 KiB that `send` reads ahead from a pipe: smooths a slow reader, and is no memory to speak of.
pub const SEND_PIPE_BLOCKS_MAX: usize = 8;
