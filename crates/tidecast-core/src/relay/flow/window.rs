//! How far above the head a packet is plausible, and how many numbers a packet takes.

use std::time::Duration;

use super::{Config, Flow, Session};
use tidecast_wire::custom::{self, Scale, Scaled};

impl Flow {
    /// How far above the head a packet is plausible, in numbers.
    pub(super) fn window(&self, config: &Config) -> u64 {
        let fec = self.session.as_ref().map_or(0, Session::protected_span);
        self.plain_window(config).max(fec.min(self.window_max(config)))
    }

    /// The window without regard to source blocks.
    pub(super) fn plain_window(&self, config: &Config) -> u64 {
        // A leg that comes back may be ahead of the others by the longest hold.
        let least = if self.legs.is_some() { self.hold.max() * 5 / 16 } else { Duration::ZERO };
        let step = self.step.get();
        self.rate.window(self.hold.get().max(least), self.packets_max(config)) * step
    }

    fn window_max(&self, config: &Config) -> u64 {
        self.packets_max(config) * self.step.get()
    }

    /// Maximum window in packets.
    fn packets_max(&self, config: &Config) -> u64 {
        config.window_max.min(self.space.packets_max(self.step.get()))
    }

    /// Notes how many numbers a packet takes. `true` if packets take more numbers than before, so
    /// the window is larger in numbers.
    #[inline]
    pub(super) fn note_span(&mut self, span: u64) -> bool {
        let before = self.step.get();
        self.step.saw(span) && self.fit_step(before)
    }

    fn fit_step(&mut self, before: u64) -> bool {
        let step = self.step.get();
        if let Some(session) = &mut self.session {
            session.reorder.set_step(step);
        }
        if let Some(legs) = &mut self.legs {
            legs.set_step(step);
        }
        step > before
    }

    /// Position of a datagram of a custom format whose number alone does not determine it.
    pub(in crate::relay) fn place_scaled(&mut self, packet: &custom::Packet<'_>) -> Scaled {
        if self.scale.is_none() {
            self.scale = Scale::of(packet).map(Box::new);
        }
        self.scale.as_mut().map_or(Scaled::Unknown, |scale| scale.place(packet))
    }
}
