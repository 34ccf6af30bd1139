//! Position of a client of server-sent events: the id of an event, which a browser sends when it
//! reconnects.

use std::{fmt, str::FromStr};

/// Position of an event in its class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::serve) struct Position {
    /// Start of the class, in microseconds since the Unix epoch: events of another class or run
    /// are numbered separately.
    pub(super) epoch: u64,
    /// The event's number, from 1.
    pub(super) number: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{}", self.epoch, self.number)
    }
}

impl FromStr for Position {
    type Err = ();

    fn from_str(text: &str) -> Result<Position, ()> {
        let (epoch, number) = text.split_once('-').ok_or(())?;
        let epoch = u64::from_str_radix(epoch, 16).map_err(|_| ())?;
        Ok(Position { epoch, number: number.parse().map_err(|_| ())? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_back_as_they_were_given_out() {
        let position = Position { epoch: 0x6_3f00_1234, number: 41 };
        assert_eq!(position.to_string().parse(), Ok(position));
        for text in ["", "1", "x-1", "1-x", "1-", "-1", "1-2-3", "fffffffffffffffff-1"] {
            assert_eq!(text.parse::<Position>(), Err(()), "{text}");
        }
    }
}
