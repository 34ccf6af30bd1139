//! Chunks for HTTP and all other readers except UDP (`channel/tap`).

use std::time::Duration;

use super::TICK;

/// Maximum bytes of a chunk with more than one packet: 100 ms at 80 Mbit/s; faster streams send
/// chunks earlier.
pub const CHUNK_BYTES_MAX: usize = 1 << 20;
/// Default time for which payloads are collected in a chunk: at 8 Mbit/s it then has 15 packets,
/// and writing to a client takes a tenth of writing each packet.
pub const CHUNK: Duration = Duration::from_millis(20);
/// Maximum of that time: a new player would see nothing that long.
pub const CHUNK_MAX: Duration = Duration::from_secs(1);
/// Part of its time by which a chunk may be sent early, together with others: a separate turn for
/// each channel's chunk would double the turns of the packet path.
pub const CHUNK_SLACK: u32 = 8;
/// Maximum of that, as a time: less than a usual tick, otherwise every chunk would be sent a tick
/// early.
pub const CHUNK_EARLY_MAX: Duration = Duration::from_millis(2);
/// Maximum bytes of a tap's chunks that wait for the tasks that write to clients: 16 s at 8
/// Mbit/s, 0.3 s at 400. A task that is later does not run at all.
pub const TAP_BYTES_MAX: usize = 16 << 20;
/// Maximum flows of one channel that are read separately at the same time. A selection of more
/// than one flow does not count.
pub const TAPS_MAX: usize = 1024;
/// Cost of a waiting chunk in addition to its payload, so that small ones count as well.
pub const CHUNK_COST_BYTES: usize = 128;
const _: () = assert!(CHUNK_EARLY_MAX.as_millis() < TICK.as_millis());
