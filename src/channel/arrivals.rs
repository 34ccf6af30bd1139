//! Passes the datagrams from a channel's ports to its core.
//!
//! A single port is read batch by batch. If repair packets or RTCP have come besides the media, or
//! several legs were not read for a while, the ports are read side by side and merged by the
//! kernel's timestamps: after a stall of the process the core sees the order that it would have
//! seen without the stall. Otherwise gaps in the media would be given up although their repair
//! packets wait on another port.

use std::{collections::VecDeque, mem, net::SocketAddr, time::Instant};

use tracing::warn;

use super::{
    Channel, Kit,
    port::{Port, Role},
    udp::Tools,
};
use crate::limits::{BACKLOG_MAX, LEG_BATCHES};
use tidecast_core::{
    buffer::Buffer,
    relay::{Input, Relay},
};
use tidecast_net::{clock::ClockPair, limits::RECEIVE_BATCH};

/// A datagram that was read, and waits for earlier ones on other ports.
#[derive(Debug)]
pub(super) struct Waiting {
    at: Instant,
    source: SocketAddr,
    bytes: Buffer,
    /// Datagrams that the kernel dropped before it.
    dropped: u64,
}

/// Datagrams read from one port.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: VecDeque<Waiting>,
    /// The socket may hold more.
    open: bool,
    /// How often the port was read in this turn.
    batches: usize,
}

/// Result of one turn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) datagrams: usize,
    /// A socket may hold more.
    pub(super) rest: bool,
}

impl Channel {
    /// Notes that a port has datagrams. `true` if the channel had none before.
    pub(super) fn note_ready(&mut self, port: usize) -> bool {
        self.ready.push(port);
        self.ready.len() == 1 && !self.keeps()
    }

    /// Whether datagrams were read that wait for the next turn.
    pub(super) fn keeps(&self) -> bool {
        !self.kept.is_empty()
    }

    /// Takes the waiting datagrams of the ready ports, until they are empty or it is the turn of
    /// other channels.
    pub(super) fn receive_ready(&mut self, kit: &mut Kit, clocks: ClockPair, floor: Instant) -> Taken {
        let mut ready = mem::take(&mut self.ready);
        ready.sort_unstable();
        let (inputs, answers) = ready.split_at(ready.partition_point(|port| *port < self.ports.len()));
        let mut taken = Taken::default();
        if self.is_mixed(inputs, clocks.monotonic, floor) {
            taken = self.receive_in_order(inputs, kit, clocks, floor);
        } else {
            for port in inputs {
                let datagrams = self.receive(*port, kit, clocks, floor);
                taken.datagrams += datagrams;
                taken.rest |= datagrams >= LEG_BATCHES * RECEIVE_BATCH;
            }
        }
        for port in answers {
            let Kit { receive, pool, send, .. } = kit;
            let place = port - self.ports.len();
            taken.datagrams +=
                self.outputs.receive(place, clocks.monotonic, &mut Tools { receive, pool, send });
        }
        ready.clear();
        self.ready = ready;
        taken
    }

    /// Whether the order among ports matters. Between the media of legs, a difference of an
    /// ordinary turn is always acceptable.
    fn is_mixed(&self, inputs: &[usize], now: Instant, floor: Instant) -> bool {
        let late = || now.saturating_duration_since(floor) > BACKLOG_MAX;
        let beside = || inputs.iter().any(|port| self.ports[*port].role != Role::Media);
        self.keeps() || (inputs.len() > 1 && (beside() || late()))
    }

    /// Receives from one port. Returns the count of packets.
    fn receive(&mut self, port: usize, kit: &mut Kit, clocks: ClockPair, floor: Instant) -> usize {
        let mut received = 0;
        for _ in 0..LEG_BATCHES {
            let relay = &mut self.relay;
            let Kit { receive, pool, .. } = kit;
            let Port { socket, leg, role } = &mut self.ports[port];
            let count = socket.receive(receive, pool, clocks, floor, |now, source, bytes, dropped| {
                hand_over(relay, (*leg, *role), now, source, bytes, dropped);
            });
            self.collect(clocks.monotonic);
            match count {
                Ok(count) => {
                    received += count;
                    if count < RECEIVE_BATCH {
                        break;
                    }
                }
                Err(error) => {
                    self.cannot_receive(&error, clocks.monotonic);
                    break;
                }
            }
        }
        received
    }

