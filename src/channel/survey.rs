//! Looks at how channels stand, on the packet thread that runs them: a slice at a time, and a small
//! share of its time at most, however many are asked for. A datagram does not pass here;
//! [`super::thread`] works at it between its turns.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::{Channel, state::ChannelState};
use crate::limits::{SURVEY_REST, SURVEY_SLICE};
use tidecast_net::clock;

/// A question for the state of one channel, or of all of them, and what was found so far.
pub(super) struct Survey {
    /// None: all channels.
    name: Option<String>,
    flows_max: usize,
    reply: oneshot::Sender<Vec<ChannelState>>,
    /// The place of the channel to look at.
    next: usize,
    /// When the channel was started that was begun with in that place: another one may have come
    /// there since.
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

    /// Goes on by a few flows. Answers whether all were seen.
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

/// Those that wait, of which the first is worked at.
pub(super) struct Surveys {
    waiting: VecDeque<Survey>,
    /// Nothing is done before.
    rest_until: Instant,
}

impl Surveys {
    pub(super) fn new(now: Instant) -> Surveys {
        Surveys { waiting: VecDeque::new(), rest_until: now }
    }

    pub(super) fn push(&mut self, survey: Survey) {
        self.waiting.push_back(survey);
    }

    /// When there is something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        (!self.waiting.is_empty()).then_some(self.rest_until)
    }

    /// Does one slice, if it is time for one.
    pub(super) fn go_on(&mut self, channels: &mut [Option<Channel>], now: Instant) {
        if self.waiting.is_empty() || now < self.rest_until {
            return;
        }
        let began = clock::now();
        let mut spent = Duration::ZERO;
        while spent < SURVEY_SLICE
            && let Some(survey) = self.waiting.front_mut()
        {
            // Nobody may wait for it any more.
            if survey.reply.is_closed() || survey.go_on(channels, now) {
                self.waiting.pop_front().map(|done| done.reply.send(done.states));
            }
            spent = clock::now().saturating_duration_since(began);
        }
        self.rest_until = began + spent + spent * SURVEY_REST;
    }
}
