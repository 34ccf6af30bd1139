//! Trouble that lasts is logged at once, and then now and then, so that a log keeps room for other
//! things.

use std::time::Instant;

use crate::limits::LOG_INTERVAL;

/// Bounds the log lines about one kind of trouble of one leg, output, listener or sender: one line
/// per [`LOG_INTERVAL`].
#[derive(Debug, Clone, Default)]
pub struct LogLimiter {
    quiet_until: Option<Instant>,
    suppressed: u64,
}

impl LogLimiter {
    /// Whether a line may be logged now; for those who first look whether there is anything to say.
    pub fn is_open(&self, now: Instant) -> bool {
        self.quiet_until.is_none_or(|until| now >= until)
    }

    /// Whether to log a line now. If so, no other one may be logged for [`LOG_INTERVAL`].
    pub fn admits(&mut self, now: Instant) -> bool {
        self.admit(now).is_some()
    }

    /// [`LogLimiter::admits`], with the number of lines that were suppressed since the last one
    /// that was logged.
    pub fn admit(&mut self, now: Instant) -> Option<u64> {
        if !self.is_open(now) {
            self.suppressed += 1;
            return None;
        }
        self.quiet_until = Some(now + LOG_INTERVAL);
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn what_lasts_is_logged_now_and_then() {
        let (mut limiter, now) = (LogLimiter::default(), clock::now());
        let tenths = (0..1000).map(|tenth| now + LOG_INTERVAL / 100 * tenth);
        let logged: Vec<u64> = tenths.filter_map(|now| limiter.admit(now)).collect();
        assert_eq!(logged, [0, 99, 99, 99, 99, 99, 99, 99, 99, 99]);
    }

    #[test]
    fn a_look_suppresses_nothing() {
        let (mut limiter, now) = (LogLimiter::default(), clock::now());
        assert!(limiter.is_open(now) && limiter.admits(now) && !limiter.is_open(now));
        assert_eq!(limiter.admit(now + LOG_INTERVAL), Some(0));
    }
}
