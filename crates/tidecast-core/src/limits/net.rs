//! Sockets and the packet path: what one turn takes, so that no leg and no output keeps the others
//! waiting.

use std::time::Duration;

/// How long a copy of an RTCP report on another leg may be behind: class D of SMPTE ST 2022-7 and
/// more. Reports of one sender are seconds apart, and never the same.
pub(crate) const REPORT_COPY_AGE: Duration = Duration::from_secs(1);
/// RTCP reports that are known again: those of a second of a few hundred streams.
pub(crate) const REPORT_COPIES_MAX: usize = 512;
