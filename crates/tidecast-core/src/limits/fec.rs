//! Recovery and protection with Reed-Solomon blocks and the matrices of ST 2022-1: bounds on
//! memory and computation.

use std::time::Duration;

use super::HOLD_MAX;
use tidecast_wire::limits::FEC_LEARN_PACKETS;

/// Maximum numbers spanned by one source block (k times stride), and thus packets kept for
/// recovery.
pub const FEC_SPAN_MAX: u64 = 8192;
/// Maximum source blocks open at once in one flow: twice the lanes of the largest stride.
pub(crate) const FEC_BLOCKS_MAX: usize = 512;
/// Maximum wait for the first repair packets of a slow flow, in multiples of the longest hold;
/// after that no gap waits for a repair packet.
pub(crate) const FEC_LEARN_HOLDS: u32 = 4;
/// Minimum of that wait: a producer's first blocks may take longer than later ones.
pub(crate) const FEC_LEARN_TIME_MIN: Duration = Duration::from_secs(2);
/// Numbers without a repair packet after which a session's packets are no longer kept for
/// recovery.
pub(crate) const FEC_FORGET_PACKETS: u64 = 2048;
/// Maximum block shapes distinguished in one flow: the code's own, those of blocks that were
/// closed early, and forged ones.
pub(crate) const FEC_SHAPES_MAX: usize = 16;
/// Maximum differing contents of repair shards kept for one block: with more than one forged
/// packet, the genuine ones cannot be determined.
pub(crate) const FEC_RIVALS_MAX: usize = 2;
/// Minimum packets of a block whose ascending timestamps are not a coincidence: the timestamps
/// of recovered packets must be among them.
pub(crate) const FEC_FIT_SOURCES: usize = 4;
/// Distance from these timestamps, in multiples of their range, beyond which a recovered one is
/// wrong.
pub(crate) const FEC_FIT_SPANS: u64 = 10;
/// Minimum of that distance: all packets of a block may have the same timestamp.
pub(crate) const FEC_FIT_TIME: Duration = Duration::from_secs(10);
/// Multiplications for recovery (`fec::rs::Codes::work`) that each packet adds to the budget, in
/// addition to those for its bytes: the cost per packet of a block of 127 that lost all packets,
/// which is the maximum. So the packets of a block of any shape pay for its recovery. Repair
/// packets alone, which may be forged, pay for nothing.
pub(crate) const FEC_WORK_PER_PACKET: u64 = 1 << 15;
/// Multiplications that each byte of a packet adds to the budget.
pub(crate) const FEC_WORK_PER_BYTE: u64 = 255;
/// Maximum budget: the cost of the largest block (k = 128, m = 127, 65,507 bytes), a second on a
/// CPU core without vector instructions.
pub(crate) const FEC_WORK_MAX: u64 = (1 << 30) + (1 << 26);
/// Initial budget of a session: enough for a first block of usual size that lost most of its
/// packets.
pub(crate) const FEC_WORK_START: u64 = 1 << 25;
/// Maximum RTP flows of one channel whose packets are kept for ST 2022-1, and among which the flow
/// of a repair packet, which does not name it, is searched. A channel has one, its predecessor,
/// and a few of other senders on the same group.
pub(crate) const ST2022_FLOWS_MAX: usize = 16;
/// Time that the last packet of a stream may still need when its repair packet has come: repair
/// packets use separate sockets and may be read first. Two ticks.
pub(crate) const ST2022_TAIL_GRACE: Duration = Duration::from_millis(10);
/// Default time that a packet waits for its source block to fill before the block is closed early.
pub const BLOCK_CLOSE_AFTER: Duration = Duration::from_millis(40);
/// The same time for a file or a pipe that `send` paces: its blocks do fill, and closing them
/// earlier would multiply the repair packets; but no receiver waits longer than its hold.
pub const BLOCK_CLOSE_AFTER_PACED: Duration = HOLD_MAX;
/// Maximum native streams with open source blocks on outputs with FEC: four times the largest
/// sensor group known to us.
pub(crate) const PROTECTED_FLOWS_MAX: usize = 4096;
/// Maximum packets in the open blocks of all these streams: 86 MB of media packets. With large
/// blocks, fewer streams fit.
pub(crate) const PROTECTED_PACKETS_MAX: usize = 65_536;
const _: () = assert!(FEC_FORGET_PACKETS > FEC_LEARN_PACKETS);
