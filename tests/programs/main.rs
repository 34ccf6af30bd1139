//! Streams for programs, with clients in common use: Node's `net`, and the npm packages ws,
//! eventsource and socket.io-client.

mod delivery;
mod documents;
mod lines;
mod source;

use tidecast_testkit::common;
