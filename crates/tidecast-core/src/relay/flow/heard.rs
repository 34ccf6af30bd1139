//! What a packet reveals besides its content: its source address, its arrival, and the producer's
//! clock.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::{Config, Flow};
use crate::{
    jitter::MICROSECONDS,
    relay::{PacketFormat, arrival::Stamp},
};

impl Flow {
    /// Notes source and arrival of a media packet.
    #[inline(always)]
    pub(in crate::relay) fn heard(
        &mut self,
        source: SocketAddr,
        leg: u8,
        format: PacketFormat,
        now: Instant,
    ) {
        self.counters.media_received += 1;
        self.confirmed |= self.counters.media_received > 1;
        let at = self.nanos_at(now);
        let pause = at.saturating_sub(self.heard_at);
        self.pause = if pause > self.gap { pause } else { 0 };
        (self.heard_at, self.last_arrival) = (at, now);
        self.format = format;
        if let Some(legs) = &mut self.legs {
            legs.heard_from(leg, source, now);
        }
    }

    /// Notes that something other than a media packet has shown the producer to be alive.
    pub(in crate::relay) fn shows(&mut self, now: Instant) {
        (self.heard_at, self.last_arrival) = (self.nanos_at(now), now);
    }

    /// Time on the flow's scale: nanoseconds since its creation.
    #[inline(always)]
    pub(super) fn nanos_at(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.epoch).as_nanos() as u64
    }

    /// Compares the producer's clock with the arrival, to measure jitter.
    #[inline(always)]
    pub(super) fn clock(&mut self, stamp: Stamp, arrived: u64, config: &Config) {
        let (ticks, rate) = match stamp {
            Stamp::Micros(micros) => (micros, MICROSECONDS),
            Stamp::Rtp { payload_type, ticks } => {
                let known = self.clock.rate_of(payload_type);
                let rate = known.or_else(|| self.learn_rate(payload_type, ticks, arrived, config));
                let Some(rate) = rate else { return };
                (u64::from(ticks), rate)
            }
        };
        self.jitter.update(arrived as f64 * 1e-9, ticks, rate);
    }

    #[inline(never)]
    fn learn_rate(&mut self, payload_type: u8, ticks: u32, arrived: u64, config: &Config) -> Option<u32> {
        self.clock.learn(payload_type, ticks, Duration::from_nanos(arrived), &config.payload_types)
    }
}
