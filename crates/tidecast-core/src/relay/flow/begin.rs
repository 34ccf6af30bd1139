//! Starts a session: packets under probation are believed, and their numbering replaces the
//! current one.

use std::time::{Duration, Instant};

use super::{Config, Context, Flow, Session, jump::Jump};
use crate::{
    limits::{FEC_LEARN_HOLDS, FEC_LEARN_TIME_MIN, LEG_LAG_HOLDS, START_AT_ZERO},
    relay::{
        Fec, Output, PacketFormat,
        recovery::{MatrixTerms, Recovery},
    },
};

impl Flow {
    /// Believes the packets under probation: ends the old numbering and starts theirs.
    pub(in crate::relay) fn begin(&mut self, cx: &mut Context<'_>) {
        let window = self.window(cx.config);
        let Some(believed) = self.probation.take(self.space, window) else { return };
        for candidate in believed.others {
            self.refuse(candidate, cx);
        }
        for repeat in believed.repeats {
            self.drop_repeat(repeat, cx);
        }
        let since = believed.packets.first().map_or(cx.now, |first| first.arrived);
        let elapsed = self.alive.map_or(Duration::ZERO, |alive| since.saturating_duration_since(alive));
        if self.stands_still(believed.session, believed.first) {
            return self.pass_unnumbered(believed.first, believed.packets, cx);
        }
        let stamped = believed.packets.first().and_then(|first| self.stamped_after(&first.packet));
        self.flush_numbering(cx);
        self.predecessor = None;
        let is_of = |session: &Session| session.id == believed.session && session.standing.is_none();
        let goes_on = self.session.as_ref().is_some_and(is_of);
        let jump = Jump { first: believed.first, packets: believed.packets.len(), elapsed, stamped };
        if !(goes_on && self.jump(&jump, window, cx)) {
            self.start_session(believed.session, believed.first, since, cx);
        }
        for candidate in believed.packets {
            self.numbered(candidate.into(), cx);
        }
    }

    /// Starts a session whose first packet has the wire number `first` and came at `since`.
    fn start_session(&mut self, id: u32, first: u64, since: Instant, cx: &mut Context<'_>) {
        let first = self.first_number(first, cx.config);
        let next = self.first_extended(id, first);
        let mut session = Session::new(id, self.space, next, self.source, since);
        session.reorder.set_step(self.step.get());
        session.recovery = self.new_recovery(id, next, cx).map(Box::new);
        let mut old = self.session.take();
        let asked = old.as_mut().and_then(|old| old.asking.take());
        session.asking = self.start_asking(id, asked, cx);
        if session.recovery.is_some() || session.asking.is_some() {
            self.hold.promise(cx.now);
        }
        let same_id = old.as_ref().is_some_and(|old| old.id == id);
        if let Some(legs) = &mut self.legs {
            legs.start(next, same_id, cx.heard, cx.now);
        }
        if let Some(old) = old {
            let lag_max = self.hold.max() * LEG_LAG_HOLDS;
            session.succeed(old, first, self.legs.is_some().then(|| cx.now + lag_max));
        }
        self.session = Some(session);
        self.alive = Some(cx.now);
        self.jitter.restart();
        self.pause = 0;
        self.counters.sessions += 1;
        let key = self.key.to_string();
        let (flow, source) = (self.id, self.source);
        self.answer(Output::SessionStarted { flow, key, source, succeeds: None }, cx);
    }

    /// First wire number of a session whose first received packet has the number `first`. A
    /// restarted native session starts at 0, so packets missing below `first` were lost. In a flow
    /// that is new to the relay, they were sent before the relay listened.
    fn first_number(&self, first: u64, config: &Config) -> u64 {
        let near_zero = first < START_AT_ZERO.min(self.window(config));
        let restarts = self.session.is_some() && self.format == PacketFormat::Native;
        if restarts && near_zero { 0 } else { first }
    }

    /// First number of a session, extended.
    fn first_extended(&self, id: u32, first: u64) -> u64 {
        // Leaves one whole number space below it, so that numbers just before the first one extend
        // downwards.
        let next = self.space.modulus().map_or(first, |modulus| first + modulus);
        // A session that was given up too soon continues where it was.
        let back = self.session.as_ref().and_then(|session| session.ended_at(id));
        back.filter(|back| *back <= next).unwrap_or(next)
    }

    /// Recovery for a session with this id, whose first number is `next`.
    fn new_recovery(&self, id: u32, next: u64, cx: &Context<'_>) -> Option<Recovery> {
        let hold_max = cx.config.hold.max();
        let learn_until = cx.now + (hold_max * FEC_LEARN_HOLDS).max(FEC_LEARN_TIME_MIN);
        match self.format {
            PacketFormat::Native => Some(Recovery::blocks(next, learn_until)),
            PacketFormat::Rtp if cx.config.fec != Fec::Off => {
                let terms = MatrixTerms { learn_until, patience: hold_max, several: self.legs.is_some() };
                Some(Recovery::matrix(next, id, terms))
            }
            _ => None,
        }
    }
}
