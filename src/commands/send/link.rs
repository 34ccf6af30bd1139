//! The way out: sends datagrams, counts them, and decides which errors end the run.

use std::io;
use std::time::Duration;

use super::seconds;
use crate::address::Output;
use crate::producer::socket::{OpenError, Sender};

/// A socket with its counters.
#[derive(Debug)]
pub(super) struct Link {
    sender: Sender,
    /// Data packets made.
    pub(super) data: u64,
    /// Repair packets made.
    pub(super) repairs: u64,
    /// Datagrams of any kind that left, and their bytes.
    sent: u64,
    bytes: u64,
    failed: u64,
    /// Why nothing at all could be sent.
    broken: Option<io::Error>,
}

impl Link {
    pub(super) fn open(output: &Output) -> Result<Link, OpenError> {
        let sender = Sender::open(output)?;
        Ok(Link { sender, data: 0, repairs: 0, sent: 0, bytes: 0, failed: 0, broken: None })
    }

    /// Sends a datagram. When one cannot be sent after others could, the network may come back: it is counted.
    pub(super) fn transmit(&mut self, datagram: &[u8]) {
        match self.sender.send(datagram) {
            Ok(()) => {
                self.sent += 1;
                self.bytes += datagram.len() as u64;
            }
            Err(error) if self.sent == 0 => {
                self.broken.get_or_insert(error);
            }
            Err(error) => {
                if self.failed == 0 {
                    tracing::warn!("{error}; going on");
                }
                self.failed += 1;
            }
        }
    }

    /// # Errors
    /// Why the very first datagram could not be sent: then the target is wrong.
    pub(super) fn check(&mut self) -> anyhow::Result<()> {
        self.broken.take().map_or(Ok(()), |error| Err(error.into()))
    }

    /// What was done, in a line.
    pub(super) fn summary(&self, elapsed: Duration) -> String {
        let Link { data, repairs, sent, bytes, failed, .. } = self;
        let target = self.sender.target();
        let mut line = format!(
            "sent to {target}: {data} datagrams and {repairs} repair packets in {}; {sent} packets, {bytes} bytes \
             in all",
            seconds(elapsed)
        );
        if *failed > 0 {
            line += &format!("; {failed} could not be sent");
        }
        line
    }
}
