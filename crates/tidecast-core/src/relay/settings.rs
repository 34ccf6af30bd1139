//! Parses and prints the core's settings.

use std::{fmt, str::FromStr};

use super::{Delay, Fec, Hold, Release, Retransmission};
use crate::limits::{HOLD_CONFIG_MAX, PACED_DELAY_CONFIG_MAX};

/// Text that is not a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected auto or a duration from 0s to {}, such as 80ms",
    humantime::format_duration(HOLD_CONFIG_MAX)
)]
pub struct HoldError;

impl FromStr for Hold {
    type Err = HoldError;

    fn from_str(text: &str) -> Result<Hold, HoldError> {
        match text {
            "auto" => Ok(Hold::default()),
            text => humantime::parse_duration(text)
                .ok()
                .filter(|hold| *hold <= HOLD_CONFIG_MAX)
                .map(Hold::Fixed)
                .ok_or(HoldError),
        }
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = humantime::format_duration;
        match *self {
            Hold::Auto { min, max } => write!(f, "auto ({} to {})", time(min), time(max)),
            Hold::Fixed(hold) => time(hold).fmt(f),
        }
    }
}

/// Text that is not a release mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected asap or paced")]
pub struct ReleaseError;

impl FromStr for Release {
    type Err = ReleaseError;

    /// `paced` selects the automatic delay.
    fn from_str(text: &str) -> Result<Release, ReleaseError> {
        match text {
            "asap" => Ok(Release::Asap),
            "paced" => Ok(Release::Paced(Delay::Auto)),
            _ => Err(ReleaseError),
        }
    }
}

/// Text that is not a delay of paced release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected auto or a duration from 0s to {}, such as 200ms",
    humantime::format_duration(PACED_DELAY_CONFIG_MAX)
)]
pub struct DelayError;

impl FromStr for Delay {
    type Err = DelayError;

    fn from_str(text: &str) -> Result<Delay, DelayError> {
        let fixed =
            |text| humantime::parse_duration(text).ok().filter(|delay| *delay <= PACED_DELAY_CONFIG_MAX);
        match text {
            "auto" => Ok(Delay::Auto),
            text => fixed(text).map(Delay::Fixed).ok_or(DelayError),
        }
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Release::Asap => f.write_str("asap"),
            Release::Paced(Delay::Auto) => f.write_str("paced by auto"),
            Release::Paced(Delay::Fixed(delay)) => {
                write!(f, "paced by {}", humantime::format_duration(*delay))
            }
        }
    }
}

/// Text that is not an FEC mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected off, auto or st2022-1")]
pub struct FecError;

impl FromStr for Fec {
    type Err = FecError;

    fn from_str(text: &str) -> Result<Fec, FecError> {
        match text {
            "off" => Ok(Fec::Off),
            "auto" => Ok(Fec::Auto),
            "st2022-1" => Ok(Fec::St2022),
            _ => Err(FecError),
        }
    }
}

impl fmt::Display for Fec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fec::Off => "off",
            Fec::Auto => "auto",
            Fec::St2022 => "st2022-1",
        })
    }
}

/// Text that is not a retransmission mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected off, auto (rist:// inputs ask) or on (native producers are asked, too)")]
pub struct RetransmissionError;

impl FromStr for Retransmission {
    type Err = RetransmissionError;

    fn from_str(text: &str) -> Result<Retransmission, RetransmissionError> {
        match text {
            "off" => Ok(Retransmission::Off),
            "auto" => Ok(Retransmission::Auto),
            "on" => Ok(Retransmission::On),
            _ => Err(RetransmissionError),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn holds_are_read_and_shown() {
        assert_eq!("auto".parse(), Ok(Hold::default()));
        assert_eq!("0".parse(), Ok(Hold::Fixed(Duration::ZERO)));
        assert_eq!("10s".parse(), Ok(Hold::Fixed(Duration::from_secs(10))));
        assert_eq!("10001ms".parse::<Hold>(), Err(HoldError));
        assert_eq!(Hold::default().to_string(), "auto (20ms to 500ms)");
        assert_eq!(Hold::Fixed(Duration::from_millis(80)).to_string(), "80ms");
    }
}
