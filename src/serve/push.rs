//! Streams for programs: each packet with its flow, number and time stamp, and every gap by name;
//! over TCP ([`super::tcp`]), WebSocket, server-sent events and Socket.IO ([`super::http`]).
//!
//! A stream with subscribers has a hub, a task that reads the channel's records
//! ([`crate::channel::tap`]). Subscribers who asked for the same in the same form are a class:
//! their messages are encoded once, and what is written to them is the same memory. Each has a
//! bounded queue before its socket. A client that is behind is not sent what waited, but what it
//! missed by numbers, and the newest value of each flow.

mod chunk;
mod class;
mod client;
mod frame;
mod hub;
mod hubs;
mod message;
mod options;
mod position;
mod subscriptions;

#[cfg(feature = "socketio")]
pub(super) use chunk::Update;
pub(super) use frame::reply;
pub use hubs::Hubs;
pub(super) use options::{SubscribeOptions, Wire};
pub(super) use position::Position;
pub(super) use subscriptions::PushQueue;
