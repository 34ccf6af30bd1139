//! The impairments of a link as the user configures them, and the check of their values.

use std::time::Duration;

use super::Outage;
use crate::limits::{LINK_DELAY_MAX, LINK_DISTANCE_MAX};

/// Impairments of a link. The default has none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Impairments {
    /// Share of packets that is lost, 0 to 1.
    pub loss: f64,
    /// Mean number of consecutive losses; at 1 each packet is lost independently.
    pub burst: f64,
    /// Distribution of the lengths of bursts around that mean.
    pub bursts: Bursts,
    /// Share of the remaining packets that is reordered, 0 to 1.
    pub reorder: f64,
    /// Number of later packets that overtake a reordered one: exactly this many, unless the input
    /// pauses first. Reordered packets overtake no others and are not counted.
    pub distance: u32,
    /// Share of the remaining packets that is delayed by `late_by`, 0 to 1. All packets that
    /// arrive meanwhile overtake them.
    pub late: f64,
    /// Additional delay of these packets.
    pub late_by: Duration,
    /// Share of the remaining packets that is duplicated, 0 to 1.
    pub duplicate: f64,
    /// Delay of every packet.
    pub delay: Duration,
    /// Additional delay of a packet beyond `delay`; its meaning depends on `distribution`.
    pub jitter: Duration,
    /// Distribution of the additional delay.
    pub distribution: Distribution,
    /// Whether packets may overtake each other because of their jitter. If `false`, jitter bunches
    /// packets but keeps their order, like a queue in a router.
    pub overtake: bool,
    /// Times during which nothing gets through; `None` means never.
    pub outage: Option<Outage>,
}

/// Distribution of the lengths of loss bursts around their mean.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Bursts {
    /// As in the Gilbert-Elliott model: after each loss, the burst ends with the same probability.
    #[default]
    Geometric,
    /// All bursts have the mean length, and at least one packet gets through between two of them.
    Fixed,
}

/// Distribution of the additional delay by jitter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Distribution {
    /// Uniform from 0 to `jitter`.
    #[default]
    Uniform,
    /// Heavy-tailed, with the same mean of half of `jitter`: Pareto (type II) with shape 3 and
    /// scale `jitter`. One packet in 100 takes more than 3.6 times `jitter`, one in 1,000 more than
    /// 9 times, one in a million more than 99 times.
    Pareto,
}

impl Default for Impairments {
    fn default() -> Impairments {
        Impairments {
            loss: 0.0,
            burst: 1.0,
            bursts: Bursts::default(),
            reorder: 0.0,
            distance: 1,
            late: 0.0,
            late_by: Duration::ZERO,
            duplicate: 0.0,
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            distribution: Distribution::default(),
            overtake: false,
            outage: None,
        }
    }
}

/// An invalid impairment.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ImpairmentError {
    /// A share is not between 0 and 1.
    #[error("{name} is {value}, expected a share from 0 to 1 (0 % to 100 %)")]
    Share {
        /// Name of the share.
        name: &'static str,
        /// The given value.
        value: f64,
    },
    /// The mean burst is below one packet, or not a number.
    #[error("burst is {0}, expected a mean length of at least 1 packet")]
    Burst(f64),
    /// The fixed length of bursts is not a whole number of packets.
    #[error("burst is {0}, expected a whole number of packets for bursts of fixed length")]
    FixedBurst(f64),
    /// This loss rate requires longer bursts: at least one packet gets through between two of
    /// them.
    #[error(
        "a loss of {loss} in bursts of {burst} packets is not possible, expected a loss of at most {max:.4}"
    )]
    LossInBursts {
        /// The given loss rate.
        loss: f64,
        /// The given mean burst.
        burst: f64,
        /// Maximum loss rate with such bursts.
        max: f64,
    },
    /// The reorder distance is out of bounds.
    #[error("distance is {0} packets, expected 1 to {LINK_DISTANCE_MAX}")]
    Distance(u32),
    /// Some packets are to be delayed, but the delay is zero.
    #[error("late_by is 0, expected the time by which {0} of the packets come later")]
    LateByNothing(f64),
    /// The outage has no duration.
    #[error("outage is 0, expected how long it lasts")]
    NoOutage,
    /// The next outage starts before the previous one has ended.
    #[error("an outage comes every {every:?}, expected more than the {length:?} that it lasts")]
    EndlessOutage {
        /// Time from the start of one outage to the start of the next.
        every: Duration,
        /// Duration of each outage.
        length: Duration,
    },
    /// A time is too long.
    #[error("{name} is {value:?}, expected at most {LINK_DELAY_MAX:?}")]
    Time {
        /// Name of the time.
        name: &'static str,
        /// The given value.
        value: Duration,
    },
}

impl Impairments {
    /// Returns the first invalid impairment as an error.
    pub fn check(&self) -> Result<(), ImpairmentError> {
        self.check_shares()?;
        self.check_bursts()?;
        if !(1..=LINK_DISTANCE_MAX).contains(&self.distance) {
            return Err(ImpairmentError::Distance(self.distance));
        }
        if self.late > 0.0 && self.late_by.is_zero() {
            return Err(ImpairmentError::LateByNothing(self.late));
        }
        let times = [("delay", self.delay), ("jitter", self.jitter), ("late_by", self.late_by)];
        if let Some((name, value)) = times.into_iter().find(|(_, time)| *time > LINK_DELAY_MAX) {
            return Err(ImpairmentError::Time { name, value });
        }
        self.outage.map_or(Ok(()), |outage| outage.check())
    }

