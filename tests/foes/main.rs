//! Attacks on a relay that serves honest clients beside them: 20 of each transport, and a UDP
//! output, of a stream at 8 Mbit/s. None of them misses a packet, none waits long, memory stays
//! within its bound and is given back, and the relay's counters say what it refused.
//!
//! Each attack takes some seconds; `TIDECAST_FOES_SECONDS=60` makes it a minute.

mod honest;
mod questions;
mod rig;
mod shares;
mod talkers;
mod unread;
mod vanished;

use tidecast_testkit::common;
