//! Schedule of the requests for one session's missing packets: which numbers, and when. Pure
//! logic.
//!
//! A missing number is first waited for, since it may only be late. It is requested at most
//! [`REQUESTS_MAX`] times: each time the answer is overdue, and once more at the last moment at
//! which an answer can still arrive before the gap is given up. A single packet can cause requests
//! for at most [`REQUESTS_UNPROVEN`] numbers until its neighbours confirm that it is not forged,
//! and the packet rate of a session limits all its requests together. A number counts as proven to
//! be missing when two higher ones have come, whatever a forged packet claimed before.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Range,
    time::{Duration, Instant},
};

use crate::limits::{
    REQUEST_GAPS_MAX, REQUEST_NEIGHBOURS, REQUEST_SLACK, REQUEST_WAIT_MIN, REQUESTS_LOGGED, REQUESTS_MAX,
    REQUESTS_PER_ANSWER, REQUESTS_PER_EVENT, REQUESTS_PER_PACKET, REQUESTS_PER_SECOND_MIN,
    REQUESTS_TRACKED_MAX, REQUESTS_UNPROVEN, RETRY_MIN,
};

/// Session-wide parameters of one scheduling pass.
#[derive(Debug, Clone, Copy)]
pub(in crate::relay) struct RequestTerms {
    pub(in crate::relay) now: Instant,
    /// How long a gap stays open in all.
    pub(in crate::relay) hold: Duration,
    /// How long to wait for a packet that is only late, or that repair packets may recover.
    pub(in crate::relay) wait: Duration,
    /// Maximum random delay of the first request, because other receivers may request the same.
    pub(in crate::relay) spread: Duration,
    /// The round trip, once measured.
    pub(in crate::relay) round_trip: Option<Duration>,
    /// How long to wait for an answer.
    pub(in crate::relay) retry: Duration,
    /// Packets per second of the session.
    pub(in crate::relay) rate: f64,
}

impl RequestTerms {
    /// Whether the answer to a request sent now would come too late for a gap that is given up at
    /// `deadline`. As long as no round trip is known, a request is worth trying.
    fn in_vain(&self, deadline: Instant) -> bool {
        self.now + self.round_trip.unwrap_or_default() >= deadline
    }
}

/// A number to request, and the number of earlier requests for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::relay) struct Request {
    pub(in crate::relay) number: u64,
    pub(in crate::relay) before: u8,
}

/// Result of one scheduling pass.
#[derive(Debug, Default)]
pub(in crate::relay) struct Due {
    /// In ascending order.
    pub(in crate::relay) requests: Vec<Request>,
    /// Numbers that were requested [`REQUESTS_MAX`] times without an answer.
    pub(in crate::relay) unanswered: Vec<u64>,
}

/// Event number of those numbers that are proven to be missing, by more than one packet.
const PROVEN: u64 = 0;

/// A number that is missing.
#[derive(Debug)]
struct Missing {
    /// The event that showed it to be missing.
    event: u64,
    since: Instant,
    /// How long to wait for it, if not for the hold.
    patience: Option<Duration>,
    asked: u8,
    next: Instant,
}

/// Numbers that one event, a packet or a producer's announcement, has shown to be missing.
#[derive(Debug)]
struct Gap {
    event: u64,
    /// Numbers that are not tracked yet.
    rest: Range<u64>,
    /// Number of the packet that showed the gap.
    shown_by: u64,
    since: Instant,
    patience: Option<Duration>,
    /// Remaining requests that the event may cause; `None` once its neighbours have confirmed it.
    allowance: Option<u32>,
}

/// A requested number, kept to measure how long the answer takes.
#[derive(Debug, Clone, Copy)]
struct Asked {
    number: u64,
    missing_since: Instant,
    first: Instant,
    times: u8,
    answered: bool,
}

/// What the answer to a request reveals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::relay) struct Answered {
    /// When the number was first requested.
    pub(in crate::relay) first_asked: Instant,
    /// Requested only once, so it is known which request was answered (Karn's rule, RFC 6298
    /// section 3).
    pub(in crate::relay) once: bool,
    /// How often it was requested.
    pub(in crate::relay) times: u8,
}

/// The schedule of one session.
#[derive(Debug)]
pub(in crate::relay) struct Schedule {
    missing: BTreeMap<u64, Missing>,
    gaps: VecDeque<Gap>,
    asked: VecDeque<Asked>,
    events: u64,
    /// Number after the highest one that was shown to be missing.
    reach: u64,
    /// The highest number that came, and its arrival.
    top: (u64, Instant),
    /// The second highest number that came: every lower number that is missing is proven to be.
    proven: u64,
    /// Earliest time at which a request may be due.
    due: Option<Instant>,
    /// Numbers that may be requested now, as of `filled`.
    tokens: f64,
    filled: Instant,
    seed: u64,
}

