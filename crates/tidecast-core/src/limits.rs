//! Every bound of this crate, with its reason. A queue, map, loop or buffer without a bound here
//! is a bug.
//!
//! Conditions between bounds are asserted beside them, so that a violation fails the build and not
//! a relay.

mod config;
mod fec;
mod identify;
mod net;
mod observe;
mod paced;
mod producer;
mod relay;
mod retransmission;
mod shares;
mod wire;

pub use config::*;
pub use fec::*;
pub(crate) use identify::*;
pub(crate) use net::*;
pub(crate) use observe::*;
pub use paced::*;
pub(crate) use producer::*;
pub use relay::*;
pub use retransmission::*;
pub use shares::*;
pub use wire::*;
