//! What goes out: [`udp`] targets, and [`tap`]s for everything that reads a stream instead.
//! The packet path hands over what the relay delivered; each subscriber has its own bounded queue.

pub mod follow;
pub mod http;
pub mod rtp;
pub mod subscribers;
pub mod tap;
pub mod udp;
