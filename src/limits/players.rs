//! Players: data kept for new ones, announcements, pictures.

use std::time::Duration;

/// Default bytes of a stream kept for new players: 2 s between key frames at 32 Mbit/s, 8 s at 8.
pub const START_BYTES: usize = 8 << 20;
/// Maximum configured bytes kept per stream.
pub const START_BYTES_MAX: usize = 256 << 20;
/// Maximum bytes of a chunk that has no readers yet and is kept for new players: the surplus that
/// is kept before the picture.
pub const START_CHUNK_BYTES: usize = 64 << 10;
/// Silence after which the kept data are too old for a new player, which then starts with the next
/// packet.
pub const START_STALE: Duration = Duration::from_secs(10);
/// Interval of announcements: a player's list shows the groups within a few seconds. RFC 2974
/// section 3.1 allows 4,000 bit/s for all announcements of a scope, which is ten of these.
pub const SAP_INTERVAL: Duration = Duration::from_secs(5);
/// Maximum bytes of an announcement: the size of an Ethernet frame. RFC 2974 section 8 recommends
/// at most 1 kB, which descriptions with the clocks of AES67 come close to.
pub const SAP_PACKET_BYTES_MAX: usize = 1400;
/// Minimum time for which it is remembered what a channel carries: comfort noise and events are
/// seconds apart.
pub const CARRIES_MEMORY: Duration = Duration::from_secs(10);
/// TTL in the description of a group whose TTL is unknown: within a site.
pub const SDP_TTL: u8 = 127;
/// Time for which a picture of a stream is reused.
pub const SNAPSHOT_AGE: Duration = Duration::from_secs(1);
/// Maximum pictures made at once: each takes up to a core for some tenths of a second.
pub const SNAPSHOTS_MAX: usize = 2;
/// Maximum time to make one, including the wait for its turn: a picture of 8K on a busy machine.
pub const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum bytes of a stream searched for a key frame: one of 4K at a high quality.
pub const SNAPSHOT_BYTES_MAX: usize = 8 << 20;
/// Maximum bytes of a picture.
pub const SNAPSHOT_JPEG_BYTES_MAX: u64 = 16 << 20;
/// Maximum pixels of a picture: 8K. A larger size means damaged data.
pub const SNAPSHOT_PIXELS_MAX: usize = 8192 * 4320;
/// Maximum width of a small picture in pixels: sharp in a tile of the page on a dense screen.
pub const SNAPSHOT_SMALL_WIDTH: usize = 480;
/// How often to check for an incomplete key frame, [`SNAPSHOT_WAIT`] apart.
pub const SNAPSHOT_TRIES: usize = 8;
/// Interval between these checks.
pub const SNAPSHOT_WAIT: Duration = Duration::from_millis(100);
/// Factor by which a player may stay behind, relative to its initial data: it reads at the pace of
/// the video, and the following pictures may be larger.
pub const START_LEAD: usize = 2;
/// Maximum bytes of an imported playlist: ten thousand entries with all their attributes.
pub const PLAYLIST_BYTES_MAX: usize = 4 << 20;
/// The highest number on a remote control.
pub const CHANNEL_NUMBER_MAX: u64 = 99_999;
