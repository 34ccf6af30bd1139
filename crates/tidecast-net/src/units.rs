//! Parses quantities as users write them: `80ms`, `0.5%`, `64MiB`, `8M` bits or `500pps`.
//!
//! It converts text to numbers, for both the command line and the configuration file. Every error
//! states the expected form; the caller adds where the text was.

use std::str::FromStr;
use std::time::Duration;

/// Error for text that is not such a quantity; the message states the expected form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}")]
pub struct UnitError {
    /// The expected form, with examples.
    pub expected: &'static str,
}

const DURATION: UnitError = UnitError { expected: "a duration such as 80ms, 10s or \"1m 30s\"" };
const POSITIVE_DURATION: UnitError =
    UnitError { expected: "a duration above zero, such as 80ms, 10s or \"1m 30s\"" };
const FRACTION: UnitError = UnitError { expected: "a percentage from 0% to 100%, such as 0.5%" };
const BYTES: UnitError = UnitError { expected: "a number of bytes such as 1316, 64KiB or 8MB" };
const RATE: UnitError =
    UnitError { expected: "bits per second such as 8M or 500k, or packets per second such as 500pps" };

/// Parses a duration with its unit; `0` needs none.
///
/// # Errors
/// Text that does not match humantime's grammar.
pub fn duration(text: &str) -> Result<Duration, UnitError> {
    humantime::parse_duration(text).map_err(|_| DURATION)
}

/// Parses a duration above zero.
///
/// # Errors
/// As for [`duration`], and zero.
pub fn positive_duration(text: &str) -> Result<Duration, UnitError> {
    match humantime::parse_duration(text) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err(POSITIVE_DURATION),
    }
}

/// Parses a percentage as a fraction from 0 to 1. The percent sign is required (only `0` is
/// unambiguous without it).
///
/// # Errors
/// The number or the sign is missing, or the value is outside 0% to 100%.
pub fn fraction(text: &str) -> Result<f64, UnitError> {
    let number = match text.strip_suffix('%') {
        Some(number) => number.trim_end(),
        None if text == "0" => text,
        None => return Err(FRACTION),
    };
    decimal(number).filter(|percent| *percent <= 100.0).map(|percent| percent / 100.0).ok_or(FRACTION)
}

/// Parses a number of bytes: plain, or with `k`, `M`, `G` (powers of 1000) or `Ki`, `Mi`, `Gi`
/// (powers of 1024), optionally followed by `B`.
///
/// # Errors
/// The number is missing, the unit is unknown, or the value is too large.
pub fn bytes(text: &str) -> Result<usize, UnitError> {
    let (number, unit) = cut_unit(text);
    let unit = unit.strip_suffix(['B', 'b']).unwrap_or(unit);
    let scale: f64 = match unit {
        "" => 1.0,
        "k" | "K" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "Ki" | "ki" => 1024.0,
        "Mi" => 1024.0 * 1024.0,
        "Gi" => 1024.0 * 1024.0 * 1024.0,
        _ => return Err(BYTES),
    };
    let count = decimal(number).map(|number| number * scale).filter(|count| *count <= MAX_EXACT);
    count.filter(|count| count.fract() == 0.0).map(|count| count as usize).ok_or(BYTES)
}

/// Writes a number of bytes in the largest unit in which it is a whole number, in the form that
/// [`bytes()`] reads.
pub fn display_bytes(count: usize) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let whole = units.into_iter().find(|(scale, _)| count > 0 && count.is_multiple_of(*scale));
    match whole {
        Some((scale, unit)) => format!("{}{unit}", count / scale),
        None => count.to_string(),
    }
}

/// Largest whole number up to which a floating-point value represents every whole number exactly
/// (2^53).
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

/// Rate at which datagrams are sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rate {
    /// Payload bits per second.
    Bits(f64),
    /// Datagrams per second.
    Packets(f64),
}

impl FromStr for Rate {
    type Err = UnitError;

