//! Reading of capture files (`capture`).

/// Maximum bytes of one block of a capture: more than the largest packet with the longest
/// comments.
pub const CAPTURE_BLOCK_BYTES_MAX: usize = 16 << 20;
/// Bytes of a capture read at once.
pub const CAPTURE_READ_BYTES: usize = 256 << 10;
/// Maximum streams of a capture that a message lists.
pub const CAPTURE_STREAMS_SHOWN: usize = 10;
/// Maximum destinations in a capture among which a probe chooses.
pub const CAPTURE_DESTINATIONS_MAX: usize = 4096;
