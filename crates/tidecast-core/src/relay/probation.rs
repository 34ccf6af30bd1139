//! Probation: packets that do not fit the current numbering are kept until their origin is clear.
//!
//! A jump, a new session id or a new SSRC is believed when consecutive packets confirm it, or when
//! the old numbering falls silent (RFC 3550, A.1, without its weakness: nothing moves the head
//! before that, and no packet that is believed later has been dropped meanwhile).

use std::{
    collections::VecDeque,
    mem,
    time::{Duration, Instant},
};

use super::Packet;
use crate::limits::{CANDIDATES_MAX, REPEATS_MAX};
use tidecast_wire::seq::Space;

/// A packet under probation.
#[derive(Debug)]
pub(super) struct Candidate {
    /// Session id of a native datagram, SSRC of RTP, otherwise 0.
    pub(super) session: u32,
    /// Wire number.
    pub(super) number: u64,
    pub(super) span: u64,
    pub(super) packet: Packet,
    pub(super) fingerprint: u32,
    pub(super) arrived: Instant,
    pub(super) leg: u8,
    /// The leg has since carried a packet of the current session, so this one forms no pair with
    /// a later one.
    pub(super) stale: bool,
    /// How it counts if it is not believed: as this repetition, or as rejected.
    pub(super) repeat: Option<Repeat>,
    /// The number has come with other content.
    pub(super) conflict: bool,
}

impl Candidate {
    fn follows(&self, before: &Candidate, space: Space) -> bool {
        let expected = before.number.wrapping_add(before.span);
        self.session == before.session && space.modulus().map_or(expected, |m| expected % m) == self.number
    }
}

/// Why a repeated number is dropped if it turns out to be no restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    Duplicate,
    /// How long higher numbers had been waiting for it, if that is known.
    Late(Option<Duration>),
}

/// A numbering that is believed: its first wire number, and its packets in order of arrival.
#[derive(Debug)]
pub(super) struct Believed {
    pub(super) session: u32,
    pub(super) first: u64,
    pub(super) packets: Vec<Candidate>,
    /// Kept packets that do not belong to it.
    pub(super) others: Vec<Candidate>,
    /// Packets that seemed to repeat numbers of the old numbering, and do.
    pub(super) repeats: Vec<(Candidate, Repeat)>,
}

/// The packets under probation of one flow.
#[derive(Debug, Default)]
pub(super) struct Probation {
    list: Vec<Candidate>,
    /// Consecutive packets that repeat known content: duplicates, unless the run becomes long.
    repeats: VecDeque<(Candidate, Repeat)>,
    /// Start of that run.
    run_since: Option<Instant>,
    /// A numbering that two packets agree on, or that nothing contradicts any more.
    confirmed: Option<Confirmed>,
}

/// A packet of a confirmed pair, and the time at which its numbering starts.
#[derive(Debug, Clone, Copy)]
struct Confirmed {
    session: u32,
    number: u64,
    leg: u8,
    /// Arrival of the first packet of the pair.
    since: Instant,
    begin_at: Instant,
}

impl Confirmed {
    fn at_once(candidate: &Candidate, begin_at: Instant) -> Confirmed {
        let Candidate { session, number, leg, arrived: since, .. } = *candidate;
        Confirmed { session, number, leg, since, begin_at }
    }
}

/// How long a confirmed numbering waits, in case the current one continues.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grace {
    /// From the first kept packet on: by then the next packet of the current numbering would have
    /// come.
    pub(super) since_first: Duration,
    /// From the confirmation on: by then overtaken packets come.
    pub(super) since_pair: Duration,
}

