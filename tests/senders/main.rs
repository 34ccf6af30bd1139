//! What people's senders do, through the real binary: datagrams that take many numbers, producers
//! that come back, take turns or have a double, jumps of the numbers, control datagrams, and
//! captures of protocols. What comes out is compared with what was sent.

mod control;
mod doubles;
mod formats;
mod jumps;
mod players;
mod rig;
mod rounds;
mod steps;

use tidecast_testkit::{capture, common};
