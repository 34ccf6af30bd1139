//! Output of `send`: sends datagrams, counts them, and decides which errors end the run.

use std::io;
use std::time::Duration;

use anyhow::Context;

use super::seconds;
use crate::words::count;
use tidecast_core::history::{Requests, Settings};
use tidecast_net::address::Output;
use tidecast_net::clock;
use tidecast_producer::{Answering, OpenError, Sender};
use tidecast_wire::seal::Key;

/// A socket with its counters.
#[derive(Debug)]
pub(super) struct Link {
    sender: Sender,
    /// Data packets made.
    pub(super) data: u64,
    /// Repair packets made.
    pub(super) repairs: u64,
    /// Datagrams sent of any kind, and their bytes.
    sent: u64,
    bytes: u64,
    failed: u64,
    /// Answers requests for retransmission.
    answering: Option<Answering>,
    /// Error if no datagram could be sent at all.
    broken: Option<io::Error>,
}

impl Link {
    pub(super) fn open(output: &Output) -> Result<Link, OpenError> {
        let sender = Sender::open(output)?;
        Ok(Link { sender, data: 0, repairs: 0, sent: 0, bytes: 0, failed: 0, answering: None, broken: None })
    }

    /// Keeps sent packets of this session for retransmission, and answers requests.
    /// With a key only those who have it are answered.
    pub(super) fn answer(
        &mut self,
        session: u32,
        settings: Settings,
        key: Option<Key>,
    ) -> anyhow::Result<()> {
        let answering =
            Answering::start(&self.sender, session, settings).context("cannot wait for requests")?;
        #[cfg(feature = "seal")]
        if let Some(key) = key {
            answering.require(key);
        }
        #[cfg(not(feature = "seal"))]
        let _ = key; // there is none
        self.answering = Some(answering);
        Ok(())
    }

    /// Waits as long as receivers still request packets of the end of the session.
    pub(super) fn linger(&self) {
        if let Some(answering) = &self.answering {
            answering.linger();
        }
    }

    /// Sends a datagram. If it fails after others were sent, it is only counted, since the network
    /// may recover.
    pub(super) fn transmit(&mut self, datagram: &[u8]) {
        // Kept before it is sent, since a request may come quickly.
        if let Some(answering) = &self.answering {
            answering.keep(clock::now(), datagram);
        }
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

    /// Bytes sent so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// # Errors
    /// The error of the very first datagram, if it could not be sent: the target is wrong.
    pub(super) fn check(&mut self) -> anyhow::Result<()> {
        self.broken.take().map_or(Ok(()), |error| Err(error.into()))
    }

    /// Summary in one line.
    pub(super) fn summary(&self, elapsed: Duration) -> String {
        let Link { data, repairs, sent, bytes, failed, .. } = self;
        let target = self.sender.target();
        let mut line = format!(
            "sent to {target}: {} and {} in {}; {}, {} in all",
            count(*data, "datagram"),
            count(*repairs, "repair packet"),
            seconds(elapsed),
            count(*sent, "packet"),
            count(*bytes, "byte")
        );
        if *failed > 0 {
            line += &format!("; {failed} could not be sent");
        }
        line += &self.answering.as_ref().map(|a| answered(&a.requests())).unwrap_or_default();
        line
    }
}

/// Requests of receivers, as the end of the summary; empty if there were none.
fn answered(requests: &Requests) -> String {
    let Requests { numbers, malformed, foreign } = requests;
    let mut text = String::new();
    if numbers.requested > 0 {
        let (asked, resent) = (numbers.requested, numbers.resent);
        text += &format!("; {resent} of {asked} packets that were asked for sent again");
    }
    for (count, why) in [
        (numbers.gone, "were not kept any longer"),
        (numbers.recent, "had just been sent again"),
        (numbers.refused, "were beyond the share"),
    ] {
        if count > 0 {
            text += &format!(", {count} {why}");
        }
    }
    for (count, what) in [(malformed, "damaged requests"), (foreign, "datagrams that were no requests to us")]
    {
        if *count > 0 {
            text += &format!("; {count} {what}");
        }
    }
    text
}
