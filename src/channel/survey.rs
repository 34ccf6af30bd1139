//! Surveys: collects the states of channels on their packet thread, in slices, with a limited
//! share of its time regardless of the number of requests. Packets do not pass here;
//! [`super::thread`] runs a slice between its turns.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::{Channel, state::ChannelState};
use crate::limits::{SURVEY_REST, SURVEY_SLICE};
use tidecast_net::clock;

/// A request for the state of one channel or all channels, and the result so far.
pub(super) struct Survey {
    /// `None`: all channels.
    name: Option<String>,
    flows_max: usize,
    reply: oneshot::Sender<Vec<ChannelState>>,
    /// Index of the next channel.
    next: usize,
    /// Start time of the channel whose survey was started at that index; another channel may have
    /// replaced it since.
    begun: Option<Instant>,
    states: Vec<ChannelState>,
}

impl Survey {
    pub(super) fn new(
        name: Option<String>,
        flows_max: usize,
        reply: oneshot::Sender<Vec<ChannelState>>,
    ) -> Survey {
        Survey { name, flows_max, reply, next: 0, begun: None, states: Vec::new() }
    }

    /// Continues by a few flows. Returns whether all were seen.
    fn go_on(&mut self, channels: &mut [Option<Channel>], now: Instant) -> bool {
        let Some(place) = channels.get_mut(self.next) else { return true };
        let wanted = |channel: &&mut Channel| self.name.as_deref().is_none_or(|name| channel.name() == name);
        let Some(channel) = place.as_mut().filter(wanted) else {
            (self.next, self.begun) = (self.next + 1, None);
            return false;
        };
        if self.begun != Some(channel.started()) {
            channel.begin_survey(now, self.flows_max);
            self.begun = Some(channel.started());
        }
        if let Some(state) = channel.go_on_with_survey(now) {
            self.states.push(state);
            (self.next, self.begun) = (self.next + 1, None);
        }
        false
    }
}

/// Waiting surveys; the first one is in progress.
pub(super) struct Surveys {
    waiting: VecDeque<Survey>,
    /// No slice runs before this time.
    rest_until: Instant,
}

impl Surveys {
    pub(super) fn new(now: Instant) -> Surveys {
        Surveys { waiting: VecDeque::new(), rest_until: now }
    }

    pub(super) fn push(&mut self, survey: Survey) {
        self.waiting.push_back(survey);
    }

    /// When the next slice is due.
    pub(super) fn due(&self) -> Option<Instant> {
        (!self.waiting.is_empty()).then_some(self.rest_until)
    }

    /// Runs a slice, if it is due.
    pub(super) fn go_on(&mut self, channels: &mut [Option<Channel>], now: Instant) {
        if self.waiting.is_empty() || now < self.rest_until {
            return;
        }
        let began = clock::now();
        let mut spent = Duration::ZERO;
        while spent < SURVEY_SLICE
            && let Some(survey) = self.waiting.front_mut()
        {
            // Drops a survey whose requester is gone.
            if survey.reply.is_closed() || survey.go_on(channels, now) {
                self.waiting.pop_front().map(|done| done.reply.send(done.states));
            }
            spent = clock::now().saturating_duration_since(began);
        }
        self.rest_until = began + spent + spent * SURVEY_REST;
    }
}
