//! SMPTE ST 2022-1 recovery of one RTP stream: passes arrivals to the decoder, and releases
//! recovered packets once the original is overdue.
//!
//! The decoder recovers at once. A recovered packet waits here for the grace that the session's
//! reordering requires, counted from when a later packet shows that the original is missing:
//! repair packets use other sockets, and often overtake the media that they protect.

use std::{
    collections::VecDeque,
    ops::Range,
    time::{Duration, Instant},
};

use super::{Findings, Means};
use crate::limits::{FEC_FORGET_PACKETS, ST2022_TAIL_GRACE};
use tidecast_wire::{
    fec::matrix::{Decoder, News, Refused, Sum},
    limits::{FEC_LEARN_PACKETS, ST2022_NUMBERS_MAX},
    rtp,
    seq::Space,
    st2022::{Repair, Shard},
};

/// A recovered packet.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::relay) struct RebuiltDatagram {
    pub(in crate::relay) number: u64,
    /// The whole datagram, as it was sent.
    pub(in crate::relay) packet: Vec<u8>,
}

/// A number that the decoder has recovered or given up.
#[derive(Debug)]
struct Verdict {
    number: u64,
    since: Instant,
    /// Whether a higher number has come.
    overtaken: bool,
}

impl Verdict {
    fn deadline(&self, grace: Duration) -> Instant {
        self.since + if self.overtaken { grace } else { grace.max(ST2022_TAIL_GRACE) }
    }
}

/// How long to wait for repair packets.
#[derive(Debug, Clone, Copy)]
pub(in crate::relay) struct MatrixTerms {
    /// Until then packets are kept even though no repair packet has come.
    pub(in crate::relay) learn_until: Instant,
    /// How late a repair packet is still useful: the longest hold.
    pub(in crate::relay) patience: Duration,
    /// Whether there are several legs. A leg without repair packets so far may bring some until
    /// `learn_until`.
    pub(in crate::relay) several: bool,
}

/// Recovery of one session.
#[derive(Debug)]
pub(in crate::relay) struct MatrixRecovery {
    decoder: Decoder,
    ssrc: u32,
    /// The session's first number.
    start: u64,
    verdicts: Vec<Verdict>,
    /// Arrivals of the latest packets, as far back as repair packets may come.
    arrivals: VecDeque<(u64, Instant)>,
    terms: MatrixTerms,
    /// The highest number when the last repair packet came.
    last_repair: Option<u64>,
    keeping: bool,
}

/// The part of a media packet that recovery keeps.
pub(in crate::relay) fn kept(packet: &[u8]) -> Option<Sum> {
    Shard::of(packet).map(Sum::from)
}

impl MatrixRecovery {
    /// Recovery for a session with this SSRC whose first number is `start`.
    pub(in crate::relay) fn new(start: u64, ssrc: u32, terms: MatrixTerms) -> MatrixRecovery {
        MatrixRecovery {
            decoder: Decoder::new(start),
            ssrc,
            start,
            verdicts: Vec::new(),
            arrivals: VecDeque::new(),
            terms,
            last_repair: None,
            keeping: true,
        }
    }

    /// Memory of the kept packets, in bytes.
    pub(in crate::relay) fn bytes(&self) -> usize {
        let usual = 2 * FEC_LEARN_PACKETS as usize;
        self.decoder.bytes()
            + self.arrivals.capacity().saturating_sub(usual) * size_of::<(u64, Instant)>()
            + self.verdicts.capacity() * size_of::<Verdict>()
    }

    /// Maximum numbers between a packet and the repair packet that recovers it: a matrix and the
    /// next one. The reorder window must not be smaller.
    pub(in crate::relay) fn span(&self) -> u64 {
        2 * self.decoder.span()
    }

    /// L and D, from the latest repair packets.
    pub(in crate::relay) fn shape(&self) -> Option<(u64, u64)> {
        self.decoder.shape()
    }

    /// Whether packets are kept at all; if not, [`MatrixRecovery::media`] need not be called.
    pub(in crate::relay) fn keeping(&self) -> bool {
        self.keeping
    }

    /// Whether nothing is kept or missing, and no matrix is known.
    pub(in crate::relay) fn is_idle(&self) -> bool {
        !self.keeping && self.verdicts.is_empty() && self.span() == 0
    }

    /// Whether numbers were recovered or given up that are not overdue yet.
    pub(in crate::relay) fn misses(&self) -> bool {
        !self.verdicts.is_empty()
    }

    /// Takes a new media packet.
    pub(in crate::relay) fn media(
        &mut self,
        number: u64,
        shard: Sum,
        means: &mut Means<'_>,
    ) -> Findings<RebuiltDatagram> {
        if self.is_unprotected(number, means.now) {
            self.forget();
        }
        if !self.keeping || number < self.start || means.room < shard.body.len() {
            return Findings::default();
        }
        self.arrived(number, means.now);
        let news = self.decoder.media(number, shard);
        self.settle(news, means)
    }

    /// Whether repair packets should have come by now, if there are any.
    fn is_unprotected(&self, number: u64, now: Instant) -> bool {
        match self.last_repair {
            Some(last) => number > last + FEC_FORGET_PACKETS + self.span(),
            None => number > self.start + FEC_LEARN_PACKETS && now >= self.terms.learn_until,
        }
    }

