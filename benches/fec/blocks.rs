//! The jobs that every competitor does alternately, with the blocks and losses. The program in
//! `haswell/` includes this file too, so it uses only std and gets its clock as an argument.

use std::time::{Duration, Instant};

/// Bytes of a shard: seven transport packets.
pub(crate) const LEN: usize = 1316;

/// A job to measure.
#[derive(Clone, Copy)]
pub(crate) enum Job {
    /// Computing the repair shards of one block.
    Encode,
    /// Recovering the lost data shards of a block that lost as many shards as it has repair
    /// shards.
    Rebuild,
}

impl Job {
    /// Both.
    pub(crate) const ALL: [Job; 2] = [Job::Encode, Job::Rebuild];

    /// Returns its name in the table and in requests to a program.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Job::Encode => "encode",
            Job::Rebuild => "rebuild",
        }
    }
}

/// A competitor that can do both jobs with its block.
pub(crate) trait Coder {
    /// Computes the repair shards again.
    fn encode(&mut self);
    /// Computes the lost data shards, without reading any lost shard.
    fn rebuild(&mut self, lost: &[usize]);
}

/// Does a job this many times, with different losses each time. Returns the time that it took.
pub(crate) fn time(
    clock: fn() -> Instant,
    coder: &mut dyn Coder,
    job: Job,
    times: u64,
    losses: &mut Losses,
) -> Duration {
    let lost: Vec<Vec<usize>> = (0..times).map(|_| losses.draw()).collect();
    let begin = clock();
    for lost in &lost {
        match job {
            Job::Encode => coder.encode(),
            Job::Rebuild => coder.rebuild(lost),
        }
    }
    clock() - begin
}

/// Returns the data shards of a block.
pub(crate) fn data(k: usize) -> Vec<Vec<u8>> {
    let mut state = 1;
    (0..k).map(|_| (0..LEN).map(|_| random(&mut state) as u8).collect()).collect()
}

/// Random losses of m among k + m shards, of which at least one is a data shard.
pub(crate) struct Losses {
    k: usize,
    m: usize,
    state: u64,
}

impl Losses {
    /// Creates losses, always the same for the same parameters.
    pub(crate) fn new(k: usize, m: usize) -> Losses {
        Losses { k, m, state: 2 }
    }

    fn draw(&mut self) -> Vec<usize> {
        let mut all: Vec<usize> = (0..self.k + self.m).collect();
        loop {
            for at in 0..self.m {
                let other = at + random(&mut self.state) as usize % (all.len() - at);
                all.swap(at, other);
            }
            if all[..self.m].iter().any(|lost| *lost < self.k) {
                return all[..self.m].to_vec();
            }
        }
    }
}

/// Returns the upper half of a linear congruential generator's state.
fn random(state: &mut u64) -> u32 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 32) as u32
}
