//! Datagrams that are sequences of numbered messages (MAVLink, CCSDS).

use std::net::SocketAddr;

use super::{Body, Id, Layout, Packet};
use crate::limits::CUSTOM_RUNS_MAX;

/// Messages of one stream in a datagram, with consecutive numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The stream; `None` for the datagram's address and port.
    pub id: Option<Id>,
    /// The first number.
    pub number: u64,
    /// Count of numbers.
    pub count: u64,
}

/// The messages of a datagram. A message of an unknown kind ends them.
struct Messages<'l, 'a> {
    layout: &'l Layout,
    rest: &'a [u8],
}

impl<'a> Iterator for Messages<'_, 'a> {
    type Item = Packet<'a>;

    fn next(&mut self) -> Option<Packet<'a>> {
        let (kind, packet) = self.layout.read_message(self.rest).ok()?;
        // A message that claims to be longer than the datagram is the last one.
        let len = kind.bundle.and_then(|length| length.read(self.rest)).filter(|len| *len > 0);
        self.rest = len.and_then(|len| self.rest.get(len..)).unwrap_or_default();
        Some(packet)
    }
}

impl Layout {
    fn messages<'a>(&self, bytes: &'a [u8]) -> Messages<'_, 'a> {
        Messages { layout: self, rest: bytes }
    }

    /// Reads the first run of numbered messages, which represents the datagram. `first`: its first
    /// message.
    pub(super) fn read_bundle<'a>(&self, first: Packet<'a>) -> Packet<'a> {
        let mut run: Option<Packet<'a>> = None;
        for message in self.messages(first.bytes).filter(|message| message.body == Body::Numbered) {
            match &mut run {
                None => run = Some(Packet { bytes: first.bytes, ..message }),
                Some(run) if continues(run, &message) => run.step += message.step,
                Some(run) => run.mixed = true,
            }
        }
        run.unwrap_or(first)
    }

    /// Further runs of a datagram that [mixes](Packet::mixed) them.
    pub fn others(&self, bytes: &[u8], source: SocketAddr) -> Vec<Run> {
        let mut runs: Vec<Packet<'_>> = Vec::new();
        for message in self.messages(bytes).filter(|message| message.body == Body::Numbered) {
            if let Some(run) = runs.iter_mut().find(|run| continues(run, &message)) {
                run.step += message.step;
            } else if runs.len() <= CUSTOM_RUNS_MAX {
                runs.push(message);
            }
        }
        let run = |run: &Packet<'_>| Run { id: run.id(source), number: run.number, count: run.step };
        runs.iter().skip(1).map(run).collect()
    }
}

/// Whether a message has the number that follows a run of the same stream.
fn continues(run: &Packet<'_>, message: &Packet<'_>) -> bool {
    let behind = run.number.wrapping_add(run.step);
    let behind = run.wire.modulus().map_or(behind, |modulus| behind % modulus);
    (run.sender, run.id, behind) == (message.sender, message.id, message.number)
}
