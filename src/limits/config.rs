//! What a configuration may ask for, and what it gets when it does not ask (`config`).

use std::time::Duration;

use tidecast_core::limits::REORDER_PACKETS_MIN;
use tidecast_wire::limits::DATAGRAM_BYTES_MAX;

/// The default tick: batches of a busy stream, and a delay that no player notices.
pub const TICK: Duration = Duration::from_millis(5);
/// The longest tick: a receive buffer of usual size lasts about that long at 500 Mbit/s.
pub const TICK_MAX: Duration = Duration::from_millis(100);
/// Threads on the packet path: no host has more cores to give to one relay.
pub const THREADS_MAX: u64 = 64;
/// Channels per process: each needs sockets, and a process has 1,024 to 65,536 file descriptors.
pub const CHANNELS_MAX: usize = 4096;
/// UDP outputs per channel: every packet is sent to each of them in turn.
pub const OUTPUTS_MAX: usize = 1024;
/// Flows per channel that a configuration may name: their table alone is then about a gigabyte.
pub const FLOWS_CONFIG_MAX: u64 = 1_000_000;
/// Memory per channel at least: a few datagrams of the largest size must fit.
pub const CHANNEL_BYTES_CONFIG_MIN: usize = 1 << 20;
/// Memory per channel at most: 10 s of hold at 50 Gbit/s.
pub const CHANNEL_BYTES_CONFIG_MAX: usize = 64 << 30;
/// The smallest window that a configuration may name: less would take usual reordering for a jump.
pub const WINDOW_CONFIG_MIN: u64 = REORDER_PACKETS_MIN;
/// The largest window that a configuration may name: the ring takes a slot per number.
pub const WINDOW_CONFIG_MAX: u64 = 65_536;
/// The shortest time after which a silent flow may be forgotten: above every usual hold.
pub const FLOW_IDLE_MIN: Duration = Duration::from_secs(1);
/// The longest such time: a sensor with one reading a day is kept.
pub const FLOW_IDLE_MAX: Duration = Duration::from_secs(7 * 86_400);
/// How long a player's flow may be silent before another one takes over, by default.
pub const FAILOVER: Duration = Duration::from_secs(1);
/// The shortest such time: shorter ones would flap between flows at every late packet.
pub const FAILOVER_MIN: Duration = Duration::from_millis(50);
/// The longest such time: by then every viewer has left.
pub const FAILOVER_MAX: Duration = Duration::from_secs(60);
/// The smallest receive buffer worth asking for: one datagram of the largest size.
pub const RECEIVE_BUFFER_MIN: usize = 64 << 10;
/// The largest receive buffer: the kernel keeps its size in a signed 32-bit number and doubles it.
pub const RECEIVE_BUFFER_MAX: usize = (1 << 30) - 1;
const _: () = assert!(CHANNEL_BYTES_CONFIG_MIN >= 2 * DATAGRAM_BYTES_MAX);
const _: () = assert!(TICK.as_millis() <= TICK_MAX.as_millis());
