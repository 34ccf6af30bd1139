//! RTCP of RTP senders, beside their media or among it (RFC 5761). Sender reports relate the
//! clocks of a session's streams, so receivers need them for lip synchronisation (RFC 3550 section
//! 6.4.1). It is forwarded unchanged.
//!
//! A report counts only if it names the SSRC of a flow and comes from that flow's host. With
//! several legs, the first copy is forwarded.

use std::{collections::VecDeque, net::SocketAddr, time::Instant};

use super::{Output, Relay, arrival::FlowKey};
use crate::{
    buffer::Buffer,
    limits::{REPORT_COPIES_MAX, REPORT_COPY_AGE},
};
use tidecast_wire::{
    Reason, Reject,
    rtcp::{self, Compound},
};

/// Offset of the sender's SSRC in every common RTCP packet.
const SSRC: usize = 4;

/// Port on which a report came and is forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beside {
    /// On the port above the media's.
    Above,
    /// On the media's own port.
    Muxed,
}

/// Recently forwarded reports, to recognize copies from other legs.
#[derive(Debug, Default)]
pub(super) struct Reports {
    recent: VecDeque<(u32, Instant)>,
}

impl Reports {
    /// Whether a copy has already been forwarded.
    fn is_copy(&mut self, bytes: &[u8], now: Instant) -> bool {
        let old = |(_, at): &(u32, Instant)| now.saturating_duration_since(*at) > REPORT_COPY_AGE;
        while self.recent.front().is_some_and(old) || self.recent.len() >= REPORT_COPIES_MAX {
            self.recent.pop_front();
        }
        let hash = crc32fast::hash(bytes);
        let copy = self.recent.iter().any(|(known, _)| *known == hash);
        if !copy {
            self.recent.push_back((hash, now));
        }
        copy
    }
}

/// Origin of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reporter {
    /// The sender of a flow.
    Ours,
    /// It names a flow of another host.
    Elsewhere,
    /// It names no flow: it is a receiver's, or the media has not come yet.
    Unknown,
}

impl Relay {
    fn reporter_of(&self, leg: u8, source: SocketAddr, bytes: &[u8]) -> Reporter {
        let ssrc = bytes.get(SSRC..).and_then(<[u8]>::first_chunk).map(|ssrc| u32::from_be_bytes(*ssrc));
        let flow = ssrc.and_then(|ssrc| self.live(*self.by_key.get(&FlowKey::Ssrc(ssrc))?));
        match flow {
            None => Reporter::Unknown,
            Some(flow) if flow.is_of_host(leg, source) => Reporter::Ours,
            Some(_) => Reporter::Elsewhere,
        }
    }

    /// Takes RTCP on the media's port. `Err`: it is not forwarded, and the caller counts it as
    /// foreign.
    #[cold]
    #[inline(never)]
    pub(super) fn muxed_report(
        &mut self,
        now: Instant,
        leg: u8,
        source: SocketAddr,
        bytes: &[u8],
    ) -> Result<(), ()> {
        if Compound::parse(bytes).is_err() || self.reporter_of(leg, source, bytes) != Reporter::Ours {
            return Err(());
        }
        self.count_report(leg);
        self.pass_report(now, bytes, Beside::Muxed);
        Ok(())
    }

    /// Takes RTCP on the port above the media's. A damaged packet is only counted.
    pub(super) fn report(&mut self, now: Instant, leg: u8, source: SocketAddr, bytes: Buffer) {
        let leg = self.leg(leg);
        self.legs[usize::from(leg)].bytes += bytes.len() as u64;
        self.others.bytes_received += bytes.len() as u64;
        if let Err(error) = Compound::parse(&bytes) {
            self.legs[usize::from(leg)].media += 1;
            self.others.media_received += 1;
            self.refuse_beside(rejected(&error), now, source, &bytes);
            return self.spend(bytes);
        }
        self.count_report(leg);
        match self.reporter_of(leg, source, &bytes) {
            Reporter::Ours => self.pass_report(now, &bytes, Beside::Above),
            Reporter::Elsewhere => *self.rejects.entry(super::repair::OTHER_SOURCE).or_default() += 1,
            Reporter::Unknown => {}
        }
        self.spend(bytes);
    }

    fn count_report(&mut self, leg: u8) {
        self.legs[usize::from(leg)].control += 1;
        self.others.control_received += 1;
    }

    fn pass_report(&mut self, now: Instant, bytes: &[u8], beside: Beside) {
        if self.legs.len() == 1 || !self.reports.is_copy(bytes, now) {
            self.outputs.push_back(Output::Report { beside, bytes: bytes.to_vec() });
        }
    }
}

