//! RIST outputs (VSF TR-06-1, simple profile): RTP media to an even port, reports to the odd one
//! above, and retransmissions for receivers that request them.
//!
//! [`session`] has the pure logic; here are its sockets. The packet path watches them
//! ([`super::UdpOutputs::maintain`]) and reports when they are ready.

use std::{
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd, BorrowedFd},
    time::Instant,
};

use super::{
    Datagram, Rtp,
    burst::Bursts,
    output::{Owner, UdpOutput},
    socket_group::UdpSocketGroup,
};
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

/// Sockets of each RIST output on which requests may come: the one that sends reports, and one
/// that joins the group's RTCP port.
pub(super) const SOCKETS: usize = 2;

/// Resources of the packet thread for receiving and answering.
pub struct Tools<'a> {
    /// Batch for receiving.
    pub receive: &'a mut ReceiveBatch,
    /// Memory for received datagrams.
    pub pool: &'a mut Pool,
    /// Batch for sending.
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
    /// Last opening of `rtcp` that was reported to the packet thread.
    known: u64,
    /// Memory for reports and retransmissions.
    out: Vec<u8>,
    again: Vec<Vec<u8>>,
}

/// The RTCP port of a target group.
#[derive(Debug)]
struct Group {
    input: Input,
    subscription: Option<Subscription>,
    /// When to try to open it.
    due: Instant,
    known: bool,
}

impl Rist {
    /// Sets the class of service of further datagrams to that of the received ones, if the output
    /// keeps it.
    pub(super) fn keep_dscp(&mut self, dscp: u8) {
        self.media.keep_dscp(dscp);
        self.rtcp.keep_dscp(dscp);
    }

    /// Creates the state of a RIST output; `None` for other schemes.
    pub(super) fn of(
        output: &Output,
        owner: &Owner,
        place: usize,
        burst: usize,
        now: Instant,
    ) -> Option<Rist> {
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
        let group =
            |output: Output| UdpSocketGroup::new(vec![UdpOutput::new(output, place, owner.clone())], now);
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

    /// Opens closed sockets. There is only one target, so no socket is split off.
    pub(super) fn check(&mut self, now: Instant, interfaces: &mut Interfaces) {
        self.media.check(now, interfaces);
        self.rtcp.check(now, interfaces);
    }

    /// Opens closed sockets. Calls `opened` for new ones.
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
            // A changed interface moves the membership, too.
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

    /// Sends the stream that a player follows: a RIST session has only one.
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
            // librist drops media until it has received the CNAME of its source.
            self.next_report = now;
            self.report(now, batch);
        }
        let mut bursts = Bursts::new(self.burst);
        self.session.fresh().for_each(|packet| bursts.push(packet));
        if bursts.len() > 0 {
            let _ = self.media.send(now, batch, &bursts); // a single target shares with no other
        }
        drop(bursts);
        self.session.sent(now);
    }

    /// Sends a report, if it is due.
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

    /// Takes a batch of datagrams from a socket, and answers them. Returns their count.
    pub(super) fn receive(&mut self, socket: usize, now: Instant, tools: &mut Tools<'_>) -> usize {
        let socket = match socket {
            0 => self.rtcp.socket(),
            _ => self.group.as_ref().and_then(|group| Some(group.subscription.as_ref()?.as_fd())),
        };
        let Some(socket) = socket else { return 0 };
        let mut came = Vec::new();
        // A socket with an error has no datagrams: it is reopened when its interface is there.
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
            let _ = self.media.send(now, batch, &bursts); // a single target shares with no other
        }
        if !self.out.is_empty() {
            self.rtcp.answer(source, &self.out);
        }
    }

    /// Whether to accept datagrams from this address: a single receiver may answer from any port,
    /// and receivers of a group may be anywhere.
    fn hears(&self, source: IpAddr) -> bool {
        let target = self.media.targets()[0].output().target.ip();
        target.is_multicast() || target == source
    }

    /// Sends a BYE (RFC 3550 section 6.6).
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
            // Most receivers answer directly to the sender, so the output works without it.
            Err(error) => {
                tracing::debug!(input = %self.input, "cannot hear receivers through the group: {error}")
            }
        }
    }
}

#[cfg(test)]
mod tests;
