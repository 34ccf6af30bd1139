//! The core of tidecast: processes packets between the socket that receives them and the one that
//! sends them on. No I/O, no clock, no threads: bytes and instants come in as arguments, so the
//! same inputs give the same outputs. Internal to tidecast: any version may change it.
//!
//! Read [`relay`] first: it orders the packets of a channel, recovers missing ones and gives up
//! what is overdue. [`identify`] finds the format of each source before that; [`jitter`] measures
//! how evenly packets arrive. [`encode`] numbers payloads and makes native datagrams of them;
//! [`protect`] protects native datagrams of other senders; both use source blocks ([`block`]).
//! [`follow`] chooses the flow that a player gets; [`subscriber`] requests a stream from a relay
//! over UDP. [`history`] keeps sent packets for retransmission. [`buffer`] holds the bytes of a
//! datagram.

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
#[cfg(feature = "subscribe")]
pub mod subscriber;

#[cfg(test)]
use tidecast_testkit::clock;
