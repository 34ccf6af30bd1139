//! Simulates losses like those that were observed, and computes which of them FEC leaves.
//!
//! The lengths of losses and of the distances between them are drawn in random order from a fixed
//! seed, with a margin, because a few seconds of observation do not contain the worst case. Repair
//! packets are lost on the same link.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg32;

use super::losses::Losses;

/// Fixed seed, so that the same losses lead to the same suggestion.
const SEED: u64 = 20_22;
/// One in this many losses is drawn longer than any that was observed.
const LONGER: f64 = 16.0;

/// The observed losses, from which others are drawn.
#[derive(Debug, Clone)]
pub(super) struct Model {
    came: Vec<f64>,
    lost: Vec<u64>,
    mean_lost: f64,
    mean_came: f64,
}

impl Model {
    /// Creates a model of the losses up to a length; `expected` numbers in all. Returns `None` if
    /// there are no such losses.
    pub(super) fn new(expected: u64, losses: &Losses, longest: u64) -> Option<Model> {
        let drawn: Vec<(u64, u64)> = losses.recent().filter(|(_, lost)| *lost <= longest).collect();
        let lost: Vec<u64> = drawn.iter().map(|(_, lost)| *lost).collect();
        if lost.is_empty() {
            return None;
        }
        let runs = losses.runs().max(1) as f64;
        // a small number of losses is an uncertain estimate of their frequency
        let margin = 1.0 + 1.5 / (lost.len() as f64).sqrt();
        let mean_lost = lost.iter().sum::<u64>() as f64 / lost.len() as f64;
        let mean_came = expected.saturating_sub(losses.lost()) as f64 / runs / margin;
        let came = drawn.iter().map(|(came, _)| *came as f64 / margin).collect();
        Some(Model { came, lost, mean_lost, mean_came: mean_came.max(1.0) })
    }

    /// Returns the mean length of a loss.
    pub(super) fn mean(&self) -> f64 {
        self.mean_lost
    }
}

/// A link that loses packets according to a model.
#[derive(Debug)]
pub(super) struct Lossy<'a> {
    model: &'a Model,
    random: Pcg32,
    came: u64,
    lost: u64,
}

impl<'a> Lossy<'a> {
    pub(super) fn new(model: &'a Model) -> Lossy<'a> {
        Lossy { model, random: Pcg32::seed_from_u64(SEED), came: 1, lost: 0 }
    }

    /// Returns whether the next packet is lost.
    pub(super) fn loses(&mut self) -> bool {
        if self.came > 0 {
            self.came -= 1;
            return false;
        }
        if self.lost == 0 {
            self.draw();
        }
        self.lost -= 1;
        if self.lost == 0 {
            self.came = self.draw_came();
        }
        true
    }

    fn draw(&mut self) {
        let drawn = self.model.lost[self.random.random_range(0..self.model.lost.len())];
        let longer = self.random.random_bool(1.0 / LONGER);
        self.lost = drawn + if longer { self.exponential(self.model.mean_lost).ceil() as u64 } else { 0 };
    }

    /// Draws the distance to the next loss: half of the time an observed one, half of the time a
    /// random one, because the observed distances need not recur.
    fn draw_came(&mut self) -> u64 {
        let seen = self.model.came[self.random.random_range(0..self.model.came.len())];
        let any = self.exponential(self.model.mean_came);
        let came = if self.random.random_bool(0.5) { seen } else { any };
        came.round().max(1.0) as u64
    }

    fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.random.random::<f64>()).ln()
    }
}

/// Simulates native FEC. Returns how many of `packets` data packets stay lost; stops early once
/// they exceed `most`.
pub(super) fn native(model: &Model, (k, m, stride): (usize, usize, usize), packets: u64, most: u64) -> u64 {
    let mut link = Lossy::new(model);
    let (mut left, mut sent) = (0, 0);
    let mut data = vec![0; stride];
    let mut repair = vec![0; stride];
    while sent < packets && left <= most {
        data.fill(0);
        repair.fill(0);
        (0..k * stride).for_each(|i| data[i % stride] += usize::from(link.loses()));
        (0..m * stride).for_each(|i| repair[i % stride] += usize::from(link.loses()));
        let beyond = data.iter().zip(&repair).filter(|(data, repair)| **data + **repair > m);
        left += beyond.map(|(data, _)| *data as u64).sum::<u64>();
        sent += (k * stride) as u64;
    }
    left
}

/// A matrix of ST 2022-1: L, D, and whether rows are protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Matrix {
    pub(super) columns: usize,
    pub(super) rows: usize,
    pub(super) row_fec: bool,
}

