//! Receiver of the RIST simple profile (VSF TR-06-1): the RTCP side of a channel's RIST legs.
//! Pure, like the rest of the core.
//!
//! RTCP from senders comes in by [`super::Input::Control`]. Each sender gets reports (an empty RR
//! and our SDES) at least every 100 ms, echo requests that measure the round trip, and the NACKs
//! of its flows. All are sent to the source address of its RTCP. Retransmissions come among the
//! media, with the lowest bit of the SSRC set; [`Relay::restore`] undoes that.

use std::{
    iter, mem,
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::{
    FlowId, Output, Relay, Socket,
    arrival::{Arrival, Body, FlowKey},
    flow::Wanted,
    retransmission::{Pace, RoundTrip, nacks},
};
use crate::{
    buffer::Buffer,
    limits::{
        RIST_ECHO_FIRST, RIST_ECHO_INTERVAL, RIST_PEER_IDLE, RIST_PEERS_MAX, RIST_REPORT_GAP_MIN,
        RIST_REPORT_INTERVAL,
    },
};
use tidecast_wire::{
    Reason, Reject,
    rtcp::{self, Compound, Echo, Packet, Repr},
};

/// Offset of the byte with the SSRC's lowest bit in an RTP packet.
const SSRC_LAST: usize = 11;

/// A sender whose RTCP has come.
#[derive(Debug)]
struct Peer {
    leg: u8,
    address: SocketAddr,
    /// SSRC in its RTCP; usually that of the media.
    ssrc: u32,
    heard: Instant,
    /// Its media has come, so it gets regular reports. Others, which may be forged, get one report
    /// for each of theirs.
    known: bool,
    reported: Option<Instant>,
    echo_due: Instant,
    /// Pending echo request: its timestamp, and when it was sent.
    echo: Option<(u64, Instant)>,
    round_trip: RoundTrip,
}

/// The RTCP side of a channel.
#[derive(Debug)]
pub(super) struct Rist {
    ssrc: u32,
    cname: String,
    peers: Vec<Peer>,
    epoch: Option<Instant>,
    /// Limits our answers to echo requests. Anyone can send those, so they must not use up the
    /// budget of our requests.
    answers: Pace,
}

impl Rist {
    /// Derives our SSRC and CNAME from `seed`, so that they differ from those of other receivers
    /// and of the media.
    pub(super) fn new(seed: u64) -> Rist {
        let mixed = (seed ^ 0x5249_5354).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mixed = mixed ^ (mixed >> 29);
        let ssrc = (mixed >> 32) as u32 & !1;
        Rist {
            ssrc,
            cname: format!("tidecast-{:08x}", mixed as u32),
            peers: Vec::new(),
            epoch: None,
            answers: Pace::default(),
        }
    }

    /// When [`Relay::poll_rist`] has something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        self.peers.iter().map(Peer::due).min()
    }

    /// The round trip on a leg, to the sender that was heard last.
    pub(super) fn round_trip(&self, leg: u8) -> Option<Duration> {
        let measured = self.peers.iter().filter(|peer| peer.leg == leg && peer.round_trip.get().is_some());
        measured.max_by_key(|peer| peer.heard)?.round_trip.get()
    }

    /// A datagram that starts with our report, as a compound packet must (RFC 3550 section 6.1).
    fn report(&self, further: &[Repr<'_>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        Repr::ReceiverReport { ssrc: self.ssrc, blocks: &[] }.emit(&mut bytes);
        Repr::Cname { ssrc: self.ssrc, cname: &self.cname }.emit(&mut bytes);
        further.iter().for_each(|repr| repr.emit(&mut bytes));
        bytes
    }

    fn peer_at(&mut self, leg: u8, address: SocketAddr) -> Option<&mut Peer> {
        self.peers.iter_mut().find(|peer| peer.leg == leg && peer.address == address)
    }

    /// The sender of a stream: it has the same host as the media and, if there are several, the
    /// same SSRC.
    fn sender_of(&self, leg: u8, ssrc: u32, media: SocketAddr) -> Option<&Peer> {
        let peers = self.peers.iter().filter(|peer| peer.leg == leg);
        let rank = |peer: &Peer| {
            let (same_host, same_name) = (peer.address.ip() == media.ip(), peer.ssrc & !1 == ssrc & !1);
            let answers = peer.round_trip.get().is_some();
            same_host.then_some((same_name, peer.known, answers, peer.heard))
        };
        peers.filter_map(|peer| Some((rank(peer)?, peer))).max_by_key(|(rank, _)| *rank).map(|(_, peer)| peer)
    }

    /// Notes that a sender is alive. If there are too many, it replaces the one that has been
    /// silent longest, unknown ones first.
    fn heard(&mut self, leg: u8, address: SocketAddr, ssrc: u32, now: Instant) -> &mut Peer {
        self.epoch.get_or_insert(now);
        let place = self.peers.iter().position(|peer| peer.leg == leg && peer.address == address);
        let place = place.unwrap_or_else(|| {
            if self.peers.len() >= RIST_PEERS_MAX
                && let Some(idle) =
                    (0..self.peers.len()).min_by_key(|i| (self.peers[*i].known, self.peers[*i].heard))
            {
                self.peers.swap_remove(idle);
            }
            self.peers.push(Peer::new(leg, address, ssrc, now));
            self.peers.len() - 1
        });
        let peer = &mut self.peers[place];
        (peer.ssrc, peer.heard) = (ssrc, now);
        peer
    }
}

impl Peer {
    fn new(leg: u8, address: SocketAddr, ssrc: u32, now: Instant) -> Peer {
        Peer {
            leg,
            address,
            ssrc,
            heard: now,
            known: false,
            reported: None,
            echo_due: now,
            echo: None,
            round_trip: RoundTrip::default(),
        }
    }

    fn due(&self) -> Instant {
        let gone = self.heard + RIST_PEER_IDLE;
        match self.reported {
            Some(reported) if self.known => gone.min(reported + RIST_REPORT_INTERVAL),
            _ => gone,
        }
    }

    /// Timestamp of an echo request to send now, if one is due.
    fn echo(&mut self, epoch: Instant, now: Instant) -> Option<u64> {
        if now < self.echo_due {
            return None;
        }
        let pause = if self.round_trip.get().is_some() { RIST_ECHO_INTERVAL } else { RIST_ECHO_FIRST };
        self.echo_due = now + pause;
        let stamp = now.saturating_duration_since(epoch).as_nanos() as u64; // 584 years
        self.echo = Some((stamp, now));
        Some(stamp)
    }
}

/// Reason for rejecting a datagram on the port for RTCP.
fn reject(error: &rtcp::RtcpError) -> Reject {
    match error {
        rtcp::RtcpError::Version { .. } | rtcp::RtcpError::Type { .. } => Reject::Foreign(Reason::Format),
        rtcp::RtcpError::Padding { .. } => Reject::Corrupt(Reason::Padding),
        rtcp::RtcpError::Entries { .. } => Reject::Corrupt(Reason::Nack),
        _ => Reject::Corrupt(Reason::Truncated),
    }
}

impl Relay {
    /// Takes RTCP of a RIST sender. A damaged packet is only counted.
    pub(super) fn rtcp(&mut self, now: Instant, leg: u8, source: SocketAddr, bytes: Buffer) {
        let leg = self.leg(leg);
        let counters = &mut self.legs[usize::from(leg)];
        counters.bytes += bytes.len() as u64;
        self.others.bytes_received += bytes.len() as u64;
        let packets = Compound::parse(&bytes).and_then(|compound| compound.packets().collect());
        let packets: Result<Vec<Packet<'_>>, _> = packets;
        match packets {
            Ok(packets) => {
                counters.control += 1;
                self.others.control_received += 1;
                self.rtcp_packets(now, leg, source, &packets);
            }
            Err(error) => {
                counters.media += 1;
                self.others.media_received += 1;
                self.refuse_beside(reject(&error), now, source, &bytes);
            }
        }
        self.spend(bytes);
    }

    fn rtcp_packets(&mut self, now: Instant, leg: u8, source: SocketAddr, packets: &[Packet<'_>]) {
        for packet in packets {
            let ssrc = match packet {
                Packet::SenderReport(report) => report.ssrc,
                Packet::ReceiverReport(report) => report.ssrc,
                Packet::EchoRequest(echo) => {
                    self.answer_echo(now, leg, source, *echo);
                    continue;
                }
                Packet::EchoResponse(echo) => {
                    self.echo_came(now, leg, source, *echo);
                    continue;
                }
                Packet::Bye(_) => {
                    let Some(rist) = &mut self.rist else { return };
                    // A sender whose media has come is removed by its silence only, since a BYE
                    // may be forged.
                    rist.peers.retain(|peer| peer.known || (peer.leg, peer.address) != (leg, source));
                    continue;
                }
                _ => continue,
            };
            self.peer_heard(now, leg, source, ssrc);
        }
    }

    fn peer_heard(&mut self, now: Instant, leg: u8, source: SocketAddr, ssrc: u32) {
        let known = self.sends_media(source);
        let Some(rist) = self.rist.as_mut().filter(|rist| rist.ssrc != ssrc) else { return };
        let peer = rist.heard(leg, source, ssrc, now);
        peer.known |= known;
        // The sender may wait for our answer before it sends media, so the first report is
        // immediate.
        if peer.reported.is_none_or(|at| now >= at + RIST_REPORT_GAP_MIN) {
            self.report_to(leg, source, now);
        }
    }

    /// Whether media has come from the same host.
    fn sends_media(&self, source: SocketAddr) -> bool {
        self.by_source.keys().any(|media| media.ip() == source.ip())
    }

    fn report_to(&mut self, leg: u8, to: SocketAddr, now: Instant) {
        let Some(rist) = &mut self.rist else { return };
        let epoch = *rist.epoch.get_or_insert(now);
        let Some(peer) = rist.peer_at(leg, to) else { return };
        peer.reported = Some(now);
        let media = peer.ssrc & !1;
        let echo = peer
            .echo(epoch, now)
            .map(|timestamp| Repr::EchoRequest(Echo { ssrc: media, timestamp, delay: 0, padding: &[] }));
        let bytes = rist.report(echo.as_slice());
        self.outputs.push_back(Output::Transmit { leg, from: Socket::Control, to, bytes });
    }

    fn answer_echo(&mut self, now: Instant, leg: u8, to: SocketAddr, echo: Echo<'_>) {
        let Some(rist) = &mut self.rist else { return };
        if !rist.answers.take(now) {
            return;
        }
        let bytes = rist.report(&[Repr::EchoResponse(Echo { delay: 0, ..echo })]);
        self.outputs.push_back(Output::Transmit { leg, from: Socket::Control, to, bytes });
    }

    /// Takes the answer to our latest echo request.
    fn echo_came(&mut self, now: Instant, leg: u8, source: SocketAddr, echo: Echo<'_>) {
        let Some(peer) = self.rist.as_mut().and_then(|rist| rist.peer_at(leg, source)) else { return };
        let Some((_, sent)) = peer.echo.take_if(|(stamp, _)| *stamp == echo.timestamp) else { return };
        let took = now.saturating_duration_since(sent);
        let took = took.saturating_sub(Duration::from_micros(echo.delay.into()));
        peer.round_trip.sample(took);
        let address = peer.address;
        let asked =
            self.flows.iter().flatten().filter(|flow| {
                matches!(flow.key, FlowKey::Ssrc(_)) && flow.source_on(leg).ip() == address.ip()
            });
        let asked: Vec<u32> = asked.map(|flow| flow.id.0).take(RIST_PEERS_MAX).collect();
        for index in asked {
            self.flow_mut(index).round_trip(took, now);
        }
    }

    /// Sends the reports that are due, and removes senders that are gone.
    pub(super) fn poll_rist(&mut self, now: Instant) {
        let Some(rist) = &mut self.rist else { return };
        rist.peers.retain(|peer| now < peer.heard + RIST_PEER_IDLE);
        let due = rist.peers.iter().filter(|peer| peer.due() <= now);
        let due: Vec<(u8, SocketAddr)> = due.map(|peer| (peer.leg, peer.address)).collect();
        for (leg, address) in due {
            self.report_to(leg, address, now);
        }
    }

    /// Sends the NACKs of the flows.
    pub(super) fn send_wanted(&mut self, now: Instant) {
        for Wanted { flow, leg, ssrc, numbers } in mem::take(&mut self.wanted) {
            let Some((leg, to)) = self.whom_to_ask(flow, leg, ssrc) else {
                self.nobody_to_ask(flow, &numbers, now);
                continue;
            };
            let Some(own) = self.rist.as_ref().map(|rist| rist.ssrc) else { return };
            let all = numbers;
            let mut sent = 0;
            for (count, numbers, form) in nacks(&all) {
                if !self.pace.take(now) {
                    self.nobody_to_ask(flow, &all[sent..], now);
                    break;
                }
                sent += count as usize;
                let nack = match form {
                    rtcp::Form::Generic => Repr::GenericNack { sender: own, media: ssrc, numbers: &numbers },
                    rtcp::Form::Range => Repr::RangeNack { media: ssrc, numbers: &numbers },
                };
                let bytes = self.rist.as_ref().map(|rist| rist.report(&[nack])).unwrap_or_default();
                self.outputs.push_back(Output::Transmit { leg, from: Socket::Control, to, bytes });
                if let Some(flow) = self.flows[flow.0 as usize].as_mut() {
                    flow.counters.requests_sent += 1;
                    flow.counters.numbers_requested += count;
                }
            }
        }
    }

    /// Leg and address for requests to a flow's sender: this leg, or another one as long as the
    /// sender has not been heard here.
    fn whom_to_ask(&self, flow: FlowId, leg: u8, ssrc: u32) -> Option<(u8, SocketAddr)> {
        let (flow, rist) = (self.live(flow.0)?, self.rist.as_ref()?);
        let mut legs = iter::once(leg).chain(flow.other_legs(leg));
        legs.find_map(|leg| Some((leg, rist.sender_of(leg, ssrc, flow.source_on(leg))?.address)))
    }

    /// Round trip to a flow's sender, if its RTCP came before its media.
    pub(super) fn round_trip_known(&self, index: u32) -> Option<RoundTrip> {
        let (flow, rist) = (self.live(index)?, self.rist.as_ref()?);
        let FlowKey::Ssrc(ssrc) = flow.key else { return None };
        let legs = 0..self.legs.len() as u8; // there are at most LEGS_MAX
        let known = |leg: u8| {
            let sender = rist.sender_of(leg, ssrc, flow.source_on(leg))?;
            sender.round_trip.get().map(|_| sender.round_trip)
        };
        legs.filter(|leg| flow.asks_on(*leg)).find_map(known)
    }

    /// These numbers could not be requested, because the sender's RTCP has not come yet or too
    /// many requests are pending. They are tried again.
    fn nobody_to_ask(&mut self, flow: FlowId, numbers: &[u64], now: Instant) {
        if self.live(flow.0).is_none() {
            return;
        }
        self.flow_mut(flow.0).not_asked(numbers, now);
        self.schedule(flow.0, now);
    }

    /// Turns a retransmission on a RIST leg back into the original packet, and marks it as
    /// retransmission. An odd SSRC without an even neighbour is a stream of its own. So is one
    /// that has sent more packets than the even neighbour, since retransmissions are fewer.
    pub(super) fn restore(&self, leg: u8, arrival: &mut Arrival, bytes: &mut Buffer) {
        let FlowKey::Ssrc(odd) = arrival.key else { return };
        let rist = self.config.asks.get(usize::from(self.leg(leg))).is_some_and(|asks| asks.rist);
        if odd & 1 == 0 || !rist {
            return;
        }
        let received = |ssrc| {
            let flow = self.by_key.get(&FlowKey::Ssrc(ssrc)).and_then(|index| self.live(*index))?;
            flow.established().then_some(flow.counters.media_received)
        };
        let media = odd & !1;
        let Some(of_media) = received(media) else { return };
        if received(odd).is_some_and(|own| own > of_media) {
            return;
        }
        if let Body::Numbered { session, retransmission, .. } = &mut arrival.body {
            (*session, *retransmission) = (media, true);
            arrival.key = FlowKey::Ssrc(media);
            bytes.memory_mut()[SSRC_LAST] &= !1;
        }
    }
}

#[cfg(test)]
mod tests;