    /// Moves the head to `head`: lower numbers are settled.
    pub(in crate::relay) fn waits_from(&mut self, head: u64) {
        self.decoder.waits_from(head);
    }

    /// Takes a media packet whose number is known.
    pub(in crate::relay) fn came_again(&mut self, number: u64, shard: &Sum) {
        self.decoder.media_again(number, shard);
    }

    fn arrived(&mut self, number: u64, now: Instant) {
        let (least, most) = (self.span().max(FEC_LEARN_PACKETS) as usize, ST2022_NUMBERS_MAX as usize);
        while let Some((_, first)) = self.arrivals.front()
            && self.arrivals.len() >= least
            && (now > *first + self.terms.patience || self.arrivals.len() >= most)
        {
            self.arrivals.pop_front();
        }
        self.arrivals.push_back((number, now));
        for verdict in self.verdicts.iter_mut().filter(|v| !v.overtaken && v.number < number) {
            (verdict.overtaken, verdict.since) = (true, now);
        }
    }

    /// Frees the memory: the session has no FEC any more, or others need it.
    pub(in crate::relay) fn forget(&mut self) {
        *self = MatrixRecovery { keeping: false, ..MatrixRecovery::new(self.start, self.ssrc, self.terms) };
    }

    /// Takes a repair packet from a leg. `next` is the head: lower numbers are settled, and only
    /// help to recover others.
    pub(in crate::relay) fn repair(
        &mut self,
        leg: u8,
        repair: &Repair<'_>,
        next: u64,
        means: &mut Means<'_>,
    ) -> Findings<RebuiltDatagram> {
        let base = Space::RTP.extend(means.end, repair.base().into());
        if means.room < repair.shard().body.len() {
            return Findings { nonsense: 1, ..Findings::default() };
        }
        if !self.keeping {
            (self.decoder, self.keeping) = (Decoder::new(means.end), true);
        }
        let news = match self.decoder.repair_on(leg.into(), base, repair) {
            Ok(news) => news,
            Err(Refused::TooOld) => News::default(),
            Err(Refused::Nonsense) => News { nonsense: 1, ..News::default() },
        };
        self.last_repair = Some(means.end);
        let mut findings = self.settle(news, means);
        findings.span =
            self.began(base..base + repair.offset().max(repair.count())).map(|began| means.now - began);
        findings.awaited = self.decoder.announced().filter(|end| *end > means.end && *end > next);
        findings
    }

    /// When the first of these numbers came: the later arrival of the first two, since a single
    /// packet may have come early.
    fn began(&self, numbers: Range<u64>) -> Option<Instant> {
        let mut came: Vec<_> = self.arrivals.iter().filter(|(number, _)| numbers.contains(number)).collect();
        came.sort_unstable();
        came.iter().take(2).map(|(_, at)| *at).max()
    }

    /// When [`MatrixRecovery::poll`] has something to do.
    pub(in crate::relay) fn deadline(&self, grace: Duration) -> Option<Instant> {
        self.verdicts.iter().map(|verdict| verdict.deadline(grace)).min()
    }

    /// Releases and gives up what is overdue.
    pub(in crate::relay) fn poll(&mut self, means: &mut Means<'_>) -> Findings<RebuiltDatagram> {
        self.settle(News::default(), means)
    }

    /// The verdict on a number; creates one if there is none.
    fn found(&mut self, number: u64, means: &Means<'_>) -> &mut Verdict {
        let known = self.verdicts.iter().position(|verdict| verdict.number == number);
        let place = known.unwrap_or_else(|| {
            self.verdicts.push(Verdict { number, since: means.now, overtaken: number < means.end });
            self.verdicts.len() - 1
        });
        &mut self.verdicts[place]
    }

    fn settle(&mut self, news: News, means: &Means<'_>) -> Findings<RebuiltDatagram> {
        let mut findings = Findings { nonsense: news.nonsense, ..Findings::default() };
        for number in news.rebuilt {
            // A number that seemed unrecoverable, and was recovered by a late repair packet, keeps
            // its place.
            self.found(number, means);
        }
        let learning = self.terms.several && means.now < self.terms.learn_until;
        for number in news.hopeless.into_iter().filter(|_| !learning) {
            // A number that has just become unrecoverable gets a new wait: the missing parts may be
            // in transit.
            self.found(number, means).since = means.now;
        }
        let due = |verdict: &mut Verdict| {
            verdict.number < means.overdue || verdict.deadline(means.grace) <= means.now
        };
        for Verdict { number, .. } in self.verdicts.extract_if(.., due) {
            match self.decoder.rebuilt(number) {
                Some(shard) => match rebuild(number, self.ssrc, shard) {
                    Some(rebuilt) => findings.rebuilt.push(rebuilt),
                    None => findings.nonsense += 1,
                },
                None if self.decoder.is_hopeless(number) => findings.hopeless.push(number),
                // The original has come.
                None => {}
            }
        }
        findings
    }
}

/// Rebuilds the whole packet; `None` if it is no RTP packet, so that the repair packet was forged
/// or damaged.
fn rebuild(number: u64, ssrc: u32, shard: Shard<'_>) -> Option<RebuiltDatagram> {
    let mut packet = Vec::new();
    let emitted = shard.emit(number as u16, ssrc, &mut packet);
    (emitted && rtp::Packet::parse(&packet).is_ok()).then_some(RebuiltDatagram { number, packet })
}

#[cfg(test)]
mod tests;
