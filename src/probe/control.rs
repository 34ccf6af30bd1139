//! Counts RTCP: reports, requests for retransmission, and packets that distinguish RIST from plain
//! RTP.

use super::report::ControlReport;
use tidecast_wire::rtcp::{Compound, Packet};

/// Counts RTCP packets by kind.
#[derive(Debug, Default)]
pub(super) struct Control {
    counts: ControlReport,
}

impl Control {
    /// Processes one datagram. Returns `false` if it is not RTCP.
    pub(super) fn push(&mut self, bytes: &[u8]) -> bool {
        let Ok(compound) = Compound::parse(bytes) else { return false };
        self.counts.datagrams += 1;
        for packet in compound.packets().flatten() {
            match packet {
                Packet::SenderReport(_) => self.counts.sender_reports += 1,
                Packet::ReceiverReport(_) => self.counts.receiver_reports += 1,
                Packet::Nack(_) => self.counts.requests += 1,
                Packet::EchoRequest(_) | Packet::EchoResponse(_) => self.counts.rist = true,
                _ => {}
            }
        }
        true
    }

    /// Returns the counters, or `None` if there was no RTCP.
    pub(super) fn report(&self) -> Option<ControlReport> {
        (self.counts.datagrams > 0).then_some(self.counts)
    }
}