/// Lost packets of one matrix.
#[derive(Debug, Default)]
struct Sent {
    media: Vec<bool>,
    rows: Vec<bool>,
    columns: Vec<bool>,
}

impl Matrix {
    /// Returns how many of `packets` media packets stay lost; stops early once they exceed `most`.
    pub(super) fn residual(self, model: &Model, packets: u64, most: u64) -> u64 {
        let mut link = Lossy::new(model);
        let (mut left, mut sent) = (0, 0);
        let mut before: Option<Sent> = None;
        while sent < packets && left <= most {
            let (next, columns) = self.send(&mut link);
            if let Some(mut complete) = before.replace(next) {
                complete.columns = columns;
                left += self.decode(complete);
            }
            sent += (self.columns * self.rows) as u64;
        }
        left
    }

    /// Sends one matrix: the media, its rows, and the columns of the previous matrix, spread over
    /// this one.
    fn send(self, link: &mut Lossy<'_>) -> (Sent, Vec<bool>) {
        let (mut sent, mut columns) = (Sent::default(), Vec::new());
        for position in 1..=self.columns * self.rows {
            sent.media.push(link.loses());
            if position.is_multiple_of(self.columns) {
                let lost = !self.row_fec || link.loses();
                sent.rows.push(lost);
            }
            if position.is_multiple_of(self.rows) {
                columns.push(link.loses());
            }
        }
        (sent, columns)
    }

    /// Recovers packets by rows and columns alternately. Returns how many stay lost.
    fn decode(self, mut sent: Sent) -> u64 {
        loop {
            let mut rebuilt = false;
            for row in (0..self.rows).filter(|row| !sent.rows[*row]) {
                rebuilt |= rebuild(&mut sent.media, row * self.columns, 1, self.columns);
            }
            for column in (0..self.columns).filter(|column| !sent.columns[*column]) {
                rebuilt |= rebuild(&mut sent.media, column, self.columns, self.rows);
            }
            if !rebuilt {
                return sent.media.iter().filter(|lost| **lost).count() as u64;
            }
        }
    }
}

/// Recovers a single loss in one row or column. Returns whether there was one.
fn rebuild(media: &mut [bool], first: usize, step: usize, count: usize) -> bool {
    let mut lost = (0..count).map(|i| first + i * step).filter(|at| media[*at]);
    let (Some(at), None) = (lost.next(), lost.next()) else { return false };
    media[at] = false;
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(came: u64, lost: u64, count: usize) -> Model {
        let mut losses = Losses::default();
        (0..count).for_each(|_| losses.add(came, lost));
        Model::new((came + lost) * count as u64, &losses, 1000).expect("losses")
    }

    #[test]
    fn a_model_loses_a_little_more_than_was_seen() {
        let model = model(97, 3, 400);
        let mut link = Lossy::new(&model);
        let lost = (0..200_000).filter(|_| link.loses()).count() as f64 / 200_000.0;
        assert!((0.03..0.045).contains(&lost), "{lost}");
    }

    #[test]
    fn more_repair_packets_leave_less_and_enough_leave_nothing() {
        let model = model(97, 3, 400);
        let left = |m| native(&model, (20, m, 1), 50_000, u64::MAX);
        let few: Vec<u64> = [1, 2, 4, 8, 16].into_iter().map(left).collect();
        assert!(few.is_sorted_by(|a, b| a >= b), "{few:?}");
        assert!(few[0] > 500 && few[4] == 0, "{few:?}");
        assert!(native(&model, (20, 2, 8), 50_000, u64::MAX) < few[1], "a stride spreads bursts");
    }

    #[test]
    fn a_matrix_covers_a_burst_of_a_row_and_not_two() {
        let matrix = Matrix { columns: 5, rows: 4, row_fec: false };
        let decode = |lost: &[usize]| {
            let media = (0..20).map(|i| lost.contains(&i)).collect();
            matrix.decode(Sent { media, rows: vec![true; 4], columns: vec![false; 5] })
        };
        assert_eq!(decode(&[3, 4, 5, 6, 7]), 0);
        assert_eq!(decode(&[3, 4, 5, 6, 7, 8]), 2);
        let both = Matrix { row_fec: true, ..matrix };
        let media = (0..20).map(|i| [0, 1, 5].contains(&i)).collect();
        assert_eq!(both.decode(Sent { media, rows: vec![false; 4], columns: vec![false; 5] }), 0, "in turns");
    }
}
