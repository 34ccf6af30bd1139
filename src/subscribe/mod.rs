//! UDP subscribers on request: a host asks, proves by a cookie that it receives at its address, and gets a stream's
//! datagrams while it renews its lease. `docs/udp-subscribe.md` describes the exchange.
//!
//! [`exchange`] is the relay's side and [`subscriber`] the other one, both pure: time and addresses are arguments.
//! [`server`] has the socket; it reads a channel's records through [`crate::control`] and sends them from there.

pub mod exchange;
pub mod server;
pub mod subscriber;

pub use server::Server;

#[cfg(test)]
mod tests;
