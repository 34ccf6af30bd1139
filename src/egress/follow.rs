//! Which of a channel's flows a player gets. Two flows interleaved would damage both, so a player's output
//! follows one: it moves to another at once when that one succeeds it, or after a silence.

use std::time::{Duration, Instant};

use crate::relay::{FlowId, PacketFormat};

/// Follows one flow of a channel.
#[derive(Debug)]
pub struct Follow {
    failover: Duration,
    current: Option<(FlowId, Instant)>,
}

impl Follow {
    /// Moves to another flow after `failover` without a packet of the one followed.
    pub fn new(failover: Duration) -> Follow {
        Follow { failover, current: None }
    }

    /// Whether packets of this format are media for one player, or readings of which all flows go out.
    pub fn concerns(format: PacketFormat) -> bool {
        matches!(format, PacketFormat::Rtp | PacketFormat::Ts)
    }

    /// `flow` takes the place of `succeeds`.
    pub fn succeeded(&mut self, flow: FlowId, succeeds: FlowId, now: Instant) {
        if self.current.is_some_and(|(current, _)| current == succeeds) {
            self.current = Some((flow, now));
        }
    }

    /// `flow` is gone; its id may be used again.
    pub fn ended(&mut self, flow: FlowId) {
        if self.current.is_some_and(|(current, _)| current == flow) {
            self.current = None;
        }
    }

    /// Whether a packet of `flow`, delivered at `now`, is for the player.
    pub fn takes(&mut self, flow: FlowId, now: Instant) -> bool {
        match &mut self.current {
            Some((current, last)) if *current == flow => *last = now,
            Some((_, last)) if now.saturating_duration_since(*last) < self.failover => return false,
            _ => self.current = Some((flow, now)),
        }
        true
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
}
