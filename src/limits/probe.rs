//! The probe: bounds for a group with unknown contents.

use std::time::Duration;

use tidecast_core::limits::{HOLD_MAX, HOLD_START, REORDER_PACKETS_MAX};

/// Maximum flows that a probe follows separately; packets of other flows are counted in total.
pub const PROBE_FLOWS_MAX: usize = 4096;
/// Maximum gaps of one flow that a late packet can still fill; beyond that the oldest count as
/// lost.
pub const PROBE_GAPS_MAX: usize = 1024;
/// Distance below the highest number within which a packet is late, and not of another numbering.
pub const PROBE_WINDOW: u64 = REORDER_PACKETS_MAX;
/// Maximum losses of one flow whose length and distance are kept, to simulate similar ones.
pub const PROBE_LOSSES_MAX: usize = 1024;
/// Minimum age of a loss: a younger gap may still be filled.
pub const PROBE_SETTLE: Duration = HOLD_START;
/// Maximum flows whose MPEG-TS is analysed: each may take 256 PIDs of about 200 bytes.
pub const PROBE_TS_FLOWS_MAX: usize = 64;
/// Maximum programmes of one transport stream that are listed.
pub const PROBE_PROGRAMS_MAX: usize = 64;
/// Maximum PCR interval (ISO/IEC 13818-1 section 2.7.2).
pub const PCR_INTERVAL_ALLOWED: Duration = Duration::from_millis(100);
/// Maximum FEC shapes and FEC senders that a probe distinguishes.
pub const PROBE_SHAPES_MAX: usize = 64;
/// Datagrams of unknown format that are kept to search for a counter,
pub const PROBE_SAMPLES: usize = 64;
/// and maximum bytes of each: in every known header the number is in the first bytes, but the
/// count of messages or records needs the whole datagram of an Ethernet path.
pub const PROBE_SAMPLE_BYTES: usize = 2048;
/// Packets of a simulated stream in which a suggestion must not lose any.
pub const PROBE_SIMULATED: u64 = 100_000;
/// Maximum duration of a source block in a suggestion: what the automatic hold can wait for.
pub const PROBE_BLOCK_TIME_MAX: Duration = HOLD_MAX;
