//! Determines a stream's FEC parameters from its repair packets: the matrix of ST 2022-1, or the
//! block parameters of native FEC.

use std::{collections::BTreeMap, net::IpAddr};

use super::report::FecReport;
use crate::limits::PROBE_SHAPES_MAX;
use tidecast_wire::{
    native,
    st2022::{Axis, Repair},
};

/// ST 2022-1 of one sender: how often columns with (L, D) and rows with L occurred.
#[derive(Debug, Default)]
struct Matrix {
    columns: BTreeMap<(u64, u64), u64>,
    rows: BTreeMap<u64, u64>,
}

/// The received repair packets, by sender.
#[derive(Debug, Default)]
pub(super) struct Geometry {
    matrices: BTreeMap<IpAddr, Matrix>,
    /// (k, m, stride) of native repair packets.
    blocks: BTreeMap<(usize, usize, u64), u64>,
}

/// Increments the counter of a key, up to a maximum number of keys.
fn count<K: Ord>(counts: &mut BTreeMap<K, u64>, key: K) {
    if counts.len() < PROBE_SHAPES_MAX || counts.contains_key(&key) {
        *counts.entry(key).or_default() += 1;
    }
}

/// Returns the most frequent key.
fn usual<K: Copy>(counts: &BTreeMap<K, u64>) -> Option<K> {
    counts.iter().max_by_key(|(_, count)| **count).map(|(key, _)| *key)
}

impl Geometry {
    /// Processes a repair packet of ST 2022-1.
    pub(super) fn matrix(&mut self, source: IpAddr, repair: &Repair<'_>) {
        if self.matrices.len() >= PROBE_SHAPES_MAX && !self.matrices.contains_key(&source) {
            return;
        }
        let matrix = self.matrices.entry(source).or_default();
        match repair.axis() {
            Axis::Column => count(&mut matrix.columns, (repair.offset(), repair.count())),
            Axis::Row => count(&mut matrix.rows, repair.count()),
        }
    }

    /// Processes a native repair packet.
    pub(super) fn block(&mut self, repair: &native::Repair<'_>) {
        count(&mut self.blocks, (repair.k(), repair.m(), repair.stride()));
    }

    /// Returns each kind of FEC that was received.
    pub(super) fn report(&self) -> Vec<FecReport> {
        let matrices = self.matrices.iter().filter_map(|(source, matrix)| matrix.report(*source));
        matrices.chain(self.native()).collect()
    }

    /// Returns native FEC. Blocks may be closed early with a smaller k, so the parameter is the
    /// largest k with the most frequent m and stride.
    fn native(&self) -> Option<FecReport> {
        let mut shapes: BTreeMap<(usize, u64), u64> = BTreeMap::new();
        for ((_, m, stride), count) in &self.blocks {
            *shapes.entry((*m, *stride)).or_default() += count;
        }
        let (m, stride) = usual(&shapes)?;
        let of_shape = self.blocks.keys().filter(|key| (key.1, key.2) == (m, stride));
        let k = of_shape.map(|key| key.0).max()?;
        Some(FecReport::Native { k, m, stride, packets: self.blocks.values().sum() })
    }
}

impl Matrix {
    fn report(&self, source: IpAddr) -> Option<FecReport> {
        let packets = self.columns.values().chain(self.rows.values()).sum();
        let (columns, rows) = match (usual(&self.columns), usual(&self.rows)) {
            (Some((columns, rows)), _) => (columns, Some(rows)),
            (None, row) => (row?, None),
        };
        let row_fec = !self.rows.is_empty();
        Some(FecReport::St2022 { source, columns, rows, column_fec: rows.is_some(), row_fec, packets })
    }
}
