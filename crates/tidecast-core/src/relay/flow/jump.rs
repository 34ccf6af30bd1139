//! Decides whether a jump of the numbers within a session is a loss or a restart. In a large
//! number space, a step forwards is a loss of exactly that many packets, since a restart there by
//! chance is unlikely. In a small one, the elapsed time, the producer's clock and the kernel's
//! drop counter decide.

use std::time::Duration;

use super::{Context, Flow};
use crate::{
    jitter::MICROSECONDS,
    limits::{JUMP_NUMBERS_MAX, WIDE_SPACE},
    relay::{Packet, PacketFormat},
};
use tidecast_wire::{rtp, seq::Space};

/// A new numbering that is believed, within the current session.
#[derive(Debug)]
pub(super) struct Jump {
    /// Its first wire number.
    pub(super) first: u64,
    /// Count of its packets so far.
    pub(super) packets: usize,
    /// How long the previous numbering had been silent before it.
    pub(super) elapsed: Duration,
    /// Seconds by the producer's clock since the previous numbering.
    pub(super) stamped: Option<f64>,
}

impl Flow {
    /// Seconds by the producer's clock from the last packet of the current numbering to this
    /// packet.
    pub(super) fn stamped_after(&self, packet: &Packet) -> Option<f64> {
        let (ticks, per_second, round) = match packet.format {
            PacketFormat::Rtp => {
                let header = rtp::Packet::parse(&packet.bytes).ok()?;
                let per_second = self.clock.rate_of(header.payload_type())?;
                (u64::from(header.timestamp()), per_second, Some(2_f64.powi(32)))
            }
            PacketFormat::Custom => (packet.timestamp?, MICROSECONDS, None),
            _ => return None,
        };
        let per_second = f64::from(per_second);
        let alive = self.alive?.saturating_duration_since(self.epoch).as_secs_f64();
        let later = ticks as f64 / per_second - self.jitter.stamped(alive)?;
        Some(round.map_or(later, |ticks| later.rem_euclid(ticks / per_second)))
    }

    /// Whether the session continues after a jump; if so, the skipped numbers are counted as lost.
    pub(super) fn jump(&mut self, believed: &Jump, window: u64, cx: &mut Context<'_>) -> bool {
        let to = self.goes_on_at(believed, window, cx);
        let Some((to, session)) = to.zip(self.session.as_mut()) else { return false };
        let lost = session.reorder.jump(to);
        session.begun_by = self.source;
        self.count_lost(lost, cx);
        true
    }

    /// Extended number at which the session continues; `None` if it is a restart.
    fn goes_on_at(&self, believed: &Jump, window: u64, cx: &Context<'_>) -> Option<u64> {
        let session = self.session.as_ref()?;
        let next = session.reorder.next();
        let native = self.format == PacketFormat::Native;
        if !native && session.begun_by != self.source {
            return None;
        }
        let step = self.step.get() as f64;
        let per_second = self.rate.get().map(|rate| rate * step);
        let window_max = cx.config.window_max as f64 * step;
        let elapsed = believed.elapsed.as_secs_f64();
        let plausible = per_second.map_or(window_max, |rate| 3.0 * rate * elapsed + window as f64);
        // A native producer gets a new session id when it restarts.
        let wide = native || self.space.modulus().is_none_or(|modulus| modulus >= WIDE_SPACE);
        let most = match believed.packets {
            1 if native => 0.0,
            1 => window_max,
            _ if native => window_max,
            _ => JUMP_NUMBERS_MAX as f64,
        };
        let by_evidence = || {
            let (rate, stamped) = (per_second?, believed.stamped.unwrap_or(0.0));
            let dropped = self.alive.map_or(0, |alive| cx.drops.since(alive)) * self.step.get();
            lost_in_small_space(
                &self.space,
                next,
                believed.first,
                &Evidence { dropped, window, elapsed, rate, stamped },
            )
        };
        let to = self.space.extend(next, believed.first);
        let forwards = to.checked_sub(next).map(|numbers| numbers as f64);
        if wide {
            return forwards.filter(|numbers| *numbers <= plausible.max(most)).map(|_| to);
        }
        by_evidence()
            .map(|numbers| next + numbers)
            .or_else(|| forwards.filter(|numbers| *numbers <= plausible).map(|_| to))
    }
}

/// Evidence for the number of packets missing when a small number space has wrapped.
struct Evidence {
    /// Numbers of the datagrams that the kernel dropped.
    dropped: u64,
    window: u64,
    /// Seconds, by our clock and by the producer's.
    elapsed: f64,
    stamped: f64,
    /// Numbers per second.
    rate: f64,
}

/// How many numbers are lost, if that is known: as many as the kernel dropped, or as many as fit
/// the elapsed time. It may be more than the number space holds.
fn lost_in_small_space(space: &Space, next: u64, first: u64, evidence: &Evidence) -> Option<u64> {
    let modulus = space.modulus()?;
    let distance = space.distance(next, first);
    let Evidence { dropped, window, elapsed, stamped, rate } = *evidence;
    let nearest = |expected: f64| {
        let rounds = ((expected - distance as f64) / modulus as f64).round().max(0.0) as u64;
        distance + rounds * modulus
    };
    if dropped >= distance.max(1) && dropped % modulus == distance {
        return Some(dropped);
    }
    let numbers = nearest((rate * elapsed).min(dropped as f64));
    if dropped > 0 && numbers <= dropped + window {
        return Some(numbers);
    }
    // A restarted producer may start at any time, which would fit some number of wraps.
    let off = (distance as f64 - rate * stamped).abs();
    (distance > 0 && off <= distance as f64 / 4.0).then_some(distance)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(modulus: u64, distance: u64, evidence: Evidence) -> Option<u64> {
        let space = Space::new(modulus).unwrap();
        lost_in_small_space(&space, 5 * modulus + 3, (3 + distance) % modulus, &evidence)
    }

    const NONE: Evidence = Evidence { dropped: 0, window: 64, elapsed: 0.0, stamped: 0.0, rate: 500.0 };

    #[test]
    fn kernel_drops_tell_how_often_a_small_counter_went_round() {
        let dropped = |dropped, elapsed| Evidence { dropped, elapsed, ..NONE };
        assert_eq!(lost(256, 690 % 256, dropped(690, 0.0)), Some(690));
        assert_eq!(lost(1 << 16, 690, dropped(690, 0.0)), Some(690));
        assert_eq!(lost(256, 100, dropped(690, 0.2)), Some(100), "others' were dropped, too");
        assert_eq!(lost(1 << 16, 30_000, dropped(690, 1.0)), None, "a restart while some were dropped");
    }

    #[test]
    fn the_producers_clock_tells_a_burst_from_a_restart() {
        let stamped = |stamped| Evidence { stamped, ..NONE };
        assert_eq!(lost(1 << 16, 20_000, stamped(40.0)), Some(20_000));
        assert_eq!(lost(1 << 16, 40_000, stamped(80.0)), Some(40_000), "beyond half of the space");
        assert_eq!(lost(1 << 16, 20_000, stamped(0.002)), None);
        assert_eq!(lost(1 << 16, 20_000, stamped(30_000.0)), None, "a clock that is another one");
        assert_eq!(lost(1 << 16, 20_000, NONE), None);
    }
}
