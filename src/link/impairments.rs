//! What a link does to packets, as a user asks for it, and which values make sense.

use std::time::Duration;

use crate::limits::{LINK_DELAY_MAX, LINK_DISTANCE_MAX};

/// What a link does to packets. The default does nothing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Impairments {
    /// The share of packets that is lost, 0 to 1.
    pub loss: f64,
    /// The mean number of consecutive losses; at 1 each packet is lost or not by itself.
    pub burst: f64,
    /// The share of the remaining packets that comes late, 0 to 1.
    pub reorder: f64,
    /// How many later packets overtake a reordered one: exactly so many, unless the input pauses before.
    /// Packets that are reordered themselves overtake nobody and are not counted.
    pub distance: u32,
    /// The share of the remaining packets that comes twice, 0 to 1.
    pub duplicate: f64,
    /// How long every packet takes.
    pub delay: Duration,
    /// How much longer than `delay` a packet may take, evenly from 0 to this. It keeps packets in order.
    pub jitter: Duration,
}

impl Default for Impairments {
    fn default() -> Impairments {
        Impairments {
            loss: 0.0,
            burst: 1.0,
            reorder: 0.0,
            distance: 1,
            duplicate: 0.0,
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
        }
    }
}

/// An impairment that no link can have.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A share is not between 0 and 1.
    #[error("{name} is {value}, expected a share from 0 to 1 (0 % to 100 %)")]
    Share {
        /// Which one.
        name: &'static str,
        /// What was given.
        value: f64,
    },
    /// The mean burst is below one packet, or not a number.
    #[error("burst is {0}, expected a mean length of at least 1 packet")]
    Burst(f64),
    /// So much loss needs longer bursts: at least one packet gets through between two of them.
    #[error(
        "a loss of {loss} in bursts of {burst} packets is not possible, expected a loss of at most {max:.4}"
    )]
    LossInBursts {
        /// The loss that was given.
        loss: f64,
        /// The mean burst that was given.
        burst: f64,
        /// The most that such bursts allow.
        max: f64,
    },
    /// The reorder distance is out of bounds.
    #[error("distance is {0} packets, expected 1 to {LINK_DISTANCE_MAX}")]
    Distance(u32),
    /// A time is too long.
    #[error("{name} is {value:?}, expected at most {LINK_DELAY_MAX:?}")]
    Time {
        /// Which one.
        name: &'static str,
        /// What was given.
        value: Duration,
    },
}

impl Impairments {
    /// The first impairment that makes no sense.
    pub fn check(&self) -> Result<(), Error> {
        let shares = [("loss", self.loss), ("reorder", self.reorder), ("duplicate", self.duplicate)];
        for (name, value) in shares {
            if !(0.0..=1.0).contains(&value) {
                return Err(Error::Share { name, value });
            }
        }
        if !(1.0..f64::INFINITY).contains(&self.burst) {
            return Err(Error::Burst(self.burst));
        }
        let max = self.burst / (self.burst + 1.0);
        if self.burst > 1.0 && self.loss > max && self.loss < 1.0 {
            return Err(Error::LossInBursts { loss: self.loss, burst: self.burst, max });
        }
        if !(1..=LINK_DISTANCE_MAX).contains(&self.distance) {
            return Err(Error::Distance(self.distance));
        }
        for (name, value) in [("delay", self.delay), ("jitter", self.jitter)] {
            if value > LINK_DELAY_MAX {
                return Err(Error::Time { name, value });
            }
        }
        Ok(())
    }

    /// The nearest possible impairments (a share that is not a number becomes 0).
    pub(super) fn clamped(self) -> Impairments {
        let share = |value: f64| if value.is_nan() { 0.0 } else { value.clamp(0.0, 1.0) };
        Impairments {
            loss: share(self.loss),
            burst: if self.burst.is_finite() { self.burst.max(1.0) } else { 1.0 },
            reorder: share(self.reorder),
            distance: self.distance.min(LINK_DISTANCE_MAX),
            duplicate: share(self.duplicate),
            delay: self.delay.min(LINK_DELAY_MAX),
            jitter: self.jitter.min(LINK_DELAY_MAX),
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
        };
        assert_eq!(bad.clamped().check(), Ok(()));
        let good = Impairments { loss: 0.3, burst: 4.0, reorder: 0.1, ..Impairments::default() };
        assert_eq!(good.clamped(), good);
    }
}
