//! Subscribers of a stream who asked for the same in the same form.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::Instant,
};

use super::{
    chunk::EncodedChunk,
    message::{About, Message, Range},
    options::{SubscribeOptions, Wire},
    position::Position,
    subscriptions::Member,
};
use crate::{
    channel::tap::{FlowName, Info},
    limits::{SSE_KEPT, SSE_KEPT_BYTES_MAX},
};
use tidecast_net::clock;

/// The subscribers who asked for the same in the same form, and what waits to be told to them.
#[derive(Debug)]
pub(super) struct Class {
    pub(super) options: SubscribeOptions,
    pub(super) members: Vec<Member>,
    open: EncodedChunk,
    /// By flow, if there is a rate.
    samples: HashMap<String, Sample>,
    /// When which of them has something to tell.
    due: BTreeSet<(Instant, String)>,
    past: Past,
    /// Since when nobody has it, if its events are kept.
    pub(super) left: Option<Instant>,
}

/// What was told lately, for clients of server-sent events that come back. Others have none.
#[derive(Debug)]
struct Past {
    /// The last event that was told, or will be with the next chunk.
    at: Position,
    /// The number of the first event of each chunk, and when it was told.
    chunks: VecDeque<(u64, Instant, Arc<EncodedChunk>)>,
    bytes: usize,
    /// The number of the first event of the chunk that is open.
    first: u64,
}

impl Past {
    fn keep(&mut self, chunk: &Arc<EncodedChunk>, now: Instant) {
        self.bytes += chunk.bytes.len();
        self.chunks.push_back((self.first, now, chunk.clone()));
        self.first = self.at.number + 1;
        let too_much = |past: &Past| {
            let old = |(_, told, _): &(u64, Instant, Arc<EncodedChunk>)| {
                now.saturating_duration_since(*told) > SSE_KEPT
            };
            past.bytes > SSE_KEPT_BYTES_MAX || past.chunks.front().is_some_and(old)
        };
        while too_much(self)
            && let Some((.., chunk)) = self.chunks.pop_front()
        {
            self.bytes -= chunk.bytes.len();
        }
    }
}

/// How a flow with a rate stands.
#[derive(Debug)]
pub(super) struct Sample {
    /// Nothing is told before.
    next: Instant,
    /// There is a newer packet than the one that was told.
    newer: bool,
    lost: Option<Range>,
}

impl Sample {
    fn waits(&self) -> bool {
        self.newer || self.lost.is_some()
    }
}

/// A packet that is kept.
#[derive(Debug, Clone)]
pub(super) struct Value {
    pub(super) info: Info,
    pub(super) payload: Vec<u8>,
}

impl Value {
    fn message(&self, last: bool) -> Message<'_> {
        Message::Packet { info: &self.info, payload: &self.payload, last }
    }
}

impl Class {
    pub(super) fn new(options: SubscribeOptions) -> Class {
        let (samples, due) = (HashMap::new(), BTreeSet::new());
        let epoch = u64::try_from(clock::unix().as_micros()).unwrap_or(u64::MAX);
        let at = Position { epoch, number: 0 };
        let past = Past { at, chunks: VecDeque::new(), bytes: 0, first: 1 };
        Class { options, members: Vec::new(), open: EncodedChunk::default(), samples, due, past, left: None }
    }

    /// Whether what it tells is kept for those who come back.
    pub(super) fn is_kept(&self) -> bool {
        self.options.wire == Wire::Sse
    }

    /// Forgets members who have left; whether there are others, or may be again.
    pub(super) fn is_wanted(&mut self, now: Instant) -> bool {
        self.members
            .retain(|member| member.queue.upgrade().is_some_and(|queue| queue.tally(member.id).is_some()));
        if !self.members.is_empty() {
            self.left = None;
            return true;
        }
        self.is_kept() && now.saturating_duration_since(*self.left.get_or_insert(now)) < SSE_KEPT
    }

    /// The last event that was told.
    #[cfg(test)]
    pub(super) fn position(&self) -> Position {
        self.past.at
    }

    /// What was told after this event, as far as it is kept. Absent if it was told by nobody here.
    pub(super) fn since(&self, after: Position) -> Option<Vec<Arc<EncodedChunk>>> {
        if after.epoch != self.past.at.epoch || after.number > self.past.at.number || !self.is_kept() {
            return None;
        }
        let ends = self.past.chunks.iter().skip(1).map(|(first, ..)| *first).chain([self.past.first]);
        let chunks = self.past.chunks.iter().zip(ends).filter(|(_, end)| *end > after.number + 1);
        let behind = |((first, _, chunk), _): (&(u64, Instant, Arc<EncodedChunk>), u64)| match (after.number
            + 1)
        .saturating_sub(*first)
        {
            0 => chunk.clone(),
            known => Arc::new(chunk.behind_events(known)),
        };
        Some(chunks.map(behind).collect())
    }

    /// Whether messages of this flow are for it; `followed`: the flow is one that a player would
    /// take.
    pub(super) fn takes(&self, flow: &str, followed: bool) -> bool {
        self.options.flow.as_ref().map_or(followed, |wanted| wanted.is(flow))
    }

    /// Tells at once.
    pub(super) fn tell(&mut self, about: About<'_>, flow: &Arc<FlowName>, message: Message<'_>) {
        if self.is_kept() {
            self.past.at.number += 1;
            self.open.mark(self.past.at);
        }
        self.open.add(self.options.wire, about, flow, message);
        if self.open.is_full() {
            self.flush(clock::now());
        }
    }

