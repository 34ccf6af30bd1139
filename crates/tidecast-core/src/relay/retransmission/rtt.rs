//! Round trip to a producer, smoothed as in RFC 6298 (section 2), and the time to wait for an
//! answer.

use std::time::Duration;

use crate::limits::{RETRY_MIN, RETRY_SLACK_SHARE, RETRY_START, ROUND_TRIP_MAX};

/// Measurements of one round trip.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::relay) struct RoundTrip {
    /// SRTT and RTTVAR of RFC 6298.
    measured: Option<(Duration, Duration)>,
    /// The last sample was far above the average. It counts only if the next one is as well, since
    /// an answer may be forged, or belong to another request.
    outlier: bool,
}

impl RoundTrip {
    /// Takes the time between a request and its answer. More than the longest hold is not a valid
    /// sample.
    pub(in crate::relay) fn sample(&mut self, took: Duration) {
        if took > ROUND_TRIP_MAX {
            return;
        }
        let above = |(smoothed, variation): (Duration, Duration)| {
            took > (smoothed + variation * 4).max(RETRY_MIN) * 2
        };
        let outlier = self.measured.is_some_and(above) && !self.outlier;
        self.outlier = outlier;
        if outlier {
            return;
        }
        self.measured = Some(match self.measured {
            None => (took, took / 2),
            Some((smoothed, variation)) => {
                ((smoothed * 7 + took) / 8, (variation * 3 + smoothed.abs_diff(took)) / 4)
            }
        });
    }

    /// The smoothed round trip, once measured.
    pub(in crate::relay) fn get(&self) -> Option<Duration> {
        self.measured.map(|(smoothed, _)| smoothed)
    }

    /// Time after which a request counts as lost (RTO). It allows for less variation than RFC
    /// 6298, because the time for requests is limited.
    pub(in crate::relay) fn retry(&self) -> Duration {
        let slack = |smoothed: Duration, variation: Duration| {
            (variation * 4).min(smoothed / RETRY_SLACK_SHARE).max(RETRY_MIN / 2)
        };
        self.measured
            .map_or(RETRY_START, |(smoothed, variation)| smoothed + slack(smoothed, variation))
            .max(RETRY_MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn is_smoothed_as_in_rfc_6298() {
        let mut trip = RoundTrip::default();
        assert_eq!((trip.get(), trip.retry()), (None, RETRY_START));
        trip.sample(80 * MS);
        assert_eq!((trip.get(), trip.retry()), (Some(80 * MS), 90 * MS));
        trip.sample(160 * MS);
        assert_eq!((trip.get(), trip.retry()), (Some(90 * MS), 90 * MS * 9 / 8));
        trip.sample(Duration::MAX);
        assert_eq!(trip.get(), Some(90 * MS), "no answer at all");
        trip.sample(900 * MS);
        assert_eq!(trip.get(), Some(90 * MS), "one alone, far above");
        trip.sample(900 * MS);
        assert!(trip.get() > Some(180 * MS), "so it is");
    }

    #[test]
    fn a_short_one_is_not_asked_for_more_often_than_the_packet_path_turns() {
        let mut trip = RoundTrip::default();
        (0..100).for_each(|_| trip.sample(MS / 10));
        assert_eq!(trip.retry(), RETRY_MIN);
    }
}
