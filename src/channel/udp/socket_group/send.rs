//! Sends bursts through a group's socket: to every target, with as few system calls as possible.

use std::{io, mem, os::fd::AsFd, time::Instant};

use super::UdpSocketGroup;
use crate::{
    channel::udp::{burst::Bursts, output::UdpOutput, socket::Sender},
    limits::OUTPUT_RETRY,
};
use tidecast_net::{
    limits::SEND_BATCH,
    sys::{Message, SendBatch},
};

/// Neighbouring datagrams for one target, sent as one message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    pub(super) target: usize,
    first: usize,
    count: usize,
    segment: usize,
}

impl Run {
    fn message<'a>(&self, targets: &'a [UdpOutput], bursts: &'a Bursts<'_>) -> Message<'a> {
        Message {
            to: &targets[self.target].to,
            parts: bursts.parts(self.first, self.count),
            // A burst has at most 65,507 bytes, so its segment size fits.
            segment: (self.count > 1).then_some(self.segment as u16),
        }
    }

    /// The same datagrams as separate messages.
    fn singles(self) -> impl Iterator<Item = Run> {
        (self.first..self.first + self.count).map(move |first| Run { first, count: 1, ..self })
    }
}

/// Datagrams that a full socket did not take.
#[derive(Debug)]
pub(in crate::channel::udp) struct Unsent(pub(super) Vec<Run>);

impl UdpSocketGroup {
    /// Sends the bursts to every target, in order. A datagram that cannot be sent is counted and
    /// skipped; the others are still sent. Returns the rest if the hosts that share this socket
    /// need separate ones: see `scatter`.
    #[must_use]
    pub(in crate::channel::udp) fn send(
        &mut self,
        now: Instant,
        batch: &mut SendBatch,
        bursts: &Bursts<'_>,
    ) -> Option<Unsent> {
        if self.sender.is_none() {
            for target in &mut self.targets {
                target.counters.unreachable += bursts.len() as u64;
            }
            return None;
        }
        let mut plan = mem::take(&mut self.plan);
        self.lay_out(&mut plan, now, bursts);
        let rest = self.send_runs(now, batch, bursts, &plan);
        plan.clear();
        self.plan = plan;
        rest
    }

    /// Sends the rest of another socket, for its only target.
    pub(super) fn send_rest(
        &mut self,
        now: Instant,
        batch: &mut SendBatch,
        bursts: &Bursts<'_>,
        runs: impl Iterator<Item = Run>,
    ) {
        let runs: Vec<Run> = runs.map(|run| Run { target: 0, ..run }).collect();
        if self.sender.is_some() {
            let _ = self.send_runs(now, batch, bursts, &runs); // a single target shares with no other
        } else {
            self.targets[0].counters.unreachable += runs.iter().map(|run| run.count as u64).sum::<u64>();
        }
    }

    /// For tests: as if its socket had taken none of these.
    #[cfg(test)]
    pub(in crate::channel::udp) fn rest(&self, now: Instant, bursts: &Bursts<'_>) -> Unsent {
        let mut plan = Vec::new();
        self.lay_out(&mut plan, now, bursts);
        Unsent(plan)
    }

    /// Whether its targets are hosts that share the socket: one that is gone may fill it.
    fn is_shared(&self) -> bool {
        self.targets.len() > 1 && !self.targets[0].output().is_class_d()
    }

    fn send_runs(
        &mut self,
        now: Instant,
        batch: &mut SendBatch,
        bursts: &Bursts<'_>,
        runs: &[Run],
    ) -> Option<Unsent> {
        let sender = self.sender.take()?;
        let (mut rest, mut left) = (runs, None);
        while !rest.is_empty() {
            let (sent, error) = self.dispatch(&sender, batch, rest, bursts);
            rest = &rest[sent..];
            let (Some(error), Some((run, others))) = (error, rest.split_first()) else { continue };
            if error.kind() == io::ErrorKind::WouldBlock {
                if self.is_shared() {
                    left = Some(Unsent(rest.to_vec()));
                    break;
                }
                // A full socket is full for all targets, so further attempts are pointless.
                rest.iter().for_each(|run| self.failed(run, &error, now));
                break;
            }
            rest = others; // the kernel would fail there again
            if is_refusal(&error, run) {
                self.one_by_one(&sender, batch, *run, bursts, (error, now));
            } else {
                self.failed(run, &error, now);
            }
        }
        self.sender = Some(sender);
        left
    }

    fn lay_out(&self, plan: &mut Vec<Run>, now: Instant, bursts: &Bursts<'_>) {
        for burst in bursts.list() {
            for (index, target) in self.targets.iter().enumerate() {
                let whole =
                    Run { target: index, first: burst.first, count: burst.count, segment: burst.segment };
                if burst.count == 1 || target.takes(burst, now) {
                    plan.push(whole);
                } else {
                    plan.extend(whole.singles());
                }
            }
        }
    }

    /// Sends one batch from the start of the list. Returns how many runs were sent, and why the
    /// next one was not.
    fn dispatch(
        &mut self,
        sender: &Sender,
        batch: &mut SendBatch,
        runs: &[Run],
        bursts: &Bursts<'_>,
    ) -> (usize, Option<io::Error>) {
        let runs = &runs[..runs.len().min(SEND_BATCH)];
        let messages: Vec<Message<'_>> = runs.iter().map(|run| run.message(&self.targets, bursts)).collect();
        let sent = batch.send(sender.as_fd(), &messages);
        for run in &runs[..sent.count] {
            let counters = &mut self.targets[run.target].counters;
            counters.packets += run.count as u64;
            counters.bytes += bursts.bytes_of(run.first, run.count) as u64;
        }
        (sent.count, sent.error)
    }

    /// The path did not accept a burst: sends its datagrams one by one, and remembers that if it
    /// works.
    fn one_by_one(
        &mut self,
        sender: &Sender,
        batch: &mut SendBatch,
        run: Run,
        bursts: &Bursts<'_>,
        (refusal, now): (io::Error, Instant),
    ) {
        let mut any = false;
        for single in run.singles() {
            let (sent, error) = self.dispatch(sender, batch, &[single], bursts);
            any |= sent > 0;
            if let Some(error) = error {
                self.failed(&single, &error, now);
            }
        }
        if any {
            self.targets[run.target].refuses(&refusal, run.segment, now);
        }
    }

    fn failed(&mut self, run: &Run, error: &io::Error, now: Instant) {
        if is_stale(error) {
            self.due = self.due.min(now + OUTPUT_RETRY);
        }
        let target = &mut self.targets[run.target];
        target.counters.drop_for(error, run.count as u64);
        target.log_failure(error, now);
    }
}

/// Whether the kernel refused to split this message; its datagrams may be sent one by one.
fn is_refusal(error: &io::Error, run: &Run) -> bool {
    run.count > 1 && matches!(error.raw_os_error(), Some(libc::EIO | libc::EINVAL | libc::EMSGSIZE))
}

/// Whether the error means that the interface or address is gone, so that a new socket may work.
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
