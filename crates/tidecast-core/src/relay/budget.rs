//! Memory budget of a channel, shared by its flows.

/// Memory budget shared by the flows of a channel.
#[derive(Debug)]
pub(super) struct Budget {
    pub(super) used: usize,
    pub(super) max: usize,
    /// Packets of paced release that left early because of it.
    pub(super) early: u64,
}

impl Budget {
    pub(super) fn recharge(&mut self, before: usize, now: usize) {
        self.used = self.used + now - before;
    }

    pub(super) fn room(&self) -> usize {
        self.max.saturating_sub(self.used)
    }

    pub(super) fn exceeded(&self) -> bool {
        self.used > self.max
    }
}
