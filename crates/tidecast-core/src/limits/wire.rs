//! Formats: bounds on what a datagram may claim.

use tidecast_wire::limits::DATAGRAM_BYTES_MAX;

/// Memory of one receive slot: holds any datagram of an Ethernet path (1,500) and most jumbo
/// tunnels; larger datagrams get memory of their own.
pub const SLOT_BYTES: usize = 2048;
/// Maximum number: no producer counts that far, and arithmetic below it is exact.
pub const NUMBER_MAX: u64 = 1 << 62;
const _: () = assert!(SLOT_BYTES >= 1500 && SLOT_BYTES < DATAGRAM_BYTES_MAX);
/// Free receive slots kept by one packet thread: 8 MiB, two full batches of 64 legs.
pub const POOL_SLOTS: usize = 4096;
