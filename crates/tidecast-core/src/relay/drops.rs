//! Recent drops in the kernel's receive buffer: evidence that a jump of the numbers is a loss.

use std::{collections::VecDeque, time::Instant};

use crate::limits::DROPS_REMEMBERED;

/// Datagrams of one leg that were dropped before a datagram that came at `at`.
#[derive(Debug, Clone, Copy)]
struct Dropped {
    at: Instant,
    leg: u8,
    count: u64,
}

/// The latest drops of a channel's legs.
#[derive(Debug, Default)]
pub(super) struct Drops(VecDeque<Dropped>);

impl Drops {
    pub(super) fn note(&mut self, at: Instant, leg: u8, count: u64) {
        if self.0.len() >= DROPS_REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(Dropped { at, leg, count });
    }

    /// Datagrams dropped since this time, on the leg that dropped most.
    pub(super) fn since(&self, since: Instant) -> u64 {
        let lately = || self.0.iter().filter(|dropped| dropped.at >= since);
        let on = |leg| lately().filter(|dropped| dropped.leg == leg).map(|dropped| dropped.count).sum();
        lately().map(|dropped| on(dropped.leg)).max().unwrap_or(0)
    }
}
