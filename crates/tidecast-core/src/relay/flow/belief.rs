//! Packets that contradict the current session: they wait under probation until they are believed
//! ([`super::begin`]), or are dropped as duplicate, late or rejected.

use std::time::{Duration, Instant};

use super::{Context, Flow, Numbered, Predecessor, Session};
use crate::{
    limits::{PACE_PACKETS, SILENCE_MAX, START_GRACE},
    relay::{
        PacketFormat,
        probation::{Candidate, Grace, Repeat, Silence, Verdict},
        reorder::Stored,
    },
};

/// Reject reason: the number has already come with other content.
const CONFLICT: &str = "conflict";

impl Flow {
    /// This flow as predecessor of a new one.
    pub(in crate::relay) fn as_predecessor(&self) -> Predecessor {
        Predecessor { id: self.id, key: self.key, silence: self.silence() }
    }

    /// How long the current numbering must be silent before an unconfirmed one is believed. At
    /// least the hold; for a flow with more than one packet a second also long enough for its next
    /// packet to arrive.
    pub(super) fn silence(&self) -> Duration {
        let hold = self.hold.get();
        match self.rate.get() {
            Some(rate) if rate > 1.0 => hold.max(Duration::from_secs_f64(1.25 / rate).min(SILENCE_MAX)),
            _ => hold,
        }
    }

    /// Numbers per second, if packets follow each other so closely that a single one far ahead is
    /// conspicuous.
    pub(super) fn brisk(&self) -> Option<f64> {
        let fast = |rate: &f64| rate * self.hold.get().as_secs_f64() >= PACE_PACKETS;
        self.rate.get().filter(fast).map(|rate| rate * self.step.get() as f64)
    }

    /// How long announced numbers may still arrive: until the flow's next packet is overdue.
    pub(super) fn patience(&self) -> Duration {
        let interval = self.rate.get().map_or(SILENCE_MAX.as_secs_f64(), |rate| 1.25 / rate);
        // The longer hold for repair packets must not delay the end of a flow that has none.
        let promised = |session: &Session| session.asking.is_some() || session.protected_span() > 0;
        let protected = self.session.as_ref().is_some_and(promised);
        let hold = if protected { self.hold.get() } else { self.hold.measured() };
        hold.max(Duration::try_from_secs_f64(interval).unwrap_or(SILENCE_MAX))
    }

    /// Times that packets under probation wait. `alive`: when the numbering that they contradict
    /// was last seen.
    pub(super) fn silence_since(&self, alive: Option<Instant>) -> Silence {
        let usual = self.predecessor.as_ref().map_or(self.silence(), |old| old.silence);
        let believed_after = if self.brisk().is_some() { usual.max(SILENCE_MAX) } else { usual };
        // A flow without a numbering has no rate yet, so its second packet may take longer.
        let kept_for = if self.session.is_some() { 2 * usual } else { (2 * usual).max(2 * SILENCE_MAX) };
        Silence { alive, believed_after, kept_for }
    }

    /// Puts a packet that does not fit the current numbering under probation.
    pub(super) fn on_probation(&mut self, arrived: Numbered, cx: &mut Context<'_>) {
        let at_zero = self.format == PacketFormat::Native && arrived.number == 0;
        let first_of_all = self.session.is_none() && self.predecessor.is_none();
        let candidate = Candidate {
            session: arrived.session,
            number: arrived.number,
            span: arrived.span,
            packet: arrived.packet,
            fingerprint: arrived.fingerprint,
            arrived: cx.now,
            leg: arrived.leg,
            stale: false,
            repeat: None,
            conflict: false,
        };
        self.offer(candidate, cx);
        if first_of_all {
            let grace = if at_zero { Duration::ZERO } else { START_GRACE.min(self.hold.get()) };
            self.probation.begin_by(cx.now + grace);
        }
    }

    pub(super) fn offer(&mut self, mut candidate: Candidate, cx: &mut Context<'_>) {
        if self.probation.has(&candidate, self.repeat_age()) {
            return self.drop_repeat((candidate, Repeat::Duplicate), cx);
        }
        cx.tighten(&mut candidate.packet);
        let (since_first, since_pair) = match &self.session {
            None => (Duration::ZERO, START_GRACE.min(self.hold.get())),
            Some(_) => (self.next_due(), self.hold.reordering()),
        };
        let grace = Grace { since_first, since_pair };
        if let Some(evicted) = self.probation.offer(candidate, self.space, grace) {
            self.refuse(evicted, cx);
        }
    }

