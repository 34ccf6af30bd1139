//! Census: sums over all flows for status displays. It may be taken a few flows at a time, so that
//! packets do not wait for it.
//!
//! Flows start and end meanwhile. If a flow ends after it was counted, its counters are also among
//! those of removed flows, and are subtracted once. If a flow starts in a slot that was already
//! passed, it is counted after the others. So the sums keep the rules of [`super::Relay`], and no
//! counter is ever lower than in the previous census.

use std::time::{Duration, Instant};

use super::{Counters, FlowState, Pacing, Relay, Release, flow::Flow};

/// Sums over all flows of a relay.
#[derive(Debug, Clone, Default)]
pub struct Census {
    /// Counters, including those of removed flows.
    pub totals: Counters,
    /// Packets held back.
    pub held: usize,
    /// The longest current hold.
    pub hold: Duration,
    /// The largest interarrival jitter of the recently active flows.
    pub jitter: Duration,
    /// The longest delay of paced release and the largest clock drift, of the recently active
    /// flows; `None` if release is not paced.
    pub pacing: Option<Pacing>,
    /// For each leg, the largest lag behind the first leg, of the flows that it carried recently.
    pub skews: Vec<Option<Duration>>,
    /// For each leg, the longest round trip to a producer.
    pub round_trips: Vec<Option<Duration>>,
    /// The format of the first flow.
    pub first_format: Option<super::PacketFormat>,
}

/// A census in progress.
#[derive(Debug)]
pub(super) struct Ongoing {
    so_far: Census,
    /// How many more flows may be reported one by one.
    flows_left: usize,
    /// Flows heard since this time count as recently active.
    since: Instant,
    /// For each slot, whether its flow was counted.
    counted: Vec<bool>,
    /// Slots below this one have been passed.
    next: usize,
    /// Flows that started in slots that had been passed.
    born: Vec<u32>,
    /// How many of them may still be counted, so that a constant stream of new flows cannot keep
    /// the census from ending.
    born_left: usize,
    /// Counters of flows that ended after they were counted.
    twice: Counters,
}

impl Ongoing {
    fn new(flows_max: usize, since: Instant, relay: &Relay) -> Ongoing {
        let (legs, places) = (relay.config.legs, relay.flows.len());
        let pacing = match relay.config.release {
            Release::Paced(delay) => Some(Pacing { clock: "arrival", delay: delay.least(), drift_ppm: 0.0 }),
            _ => None,
        };
        let so_far =
            Census { pacing, skews: vec![None; legs], round_trips: vec![None; legs], ..Census::default() };
        let counted = Vec::with_capacity(places);
        Ongoing {
            so_far,
            flows_left: flows_max,
            since,
            counted,
            next: 0,
            born: Vec::new(),
            born_left: places,
            twice: Counters::default(),
        }
    }

    /// A flow starts in this slot.
    pub(super) fn begins(&mut self, place: u32) {
        if (place as usize) < self.next && self.born_left > 0 {
            self.born_left -= 1;
            self.born.push(place);
        }
    }

    /// The flow in this slot ends; its counters are added to those of the removed flows.
    pub(super) fn ends(&mut self, place: u32, counters: &Counters) {
        if let Some(counted) = self.counted.get_mut(place as usize)
            && std::mem::take(counted)
        {
            self.twice.add(counters);
        }
    }

    /// The next slot to count; `None` at the end.
    fn place(&mut self, places: usize) -> Option<usize> {
        if self.next < places {
            self.next += 1;
            self.counted.push(false);
            return Some(self.next - 1);
        }
        self.born.pop().map(|place| place as usize)
    }

    fn count(&mut self, place: usize, flow: &Flow, each: &mut impl FnMut(FlowState)) {
        if std::mem::replace(&mut self.counted[place], true) {
            return;
        }
        let Ongoing { so_far, since, .. } = self;
        so_far.totals.add(&flow.counters);
        so_far.held += flow.held();
        let (hold, jitter) = flow.timing();
        so_far.hold = so_far.hold.max(hold);
        if flow.last_arrival >= *since {
            so_far.jitter = so_far.jitter.max(jitter);
            so_far.pacing = so_far.pacing.map(|most| flow.pacing().map_or(most, |this| most.most(this)));
        }
        for (leg, skew) in so_far.skews.iter_mut().enumerate() {
            *skew = (*skew).max(flow.skew(leg, *since));
        }
        for (leg, trip) in so_far.round_trips.iter_mut().enumerate() {
            *trip = (*trip).max(flow.round_trip_on(leg as u8)); // there are at most LEGS_MAX
        }
        so_far.first_format.get_or_insert(flow.format);
        if self.flows_left > 0 {
            self.flows_left -= 1;
            each(flow.state());
        }
    }
}

impl Relay {
    /// Starts a census that reports at most `flows_max` flows; flows heard since `since` count as
    /// recently active. Cancels a census in progress.
    pub fn begin_census(&mut self, flows_max: usize, since: Instant) {
        self.census = Some(Box::new(Ongoing::new(flows_max, since, self)));
    }

    /// Continues the census with at most `flows` more flows. Calls `each` with the flows to
    /// report, in order of their ids. Returns the census once all flows were counted.
    pub fn go_on_with_census(&mut self, flows: usize, each: &mut impl FnMut(FlowState)) -> Option<Census> {
        let mut census = self.census.take()?;
        for _ in 0..flows {
            let Some(place) = census.place(self.flows.len()) else { return Some(self.finished(*census)) };
            if let Some(flow) = &self.flows[place] {
                census.count(place, flow, each);
            }
        }
        self.census = Some(census);
        None
    }

    fn finished(&self, census: Ongoing) -> Census {
        let Ongoing { mut so_far, twice, .. } = census;
        let undecided = self.undecided();
        so_far.totals.add(&self.others);
        so_far.totals.subtract(&twice);
        so_far.totals.media_received += undecided as u64;
        so_far.held += undecided;
        for (leg, trip) in so_far.round_trips.iter_mut().enumerate() {
            *trip = self.rist.as_ref().and_then(|rist| rist.round_trip(leg as u8)).or(*trip);
        }
        so_far
    }
}

#[cfg(test)]
mod tests;
