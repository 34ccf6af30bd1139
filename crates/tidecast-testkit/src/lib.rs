//! What the tests of tidecast share. Only ever a development dependency.
//!
//! [`ts`] makes transport streams by hand. The other modules come with features: `sockets` opens
//! sockets on loopback and finds groups and ports that no other test uses; `common` runs the
//! program itself and what it talks to; `lab` has models of links, of codes and of an ideal
//! receiver, for simulations.

#[cfg(feature = "common")]
pub mod capture;
pub mod clock;
#[cfg(feature = "common")]
pub mod clocks;
#[cfg(feature = "common")]
pub mod common;
#[cfg(feature = "common")]
pub mod examples;
#[cfg(feature = "lab")]
pub mod lab;
#[cfg(feature = "common")]
pub mod lossy;
#[cfg(feature = "common")]
pub mod protected;
#[cfg(feature = "sockets")]
pub mod sockets;
pub mod ts;