    /// Drops a packet under probation that is not believed.
    pub(super) fn refuse(&mut self, candidate: Candidate, cx: &mut Context<'_>) {
        match candidate.repeat {
            Some(repeat) => self.drop_repeat((candidate, repeat), cx),
            None => {
                self.counters.rejected += 1;
                if candidate.conflict {
                    self.conflicts(cx);
                }
                cx.spend(candidate.packet);
            }
        }
    }

    /// Counts a packet that is not believed because its number has come with other content.
    pub(super) fn conflicts(&mut self, cx: &mut Context<'_>) {
        self.counters.conflicts += 1;
        *cx.rejects.entry(CONFLICT).or_default() += 1;
    }

    /// Takes packets out of probation that are within the window now.
    pub(super) fn readmit(&mut self, window: u64, cx: &mut Context<'_>) {
        let Some(session) = &self.session else { return };
        let fits = |candidate: &Candidate| {
            candidate.session == session.id && session.is_ahead(session.extend(candidate.number), window)
        };
        for candidate in self.probation.readmit(fits) {
            self.in_session(candidate.into(), cx);
        }
    }

    /// Handles a number that was delivered, stored or given up before.
    pub(super) fn repeated(
        &mut self,
        repeat: Repeat,
        (wire, leg): (u64, u8),
        stored: Stored,
        cx: &mut Context<'_>,
    ) {
        let silence = self.silence();
        let candidate = self.candidate(wire, stored, leg);
        for repeat in self.probation.offer_repeat(candidate, repeat, self.space, silence) {
            self.drop_repeat(repeat, cx);
        }
    }

    /// Handles a number that came before. If that was longer ago than any network duplicates
    /// packets, the producer has restarted its numbering with the same content.
    pub(super) fn again(
        &mut self,
        repeat: Repeat,
        number: u64,
        (wire, leg): (u64, u8),
        stored: Stored,
        cx: &mut Context<'_>,
    ) {
        if self.age(number, cx.now) <= self.repeat_age() {
            if self.is_last_again(number, stored.span) && repeat == Repeat::Duplicate {
                // the highest known number cannot start a run of known numbers
                return self.drop_repeat((self.candidate(wire, stored, leg), repeat), cx);
            }
            return self.repeated(repeat, (wire, leg), stored, cx);
        }
        let candidate = Candidate { repeat: Some(repeat), ..self.candidate(wire, stored, leg) };
        self.offer(candidate, cx);
        if self.is_last(wire) {
            self.look_for_standing(wire, cx);
        }
    }

    /// Whether these numbers are the last before the head, while no packet is held back and no
    /// repeated packet waits.
    fn is_last_again(&self, number: u64, span: u64) -> bool {
        let is_last =
            |session: &Session| session.reorder.is_calm() && number + span == session.reorder.next();
        self.probation.is_empty() && self.session.as_ref().is_some_and(is_last)
    }

    /// It was no restart: drops the packet as a duplicate or late, and learns how late packets
    /// come.
    pub(super) fn drop_repeat(&mut self, (candidate, repeat): (Candidate, Repeat), cx: &mut Context<'_>) {
        match repeat {
            Repeat::Duplicate => self.counters.duplicate += 1,
            Repeat::Late(lateness) => {
                self.counters.late += 1;
                if let Some(lateness) = lateness {
                    self.hold.saw_lateness(lateness, cx.now);
                }
            }
        }
        cx.spend(candidate.packet);
    }

    pub(super) fn candidate(&self, wire: u64, stored: Stored, leg: u8) -> Candidate {
        Candidate {
            arrived: stored.packet.arrived,
            session: self.session.as_ref().map_or(0, |session| session.id),
            number: wire,
            span: stored.span,
            packet: stored.packet,
            fingerprint: stored.fingerprint,
            leg,
            stale: false,
            repeat: None,
            conflict: false,
        }
    }

    pub(super) fn reject_probation(&mut self, cx: &mut Context<'_>) {
        let (candidates, repeats) = self.probation.clear();
        for candidate in candidates {
            self.refuse(candidate, cx);
        }
        for repeat in repeats {
            self.drop_repeat(repeat, cx);
        }
    }

    /// Handles the timeouts of packets under probation. `alive`: when the current numbering was
    /// last seen, this flow's own or its predecessor's. `true`: call [`Flow::begin`].
    pub(in crate::relay) fn poll_probation(&mut self, alive: Option<Instant>, cx: &mut Context<'_>) -> bool {
        if self.probation.is_empty() {
            return false;
        }
        let silence = self.silence_since(alive);
        loop {
            match self.probation.poll(cx.now, silence) {
                Verdict::Wait => return false,
                Verdict::Believe => return true,
                Verdict::Reject(candidate) => self.refuse(candidate, cx),
                Verdict::Repeats(repeats) => {
                    for repeat in repeats {
                        self.drop_repeat(repeat, cx);
                    }
                }
            }
        }
    }
}
