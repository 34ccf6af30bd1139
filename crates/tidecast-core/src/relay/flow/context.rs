//! Context in which a flow handles an input: the packet, and the parts of the channel that the
//! flow may use meanwhile.

use std::{
    collections::{BTreeMap, VecDeque},
    mem,
    time::{Duration, Instant},
};

use super::Wanted;
use crate::{
    buffer::Buffer,
    limits::LOOSE_BYTES_MAX,
    relay::{
        Budget, Config, FlowId, How, LegCounters, Output, Packet,
        arrival::{FlowKey, Stamp},
        drops::Drops,
        probation::Candidate,
        recovery::Means,
        retransmission::Pace,
        sealed::Sealed,
    },
};
use tidecast_wire::fec::rs::Codes;

/// Parts of the channel that a flow may use while it handles one input.
pub(in crate::relay) struct Context<'a> {
    pub(in crate::relay) config: &'a Config,
    pub(in crate::relay) outputs: &'a mut VecDeque<Output>,
    pub(in crate::relay) budget: &'a mut Budget,
    pub(in crate::relay) codes: &'a mut Codes,
    pub(in crate::relay) spent: &'a mut Vec<Buffer>,
    pub(in crate::relay) rejects: &'a mut BTreeMap<&'static str, u64>,
    pub(in crate::relay) legs: &'a mut [LegCounters],
    /// Last arrival on each leg, if there are several.
    pub(in crate::relay) heard: &'a mut [Option<Instant>],
    /// Requests to be sent by the RIST side.
    pub(in crate::relay) wanted: &'a mut Vec<Wanted>,
    pub(in crate::relay) pace: &'a mut Pace,
    pub(in crate::relay) drops: &'a Drops,
    pub(in crate::relay) sealed: Option<&'a Sealed>,
    pub(in crate::relay) now: Instant,
}

impl Context<'_> {
    pub(super) fn means(&mut self, grace: Duration, end: u64) -> Means<'_> {
        Means { now: self.now, codes: self.codes, grace, overdue: 0, room: self.budget.room(), end }
    }

    /// Copies a small datagram out of a large buffer before it is held back, unless the channel
    /// holds back little.
    pub(super) fn tighten(&mut self, packet: &mut Packet) {
        if self.budget.used > LOOSE_BYTES_MAX && packet.bytes.capacity() > 4 * packet.bytes.len() {
            let small = Buffer::from(&*packet.bytes);
            let slot = mem::replace(&mut packet.bytes, small);
            if self.spent.len() < self.spent.capacity() {
                self.spent.push(slot);
            }
        }
    }

    pub(in crate::relay) fn spend(&mut self, packet: Packet) {
        if self.spent.len() < self.spent.capacity() {
            self.spent.push(packet.bytes);
        }
    }
}

/// A media packet with a number, before it enters a flow.
#[derive(Debug)]
pub(in crate::relay) struct Numbered {
    pub(in crate::relay) session: u32,
    pub(in crate::relay) number: u64,
    pub(in crate::relay) span: u64,
    pub(in crate::relay) fingerprint: u32,
    pub(in crate::relay) how: How,
    pub(in crate::relay) packet: Packet,
    pub(in crate::relay) leg: u8,
    /// Timestamp by the producer's clock.
    pub(in crate::relay) clock: Option<Stamp>,
}

impl From<Candidate> for Numbered {
    fn from(candidate: Candidate) -> Numbered {
        let Candidate { session, number, span, packet, fingerprint, leg, .. } = candidate;
        Numbered { session, number, span, fingerprint, how: How::Received, packet, leg, clock: None }
    }
}

/// The flow that a new one replaces once its producer stops sending there (same source, new SSRC).
#[derive(Debug, Clone, Copy)]
pub(in crate::relay) struct Predecessor {
    pub(in crate::relay) id: FlowId,
    /// Identifies the flow, since its slot may have been reused.
    pub(in crate::relay) key: FlowKey,
    /// How long it must be silent before a single packet of the new flow is believed.
    pub(super) silence: Duration,
}
