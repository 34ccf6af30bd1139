//! Limits failed attempts of each host: a bucket that leaks.

use std::{collections::HashMap, time::Instant};

use crate::{
    limits::{ATTEMPT_FORGOTTEN, ATTEMPT_HOSTS_MAX, ATTEMPTS_MAX},
    shares::Caller,
};

/// When the last failed attempt of each host is forgotten.
#[derive(Debug, Default)]
pub(super) struct Attempts(HashMap<Caller, Instant>);

impl Attempts {
    /// Counts a failed attempt. Returns whether there were too many before it.
    pub(super) fn failed(&mut self, now: Instant, caller: Caller) -> bool {
        let known = self.0.get(&caller).copied().filter(|until| *until > now);
        let until = known.unwrap_or(now) + ATTEMPT_FORGOTTEN;
        if until > now + ATTEMPT_FORGOTTEN * ATTEMPTS_MAX {
            return true;
        }
        if known.is_none() && self.0.len() >= ATTEMPT_HOSTS_MAX {
            self.forget(now);
        }
        self.0.insert(caller, until);
        false
    }

    /// Makes room: forgets what is over, otherwise the host that is forgotten first.
    fn forget(&mut self, now: Instant) {
        self.0.retain(|_, until| *until > now);
        if self.0.len() >= ATTEMPT_HOSTS_MAX
            && let Some(first) = self.0.iter().min_by_key(|(_, until)| **until).map(|(caller, _)| *caller)
        {
            self.0.remove(&first);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, time::Duration};

    use super::*;
    use tidecast_net::clock;

    fn host(number: u32) -> Caller {
        Caller::at(Ipv4Addr::from_bits(0x0A00_0000 + number).into())
    }

    #[test]
    fn ten_at_once_and_one_each_six_seconds() {
        let (mut attempts, start) = (Attempts::default(), clock::now());
        for _ in 0..10 {
            assert!(!attempts.failed(start, host(1)));
        }
        assert!(attempts.failed(start, host(1)) && attempts.failed(start, host(1)));
        assert!(!attempts.failed(start, host(2)), "another host");
        assert!(!attempts.failed(start, Caller::Own), "this host has no more and no less");
        let later = start + Duration::from_secs(6);
        assert!(!attempts.failed(later, host(1)) && attempts.failed(later, host(1)));
        let much_later = start + Duration::from_secs(600);
        for _ in 0..10 {
            assert!(!attempts.failed(much_later, host(1)));
        }
        assert!(attempts.failed(much_later, host(1)));
    }

    #[test]
    fn many_hosts_take_bounded_memory() {
        let (mut attempts, start) = (Attempts::default(), clock::now());
        for _ in 0..10 {
            attempts.failed(start, host(0));
        }
        for number in 1..2 * ATTEMPT_HOSTS_MAX as u32 {
            attempts.failed(start, host(number));
        }
        assert_eq!(attempts.0.len(), ATTEMPT_HOSTS_MAX);
        assert!(attempts.failed(start, host(0)), "the one that failed most is kept");
    }
}
