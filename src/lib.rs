//! tidecast: a relay for UDP multicast.
//!
//! A datagram's way through the program, which is also the reading order:
//!
//! 1. [`tidecast_net`]: join the group, receive in batches with kernel time stamps and drop counts;
//! 2. [`tidecast_wire`]: bytes to a checked view; corrupt and foreign datagrams are counted and dropped;
//! 3. [`tidecast_core::relay`]: the core (no I/O, no clock): flow, session, deduplication, recovery, reorder and skip;
//! 4. [`net`]: the packet threads, which run the core of each channel;
//! 5. [`egress`]: UDP targets, HTTP clients, files.
//!
//! Beside them stand [`observe`] (what happened lately), [`subscribe`] (UDP subscribers on request), [`probe`] (what is on a
//! group), [`capture`] (capture files), and [`config`], [`control`], [`log`], [`metrics`], [`shutdown`], [`watchdog`].

pub mod capture;
pub mod cli;
pub mod commands;
pub mod config;
pub mod control;
pub mod egress;
pub mod limits;
pub mod log;
pub mod metrics;
pub mod net;
pub mod observe;
pub mod probe;
pub mod shares;
pub mod shutdown;
pub mod subscribe;
pub mod watchdog;