impl Schedule {
    pub(in crate::relay) fn new(seed: u64, now: Instant) -> Schedule {
        Schedule {
            missing: BTreeMap::new(),
            gaps: VecDeque::new(),
            asked: VecDeque::new(),
            events: 0,
            reach: 0,
            top: (0, now),
            proven: 0,
            due: None,
            tokens: f64::from(REQUESTS_PER_EVENT),
            filled: now,
            seed,
        }
    }

    /// Memory of the lists, in bytes.
    pub(in crate::relay) fn bytes(&self) -> usize {
        self.missing.len() * 2 * size_of::<Missing>()
            + self.gaps.capacity() * size_of::<Gap>()
            + self.asked.capacity() * size_of::<Asked>()
    }

    /// Drops all pending requests.
    pub(in crate::relay) fn clear(&mut self) {
        self.missing = BTreeMap::new();
        (self.gaps, self.asked) = (VecDeque::new(), VecDeque::new());
        self.due = None;
    }

    /// A packet with the number `shown_by`, or a producer's announcement, shows that these numbers
    /// were sent. Each is waited for during the hold, or during `patience`.
    pub(in crate::relay) fn opened(
        &mut self,
        numbers: Range<u64>,
        shown_by: u64,
        patience: Option<Duration>,
        terms: &RequestTerms,
    ) {
        let rest = numbers.start.max(self.reach)..numbers.end;
        if rest.is_empty() {
            return;
        }
        self.reach = rest.end;
        if self.gaps.len() >= REQUEST_GAPS_MAX
            && let Some(Gap { event, .. }) = self.gaps.pop_front()
        {
            self.missing.retain(|_, missing| missing.event != event);
        }
        self.events += 1;
        let allowance = Some(REQUESTS_UNPROVEN);
        let (event, since) = (self.events, terms.now);
        self.gaps.push_back(Gap { event, rest, shown_by, since, patience, allowance });
        self.draw(self.gaps.len() - 1, REQUESTS_UNPROVEN, terms, |_| true);
    }

    /// A new packet came. Before it, `next` was the head, and `end` the number after the highest
    /// one. Numbers missing below two received ones are requested, even if a forged packet claimed
    /// them before.
    pub(in crate::relay) fn showed(
        &mut self,
        number: u64,
        (next, end): (u64, u64),
        terms: &RequestTerms,
        is_missing: impl Fn(u64) -> bool,
    ) {
        // A packet in order is not reported to the schedule, but `end` includes it.
        if end > self.top.0 + 1 {
            self.top = (end - 1, terms.now);
        }
        let (to, since) = match self.top {
            (top, at) if number > top => {
                self.top = (number, terms.now);
                (top, at)
            }
            (top, _) if number < top => (number, terms.now),
            _ => return,
        };
        let newly = self.proven.max(next)..to;
        self.proven = self.proven.max(to);
        if newly.is_empty() || !newly.clone().any(&is_missing) {
            return;
        }
        self.prove(newly.clone(), since, terms);
        let drawn = |gap: &Gap, number| gap.allowance.is_none() && gap.rest.contains(&number);
        let known =
            |number| self.missing.contains_key(&number) || self.gaps.iter().any(|gap| drawn(gap, number));
        if newly.clone().all(|number| known(number) || !is_missing(number)) {
            return;
        }
        self.events += 1;
        let (event, shown_by, patience) = (self.events, to, None);
        self.gaps.push_back(Gap { event, rest: newly, shown_by, since, patience, allowance: None });
        let place = self.gaps.len() - 1;
        self.draw(place, REQUESTS_PER_EVENT, terms, is_missing);
        if self.gaps[place].rest.is_empty() || self.gaps.len() > REQUEST_GAPS_MAX {
            self.gaps.remove(place);
        }
    }

    /// Marks those of these numbers that only one packet has shown to be missing as proven.
    fn prove(&mut self, numbers: Range<u64>, since: Instant, terms: &RequestTerms) {
        let Schedule { missing, gaps, due, seed, .. } = self;
        for (number, missing) in missing.range_mut(numbers) {
            let unproven = |gap: &Gap| gap.event == missing.event && gap.allowance.is_some();
            if !gaps.iter().any(unproven) {
                continue;
            }
            (missing.event, missing.patience, missing.since) = (PROVEN, None, missing.since.max(since));
            if missing.asked == 0 {
                missing.next = missing.since + terms.wait + part(terms.spread, *seed, *number);
                *due = Some(due.map_or(missing.next, |due| due.min(missing.next)));
            }
        }
    }

