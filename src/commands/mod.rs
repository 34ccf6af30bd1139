//! The commands.
//!
//! See `cli`.

pub mod impair;
