//! A bound on the datagrams with requests that one channel sends, over all its flows: many of them
//! may be made up.

use std::time::Instant;

use crate::limits::REQUEST_DATAGRAMS_PER_SECOND;

/// A bucket that time fills; a tenth of a second's worth at most.
#[derive(Debug, Default)]
pub(in crate::relay) struct Pace {
    spent: f64,
    since: Option<Instant>,
}

impl Pace {
    /// Whether one more may be sent.
    pub(in crate::relay) fn take(&mut self, now: Instant) -> bool {
        let elapsed = self.since.map_or(0.0, |since| now.saturating_duration_since(since).as_secs_f64());
        self.since = Some(now);
        self.spent = (self.spent - elapsed * REQUEST_DATAGRAMS_PER_SECOND).max(0.0);
        let allowed = self.spent < REQUEST_DATAGRAMS_PER_SECOND / 10.0;
        self.spent += f64::from(u8::from(allowed));
        allowed
    }
}
