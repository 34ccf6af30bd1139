//! Paced release with the real program: a stream received with 40 ms of jitter is released evenly,
//! by the kernel's timestamps.
//!
//! `TIDECAST_PACED_SECONDS=600 cargo test --test timing paced -- --nocapture` is the long form:
//! ten minutes with clocks 100 ppm apart.

use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use tidecast_net::clock;
use tidecast_wire::rtp;

use super::{
    TRIES,
    common::{
        self, PATIENCE, Running, joined, metric, now, sender,
        stamped::{Collector, Datagram},
    },
    ms,
};

/// Relative amount by which the sender's clock is faster than that of the relay.
const DRIFT: f64 = 100e-6;
/// Time during which the delay may still be adjusted.
const SETTLED: Duration = Duration::from_secs(3);

/// An RTP stream whose packets take up to 40 ms on the path.
#[derive(Debug, Clone, Copy)]
struct Stream {
    interval: Duration,
    count: u64,
}

impl Stream {
    fn time(&self, number: u64) -> Duration {
        self.interval * number as u32
    }

    fn datagram(&self, number: u64) -> Vec<u8> {
        let ticks = self.time(number).as_secs_f64() * (1.0 + DRIFT) * 90_000.0;
        // The timestamp wraps two seconds after the start.
        let timestamp = (ticks.round() as u64).wrapping_sub(180_000) as u32;
        let payload = [&number.to_be_bytes()[..], &[0x5a; 180]].concat();
        let mut out = Vec::new();
        let (sequence, payload) = (number as u16, &payload[..]);
        rtp::Repr { marker: false, payload_type: 33, sequence, timestamp, ssrc: 9, payload }.emit(&mut out);
        out
    }

    /// Returns the order in which packets arrive, with the time of each: up to 40 ms after its
    /// own.
    fn arrivals(&self) -> Vec<(Duration, u64)> {
        let mut seed = 0x2545_f491_4f6c_dd1d_u64;
        let mut arrivals: Vec<(Duration, u64)> = (0..self.count)
            .map(|number| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                // The first packets are in order, because those with a lower number than the first
                // received one would be discarded.
                let jitter = if number < 20 { 0 } else { (seed >> 33) % 40_000 };
                (self.time(number) + Duration::from_micros(jitter), number)
            })
            .collect();
        arrivals.sort_unstable();
        arrivals
    }

    /// Sends all packets. Returns the first packet's own time.
    fn send(&self, to: (Ipv4Addr, u16)) -> Duration {
        let (socket, start, unix) = (sender(), now(), clock::unix());
        for (at, number) in self.arrivals() {
            thread::sleep(at.saturating_sub(start.elapsed()));
            socket.send_to(&self.datagram(number), to).expect("send");
        }
        unix
    }
}

fn number(datagram: &Datagram) -> u64 {
    u64::from_be_bytes(datagram.bytes[rtp::HEADER..rtp::HEADER + 8].try_into().expect("a number"))
}

/// Returns the milliseconds from each packet's own time to its release, for those whose times are
/// between `from` and `to`, sorted.
fn delays(stream: Stream, start: Duration, came: &[Datagram], from: Duration, to: Duration) -> Vec<f64> {
    let own = |datagram: &Datagram| stream.time(number(datagram));
    let part = came.iter().filter(|datagram| (from..to).contains(&own(datagram)));
    let delay =
        |datagram: &Datagram| (datagram.stamp.as_secs_f64() - (start + own(datagram)).as_secs_f64()) * 1e3;
    let mut delays: Vec<f64> = part.map(delay).collect();
    delays.sort_by(f64::total_cmp);
    delays
}

fn quantile(sorted: &[f64], q: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * q) as usize]
}

/// Returns the 99th percentile of the deviation from the median.
fn spread(delays: &[f64]) -> f64 {
    let median = quantile(delays, 0.5);
    let mut off: Vec<f64> = delays.iter().map(|delay| (delay - median).abs()).collect();
    off.sort_by(f64::total_cmp);
    quantile(&off, 0.99)
}

/// A thread that wakes every millisecond beside the relay, to measure by how much the machine
/// delays threads.
struct Beside {
    stop: Arc<AtomicBool>,
    late: JoinHandle<Vec<f64>>,
}

impl Beside {
    fn start() -> Beside {
        let stop = Arc::new(AtomicBool::new(false));
        let until = stop.clone();
        let late = thread::spawn(move || {
            let mut late = Vec::new();
            while !until.load(Ordering::Relaxed) {
                let start = now();
                thread::sleep(ms(1));
                late.push((start.elapsed().as_secs_f64() - 0.001) * 1e3);
            }
            late
        });
        Beside { stop, late }
    }

