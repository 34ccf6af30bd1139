//! The session in force: a numbering, and all that exists only with it. A flow has none before its
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
    limits::{REBUILT_REMEMBERED, REORDER_PACKETS_START},
    relay::{
        recovery::Recovery,
        reorder::{Known, Reorder},
        retransmission::Asking,
    },
};
use tidecast_wire::seq::Space;

/// One run of a producer. What every packet touches stands first.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Session {
    /// Session id of native datagrams, SSRC of RTP, else 0.
    pub(super) id: u32,
    /// Which short ways the next packet may take, and the window then.
    pub(super) ease: Ease,
    pub(super) window: u64,
    /// The flow's number space.
    space: Space,
    pub(super) reorder: Reorder,
    pub(super) recovery: Option<Box<Recovery>>,
    /// Requests for missing packets, for flows that may ask.
    pub(super) asking: Option<Box<Asking>>,
    pub(super) marking: Marking,
    pub(super) ages: Ages,
    /// The number of all its packets, if that never changes.
    pub(super) standing: Option<u64>,
    /// Several rebuilt packets are on their way in: no gap is given up before all of them are
    /// there.
    pub(super) rebuilding: bool,
    /// Numbers rebuilt lately, to recognize a rebuild that was not needed.
    pub(super) rebuilt: VecDeque<u64>,
    /// Numbers that cannot be rebuilt, but may still come on a leg.
    pub(super) hopeless: BTreeSet<u64>,
    /// The numbering before this one with the same id, which a longer path may still bring.
    pub(super) former: Option<Box<Former>>,
    /// The session before this one: its stragglers are late, they start nothing.
    pub(super) retired: Option<Retired>,
    /// Where its packets came from when it began, or was jumped to.
    pub(super) begun_by: SocketAddr,
}

/// A session that is over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Retired {
    pub(super) id: u32,
    /// Packets with lower numbers are stragglers; the session is alive if packets go on from here.
    pub(super) next: u64,
}

impl Session {
    /// A session whose first number is `first`, extended, and which began at `since`.
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
            rebuilt: VecDeque::new(),
            hopeless: BTreeSet::new(),
            former: None,
            retired: None,
            begun_by: source,
        }
    }

    /// Takes the place of `old`, from the number `first` on the wire on. With several legs, a
    /// longer path may bring the old numbering until `former_until`.
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

    /// Where a session with this id had ended, if it was the one before this one or the one before
    /// a restart of it.
    pub(super) fn ended_at(&self, id: u32) -> Option<u64> {
        self.retired.filter(|retired| retired.id == id).map(|retired| retired.next)
    }

    /// The extended number of a number on the wire.
    #[inline(always)]
    pub(super) fn extend(&self, wire: u64) -> u64 {
        self.space.extend(self.reorder.next(), wire)
    }

    /// An extended number as on the wire.
    pub(super) fn on_wire(&self, number: u64) -> u64 {
        self.space.modulus().map_or(number, |modulus| number % modulus)
    }

    /// Whether a number is at the head or above it, within the window.
    pub(super) fn is_ahead(&self, number: u64, window: u64) -> bool {
        number >= self.reorder.next() && number - self.reorder.next() < window
    }

    /// Whether a packet with this number on the wire may well be of this session.
    pub(super) fn is_near(&self, wire: u64) -> bool {
        self.extend(wire).abs_diff(self.reorder.next()) < REORDER_PACKETS_START
    }

    /// What is known of a packet that is not to be taken in yet.
    pub(super) fn known(&self, packet: &Numbered, window: u64) -> Known {
        if packet.session != self.id {
            return Known::Other;
        }
        self.reorder.known(self.extend(packet.number), packet.span, packet.fingerprint, window)
    }

    /// Whether packets are kept for recovery, or are missed.
    pub(super) fn recovers(&self) -> bool {
        self.recovery.as_ref().is_some_and(|recovery| !recovery.is_idle())
    }

    /// Whether packets are missed that repair packets may bring back.
    pub(super) fn awaits_repair(&self) -> bool {
        self.recovery.as_ref().is_some_and(|recovery| recovery.misses())
    }

    /// Numbers that repair packets reach over; 0 before any came.
    pub(super) fn protected_span(&self) -> u64 {
        self.recovery.as_ref().map_or(0, |recovery| recovery.window())
    }

    /// The round trip to its producer, once measured.
    pub(super) fn round_trip(&self) -> Option<Duration> {
        self.asking.as_ref()?.round_trip.get()
    }

    /// Columns and rows of its ST 2022-1 FEC.
    pub(super) fn fec_matrix(&self) -> Option<(u64, u64)> {
        self.recovery.as_ref()?.matrix_size()
    }

    /// Notes a number that was rebuilt.
    pub(super) fn note_rebuilt(&mut self, number: u64) {
        if self.rebuilt.len() >= REBUILT_REMEMBERED {
            self.rebuilt.pop_front();
        }
        self.rebuilt.push_back(number);
    }

    /// Whether this number was rebuilt although it came after all; answered once.
    pub(super) fn take_rebuilt(&mut self, number: u64) -> bool {
        let place = self.rebuilt.iter().position(|rebuilt| *rebuilt == number);
        place.and_then(|place| self.rebuilt.swap_remove_back(place)).is_some()
    }

    /// Memory of what it keeps, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.reorder.bytes()
            + self.asking.as_ref().map_or(0, |asking| asking.schedule.bytes())
            + self.recovery.as_ref().map_or(0, |recovery| recovery.bytes())
    }

    /// Frees what it can do without: what is kept for recovery, what is to be asked for, and room
    /// for packets.
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
