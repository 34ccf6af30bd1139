//! SMPTE ST 2022-1, encoder and decoder: against an ideal peeling decoder, against what ffmpeg and
//! GStreamer send, and against forgers. Seeds are printed; `TIDECAST_SEED=N` repeats one.

// A test has no API: `pub` here only means that the other modules use the item.
#![allow(unreachable_pub)]

mod captures;
mod encoder;
mod forged;
mod ideal;
mod stream;

use tidecast_testkit::{capture, lab::ideal as peeling, protected};
