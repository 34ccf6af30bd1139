//! The recovery of one session, whatever its code: native blocks, or the rows and columns of ST 2022-1. The flow keeps
//! one of them, and only its beginning, its repair packets and what came back are not the same for both.

use std::time::{Duration, Instant};

use super::{
    Packet,
    recover::{self, Findings, Means, Recover, st2022, unpadded},
};
use tidecast_wire::{
    fec::st2022::Sum,
    native::{self, SourceShard},
};

/// Recovery of one session.
#[derive(Debug)]
pub(super) enum Recovery {
    Native(Recover),
    /// Larger, and of few flows.
    St2022(Box<st2022::Recover>),
}

/// What recovery keeps of a media packet.
#[derive(Debug)]
pub(super) enum Kept {
    Shard(Vec<u8>),
    Sum(Sum),
}

/// A packet that came back.
#[derive(Debug)]
pub(super) enum Rebuilt {
    Native(recover::Rebuilt),
    Rtp(st2022::Rebuilt),
}

impl Recovery {
    /// For a native session; see [`Recover::new`].
    pub(super) fn native(start: u64, learn_until: Instant) -> Recovery {
        Recovery::Native(Recover::new(start, learn_until))
    }

    /// For an RTP stream; see [`st2022::Recover::new`].
    pub(super) fn st2022(start: u64, ssrc: u32, terms: st2022::Terms) -> Recovery {
        Recovery::St2022(Box::new(st2022::Recover::new(start, ssrc, terms)))
    }

    /// Nothing below `head` is waited for any more.
    pub(super) fn waits_from(&mut self, head: u64) {
        match self {
            Recovery::Native(recover) => recover.waits_from(head),
            Recovery::St2022(recover) => recover.waits_from(head),
        }
    }

    /// Whether packets are kept for repair packets, which may or may not come.
    pub(super) fn keeping(&self) -> bool {
        match self {
            Recovery::Native(recover) => recover.keeping(),
            Recovery::St2022(recover) => recover.keeping(),
        }
    }

    /// Memory of what is kept.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Recovery::Native(recover) => recover.bytes(),
            Recovery::St2022(recover) => recover.bytes(),
        }
    }

    /// Numbers that the reorder window must hold, so that a gap is not given up before its repair packets come.
    pub(super) fn window(&self) -> u64 {
        match self {
            Recovery::Native(recover) => 2 * recover.span(),
            Recovery::St2022(recover) => recover.span(),
        }
    }

    /// L and D, where the code has them.
    pub(super) fn matrix(&self) -> Option<(u64, u64)> {
        match self {
            Recovery::Native(_) => None,
            Recovery::St2022(recover) => recover.shape(),
        }
    }

    /// Whether nothing is kept and nothing is missed: a packet may pass it by.
    pub(super) fn is_idle(&self) -> bool {
        match self {
            Recovery::Native(recover) => recover.is_idle(),
            Recovery::St2022(recover) => recover.is_idle(),
        }
    }

    /// What must be kept of a media packet that is about to move on.
    pub(super) fn kept(&self, packet: &Packet) -> Option<Kept> {
        match self {
            Recovery::Native(recover) => recover.keeping().then(|| Kept::Shard(source_shard(packet))),
            Recovery::St2022(recover) if recover.keeping() => st2022::kept(&packet.bytes).map(Kept::Sum),
            Recovery::St2022(_) => None,
        }
    }

    /// A media packet came in, of which this was to be kept.
    pub(super) fn media(&mut self, number: u64, kept: Kept, means: &mut Means<'_>) -> Findings<Rebuilt> {
        match (self, kept) {
            (Recovery::Native(recover), Kept::Shard(shard)) => {
                recover.media(number, shard, means).map(Rebuilt::Native)
            }
            (Recovery::St2022(recover), Kept::Sum(sum)) => {
                recover.media(number, sum, means).map(Rebuilt::Rtp)
            }
            _ => unreachable!("a packet is kept by the recovery that asked for it"),
        }
    }

    /// A number that is known came in again, of which this was to be kept: if it is another content, neither is used.
    pub(super) fn came_again(&mut self, number: u64, kept: Kept, means: &Means<'_>) {
        match (self, kept) {
            (Recovery::Native(recover), Kept::Shard(shard)) => recover.came_again(number, shard, means),
            (Recovery::St2022(recover), Kept::Sum(sum)) => recover.came_again(number, &sum),
            _ => {}
        }
    }

    /// Whether packets are missed.
    pub(super) fn misses(&self) -> bool {
        match self {
            Recovery::Native(recover) => recover.misses(),
            Recovery::St2022(recover) => recover.misses(),
        }
    }

    /// When [`Recovery::poll`] has something to do.
    pub(super) fn deadline(&self, grace: Duration) -> Option<Instant> {
        match self {
            Recovery::Native(recover) => recover.deadline(grace),
            Recovery::St2022(recover) => recover.deadline(grace),
        }
    }

    /// Rebuilds or gives up what is overdue.
    pub(super) fn poll(&mut self, means: &mut Means<'_>) -> Findings<Rebuilt> {
        match self {
            Recovery::Native(recover) => recover.poll(means).map(Rebuilt::Native),
            Recovery::St2022(recover) => recover.poll(means).map(Rebuilt::Rtp),
        }
    }

    /// Frees what is kept.
    pub(super) fn forget(&mut self) {
        match self {
            Recovery::Native(recover) => recover.forget(),
            Recovery::St2022(recover) => recover.forget(),
        }
    }
}

fn source_shard(packet: &Packet) -> Vec<u8> {
    let flags = packet.bytes.get(3).copied().unwrap_or(0) & !native::RETRANSMISSION;
    let timestamp = packet.timestamp.unwrap_or(0);
    unpadded(SourceShard { flags, timestamp, payload: packet.payload() })
}
