//! The core of tidecast: everything that happens to a packet between the socket that received it
//! and the one that sends it on. No I/O, no clock, no threads: bytes and instants come in as
//! arguments, so the same inputs give the same outputs. Internal to tidecast: any version may
//! change it.
//!
//! Read [`relay`] first: it puts the packets of a channel in order, recovers what it can and gives
//! up what is overdue.
//! [`identify`] finds the format of each source before that; [`jitter`] measures how evenly packets
//! come.
//! [`encode`] numbers payloads and makes native datagrams of them, [`protect`] protects those of
//! others, both in source blocks ([`block`]). [`follow`] chooses the flow that a player gets;
//! [`subscriber`] asks a relay for a stream over UDP. [`history`] keeps what was sent so that it
//! can be sent again. [`buffer`] holds the bytes of a datagram on all of its way.

pub mod block;
pub mod buffer;
pub mod encode;
pub mod follow;
pub mod history;
pub mod host;
pub mod identify;
pub mod jitter;
pub mod limits;
pub mod protect;
pub mod relay;
pub mod subscriber;

#[cfg(test)]
use tidecast_testkit::clock;
