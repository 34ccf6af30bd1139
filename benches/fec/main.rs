//! FEC compared with the library that defines the code, with that library built for Haswell, and
//! with ISA-L. `cargo bench --bench fec`. Criterion keeps the times of the first two from run to
//! run; the table at the end has the times of all, measured alternately in several rounds: on a
//! shared machine only its ratios are meaningful.

mod blocks;
mod library;
mod peer;

use std::{hint::black_box, time::Duration};

use criterion::{Criterion, Throughput};
use tidecast_net::clock;
use tidecast_wire::fec::rs::Codes;

use blocks::{Coder, Job, LEN, Losses, data, time};
use library::Library;
use peer::Peer;

const SHAPES: [(usize, usize); 4] = [(10, 2), (20, 4), (32, 8), (100, 20)];
/// Rounds of the table; the best time of each competitor counts.
const ROUNDS: usize = 15;
/// Minimum duration of one competitor's measurement.
const TURN: Duration = Duration::from_millis(10);

struct Tidecast {
    codes: Codes,
    m: usize,
    data: Vec<Vec<u8>>,
    parity: Vec<Vec<u8>>,
}

impl Tidecast {
    fn new(k: usize, m: usize) -> Tidecast {
        let mut block = Tidecast { codes: Codes::new(), m, data: data(k), parity: vec![Vec::new(); m] };
        block.encode();
        block
    }
}

impl Coder for Tidecast {
    fn encode(&mut self) {
        let data: Vec<&[u8]> = self.data.iter().map(Vec::as_slice).collect();
        let parity = black_box(&mut self.parity);
        self.codes.encode(data.len(), self.m, &data, parity).expect("equal shards");
    }

    fn rebuild(&mut self, lost: &[usize]) {
        let mut shards: Vec<_> =
            self.data.iter().chain(&self.parity).map(|shard| Some(shard.as_slice())).collect();
        lost.iter().for_each(|at| shards[*at] = None);
        let (data, parity) = shards.split_at(self.data.len());
        black_box(self.codes.missing(data.len(), self.m, data, parity).expect("enough shards"));
    }
}

fn criterion(criterion: &mut Criterion) {
    for job in Job::ALL {
        for (k, m) in SHAPES {
            let mut group = criterion.benchmark_group(format!("FEC {} ({k},{m})", job.name()));
            group.throughput(Throughput::Bytes((k * LEN) as u64));
            let coders: [(&str, Box<dyn Coder>); 2] =
                [("tidecast", Box::new(Tidecast::new(k, m))), ("library", Box::new(Library::new(k, m)))];
            for (name, mut coder) in coders {
                let mut losses = Losses::new(k, m);
                group.bench_function(name, |bencher| {
                    bencher.iter_custom(|times| time(clock::now, &mut *coder, job, times, &mut losses));
                });
            }
        }
    }
}

/// Does a job this many times and returns how long that took.
type Turn<'a> = Box<dyn FnMut(u64) -> Result<Duration, String> + 'a>;

/// Returns the best time per block of each competitor.
fn rounds(contestants: &mut [Turn<'_>]) -> Vec<Result<Duration, String>> {
    let mut turns: Vec<Result<(u64, Duration), String>> = contestants
        .iter_mut()
        .map(|contestant| {
            let mut times = 1;
            while contestant(times)? < TURN {
                times *= 2;
            }
            Ok((times, Duration::MAX))
        })
        .collect();
    for _ in 0..ROUNDS {
        for (turn, contestant) in turns.iter_mut().zip(contestants.iter_mut()) {
            if let Ok((times, best)) = turn {
                match contestant(*times) {
                    Ok(took) => *best = (*best).min(took / *times as u32),
                    Err(reason) => *turn = Err(reason),
                }
            }
        }
    }
    turns.into_iter().map(|turn| turn.map(|(_, best)| best)).collect()
}

fn table() {
    let mut peers =
        [("library, for Haswell", Peer::haswell()), ("ISA-L", Peer::isal())].map(|(name, peer)| {
            peer.as_ref().err().inspect(|reason| println!("{name} is SKIPPED: {reason}"));
            (name, peer)
        });
    println!("\n{:8} {:10} {:22} {:>8} {:>16}", "job", "(k,m)", "who", "GB/s", "tidecast : who");
    for job in Job::ALL {
        for (k, m) in SHAPES {
            let mut names = vec!["tidecast", "library, scalar"];
            let coders: [Box<dyn Coder>; 2] = [Box::new(Tidecast::new(k, m)), Box::new(Library::new(k, m))];
            let mut turns: Vec<Turn<'_>> = Vec::new();
            for mut coder in coders {
                let mut losses = Losses::new(k, m);
                turns.push(Box::new(move |times| Ok(time(clock::now, &mut *coder, job, times, &mut losses))));
            }
            for (name, peer) in peers.iter_mut().filter_map(|(n, p)| Some((*n, p.as_mut().ok()?))) {
                names.push(name);
                turns.push(Box::new(move |times| peer.time(job, (k, m), times)));
            }
            let best = rounds(&mut turns);
            print(job, (k, m), &names, &best);
        }
    }
}

fn print(job: Job, (k, m): (usize, usize), names: &[&str], best: &[Result<Duration, String>]) {
    let own = best[0].clone().unwrap_or_default();
    for (name, best) in names.iter().zip(best) {
        let shape = format!("({k},{m})");
        match best {
            Ok(best) => {
                let rate = (k * LEN) as f64 / best.as_secs_f64() / 1e9;
                let ratio = best.as_secs_f64() / own.as_secs_f64();
                println!("{:8} {shape:10} {name:22} {rate:8.2} {ratio:16.2}", job.name());
            }
            Err(reason) => println!("{:8} {shape:10} {name:22} SKIPPED: {reason}", job.name()),
        }
    }
}

fn main() {
    let mut harness = Criterion::default().configure_from_args();
    criterion(&mut harness);
    harness.final_summary();
    // `cargo test --benches` tries each benchmark once
    if std::env::args().any(|argument| argument == "--bench") {
        table();
    }
}
