//! UDP subscribers on request: a host asks, proves with a cookie that it receives at its address,
//! and gets a stream's datagrams as long as it renews its lease. `docs/udp-subscribe.md` describes
//! the exchange.
//!
//! [`exchange`] is the relay's side and [`tidecast_core::subscriber`] the client's, both pure:
//! time and addresses are arguments. [`server`] has the socket for requests. Each subscriber has
//! its own socket on the same port (`lane`), which sends it a channel's records, read through
//! [`crate::registry`].

pub mod exchange;
mod lane;
pub mod server;

pub use server::Server;

#[cfg(test)]
mod tests;
