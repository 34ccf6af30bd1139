//! Sockets and packet path: bounds of one turn, so that no leg and no output keeps the others
//! waiting.

use std::time::Duration;

/// Maximum lag of a copy of an RTCP report on another leg: more than class D of SMPTE ST 2022-7.
/// Reports of one sender are seconds apart, and always differ.
pub(crate) const REPORT_COPY_AGE: Duration = Duration::from_secs(1);
/// Maximum remembered RTCP reports: those of a few hundred streams in one second.
pub(crate) const REPORT_COPIES_MAX: usize = 512;
