//! A hub: the task that reads one channel's records, encodes them once per class and passes them
//! to the clients' queues. It ends with the last subscription, and keeps the last value of each
//! flow.

mod feed;
mod flow;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Instant,
};

use tokio::sync::mpsc;

use super::{
    chunk::EncodedChunk,
    class::Class,
    message::About,
    options::SubscribeOptions,
    position::Position,
    subscriptions::{HubCommand, Member},
};
use crate::{
    channel::tap::{Batch, FlowName, TapReader},
    limits::{PUSH_PIECE_BYTES, SSE_KEPT, SSE_KEPT_CLASSES_MAX},
};
use flow::HubFlow;
use tidecast_net::clock;

/// Last values of flows that a new subscriber has not received yet.
#[derive(Debug)]
struct Burst {
    member: Member,
    options: SubscribeOptions,
    /// In reverse order.
    flows: Vec<Arc<FlowName>>,
    /// Value of `turns` when the subscriber came.
    since: u64,
}

/// State of the task.
pub(super) struct Hub {
    name: String,
    /// The stream's place in the configuration, from 1.
    id: u16,
    reader: TapReader<Batch>,
    /// Number of the next packet in the records.
    next: u64,
    /// How often records were missing.
    skips: u64,
    flows: HashMap<String, HubFlow>,
    /// Bytes of the flows' last payloads.
    kept: usize,
    classes: Vec<Class>,
    /// Batches read so far.
    turns: u64,
    /// Bursts whose next piece may be sent.
    bursts: VecDeque<Burst>,
    /// Bursts whose client has not taken the last piece.
    pending: Vec<Burst>,
}

impl Hub {
    pub(super) fn new(name: &str, id: u16, reader: TapReader<Batch>, last: &Batch) -> Hub {
        let (next, classes, flows) = (reader.number(), Vec::new(), HashMap::new());
        let (bursts, pending) = (VecDeque::new(), Vec::new());
        let name = name.to_owned();
        let mut hub =
            Hub { name, id, reader, next, skips: 0, flows, kept: 0, classes, turns: 0, bursts, pending };
        hub.take(last);
        hub
    }

    /// Runs until its last subscription or its channel has ended.
    pub(super) async fn run(
        mut self,
        mut commands: mpsc::Receiver<HubCommand>,
        own: mpsc::WeakSender<HubCommand>,
    ) {
        // Keeps the hub alive while events are kept without members.
        let mut kept = None;
        let mut look = tokio::time::interval(SSE_KEPT / 4);
        loop {
            let due = self.classes.iter().filter_map(Class::due).min();
            tokio::select! {
                biased;
                command = commands.recv() => match command {
                    Some(HubCommand::Join(options, member, after)) => {
                        self.join(options, member, after);
                        kept = self.keeps().then(|| own.upgrade()).flatten();
                    }
                    Some(HubCommand::Resume(member)) => self.resume(&member),
                    None => return,
                },
                batch = self.reader.next() => match batch {
                    Some(batch) => {
                        self.feed(&batch);
                        self.burst();
                    }
                    None => break,
                },
                () = until(due) => self.sample(),
                _ = look.tick(), if kept.is_some() => {
                    self.tidy();
                    kept = kept.filter(|_| self.keeps());
                }
                () = std::future::ready(()), if !self.bursts.is_empty() => self.burst(),
            }
            // Writing takes a while, so other tasks get a turn.
            tokio::task::yield_now().await;
        }
        commands.close();
        while let Some(command) = commands.recv().await {
            if let HubCommand::Join(_, member, _) = command {
                end(&member);
            }
        }
        self.classes.iter().flat_map(|class| &class.members).for_each(end);
    }

    /// Whether events are kept for clients that may reconnect.
    fn keeps(&self) -> bool {
        self.classes.iter().any(Class::is_kept)
    }

    /// Removes classes without members. Of those whose events are kept, removes the oldest if
    /// there are too many.
    fn tidy(&mut self) {
        let now = clock::now();
        self.classes.retain_mut(|class| class.is_wanted(now));
        let mut left: Vec<Instant> = self.classes.iter().filter_map(|class| class.left).collect();
        left.sort_unstable();
        if let Some(last) = left.len().checked_sub(SSE_KEPT_CLASSES_MAX + 1).map(|place| left[place]) {
            self.classes.retain(|class| class.left.is_none_or(|left| left > last));
        }
    }

