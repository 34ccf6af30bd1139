//! Times during which nothing gets through, as when a cable is pulled or a path switches over.

use std::time::Duration;

use super::ImpairmentError;

/// Times during which nothing gets through. Packets that entered before still come out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    /// Start of the first outage, counted from the first packet that enters.
    pub from: Duration,
    /// Duration of each outage.
    pub length: Duration,
    /// Time from the start of one outage to that of the next; `None` means that it occurs once.
    pub every: Option<Duration>,
}

impl Outage {
    pub(super) fn check(&self) -> Result<(), ImpairmentError> {
        let Outage { length, every, .. } = *self;
        match every {
            _ if length.is_zero() => Err(ImpairmentError::NoOutage),
            Some(every) if every <= length => Err(ImpairmentError::EndlessOutage { every, length }),
            _ => Ok(()),
        }
    }

    /// Returns whether an outage is active at this time after the first packet.
    pub(super) fn covers(&self, since_first: Duration) -> bool {
        let Some(since) = since_first.checked_sub(self.from) else { return false };
        let phase = self.every.map_or(since.as_nanos(), |every| since.as_nanos() % every.as_nanos());
        phase < self.length.as_nanos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_begins_and_ends_when_it_should() {
        let second = Duration::from_secs(1);
        let once = Outage { from: 5 * second, length: 2 * second, every: None };
        let again = Outage { every: Some(10 * second), ..once };
        let times = |outage: Outage| (0..30_u32).filter(|n| outage.covers(second * *n)).collect::<Vec<_>>();
        assert_eq!(times(once), [5, 6]);
        assert_eq!(times(again), [5, 6, 15, 16, 25, 26]);
        assert!(!once.covers(7 * second) && once.covers(7 * second - Duration::from_nanos(1)));
    }
}