    fn check_shares(&self) -> Result<(), ImpairmentError> {
        let shares = [
            ("loss", self.loss),
            ("reorder", self.reorder),
            ("late", self.late),
            ("duplicate", self.duplicate),
        ];
        let wrong = shares.into_iter().find(|(_, value)| !(0.0..=1.0).contains(value));
        wrong.map_or(Ok(()), |(name, value)| Err(ImpairmentError::Share { name, value }))
    }

    fn check_bursts(&self) -> Result<(), ImpairmentError> {
        if !(1.0..f64::INFINITY).contains(&self.burst) {
            return Err(ImpairmentError::Burst(self.burst));
        }
        if self.bursts == Bursts::Fixed && self.burst.fract() != 0.0 {
            return Err(ImpairmentError::FixedBurst(self.burst));
        }
        let max = self.burst / (self.burst + 1.0);
        if self.burst > 1.0 && self.loss > max && self.loss < 1.0 {
            return Err(ImpairmentError::LossInBursts { loss: self.loss, burst: self.burst, max });
        }
        Ok(())
    }

    /// Returns the nearest valid impairments (a share that is not a number becomes 0).
    pub(super) fn clamped(self) -> Impairments {
        let share = |value: f64| if value.is_nan() { 0.0 } else { value.clamp(0.0, 1.0) };
        let burst = if self.burst.is_finite() { self.burst.max(1.0) } else { 1.0 };
        Impairments {
            loss: share(self.loss),
            burst: if self.bursts == Bursts::Fixed { burst.round() } else { burst },
            reorder: share(self.reorder),
            distance: self.distance.min(LINK_DISTANCE_MAX),
            late: if self.late_by.is_zero() { 0.0 } else { share(self.late) },
            late_by: self.late_by.min(LINK_DELAY_MAX),
            duplicate: share(self.duplicate),
            delay: self.delay.min(LINK_DELAY_MAX),
            jitter: self.jitter.min(LINK_DELAY_MAX),
            outage: self.outage.filter(|outage| outage.check().is_ok()),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_values_are_named() {
        let ok = Impairments::default();
        let message = |impairments: Impairments| impairments.check().unwrap_err().to_string();
        assert_eq!(ok.check(), Ok(()));
        assert_eq!(
            message(Impairments { loss: 5.0, ..ok }),
            "loss is 5, expected a share from 0 to 1 (0 % to 100 %)"
        );
        assert!(message(Impairments { reorder: f64::NAN, ..ok }).starts_with("reorder is NaN"));
        assert!(message(Impairments { duplicate: -0.1, ..ok }).starts_with("duplicate is -0.1"));
        assert_eq!(
            message(Impairments { burst: 0.5, ..ok }),
            "burst is 0.5, expected a mean length of at least 1 packet"
        );
        assert_eq!(
            message(Impairments { loss: 0.9, burst: 3.0, ..ok }),
            "a loss of 0.9 in bursts of 3 packets is not possible, expected a loss of at most 0.7500"
        );
        assert_eq!(Impairments { loss: 1.0, burst: 3.0, ..ok }.check(), Ok(()));
        assert_eq!(message(Impairments { distance: 0, ..ok }), "distance is 0 packets, expected 1 to 10000");
        assert_eq!(
            message(Impairments { jitter: Duration::from_secs(61), ..ok }),
            "jitter is 61s, expected at most 60s"
        );
        assert_eq!(
            message(Impairments { burst: 2.5, bursts: Bursts::Fixed, ..ok }),
            "burst is 2.5, expected a whole number of packets for bursts of fixed length"
        );
        assert_eq!(
            message(Impairments { late: 0.5, ..ok }),
            "late_by is 0, expected the time by which 0.5 of the packets come later"
        );
        assert!(message(Impairments { late: 1.5, ..ok }).starts_with("late is 1.5, expected a share"));
        assert_eq!(
            message(Impairments { late_by: Duration::from_secs(70), ..ok }),
            "late_by is 70s, expected at most 60s"
        );
    }

    #[test]
    fn impossible_outages_are_named() {
        let seconds = Duration::from_secs;
        let message = |length, every| {
            let outage = Some(Outage { from: Duration::ZERO, length, every });
            Impairments { outage, ..Impairments::default() }.check().map_err(|error| error.to_string())
        };
        assert_eq!(message(seconds(10), None), Ok(()));
        assert_eq!(message(seconds(10), Some(seconds(11))), Ok(()));
        assert_eq!(message(seconds(0), None), Err("outage is 0, expected how long it lasts".into()));
        let endless = "an outage comes every 10s, expected more than the 10s that it lasts";
        assert_eq!(message(seconds(10), Some(seconds(10))), Err(endless.into()));
    }

    #[test]
    fn clamping_makes_values_possible_and_keeps_possible_ones() {
        let bad = Impairments {
            loss: f64::NAN,
            burst: f64::INFINITY,
            reorder: 2.0,
            distance: u32::MAX,
            duplicate: -1.0,
            delay: Duration::MAX,
            jitter: Duration::MAX,
            bursts: Bursts::Fixed,
            late: 7.0,
            late_by: Duration::MAX,
            outage: Some(Outage { from: Duration::MAX, length: Duration::ZERO, every: None }),
            ..Impairments::default()
        };
        assert_eq!(bad.clamped().check(), Ok(()));
        let good = Impairments { loss: 0.3, burst: 4.0, reorder: 0.1, ..Impairments::default() };
        assert_eq!(good.clamped(), good);
    }
}
