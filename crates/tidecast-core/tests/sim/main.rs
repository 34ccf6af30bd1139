//! Simulations of the whole core: simulated clocks, scripted faults and seeded links, no sockets.
//!
//! `TIDECAST_SEED=N` repeats a run whose seed was printed by a failure. Longer forms, for a
//! release build:
//! `TIDECAST_SIM_PACKETS=10000000 cargo test --release -p tidecast-core --test sim residual -- --nocapture`,
//! `TIDECAST_SIM_PHASES=all cargo test --release -p tidecast-core --test sim faults`,
//! `TIDECAST_FUZZ_SECONDS=600 cargo test --release -p tidecast-core --test sim fuzz -- --nocapture`.

// A test has no API: `pub` here only means that the other modules use the item.
#![allow(unreachable_pub)]

mod faults;
mod fec;
mod foreign;
mod forged;
mod formats;
mod fuzz;
mod harness;
mod hold;
mod identify;
mod jitter;
mod jumps;
mod late;
mod legs;
mod many;
mod paced;
mod paced_clocks;
mod paced_table;
mod paths;
mod producers;
mod rates;
mod residual;
mod retransmission;
mod sealed;
mod st2022;
mod steps;

use tidecast_testkit::{capture, clocks, lab};
