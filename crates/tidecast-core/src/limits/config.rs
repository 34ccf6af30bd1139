//! What a configuration may ask for, and what it gets when it does not ask (`config`).

/// Legs per channel: a leg's number is a byte in the core, and two paths are the usual case.
pub const LEGS_MAX: usize = 32;
const _: () = assert!(LEGS_MAX <= 256);
const _: () = assert!(LEGS_MAX <= 32, "the core keeps a bit for each");
