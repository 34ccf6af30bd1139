//! One stream's subscribers: a task that reads the channel's records, encodes them for each class and hands them to the
//! outlets. It ends with the last subscription, and knows the last value of each flow meanwhile.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Instant,
};

use tokio::sync::{Mutex, mpsc};

use super::{
    chunk::Chunk,
    class::{Class, Member, Value},
    message::{About, Message, Range},
    outlet::Outlet,
    position::Position,
    wish::Wish,
};
use crate::{
    channel::tap::{Batch, Event, FlowName, Info, Piece, TapReader},
    limits::{PUSH_JOINS_MAX, PUSH_PIECE_BYTES, SSE_KEPT, SSE_KEPT_CLASSES_MAX},
    registry::{self, Registry, Share, audience::Transport},
};
use tidecast_core::limits::{CHANNEL_BYTES_MAX, FLOWS_MAX};
use tidecast_net::clock;

/// The hubs of all streams, one for each that has subscribers over TCP or HTTP: a channel's last values exist once.
#[derive(Debug)]
pub struct Hubs {
    registry: Registry,
    table: Mutex<HashMap<String, mpsc::WeakSender<Command>>>,
}

/// What a hub is told.
#[derive(Debug)]
pub(super) enum Command {
    /// Somebody wants the stream, or comes back to it after this event.
    Join(Wish, Member, Option<Position>),
    /// A client that was behind has taken what was begun, or one that gets a burst its last piece.
    Resume(Member),
}

/// What a new subscriber does not have yet of the flows' last values.
#[derive(Debug)]
struct Burst {
    member: Member,
    wish: Wish,
    /// From the last to the first.
    flows: Vec<Arc<FlowName>>,
    /// The hub's `turns` when it came.
    since: u64,
}

impl Hubs {
    /// No hubs yet: each begins with its first subscriber.
    pub fn new(registry: Registry) -> Hubs {
        Hubs { registry, table: Mutex::default() }
    }

    /// Subscribes an outlet to a configured channel; it gets the last value of each flow at once. Gives the
    /// subscription's id.
    ///
    /// # Errors
    /// There is no such channel.
    pub(in crate::serve) async fn subscribe(
        &self,
        name: &str,
        transport: Transport,
        wish: Wish,
        outlet: &Outlet,
    ) -> Result<u64, registry::Error> {
        self.subscribe_after(name, transport, wish, outlet, None).await
    }

    /// The same for a client of server-sent events that comes back: it gets what was told after this event instead of the
    /// last values, as far as it is kept.
    ///
    /// # Errors
    /// There is no such channel.
    pub(in crate::serve) async fn subscribe_after(
        &self,
        name: &str,
        transport: Transport,
        wish: Wish,
        outlet: &Outlet,
        after: Option<Position>,
    ) -> Result<u64, registry::Error> {
        let share = self.registry.share(name, transport)?;
        self.subscribe_shared(name, share, wish, outlet, after).await
    }

    /// The same for one who has a share of the channel already, as of a group on demand.
    ///
    /// # Errors
    /// There is no such channel.
    pub(in crate::serve) async fn subscribe_shared(
        &self,
        name: &str,
        share: Share,
        wish: Wish,
        outlet: &Outlet,
        after: Option<Position>,
    ) -> Result<u64, registry::Error> {
        loop {
            let hub = self.hub(name).await?;
            // If it has just ended, because its channel has, the next one finds out.
            if let Ok(place) = hub.reserve().await {
                let member = outlet.add(share, hub.clone());
                let id = member.id;
                place.send(Command::Join(wish, member, after));
                return Ok(id);
            }
        }
    }

    async fn hub(&self, name: &str) -> Result<mpsc::Sender<Command>, registry::Error> {
        let mut table = self.table.lock().await;
        table.retain(|_, hub| hub.strong_count() > 0);
        if let Some(hub) = table.get(name).and_then(mpsc::WeakSender::upgrade).filter(|hub| !hub.is_closed())
        {
            return Ok(hub);
        }
        let (last, reader) = self.registry.follow(name).await?;
        let place = self.registry.names().iter().position(|known| known == name);
        let (hub, commands) = mpsc::channel(PUSH_JOINS_MAX);
        table.insert(name.to_owned(), hub.downgrade());
        // There are at most CHANNELS_MAX; those on demand have no place.
        let id = place.map_or(0, |place| u16::try_from(place + 1).unwrap_or(u16::MAX));
        tokio::spawn(Hub::new(name, id, reader, &last).run(commands, hub.downgrade()));
        Ok(hub)
    }
}

