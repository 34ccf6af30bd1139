//! Every bound of the program, with its reason. A queue, map, loop or buffer without a bound here
//! is a bug.
//!
//! Each file has the bounds of one part of the program; all of them are used as `limits::NAME`. A
//! bound that several parts share is in the file of the part that would fail first. Conditions
//! between bounds are asserted beside them, so that a violation fails the build and not a relay.

mod access;
mod capture;
mod config;
mod fec;
mod http;
mod impair;
mod net;
mod observe;
mod players;
#[cfg(feature = "probe")]
mod probe;
mod process;
mod producer;
mod push;
mod record;
mod recv;
mod relay;
mod retransmission;
mod shares;
mod subscribe;
mod tap;
mod terminal;

pub use access::*;
pub use capture::*;
pub use config::*;
pub use fec::*;
pub use http::*;
pub use impair::*;
pub use net::*;
pub use observe::*;
pub use players::*;
#[cfg(feature = "probe")]
pub use probe::*;
pub use process::*;
pub use producer::*;
pub use push::*;
pub use record::*;
pub use recv::*;
pub use relay::*;
pub use retransmission::*;
pub use shares::*;
pub use subscribe::*;
pub use tap::*;
pub use terminal::*;
