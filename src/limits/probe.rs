//! The probe: what is followed of a group that may carry anything.

use std::time::Duration;

use tidecast_core::limits::{HOLD_MAX, HOLD_START, REORDER_PACKETS_MAX};

/// Flows that a probe follows one by one; what other flows send is counted in all.
pub const PROBE_FLOWS_MAX: usize = 4096;
/// Gaps of one flow that a late packet can still fill; beyond that the oldest count as lost.
pub const PROBE_GAPS_MAX: usize = 1024;
/// Numbers behind the highest within which a packet is late and not of another numbering.
pub const PROBE_WINDOW: u64 = REORDER_PACKETS_MAX;
/// Losses of one flow of which the length and the distance to the one before are kept, to simulate
/// the like.
pub const PROBE_LOSSES_MAX: usize = 1024;
/// A gap younger than this may still be filled: it is not yet a loss.
pub const PROBE_SETTLE: Duration = HOLD_START;
/// Flows whose MPEG-TS is looked into: each may cost 256 PIDs of about 200 bytes.
pub const PROBE_TS_FLOWS_MAX: usize = 64;
/// Programmes of one transport stream that are named.
pub const PROBE_PROGRAMS_MAX: usize = 64;
/// A PCR shall come this often (ISO/IEC 13818-1 section 2.7.2).
pub const PCR_INTERVAL_ALLOWED: Duration = Duration::from_millis(100);
/// Shapes of FEC, and their senders, that a probe tells apart.
pub const PROBE_SHAPES_MAX: usize = 64;
/// Datagrams of unknown format that are kept to look for a counter in them,
pub const PROBE_SAMPLES: usize = 64;
/// and so many of their bytes: the number stands in every known header's first bytes, and how many
/// messages or records a datagram has shows in all of it, as an Ethernet path carries it.
pub const PROBE_SAMPLE_BYTES: usize = 2048;
/// Packets of a simulated stream on which a suggestion must not lose one.
pub const PROBE_SIMULATED: u64 = 100_000;
/// The longest that a source block of a suggestion may take: what the automatic hold can wait for.
pub const PROBE_BLOCK_TIME_MAX: Duration = HOLD_MAX;
