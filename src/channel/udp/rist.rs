//! RIST outputs (VSF TR-06-1, simple profile): RTP media to an even port, reports to the odd one
//! above it, and answers to receivers that ask for packets again.
//!
//! [`session`] is pure: what is kept, what is said, who gets what. Here are its sockets. The packet
//! path watches them ([`super::UdpOutputs::maintain`]) and says when something came.

use std::{
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd, BorrowedFd},
    time::Instant,
};

use super::{Datagram, Rtp, burst::Bursts, output::UdpOutput, socket_group::UdpSocketGroup};
use crate::limits::{OUTPUT_RETRY, RECEIVE_BUFFER_MIN, RTCP_INTERVAL};
use tidecast_core::{
    buffer::Pool,
    history::Settings,
    limits::{HISTORY, RETRANSMIT_SHARE},
};
use tidecast_net::{
    SocketError,
    address::{Input, Output, Scheme},
    clock,
    interface::Interfaces,
    multicast::Subscription,
    sys::{ReceiveBatch, SendBatch},
};

mod session;

use session::Session;

/// Sockets of each RIST output that requests may come to: the one that reports are sent from, and
/// one that joins the group's RTCP port.
pub(super) const SOCKETS: usize = 2;

/// What receiving and answering needs of the packet thread.
pub struct Tools<'a> {
    /// Receives.
    pub receive: &'a mut ReceiveBatch,
    /// Memory for it.
    pub pool: &'a mut Pool,
    /// Sends.
    pub send: &'a mut SendBatch,
}

/// One RIST output.
#[derive(Debug)]
pub(super) struct Rist {
    media: UdpSocketGroup,
    rtcp: UdpSocketGroup,
    /// Joins the group's RTCP port, for receivers that answer to the group.
    group: Option<Group>,
    session: Session,
    burst: usize,
    next_report: Instant,
    /// The opening of `rtcp` that was made known.
    known: u64,
    /// Memory for reports and for what is sent again.
    out: Vec<u8>,
    again: Vec<Vec<u8>>,
}

/// The RTCP port of a group that is sent to.
#[derive(Debug)]
struct Group {
    input: Input,
    subscription: Option<Subscription>,
    /// When to try to open it.
    due: Instant,
    known: bool,
}

impl Rist {
    /// Gives what is sent from now on the class of service of what came in, if the output wants
    /// that.
    pub(super) fn keep_dscp(&mut self, dscp: u8) {
        self.media.keep_dscp(dscp);
        self.rtcp.keep_dscp(dscp);
    }

    /// An output of this scheme; `None` for others.
    pub(super) fn of(output: &Output, place: usize, burst: usize, now: Instant) -> Option<Rist> {
        let target = output.rtcp_addr()?;
        let beside = Output { target, ..output.clone() };
        let input = Input {
            scheme: Scheme::Udp,
            group: target.ip(),
            port: target.port(),
            source: None,
            interface: output.interface.clone(),
        };
        let settings = Settings {
            age_max: output.buffer.unwrap_or(HISTORY),
            share: output.share.unwrap_or(RETRANSMIT_SHARE),
            ..Settings::default()
        };
        let group = |output: Output| UdpSocketGroup::new(vec![UdpOutput::new(output, place)], now);
        Some(Rist {
            media: group(output.clone()),
            rtcp: group(beside),
            group: output.is_class_d().then(|| Group { input, subscription: None, due: now, known: false }),
            session: Session::new(settings, rand::random(), rand::random()),
            burst,
            next_report: now,
            known: 0,
            out: Vec::new(),
            again: Vec::new(),
        })
    }

    /// The output, and why it cannot send, if so.
    pub(super) fn output(&self) -> (&UdpOutput, Option<&SocketError>) {
        (&self.media.targets()[0], self.media.fault().or(self.rtcp.fault()))
    }

    /// When a report is due.
    pub(super) fn due(&self) -> Instant {
        self.next_report
    }

    /// Opens the sockets that are not open. One target needs one socket: nothing is split off.
    pub(super) fn check(&mut self, now: Instant, interfaces: &mut Interfaces) {
        self.media.check(now, interfaces);
        self.rtcp.check(now, interfaces);
    }

