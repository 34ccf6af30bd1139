//! Recovery of one session by either code: native source blocks ([`blocks`]), or the rows and
//! columns of ST 2022-1 ([`matrix`]). The codes differ only in creation, repair packets and
//! recovered data.

use std::time::{Duration, Instant};

use super::Packet;
use tidecast_wire::{
    fec::{matrix::Sum, rs::Codes},
    native::{self, SourceShard},
};

mod blocks;
mod matrix;

use blocks::unpadded;
pub(super) use blocks::{BlockRecovery, RebuiltPayload};
pub(super) use matrix::{MatrixRecovery, MatrixTerms, RebuiltDatagram};

/// Context of a recovery step.
#[derive(Debug)]
pub(super) struct Means<'a> {
    pub(super) now: Instant,
    pub(super) codes: &'a mut Codes,
    /// How long a reordered packet may still come after its block was decided.
    pub(super) grace: Duration,
    /// Lower numbers are overdue regardless of the grace: the deadline of a gap has passed.
    pub(super) overdue: u64,
    /// Memory still available, in bytes.
    pub(super) room: usize,
    /// Number after the highest received one and is not isolated.
    pub(super) end: u64,
}

/// Results of a recovery step; `R` is the recovered data of the code.
#[derive(Debug)]
pub(super) struct Findings<R> {
    pub(super) rebuilt: Vec<R>,
    /// Numbers that cannot be recovered.
    pub(super) hopeless: Vec<u64>,
    /// Number after the last block that has missing packets and above which no packet has been
    /// received.
    pub(super) awaited: Option<u64>,
    /// Time from the first packet that a repair packet protects to the repair packet.
    pub(super) span: Option<Duration>,
    /// Count of invalid recovered packets: the block's parameters were forged or damaged.
    pub(super) nonsense: u64,
}

impl<R> Default for Findings<R> {
    fn default() -> Findings<R> {
        Findings { rebuilt: Vec::new(), hopeless: Vec::new(), awaited: None, span: None, nonsense: 0 }
    }
}

impl<R> Findings<R> {
    /// Converts the recovered packets.
    pub(super) fn map<T>(self, turn: impl FnMut(R) -> T) -> Findings<T> {
        let Findings { rebuilt, hopeless, awaited, span, nonsense } = self;
        let rebuilt = rebuilt.into_iter().map(turn).collect();
        Findings { rebuilt, hopeless, awaited, span, nonsense }
    }
}

/// Recovery of one session.
#[derive(Debug)]
pub(super) enum Recovery {
    Blocks(BlockRecovery),
    /// In a box, because it is larger and few flows use it.
    Matrix(Box<MatrixRecovery>),
}

/// What recovery keeps of a media packet.
#[derive(Debug)]
pub(super) enum Kept {
    Shard(Vec<u8>),
    Sum(Sum),
}

/// A recovered packet.
#[derive(Debug)]
pub(super) enum Rebuilt {
    Payload(RebuiltPayload),
    Datagram(RebuiltDatagram),
}

impl Recovery {
    /// Creates the recovery of a native session; see [`BlockRecovery::new`].
    pub(super) fn blocks(start: u64, learn_until: Instant) -> Recovery {
        Recovery::Blocks(BlockRecovery::new(start, learn_until))
    }

    /// Creates the recovery of an RTP stream; see [`MatrixRecovery::new`].
    pub(super) fn matrix(start: u64, ssrc: u32, terms: MatrixTerms) -> Recovery {
        Recovery::Matrix(Box::new(MatrixRecovery::new(start, ssrc, terms)))
    }

    /// Moves the head to `head`: lower numbers are settled.
    pub(super) fn waits_from(&mut self, head: u64) {
        match self {
            Recovery::Blocks(recover) => recover.waits_from(head),
            Recovery::Matrix(recover) => recover.waits_from(head),
        }
    }

    /// Whether packets are kept, in case repair packets come.
    pub(super) fn keeping(&self) -> bool {
        match self {
            Recovery::Blocks(recover) => recover.keeping(),
            Recovery::Matrix(recover) => recover.keeping(),
        }
    }

