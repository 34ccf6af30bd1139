//! Recent losses of a channel, by flow. Losses in quick succession form one observation.
//!
//! Pure. The packet path reports each gap that is given up to `LossLog::lost`; the channel's state
//! contains the newest observations. Counters of the same time show the cause
//! ([`crate::observe`]).

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::limits::{LOSS_MERGE, LOSSES_MAX, LOSSES_OPEN_MAX};

/// Losses of one flow in quick succession.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// Number of the observation within the channel, ascending; it stays the same in later
    /// queries.
    pub id: u64,
    /// The flow's name.
    pub flow: Arc<str>,
    /// When the first gap was given up.
    pub first: Instant,
    /// When the last gap was given up.
    pub last: Instant,
    /// Count of lost numbers.
    pub count: u64,
    /// Count of gaps, each of consecutive numbers.
    pub gaps: u64,
    /// Numbers in the longest gap.
    pub longest: u64,
    /// The first lost number.
    pub from: u64,
    /// The last lost number.
    pub to: u64,
}

/// The newest losses of a channel.
#[derive(Debug, Default)]
pub(super) struct LossLog {
    /// In order of their start; the latest ones may still grow.
    all: VecDeque<Loss>,
    next: u64,
}

impl LossLog {
    /// Numbers `from` to `from + count - 1` of a flow were given up.
    pub(super) fn lost(&mut self, now: Instant, flow: &str, from: u64, count: u64) {
        let recent = self.all.iter_mut().rev().take(LOSSES_OPEN_MAX);
        let goes_on =
            |loss: &&mut Loss| &*loss.flow == flow && now.saturating_duration_since(loss.last) < LOSS_MERGE;
        let to = from.saturating_add(count.saturating_sub(1));
        if let Some(loss) = { recent }.find(goes_on) {
            (loss.last, loss.to) = (now, to);
            loss.count += count;
            loss.gaps += 1;
            loss.longest = loss.longest.max(count);
            return;
        }
        if self.all.len() >= LOSSES_MAX {
            self.all.pop_front();
        }
        let (id, flow) = (self.next, flow.into());
        self.next += 1;
        self.all.push_back(Loss {
            id,
            flow,
            first: now,
            last: now,
            count,
            gaps: 1,
            longest: count,
            from,
            to,
        });
    }

    /// The newest losses, in order of their start.
    pub(super) fn all(&self) -> Vec<Loss> {
        self.all.iter().cloned().collect()
    }
}

impl Loss {
    /// How long ago it started and ended.
    pub fn ago(&self, now: Instant) -> (Duration, Duration) {
        (now.saturating_duration_since(self.first), now.saturating_duration_since(self.last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidecast_net::clock;

    #[test]
    fn losses_that_follow_each_other_are_one_and_flows_are_apart() {
        let (start, mut log) = (clock::now(), LossLog::default());
        let at = |millis| start + Duration::from_millis(millis);
        log.lost(at(0), "7", 100, 3);
        log.lost(at(200), "8", 5, 1);
        log.lost(at(400), "7", 110, 2);
        log.lost(at(400) + LOSS_MERGE, "7", 200, 1);
        let all = log.all();
        let short: Vec<_> =
            all.iter().map(|l| (l.id, &*l.flow, l.from, l.to, l.count, l.gaps, l.longest)).collect();
        assert_eq!(
            short,
            [(0, "7", 100, 111, 5, 2, 3), (1, "8", 5, 5, 1, 1, 1), (2, "7", 200, 200, 1, 1, 1)]
        );
        assert_eq!(all[0].ago(at(1000)), (Duration::from_secs(1), Duration::from_millis(600)));
    }

    #[test]
    fn memory_is_bounded_and_the_newest_stay() {
        let (now, mut log) = (clock::now(), LossLog::default());
        for i in 0..5 * LOSSES_MAX as u64 {
            log.lost(now, &i.to_string(), i, 1);
        }
        let all = log.all();
        assert_eq!(all.len(), LOSSES_MAX);
        assert_eq!(all.last().map(|loss| loss.id), Some(5 * LOSSES_MAX as u64 - 1));
    }
}
