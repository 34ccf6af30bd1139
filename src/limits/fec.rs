//! Recovery and protection: Reed-Solomon blocks and the matrices of ST 2022-1, their memory and their work.

use std::time::Duration;

use super::{DATAGRAM_BYTES_MAX, HOLD_MAX, REORDER_PACKETS_MAX};

/// Numbers that one source block may span (k times stride), and thus packets kept for recovery.
pub const FEC_SPAN_MAX: u64 = 8192;
/// Source blocks open at once in one flow: the lanes of the largest stride, twice.
pub const FEC_BLOCKS_MAX: usize = 512;
/// Packets of a new session kept until its first repair packet shows whether it has FEC at all.
pub const FEC_LEARN_PACKETS: u64 = 128;
/// The same in time, for slow flows: so many times the longest hold, after which nothing waits for a repair packet.
pub const FEC_LEARN_HOLDS: u32 = 4;
/// At least this time: a producer's first blocks may take longer than later ones.
pub const FEC_LEARN_TIME_MIN: Duration = Duration::from_secs(2);
/// After so many numbers without a repair packet, a session's packets are no longer kept for recovery.
pub const FEC_FORGET_PACKETS: u64 = 2048;

/// Shapes of blocks that are told apart in one flow: the code's own, those of blocks that were closed early, and forged ones.
pub const FEC_SHAPES_MAX: usize = 16;
/// Further contents of repair shards kept for one block: of more than one forged packet nothing is to be told.
pub const FEC_RIVALS_MAX: usize = 2;
/// Time stamps of so many packets of a block that ascend are no chance: those of rebuilt ones stand among them.
pub const FEC_FIT_SOURCES: usize = 4;
/// So many times as far from them as they are apart is where wrong ones begin.
pub const FEC_FIT_SPANS: u64 = 10;
/// And so far at least: all of a block may have one time stamp.
pub const FEC_FIT_TIME: Duration = Duration::from_secs(10);

/// Multiplications to rebuild packets (`fec::rs::Codes::work`) that one packet pays for, apart from its bytes: what a
/// block of 127 takes for each packet when it lost all of them, which is the most. So a block of any shape is paid for
/// by as many packets as it has; repair packets alone, forged ones that is, buy none.
pub const FEC_WORK_PER_PACKET: u64 = 1 << 15;
/// The same for each of its bytes.
pub const FEC_WORK_PER_BYTE: u64 = 255;
/// Work saved up at most: what the largest block can take (k = 128, m = 127, 65,507 bytes); a second of one core that
/// has no vector instructions.
pub const FEC_WORK_MAX: u64 = (1 << 30) + (1 << 26);
/// Work that a session may begin with: enough for a first block of usual size that lost most of its packets.
pub const FEC_WORK_START: u64 = 1 << 25;

/// Columns (L) of an ST 2022-1 matrix: the standard's bound.
pub const ST2022_COLUMNS_MAX: u8 = 20;
/// Columns when rows are protected as well: the standard's bound.
pub const ST2022_ROW_LENGTH_MIN: u8 = 4;
/// Rows (D) of an ST 2022-1 matrix: the standard's bounds.
pub const ST2022_ROWS_MIN: u8 = 4;
/// See [`ST2022_ROWS_MIN`].
pub const ST2022_ROWS_MAX: u8 = 20;
/// RTP flows of one channel whose packets are kept for ST 2022-1, and among which a repair packet, which does not name
/// its own, is looked for. A channel has one, its predecessor, and a few that others send to the same group.
pub const ST2022_FLOWS_MAX: usize = 16;
/// Media packets of one ST 2022-1 matrix that we send: the standard's bound.
pub const ST2022_MATRIX_MAX: u16 = 100;
/// Media packets of one ST 2022-1 matrix that we understand: senders that go beyond the standard exist, and ten times
/// as many fit into a hold.
pub const ST2022_SPAN_MAX: u64 = 1024;
/// Matrices whose packets are kept: the one that is sent, the one whose columns are sent meanwhile, and one for
/// reordering.
pub const ST2022_MATRICES_KEPT: u64 = 3;
/// Numbers kept for ST 2022-1 while they wait for repair packets that come late: as many as a reorder window holds
/// back. Their bytes count as memory of the channel.
pub const ST2022_NUMBERS_MAX: u64 = REORDER_PACKETS_MAX;
/// ST 2022-1 repair packets kept because they miss media: of all these numbers the rows and columns of the smallest
/// square matrix, each half of them.
pub const ST2022_REPAIRS_MAX: usize = ST2022_NUMBERS_MAX as usize / 2;
/// Media packets so near to each other vouch for each other: a burst of losses is rarely longer.
pub const ST2022_NEIGHBOURS: u64 = 32;
/// Time stamps of neighbours are less than so much apart: 10 s of a video clock.
pub const ST2022_FIT_TICKS: u32 = 900_000;
/// Bytes XORed that each byte of a media packet pays for. Rows and columns XOR each packet twice; forged repair packets
/// alone pay for nothing. A stream of 10 Mbit/s so costs at most 80 MB of XOR a second, under 1 % of a core.
pub const ST2022_WORK_PER_BYTE: u64 = 64;
/// Work saved up at most, and what a stream begins with: all of a matrix of the largest packets, once.
pub const ST2022_WORK_MAX: u64 = ST2022_SPAN_MAX * DATAGRAM_BYTES_MAX as u64;
/// How long a packet that no later one has overtaken may still be on its way when its repair packet has come: repair
/// packets have sockets of their own and may be read first. Two ticks.
pub const ST2022_TAIL_GRACE: Duration = Duration::from_millis(10);
/// How long protected media may pause before the repair packets of the last of them go out, a matrix that is not full
/// included: longer than the packets of a stream of 50 kbit/s are apart, and well within a usual hold.
pub const ST2022_PAUSE: Duration = Duration::from_millis(250);
/// Reed-Solomon codes kept ready: a block's own, and those of blocks that were closed early.
pub const FEC_CODES_MAX: usize = 8;
/// How long a packet waits for its source block to fill before the block is closed early.
pub const BLOCK_CLOSE_AFTER: Duration = Duration::from_millis(40);
/// The same for a file or a pipe that `send` paces: its blocks do fill, and closing them before would multiply the
/// repair packets; but no receiver waits longer than its hold.
pub const BLOCK_CLOSE_AFTER_PACED: Duration = HOLD_MAX;
/// Native streams with open source blocks on outputs with FEC: four times the largest sensor group that we know of.
pub const PROTECTED_FLOWS_MAX: usize = 4096;
/// Packets in the open blocks of all of them: 86 MB of media packets; fewer streams where blocks are large.
pub const PROTECTED_PACKETS_MAX: usize = 65_536;

const _: () =
    assert!(ST2022_MATRICES_KEPT * ST2022_SPAN_MAX <= ST2022_NUMBERS_MAX && ST2022_NUMBERS_MAX < 1 << 14);
const _: () = assert!(FEC_FORGET_PACKETS > FEC_LEARN_PACKETS);
