//! UDP subscribers on request: a host asks, proves by a cookie that it receives at its address, and
//! gets a stream's datagrams while it renews its lease. `docs/udp-subscribe.md` describes the
//! exchange.
//!
//! [`exchange`] is the relay's side and [`tidecast_core::subscriber`] the other one, both pure:
//! time and addresses are arguments.
//! [`server`] has the socket that all ask; each subscriber has one of its own on the same port
//! (`lane`), from which a channel's records go to it, read through [`crate::registry`].

pub mod exchange;
mod lane;
pub mod server;

pub use server::Server;

#[cfg(test)]
mod tests;
