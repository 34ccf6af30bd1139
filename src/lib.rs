//! tidecast: a relay for UDP multicast.
//!
//! A datagram's way through the program, which is also the reading order:
//!
//! 1. [`net`]: join the group, receive in batches with kernel time stamps and drop counts;
//! 2. [`wire`]: bytes to a checked view; corrupt and foreign datagrams are counted and dropped;
//! 3. [`relay`]: the pure core (no I/O, no clock): flow, session, deduplication, recovery, reorder and skip;
//! 4. [`egress`]: UDP targets, HTTP clients, files.
//!
//! Beside them stand [`fec`] (the codes), [`producer`] (the sending side), [`history`] (what was sent, to be sent again),
//! [`link`] (models of a bad link), [`observe`] (what happened lately), [`subscribe`] (UDP subscribers on request), [`probe`] (what is on a group),
//! [`capture`] (capture files), and [`config`], [`control`], [`log`], [`metrics`], [`shutdown`], [`watchdog`].

pub mod address;
pub mod buffer;
pub mod capture;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod config;
pub mod control;
pub mod egress;
pub mod fec;
pub mod history;
pub mod host;
pub mod identify;
pub mod jitter;
pub mod limits;
pub mod link;
pub mod log;
pub mod metrics;
pub mod net;
pub mod observe;
pub mod probe;
pub mod producer;
pub mod relay;
pub mod shares;
pub mod shutdown;
pub mod subscribe;
pub mod watchdog;
pub mod wire;
