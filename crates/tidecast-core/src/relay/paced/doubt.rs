//! Detects steps of the source's clock. A path can make packets late, but not early, and after a
//! stall the waiting packets arrive at once. So when packets keep arriving earlier than the
//! fastest path allows, or keep arriving as late as the first one after a pause, the source's
//! clock has made a step.

use crate::limits::{PACED_DOUBT_PACKETS, PACED_DOUBT_TIME, PACED_EARLY, PACED_EARLY_STEP, PACED_LATE_STEP};

use super::nanos;

/// Consecutive packets whose times do not fit.
#[derive(Debug, Clone, Copy)]
struct Run {
    late: bool,
    /// When the first of them arrived, and the number of entries before it.
    since: i64,
    entries: u64,
    packets: u32,
    /// The excess that a packet needs to continue the run, and the smallest excess in the run.
    bound: i64,
    least: i64,
}

/// A correction of the times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) by: i64,
    /// First entry to correct, as counted by [`Doubt::weigh`].
    pub(super) entries: u64,
}

/// Context of one excess.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    /// Usual excess.
    pub(super) typical: i64,
    pub(super) arrived: i64,
    /// Entries that came in before.
    pub(super) entries: u64,
}

#[derive(Debug, Default)]
pub(super) struct Doubt {
    run: Option<Run>,
    last: Option<i64>,
}

impl Doubt {
    /// Another time scale starts.
    pub(super) fn forget(&mut self) {
        *self = Doubt::default();
    }

    /// Whether the latest packets are in doubt.
    pub(super) fn is_open(&self) -> bool {
        self.run.is_some()
    }

    /// An entry is about to leave. If it belongs to a run of late packets, the step must be made
    /// now.
    pub(super) fn leaves(&mut self, entry: u64) -> Option<Step> {
        let run = self.run.take_if(|run| run.late && entry >= run.entries)?;
        self.forget();
        Some(Step { by: run.least, entries: run.entries })
    }

    /// Whether a packet with this excess would be in doubt as late.
    pub(super) fn doubts(&self, excess: i64, typical: i64) -> bool {
        match self.run {
            Some(run) => run.late && excess >= run.bound,
            None => self.last.is_some_and(|before| excess - before >= late(typical)),
        }
    }

    /// Takes the excess of a packet over the smallest transit time.
    pub(super) fn weigh(&mut self, excess: i64, scale: Scale) -> Option<Step> {
        let Scale { typical, arrived, entries } = scale;
        let before = self.last.replace(excess);
        self.run = self.run.filter(|run| if run.late { excess >= run.bound } else { excess <= run.bound });
        if self.run.is_none() {
            let early = -nanos(PACED_EARLY_STEP).max(typical);
            let began = Run { late: false, since: arrived, entries, packets: 0, bound: early, least: excess };
            self.run = match before {
                _ if excess <= early => Some(began),
                Some(before) if excess - before >= late(typical) => {
                    let bound = excess - nanos(PACED_LATE_STEP) / 4 - 2 * typical;
                    Some(Run { late: true, bound: bound.max(before + (excess - before) / 2), ..began })
                }
                _ => None,
            };
        }
        let run = self.run.as_mut()?;
        run.packets += 1;
        run.least = run.least.min(excess);
        let lasted = !run.late || arrived - run.since >= nanos(PACED_DOUBT_TIME);
        let sure = run.least < -nanos(PACED_EARLY) || (lasted && run.packets >= PACED_DOUBT_PACKETS);
        if !sure {
            return None;
        }
        let step = Step { by: run.least, entries: run.entries };
        self.forget();
        Some(step)
    }
}

fn late(typical: i64) -> i64 {
    nanos(PACED_LATE_STEP).max(4 * typical)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    /// The first step, and the packet that causes it. Packets are 20 ms apart unless stated
    /// otherwise.
    fn step(packets: impl IntoIterator<Item = (i64, i64)>, typical: i64) -> Option<(usize, i64, u64)> {
        let mut doubt = Doubt::default();
        packets.into_iter().enumerate().find_map(|(n, (at, excess))| {
            let scale = Scale { typical: typical * MS, arrived: at * MS, entries: n as u64 };
            doubt.weigh(excess * MS, scale).map(|step| (n, step.by / MS, step.entries))
        })
    }

    fn each_20_ms(excesses: &[i64]) -> Vec<(i64, i64)> {
        excesses.iter().enumerate().map(|(n, excess)| (n as i64 * 20, *excess)).collect()
    }

    #[test]
    fn what_stays_early_has_stepped() {
        assert_eq!(step(each_20_ms(&[0, 1, -50, -48, -51, -50]), 1), Some((5, -51, 2)));
        assert_eq!(step(each_20_ms(&[0, 1, -500]), 1), Some((2, -500, 2)), "beyond all doubt");
        assert_eq!(step(each_20_ms(&[0, -10, -12, -9, -11, -10, -8]), 1), None, "little is made good slowly");
        assert_eq!(step(each_20_ms(&[40, 0, -25, 30, -28, 10, -30, 5]), 20), None, "jitter");
    }

    #[test]
    fn what_stays_late_after_a_pause_has_stepped() {
        let stood = [(0, 1), (20, 0), (190, 150), (210, 151), (230, 149), (250, 152), (270, 151), (290, 150)];
        assert_eq!(step(stood, 1), Some((7, 149, 2)));
    }

    #[test]
    fn what_catches_up_after_a_stall_has_not() {
        let stall =
            [(0, 1), (20, 0), (190, 150), (190, 130), (191, 111), (191, 91), (192, 72), (192, 52), (200, 0)];
        assert_eq!(step(stall, 1), None);
        let waits = (0..100).map(|n| (n * 20, (n * 3).min(150)));
        assert_eq!(step(waits, 10), None, "a queue that fills");
        let loud = (0..200).map(|n| (n * 20, n * 7919 % 120));
        assert_eq!(step(loud, 60), None);
    }
}
