//! Origins (RFC 6454) whose pages may subscribe, as browsers write them.

use std::{fmt, str::FromStr};

/// An origin, or all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Every page, including one from a file.
    Any,
    /// Pages of this origin: `https://dash.example:8443`.
    One(String),
}

/// Error for text that is not an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected * or an origin without a path, such as https://dash.example or http://10.0.0.5:3000")]
pub struct OriginError;

impl Origin {
    /// Returns whether a browser's `Origin` header matches.
    pub fn is(&self, origin: &str) -> bool {
        match self {
            Origin::Any => true,
            Origin::One(known) => known.eq_ignore_ascii_case(origin),
        }
    }
}

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Origin, OriginError> {
        if text == "*" {
            return Ok(Origin::Any);
        }
        let host =
            text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")).ok_or(OriginError)?;
        let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
        let is_host = !host.is_empty() && host.chars().all(fine);
        if is_host { Ok(Origin::One(text.to_owned())) } else { Err(OriginError) }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Any => f.write_str("*"),
            Origin::One(origin) => f.write_str(origin),
        }
    }
}
