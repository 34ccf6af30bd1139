//! A socket and the outputs that use it. A tick's bursts are sent one by one, each to every
//! target, with as few system calls as possible.

mod send;

use std::{
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd},
    time::Instant,
};

use tracing::{info, warn};

use super::{burst::Bursts, output::UdpOutput, socket::Sender};
use crate::limits::{OUTPUT_CHECK, OUTPUT_RETRY, SOCKET_OUTPUTS_MAX};
use send::Run;
pub(super) use send::Unsent;
use tidecast_core::{history::Requests, relay::Beside};
use tidecast_net::{
    SocketError,
    address::{Dscp, Output},
    interface::Interfaces,
    sys::SendBatch,
};

/// A socket, and the outputs that differ only in their target.
#[derive(Debug)]
pub(super) struct UdpSocketGroup {
    /// Never empty.
    targets: Vec<UdpOutput>,
    sender: Option<Sender>,
    fault: Option<SocketError>,
    /// When to look at the socket again.
    due: Instant,
    /// How often a socket was opened.
    openings: u64,
    plan: Vec<Run>,
    /// The class of service that was set last, if outputs keep it.
    dscp: Option<u8>,
}

impl UdpSocketGroup {
    /// Creates a group that opens its socket at the first [`UdpSocketGroup::check`].
    pub(super) fn new(targets: Vec<UdpOutput>, now: Instant) -> UdpSocketGroup {
        UdpSocketGroup {
            targets,
            sender: None,
            fault: None,
            due: now,
            openings: 0,
            plan: Vec::new(),
            dscp: None,
        }
    }

    /// The outputs.
    pub(super) fn targets(&self) -> &[UdpOutput] {
        &self.targets
    }

    /// Why there is no socket; `None` if there is one.
    pub(super) fn fault(&self) -> Option<&SocketError> {
        self.fault.as_ref()
    }

    /// How often a socket was opened: a different number means a different socket.
    pub(super) fn openings(&self) -> u64 {
        self.openings
    }

    /// Sets the class of service of further datagrams to that of the received ones, if the outputs
    /// keep it.
    pub(super) fn keep_dscp(&mut self, dscp: u8) {
        if self.targets[0].output().dscp == Some(Dscp::Keep)
            && self.dscp.replace(dscp) != Some(dscp)
            && let Some(sender) = &self.sender
        {
            // Without it the datagrams are sent like all others.
            let _ = sender.set_dscp(dscp);
        }
    }

    /// The socket, if there is one.
    pub(super) fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.sender.as_ref().map(AsFd::as_fd)
    }

    /// Sends one datagram to a receiver that has requested it; a failure is ignored.
    pub(super) fn answer(&self, to: SocketAddr, datagram: &[u8]) {
        if let Some(sender) = &self.sender {
            let _ = sender.send_to(to, datagram);
        }
    }

    /// Sends RTCP to the port that each output uses for it.
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

    /// Sets the requests received for its only output.
    pub(super) fn set_requests(&mut self, requests: Requests) {
        self.targets[0].requests = requests;
    }

    #[cfg(test)]
    pub(super) fn sender(&mut self) -> Option<&mut Sender> {
        self.sender.as_mut()
    }

    /// For tests: as if the outputs had named another interface.
    #[cfg(test)]
    pub(super) fn rename_interface(&mut self, name: &str) {
        self.targets.iter_mut().for_each(|target| target.rename_interface(name));
    }

    /// Opens the socket if there is none, and reopens it if it no longer fits the interface.
    /// Returns the outputs for which its buffer is too small: they need another socket.
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
        let (channel, output) = (self.targets[0].channel(), self.targets[0].output());
        match Sender::open(output, self.targets.len(), interfaces) {
            Ok(sender) => {
                if self.fault.take().is_some() {
                    info!(channel, %output, "open");
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
                    warn!(channel, %output, "cannot be opened: {text}; trying again");
                }
                self.sender = None;
                self.fault = Some(error);
                self.due = now + OUTPUT_RETRY;
            }
        }
    }

    /// Counts `count` datagrams as not sent to these outputs because they cannot be RTP.
    pub(super) fn not_rtp(&mut self, count: u64, now: Instant) {
        for target in self.targets.iter_mut().filter(|_| count > 0) {
            target.counters.not_rtp += count;
            target.log_not_rtp(now);
        }
    }

    /// Gives each target its own socket, and sends there what this one has not taken. Datagrams
    /// that the kernel holds while it waits for a host's ARP answer count for the socket that sent
    /// them: such a host must not fill the socket of others.
    pub(super) fn scatter(
        self,
        now: Instant,
        batch: &mut SendBatch,
        interfaces: &mut Interfaces,
        bursts: &Bursts<'_>,
        rest: &Unsent,
    ) -> Vec<UdpSocketGroup> {
        let mut groups = Vec::new();
        for (index, target) in self.targets.into_iter().enumerate() {
            let mut group = UdpSocketGroup { dscp: self.dscp, ..UdpSocketGroup::new(vec![target], now) };
            let _ = group.check(now, interfaces); // one target has room
            group.send_rest(now, batch, bursts, rest.0.iter().filter(|run| run.target == index).copied());
            groups.push(group);
        }
        groups
    }
}
