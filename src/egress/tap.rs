//! Chunks of payload for everything that is not UDP: built once by the packet path, shared by all readers.
//!
//! A reader that falls behind skips whole chunks, at packet boundaries, and learns how many; it never slows
//! the channel or another reader. A tap is a bounded ring (a broadcast channel) of chunks.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::broadcast;

/// Which of a channel's flows a tap carries.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum Select {
    /// One flow at a time where the packets are media for a player (RTP, MPEG-TS), all flows otherwise.
    #[default]
    Auto,
    /// All flows, interleaved.
    All,
    /// This one only, by its key.
    Flow(String),
}

/// Payloads of consecutive packets, one after the other.
#[derive(Debug, Clone)]
pub struct Chunk {
    /// The payloads.
    pub bytes: Bytes,
    /// How many packets they are.
    pub packets: u32,
}

/// Reads a tap.
pub type TapReader = broadcast::Receiver<Arc<Chunk>>;