    /// A new packet came. It confirms gaps that its neighbours have shown, so that more of their
    /// numbers may be requested; `is_missing` returns which are still missing.
    pub(in crate::relay) fn came(
        &mut self,
        number: u64,
        terms: &RequestTerms,
        is_missing: impl Fn(u64) -> bool,
    ) {
        self.missing.remove(&number);
        if self.gaps.is_empty() {
            return;
        }
        for gap in &mut self.gaps {
            // A lower number confirms nothing: it may arrive in order below a forged one.
            let distance = number.saturating_sub(gap.shown_by);
            if (1..=REQUEST_NEIGHBOURS).contains(&distance) {
                gap.allowance = None;
            }
        }
        if let Some(place) = self.gaps.iter().position(|gap| gap.allowance.is_none()) {
            self.draw(place, REQUESTS_PER_EVENT, terms, is_missing);
            if self.gaps[place].rest.is_empty() {
                self.gaps.remove(place);
            }
        }
    }

    /// Starts to track the next numbers of a gap.
    fn draw(&mut self, place: usize, count: u32, terms: &RequestTerms, is_missing: impl Fn(u64) -> bool) {
        let Schedule { missing, gaps, due, seed, .. } = self;
        let gap = &mut gaps[place];
        let room = REQUESTS_TRACKED_MAX.saturating_sub(missing.len());
        let end = gap.rest.end.min(gap.rest.start + (count as usize).min(room) as u64);
        for number in (gap.rest.start..end).filter(|number| is_missing(*number)) {
            let next = gap.since + terms.wait + part(terms.spread, *seed, number);
            let Gap { event, since, patience, .. } = *gap;
            missing.entry(number).or_insert(Missing { event, since, patience, asked: 0, next });
            *due = Some(due.map_or(next, |due| due.min(next)));
        }
        gap.rest.start = end;
    }

    /// Drops all numbers below `next`, the new head.
    pub(in crate::relay) fn settled_below(&mut self, next: u64) {
        while self.missing.first_key_value().is_some_and(|(number, _)| *number < next) {
            self.missing.pop_first();
        }
        for gap in &mut self.gaps {
            gap.rest.start = gap.rest.start.max(next).min(gap.rest.end.max(next));
            gap.rest.end = gap.rest.end.max(gap.rest.start);
        }
        while self.gaps.front().is_some_and(|gap| gap.shown_by < next) {
            self.gaps.pop_front();
        }
    }

    /// Requests a number at once instead of waiting for it to arrive by itself.
    pub(in crate::relay) fn hurry(&mut self, number: u64, now: Instant) {
        if let Some(missing) = self.missing.get_mut(&number).filter(|missing| missing.asked == 0) {
            missing.next = missing.next.min(now);
            self.due = Some(self.due.map_or(now, |due| due.min(now)));
        }
    }

    /// Takes the answer to a request, in time or not. Each request is measured once.
    pub(in crate::relay) fn answered(&mut self, number: u64) -> Option<Answered> {
        let asked = self.asked.iter_mut().rev().find(|asked| asked.number == number && !asked.answered)?;
        asked.answered = true;
        self.tokens += REQUESTS_PER_ANSWER;
        Some(Answered { first_asked: asked.first, once: asked.times == 1, times: asked.times })
    }

    /// The original of a number came after the answer, so it was only late. Returns since when it
    /// was missing.
    pub(in crate::relay) fn late_original(&mut self, number: u64) -> Option<Instant> {
        let place = self.asked.iter().rposition(|asked| asked.number == number && asked.answered)?;
        self.asked.remove(place).map(|asked| asked.missing_since)
    }

    /// Earliest time at which [`Schedule::poll`] may have something to do.
    pub(in crate::relay) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Whether no number is tracked any more.
    pub(in crate::relay) fn is_idle(&self) -> bool {
        self.missing.is_empty() && self.gaps.is_empty()
    }

    /// Returns what is due now.
    pub(in crate::relay) fn poll(&mut self, terms: &RequestTerms) -> Due {
        let mut due = Due::default();
        if self.due.is_none_or(|at| terms.now < at) {
            return due;
        }
        self.fill(terms);
        let horizon = terms.now + REQUEST_SLACK;
        let ripe = self.missing.iter().filter(|(_, missing)| missing.next <= horizon);
        let mut ripe: Vec<(u8, u64)> = ripe.map(|(number, missing)| (missing.asked, *number)).collect();
        // Each number is requested once before any is requested again.
        ripe.sort_unstable();
        for (_, number) in ripe {
            self.consider(number, terms, &mut due);
        }
        due.requests.sort_unstable_by_key(|request| request.number);
        self.due = self.missing.values().map(|missing| missing.next).min();
        due
    }

