//! The library as built by its `simd-accel`, for Haswell and later CPUs: a separate program, so
//! that nothing else depends on a C compiler. For each line `JOB K M TIMES` it prints how many
//! nanoseconds the job took.

#[path = "../../blocks.rs"]
mod blocks;
#[path = "../../library.rs"]
mod library;

use std::{collections::HashMap, io, time::Instant};

use blocks::{Job, Losses, time};
use library::Library;

fn main() {
    let mut blocks = HashMap::new();
    for line in io::stdin().lines() {
        let line = line.expect("a line of text");
        let words: Vec<&str> = line.split(' ').collect();
        let [job, k, m, times] = words[..] else { panic!("{line:?}, expected JOB K M TIMES") };
        let job = Job::ALL.into_iter().find(|known| known.name() == job).expect("a known job");
        let [k, m, times] = [k, m, times].map(|number| number.parse::<usize>().expect("a number"));
        let (library, losses) =
            blocks.entry((k, m)).or_insert_with(|| (Library::new(k, m), Losses::new(k, m)));
        println!("{}", time(Instant::now, library, job, times as u64, losses).as_nanos());
    }
}