    /// Parses `8M`, `500k`, `1.5Mbit/s` (bits per second, powers of 1000) or `500pps`, `2kpps`;
    /// always above zero.
    fn from_str(text: &str) -> Result<Rate, UnitError> {
        let (number, unit) = cut_unit(text);
        let (unit, packets) = match unit.strip_suffix("pps") {
            Some(unit) => (unit, true),
            None => (strip_bits(unit), false),
        };
        let scale = match unit {
            "" => 1.0,
            "k" | "K" => 1e3,
            "M" => 1e6,
            "G" => 1e9,
            _ => return Err(RATE),
        };
        let rate = decimal(number).map(|number| number * scale).filter(|rate| *rate > 0.0).ok_or(RATE)?;
        Ok(if packets { Rate::Packets(rate) } else { Rate::Bits(rate) })
    }
}

fn strip_bits(unit: &str) -> &str {
    ["bit/s", "bps", "bit", "b"].into_iter().find_map(|suffix| unit.strip_suffix(suffix)).unwrap_or(unit)
}

/// Splits the text where the digits end and the unit starts.
fn cut_unit(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim_start())
}

/// Parses digits with at most one decimal point: no sign, exponent, infinity or NaN.
fn decimal(text: &str) -> Option<f64> {
    let plain = text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    plain.then(|| text.parse().ok()).flatten().filter(|number: &f64| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration("80ms"), Ok(Duration::from_millis(80)));
        assert_eq!(duration("1m 30s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        for text in ["fast", "", "80", "-1s", "1e9s", "99999999999999999999s"] {
            assert_eq!(duration(text), Err(DURATION), "{text}");
        }
        assert_eq!(positive_duration("10s"), Ok(Duration::from_secs(10)));
        for text in ["0", "0s", "fast"] {
            assert_eq!(positive_duration(text), Err(POSITIVE_DURATION), "{text}");
        }
    }

    #[test]
    fn fractions() {
        for (text, value) in [("0", 0.0), ("0%", 0.0), ("5%", 0.05), ("0.1%", 0.001), ("100 %", 1.0)] {
            assert_eq!(fraction(text), Ok(value), "{text}");
        }
        for text in ["", "%", "5", "0.05", "-1%", "101%", "inf%", "nan%", "1e1%", "1.2.3%", ".5%"] {
            assert_eq!(fraction(text), Err(FRACTION), "{text}");
        }
    }

    #[test]
    fn byte_counts() {
        for (text, value) in [
            ("1316", 1316),
            ("0", 0),
            ("1k", 1000),
            ("64KiB", 65536),
            ("64 MiB", 67_108_864),
            ("1.5M", 1_500_000),
            ("2GB", 2_000_000_000),
        ] {
            assert_eq!(bytes(text), Ok(value), "{text}");
            assert_eq!(bytes(&display_bytes(value)), Ok(value), "{text}");
        }
        assert_eq!(display_bytes(64 << 20), "64MiB");
        for text in ["", "B", "-1", "1.5", "0.0001k", "8X", "8MBit", "99999999999999999999", "9999999999G"] {
            assert_eq!(bytes(text), Err(BYTES), "{text}");
        }
    }

    #[test]
    fn rates() {
        for (text, value) in [
            ("8M", Rate::Bits(8e6)),
            ("500k", Rate::Bits(500e3)),
            ("1.5Mbit/s", Rate::Bits(1.5e6)),
            ("9600", Rate::Bits(9600.0)),
            ("500pps", Rate::Packets(500.0)),
            ("2 kpps", Rate::Packets(2000.0)),
            ("0.5pps", Rate::Packets(0.5)),
        ] {
            assert_eq!(text.parse(), Ok(value), "{text}");
        }
        for text in ["", "fast", "0", "0pps", "-8M", "8X", "pps", "8Mpbs"] {
            assert_eq!(text.parse::<Rate>(), Err(RATE), "{text}");
        }
    }
}