impl Probation {
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty() && self.repeats.is_empty()
    }

    /// Number of packets kept.
    pub(super) fn len(&self) -> usize {
        self.list.len() + self.repeats.len()
    }

    /// Memory of the packets kept, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let repeats = self.repeats.iter().map(|(c, _)| c);
        self.list.iter().chain(repeats).map(|c| c.packet.bytes.capacity()).sum()
    }

    /// The current numbering continues at `now`, on this leg. That ends every run on the leg, and
    /// no pair of candidates spans it. (On another leg, with a longer path, the old numbering goes
    /// on for a while after a restart.) A pair that came more than `stragglers` ago is no longer
    /// confirmed: a producer that restarts does not also continue its old numbering. Afterwards
    /// [`Probation::pop_repeat`] returns the repeats.
    pub(super) fn interrupted(&mut self, leg: u8, now: Instant, stragglers: Duration) {
        for candidate in self.list.iter_mut().filter(|candidate| candidate.leg == leg) {
            candidate.stale = true;
        }
        self.confirmed.take_if(|pair| pair.leg == leg && now > pair.since + stragglers);
    }

    /// Takes the oldest of the repeats.
    pub(super) fn pop_repeat(&mut self) -> Option<(Candidate, Repeat)> {
        self.repeats.pop_front()
    }

    /// Keeps a packet that contradicts the current numbering. A new numbering starts `grace`
    /// after it is confirmed. Returns the packet that had to make room.
    pub(super) fn offer(&mut self, candidate: Candidate, space: Space, grace: Grace) -> Option<Candidate> {
        let now = candidate.arrived;
        if let Some((last, _)) = self.repeats.back() {
            // The repeats may have been the start of this numbering.
            let joins = candidate.follows(last, space);
            if joins {
                self.list.extend(self.repeats.drain(..).map(|(c, _)| c));
            }
        }
        let pair = self
            .list
            .iter()
            .filter(|kept| !kept.stale)
            .find(|kept| candidate.follows(kept, space) || kept.follows(&candidate, space));
        if let Some(pair) = pair
            && self.confirmed.is_none()
        {
            let since = pair.arrived;
            let begin_at = (now + grace.since_pair).max(since + grace.since_first);
            self.confirmed = Some(Confirmed { since, ..Confirmed::at_once(&candidate, begin_at) });
        }
        let evicted = (self.list.len() >= CANDIDATES_MAX).then(|| self.list.remove(0));
        self.list.push(candidate);
        if let Some(confirmed) = &mut self.confirmed
            && self.list.iter().filter(|kept| !kept.stale).count() >= CANDIDATES_MAX
        {
            confirmed.begin_at = now;
        }
        evicted
    }

    /// Keeps a packet that seems to repeat a number that was delivered or given up. Returns the
    /// packets that certainly do. A long run of known content, while the old numbering is silent
    /// for `silence`, counts as a restart.
    pub(super) fn offer_repeat(
        &mut self,
        candidate: Candidate,
        repeat: Repeat,
        space: Space,
        silence: Duration,
    ) -> Vec<(Candidate, Repeat)> {
        let now = candidate.arrived;
        let joins = self.repeats.back().is_some_and(|(last, _)| candidate.follows(last, space));
        let mut resolved: Vec<_> = if joins { Vec::new() } else { self.repeats.drain(..).collect() };
        if self.repeats.is_empty() {
            self.run_since = Some(now);
        }
        let begun = Confirmed::at_once(&candidate, now);
        self.repeats.push_back((candidate, repeat));
        let known = self.repeats.iter().all(|(_, repeat)| *repeat == Repeat::Duplicate);
        let silent = self.run_since.is_some_and(|since| now >= since + silence);
        if self.repeats.len() > REPEATS_MAX && known && silent && self.confirmed.is_none() {
            self.list.extend(self.repeats.drain(..).map(|(c, _)| c));
            self.confirmed = Some(begun);
        } else if self.repeats.len() > CANDIDATES_MAX {
            resolved.extend(self.repeats.pop_front());
        }
        resolved
    }

    /// Collects a new flow's first packets: the flow starts at `begin_at` at the latest, whether
    /// or not more come.
    pub(super) fn begin_by(&mut self, begin_at: Instant) {
        if let Some(first) = self.list.first() {
            let confirmed = self.confirmed.get_or_insert(Confirmed::at_once(first, begin_at));
            confirmed.begin_at = begin_at.min(confirmed.begin_at);
        }
    }

    /// When to [`Probation::poll`] again.
    pub(super) fn deadline(&self, silence: Silence) -> Option<Instant> {
        if let Some(confirmed) = self.confirmed {
            return Some(confirmed.begin_at);
        }
        let first = self.list.first().map(|c| silence.begins(c).min(silence.ends(c)));
        let repeats = self.repeats.front().map(|(c, _)| c.arrived + silence.kept_for);
        [first, repeats].into_iter().flatten().min()
    }

    /// Handles timeouts: returns which packets are believed now, or are not believed any longer.
    pub(super) fn poll(&mut self, now: Instant, silence: Silence) -> Verdict {
        if let Some(confirmed) = self.confirmed {
            return if now >= confirmed.begin_at { Verdict::Believe } else { Verdict::Wait };
        }
        if let Some((first, _)) = self.repeats.front()
            && now >= first.arrived + silence.kept_for
        {
            return Verdict::Repeats(self.repeats.drain(..).collect());
        }
        let Some(first) = self.list.first() else { return Verdict::Wait };
        if now >= silence.begins(first) && !(first.stale && first.repeat.is_some()) {
            self.confirmed = Some(Confirmed::at_once(first, now));
            return Verdict::Believe;
        }
        if now >= silence.ends(first) {
            return Verdict::Reject(self.list.remove(0));
        }
        Verdict::Wait
    }

    /// Takes the believed numbering: all kept packets within `window` of the confirmed number.
    pub(super) fn take(&mut self, space: Space, window: u64) -> Option<Believed> {
        let Confirmed { session, number, .. } = self.confirmed.take()?;
        // Measures distances around a reference far from either end of the number space.
        let reference = space.modulus().map_or(number, |m| number + m);
        let distance = |c: &Candidate| {
            let extended = space.extend(reference, c.number);
            (c.session == session && extended.abs_diff(reference) < window).then_some(extended)
        };
        let (mut packets, others): (Vec<_>, Vec<_>) =
            self.list.drain(..).partition(|c| distance(c).is_some());
        // A number that the old numbering had given up came as one of the new numbering.
        let (late, repeats): (Vec<_>, Vec<_>) = mem::take(&mut self.repeats)
            .into_iter()
            .partition(|(c, repeat)| matches!(repeat, Repeat::Late(_)) && distance(c).is_some());
        packets.extend(late.into_iter().map(|(c, _)| c));
        packets.sort_by_key(|c| c.arrived);
        let first = packets.iter().filter_map(distance).min().unwrap_or(reference);
        Some(Believed {
            session,
            first: space.modulus().map_or(first, |m| first % m),
            packets,
            others,
            repeats,
        })
    }

    /// Whether this packet follows one of a confirmed numbering. It then belongs to that
    /// numbering, even if its number is the next one of the current numbering.
    pub(super) fn goes_on(&self, session: u32, number: u64, space: Space) -> bool {
        let follows = |last: &Candidate| {
            let expected = last.number.wrapping_add(last.span);
            !last.stale
                && last.session == session
                && space.modulus().map_or(expected, |m| expected % m) == number
        };
        self.confirmed.is_some() && self.list.iter().any(follows)
    }

    /// Whether the same packet is kept and came recently: the network has duplicated it.
    pub(super) fn has(&self, candidate: &Candidate, age: Duration) -> bool {
        self.list.iter().any(|kept| {
            (kept.session, kept.number, kept.fingerprint)
                == (candidate.session, candidate.number, candidate.fingerprint)
                && candidate.arrived <= kept.arrived + age
        })
    }

    /// Takes the packets of one number, if at least `least` of them came in a row.
    pub(super) fn take_standing(&mut self, number: u64, least: usize) -> Option<Vec<Candidate>> {
        let stands = |c: &Candidate| !c.stale && c.number == number;
        if self.list.iter().rev().take_while(|c| stands(c)).count() < least {
            return None;
        }
        let (standing, others) = mem::take(&mut self.list).into_iter().partition(stands);
        (self.list, self.confirmed) = (others, None);
        Some(standing)
    }

    /// Takes the packets that fit the current numbering now, unless another numbering is
    /// confirmed.
    pub(super) fn readmit(&mut self, fits: impl Fn(&Candidate) -> bool) -> Vec<Candidate> {
        if self.confirmed.is_some() {
            return Vec::new();
        }
        let (fitting, others) = mem::take(&mut self.list).into_iter().partition(fits);
        self.list = others;
        self.list.iter_mut().for_each(|candidate| candidate.stale = true);
        fitting
    }

    /// Takes packets that turn out to be something else. What they confirmed is no longer
    /// confirmed.
    pub(super) fn purge(&mut self, is_other: impl Fn(&Candidate) -> bool) -> Vec<Candidate> {
        let (others, kept): (Vec<_>, _) = std::mem::take(&mut self.list).into_iter().partition(is_other);
        self.list = kept;
        if !others.is_empty() {
            self.confirmed = None;
        }
        others
    }

    /// Takes all packets, at the end of the flow.
    pub(super) fn clear(&mut self) -> (Vec<Candidate>, Vec<(Candidate, Repeat)>) {
        self.confirmed = None;
        (mem::take(&mut self.list), self.repeats.drain(..).collect())
    }
}

