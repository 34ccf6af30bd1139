//! The current session: a numbering, and the state that belongs to it. A flow has none before its
//! first packets are believed, or if its packets have no numbers.

use std::{
    collections::{BTreeSet, VecDeque},
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::{
    Numbered,
    age::{Ages, Marking},
    legs::Former,
    pass::Ease,
};
use crate::{
    limits::{RECOVERED_REMEMBERED, REORDER_PACKETS_START},
    relay::{
        recovery::Recovery,
        reorder::{Known, Reorder},
        retransmission::Asking,
    },
};
use tidecast_wire::seq::Space;

/// One run of a producer. The fields that every packet touches come first.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Session {
    /// Session id of native datagrams, SSRC of RTP, otherwise 0.
    pub(super) id: u32,
    /// Which short ways the next packet may take, and the window for them.
    pub(super) ease: Ease,
    pub(super) window: u64,
    /// The flow's number space.
    space: Space,
    pub(super) reorder: Reorder,
    pub(super) recovery: Option<Box<Recovery>>,
    /// Requests for missing packets, if the flow may send them.
    pub(super) asking: Option<Box<Asking>>,
    pub(super) marking: Marking,
    pub(super) ages: Ages,
    /// The number of all its packets, if it never changes.
    pub(super) standing: Option<u64>,
    /// Several recovered packets are being inserted: no gap is given up before all of them are in.
    pub(super) rebuilding: bool,
    /// Recently recovered numbers, to recognize a recovery that was not needed.
    pub(super) recovered: VecDeque<u64>,
    /// Numbers that cannot be recovered, but may still come on a leg.
    pub(super) hopeless: BTreeSet<u64>,
    /// The previous numbering with the same id; a longer path may still carry packets of it.
    pub(super) former: Option<Box<Former>>,
    /// The previous session: its stragglers count as late and start nothing.
    pub(super) retired: Option<Retired>,
    /// Source address of its packets when it started, or at its last jump.
    pub(super) begun_by: SocketAddr,
}

/// A session that has ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Retired {
    pub(super) id: u32,
    /// Packets with lower numbers are stragglers; packets from this number on revive the session.
    pub(super) next: u64,
}

impl Session {
    /// A session whose first extended number is `first` and that started at `since`.
    pub(super) fn new(id: u32, space: Space, first: u64, source: SocketAddr, since: Instant) -> Session {
        Session {
            id,
            ease: Ease::Busy,
            window: 0,
            space,
            reorder: Reorder::new(first, since),
            recovery: None,
            asking: None,
            marking: Marking::default(),
            ages: Ages::default(),
            standing: None,
            rebuilding: false,
            recovered: VecDeque::new(),
            hopeless: BTreeSet::new(),
            former: None,
            retired: None,
            begun_by: source,
        }
    }

    /// Replaces `old`, from the wire number `first` on. With several legs, a longer path may carry
    /// the old numbering until `former_until`.
    pub(super) fn succeed(&mut self, old: Session, first: u64, former_until: Option<Instant>) {
        let next = old.reorder.next();
        if old.id != self.id {
            self.retired = Some(Retired { id: old.id, next });
            return;
        }
        self.retired = old.retired;
        self.former = former_until
            .map(|until| Box::new(Former { next, first, until, history: old.reorder.into_history() }));
    }

    /// Where a session with this id ended, if it is the previous one, or the one before a restart
    /// of that.
    pub(super) fn ended_at(&self, id: u32) -> Option<u64> {
        self.retired.filter(|retired| retired.id == id).map(|retired| retired.next)
    }

    /// Extends a wire number.
    #[inline(always)]
    pub(super) fn extend(&self, wire: u64) -> u64 {
        self.space.extend(self.reorder.next(), wire)
    }

    /// Wire form of an extended number.
    pub(super) fn on_wire(&self, number: u64) -> u64 {
        self.space.modulus().map_or(number, |modulus| number % modulus)
    }

    /// Whether a number is at the head or above it, within the window.
    pub(super) fn is_ahead(&self, number: u64, window: u64) -> bool {
        number >= self.reorder.next() && number - self.reorder.next() < window
    }

    /// Whether a packet with this wire number may belong to this session.
    pub(super) fn is_near(&self, wire: u64) -> bool {
        self.extend(wire).abs_diff(self.reorder.next()) < REORDER_PACKETS_START
    }

    /// Looks up a packet without inserting it.
    pub(super) fn known(&self, packet: &Numbered, window: u64) -> Known {
        if packet.session != self.id {
            return Known::Other;
        }
        self.reorder.known(self.extend(packet.number), packet.span, packet.fingerprint, window)
    }

    /// Whether packets are kept for recovery, or missing packets may be recovered.
    pub(super) fn recovers(&self) -> bool {
        self.recovery.as_ref().is_some_and(|recovery| !recovery.is_idle())
    }

    /// Whether packets are missing that repair packets may recover.
    pub(super) fn awaits_repair(&self) -> bool {
        self.recovery.as_ref().is_some_and(|recovery| recovery.misses())
    }

    /// Count of numbers that one set of repair packets spans; 0 before any came.
    pub(super) fn protected_span(&self) -> u64 {
        self.recovery.as_ref().map_or(0, |recovery| recovery.window())
    }

    /// Round trip to the producer, once measured.
    pub(super) fn round_trip(&self) -> Option<Duration> {
        self.asking.as_ref()?.round_trip.get()
    }

    /// Columns and rows of the ST 2022-1 FEC.
    pub(super) fn fec_matrix(&self) -> Option<(u64, u64)> {
        self.recovery.as_ref()?.matrix_size()
    }

    /// Notes a number that was recovered.
    pub(super) fn note_recovered(&mut self, number: u64) {
        if self.recovered.len() >= RECOVERED_REMEMBERED {
            self.recovered.pop_front();
        }
        self.recovered.push_back(number);
    }

    /// Whether this number was recovered although its packet came later; true only once.
    pub(super) fn take_recovered(&mut self, number: u64) -> bool {
        let place = self.recovered.iter().position(|recovered| *recovered == number);
        place.and_then(|place| self.recovered.swap_remove_back(place)).is_some()
    }

    /// Memory of the session, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.reorder.bytes()
            + self.asking.as_ref().map_or(0, |asking| asking.schedule.bytes())
            + self.recovery.as_ref().map_or(0, |recovery| recovery.bytes())
    }

    /// Frees memory that the session can do without: packets kept for recovery, pending requests,
    /// and spare room.
    pub(super) fn shrink(&mut self) {
        if let Some(recovery) = &mut self.recovery {
            recovery.forget();
        }
        if let Some(asking) = &mut self.asking {
            asking.schedule.clear();
        }
        self.reorder.shrink();
    }
}
