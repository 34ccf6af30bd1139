//! One UDP output: its target, its counters, and whether its path accepts bursts.

use std::{io, sync::Arc, time::Instant};

use socket2::SockAddr;
use tracing::{debug, warn};

use super::burst::Burst;
use crate::limits::BURST_RETRY;
use tidecast_core::history::Requests;
use tidecast_net::{
    address::{Output, Scheme},
    log_limiter::LogLimiter,
};

/// Counters of an output: each datagram is in exactly one of `packets` and the drops.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Datagrams sent.
    pub packets: u64,
    /// UDP payload bytes of these datagrams.
    pub bytes: u64,
    /// RTCP datagrams sent beside them.
    pub reports: u64,
    /// Dropped: no interface, no route, refused by a firewall, or the like.
    pub unreachable: u64,
    /// Dropped: the socket's send buffer or the kernel's memory was full.
    pub full: u64,
    /// Dropped: too long for a datagram.
    pub too_big: u64,
    /// Dropped: neither RTP nor MPEG-TS, on an output that sends RTP.
    pub not_rtp: u64,
}

impl Counters {
    /// All dropped datagrams.
    pub fn dropped(&self) -> u64 {
        self.unreachable + self.full + self.too_big + self.not_rtp
    }

    /// Counts `count` datagrams as dropped because of this error.
    pub(super) fn drop_for(&mut self, error: &io::Error, count: u64) {
        *match error.raw_os_error() {
            Some(libc::EMSGSIZE) => &mut self.too_big,
            Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM) => &mut self.full,
            _ => &mut self.unreachable,
        } += count;
    }
}

/// Name of the channel that outputs belong to, for log lines; `None` for those of a command.
pub type Owner = Option<Arc<str>>;

/// One UDP output.
#[derive(Debug)]
pub struct UdpOutput {
    owner: Owner,
    output: Output,
    /// Index among the channel's outputs.
    pub(super) place: usize,
    pub(super) to: SockAddr,
    pub(super) counters: Counters,
    pub(super) requests: Requests,
    /// The path does not split segments of this size and larger; tried again at this time.
    uncut: Option<(usize, Instant)>,
    log: LogLimiter,
}

impl UdpOutput {
    pub(super) fn new(output: Output, place: usize, owner: Owner) -> UdpOutput {
        let to = output.target.into();
        UdpOutput {
            owner,
            output,
            place,
            to,
            counters: Counters::default(),
            requests: Requests::default(),
            uncut: None,
            log: LogLimiter::default(),
        }
    }

    /// The configured output.
    pub fn output(&self) -> &Output {
        &self.output
    }

    /// Its channel, for log lines.
    pub(super) fn channel(&self) -> Option<&str> {
        self.owner.as_deref()
    }

    /// Requests of its receivers; `None` if they cannot send any.
    pub fn requests(&self) -> Option<&Requests> {
        (self.output.scheme == Scheme::Rist).then_some(&self.requests)
    }

    /// The counters.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    #[cfg(test)]
    pub(super) fn rename_interface(&mut self, name: &str) {
        self.output.interface = Some(name.parse().unwrap());
    }

    /// Whether its path accepts this burst as one message.
    pub(super) fn takes(&self, burst: &Burst, now: Instant) -> bool {
        self.uncut.is_none_or(|(segment, until)| burst.segment < segment || now >= until)
    }

    /// Notes that the path does not split segments of this size: its MTU is smaller (EINVAL,
    /// EMSGSIZE), or the device cannot split at all (EIO).
    pub(super) fn refuses(&mut self, error: &io::Error, segment: usize, now: Instant) {
        let from = if error.raw_os_error() == Some(libc::EIO) { 0 } else { segment };
        self.uncut = Some((from, now + BURST_RETRY));
        debug!(channel = self.channel(), output = %self.output, "the path takes no bursts of {segment} bytes: {error}");
    }

    /// Logs, at a limited rate, that datagrams cannot be sent on this output.
    pub(super) fn log_not_rtp(&mut self, now: Instant) {
        if self.log.admits(now) {
            let dropped = self.counters.not_rtp;
            warn!(
                channel = self.channel(),
                output = %self.output,
                "dropped {dropped} datagrams so far that are neither RTP nor MPEG-TS: an rtp:// output sends nothing \
                else; write udp:// to send them as they come"
            );
        }
    }

    /// Logs a send error, at a limited rate.
    pub(super) fn log_failure(&mut self, error: &io::Error, now: Instant) {
        if !self.log.admits(now) {
            return;
        }
        let hint = match error.raw_os_error() {
            Some(libc::ENETUNREACH) if self.output.is_class_d() && self.output.interface.is_none() => {
                "; name the interface: add ?if=NAME or ?if=ADDRESS"
            }
            Some(libc::EAGAIN) => "; a larger send buffer may help: `sysctl -w net.core.wmem_max=1048576`",
            _ => "",
        };
        let dropped = self.counters.dropped();
        let channel = self.channel();
        warn!(channel, output = %self.output, "cannot send: {error}{hint}; {dropped} datagrams dropped so far");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_are_counted_by_reason() {
        let mut counters = Counters::default();
        for (error, times) in [(libc::EAGAIN, 2), (libc::ENOBUFS, 1), (libc::EPERM, 3), (libc::EMSGSIZE, 1)] {
            counters.drop_for(&io::Error::from_raw_os_error(error), times);
        }
        assert_eq!((counters.full, counters.unreachable, counters.too_big), (3, 3, 1));
    }
}
