//! The packet path: threads, channels, and what they are asked from outside.
//!
//! A datagram comes from a leg's socket ([`tidecast_net::ingest`]), goes through the core of its channel
//! ([`tidecast_core::relay`]) and on to the outputs of [`crate::egress`].

mod alarm;
mod channel;
pub mod losses;
mod port;
pub mod state;
mod survey;
#[cfg(test)]
pub(crate) mod testing;
pub mod worker;