/// How long a numbering waits that no second packet confirms.
#[derive(Debug, Clone, Copy)]
pub(super) struct Silence {
    /// When the old numbering was last seen.
    pub(super) alive: Option<Instant>,
    /// How long the old numbering must have been silent before a packet is believed unconfirmed.
    pub(super) believed_after: Duration,
    /// How long a packet is kept at most while the old numbering continues.
    pub(super) kept_for: Duration,
}

impl Silence {
    fn begins(&self, candidate: &Candidate) -> Instant {
        // The old numbering continued after a packet that seems to belong to it, so it does.
        if candidate.stale && candidate.repeat.is_some() {
            return self.ends(candidate);
        }
        self.alive.map_or(candidate.arrived, |alive| alive.max(candidate.arrived)) + self.believed_after
    }

    fn ends(&self, candidate: &Candidate) -> Instant {
        let went_on = self.alive.is_some_and(|alive| alive > candidate.arrived);
        candidate.arrived + if went_on { self.kept_for } else { self.kept_for.max(2 * self.believed_after) }
    }
}

/// Decision about packets under probation.
#[derive(Debug)]
pub(super) enum Verdict {
    /// None yet.
    Wait,
    /// A numbering is believed: call [`Probation::take`].
    Believe,
    /// The old numbering continues, so this packet is not believed.
    Reject(Candidate),
    /// These packets were repeats.
    Repeats(Vec<(Candidate, Repeat)>),
}
