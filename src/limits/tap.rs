//! Chunks for HTTP and what else is not UDP (`channel/tap`).

use std::time::Duration;

use super::TICK;

/// Bytes of a chunk, if it has more than one packet: 100 ms at 80 Mbit/s; a faster stream has
/// earlier ones.
pub const CHUNK_BYTES_MAX: usize = 1 << 20;
/// How long payloads are collected for a chunk, by default: at 8 Mbit/s it then has 15 packets, and
/// writing to a client costs a tenth of writing each packet.
pub const CHUNK: Duration = Duration::from_millis(20);
/// The longest such time: a player that joins would see nothing for so long.
pub const CHUNK_MAX: Duration = Duration::from_secs(1);
/// A chunk may leave this part of its time early, with others that are due: a turn for each
/// channel's chunk alone would double the turns of the packet path.
pub const CHUNK_SLACK: u32 = 8;
/// The same in time: less than a usual tick, or every chunk would leave a tick early.
pub const CHUNK_EARLY_MAX: Duration = Duration::from_millis(2);
/// Bytes of a tap's chunks that wait for those who write them to the clients: 16 s at 8 Mbit/s, 0.3
/// s at 400; whoever is later than that does not run at all.
pub const TAP_BYTES_MAX: usize = 16 << 20;
/// Flows of one channel that are read one by one at the same time. What carries more than one flow
/// does not count.
pub const TAPS_MAX: usize = 1024;
/// What a waiting chunk counts beyond its payload: small ones have their own cost.
pub const CHUNK_COST_BYTES: usize = 128;
const _: () = assert!(CHUNK_EARLY_MAX.as_millis() < TICK.as_millis());
