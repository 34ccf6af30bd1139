//! Every bound of this crate, with its reason. A queue, map, loop or buffer without a bound here
//! is a bug.
//!
//! Conditions between bounds are asserted beside them, so that a violation fails the build and not
//! a relay.

/// Maximum UDP payload over IPv4: 65,535 minus 20 (IP) minus 8 (UDP).
pub const DATAGRAM_BYTES_MAX: usize = 65_507;
/// Maximum ranges of one native NACK, by the format: 644 bytes, so that a NACK is one small
/// datagram.
pub const NACK_RANGES_MAX: usize = 64;
/// Maximum bytes of a custom layout's stream id, with all its parts: two UUIDs, while it stays
/// cheap to copy and to hash.
pub(crate) const CUSTOM_ID_BYTES_MAX: usize = 32;
/// Maximum bytes of a text that a custom layout matches: any protocol's magic is shorter.
pub(crate) const CUSTOM_TEXT_BYTES_MAX: usize = 64;
/// Maximum `match` parts, and `id` parts, of a custom layout: each costs time for every datagram.
pub(crate) const CUSTOM_PARTS_MAX: usize = 8;
/// Maximum kinds of datagrams in a custom layout: each costs time for every datagram; no protocol
/// of the profiles needs more than nine.
pub(crate) const CUSTOM_KINDS_MAX: usize = 16;
/// Maximum further streams whose messages one datagram mixes: limits the cost of a forged one.
pub(crate) const CUSTOM_RUNS_MAX: usize = 16;
/// First number of a [`Scale`](crate::custom::Scale): high enough for any step backwards of a
/// producer.
pub(crate) const SCALE_START: u64 = 1 << 40;
/// Maximum remembered messages in parts, and maximum missing ones: those of the longest hold at
/// 2,000 per second.
pub(crate) const PARTS_MESSAGES_MAX: u64 = 1024;
/// Minimum length of an Aeron term, 64 KiB, in frames of 32 bytes.
pub(crate) const TERM_NUMBERS_MIN: u64 = (64 << 10) / 32;
/// Maximum templates of one IPFIX stream: exporters have some dozen.
pub(crate) const IPFIX_TEMPLATES_MAX: usize = 256;
/// Maximum fields of an IPFIX template: about five hundred information elements are registered.
pub(crate) const IPFIX_FIELDS_MAX: usize = 512;
/// Maximum numbers that one datagram takes (`step`): it cannot hold more messages than bytes.
pub const SPAN_NUMBERS_MAX: u64 = DATAGRAM_BYTES_MAX as u64;
/// Minimum datagrams over which the count of numbers per datagram is measured: more than most
/// windows hold.
pub(crate) const STEP_PACKETS: u32 = 256;
/// Maximum PIDs of one transport stream that are checked for continuity: a multiplex of many
/// programmes; a stream for players has under twenty.
pub const TS_PIDS_MAX: usize = 256;
/// Maximum programmes of one transport stream whose tables are read for players: a complete
/// multiplex has about ten.
pub(crate) const TS_PROGRAMS_MAX: usize = 16;
/// Sync bytes at equal distances that identify a transport stream: in random bytes four occur once
/// in 16 million positions.
pub(crate) const TS_SEARCH_SYNCS: usize = 4;
/// Maximum bytes of a picture that are searched for its type: parameter sets and supplemental
/// information before its first slice are some hundred bytes, captions a few thousand.
pub(crate) const KEY_SCAN_BYTES_MAX: usize = 16 << 10;
/// Maximum PSI section (ISO/IEC 13818-1 section 2.4.4.5: 1021 bytes after the length), with its
/// header.
pub(crate) const PSI_SECTION_BYTES_MAX: usize = 1024;

/// Maximum bytes of a session description: those of studios with a hundred streams have a tenth of
/// it.
pub const SDP_BYTES_MAX: usize = 64 << 10;
/// Maximum streams in a session description.
pub(crate) const SDP_MEDIA_MAX: usize = 64;

/// Packets of a new session kept until its first repair packet shows whether it has FEC at all.
pub const FEC_LEARN_PACKETS: u64 = 128;
/// Maximum columns (L) of an ST 2022-1 matrix, by the standard.
pub const ST2022_COLUMNS_MAX: u8 = 20;
/// Minimum columns if rows are protected as well, by the standard.
pub(crate) const ST2022_ROW_LENGTH_MIN: u8 = 4;
/// Minimum rows (D) of an ST 2022-1 matrix, by the standard.
pub const ST2022_ROWS_MIN: u8 = 4;
/// Maximum rows (D) of an ST 2022-1 matrix, by the standard.
pub const ST2022_ROWS_MAX: u8 = 20;
/// Maximum media packets of one ST 2022-1 matrix that we send, by the standard.
pub(crate) const ST2022_MATRIX_MAX: u16 = 100;
/// Maximum media packets of one ST 2022-1 matrix that we accept: senders beyond the standard
/// exist, and ten times as many packets fit into a hold.
pub const ST2022_SPAN_MAX: u64 = 1024;
/// Matrices whose packets are kept: the current one, the one whose columns are being sent, and one
/// for reordering.
pub(crate) const ST2022_MATRICES_KEPT: u64 = 3;
/// Maximum numbers kept for ST 2022-1 while they wait for late repair packets: as many as a
/// reorder window. Their bytes count as memory of the channel.
pub const ST2022_NUMBERS_MAX: u64 = 8192;
/// Maximum ST 2022-1 repair packets kept because media is missing: those of the rows and columns
/// of the smallest square matrix over all these numbers, each half of them.
pub(crate) const ST2022_REPAIRS_MAX: usize = ST2022_NUMBERS_MAX as usize / 2;
/// Distance in which media packets confirm each other: a burst of losses is rarely longer.
pub(crate) const ST2022_NEIGHBOURS: u64 = 32;
/// Maximum difference between timestamps of neighbours: 10 s of a video clock.
pub(crate) const ST2022_FIT_TICKS: u32 = 900_000;
/// Bytes of XOR that each byte of a media packet adds to the budget. Rows and columns XOR each
/// packet twice; repair packets alone, which may be forged, add nothing. So a stream of 10 Mbit/s
/// causes at most 80 MB of XOR a second, under 1 % of a core.
pub(crate) const ST2022_WORK_PER_BYTE: u64 = 64;
/// Maximum and initial budget: a matrix of the largest packets, once.
pub(crate) const ST2022_WORK_MAX: u64 = ST2022_SPAN_MAX * DATAGRAM_BYTES_MAX as u64;
/// Maximum cached Reed-Solomon codes: a block's own, and those of blocks that were closed early.
pub(crate) const FEC_CODES_MAX: usize = 8;
const _: () =
    assert!(ST2022_MATRICES_KEPT * ST2022_SPAN_MAX <= ST2022_NUMBERS_MAX && ST2022_NUMBERS_MAX < 1 << 14);

/// Maximum bytes of a native request: the largest NACK has 672.
pub const REQUEST_BYTES_MAX: usize = 2048;

/// Maximum keys of a keyring: one of each id, since a datagram names its key by the id alone.
pub const SEAL_KEYS_MAX: usize = 16;