    /// Memory in use, in bytes.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Recovery::Blocks(recover) => recover.bytes(),
            Recovery::Matrix(recover) => recover.bytes(),
        }
    }

    /// Minimum size of the reorder window, so that no gap is given up before its repair packets
    /// come.
    pub(super) fn window(&self) -> u64 {
        match self {
            Recovery::Blocks(recover) => 2 * recover.span(),
            Recovery::Matrix(recover) => recover.span(),
        }
    }

    /// L and D, if the code has them.
    pub(super) fn matrix_size(&self) -> Option<(u64, u64)> {
        match self {
            Recovery::Blocks(_) => None,
            Recovery::Matrix(recover) => recover.shape(),
        }
    }

    /// Whether nothing is kept or missing, so that a packet need not be reported.
    pub(super) fn is_idle(&self) -> bool {
        match self {
            Recovery::Blocks(recover) => recover.is_idle(),
            Recovery::Matrix(recover) => recover.is_idle(),
        }
    }

    /// Copies what must be kept of a media packet that is about to leave.
    pub(super) fn kept(&self, packet: &Packet) -> Option<Kept> {
        match self {
            Recovery::Blocks(recover) => recover.keeping().then(|| Kept::Shard(source_shard(packet))),
            Recovery::Matrix(recover) if recover.keeping() => matrix::kept(&packet.bytes).map(Kept::Sum),
            Recovery::Matrix(_) => None,
        }
    }

    /// Takes the kept part of a new media packet.
    pub(super) fn media(&mut self, number: u64, kept: Kept, means: &mut Means<'_>) -> Findings<Rebuilt> {
        match (self, kept) {
            (Recovery::Blocks(recover), Kept::Shard(shard)) => {
                recover.media(number, shard, means).map(Rebuilt::Payload)
            }
            (Recovery::Matrix(recover), Kept::Sum(sum)) => {
                recover.media(number, sum, means).map(Rebuilt::Datagram)
            }
            _ => unreachable!("a packet is kept by the recovery that asked for it"),
        }
    }

    /// Takes the kept part of a packet whose number is known: if the content differs, neither is
    /// used.
    pub(super) fn came_again(&mut self, number: u64, kept: Kept, means: &Means<'_>) {
        match (self, kept) {
            (Recovery::Blocks(recover), Kept::Shard(shard)) => recover.came_again(number, shard, means),
            (Recovery::Matrix(recover), Kept::Sum(sum)) => recover.came_again(number, &sum),
            _ => {}
        }
    }

    /// Whether packets are missing.
    pub(super) fn misses(&self) -> bool {
        match self {
            Recovery::Blocks(recover) => recover.misses(),
            Recovery::Matrix(recover) => recover.misses(),
        }
    }

    /// When [`Recovery::poll`] has something to do.
    pub(super) fn deadline(&self, grace: Duration) -> Option<Instant> {
        match self {
            Recovery::Blocks(recover) => recover.deadline(grace),
            Recovery::Matrix(recover) => recover.deadline(grace),
        }
    }

    /// Recovers or gives up what is overdue.
    pub(super) fn poll(&mut self, means: &mut Means<'_>) -> Findings<Rebuilt> {
        match self {
            Recovery::Blocks(recover) => recover.poll(means).map(Rebuilt::Payload),
            Recovery::Matrix(recover) => recover.poll(means).map(Rebuilt::Datagram),
        }
    }

    /// Frees the memory.
    pub(super) fn forget(&mut self) {
        match self {
            Recovery::Blocks(recover) => recover.forget(),
            Recovery::Matrix(recover) => recover.forget(),
        }
    }
}

fn source_shard(packet: &Packet) -> Vec<u8> {
    let datagram = packet.datagram();
    let flags = datagram.get(3).copied().unwrap_or(0) & !native::RETRANSMISSION;
    let timestamp = packet.timestamp.unwrap_or(0);
    // With the tag of a sealed packet, and the payload as it was sent.
    let end = datagram.len().saturating_sub(native::TRAILER);
    let payload = datagram.get(native::HEADER..end).unwrap_or_default();
    unpadded(SourceShard { flags, timestamp, payload })
}
