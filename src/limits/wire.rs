//! Formats: what a datagram may claim, and how much of it is looked at.

/// Memory of one receive slot: holds any datagram of an Ethernet path (1,500) and most jumbo tunnels; larger
/// datagrams get memory of their own.
pub const SLOT_BYTES: usize = 2048;
/// The largest UDP payload over IPv4: 65,535 minus 20 (IP) minus 8 (UDP).
pub const DATAGRAM_BYTES_MAX: usize = 65_507;

/// Ranges of one native NACK: the format's bound; 644 bytes, so that a NACK is one small datagram.
pub const NACK_RANGES_MAX: usize = 64;
/// Bytes of a custom layout's stream id, all its parts joined: a UUID and as much again, while it stays cheap to
/// copy and to hash.
pub const CUSTOM_ID_BYTES_MAX: usize = 32;
/// Bytes of a text that a custom layout matches: any protocol's magic is shorter.
pub const CUSTOM_TEXT_BYTES_MAX: usize = 64;
/// `match` parts, and `id` parts, of a custom layout: each costs time for every datagram.
pub const CUSTOM_PARTS_MAX: usize = 8;
/// Kinds of datagrams of a custom layout: each costs time for every datagram; no protocol of the profiles needs more than
/// nine.
pub const CUSTOM_KINDS_MAX: usize = 16;
/// Streams whose messages one datagram mixes, beside the first one: what a forged one may cost.
pub const CUSTOM_RUNS_MAX: usize = 16;
/// Where numbers begin that one datagram does not tell alone: high enough for all that a producer may count backwards.
pub const SCALE_START: u64 = 1 << 40;
/// Messages in parts that are remembered, and that may be missing: what comes within the longest hold at 2,000 per second.
pub const PARTS_MESSAGES_MAX: u64 = 1024;
/// The least length of an Aeron term, 64 KiB, in frames of 32 bytes.
pub const TERM_NUMBERS_MIN: u64 = (64 << 10) / 32;
/// Templates of one IPFIX stream: exporters have some dozen.
pub const IPFIX_TEMPLATES_MAX: usize = 256;
/// Fields of an IPFIX template: all information elements that are registered are about five hundred.
pub const IPFIX_FIELDS_MAX: usize = 512;
/// Numbers that one datagram may take (`step`): a datagram has no room for more messages than it has bytes.
pub const SPAN_NUMBERS_MAX: u64 = DATAGRAM_BYTES_MAX as u64;
/// Datagrams that the measure of how many numbers they take looks back at, at least: more than stand within most windows.
pub const STEP_PACKETS: u32 = 256;
/// Numbers above this are refused: no producer counts so far, and arithmetic on them stays exact.
pub const NUMBER_MAX: u64 = 1 << 62;
/// PIDs of one transport stream that are checked for continuity: a multiplex of many programmes; a stream for players
/// has under twenty.
pub const TS_PIDS_MAX: usize = 256;

/// Programmes of one transport stream whose tables are read for players: a multiplex that is sent whole has about ten.
pub const TS_PROGRAMS_MAX: usize = 16;
/// Sync bytes at one distance that show where the packets of a transport stream stand: among random bytes four come once
/// in 16 million places.
pub const TS_SEARCH_SYNCS: usize = 4;
/// Bytes of a picture that are searched for what it is: parameter sets and supplemental information before its first
/// slice are some hundred bytes, captions a few thousand.
pub const KEY_SCAN_BYTES_MAX: usize = 16 << 10;
/// The longest PSI section (ISO/IEC 13818-1 section 2.4.4.5: 1021 bytes after the length), with its header.
pub const PSI_SECTION_BYTES_MAX: usize = 1024;

const _: () = assert!(SLOT_BYTES >= 1500 && SLOT_BYTES < DATAGRAM_BYTES_MAX);