/// Reason for rejecting a datagram on the port for RTCP.
fn rejected(error: &rtcp::RtcpError) -> Reject {
    match error {
        rtcp::RtcpError::Version { .. } | rtcp::RtcpError::Type { .. } => Reject::Foreign(Reason::Format),
        rtcp::RtcpError::Padding { .. } => Reject::Corrupt(Reason::Padding),
        _ => Reject::Corrupt(Reason::Truncated),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        clock,
        relay::{Config, Input},
    };
    use tidecast_wire::{rtcp::Repr, rtp};

    const SSRC: u32 = 0x23c58;

    struct Core {
        relay: Relay,
        now: Instant,
    }

    impl Core {
        fn new(format: &str, legs: usize) -> Core {
            let config = Config { format: format.parse().unwrap(), legs, ..Config::default() };
            Core { relay: Relay::new(config), now: clock::now() }
        }

        fn outputs(&mut self) -> Vec<(Beside, Vec<u8>)> {
            let mut reports = Vec::new();
            loop {
                match self.relay.poll_output() {
                    Output::Report { beside, bytes } => reports.push((beside, bytes)),
                    Output::Timeout(_) => return reports,
                    _ => {}
                }
            }
        }

        fn packet(&mut self, leg: u8, source: &str, bytes: &[u8]) -> Vec<(Beside, Vec<u8>)> {
            let (now, source, bytes) = (self.now, source.parse().unwrap(), Buffer::from(bytes));
            self.relay.handle_input(Input::Packet { now, leg, source, bytes });
            self.outputs()
        }

        fn above(&mut self, leg: u8, source: &str, bytes: &[u8]) -> Vec<(Beside, Vec<u8>)> {
            let (now, source, bytes) = (self.now, source.parse().unwrap(), Buffer::from(bytes));
            self.relay.handle_input(Input::Report { now, leg, source, bytes });
            self.outputs()
        }

        /// A media packet of the flow.
        fn media(&mut self, leg: u8, source: &str) {
            for sequence in 1..=4 {
                let mut bytes = Vec::new();
                let (timestamp, payload) = (u32::from(sequence) * 160, &[7u8; 160][..]);
                let repr =
                    rtp::Repr { marker: false, payload_type: 0, sequence, timestamp, ssrc: SSRC, payload };
                repr.emit(&mut bytes);
                assert_eq!(self.packet(leg, source, &bytes), []);
            }
        }
    }

    /// A sender report and a CNAME.
    fn report(ssrc: u32) -> Vec<u8> {
        let mut bytes = vec![0x80, 200, 0, 6];
        bytes.extend(ssrc.to_be_bytes());
        bytes.extend([1; 20]);
        Repr::Cname { ssrc, cname: "camera" }.emit(&mut bytes);
        bytes
    }

    #[test]
    fn reports_go_on_as_they_came_once_their_media_has_come() {
        for format in ["rtp", "auto"] {
            let mut core = Core::new(format, 1);
            let own = report(SSRC);
            assert_eq!(core.above(0, "10.0.0.5:5001", &own), [], "no media yet");
            core.media(0, "10.0.0.5:5000");
            assert_eq!(core.above(0, "10.0.0.5:5001", &own), [(Beside::Above, own.clone())]);
            assert_eq!(core.packet(0, "10.0.0.5:5000", &own), [(Beside::Muxed, own.clone())]);
            let counters = core.relay.totals();
            assert_eq!(
                (counters.control_received, counters.foreign, counters.corrupt),
                (3, 0, 0),
                "{format}"
            );
            assert_eq!(core.relay.legs()[0].control, 3);
        }
    }

    #[test]
    fn receivers_other_hosts_and_damage_get_nothing_through() {
        let mut core = Core::new("rtp", 1);
        core.media(0, "10.0.0.5:5000");
        assert_eq!(core.above(0, "10.0.0.5:5001", &report(9)), [], "a receiver");
        assert_eq!(core.above(0, "10.0.0.6:5001", &report(SSRC)), [], "another host");
        assert_eq!(core.relay.reject_reasons().get("other_source"), Some(&1));
        assert_eq!(core.packet(0, "10.0.0.6:5000", &report(SSRC)), [], "another host, muxed");
        assert_eq!(core.relay.reject_reasons().get("rtcp"), Some(&1));
        let mut cut = report(SSRC);
        cut.pop();
        assert_eq!(core.above(0, "10.0.0.5:5001", &cut), []);
        assert_eq!(core.packet(0, "10.0.0.5:5000", &cut), []);
        assert_eq!(core.above(0, "10.0.0.5:5001", b"text"), []);
        let counters = core.relay.totals();
        let discarded = counters.foreign + counters.corrupt;
        let held = core.relay.held() as u64;
        assert_eq!(counters.media_received, counters.delivered + discarded + held, "{counters:?}");
        assert_eq!(discarded, 4);
    }

    #[test]
    fn of_several_legs_the_first_copy_goes_on() {
        let mut core = Core::new("rtp", 2);
        core.media(0, "10.0.0.5:5000");
        core.media(1, "10.1.0.5:5000");
        let own = report(SSRC);
        assert_eq!(core.above(0, "10.0.0.5:5001", &own).len(), 1);
        assert_eq!(core.above(1, "10.1.0.5:5001", &own), []);
        core.now += 2 * REPORT_COPY_AGE + Duration::from_secs(1);
        assert_eq!(core.above(1, "10.1.0.5:5001", &own).len(), 1);
    }
}
