//! What goes out: [`udp`] targets, and [`tap`]s for everything that reads a stream instead: players over [`http`],
//! programs over [`tcp`], WebSocket, server-sent events and Socket.IO.
//! The packet path hands over what the relay delivered; each subscriber has its own bounded queue.

pub mod http;
pub mod listen;
pub mod push;
pub mod tcp;
