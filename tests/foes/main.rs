//! Attacks on a relay that serves honest clients at the same time: 20 of each transport, and a UDP
//! output, of a stream at 8 Mbit/s. No honest client misses a packet or waits long, memory stays
//! within its limit and is returned, and the relay's counters show the refused requests.
//!
//! Each attack takes some seconds; `TIDECAST_FOES_SECONDS=60` extends it to a minute.

mod honest;
mod questions;
mod rig;
mod shares;
mod talkers;
mod unread;
mod vanished;

use tidecast_testkit::common;
