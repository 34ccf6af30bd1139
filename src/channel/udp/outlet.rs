//! A socket and the outputs that leave through it. A tick's bursts go out burst by burst, each to every target,
//! with as few system calls as there are full batches.

use std::{
    io, mem,
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd},
    time::Instant,
};

use tracing::{info, warn};

use super::{burst::Bursts, output::UdpOutput, socket::Sender};
use crate::limits::{OUTPUT_CHECK, OUTPUT_RETRY, SOCKET_OUTPUTS_MAX};
use tidecast_core::{history::Requests, relay::Beside};
use tidecast_net::{
    Error,
    address::{Dscp, Output},
    interface::Interfaces,
    limits::SEND_BATCH,
    sys::{Message, SendBatch},
};

/// Neighbouring datagrams on their way to one target, as one message.
#[derive(Debug, Clone, Copy)]
struct Piece {
    target: usize,
    first: usize,
    count: usize,
    segment: usize,
}

impl Piece {
    fn message<'a>(&self, targets: &'a [UdpOutput], bursts: &'a Bursts<'_>) -> Message<'a> {
        Message {
            to: &targets[self.target].to,
            parts: bursts.parts(self.first, self.count),
            // A burst has at most 65,507 bytes, and so has its segment.
            segment: (self.count > 1).then_some(self.segment as u16),
        }
    }

    /// The same datagrams as messages of their own.
    fn singles(self) -> impl Iterator<Item = Piece> {
        (self.first..self.first + self.count).map(move |first| Piece { first, count: 1, ..self })
    }
}

/// What a full socket did not take.
#[derive(Debug)]
pub(super) struct Rest(Vec<Piece>);

/// A socket, and the outputs that are alike in everything but their target.
#[derive(Debug)]
pub(super) struct Outlet {
    /// Never empty.
    targets: Vec<UdpOutput>,
    sender: Option<Sender>,
    fault: Option<Error>,
    /// When to look at the socket again.
    due: Instant,
    /// How often a socket was opened.
    openings: u64,
    plan: Vec<Piece>,
    /// What the socket was told last, if outputs keep it.
    dscp: Option<u8>,
}

impl Outlet {
    /// An outlet that opens its socket at the first [`Outlet::check`].
    pub(super) fn new(targets: Vec<UdpOutput>, now: Instant) -> Outlet {
        Outlet { targets, sender: None, fault: None, due: now, openings: 0, plan: Vec::new(), dscp: None }
    }

    /// The outputs.
    pub(super) fn targets(&self) -> &[UdpOutput] {
        &self.targets
    }

    /// Why there is no socket; `None` when there is one.
    pub(super) fn fault(&self) -> Option<&Error> {
        self.fault.as_ref()
    }

    /// How often a socket was opened: another number means another socket.
    pub(super) fn openings(&self) -> u64 {
        self.openings
    }

    /// Gives what is sent from now on the class of service of what came in, if the outputs want that.
    pub(super) fn keep_dscp(&mut self, dscp: u8) {
        if self.targets[0].output().dscp == Some(Dscp::Keep)
            && self.dscp.replace(dscp) != Some(dscp)
            && let Some(sender) = &self.sender
        {
            // Without it they go as all others do.
            let _ = sender.set_dscp(dscp);
        }
    }

