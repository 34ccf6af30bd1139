//! Every bound of this crate, with its reason. A queue, map, loop or buffer without a bound here is
//! a bug.
//!
//! What must hold between bounds is asserted beside them, so that a build fails and not a relay.

/// The largest UDP payload over IPv4: 65,535 minus 20 (IP) minus 8 (UDP).
pub const DATAGRAM_BYTES_MAX: usize = 65_507;
/// Ranges of one native NACK: the format's bound; 644 bytes, so that a NACK is one small datagram.
pub const NACK_RANGES_MAX: usize = 64;
/// Bytes of a custom layout's stream id, all its parts joined: a UUID and as much again, while it
/// stays cheap to copy and to hash.
pub(crate) const CUSTOM_ID_BYTES_MAX: usize = 32;
/// Bytes of a text that a custom layout matches: any protocol's magic is shorter.
pub(crate) const CUSTOM_TEXT_BYTES_MAX: usize = 64;
/// `match` parts, and `id` parts, of a custom layout: each costs time for every datagram.
pub(crate) const CUSTOM_PARTS_MAX: usize = 8;
/// Kinds of datagrams of a custom layout: each costs time for every datagram; no protocol of the
/// profiles needs more than nine.
pub(crate) const CUSTOM_KINDS_MAX: usize = 16;
/// Streams whose messages one datagram mixes, beside the first one: what a forged one may cost.
pub(crate) const CUSTOM_RUNS_MAX: usize = 16;
/// Where numbers begin that one datagram does not tell alone: high enough for all that a producer
/// may count backwards.
pub(crate) const SCALE_START: u64 = 1 << 40;
/// Messages in parts that are remembered, and that may be missing: what comes within the longest
/// hold at 2,000 per second.
pub(crate) const PARTS_MESSAGES_MAX: u64 = 1024;
/// The least length of an Aeron term, 64 KiB, in frames of 32 bytes.
pub(crate) const TERM_NUMBERS_MIN: u64 = (64 << 10) / 32;
/// Templates of one IPFIX stream: exporters have some dozen.
pub(crate) const IPFIX_TEMPLATES_MAX: usize = 256;
/// Fields of an IPFIX template: all information elements that are registered are about five
/// hundred.
pub(crate) const IPFIX_FIELDS_MAX: usize = 512;
/// Numbers that one datagram may take (`step`): a datagram has no room for more messages than it
/// has bytes.
pub const SPAN_NUMBERS_MAX: u64 = DATAGRAM_BYTES_MAX as u64;
/// Datagrams that the measure of how many numbers they take looks back at, at least: more than
/// stand within most windows.
pub(crate) const STEP_PACKETS: u32 = 256;
/// PIDs of one transport stream that are checked for continuity: a multiplex of many programmes; a
/// stream for players has under twenty.
pub const TS_PIDS_MAX: usize = 256;
/// Programmes of one transport stream whose tables are read for players: a multiplex that is sent
/// whole has about ten.
pub(crate) const TS_PROGRAMS_MAX: usize = 16;
/// Sync bytes at one distance that show where the packets of a transport stream stand: among random
/// bytes four come once in 16 million places.
pub(crate) const TS_SEARCH_SYNCS: usize = 4;
/// Bytes of a picture that are searched for what it is: parameter sets and supplemental information
/// before its first slice are some hundred bytes, captions a few thousand.
pub(crate) const KEY_SCAN_BYTES_MAX: usize = 16 << 10;
/// The longest PSI section (ISO/IEC 13818-1 section 2.4.4.5: 1021 bytes after the length), with its
/// header.
pub(crate) const PSI_SECTION_BYTES_MAX: usize = 1024;

/// Bytes of a session description: those of studios with a hundred streams take a tenth of it.
pub const SDP_BYTES_MAX: usize = 64 << 10;
/// Streams in a session description.
pub(crate) const SDP_MEDIA_MAX: usize = 64;

/// Packets of a new session kept until its first repair packet shows whether it has FEC at all.
pub const FEC_LEARN_PACKETS: u64 = 128;
/// Columns (L) of an ST 2022-1 matrix: the standard's bound.
pub const ST2022_COLUMNS_MAX: u8 = 20;
/// Columns when rows are protected as well: the standard's bound.
pub(crate) const ST2022_ROW_LENGTH_MIN: u8 = 4;
/// Rows (D) of an ST 2022-1 matrix: the standard's bounds.
pub const ST2022_ROWS_MIN: u8 = 4;
/// See [`ST2022_ROWS_MIN`].
pub const ST2022_ROWS_MAX: u8 = 20;
/// Media packets of one ST 2022-1 matrix that we send: the standard's bound.
pub(crate) const ST2022_MATRIX_MAX: u16 = 100;
/// Media packets of one ST 2022-1 matrix that we understand: senders that go beyond the standard
/// exist, and ten times as many fit into a hold.
pub const ST2022_SPAN_MAX: u64 = 1024;
/// Matrices whose packets are kept: the one that is sent, the one whose columns are sent meanwhile,
/// and one for reordering.
pub(crate) const ST2022_MATRICES_KEPT: u64 = 3;
/// Numbers kept for ST 2022-1 while they wait for repair packets that come late: as many as a
/// reorder window holds back. Their bytes count as memory of the channel.
pub const ST2022_NUMBERS_MAX: u64 = 8192;
/// ST 2022-1 repair packets kept because they miss media: of all these numbers the rows and columns
/// of the smallest square matrix, each half of them.
pub(crate) const ST2022_REPAIRS_MAX: usize = ST2022_NUMBERS_MAX as usize / 2;
/// Media packets so near to each other vouch for each other: a burst of losses is rarely longer.
pub(crate) const ST2022_NEIGHBOURS: u64 = 32;
/// Time stamps of neighbours are less than so much apart: 10 s of a video clock.
pub(crate) const ST2022_FIT_TICKS: u32 = 900_000;
/// Bytes XORed that each byte of a media packet pays for. Rows and columns XOR each packet twice;
/// forged repair packets alone pay for nothing. A stream of 10 Mbit/s so costs at most 80 MB of XOR
/// a second, under 1 % of a core.
pub(crate) const ST2022_WORK_PER_BYTE: u64 = 64;
/// Work saved up at most, and what a stream begins with: all of a matrix of the largest packets,
/// once.
pub(crate) const ST2022_WORK_MAX: u64 = ST2022_SPAN_MAX * DATAGRAM_BYTES_MAX as u64;
/// Reed-Solomon codes kept ready: a block's own, and those of blocks that were closed early.
pub(crate) const FEC_CODES_MAX: usize = 8;
const _: () =
    assert!(ST2022_MATRICES_KEPT * ST2022_SPAN_MAX <= ST2022_NUMBERS_MAX && ST2022_NUMBERS_MAX < 1 << 14);

/// Bytes of a native request that are read: the largest NACK has 672.
pub const REQUEST_BYTES_MAX: usize = 2048;
