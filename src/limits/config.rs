//! Bounds and defaults of a configuration (`config`).

use std::time::Duration;

use tidecast_core::limits::REORDER_PACKETS_MIN;
use tidecast_wire::limits::DATAGRAM_BYTES_MAX;

/// The default tick: batches of a busy stream, and a delay that no player notices.
pub const TICK: Duration = Duration::from_millis(5);
/// Maximum tick: a receive buffer of usual size lasts about that long at 500 Mbit/s.
pub const TICK_MAX: Duration = Duration::from_millis(100);
/// Maximum packet threads: no host gives more cores to one relay.
pub const THREADS_MAX: u64 = 64;
/// Maximum channels per process: each needs sockets, and a process has 1,024 to 65,536 file
/// descriptors.
pub const CHANNELS_MAX: usize = 4096;
/// Maximum UDP outputs per channel: every packet is sent to each of them in turn.
pub const OUTPUTS_MAX: usize = 1024;
/// Maximum configured flows per channel: their table alone then takes about a gigabyte.
pub const FLOWS_CONFIG_MAX: u64 = 1_000_000;
/// Minimum configured memory per channel: a few datagrams of maximum size must fit.
pub const CHANNEL_BYTES_CONFIG_MIN: usize = 1 << 20;
/// Maximum configured memory per channel: 10 s of hold at 50 Gbit/s.
pub const CHANNEL_BYTES_CONFIG_MAX: usize = 64 << 30;
/// Minimum configured window: a smaller one would mistake usual reordering for a jump.
pub const WINDOW_CONFIG_MIN: u64 = REORDER_PACKETS_MIN;
/// Maximum configured window: the ring takes a slot per number.
pub const WINDOW_CONFIG_MAX: u64 = 65_536;
/// Minimum time after which a silent flow is removed: above every usual hold.
pub const FLOW_IDLE_MIN: Duration = Duration::from_secs(1);
/// Maximum time after which a silent flow is removed: a sensor with one reading a day is kept.
pub const FLOW_IDLE_MAX: Duration = Duration::from_secs(7 * 86_400);
/// Default silence of a followed flow after which a player gets another one.
pub const FAILOVER: Duration = Duration::from_secs(1);
/// Minimum of that silence: with a shorter one, players would switch flows at every late packet.
pub const FAILOVER_MIN: Duration = Duration::from_millis(50);
/// Maximum of that silence: by then every viewer has left.
pub const FAILOVER_MAX: Duration = Duration::from_secs(60);
/// Minimum configured receive buffer: one datagram of maximum size.
pub const RECEIVE_BUFFER_MIN: usize = 64 << 10;
/// Maximum configured receive buffer: the kernel keeps its size in a signed 32-bit number and
/// doubles it.
pub const RECEIVE_BUFFER_MAX: usize = (1 << 30) - 1;
/// Maximum file with keys: as many as there may be, each with a long comment.
pub const SEAL_FILE_BYTES_MAX: u64 = 64 << 10;
const _: () = assert!(CHANNEL_BYTES_CONFIG_MIN >= 2 * DATAGRAM_BYTES_MAX);
const _: () = assert!(TICK.as_millis() <= TICK_MAX.as_millis());
