//! A laboratory for loss recovery: a sender with the real encoders, seeded links, the whole core
//! on a simulated clock, an observer that checks each output, and the results of theory and of an
//! ideal decoder for the same losses. The simulation and `cargo bench --bench recovery` share it.
//!
//! A packet goes from [`sender`] over the links of [`course`] into the relay, and from there to
//! the [`observer`]; [`ideal`] gets every packet that passed the links, [`theory`] uses only the
//! model of the losses.

// Each crate that shares a module uses a part of it; none of them has an API.
pub mod course;
pub mod ideal;
pub mod observer;
pub mod protection;
pub mod sender;
pub mod theory;

pub use course::{Course, Outcome};
pub use protection::{Code, Protection};