struct Hub {
    name: String,
    /// The stream's place in the configuration, from 1.
    id: u16,
    reader: TapReader<Batch>,
    /// The number of the record's packet that comes next.
    next: u64,
    /// How often records were missing.
    skips: u64,
    flows: HashMap<String, Flow>,
    /// Bytes of the flows' last payloads.
    kept: usize,
    classes: Vec<Class>,
    /// Batches that it has read.
    turns: u64,
    /// Those whose next piece may go out.
    bursts: VecDeque<Burst>,
    /// Those whose client has not taken the last one.
    pending: Vec<Burst>,
}

/// What is known of a flow.
#[derive(Debug)]
struct Flow {
    name: Arc<FlowName>,
    last: Option<Value>,
    /// The number that comes next, and the hub's `skips` when that was known.
    next: Option<(u64, u64)>,
    /// Numbers that its last packet took.
    span: u16,
    followed: bool,
    /// The hub's `turns` of its last packet.
    heard: u64,
    /// The next packet is the first of a run.
    starts: bool,
}

impl Flow {
    fn new(name: Arc<FlowName>) -> Flow {
        Flow { name, last: None, next: None, span: 1, followed: false, heard: 0, starts: false }
    }

    /// Memory of the last payload, in bytes.
    fn bytes(&self) -> usize {
        self.last.as_ref().map_or(0, |last| last.payload.capacity())
    }

    /// Keeps a packet as the newest. `kept`: bytes of all flows'; if there is no room, this one has none.
    fn keep(&mut self, info: &Info, payload: &[u8], kept: &mut usize) -> bool {
        *kept -= self.bytes();
        if *kept + payload.len().max(self.bytes()) > CHANNEL_BYTES_MAX {
            self.last = None; // an old value would be worse than none
            return false;
        }
        self.put(info, payload);
        *kept += self.bytes();
        true
    }

    fn put(&mut self, info: &Info, payload: &[u8]) {
        match &mut self.last {
            Some(last) => {
                last.info.clone_from(info);
                last.payload.clear();
                last.payload.extend_from_slice(payload);
            }
            None => self.last = Some(Value { info: info.clone(), payload: payload.to_vec() }),
        }
    }
}

impl Hub {
    fn new(name: &str, id: u16, reader: TapReader<Batch>, last: &Batch) -> Hub {
        let (next, classes, flows) = (reader.number(), Vec::new(), HashMap::new());
        let (bursts, pending) = (VecDeque::new(), Vec::new());
        let name = name.to_owned();
        let mut hub =
            Hub { name, id, reader, next, skips: 0, flows, kept: 0, classes, turns: 0, bursts, pending };
        hub.take(last);
        hub
    }

