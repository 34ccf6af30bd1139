//! Streams for programs, with the clients that people use: Node's `net`, and the npm packages ws, eventsource and
//! socket.io-client.

#[path = "../common/mod.rs"]
mod common;
mod delivery;
mod documents;
mod lines;
mod source;
