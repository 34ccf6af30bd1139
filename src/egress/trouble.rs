//! Trouble that lasts: it is said at once, and then now and then, so that a log keeps room for other things.

use std::time::Instant;

use tidecast_net::limits::LOG_INTERVAL;

/// One trouble of one listener or sender.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    quiet_until: Option<Instant>,
}

impl Trouble {
    /// Whether to say that it is there.
    pub(super) fn is_news(&mut self, now: Instant) -> bool {
        let news = self.quiet_until.is_none_or(|until| now >= until);
        if news {
            self.quiet_until = Some(now + LOG_INTERVAL);
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidecast_net::clock;

    #[test]
    fn what_lasts_is_said_now_and_then() {
        let (mut trouble, now) = (Trouble::default(), clock::now());
        let said = (0..1000).filter(|tenth| trouble.is_news(now + LOG_INTERVAL / 100 * *tenth)).count();
        assert_eq!(said, 10);
    }
}
