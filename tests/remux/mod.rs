//! What one lost packet costs behind a relay: a film, a sender that leaves one datagram out, relays
//! of several kinds that all hear it at the same time, and what a decoder makes of what each puts
//! out. `cargo bench --bench remux` and the tests with real players share it.
//!
//! The [`film`] goes from the [`sender`] to every [`subject`] and from there to a [`capture`] each,
//! all in one [`course`];
//! [`decode`] tells pictures by their content, and [`damage`] counts those that are not what was
//! sent.

// Each crate that shares it uses a part; none of them has an API.
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
