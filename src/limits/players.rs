//! Players: what is kept for one that begins, announcements, pictures.

use std::time::Duration;

/// Bytes of a stream that are kept for players that begin, by default: 2 s between key frames at 32
/// Mbit/s, 8 s at 8.
pub const START_BYTES: usize = 8 << 20;
/// The most that may be kept of each stream.
pub const START_BYTES_MAX: usize = 256 << 20;
/// Bytes of a chunk that nobody reads yet and that is kept for players that begin: what is kept too
/// much of the picture before.
pub const START_CHUNK_BYTES: usize = 64 << 10;
/// A stream that was silent for so long begins for a player with what comes next: what came before
/// is no picture of the present.
pub const START_STALE: Duration = Duration::from_secs(10);
/// How often groups are announced: whoever opens a player's list sees them within a few seconds.
/// RFC 2974 section 3.1 allows 4,000 bit/s for all announcements of a scope, ten of these.
pub const SAP_INTERVAL: Duration = Duration::from_secs(5);
/// Bytes of an announcement: what an Ethernet frame holds. RFC 2974 section 8 asks for at most 1
/// kB, which descriptions with the clocks of AES67 come near to.
pub const SAP_PACKET_BYTES_MAX: usize = 1400;
/// How long at least what a channel carried is remembered: comfort noise and events come seconds
/// apart.
pub const CARRIES_MEMORY: Duration = Duration::from_secs(10);
/// The TTL in the description of a group that is sent with a TTL that is not known: within a site.
pub const SDP_TTL: u8 = 127;
/// How long a picture of a stream serves all who ask.
pub const SNAPSHOT_AGE: Duration = Duration::from_secs(1);
/// Pictures that are made at once: each costs up to a core for some tenths of a second.
pub const SNAPSHOTS_MAX: usize = 2;
/// How long one may take, and wait for its turn: a picture of 8K on a busy machine.
pub const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of a stream that are searched for its key frame: one of 4K at a high quality.
pub const SNAPSHOT_BYTES_MAX: usize = 8 << 20;
/// Bytes of a picture.
pub const SNAPSHOT_JPEG_BYTES_MAX: u64 = 16 << 20;
/// Pixels of a picture: 8K. What claims more is damage.
pub const SNAPSHOT_PIXELS_MAX: usize = 8192 * 4320;
/// How often a key frame that is still coming is looked for, and how long after each other.
pub const SNAPSHOT_TRIES: usize = 8;
/// See [`SNAPSHOT_TRIES`].
pub const SNAPSHOT_WAIT: Duration = Duration::from_millis(100);
/// A player may stay behind by so many times what it was given at its beginning: it reads at the
/// pace of the film, and the pictures that follow may be larger.
pub const START_LEAD: usize = 2;
/// Bytes of a playlist that is imported: ten thousand entries with all their attributes.
pub const PLAYLIST_BYTES_MAX: usize = 4 << 20;
/// The highest number on a remote control.
pub const CHANNEL_NUMBER_MAX: u64 = 99_999;
