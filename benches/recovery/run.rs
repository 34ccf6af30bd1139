//! Runs of the laboratory, on all processors: each run has a separate simulated clock, so they do
//! not disturb each other.

use std::{
    num::NonZero,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use tidecast_core::relay::Hold;
use tidecast_link::Impairments;

use crate::{
    cases::{self, Model},
    lab::{Course, Outcome, Protection, theory},
};

/// Number and length of runs.
pub(crate) struct Effort {
    pub(crate) packets: u64,
    pub(crate) seed: u64,
    pub(crate) hold: Hold,
}

/// Every protection over every link.
pub(crate) struct Grid {
    pub(crate) protections: Vec<Protection>,
    pub(crate) models: Vec<Model>,
    /// By model, then by protection.
    cells: Vec<Cell>,
}

/// One protection over one link.
pub(crate) struct Cell {
    pub(crate) outcome: Outcome,
    /// Share that is lost according to theory, where it is known.
    pub(crate) theory: Option<f64>,
}

impl Grid {
    pub(crate) fn cell(&self, model: usize, protection: usize) -> &Cell {
        &self.cells[model * self.protections.len() + protection]
    }

    /// Returns the index of a link by its name.
    pub(crate) fn model(&self, name: &str) -> usize {
        self.models.iter().position(|model| model.name == name).expect("a link of this name")
    }
}

/// Runs every protection over every link.
pub(crate) fn grid(protections: &[Protection], models: &[Model], effort: &Effort) -> Grid {
    let courses: Vec<(Protection, Impairments)> = models
        .iter()
        .flat_map(|model| protections.iter().map(|protection| (*protection, model.link)))
        .collect();
    let models = models.iter().map(|model| Model { ..*model }).collect();
    Grid { protections: protections.to_vec(), models, cells: cells(&courses, effort) }
}

fn cells(courses: &[(Protection, Impairments)], effort: &Effort) -> Vec<Cell> {
    let Effort { packets, seed, hold } = *effort;
    let run = |(protection, model): (Protection, Impairments)| {
        let outcome = Course { packets, seed, ..Course::new(protection, model, hold) }.run();
        Cell { outcome, theory: theory::residual(protection, &model, hold) }
    };
    parallel(courses, run)
}

/// Returns the results in the order of the jobs, independently of the thread that ran each.
fn parallel<J: Copy + Sync, R: Send>(jobs: &[J], run: impl Fn(J) -> R + Sync) -> Vec<R> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(job) = jobs.get(at) else { break };
            let result = run(*job);
            done.lock().unwrap_or_else(PoisonError::into_inner).push((at, result));
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(work);
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

/// Residual losses over a range of links, for some protections.
pub(crate) struct Sweep {
    pub(crate) xs: Vec<f64>,
    pub(crate) protections: Vec<Protection>,
    /// By protection, then by link.
    pub(crate) cells: Vec<Vec<Cell>>,
}

fn sweep(xs: &[f64], link: impl Fn(f64) -> Impairments, effort: &Effort) -> Sweep {
    let protections = vec![
        Protection::NONE,
        Protection::native(10, 2, 1),
        Protection::native(20, 4, 1),
        Protection::native(20, 4, 4),
        Protection::matrix(5, 5),
        Protection::matrix(10, 10),
        Protection::matrix(20, 5),
        Protection::NONE.twice(),
        Protection::again(Duration::from_millis(20)),
        Protection::again(Duration::from_millis(100)),
    ];
    let courses: Vec<_> =
        protections.iter().flat_map(|protection| xs.iter().map(|x| (*protection, link(*x)))).collect();
    let mut all = cells(&courses, effort).into_iter();
    let cells = protections.iter().map(|_| all.by_ref().take(xs.len()).collect()).collect();
    Sweep { xs: xs.to_vec(), protections, cells }
}

/// Runs over rates of independent loss, in per cent.
pub(crate) fn rates(effort: &Effort) -> Sweep {
    let xs = [0.5, 1.0, 2.0, 3.0, 5.0, 7.0, 10.0, 15.0, 20.0];
    sweep(&xs, |percent| cases::independent(percent / 100.0), effort)
}

/// Runs over mean lengths of bursts, with 1 % of loss.
pub(crate) fn bursts(effort: &Effort) -> Sweep {
    sweep(&[1.0, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0, 30.0], |burst| cases::bursts(0.01, burst), effort)
}
