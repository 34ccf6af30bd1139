//! Limits the datagrams with requests that one channel sends for all its flows, since attackers
//! can forge many flows.

use std::time::Instant;

use crate::limits::REQUEST_DATAGRAMS_PER_SECOND;

/// A token bucket; holds at most the tokens of a tenth of a second.
#[derive(Debug, Default)]
pub(in crate::relay) struct Pace {
    spent: f64,
    since: Option<Instant>,
}

impl Pace {
    /// Takes a token if there is one.
    pub(in crate::relay) fn take(&mut self, now: Instant) -> bool {
        let elapsed = self.since.map_or(0.0, |since| now.saturating_duration_since(since).as_secs_f64());
        self.since = Some(now);
        self.spent = (self.spent - elapsed * REQUEST_DATAGRAMS_PER_SECOND).max(0.0);
        let allowed = self.spent < REQUEST_DATAGRAMS_PER_SECOND / 10.0;
        self.spent += f64::from(u8::from(allowed));
        allowed
    }
}