    /// Opens what is not open. Calls `opened` for sockets that are new.
    pub(super) fn maintain(
        &mut self,
        now: Instant,
        interfaces: &mut Interfaces,
        mut opened: impl FnMut(usize, BorrowedFd<'_>),
    ) {
        self.check(now, interfaces);
        if self.known != self.rtcp.openings()
            && let Some(socket) = self.rtcp.socket()
        {
            self.known = self.rtcp.openings();
            opened(0, socket);
            // Whatever moved the socket has moved the membership, too.
            if let Some(group) = &mut self.group {
                *group = Group { input: group.input.clone(), subscription: None, due: now, known: false };
            }
        }
        if let Some(group) = &mut self.group {
            group.maintain(now, interfaces);
            if let (false, Some(subscription)) = (group.known, &group.subscription) {
                group.known = true;
                opened(1, subscription.as_fd());
            }
        }
    }

    /// Sends the stream that a player would follow: a RIST session has only one.
    pub(super) fn send<'a>(
        &mut self,
        now: Instant,
        batch: &mut SendBatch,
        datagrams: impl Iterator<Item = Datagram<'a>>,
    ) {
        let mut not_rtp = 0;
        for datagram in datagrams {
            match datagram.rtp {
                Rtp::Packet(_) | Rtp::Made(_) if datagram.followed => {
                    datagram.rtp.packets().for_each(|packet| self.session.media(packet));
                }
                Rtp::Packet(_) | Rtp::Made(_) | Rtp::Unfollowed => {}
                Rtp::Not => not_rtp += 1,
            }
        }
        self.media.not_rtp(not_rtp, now);
        if self.session.is_new() {
            // librist drops media until it has heard the name of its source.
            self.next_report = now;
            self.report(now, batch);
        }
        let mut bursts = Bursts::new(self.burst);
        self.session.fresh().for_each(|packet| bursts.push(packet));
        if bursts.len() > 0 {
            let _ = self.media.send(now, batch, &bursts); // it shares with nobody
        }
        drop(bursts);
        self.session.sent(now);
    }

    /// Says what was sent so far, if it is time.
    pub(super) fn report(&mut self, now: Instant, batch: &mut SendBatch) {
        if now < self.next_report {
            return;
        }
        self.next_report = now + RTCP_INTERVAL;
        self.out.clear();
        self.session.report(now, clock::unix(), &mut self.out);
        let mut bursts = Bursts::new(1);
        bursts.push(&self.out);
        let _ = self.rtcp.send(now, batch, &bursts);
    }

    /// Takes a batch of what came to a socket, and answers it. Returns how many datagrams it was.
    pub(super) fn receive(&mut self, socket: usize, now: Instant, tools: &mut Tools<'_>) -> usize {
        let socket = match socket {
            0 => self.rtcp.socket(),
            _ => self.group.as_ref().and_then(|group| Some(group.subscription.as_ref()?.as_fd())),
        };
        let Some(socket) = socket else { return 0 };
        let mut came = Vec::new();
        // A socket that fails has nothing: it is opened anew when its interface is there.
        let _ = tools.receive.receive(socket, tools.pool, |received| came.push(received));
        let count = came.len();
        for received in came {
            self.handle(now, received.source, &received.bytes, tools.send);
            tools.pool.put(received.bytes);
        }
        self.media.set_requests(self.session.requests());
        count
    }

    fn handle(&mut self, now: Instant, source: SocketAddr, datagram: &[u8], batch: &mut SendBatch) {
        if !self.hears(source.ip()) {
            self.session.foreign();
            return;
        }
        self.out.clear();
        self.again.clear();
        self.session.handle(now, datagram, &mut self.again, &mut self.out);
        if !self.again.is_empty() {
            let mut bursts = Bursts::new(self.burst);
            self.again.iter().for_each(|packet| bursts.push(packet));
            let _ = self.media.send(now, batch, &bursts); // it shares with nobody
        }
        if !self.out.is_empty() {
            self.rtcp.answer(source, &self.out);
        }
    }

    /// A single receiver may answer from any port; receivers of a group may be anywhere.
    fn hears(&self, source: IpAddr) -> bool {
        let target = self.media.targets()[0].output().target.ip();
        target.is_multicast() || target == source
    }

    /// Says goodbye (RFC 3550 section 6.6).
    pub(super) fn finish(&mut self, now: Instant, batch: &mut SendBatch) {
        self.out.clear();
        self.session.bye(now, clock::unix(), &mut self.out);
        let mut bursts = Bursts::new(1);
        bursts.push(&self.out);
        let _ = self.rtcp.send(now, batch, &bursts);
    }
}

impl Group {
    fn maintain(&mut self, now: Instant, interfaces: &mut Interfaces) {
        if self.subscription.is_some() || now < self.due {
            return;
        }
        self.due = now + OUTPUT_RETRY;
        match Subscription::open(&self.input, RECEIVE_BUFFER_MIN, interfaces) {
            Ok(subscription) => self.subscription = Some(subscription),
            // Most receivers answer to the sender alone, so the output works without it.
            Err(error) => {
                tracing::debug!(input = %self.input, "cannot hear receivers through the group: {error}")
            }
        }
    }
}

#[cfg(test)]
mod tests;
