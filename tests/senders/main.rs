//! Behaviour of real senders, with the real binary: datagrams that take many numbers, producers
//! that return, alternate or conflict, jumps of the numbers, control datagrams, and captures of
//! protocols. The output is compared with the sent datagrams.

mod control;
mod doubles;
mod formats;
mod jumps;
mod players;
mod rig;
mod rounds;
mod steps;

use tidecast_testkit::{capture, common};
