//! Medians and spreads.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Median and range of some values.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Spread {
    /// The median.
    pub(crate) median: f64,
    /// The minimum.
    pub(crate) min: f64,
    /// The maximum.
    pub(crate) max: f64,
    /// The number of values.
    pub(crate) count: usize,
}

impl Spread {
    /// Returns the spread of these values; `None` if there are none.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let (half, count) = (values.len() / 2, values.len());
        let median = if count % 2 == 1 { values[half] } else { (values[half - 1] + values[half]) / 2.0 };
        Some(Spread { median, min, max, count })
    }
}

impl fmt::Display for Spread {
    /// Writes `1.08 (1.02 to 1.15)`; a single value has no range.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", short(self.median))?;
        if self.count > 1 {
            write!(f, " ({} to {})", short(self.min), short(self.max))?;
        }
        Ok(())
    }
}

/// Formats a number with three significant digits and thousands separators.
pub(crate) fn short(value: f64) -> String {
    let size = value.abs();
    match size {
        _ if size >= 1000.0 => grouped(value.round() as i64),
        _ if size >= 100.0 => format!("{value:.0}"),
        _ if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn grouped(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0 { format!("-{text}") } else { text }
}

/// Returns the value below which this part of the sorted `values` lies.
pub(crate) fn percentile(values: &[u64], part: f64) -> f64 {
    let last = values.len().saturating_sub(1);
    let place = (part * values.len() as f64).ceil() as usize;
    values.get(place.saturating_sub(1).min(last)).map_or(f64::NAN, |value| *value as f64)
}
