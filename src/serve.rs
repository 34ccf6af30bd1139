//! Those who serve the channels to the world outside: players and people over [`http`], programs by
//! [`push`]ed messages (over HTTP and [`tcp`]), subscribers over UDP on request ([`udp`]), files
//! ([`record`]), and what says where a channel is found ([`sdp`], announced by [`sap`]).
//!
//! Each reads what the packet path has put into a tap, through [`crate::registry`], and has a
//! bounded queue, so that none holds up the packet path or another one.

pub mod http;
pub mod listen;
pub mod push;
mod queue;
pub mod record;
pub mod sap;
pub mod sdp;
pub mod tcp;
pub mod udp;
