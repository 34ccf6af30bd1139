//! Feeds records to a hub: each is sent to the classes that get its flow.

use std::time::Instant;

use super::{
    Hub,
    flow::{FlowTable, HubFlow},
};
use crate::{
    channel::tap::{Batch, Event, Info, Piece},
    serve::push::{
        class::Class,
        message::{About, Message, Range},
    },
};
use tidecast_core::limits::FLOWS_MAX;
use tidecast_net::clock;

impl Hub {
    pub(super) fn feed(&mut self, batch: &Batch) {
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

    /// If records are missing, the end of a flow may be among them. If there are too many flows,
    /// removes those without a packet since two such gaps.
    fn forget_unheard(&mut self) {
        if self.flows.len() > FLOWS_MAX {
            let skips = self.skips;
            self.flows.retain(|_, flow| flow.next.is_some_and(|(_, known)| known + 1 >= skips));
            self.kept = self.flows.values().map(HubFlow::bytes).sum();
        }
    }

    /// Takes the last values from before the hub's start.
    pub(super) fn take(&mut self, last: &Batch) {
        for record in last.records() {
            if let Event::Packet(info) = &record.event {
                let flow = self.flows.entry_of(&record.flow);
                flow.keep(info, last.payload(info), &mut self.kept);
                (flow.next, flow.span) = (Some((info.next(), 0)), info.span);
                flow.followed = true;
            }
        }
    }

    /// Sends the messages that are due.
    pub(super) fn sample(&mut self) {
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

fn packet(
    classes: &mut [Class],
    about: About<'_>,
    (flow, kept): (&mut HubFlow, &mut usize),
    info: &Info,
    payload: &[u8],
    skips: u64,
    now: Instant,
) {
    let starts = std::mem::take(&mut flow.starts);
    // A control datagram takes no number, and is not a value.
    let is_control = info.span == 0;
    let is_kept = !is_control && flow.keep(info, payload, kept);
    if !is_control {
        flow.span = info.span;
    }
    let message = Message::Packet { info, payload, last: false };
    // Numbers are consecutive or reported as lost, unless records are missing.
    let missing = flow.next.filter(|(next, known)| *known < skips && *next < info.seq);
    for class in classes.iter_mut().filter(|class| class.takes(about.flow, info.followed)) {
        if starts {
            class.start(about, &flow.name);
        }
        if let Some((from, _)) = missing {
            class.skipped(about, &flow.name, Range::packets(from, info.seq, flow.span));
        }
        match is_kept {
            false if is_control && !class.options.every.is_zero() => {}
            true => class.packet(about, &flow.name, message, now),
            false => class.tell(about, &flow.name, message), // without a last value it cannot wait
        }
    }
    flow.followed = info.followed;
    flow.next = Some((info.next(), skips));
}

fn lost(classes: &mut [Class], about: About<'_>, flow: &mut HubFlow, range: Range, skips: u64, now: Instant) {
    for class in classes.iter_mut().filter(|class| class.takes(about.flow, flow.followed)) {
        class.lost(about, &flow.name, range, now);
    }
    flow.next = flow.next.map(|_| (range.to + 1, skips));
}
