//! Streams for programs: each packet with its flow, number and timestamp, and every gap by name;
//! over TCP ([`super::tcp`]), WebSocket, server-sent events and Socket.IO ([`super::http`]).
//!
//! A stream with subscribers has a hub, a task that reads the channel's records
//! ([`crate::channel::tap`]). Subscribers with the same options form a class: their messages are
//! encoded once and share memory. Each has a bounded queue before its socket. The queue of a slow
//! client is dropped; the client then gets the numbers that it missed, and the newest value of
//! each flow.

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