    /// Returns the 99th percentile of its delays, in milliseconds.
    fn finish(self) -> f64 {
        self.stop.store(true, Ordering::Relaxed);
        let mut late = self.late.join().expect("no panic");
        late.sort_by(f64::total_cmp);
        quantile(&late, 0.99)
    }
}

/// Results of a run: the 99th percentile of the deviation in milliseconds, the change of the delay
/// from the first tenth to the last, and the number of late packets.
#[derive(Debug)]
struct Measured {
    spread: f64,
    intervals: f64,
    growth: f64,
    late: u64,
    /// 99th percentile of the delays of another thread, in milliseconds.
    machine: f64,
}

fn run(stream: Stream, tick: &str) -> Measured {
    let group = (common::group(), common::free_port());
    let out = Collector::unicast();
    let beside = Collector::new(joined(group.0, group.1));
    // A busy machine also makes the sender late: packets that it delays must neither be given up
    // nor be late.
    let input = format!("rtp://@{}:{}?if=127.0.0.1", group.0, group.1);
    let to = format!("rtp://{}", out.addr);
    let args = ["relay", &input, "--to", &to, "--tick", tick, "--hold", "500ms", "--http", "127.0.0.1:0"];
    let paced = ["--release", "paced", "--release-delay", "700ms"];
    let mut relay = Running::tidecast(args.into_iter().chain(paced));
    let http = relay.http();
    let beside_it = Beside::start();
    let start = stream.send(group);
    let machine = beside_it.finish();
    assert!(out.wait_for(stream.count as usize, PATIENCE), "{} of {}", out.count(), stream.count);
    let late = metric(http, &["tidecast_packets_unpaced_total", "reason=\"late\""]) as u64;
    let drift = metric(http, &["tidecast_clock_drift_ppm"]);
    let said = relay.stop();
    let (came, sent) = (out.finish(), beside.finish());
    let numbers: Vec<u64> = came.iter().map(number).collect();
    assert_eq!(numbers, (0..stream.count).collect::<Vec<_>>(), "all, in order\n{said}");
    let end = stream.time(stream.count);
    let before = delays(stream, start, &sent, SETTLED, end);
    assert!(quantile(&before, 0.99) - quantile(&before, 0.01) > 35.0, "the input has its jitter");
    let after = delays(stream, start, &came, SETTLED, end);
    let part = (end - SETTLED) / 10;
    let median = |from, to| quantile(&delays(stream, start, &came, from, to), 0.5);
    let mut intervals: Vec<f64> = came
        .windows(2)
        .map(|pair| {
            let interval = pair[1].stamp.as_secs_f64() - pair[0].stamp.as_secs_f64();
            (interval - stream.interval.as_secs_f64()).abs() * 1e3
        })
        .collect();
    intervals.sort_by(f64::total_cmp);
    let measured = Measured {
        spread: spread(&after),
        intervals: quantile(&intervals, 0.99),
        growth: median(end - part, end) - median(SETTLED, SETTLED + part),
        late,
        machine,
    };
    println!(
        "paced, tick {tick}, {:?} between packets, {:.0} s: in within {:.2} ms, out within {:.2} ms (p99 off the median), \
         median {:.2} ms, drift {drift:.1} ppm: {measured:?}",
        stream.interval,
        end.as_secs_f64(),
        spread(&before),
        measured.spread,
        quantile(&after, 0.5),
    );
    measured
}

/// The machine may delay the relay like any thread: the delay is measured beside it, and an excess
/// counts only if it occurs every time.
fn leaves_evenly(stream: Stream, tick: &str) {
    let good = |measured: &Measured| {
        let bound = 2.0 + measured.machine;
        let worst = measured.spread.max(measured.intervals).max(measured.growth.abs());
        worst <= bound && (measured.late == 0 || measured.machine > 2.0)
    };
    let mut all = Vec::new();
    while all.len() < TRIES {
        let measured = run(stream, tick);
        if good(&measured) {
            return;
        }
        all.push(measured);
    }
    panic!("{all:?}, expected 99 % within 2 ms beyond the machine's own, no growth and none late");
}

#[test]
fn paced_packets_leave_within_2_ms() {
    let seconds =
        std::env::var("TIDECAST_PACED_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(10);
    leaves_evenly(Stream { interval: ms(4), count: seconds * 250 }, "1ms");
}

/// More packets than a tick waits for: the thread sleeps between turns.
#[test]
fn so_they_do_under_load() {
    leaves_evenly(Stream { interval: ms(1), count: 10_000 }, "5ms");
}
