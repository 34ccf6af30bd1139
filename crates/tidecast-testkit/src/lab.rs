//! The recovery laboratory: a sender with the real encoders, seeded links and the whole core on a
//! made-up clock, an observer that checks each output, and what theory and an ideal decoder say of
//! the same losses. The simulation and `cargo bench --bench recovery` share it.
//!
//! A packet goes from [`sender`] over the links of [`course`] into the relay, and from there to the
//! [`observer`];
//! [`ideal`] hears of everything that came through, [`theory`] knows only the model.

// Each crate that shares it uses a part; none of them has an API.
pub mod course;
pub mod ideal;
pub mod observer;
pub mod protection;
pub mod sender;
pub mod theory;

pub use course::{Course, Outcome};
pub use protection::{Code, Protection};
