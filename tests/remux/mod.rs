//! The damage of one lost packet after a relay: a film, a sender that leaves one datagram out,
//! relays of several kinds that all receive it at the same time, and a decoder for the output of
//! each. `cargo bench --bench remux` and the tests with real players share it.
//!
//! The [`film`] goes from the [`sender`] to every [`subject`] and from there to a [`capture`]
//! each, all in one [`course`]; [`decode`] identifies pictures by their content, and [`damage`]
//! counts those that are not as sent.

// Each crate that shares this module uses a part of it; none of them has an API.
#![allow(dead_code, unreachable_pub, unused_imports)]

pub mod capture;
pub mod course;
pub mod damage;
pub mod decode;
pub mod extras;
pub mod film;
pub mod sender;
pub mod subject;

pub use capture::Captured;
pub use course::{Course, Delivered, Shown};
pub use damage::Damage;
pub use decode::{Decoded, Frame};
pub use film::Film;
pub use subject::Subject;
