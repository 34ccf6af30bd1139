//! Capture files that are read (`capture`).

/// Bytes of one capture's block when it is read: more than the largest packet with the longest
/// comments.
pub const CAPTURE_BLOCK_BYTES_MAX: usize = 16 << 20;
/// Bytes of a capture that are read at once.
pub const CAPTURE_READ_BYTES: usize = 256 << 10;
/// Streams of a capture that a message lists.
pub const CAPTURE_STREAMS_SHOWN: usize = 10;
/// Destinations of a capture that a probe counts, to choose one of them.
pub const CAPTURE_DESTINATIONS_MAX: usize = 4096;