    /// The socket, if there is one.
    pub(super) fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.sender.as_ref().map(AsFd::as_fd)
    }

    /// Sends one datagram to somebody who has asked for it; nobody misses one that cannot be sent.
    pub(super) fn answer(&self, to: SocketAddr, datagram: &[u8]) {
        if let Some(sender) = &self.sender {
            let _ = sender.send_to(to, datagram);
        }
    }

    /// Sends RTCP to where each output wants it.
    pub(super) fn report(&mut self, now: Instant, beside: Beside, bytes: &[u8]) {
        let Some(sender) = &self.sender else { return };
        for target in &mut self.targets {
            let Some(to) = target.output().reports_to(beside) else { continue };
            let to = sender.address(&Output { target: to, ..target.output().clone() });
            match sender.send_to(to, bytes) {
                Ok(_) => target.counters.reports += 1,
                Err(error) => target.log_failure(&error, now),
            }
        }
    }

    /// What the receivers of its only output have asked for.
    pub(super) fn set_requests(&mut self, requests: Requests) {
        self.targets[0].requests = requests;
    }

    #[cfg(test)]
    pub(super) fn sender(&mut self) -> Option<&mut Sender> {
        self.sender.as_mut()
    }

    /// As if its socket had taken nothing of these.
    #[cfg(test)]
    pub(super) fn rest(&self, now: Instant, bursts: &Bursts<'_>) -> Rest {
        let mut plan = Vec::new();
        self.lay_out(&mut plan, now, bursts);
        Rest(plan)
    }

    /// As if the outputs had named another interface.
    #[cfg(test)]
    pub(super) fn rename_interface(&mut self, name: &str) {
        self.targets.iter_mut().for_each(|target| target.rename_interface(name));
    }

    /// Opens the socket if there is none, or anew if it no longer fits the interface. Gives the outputs for which
    /// its buffer is too small: they need another one.
    pub(super) fn check(&mut self, now: Instant, interfaces: &mut Interfaces) -> Vec<UdpOutput> {
        if now < self.due {
            return Vec::new();
        }
        interfaces.refresh(now);
        let output = self.targets[0].output();
        if self.sender.as_ref().is_some_and(|sender| sender.fits(output, interfaces)) {
            self.due = now + OUTPUT_CHECK;
        } else {
            self.open(now, interfaces);
        }
        let max = self.sender.as_ref().map_or(SOCKET_OUTPUTS_MAX, Sender::outputs_max);
        self.targets.split_off(max.min(self.targets.len()))
    }

    fn open(&mut self, now: Instant, interfaces: &Interfaces) {
        let output = self.targets[0].output();
        match Sender::open(output, self.targets.len(), interfaces) {
            Ok(sender) => {
                if self.fault.take().is_some() {
                    info!(%output, "open");
                }
                for target in &mut self.targets {
                    target.to = sender.address(target.output()).into();
                }
                self.sender = Some(sender);
                if let Some(dscp) = self.dscp.take() {
                    self.keep_dscp(dscp);
                }
                self.openings += 1;
                self.due = now + OUTPUT_CHECK;
            }
            Err(error) => {
                let text = error.to_string();
                if self.fault.as_ref().is_none_or(|fault| fault.to_string() != text) {
                    warn!(%output, "cannot be opened: {text}; trying again");
                }
                self.sender = None;
                self.fault = Some(error);
                self.due = now + OUTPUT_RETRY;
            }
        }
    }

    /// `count` datagrams were kept from these outputs because they cannot be RTP.
    pub(super) fn not_rtp(&mut self, count: u64, now: Instant) {
        for target in self.targets.iter_mut().filter(|_| count > 0) {
            target.counters.not_rtp += count;
            target.log_not_rtp(now);
        }
    }

    /// Sends the bursts to every target, in order. What cannot be sent is counted and skipped; the others go all
    /// the same. Gives what is left where the hosts that share this socket must have one each: see [`Outlet::scatter`].
    #[must_use]
    pub(super) fn send(&mut self, now: Instant, batch: &mut SendBatch, bursts: &Bursts<'_>) -> Option<Rest> {
        if self.sender.is_none() {
            for target in &mut self.targets {
                target.counters.unreachable += bursts.len() as u64;
            }
            return None;
        }
        let mut plan = mem::take(&mut self.plan);
        self.lay_out(&mut plan, now, bursts);
        let rest = self.send_pieces(now, batch, bursts, &plan);
        plan.clear();
        self.plan = plan;
        rest
    }

    /// Sends what another socket has left, for its only target.
    fn send_rest(
        &mut self,
        now: Instant,
        batch: &mut SendBatch,
        bursts: &Bursts<'_>,
        pieces: impl Iterator<Item = Piece>,
    ) {
        let pieces: Vec<Piece> = pieces.map(|piece| Piece { target: 0, ..piece }).collect();
        if self.sender.is_some() {
            let _ = self.send_pieces(now, batch, bursts, &pieces); // a single target shares with nobody
        } else {
            self.targets[0].counters.unreachable +=
                pieces.iter().map(|piece| piece.count as u64).sum::<u64>();
        }
    }

    /// Gives each target a socket of its own, and sends on there what this one has not taken. What the kernel holds for a host
    /// whose ARP answer it waits for counts for the socket that sent it: such a host must not fill that of others.
    pub(super) fn scatter(
        self,
        now: Instant,
        batch: &mut SendBatch,
        interfaces: &mut Interfaces,
        bursts: &Bursts<'_>,
        rest: &Rest,
    ) -> Vec<Outlet> {
        let mut outlets = Vec::new();
        for (index, target) in self.targets.into_iter().enumerate() {
            let mut outlet = Outlet { dscp: self.dscp, ..Outlet::new(vec![target], now) };
            let _ = outlet.check(now, interfaces); // one target has room
            outlet.send_rest(
                now,
                batch,
                bursts,
                rest.0.iter().filter(|piece| piece.target == index).copied(),
            );
            outlets.push(outlet);
        }
        outlets
    }

    /// Whether its targets are hosts that share the socket: one that is gone may fill it.
    fn is_shared(&self) -> bool {
        self.targets.len() > 1 && !self.targets[0].output().is_class_d()
    }

    fn send_pieces(
        &mut self,
        now: Instant,
        batch: &mut SendBatch,
        bursts: &Bursts<'_>,
        pieces: &[Piece],
    ) -> Option<Rest> {
        let sender = self.sender.take()?;
        let (mut rest, mut left) = (pieces, None);
        while !rest.is_empty() {
            let (sent, error) = self.dispatch(&sender, batch, rest, bursts);
            rest = &rest[sent..];
            let (Some(error), Some((piece, others))) = (error, rest.split_first()) else { continue };
            if error.kind() == io::ErrorKind::WouldBlock {
                if self.is_shared() {
                    left = Some(Rest(rest.to_vec()));
                    break;
                }
                // A full socket is full for all: another try for each would only cost.
                rest.iter().for_each(|piece| self.failed(piece, &error, now));
                break;
            }
            rest = others; // the kernel would stop there again
            if is_refusal(&error, piece) {
                self.one_by_one(&sender, batch, *piece, bursts, (error, now));
            } else {
                self.failed(piece, &error, now);
            }
        }
        self.sender = Some(sender);
        left
    }

    fn lay_out(&self, plan: &mut Vec<Piece>, now: Instant, bursts: &Bursts<'_>) {
        for burst in bursts.list() {
            for (index, target) in self.targets.iter().enumerate() {
                let whole =
                    Piece { target: index, first: burst.first, count: burst.count, segment: burst.segment };
                if burst.count == 1 || target.takes(burst, now) {
                    plan.push(whole);
                } else {
                    plan.extend(whole.singles());
                }
            }
        }
    }

    /// One batch from the start of the list. Gives how many pieces went, and why the next one did not.
    fn dispatch(
        &mut self,
        sender: &Sender,
        batch: &mut SendBatch,
        pieces: &[Piece],
        bursts: &Bursts<'_>,
    ) -> (usize, Option<io::Error>) {
        let pieces = &pieces[..pieces.len().min(SEND_BATCH)];
        let messages: Vec<Message<'_>> =
            pieces.iter().map(|piece| piece.message(&self.targets, bursts)).collect();
        let sent = batch.send(sender.as_fd(), &messages);
        for piece in &pieces[..sent.count] {
            let counters = &mut self.targets[piece.target].counters;
            counters.packets += piece.count as u64;
            counters.bytes += bursts.bytes_of(piece.first, piece.count) as u64;
        }
        (sent.count, sent.error)
    }

    /// The path did not take a burst: its datagrams go one by one, and if they do, it is remembered.
    fn one_by_one(
        &mut self,
        sender: &Sender,
        batch: &mut SendBatch,
        piece: Piece,
        bursts: &Bursts<'_>,
        (refusal, now): (io::Error, Instant),
    ) {
        let mut any = false;
        for single in piece.singles() {
            let (sent, error) = self.dispatch(sender, batch, &[single], bursts);
            any |= sent > 0;
            if let Some(error) = error {
                self.failed(&single, &error, now);
            }
        }
        if any {
            self.targets[piece.target].refuses(&refusal, piece.segment, now);
        }
    }

    fn failed(&mut self, piece: &Piece, error: &io::Error, now: Instant) {
        if is_stale(error) {
            self.due = self.due.min(now + OUTPUT_RETRY);
        }
        let target = &mut self.targets[piece.target];
        target.counters.drop_for(error, piece.count as u64);
        target.log_failure(error, now);
    }
}

/// Whether the kernel would not cut this message; the same datagrams may go one by one.
fn is_refusal(error: &io::Error, piece: &Piece) -> bool {
    piece.count > 1 && matches!(error.raw_os_error(), Some(libc::EIO | libc::EINVAL | libc::EMSGSIZE))
}

/// Errors of a socket whose interface or address is gone, so that a new one may do better.
fn is_stale(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ENODEV
                | libc::ENXIO
                | libc::EINVAL
                | libc::EADDRNOTAVAIL
                | libc::ENETUNREACH
                | libc::ENETDOWN
        )
    )
}
