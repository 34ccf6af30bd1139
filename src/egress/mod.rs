//! Where delivered packets leave the program: each output has its own socket, bounds and counters.
//!
//! Packets come from [`crate::relay`] by way of the packet path; one output's trouble never costs another.

pub mod udp;