    /// Tells one client alone, which stands where the others do.
    fn tell_one(&self, about: About<'_>, flow: &Arc<FlowName>, message: Message<'_>, out: &mut EncodedChunk) {
        if self.is_kept() {
            out.mark(self.past.at);
        }
        out.add(self.options.wire, about, flow, message);
    }

    /// Tells of packets of which the records are missing. Those with a rate would not have got them
    /// all.
    pub(super) fn skipped(&mut self, about: About<'_>, flow: &Arc<FlowName>, range: Range) {
        self.open.skipped += if self.options.every.is_zero() { range.packets } else { 0 };
        self.tell(about, flow, Message::Missed(range));
    }

    /// Tells of a packet, or remembers that there is one.
    pub(super) fn packet(
        &mut self,
        about: About<'_>,
        flow: &Arc<FlowName>,
        message: Message<'_>,
        now: Instant,
    ) {
        if self.options.every.is_zero() {
            return self.tell(about, flow, message);
        }
        let sample = self.samples.get(about.flow).filter(|sample| now < sample.next || sample.waits());
        if sample.is_none() {
            self.rest(about.flow, now);
            return self.tell(about, flow, message);
        }
        self.wait(about.flow, now, |sample| sample.newer = true);
    }

    /// Tells of a gap, or remembers it.
    pub(super) fn lost(&mut self, about: About<'_>, flow: &Arc<FlowName>, range: Range, now: Instant) {
        if self.options.every.is_zero() {
            return self.tell(about, flow, Message::Lost(range));
        }
        self.wait(about.flow, now, |sample| {
            sample.lost = Some(sample.lost.map_or(range, |lost| lost.and(range)));
        });
    }

    /// The flow has told something: not again before its time.
    fn rest(&mut self, flow: &str, now: Instant) {
        let rested = Sample { next: now + self.options.every, newer: false, lost: None };
        self.samples.insert(flow.to_owned(), rested);
    }

    fn wait(&mut self, flow: &str, now: Instant, change: impl FnOnce(&mut Sample)) {
        let fresh = Sample { next: now, newer: false, lost: None };
        let sample = self.samples.entry(flow.to_owned()).or_insert(fresh);
        if !sample.waits() {
            sample.next = sample.next.max(now);
            self.due.insert((sample.next, flow.to_owned()));
        }
        change(sample);
    }

    /// When [`Class::sample`] has something to tell.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// A flow whose time has come, if there is one.
    pub(super) fn next_due(&mut self, now: Instant) -> Option<String> {
        let due = self.due.first().is_some_and(|(at, _)| *at <= now);
        if due { self.due.pop_first().map(|(_, flow)| flow) } else { None }
    }

    /// Tells what a flow has to tell.
    pub(super) fn sample(
        &mut self,
        about: About<'_>,
        flow: &Arc<FlowName>,
        newest: Option<&Value>,
        now: Instant,
    ) {
        if self.tell_waiting(about, flow, newest) {
            self.rest(about.flow, now);
        }
    }

    /// Tells what has waited, whether its time has come or not. Answers whether the flow was known.
    fn tell_waiting(&mut self, about: About<'_>, flow: &Arc<FlowName>, newest: Option<&Value>) -> bool {
        let Some(sample) = self.forget(about.flow) else { return false };
        if let Some(lost) = sample.lost {
            self.tell(about, flow, Message::Lost(lost));
        }
        if let Some(newest) = newest.filter(|_| sample.newer) {
            self.tell(about, flow, newest.message(false));
        }
        true
    }

    /// A run of the flow begins: gaps that come later are among other numbers.
    pub(super) fn start(&mut self, about: About<'_>, flow: &Arc<FlowName>) {
        if let Some(lost) = self.samples.get_mut(about.flow).and_then(|sample| sample.lost.take()) {
            self.tell(about, flow, Message::Lost(lost));
        }
        self.tell(about, flow, Message::Started);
    }

    /// The flow is gone; `takes`: it was one of these messages' until then.
    pub(super) fn end(
        &mut self,
        about: About<'_>,
        flow: &Arc<FlowName>,
        newest: Option<&Value>,
        takes: bool,
    ) {
        self.tell_waiting(about, flow, newest);
        if takes {
            self.tell(about, flow, Message::Ended);
        }
    }

    /// Nothing of a flow waits any more.
    pub(super) fn forget(&mut self, flow: &str) -> Option<Sample> {
        let sample = self.samples.remove(flow)?;
        self.due.remove(&(sample.next, flow.to_owned()));
        Some(sample)
    }

    /// The last value of a flow, for one who has come or come back. Among bare payloads nothing
    /// could say what it is.
    pub(super) fn last(&self, about: About<'_>, flow: &Arc<FlowName>, value: &Value, out: &mut EncodedChunk) {
        if self.options.wire != Wire::Raw {
            self.tell_one(about, flow, value.message(true), out);
        }
    }

    /// What a client missed, for one that has come back.
    pub(super) fn missed(
        &self,
        about: About<'_>,
        flow: &Arc<FlowName>,
        range: Range,
        out: &mut EncodedChunk,
    ) {
        self.tell_one(about, flow, Message::Missed(range), out);
    }

    /// Hands what was told to all.
    pub(super) fn flush(&mut self, now: Instant) {
        if self.open.is_empty() {
            return;
        }
        let room = self.open.bytes.len();
        let next = EncodedChunk::with_room(room);
        let chunk = Arc::new(std::mem::replace(&mut self.open, next));
        if self.is_kept() {
            self.past.keep(&chunk, now);
        }
        self.members
            .retain(|member| member.queue.upgrade().is_some_and(|queue| queue.push(member.id, &chunk, now)));
    }
}
