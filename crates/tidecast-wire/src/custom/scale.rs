//! Numbers that depend on previous datagrams: the position of a datagram among those of its stream
//! follows from what came before it. The owner of a stream keeps its [`Scale`].

use super::{Body, Packet, Place};

mod parts;
mod records;
mod terms;

use parts::Parts;
use records::Records;
use terms::Terms;

/// State of a stream's numbering.
#[derive(Debug)]
pub struct Scale(ScaleKind);

#[derive(Debug)]
enum ScaleKind {
    Parts(Parts),
    Terms(Terms),
    Records(Records),
}

/// Position of a datagram in its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scaled {
    /// It takes `step` numbers from `number` on. With a step of 0 it takes none, and announces
    /// `number` as the next.
    Numbers {
        /// The first number.
        number: u64,
        /// Count of numbers.
        step: u64,
        /// Preceding numbers, from the first on, of another datagram whose count was unknown.
        taken: Option<(u64, u64)>,
    },
    /// The position cannot be determined.
    Unknown,
}

impl Scale {
    /// Creates the state for the stream of this datagram. `None` if its number is sufficient.
    pub fn of(packet: &Packet<'_>) -> Option<Scale> {
        Some(Scale(match packet.place {
            Place::Plain => return None,
            Place::Part { .. } => ScaleKind::Parts(Parts::new(packet.wire)),
            Place::Term(_) => ScaleKind::Terms(Terms::default()),
            Place::Records => ScaleKind::Records(Records::default()),
        }))
    }

    /// Returns the position of the stream's next datagram.
    pub fn place(&mut self, packet: &Packet<'_>) -> Scaled {
        if !matches!(packet.body, Body::Numbered | Body::Ends) {
            return Scaled::Unknown;
        }
        let known = |number, step| Scaled::Numbers { number, step, taken: None };
        match (&mut self.0, packet.place) {
            (ScaleKind::Parts(parts), Place::Part { index, count }) => {
                let number = parts.place(packet.number, index, count);
                number.map_or(Scaled::Unknown, |number| known(number, 1))
            }
            (ScaleKind::Terms(terms), Place::Term(term)) => {
                let number = terms.place(term, packet.number, packet.step);
                number.map_or(Scaled::Unknown, |number| known(number, packet.step))
            }
            (ScaleKind::Records(records), Place::Records) => {
                records.place(packet.number, packet.wire, packet.bytes)
            }
            _ => Scaled::Unknown,
        }
    }
}
