//! Chooses the flow that a player gets. Two interleaved flows would damage each other, so a
//! player's output follows one. It moves to another flow at once when that one succeeds it, or
//! after a silence. A flow with a transport stream takes precedence over one without, which may be
//! the FEC of that stream.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use crate::relay::{FlowId, PacketFormat};

/// Minimum silence after which a player moves from a transport stream to a flow without one: FEC
/// and keep-alives may continue while the stream pauses.
const OTHER_AFTER: Duration = Duration::from_secs(5);
/// Time after which a flow without a transport stream is assumed to be the wanted one, and not
/// just the first to arrive.
const SETTLED: Duration = Duration::from_secs(5);
/// Packets of a transport stream after which a player leaves such a flow: more than an occasional
/// forged packet.
const STREAM_PACKETS: u32 = 16;

/// The followed flow.
#[derive(Debug, Clone, Copy)]
struct Current {
    flow: FlowId,
    since: Instant,
    last: Instant,
}

/// A flow that carries a transport stream.
#[derive(Debug, Clone, Copy)]
struct Stream {
    heard: Instant,
    packets: u32,
}

/// Follows one flow of a channel.
#[derive(Debug)]
pub struct Follow {
    failover: Duration,
    current: Option<Current>,
    streams: HashMap<FlowId, Stream>,
}

impl Follow {
    /// Creates a follower that moves to another flow after `failover` without a packet of the
    /// followed one.
    pub fn new(failover: Duration) -> Follow {
        Follow { failover, current: None, streams: HashMap::new() }
    }

    /// Whether packets of this format are media for a player, of which one flow is followed.
    /// Readings of all flows are sent.
    pub fn concerns(format: PacketFormat) -> bool {
        format.is_stream()
    }

    /// The followed flow.
    pub fn current(&self) -> Option<FlowId> {
        self.current.map(|current| current.flow)
    }

    /// Sets whether `flow` carries a transport stream from now on.
    pub fn carries(&mut self, flow: FlowId, stream: bool, now: Instant) {
        if stream {
            self.streams.entry(flow).or_insert(Stream { heard: now, packets: 0 });
        } else {
            self.streams.remove(&flow);
        }
    }

    /// Notes that `flow` replaces `succeeds`.
    pub fn succeeded(&mut self, flow: FlowId, succeeds: FlowId, now: Instant) {
        let better = self.streams.contains_key(&flow) || !self.streams.contains_key(&succeeds);
        if better && self.current.is_some_and(|current| current.flow == succeeds) {
            self.current = Some(Current { flow, since: now, last: now });
        }
    }

    /// Notes that `flow` was removed; its id may be used again.
    pub fn ended(&mut self, flow: FlowId) {
        self.streams.remove(&flow);
        if self.current.is_some_and(|current| current.flow == flow) {
            self.current = None;
        }
    }

    /// Whether a packet of `flow`, delivered at `now`, goes to the player.
    #[inline]
    pub fn takes(&mut self, flow: FlowId, now: Instant) -> bool {
        if let Some(current) = &mut self.current
            && current.flow == flow
        {
            current.last = now;
            return true;
        }
        let moves = self.moves_to(flow, now);
        if moves {
            self.current = Some(Current { flow, since: now, last: now });
        }
        moves
    }

    fn moves_to(&mut self, flow: FlowId, now: Instant) -> bool {
        let stream = self.streams.get_mut(&flow).map(|stream| {
            stream.heard = now;
            stream.packets = stream.packets.saturating_add(1);
            stream.packets
        });
        let Some(current) = self.current else {
            let near = |stream: &Stream| now.saturating_duration_since(stream.heard) < self.failover;
            return stream.is_some() || !self.streams.values().any(near);
        };
        let silent = now.saturating_duration_since(current.last);
        match (stream, self.streams.contains_key(&current.flow)) {
            (None, true) => silent >= self.failover.max(OTHER_AFTER),
            // a few forged packets must not replace a flow that was followed for a while
            (Some(packets), false) => {
                let settled = now.saturating_duration_since(current.since) >= SETTLED;
                !settled || packets >= STREAM_PACKETS || silent >= self.failover
            }
            _ => silent >= self.failover,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_moves_on_succession_and_after_silence() {
        let now = crate::clock::now();
        let second = Duration::from_secs(1);
        let mut follow = Follow::new(second);
        let (a, b, c) = (FlowId(0), FlowId(1), FlowId(2));
        assert!(follow.takes(a, now));
        assert!(!follow.takes(b, now));
        follow.succeeded(c, b, now);
        assert!(!follow.takes(c, now));
        follow.succeeded(b, a, now);
        assert!(follow.takes(b, now));
        assert!(!follow.takes(a, now + second / 2));
        assert!(follow.takes(a, now + second));
        assert!(!follow.takes(b, now + second));
        follow.ended(a);
        assert!(follow.takes(b, now + second));
    }
    #[test]
    fn a_transport_stream_goes_before_anything_else() {
        let now = crate::clock::now();
        let second = Duration::from_secs(1);
        let mut follow = Follow::new(second);
        let (stream, fec) = (FlowId(0), FlowId(1));
        // known before it is delivered
        follow.carries(stream, true, now);
        assert!(!follow.takes(fec, now) && follow.takes(stream, now));
        follow.succeeded(fec, stream, now);
        assert!(!follow.takes(fec, now + second) && follow.takes(stream, now + second));
        assert!(follow.takes(fec, now + second + OTHER_AFTER));
        // at once, unless the other one has been followed for long
        assert!(follow.takes(stream, now + second + OTHER_AFTER));
        let mut follow = Follow::new(second);
        assert!(follow.takes(fec, now) && follow.takes(fec, now + SETTLED));
        follow.carries(stream, true, now);
        let later = now + SETTLED;
        let taken = (0..STREAM_PACKETS).map(|_| follow.takes(stream, later));
        assert_eq!(taken.filter(|taken| *taken).count(), 1);
        follow.carries(stream, false, later);
        assert!(follow.takes(stream, later));
    }
}
