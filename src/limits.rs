//! Every bound of the program, with its reason. A queue, map, loop or buffer without a bound here is a bug.

use std::time::Duration;

/// Memory of one receive slot: holds any datagram of an Ethernet path (1,500) and most jumbo tunnels; larger
/// datagrams get memory of their own.
pub const SLOT_BYTES: usize = 2048;
/// The largest UDP payload over IPv4: 65,535 minus 20 (IP) minus 8 (UDP).
pub const DATAGRAM_BYTES_MAX: usize = 65_507;

/// Hold before anything was measured: covers usual LAN and Wi-Fi reordering.
pub const HOLD_START: Duration = Duration::from_millis(50);
/// The automatic hold never goes below this: one scheduling hiccup of the sender must not cost a packet.
pub const HOLD_MIN: Duration = Duration::from_millis(20);
/// The automatic hold never goes above this: a player's own buffer is about that long.
pub const HOLD_MAX: Duration = Duration::from_millis(500);
/// The longest hold that a configuration may name: beyond it a gap looks like an outage to every player.
pub const HOLD_CONFIG_MAX: Duration = Duration::from_secs(10);

const _: () = assert!(SLOT_BYTES >= 1500 && SLOT_BYTES < DATAGRAM_BYTES_MAX);
const _: () = assert!(HOLD_MIN.as_millis() <= HOLD_START.as_millis());
const _: () = assert!(HOLD_START.as_millis() <= HOLD_MAX.as_millis());

// Wire formats and codes.
/// Ranges of one native NACK: the format's bound; 644 bytes, so that a NACK is one small datagram.
pub const NACK_RANGES_MAX: usize = 64;
/// Bytes of a custom layout's stream id, all its parts joined: a UUID and as much again, while it stays cheap to
/// copy and to hash.
pub const CUSTOM_ID_BYTES_MAX: usize = 32;
/// Bytes of a text that a custom layout matches: any protocol's magic is shorter.
pub const CUSTOM_TEXT_BYTES_MAX: usize = 64;
/// `match` parts, and `id` parts, of a custom layout: each costs time for every datagram.
pub const CUSTOM_PARTS_MAX: usize = 8;
/// Reed-Solomon codes kept ready: a block's own, and those of blocks that were closed early.
pub const FEC_CODES_MAX: usize = 8;
/// Bytes of inverted matrices that one code may remember: all that its library keeps (254) up to k = 128.
pub const FEC_INVERSES_BYTES_MAX: usize = 4 << 20;
