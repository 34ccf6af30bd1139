//! SMPTE ST 2022-1, encoder and decoder: against an ideal peeling decoder, against what ffmpeg and GStreamer send, and
//! against forgers. Seeds are printed; `TIDECAST_SEED=N` repeats one.

// A test has no API: `pub` here means only that the other modules use it.
#![allow(unreachable_pub)]

#[path = "../common/capture.rs"]
mod capture;
mod captures;
mod encoder;
mod forged;
mod ideal;
#[path = "../lab/ideal.rs"]
mod peeling;
#[path = "../common/protected.rs"]
mod protected;
mod stream;
