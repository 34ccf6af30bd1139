//! Plain counters of the core. Each fate of a packet has exactly one counter, so they add up:
//! `media + recovered = delivered + discarded + held` and `expected = delivered numbers + lost`.
//! The names for Prometheus are in `metrics`; they are not used here.

use serde::Serialize;

/// Counters of one flow or a whole channel.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Counters {
    /// Datagrams that are neither valid repair nor valid control datagrams.
    pub media_received: u64,
    /// Valid FEC repair datagrams.
    pub repair_received: u64,
    /// Heartbeats, ends of session and other valid control datagrams.
    pub control_received: u64,
    /// UDP payload bytes of all datagrams.
    pub bytes_received: u64,
    /// Datagrams passed on.
    pub delivered: u64,
    /// Numbers that the producers used, as far as the relay saw them pass.
    pub expected: u64,
    /// Lost numbers: given up, and not waited for any more.
    pub lost: u64,
    /// Datagrams with requests for missing packets that were sent.
    pub requests_sent: u64,
    /// Numbers in those requests; a number that is requested again counts again.
    pub numbers_requested: u64,
    /// Retransmissions received, whether or not they were still of use.
    pub retransmissions_received: u64,
    /// Packets rebuilt from FEC.
    pub recovered_fec: u64,
    /// Packets that came as a retransmission.
    pub recovered_retransmission: u64,
    /// Recovered packets whose original came after all (counted there as a duplicate).
    pub recovered_spurious: u64,
    /// Packets that arrived after one with a higher number, and in time.
    pub reordered: u64,
    /// Discarded: the same number was there before.
    pub duplicate: u64,
    /// Discarded: the number had been given up.
    pub late: u64,
    /// Discarded: damaged, truncated or malformed.
    pub corrupt: u64,
    /// Discarded: another format than the channel's.
    pub foreign: u64,
    /// Discarded: a number, session or source that nothing confirmed, or beyond a limit.
    pub rejected: u64,
    /// Packets whose number had come with other content before. Each is also counted for what
    /// became of it.
    pub conflicts: u64,
    /// Sessions begun.
    pub sessions: u64,
    /// Paced release: delivered when their time had passed already.
    pub released_late: u64,
    /// Paced release: delivered before their time, to bound the memory or at the end.
    pub released_early: u64,
    /// MPEG-TS continuity errors, where the transport stream comes without RTP.
    pub ts_discontinuities: u64,
}

impl Counters {
    /// Datagrams not passed on, for whatever reason.
    pub fn discarded(&self) -> u64 {
        self.duplicate + self.late + self.corrupt + self.foreign + self.rejected
    }

    /// Packets recovered by FEC or retransmission.
    pub fn recovered(&self) -> u64 {
        self.recovered_fec + self.recovered_retransmission
    }

    /// Adds all of `other`.
    pub fn add(&mut self, other: &Counters) {
        self.merge(other, |mine, theirs| *mine += theirs);
    }

    /// Takes away all of `other`, which was added before.
    pub(super) fn subtract(&mut self, other: &Counters) {
        self.merge(other, |mine, theirs| *mine = mine.saturating_sub(theirs));
    }

    fn merge(&mut self, other: &Counters, with: impl Fn(&mut u64, u64)) {
        let Counters {
            media_received,
            repair_received,
            control_received,
            bytes_received,
            delivered,
            expected,
            lost,
            requests_sent,
            numbers_requested,
            retransmissions_received,
            recovered_fec,
            recovered_retransmission,
            recovered_spurious,
            reordered,
            duplicate,
            late,
            corrupt,
            foreign,
            rejected,
            conflicts,
            sessions,
            released_late,
            released_early,
            ts_discontinuities,
        } = other;
        with(&mut self.media_received, *media_received);
        with(&mut self.repair_received, *repair_received);
        with(&mut self.control_received, *control_received);
        with(&mut self.bytes_received, *bytes_received);
        with(&mut self.delivered, *delivered);
        with(&mut self.expected, *expected);
        with(&mut self.lost, *lost);
        with(&mut self.requests_sent, *requests_sent);
        with(&mut self.numbers_requested, *numbers_requested);
        with(&mut self.retransmissions_received, *retransmissions_received);
        with(&mut self.recovered_fec, *recovered_fec);
        with(&mut self.recovered_retransmission, *recovered_retransmission);
        with(&mut self.recovered_spurious, *recovered_spurious);
        with(&mut self.reordered, *reordered);
        with(&mut self.duplicate, *duplicate);
        with(&mut self.late, *late);
        with(&mut self.corrupt, *corrupt);
        with(&mut self.foreign, *foreign);
        with(&mut self.rejected, *rejected);
        with(&mut self.conflicts, *conflicts);
        with(&mut self.sessions, *sessions);
        with(&mut self.released_late, *released_late);
        with(&mut self.released_early, *released_early);
        with(&mut self.ts_discontinuities, *ts_discontinuities);
    }
}

/// Counters of one leg, as [`super::Relay::legs`] returns them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LegCounters {
    /// Media datagrams (see [`Counters::media_received`]).
    pub media: u64,
    /// Repair datagrams.
    pub repair: u64,
    /// Control datagrams.
    pub control: u64,
    /// UDP payload bytes of all of them.
    pub bytes: u64,
    /// Numbers that this leg carried before any other leg; counted for channels with several legs.
    pub first: u64,
    /// Numbers that another leg carried and this one did not, within the longest hold.
    pub missed: u64,
    /// Packets whose number another leg had carried with other content, within the longest hold.
    /// Each also counts as delivered, duplicate or the like.
    pub differing: u64,
}