    fn consider(&mut self, number: u64, terms: &RequestTerms, due: &mut Due) {
        let Some(missing) = self.missing.get(&number) else { return };
        let deadline = missing.since + missing.patience.unwrap_or(terms.hold);
        if missing.asked >= REQUESTS_MAX {
            // A number that is not proven to be missing may not have been sent yet.
            due.unanswered.extend((number < self.proven).then_some(number));
            self.missing.remove(&number);
        } else if terms.in_vain(deadline) || !self.allowed(missing.event) {
            self.missing.remove(&number);
        } else if self.tokens < 1.0 {
            let refill = Duration::from_secs_f64((1.0 - self.tokens) / per_second(terms.rate));
            self.postpone(number, terms.now + refill.max(REQUEST_SLACK * 2));
        } else {
            self.request(number, deadline, terms, due);
        }
    }

    fn postpone(&mut self, number: u64, until: Instant) {
        if let Some(missing) = self.missing.get_mut(&number) {
            missing.next = until;
        }
    }

    fn request(&mut self, number: u64, deadline: Instant, terms: &RequestTerms, due: &mut Due) {
        let Some(missing) = self.missing.get_mut(&number) else { return };
        due.requests.push(Request { number, before: missing.asked });
        missing.asked += 1;
        let interval = interval(deadline, terms);
        let chance = if terms.spread.is_zero() { Duration::ZERO } else { interval / 4 };
        missing.next = terms.now + interval + part(chance, self.seed ^ u64::from(missing.asked), number);
        let (event, since, times) = (missing.event, missing.since, missing.asked);
        self.tokens -= 1.0;
        if let Some(Gap { allowance: Some(allowance), .. }) =
            self.gaps.iter_mut().find(|gap| gap.event == event)
        {
            *allowance = allowance.saturating_sub(1);
        }
        self.log(number, since, times, terms.now);
    }

    fn log(&mut self, number: u64, missing_since: Instant, times: u8, now: Instant) {
        if times > 1
            && let Some(asked) = self.asked.iter_mut().rev().find(|asked| asked.number == number)
        {
            asked.times = times;
            return;
        }
        if self.asked.len() >= REQUESTS_LOGGED {
            self.asked.pop_front();
        }
        let answered = false;
        self.asked.push_back(Asked { number, missing_since, first: now, times, answered });
    }

    /// A request could not be sent, because no destination is known. It does not count, and is
    /// repeated after `pause`.
    pub(in crate::relay) fn unsent(&mut self, number: u64, now: Instant, pause: Duration) {
        let Some(missing) = self.missing.get_mut(&number) else { return };
        let (event, next) = (missing.event, now + pause);
        missing.asked = missing.asked.saturating_sub(1);
        missing.next = next;
        self.due = Some(self.due.map_or(next, |due| due.min(next)));
        self.tokens += 1.0;
        if let Some(Gap { allowance: Some(allowance), .. }) =
            self.gaps.iter_mut().find(|gap| gap.event == event)
        {
            *allowance += 1;
        }
        if let Some(place) = self.asked.iter().rposition(|asked| asked.number == number) {
            self.asked[place].times -= 1;
            if self.asked[place].times == 0 {
                self.asked.remove(place);
            }
        }
    }

    /// Whether this event may cause another request.
    fn allowed(&self, event: u64) -> bool {
        let gap = self.gaps.iter().find(|gap| gap.event == event);
        gap.is_none_or(|gap| gap.allowance != Some(0))
    }

    /// Adds the tokens for the elapsed time.
    fn fill(&mut self, terms: &RequestTerms) {
        let elapsed = terms.now.saturating_duration_since(self.filled).as_secs_f64();
        let most = f64::from(REQUESTS_PER_EVENT).max(per_second(terms.rate) / 4.0);
        self.tokens = (self.tokens + elapsed * per_second(terms.rate)).min(most);
        self.filled = terms.now;
    }
}

/// Numbers that a session of this packet rate may request per second.
fn per_second(rate: f64) -> f64 {
    (rate * REQUESTS_PER_PACKET).max(REQUESTS_PER_SECOND_MIN)
}

/// Time from one request to the next: until the answer is overdue. If that is too late for an
/// answer in time, the last moment at which an answer can still arrive, since the pending one may
/// be lost.
fn interval(deadline: Instant, terms: &RequestTerms) -> Duration {
    let round_trip = terms.round_trip.unwrap_or_default();
    let spare = REQUEST_WAIT_MIN.max(round_trip / 32);
    let last = deadline.saturating_duration_since(terms.now + round_trip + spare);
    if terms.retry > last && last >= RETRY_MIN * 2 { last } else { terms.retry }
}

/// A pseudo-random part of `whole`, the same for the same seed and number.
fn part(whole: Duration, seed: u64, number: u64) -> Duration {
    // splitmix64
    let mut mixed = seed.wrapping_add(number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    whole.mul_f64(((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64)
}

#[cfg(test)]
mod tests;
