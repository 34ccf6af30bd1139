//! Follow-up work after an input or a timeout: deadlines, and the next timer.

use std::{cmp::Reverse, time::Instant};

use super::{Flow, PacketFormat, Relay};
use crate::limits::SWEEP_INTERVAL;

impl Relay {
    /// Runs after an input: handles probation, deadlines and bounds, and sets the next timer.
    pub(super) fn follow_up(&mut self, index: u32, now: Instant) {
        if self.live(index).is_some_and(Flow::has_probation) {
            let alive = self.alive(index);
            let (flow, mut cx) = self.split(index, now);
            if flow.poll_probation(alive, &mut cx) {
                self.begin(index, now);
            }
        }
        let (flow, mut cx) = self.split(index, now);
        flow.weigh_sources(&mut cx);
        flow.judge_legs(&mut cx);
        flow.poll(&mut cx);
        flow.ask(&mut cx);
        flow.release(&mut cx);
        flow.settle_budget(&mut cx);
        flow.look(&cx);
        self.schedule(index, now);
        if !self.wanted.is_empty() {
            self.send_wanted(now);
        }
        if !self.trials.is_empty() {
            self.judge_trials(now);
        }
    }

    /// Starts a numbering that is believed.
    fn begin(&mut self, index: u32, now: Instant) {
        let (flow, mut cx) = self.split(index, now);
        flow.begin(&mut cx);
        if let Some(round_trip) = self.round_trip_known(index) {
            self.flow_mut(index).round_trip_is(round_trip, now);
        }
        let (flow, _) = self.split(index, now);
        let (source, format) = (flow.source, flow.format);
        if format == PacketFormat::Rtp {
            if self.by_source.len() >= 2 * self.config.flows_max {
                self.by_source.clear();
            }
            self.by_source.insert(source, index);
            self.protect(index);
        }
    }

    pub(super) fn schedule(&mut self, index: u32, now: Instant) {
        let probation = self.live(index).is_some_and(Flow::has_probation);
        let alive = if probation { self.alive(index) } else { None };
        let verdict = if self.trials.is_empty() { None } else { self.verdict_due(index) };
        let Some(flow) = self.flows[index as usize].as_mut() else { return };
        if let Some(at) = flow.deadline(alive, now).into_iter().chain(verdict).min()
            && flow.scheduled.is_none_or(|scheduled| at < scheduled || scheduled <= now)
        {
            flow.scheduled = Some(at);
            self.timers.push(Reverse((at, index)));
        }
    }

    pub(super) fn timeout(&mut self, now: Instant) {
        while let Some(Reverse((at, index))) = self.timers.peek().copied() {
            if at > now {
                break;
            }
            self.timers.pop();
            let Some(flow) = self.flows.get_mut(index as usize).and_then(Option::as_mut) else { continue };
            if flow.scheduled == Some(at) {
                flow.scheduled = None;
                self.follow_up(index, now);
            }
        }
        if self.rist.as_ref().and_then(|rist| rist.due()).is_some_and(|at| at <= now) {
            self.poll_rist(now);
        }
        self.expire_sources(now);
        if self.sweep_at.is_some_and(|at| at <= now) {
            self.sweep(now);
            self.sweep_at = Some(now + SWEEP_INTERVAL);
        }
    }
}