    /// Runs until its last subscription has gone, or its channel.
    async fn run(mut self, mut commands: mpsc::Receiver<Command>, own: mpsc::WeakSender<Command>) {
        // Held while events are kept although nobody has them.
        let mut kept = None;
        let mut look = tokio::time::interval(SSE_KEPT / 4);
        loop {
            let due = self.classes.iter().filter_map(Class::due).min();
            tokio::select! {
                biased;
                command = commands.recv() => match command {
                    Some(Command::Join(wish, member, after)) => {
                        self.join(wish, member, after);
                        kept = self.keeps().then(|| own.upgrade()).flatten();
                    }
                    Some(Command::Resume(member)) => self.resume(&member),
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
            // Writing takes a while, and others want to run.
            tokio::task::yield_now().await;
        }
        commands.close();
        while let Some(command) = commands.recv().await {
            if let Command::Join(_, member, _) = command {
                end(&member);
            }
        }
        self.classes.iter().flat_map(|class| &class.members).for_each(end);
    }

    /// Whether what is told is kept for somebody who may come back.
    fn keeps(&self) -> bool {
        self.classes.iter().any(Class::is_kept)
    }

    /// Forgets classes that nobody has any more, and of those that are kept all the same the oldest, if there are too many.
    fn tidy(&mut self) {
        let now = clock::now();
        self.classes.retain_mut(|class| class.is_wanted(now));
        let mut left: Vec<Instant> = self.classes.iter().filter_map(|class| class.left).collect();
        left.sort_unstable();
        if let Some(last) = left.len().checked_sub(SSE_KEPT_CLASSES_MAX + 1).map(|place| left[place]) {
            self.classes.retain(|class| class.left.is_none_or(|left| left > last));
        }
    }

    fn join(&mut self, wish: Wish, member: Member, after: Option<Position>) {
        // Those to whom nothing is told are not found missing otherwise: their flow may never come.
        self.tidy();
        let place = self.classes.iter().position(|class| class.wish == wish);
        let place = place.unwrap_or_else(|| {
            self.classes.push(Class::new(wish));
            self.classes.len() - 1
        });
        let class = &mut self.classes[place];
        if let Some(told) = after.and_then(|after| class.since(after)) {
            if let Some(outlet) = member.outlet.upgrade() {
                let now = clock::now();
                for chunk in &told {
                    let _ = outlet.push(member.id, chunk, now); // it has just come
                }
            }
            class.members.push(member);
            return;
        }
        let flows =
            self.flows.iter().filter(|(key, flow)| flow.last.is_some() && class.takes(key, flow.followed));
        let flows = flows.map(|(_, flow)| flow.name.clone()).collect();
        let (wish, since) = (class.wish.clone(), self.turns);
        self.bursts.push_front(Burst { member: member.clone(), wish, flows, since });
        // The first piece comes before all that follows.
        self.burst();
        self.classes[place].members.push(member);
    }

    /// Sends the next piece of a burst.
    fn burst(&mut self) {
        let Some(mut burst) = self.bursts.pop_front() else { return };
        let Some(class) = self.classes.iter().find(|class| class.wish == burst.wish) else { return };
        let mut chunk = Chunk::default();
        while chunk.cost() < PUSH_PIECE_BYTES
            && let Some(name) = burst.flows.pop()
        {
            let Some(flow) = self.flows.get(&name.key) else { continue };
            // What came meanwhile was told, unless it waits for its time.
            let told = flow.heard > burst.since && burst.wish.every.is_zero();
            if let Some(last) = flow.last.as_ref().filter(|_| !told) {
                let about = About { stream: &self.name, id: self.id, flow: &name.key };
                class.last(about, &flow.name, last, &mut chunk);
            }
        }
        push(&burst.member, chunk);
        if burst.flows.is_empty() {
            return;
        }
        let outlet = burst.member.outlet.upgrade();
        match outlet.and_then(|outlet| outlet.is_ready(burst.member.id)) {
            Some(true) => self.bursts.push_back(burst),
            Some(false) => self.pending.push(burst),
            None => {}
        }
    }

    /// Tells a client what it missed and the newest values, as much as goes into a piece; or goes on with its burst.
    fn resume(&mut self, member: &Member) {
        self.pending.retain(|burst| burst.member.outlet.strong_count() > 0);
        let is_it = |known: &Member| known.id == member.id && known.outlet.ptr_eq(&member.outlet);
        let class = self.classes.iter().find(|class| class.members.iter().any(is_it));
        let (Some(class), Some(outlet)) = (class, member.outlet.upgrade()) else { return };
        if let Some(place) = self.pending.iter().position(|burst| is_it(&burst.member)) {
            self.bursts.push_back(self.pending.swap_remove(place));
        }
        let mut chunk = Chunk::default();
        while chunk.cost() < PUSH_PIECE_BYTES
            && let Some((name, mut missed)) = outlet.next_missed(member.id)
        {
            let about = About { stream: &self.name, id: self.id, flow: &name.key };
            let last = self.flows.get(&name.key).and_then(|flow| Some((flow, flow.last.as_ref()?)));
            // The newest value is not missed.
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
            outlet.tell(member.id, chunk);
        }
    }

    fn feed(&mut self, batch: &Batch) {
        let now = clock::now();
        self.turns += 1;
        if batch.first() > self.next {
            self.skips += 1;
            self.forget_unheard();
        }
        self.next = batch.end();
        for record in batch.records() {
            let flow = self.flows.entry_of(&record.flow);
            let about = About { stream: &self.name, id: self.id, flow: &record.flow.key };
            let classes = &mut self.classes;
            match &record.event {
                Event::Packet(info) => {
                    let payload = batch.payload(info);
                    flow.heard = self.turns;
                    packet(classes, about, (flow, &mut self.kept), info, payload, self.skips, now);
                }
                Event::Lost { from, count } => {
                    lost(classes, about, flow, Range::lost(*from, *count), self.skips, now)
                }
                Event::Started => {
                    flow.name = record.flow.clone();
                    (flow.starts, flow.next) = (true, None);
                }
                Event::Ended => {
                    for class in classes {
                        let takes = class.takes(about.flow, flow.followed);
                        class.end(about, &record.flow, flow.last.as_ref(), takes);
                    }
                    self.kept -= flow.bytes();
                    self.flows.remove(&record.flow.key);
                }
            }
        }
        self.flush(now);
    }

    /// Where records are missing, ends of flows may be: of too many, those that were not heard for two such gaps go.
    fn forget_unheard(&mut self) {
        if self.flows.len() > FLOWS_MAX {
            let skips = self.skips;
            self.flows.retain(|_, flow| flow.next.is_some_and(|(_, known)| known + 1 >= skips));
            self.kept = self.flows.values().map(Flow::bytes).sum();
        }
    }

    /// Takes in what was there before this hub.
    fn take(&mut self, last: &Batch) {
        for record in last.records() {
            if let Event::Packet(info) = &record.event {
                let flow = self.flows.entry_of(&record.flow);
                flow.keep(info, last.payload(info), &mut self.kept);
                (flow.next, flow.span) = (Some((info.next(), 0)), info.span);
                flow.followed = true;
            }
        }
    }

    /// Tells what has waited for its time.
    fn sample(&mut self) {
        let now = clock::now();
        for class in &mut self.classes {
            while let Some(key) = class.next_due(now) {
                match self.flows.get(&key) {
                    Some(flow) => {
                        let about = About { stream: &self.name, id: self.id, flow: &key };
                        class.sample(about, &flow.name, flow.last.as_ref(), now);
                    }
                    None => drop(class.forget(&key)),
                }
            }
        }
        self.flush(now);
    }

    fn flush(&mut self, now: Instant) {
        self.classes.iter_mut().for_each(|class| class.flush(now));
    }
}

/// A table that gives each flow a place.
trait Entry {
    fn entry_of(&mut self, name: &Arc<FlowName>) -> &mut Flow;
}

impl Entry for HashMap<String, Flow> {
    fn entry_of(&mut self, name: &Arc<FlowName>) -> &mut Flow {
        if !self.contains_key(&name.key) {
            self.insert(name.key.clone(), Flow::new(name.clone()));
        }
        self.get_mut(&name.key).expect("it is there")
    }
}

fn packet(
    classes: &mut [Class],
    about: About<'_>,
    (flow, kept): (&mut Flow, &mut usize),
    info: &Info,
    payload: &[u8],
    skips: u64,
    now: Instant,
) {
    let starts = std::mem::take(&mut flow.starts);
    // A control datagram takes no number, and is no value.
    let is_control = info.span == 0;
    let is_kept = !is_control && flow.keep(info, payload, kept);
    if !is_control {
        flow.span = info.span;
    }
    let message = Message::Packet { info, payload, last: false };
    // Numbers are in order or named as lost, unless records are missing.
    let missing = flow.next.filter(|(next, known)| *known < skips && *next < info.seq);
    for class in classes.iter_mut().filter(|class| class.takes(about.flow, info.followed)) {
        if starts {
            class.start(about, &flow.name);
        }
        if let Some((from, _)) = missing {
            class.skipped(about, &flow.name, Range::packets(from, info.seq, flow.span));
        }
        match is_kept {
            false if is_control && !class.wish.every.is_zero() => {}
            true => class.packet(about, &flow.name, message, now),
            false => class.tell(about, &flow.name, message), // it cannot wait
        }
    }
    flow.followed = info.followed;
    flow.next = Some((info.next(), skips));
}

fn lost(classes: &mut [Class], about: About<'_>, flow: &mut Flow, range: Range, skips: u64, now: Instant) {
    for class in classes.iter_mut().filter(|class| class.takes(about.flow, flow.followed)) {
        class.lost(about, &flow.name, range, now);
    }
    flow.next = flow.next.map(|_| (range.to + 1, skips));
}

fn push(member: &Member, chunk: Chunk) {
    if let Some(outlet) = member.outlet.upgrade().filter(|_| !chunk.is_empty()) {
        outlet.push(member.id, &Arc::new(chunk), clock::now());
    }
}

fn end(member: &Member) {
    if let Some(outlet) = member.outlet.upgrade() {
        outlet.ended(member.id);
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
