//! A class: the subscribers of a stream with the same options and the same form.

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

/// A class of subscribers, and its pending messages.
#[derive(Debug)]
pub(super) struct Class {
    pub(super) options: SubscribeOptions,
    pub(super) members: Vec<Member>,
    open: EncodedChunk,
    /// State of each flow, if there is a maximum rate.
    samples: HashMap<String, Sample>,
    /// When a flow has something to send.
    due: BTreeSet<(Instant, String)>,
    past: Past,
    /// Since when the class has no members, if its events are kept.
    pub(super) left: Option<Instant>,
}

/// Recent events, for clients of server-sent events that reconnect. Empty for other forms.
#[derive(Debug)]
struct Past {
    /// The last event, sent or in the open chunk.
    at: Position,
    /// Recent chunks, with the number of their first event and the time of sending.
    chunks: VecDeque<(u64, Instant, Arc<EncodedChunk>)>,
    bytes: usize,
    /// Number of the first event in the open chunk.
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

/// State of a flow with a maximum rate.
#[derive(Debug)]
pub(super) struct Sample {
    /// Earliest time of the next message.
    next: Instant,
    /// A newer packet than the sent one has come.
    newer: bool,
    lost: Option<Range>,
}

impl Sample {
    fn waits(&self) -> bool {
        self.newer || self.lost.is_some()
    }
}

/// A packet that is kept as the flow's last value.
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

    /// Whether its events are kept for clients that reconnect.
    pub(super) fn is_kept(&self) -> bool {
        self.options.wire == Wire::Sse
    }

    /// Removes members that have left; returns whether others remain or may reconnect.
    pub(super) fn is_wanted(&mut self, now: Instant) -> bool {
        self.members
            .retain(|member| member.queue.upgrade().is_some_and(|queue| queue.tally(member.id).is_some()));
        if !self.members.is_empty() {
            self.left = None;
            return true;
        }
        self.is_kept() && now.saturating_duration_since(*self.left.get_or_insert(now)) < SSE_KEPT
    }

    /// The last event.
    #[cfg(test)]
    pub(super) fn position(&self) -> Position {
        self.past.at
    }

    /// Events after `after`, as far as they are kept. `None` if this class did not send that
    /// event.
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

    /// Whether the class gets messages of this flow; `followed`: a player would follow the flow.
    pub(super) fn takes(&self, flow: &str, followed: bool) -> bool {
        self.options.flow.as_ref().map_or(followed, |wanted| wanted.is(flow))
    }

    /// Adds a message to the open chunk.
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

    /// Adds a message for a single client, at the position of the class.
    fn tell_one(&self, about: About<'_>, flow: &Arc<FlowName>, message: Message<'_>, out: &mut EncodedChunk) {
        if self.is_kept() {
            out.mark(self.past.at);
        }
        out.add(self.options.wire, about, flow, message);
    }

    /// Reports packets whose records are missing. With a maximum rate they do not count as missed,
    /// since not all would have been sent.
    pub(super) fn skipped(&mut self, about: About<'_>, flow: &Arc<FlowName>, range: Range) {
        self.open.skipped += if self.options.every.is_zero() { range.packets } else { 0 };
        self.tell(about, flow, Message::Missed(range));
    }

    /// Sends a packet, or notes that there is one.
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

    /// Reports a gap, or notes it.
    pub(super) fn lost(&mut self, about: About<'_>, flow: &Arc<FlowName>, range: Range, now: Instant) {
        if self.options.every.is_zero() {
            return self.tell(about, flow, Message::Lost(range));
        }
        self.wait(about.flow, now, |sample| {
            sample.lost = Some(sample.lost.map_or(range, |lost| lost.and(range)));
        });
    }

    /// Starts the interval in which the flow sends nothing more.
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

    /// When [`Class::sample`] has something to send.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// A flow that is due, if there is one.
    pub(super) fn next_due(&mut self, now: Instant) -> Option<String> {
        let due = self.due.first().is_some_and(|(at, _)| *at <= now);
        if due { self.due.pop_first().map(|(_, flow)| flow) } else { None }
    }

    /// Sends the pending messages of a flow.
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

    /// Sends the pending messages of a flow, due or not. Returns whether the flow was known.
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

    /// A new run of the flow starts, so later gaps belong to another numbering.
    pub(super) fn start(&mut self, about: About<'_>, flow: &Arc<FlowName>) {
        if let Some(lost) = self.samples.get_mut(about.flow).and_then(|sample| sample.lost.take()) {
            self.tell(about, flow, Message::Lost(lost));
        }
        self.tell(about, flow, Message::Started);
    }

    /// The flow has ended; `takes`: the class got its messages until then.
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

    /// Drops the pending messages of a flow.
    pub(super) fn forget(&mut self, flow: &str) -> Option<Sample> {
        let sample = self.samples.remove(flow)?;
        self.due.remove(&(sample.next, flow.to_owned()));
        Some(sample)
    }

    /// Adds the last value of a flow for a client that has subscribed or reconnected. Not for raw
    /// payloads, which cannot be marked as such.
    pub(super) fn last(&self, about: About<'_>, flow: &Arc<FlowName>, value: &Value, out: &mut EncodedChunk) {
        if self.options.wire != Wire::Raw {
            self.tell_one(about, flow, value.message(true), out);
        }
    }

    /// Adds the numbers that a reconnected client has missed.
    pub(super) fn missed(
        &self,
        about: About<'_>,
        flow: &Arc<FlowName>,
        range: Range,
        out: &mut EncodedChunk,
    ) {
        self.tell_one(about, flow, Message::Missed(range), out);
    }

    /// Sends the open chunk to all members.
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
