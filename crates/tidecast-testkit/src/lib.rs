//! What the tests of tidecast share. Only ever a development dependency.
//!
//! [`ts`] makes transport streams by hand; with the feature `sockets`, `sockets` opens sockets on loopback and finds groups and
//! ports that no other test uses.

#[cfg(feature = "sockets")]
pub mod sockets;
pub mod ts;
