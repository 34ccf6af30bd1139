//! Numbers that one datagram does not tell alone: which number it has among those of its stream
//! follows from what came before it. The owner of a stream keeps its [`Scale`].

use super::{Body, Packet, Place};

mod parts;
mod records;
mod terms;

use parts::Parts;
use records::Records;
use terms::Terms;

/// What a stream's datagrams have shown of how its numbers run.
#[derive(Debug)]
pub struct Scale(ScaleKind);

#[derive(Debug)]
enum ScaleKind {
    Parts(Parts),
    Terms(Terms),
    Records(Records),
}

/// Where a datagram stands among its stream's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scaled {
    /// It takes so many numbers from this one on. 0: it takes none, and says that this one is the
    /// next.
    Numbers {
        /// The first number.
        number: u64,
        /// How many.
        step: u64,
        /// Numbers before it, from the first on, that another datagram took without telling how
        /// many.
        taken: Option<(u64, u64)>,
    },
    /// That cannot be told.
    Unknown,
}

impl Scale {
    /// For the stream of this datagram. None: its number tells all.
    pub fn of(packet: &Packet<'_>) -> Option<Scale> {
        Some(Scale(match packet.place {
            Place::Plain => return None,
            Place::Part { .. } => ScaleKind::Parts(Parts::new(packet.wire)),
            Place::Term(_) => ScaleKind::Terms(Terms::default()),
            Place::Records => ScaleKind::Records(Records::default()),
        }))
    }

    /// Takes the stream's next datagram.
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
