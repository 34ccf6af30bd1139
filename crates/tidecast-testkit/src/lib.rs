//! Helpers shared by the tests of tidecast. Used only as a development dependency.
//!
//! [`ts`] builds transport streams. The other modules are enabled by features: `sockets` opens
//! sockets on loopback and finds groups and ports that no other test uses; `common` runs the
//! program itself and the programs it communicates with; `terminal` runs them in a terminal; `lab`
//! has models of links, of codes and of an ideal receiver, for simulations.

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
#[cfg(feature = "terminal")]
pub mod terminal;
pub mod ts;
