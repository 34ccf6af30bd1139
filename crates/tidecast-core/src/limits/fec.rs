//! Recovery and protection: Reed-Solomon blocks and the matrices of ST 2022-1, their memory and
//! their work.

use std::time::Duration;

use super::HOLD_MAX;
use tidecast_wire::limits::FEC_LEARN_PACKETS;

/// Numbers that one source block may span (k times stride), and thus packets kept for recovery.
pub const FEC_SPAN_MAX: u64 = 8192;
/// Source blocks open at once in one flow: the lanes of the largest stride, twice.
pub(crate) const FEC_BLOCKS_MAX: usize = 512;
/// The same in time, for slow flows: so many times the longest hold, after which nothing waits for
/// a repair packet.
pub(crate) const FEC_LEARN_HOLDS: u32 = 4;
/// At least this time: a producer's first blocks may take longer than later ones.
pub(crate) const FEC_LEARN_TIME_MIN: Duration = Duration::from_secs(2);
/// After so many numbers without a repair packet, a session's packets are no longer kept for
/// recovery.
pub(crate) const FEC_FORGET_PACKETS: u64 = 2048;
/// Shapes of blocks that are told apart in one flow: the code's own, those of blocks that were
/// closed early, and forged ones.
pub(crate) const FEC_SHAPES_MAX: usize = 16;
/// Further contents of repair shards kept for one block: of more than one forged packet nothing is
/// to be told.
pub(crate) const FEC_RIVALS_MAX: usize = 2;
/// Time stamps of so many packets of a block that ascend are no chance: those of rebuilt ones stand
/// among them.
pub(crate) const FEC_FIT_SOURCES: usize = 4;
/// So many times as far from them as they are apart is where wrong ones begin.
pub(crate) const FEC_FIT_SPANS: u64 = 10;
/// And so far at least: all of a block may have one time stamp.
pub(crate) const FEC_FIT_TIME: Duration = Duration::from_secs(10);
/// Multiplications to rebuild packets (`fec::rs::Codes::work`) that one packet pays for, apart from
/// its bytes: what a block of 127 takes for each packet when it lost all of them, which is the
/// most. So a block of any shape is paid for by as many packets as it has; repair packets alone,
/// forged ones that is, buy none.
pub(crate) const FEC_WORK_PER_PACKET: u64 = 1 << 15;
/// The same for each of its bytes.
pub(crate) const FEC_WORK_PER_BYTE: u64 = 255;
/// Work saved up at most: what the largest block can take (k = 128, m = 127, 65,507 bytes); a
/// second of one core that has no vector instructions.
pub(crate) const FEC_WORK_MAX: u64 = (1 << 30) + (1 << 26);
/// Work that a session may begin with: enough for a first block of usual size that lost most of its
/// packets.
pub(crate) const FEC_WORK_START: u64 = 1 << 25;
/// RTP flows of one channel whose packets are kept for ST 2022-1, and among which a repair packet,
/// which does not name its own, is looked for. A channel has one, its predecessor, and a few that
/// others send to the same group.
pub(crate) const ST2022_FLOWS_MAX: usize = 16;
/// How long a packet that no later one has overtaken may still be on its way when its repair packet
/// has come: repair packets have sockets of their own and may be read first. Two ticks.
pub(crate) const ST2022_TAIL_GRACE: Duration = Duration::from_millis(10);
/// How long a packet waits for its source block to fill before the block is closed early.
pub const BLOCK_CLOSE_AFTER: Duration = Duration::from_millis(40);
/// The same for a file or a pipe that `send` paces: its blocks do fill, and closing them before
/// would multiply the repair packets; but no receiver waits longer than its hold.
pub const BLOCK_CLOSE_AFTER_PACED: Duration = HOLD_MAX;
/// Native streams with open source blocks on outputs with FEC: four times the largest sensor group
/// that we know of.
pub(crate) const PROTECTED_FLOWS_MAX: usize = 4096;
/// Packets in the open blocks of all of them: 86 MB of media packets; fewer streams where blocks
/// are large.
pub(crate) const PROTECTED_PACKETS_MAX: usize = 65_536;
const _: () = assert!(FEC_FORGET_PACKETS > FEC_LEARN_PACKETS);
