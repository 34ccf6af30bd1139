//! The host names that clients may use for this relay.

use std::{fmt, str::FromStr};

/// A host's name, all names below one, or every name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// Every name.
    Any,
    /// This name: `tv.example`.
    Name(String),
    /// The names below this one: `*.example`.
    Below(String),
}

/// Error for text that is not a host name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected *, or a name without a port, such as tv.example or *.lan")]
pub struct HostError;

impl Host {
    /// Returns whether `name`, in lowercase and without a trailing dot, matches.
    pub fn is(&self, name: &str) -> bool {
        match self {
            Host::Any => true,
            Host::Name(known) => known == name,
            Host::Below(known) => name.strip_suffix(known.as_str()).is_some_and(|rest| rest.ends_with('.')),
        }
    }
}

impl FromStr for Host {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Host, HostError> {
        if text == "*" {
            return Ok(Host::Any);
        }
        let name = text.strip_prefix("*.").unwrap_or(text);
        let fine = |label: &str| {
            !label.is_empty() && label.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_'))
        };
        if !name.split('.').all(fine) {
            return Err(HostError);
        }
        let lower = name.to_lowercase();
        Ok(if name.len() < text.len() { Host::Below(lower) } else { Host::Name(lower) })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Any => f.write_str("*"),
            Host::Name(name) => f.write_str(name),
            Host::Below(name) => write!(f, "*.{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_whole() {
        let is = |known: &str, name: &str| known.parse::<Host>().unwrap().is(name);
        assert!(is("TV.example", "tv.example") && is("*", "evil.example") && is("*.lan", "tv.lan"));
        assert!(!is("tv.example", "xtv.example") && !is("*.lan", "lan") && !is("*.lan", "xlan"));
        for text in ["", "a..b", "tv.example:80", "http://a", "*.", "a b", "*a"] {
            assert_eq!(text.parse::<Host>(), Err(HostError), "{text}");
        }
        assert_eq!("*.LAN".parse::<Host>().unwrap().to_string(), "*.lan");
    }
}
