//! The DSCP of an output's datagrams (DiffServ, RFC 2474): `dscp=46`, `dscp=EF`, or that of the
//! received datagrams.

use std::{fmt, str::FromStr};

/// DSCP of an output's datagrams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dscp {
    /// This value, from 0 to 63.
    Fixed(u8),
    /// The DSCP with which each datagram was received.
    Keep,
}

/// Registered names: RFC 2474, RFC 2597, RFC 3246, RFC 5865, RFC 8622.
const NAMES: [(&str, u8); 25] = [
    ("DF", 0),
    ("BE", 0),
    ("LE", 1),
    ("CS0", 0),
    ("CS1", 8),
    ("AF11", 10),
    ("AF12", 12),
    ("AF13", 14),
    ("CS2", 16),
    ("AF21", 18),
    ("AF22", 20),
    ("AF23", 22),
    ("CS3", 24),
    ("AF31", 26),
    ("AF32", 28),
    ("AF33", 30),
    ("CS4", 32),
    ("AF41", 34),
    ("AF42", 36),
    ("AF43", 38),
    ("CS5", 40),
    ("VA", 44),
    ("EF", 46),
    ("CS6", 48),
    ("CS7", 56),
];

impl FromStr for Dscp {
    type Err = ();

    fn from_str(text: &str) -> Result<Dscp, ()> {
        if text.eq_ignore_ascii_case("keep") {
            return Ok(Dscp::Keep);
        }
        let named = NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, value)| *value);
        let number = super::number::<u8>(text).filter(|value| *value < 64 && !text.is_empty());
        named.or(number).map(Dscp::Fixed).ok_or(())
    }
}

impl fmt::Display for Dscp {
    /// Writes the number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dscp::Fixed(value) => value.fmt(f),
            Dscp::Keep => f.write_str("keep"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names() {
        for (text, value) in
            [("0", 0), ("46", 46), ("63", 63), ("EF", 46), ("af41", 34), ("CS5", 40), ("LE", 1)]
        {
            assert_eq!(text.parse(), Ok(Dscp::Fixed(value)), "{text}");
            assert_eq!(Dscp::Fixed(value).to_string().parse(), Ok(Dscp::Fixed(value)));
        }
        assert_eq!("keep".parse(), Ok(Dscp::Keep));
        for text in ["", "64", "-1", "+1", "0x2e", "AF44", "gold"] {
            assert_eq!(text.parse::<Dscp>(), Err(()), "{text}");
        }
    }
}
