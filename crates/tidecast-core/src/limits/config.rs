//! Bounds and defaults of a configuration (`config`).

/// Maximum legs per channel: the core stores a leg in a byte, and two paths are the usual case.
pub const LEGS_MAX: usize = 32;
const _: () = assert!(LEGS_MAX <= 256);
const _: () = assert!(LEGS_MAX <= 32, "the core keeps a bit for each");