    /// Receives from several ports in order of arrival. A port that was not read completely may
    /// hold datagrams newer than its last one, so newer ones of the other ports are kept for the
    /// next turn: less than a batch of each.
    fn receive_in_order(
        &mut self,
        inputs: &[usize],
        kit: &mut Kit,
        clocks: ClockPair,
        floor: Instant,
    ) -> Taken {
        let mut queues = mem::take(&mut kit.queues);
        queues.resize_with(self.ports.len().max(queues.len()), Queue::default);
        inputs.iter().for_each(|port| queues[*port].open = true);
        for (port, waiting) in self.kept.drain(..) {
            queues[port].waiting.push_back(waiting);
        }
        let mut taken = Taken::default();
        while self.fill(&mut queues, &mut taken, kit, clocks, floor) {
            let heads = queues.iter().enumerate().filter_map(|(port, queue)| {
                let first = queue.waiting.front()?;
                Some((first.at, port))
            });
            let Some((_, port)) = heads.clone().min() else { break };
            // Takes all datagrams of one port that came before those of the others.
            let until = heads.filter(|(_, other)| *other != port).min();
            let Port { leg, role, .. } = self.ports[port];
            while let Some(first) = queues[port].waiting.front()
                && until.is_none_or(|until| (first.at, port) < until)
                && let Some(Waiting { at, source, bytes, dropped }) = queues[port].waiting.pop_front()
            {
                hand_over(&mut self.relay, (leg, role), at.max(floor), source, bytes, dropped);
            }
        }
        self.collect(clocks.monotonic);
        for (port, queue) in queues.iter_mut().enumerate() {
            self.kept.extend(queue.waiting.drain(..).map(|waiting| (port, waiting)));
            (queue.open, queue.batches) = (false, 0);
        }
        kit.queues = queues;
        taken.rest |= self.keeps();
        taken
    }

    /// Reads from ports whose queue is empty. `false` if one of them has more than a turn may
    /// take.
    fn fill(
        &mut self,
        queues: &mut [Queue],
        taken: &mut Taken,
        kit: &mut Kit,
        clocks: ClockPair,
        floor: Instant,
    ) -> bool {
        for (port, queue) in queues.iter_mut().enumerate() {
            if !queue.open || !queue.waiting.is_empty() {
                continue;
            }
            if queue.batches == LEG_BATCHES {
                taken.rest = true;
                return false;
            }
            queue.batches += 1;
            self.collect(clocks.monotonic);
            let Kit { receive, pool, .. } = kit;
            let Queue { waiting, open, .. } = queue;
            let socket = &mut self.ports[port].socket;
            let count = socket.receive(receive, pool, clocks, floor, |at, source, bytes, dropped| {
                waiting.push_back(Waiting { at, source, bytes, dropped });
            });
            match count {
                Ok(count) => {
                    taken.datagrams += count;
                    *open = count == RECEIVE_BATCH;
                }
                Err(error) => {
                    *open = false;
                    self.cannot_receive(&error, clocks.monotonic);
                }
            }
        }
        true
    }

    /// [`Channel::maintain`] repairs the socket; packets of other legs are not affected.
    fn cannot_receive(&mut self, error: &std::io::Error, now: Instant) {
        self.log_limited(now, |name| warn!(channel = name, "cannot receive: {error}"));
    }
}

/// Passes a datagram from a port to the core.
#[inline]
fn hand_over(
    relay: &mut Relay,
    (leg, role): (u8, Role),
    now: Instant,
    source: SocketAddr,
    bytes: Buffer,
    dropped: u64,
) {
    if dropped > 0 && role == Role::Media {
        relay.handle_input(Input::Dropped { now, leg, count: dropped });
    }
    relay.handle_input(Port::input(leg, role, now, source, bytes));
}
