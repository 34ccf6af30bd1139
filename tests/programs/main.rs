//! Streams for programs, with the clients that people use: Node's `net`, and the npm packages ws,
//! eventsource and socket.io-client.

mod delivery;
mod documents;
mod lines;
mod source;

use tidecast_testkit::common;
