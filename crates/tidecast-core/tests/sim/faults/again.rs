//! The fault matrix with retransmission: the producer answers native NACKs or acts as a RIST
//! sender, and requests and answers are lost like all other packets.

use std::collections::{BTreeMap, BTreeSet};

use tidecast_core::relay::{How, Socket};
use tidecast_wire::{
    native,
    rtcp::{Compound, Packet, Repr},
};

use super::{Arrivals, Case, INTERVAL, Network, Sent};
use crate::{
    formats::Numbered,
    harness::{Dice, Event, Sim, source},
    retransmission::wanted,
};

/// Time from a request to its answer, in half intervals, like all times here.
const ROUND_TRIP: u64 = 6;
/// Interval of a RIST sender's reports.
const REPORT: u64 = 80;
/// Time after the last packet in which outstanding requests are answered.
const TAIL: u64 = 400;

/// A datagram to the relay.
#[derive(Debug, Clone)]
enum Incoming {
    Arrival(super::Arrival),
    Again(Sent),
    Control(Vec<u8>),
}

/// The producer and the path to it.
struct Producer<'a> {
    case: &'a Case,
    sent: &'a [Sent],
    dice: Dice,
    /// Datagrams in transit, by arrival time.
    coming: BTreeMap<u64, Vec<Incoming>>,
    /// Identities that were retransmitted.
    again: BTreeSet<u64>,
}

impl Producer<'_> {
    fn is_rist(&self) -> bool {
        self.case.format == Numbered::Rtp
    }

    fn comes(&mut self, slot: u64, incoming: Incoming) {
        self.coming.entry(slot).or_default().push(incoming);
    }

    fn is_lost(&mut self) -> bool {
        self.case.network == Network::Loss && self.dice.hits(0.01)
    }

    /// Returns the last packet that it had sent at that time.
    fn last(&self, slot: u64) -> usize {
        (slot as usize / 2).min(self.sent.len() - 1)
    }

    fn report(&mut self, slot: u64) {
        let ssrc = self.case.session(self.sent[self.last(slot)].run);
        let mut bytes = Vec::new();
        Repr::ReceiverReport { ssrc, blocks: &[] }.emit(&mut bytes);
        Repr::Cname { ssrc, cname: "producer" }.emit(&mut bytes);
        self.comes(slot, Incoming::Control(bytes));
    }

    /// Handles a request. The producer has the packets that it has sent since it started.
    fn answer(&mut self, slot: u64, socket: Socket, bytes: &[u8]) {
        if self.is_lost() {
            return;
        }
        if socket == Socket::Control {
            self.echo(slot, bytes);
        }
        let (modulus, last) = (self.case.format.modulus(), self.last(slot + ROUND_TRIP / 2));
        let (run, sent) = (self.sent[last].run, self.sent);
        for (session, number) in wanted(socket, bytes, modulus + sent[last].number) {
            let is = |sent: &&Sent| sent.run == run && sent.number == number % modulus;
            let packet = sent[..=last].iter().find(is).filter(|_| session == self.case.session(run));
            if let Some(packet) = packet.filter(|_| !self.is_lost()) {
                self.again.insert(packet.identity);
                self.comes(slot + ROUND_TRIP, Incoming::Again(*packet));
            }
        }
    }

    fn echo(&mut self, slot: u64, bytes: &[u8]) {
        for packet in Compound::parse(bytes).expect("RTCP").packets().flatten() {
            if let Packet::EchoRequest(echo) = packet {
                let mut response = Vec::new();
                Repr::EchoResponse(echo).emit(&mut response);
                self.comes(slot + ROUND_TRIP, Incoming::Control(response));
            }
        }
    }

    /// Returns the retransmission of a packet.
    fn datagram(&self, sent: &Sent) -> Vec<u8> {
        let mut bytes = self.case.datagram(sent);
        if self.is_rist() {
            bytes[11] |= 1;
            return bytes;
        }
        let repr = native::Packet::parse(&bytes).expect("native").repr();
        let mut again = Vec::new();
        native::Repr { flags: native::RETRANSMISSION, ..repr }.emit(&mut again);
        again
    }

    fn feed(&self, sim: &mut Sim, slot: u64, incoming: &Incoming) {
        let at = INTERVAL / 2 * slot as u32;
        match incoming {
            Incoming::Arrival(arrival) => self.case.feed(sim, slot, arrival),
            Incoming::Again(sent) => sim.packet(at, &self.datagram(sent)),
            Incoming::Control(bytes) => sim.control_from(at, 0, source(1), bytes),
        }
    }

    /// Delivers everything, and answers requests.
    fn run(&mut self, sim: &mut Sim) {
        let end = self.coming.last_key_value().map_or(0, |(slot, _)| *slot) + TAIL;
        let mut seen = 0;
        for slot in 0..end {
            if self.is_rist() && slot.is_multiple_of(REPORT) {
                self.report(slot);
            }
            sim.run_until(INTERVAL / 2 * slot as u32);
            for incoming in self.coming.remove(&slot).unwrap_or_default() {
                self.feed(sim, slot, &incoming);
            }
            for (_, event) in &sim.events[seen..] {
                if let Event::Transmit { from, bytes, .. } = event {
                    self.answer(slot, *from, bytes);
                }
            }
            seen = sim.events.len();
        }
    }
}

impl Case {
    /// Runs with retransmission. A retransmitted packet no longer counts as lost; a packet that
    /// was only late may have been retransmitted in vain.
    pub(super) fn run_asking(&self, sim: &mut Sim, sent: &[Sent], arrivals: &mut Arrivals, dice: Dice) {
        let (coming, again) = (BTreeMap::new(), BTreeSet::new());
        let mut producer = Producer { case: self, sent, dice, coming, again };
        for (slot, arrival) in &arrivals.all {
            producer.comes(*slot, Incoming::Arrival(arrival.clone()));
        }
        producer.run(sim);
        let back = (&arrivals.dropped & &producer.again).len() as u64;
        arrivals.dropped = &arrivals.dropped - &producer.again;
        let recovered = sim.relay.totals().recovered_retransmission;
        match self.network {
            Network::Good | Network::Duplicates | Network::Loss => assert_eq!(recovered, back, "{self:?}"),
            _ => assert!(recovered >= back, "{self:?}: {recovered} of {back}"),
        }
        let came = |event: &&(_, Event)| matches!(event.1, Event::Delivered { how: How::Retransmission, .. });
        assert_eq!(sim.events.iter().filter(came).count() as u64, recovered, "{self:?}");
    }
}
