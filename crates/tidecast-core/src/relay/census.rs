//! A count of all flows, for people and programs that ask how a channel stands. It may be taken a
//! few flows at a time, so that packets never wait for all of them.
//!
//! Flows come and go meanwhile. One that ends after it was counted is counted among those gone as
//! well, and taken off again; one that begins in a place that was passed already is counted after
//! the others. So the sums stay true to
//! [`super::Relay`]'s rules, and no counter is ever lower than at the count before.

use std::time::{Duration, Instant};

use super::{Counters, FlowState, Pacing, Relay, Release, flow::Flow};

/// All flows of a relay together.
#[derive(Debug, Clone, Default)]
pub struct Census {
    /// What was counted, forgotten flows included.
    pub totals: Counters,
    /// Packets held back.
    pub held: usize,
    /// The longest hold in force.
    pub hold: Duration,
    /// The largest interarrival jitter of the flows heard lately.
    pub jitter: Duration,
    /// The longest delay of a paced release, and the clock that is off most, of the flows heard
    /// lately; none if release is not paced.
    pub pacing: Option<Pacing>,
    /// By leg: how far it is behind the first one, the largest of the flows that it brought lately.
    pub skews: Vec<Option<Duration>>,
    /// By leg: the round trip to the producers.
    pub round_trips: Vec<Option<Duration>>,
    /// The format of the first flow.
    pub first_format: Option<super::PacketFormat>,
}

/// A census that is being taken.
#[derive(Debug)]
pub(super) struct Ongoing {
    so_far: Census,
    /// How many flows are still to be named.
    flows_left: usize,
    /// Flows heard since then count as heard lately.
    since: Instant,
    /// By place: whether the flow that is there was counted.
    counted: Vec<bool>,
    /// Places before this one were passed.
    next: usize,
    /// Flows that began in places that had been passed.
    born: Vec<u32>,
    /// How many of them may still be counted: new flows that never end must not keep a census from
    /// ending.
    born_left: usize,
    /// Of flows that ended after they were counted.
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

    /// A flow has begun in this place.
    pub(super) fn begins(&mut self, place: u32) {
        if (place as usize) < self.next && self.born_left > 0 {
            self.born_left -= 1;
            self.born.push(place);
        }
    }

    /// The flow in this place has ended; its counters are among those of the flows gone.
    pub(super) fn ends(&mut self, place: u32, counters: &Counters) {
        if let Some(counted) = self.counted.get_mut(place as usize)
            && std::mem::take(counted)
        {
            self.twice.add(counters);
        }
    }

    /// The place to look at now; none: all were.
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
    /// Begins a census that names at most `flows_max` flows; flows heard since `since` count as
    /// heard lately. One that was being taken is given up.
    pub fn begin_census(&mut self, flows_max: usize, since: Instant) {
        self.census = Some(Box::new(Ongoing::new(flows_max, since, self)));
    }

    /// Goes on with the census that was begun, by at most so many flows; `each` takes those that it
    /// names, in the order of their ids. Gives the census when all were counted.
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
