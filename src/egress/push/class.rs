//! Subscribers of a stream who asked for the same in the same form.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Weak},
    time::Instant,
};

use super::{
    chunk::Chunk,
    message::{About, Message, Range},
    outlet::Outlet,
    wish::{Wire, Wish},
};
use crate::egress::tap::{FlowName, Info};

/// A subscription: where its chunks go.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) outlet: Weak<Outlet>,
    /// Which of the outlet's subscriptions it is.
    pub(super) id: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Class {
    pub(super) wish: Wish,
    pub(super) members: Vec<Member>,
    open: Chunk,
    /// By flow, if there is a rate.
    samples: HashMap<String, Sample>,
    /// When which of them has something to tell.
    due: BTreeSet<(Instant, String)>,
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
    pub(super) fn new(wish: Wish) -> Class {
        let (samples, due) = (HashMap::new(), BTreeSet::new());
        Class { wish, members: Vec::new(), open: Chunk::default(), samples, due }
    }

    /// Forgets members who have left; whether there are others.
    pub(super) fn is_wanted(&mut self) -> bool {
        self.members
            .retain(|member| member.outlet.upgrade().is_some_and(|outlet| outlet.tally(member.id).is_some()));
        !self.members.is_empty()
    }

    /// Whether messages of this flow are for it; `followed`: the flow is one that a player would take.
    pub(super) fn takes(&self, flow: &str, followed: bool) -> bool {
        self.wish.flow.as_ref().map_or(followed, |wanted| wanted.is(flow))
    }

    /// Tells at once.
    pub(super) fn tell(&mut self, about: About<'_>, flow: &Arc<FlowName>, message: Message<'_>) {
        self.open.add(self.wish.wire, about, flow, message);
    }

    /// Tells of packets of which the records are missing. Those with a rate would not have got them all.
    pub(super) fn skipped(&mut self, about: About<'_>, flow: &Arc<FlowName>, range: Range) {
        self.open.skipped += if self.wish.every.is_zero() { range.packets } else { 0 };
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
        if self.wish.every.is_zero() {
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
        if self.wish.every.is_zero() {
            return self.tell(about, flow, Message::Lost(range));
        }
        self.wait(about.flow, now, |sample| {
            sample.lost = Some(sample.lost.map_or(range, |lost| lost.and(range)));
        });
    }

    /// The flow has told something: not again before its time.
    fn rest(&mut self, flow: &str, now: Instant) {
        let rested = Sample { next: now + self.wish.every, newer: false, lost: None };
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

    /// The last value of a flow, for one who has come or come back. Among bare payloads nothing could say what it is.
    pub(super) fn last(&self, about: About<'_>, flow: &Arc<FlowName>, value: &Value, out: &mut Chunk) {
        if self.wish.wire != Wire::Raw {
            out.add(self.wish.wire, about, flow, value.message(true));
        }
    }

    /// What a client missed, for one that has come back.
    pub(super) fn missed(&self, about: About<'_>, flow: &Arc<FlowName>, range: Range, out: &mut Chunk) {
        out.add(self.wish.wire, about, flow, Message::Missed(range));
    }

    /// Hands what was told to all.
    pub(super) fn flush(&mut self, now: Instant) {
        if self.open.is_empty() {
            return;
        }
        let room = self.open.bytes.len();
        let next = Chunk::with_room(room);
        let chunk = Arc::new(std::mem::replace(&mut self.open, next));
        self.members.retain(|member| {
            member.outlet.upgrade().is_some_and(|outlet| outlet.push(member.id, &chunk, now))
        });
    }
}