    fn join(&mut self, options: SubscribeOptions, member: Member, after: Option<Position>) {
        // Members of a class without messages would otherwise never be found to have left.
        self.tidy();
        let place = self.classes.iter().position(|class| class.options == options);
        let place = place.unwrap_or_else(|| {
            self.classes.push(Class::new(options));
            self.classes.len() - 1
        });
        let class = &mut self.classes[place];
        if let Some(told) = after.and_then(|after| class.since(after)) {
            if let Some(queue) = member.queue.upgrade() {
                let now = clock::now();
                for chunk in &told {
                    let _ = queue.push(member.id, chunk, now); // it has just come
                }
            }
            class.members.push(member);
            return;
        }
        let flows =
            self.flows.iter().filter(|(key, flow)| flow.last.is_some() && class.takes(key, flow.followed));
        let flows = flows.map(|(_, flow)| flow.name.clone()).collect();
        let (options, since) = (class.options.clone(), self.turns);
        self.bursts.push_front(Burst { member: member.clone(), options, flows, since });
        // The first piece comes before all later messages.
        self.burst();
        self.classes[place].members.push(member);
    }

    /// Sends the next piece of a burst.
    fn burst(&mut self) {
        let Some(mut burst) = self.bursts.pop_front() else { return };
        let Some(class) = self.classes.iter().find(|class| class.options == burst.options) else { return };
        let mut chunk = EncodedChunk::default();
        while chunk.cost() < PUSH_PIECE_BYTES
            && let Some(name) = burst.flows.pop()
        {
            let Some(flow) = self.flows.get(&name.key) else { continue };
            // A value that came meanwhile was already sent, unless there is a maximum rate.
            let told = flow.heard > burst.since && burst.options.every.is_zero();
            if let Some(last) = flow.last.as_ref().filter(|_| !told) {
                let about = About { stream: &self.name, id: self.id, flow: &name.key };
                class.last(about, &flow.name, last, &mut chunk);
            }
        }
        push(&burst.member, chunk);
        if burst.flows.is_empty() {
            return;
        }
        let queue = burst.member.queue.upgrade();
        match queue.and_then(|queue| queue.is_ready(burst.member.id)) {
            Some(true) => self.bursts.push_back(burst),
            Some(false) => self.pending.push(burst),
            None => {}
        }
    }

    /// Sends a client the numbers that it missed and the newest values, as many as fit into a
    /// piece; or continues its burst.
    fn resume(&mut self, member: &Member) {
        self.pending.retain(|burst| burst.member.queue.strong_count() > 0);
        let is_it = |known: &Member| known.id == member.id && known.queue.ptr_eq(&member.queue);
        let class = self.classes.iter().find(|class| class.members.iter().any(is_it));
        let (Some(class), Some(queue)) = (class, member.queue.upgrade()) else { return };
        if let Some(place) = self.pending.iter().position(|burst| is_it(&burst.member)) {
            self.bursts.push_back(self.pending.swap_remove(place));
        }
        let mut chunk = EncodedChunk::default();
        while chunk.cost() < PUSH_PIECE_BYTES
            && let Some((name, mut missed)) = queue.next_missed(member.id)
        {
            let about = About { stream: &self.name, id: self.id, flow: &name.key };
            let last = self.flows.get(&name.key).and_then(|flow| Some((flow, flow.last.as_ref()?)));
            // The newest value follows, so it does not count as missed.
            if let Some((_, last)) = last.filter(|(_, last)| last.info.next() == missed.to.saturating_add(1))
                && missed.packets > 0
            {
                (missed.to, missed.packets) = (last.info.seq.saturating_sub(1), missed.packets - 1);
            }
            if missed.packets + missed.lost > 0 {
                class.missed(about, &name, missed, &mut chunk);
            }
            if let Some((flow, last)) = last {
                class.last(about, &flow.name, last, &mut chunk);
            }
        }
        if !chunk.is_empty() {
            queue.tell(member.id, chunk);
        }
    }
}

fn push(member: &Member, chunk: EncodedChunk) {
    if let Some(queue) = member.queue.upgrade().filter(|_| !chunk.is_empty()) {
        queue.push(member.id, &Arc::new(chunk), clock::now());
    }
}

fn end(member: &Member) {
    if let Some(queue) = member.queue.upgrade() {
        queue.ended(member.id);
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
