//! The cost of the core per packet, from the datagram to the delivery: parse, number, deduplicate,
//! reorder, count.
//!
//! `cargo bench --bench core [-- FILTER]` measures with criterion: `time` is that of *one packet*.
//! `cargo bench --bench core -- table [FILTER]` measures all cases alternately and repeatedly,
//! together with a CRC-32 and a copy of the same bytes: on a shared machine only such ratios are
//! meaningful.

#[path = "core/stream.rs"]
mod stream;

use std::{hint::black_box, time::Duration};

use criterion::{Criterion, Throughput, criterion_group};
use stream::{BATCH, Bench, Case, Kind, Path};
use tidecast_net::clock;

const SIZES: [usize; 2] = [200, 1316];
/// Rounds of the table, and batches of each case in one round.
const ROUNDS: usize = 41;
const BATCHES: u32 = 100;

fn cases(size: usize) -> Vec<Case> {
    let paths = [Path::InOrder, Path::Late(8), Path::Late(32), Path::Lost, Path::Twice];
    let cases = [Kind::Rtp, Kind::Native].into_iter();
    let mut cases: Vec<Case> = cases.flat_map(|kind| paths.map(|path| Case { kind, size, path })).collect();
    let paths = [Path::InOrder, Path::Late(32)];
    let sealed = [Kind::Sealed, Kind::Encrypted].into_iter();
    cases.extend(sealed.flat_map(|kind| paths.map(|path| Case { kind, size, path })));
    if size == SIZES[0] {
        cases.extend([100, 10_000].map(|flows| Case { kind: Kind::Native, size, path: Path::Flows(flows) }));
    }
    cases
}

/// Returns the time that this many batches take.
type Measure = Box<dyn FnMut(u32) -> Duration>;

/// Returns measurements of other operations on the same number of bytes.
fn references(size: usize) -> [(&'static str, Measure); 2] {
    let (bytes, mut target) = (vec![0x47_u8; size], vec![0_u8; size]);
    let timed = |mut run: Box<dyn FnMut()>| -> Measure {
        Box::new(move |batches| {
            let begun = clock::now();
            (0..batches as usize * BATCH).for_each(|_| run());
            clock::now().saturating_duration_since(begun)
        })
    };
    let source = bytes.clone();
    [
        (
            "CRC-32",
            timed(Box::new(move || {
                black_box(crc32fast::hash(black_box(&bytes)));
            })),
        ),
        ("copy", timed(Box::new(move || black_box(&mut target).copy_from_slice(black_box(&source))))),
    ]
}

fn relay(case: Case) -> Measure {
    let mut bench = None;
    Box::new(move |batches| {
        let bench = bench.get_or_insert_with(|| Bench::new(case));
        (0..batches).map(|_| bench.round()).sum()
    })
}

fn measures(size: usize) -> impl Iterator<Item = (String, Measure)> {
    let references = references(size).into_iter().map(|(name, measure)| (name.to_owned(), measure));
    references.chain(cases(size).into_iter().map(|case| (case.to_string(), relay(case))))
}

fn per_packet(criterion: &mut Criterion) {
    for size in SIZES {
        let mut group = criterion.benchmark_group(format!("{size} bytes"));
        group.throughput(Throughput::Elements(1));
        for (name, mut measure) in measures(size) {
            group.bench_function(name, |bencher| {
                bencher.iter_custom(|packets| {
                    let batches = packets.div_ceil(BATCH as u64);
                    measure(batches as u32).mul_f64(packets as f64 / (batches * BATCH as u64) as f64)
                });
            });
        }
        group.finish();
    }
}

/// Measures all cases alternately, so that other load on the machine affects all of them equally.
fn table(filter: &str) {
    for size in SIZES {
        let mut rows: Vec<(String, Measure, Vec<f64>)> = measures(size)
            .filter(|(name, _)| !name.contains(", ") || format!("{size} bytes, {name}").contains(filter))
            .map(|(name, measure)| (name, measure, Vec::new()))
            .collect();
        for _ in 0..ROUNDS {
            for (_, measure, times) in &mut rows {
                times.push(measure(BATCHES).as_nanos() as f64 / f64::from(BATCHES * BATCH as u32));
            }
        }
        println!("{size} bytes, ns per packet {:>25} {:>8} {:>8}", "least", "median", "x CRC");
        let crc = quantiles(&mut rows[0].2).1;
        for (name, _, times) in &mut rows {
            let (least, median) = quantiles(times);
            println!("  {name:<38} {least:>8.1} {median:>8.1} {:>8.2}", median / crc);
        }
    }
}

fn quantiles(times: &mut [f64]) -> (f64, f64) {
    times.sort_by(f64::total_cmp);
    (times[0], times[times.len() / 2])
}

criterion_group!(benches, per_packet);

fn main() {
    let mut arguments = std::env::args().skip(1).skip_while(|argument| argument != "table");
    if arguments.next().is_some() {
        return table(&arguments.find(|argument| !argument.starts_with('-')).unwrap_or_default());
    }
    benches();
    Criterion::default().configure_from_args().final_summary();
}
