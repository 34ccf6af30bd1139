//! One measurement: receivers, the subject, the generator; a window of steady traffic, and its
//! cost.

use std::{
    io,
    net::{Ipv4Addr, SocketAddrV4},
    path::Path,
    sync::atomic::{AtomicU16, Ordering::Relaxed},
    thread,
    time::Duration,
};

use serde::Serialize;
use tidecast_net::clock;

use crate::{
    bare::Stream,
    generator::{Generator, Plan},
    packet::Format,
    process::{Processes, input_drops},
    receiver::{Receivers, Tally},
    subject::Subject,
};

/// How long a subject may take until every target receives something.
const REACH_WAIT: Duration = Duration::from_secs(10);
/// Default of [`Load::settle`].
pub(crate) const SETTLE: Duration = Duration::from_millis(600);
/// Time after the window in which datagrams in transit arrive. Nothing is sent during it, so it
/// costs nothing else.
const DRAIN: Duration = Duration::from_millis(240);
/// Maximum of that time for a subject that still uses the processor.
const DRAIN_MAX: Duration = Duration::from_secs(3);
/// A subject that used less processor time than this in [`ON_TIME`] has no work left.
const IDLE: Duration = Duration::from_millis(3);
/// A subject that still works this long after the last datagram was sent could not keep up.
const ON_TIME: Duration = Duration::from_millis(60);

/// The traffic, and the number of its targets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// The datagrams.
    pub(crate) format: Format,
    /// Datagrams per second and stream.
    pub(crate) rate: f64,
    /// Number of streams, each with a different group.
    pub(crate) streams: usize,
    /// Targets of each stream.
    pub(crate) fan_out: usize,
    /// How long traffic flows before the window, so that start-up work does not count.
    pub(crate) settle: Duration,
}

/// Results of one window.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Sample {
    /// Processor time of the subject, all threads.
    pub(crate) cpu_ns: u64,
    /// Length of the window.
    pub(crate) seconds: f64,
    /// Datagrams that should have been delivered, over all targets.
    pub(crate) expected: u64,
    /// Datagrams delivered, each once.
    pub(crate) delivered: u64,
    /// Datagrams lost by the subject: missing, and not dropped by a receiver's socket.
    pub(crate) lost: u64,
    /// Those of them that were dropped because the subject's input sockets were full: it read them
    /// too slowly.
    pub(crate) lost_at_input: u64,
    /// Dropped by the receivers' own sockets.
    pub(crate) lost_at_receivers: u64,
    /// Datagrams delivered more than once.
    pub(crate) duplicates: u64,
    /// Datagrams delivered after a later one.
    pub(crate) reordered: u64,
    /// Processor time that it used some time after the window, because it could not keep up.
    pub(crate) behind_ns: u64,
    /// Maximum delay of the generator, which is also the length of its bursts.
    pub(crate) generator_late_ms: f64,
    /// Resident memory at the end.
    pub(crate) resident: u64,
}

impl Sample {
    /// Returns the processor time per delivered datagram.
    pub(crate) fn ns_per_packet(&self) -> f64 {
        self.cpu_ns as f64 / self.delivered.max(1) as f64
    }

    /// Returns the part of one processor that the subject used.
    pub(crate) fn cpu_share(&self) -> f64 {
        self.cpu_ns as f64 / 1e9 / self.seconds
    }
}

/// Measures `subject` under `load` for `window`.
///
/// # Errors
/// The subject ended, or did not deliver to every target.
pub(crate) fn run(subject: &Subject, load: Load, window: Duration, folder: &Path) -> io::Result<Sample> {
    let receivers = Receivers::start(load.streams, load.fan_out, load.format)?;
    let streams = layout(load.streams, &receivers.addresses);
    let groups: Vec<SocketAddrV4> = streams.iter().map(|stream| stream.group).collect();
    let mut processes = subject.start(&streams, folder)?;
    let generator = Generator::start(Plan {
        groups: groups.clone(),
        format: load.format,
        rate: load.rate,
        film: Vec::new(),
    })?;
    reach(&receivers, &mut processes)?;
    thread::sleep(load.settle);

    let floors = generator.sent();
    receivers.count_from(&floors);
    generator.take_lateness();
    let drops = input_drops(&groups)?;
    let (before, start) = (processes.cpu()?, clock::now());
    thread::sleep(window);
    let late = generator.take_lateness();
    let ceilings = generator.stop();
    let seconds = (clock::now() - start).as_secs_f64();
    thread::sleep(ON_TIME);
    let on_time = processes.cpu()?;
    drain(&processes)?;
    processes.check()?;
    let sent: u64 = floors.iter().zip(&ceilings).map(|(floor, ceiling)| ceiling - floor).sum();
    let end = processes.cpu()?;
    let sample = Sample {
        cpu_ns: (end - before).as_nanos() as u64,
        behind_ns: (end - on_time).as_nanos() as u64,
        seconds,
        lost_at_input: input_drops(&groups)? - drops,
        expected: sent * load.fan_out as u64,
        generator_late_ms: late.as_secs_f64() * 1e3,
        resident: processes.resident()?,
        ..Sample::default()
    };
    Ok(with_tallies(sample, &receivers.stop()?))
}

/// Waits until the subject has no work left.
fn drain(processes: &Processes) -> io::Result<()> {
    let start = clock::now();
    thread::sleep(DRAIN - ON_TIME);
    let mut before = processes.cpu()?;
    while clock::now() - start < DRAIN_MAX {
        thread::sleep(ON_TIME);
        let now = processes.cpu()?;
        if now - before < IDLE {
            break;
        }
        before = now;
    }
    Ok(())
}

fn with_tallies(sample: Sample, tallies: &[Tally]) -> Sample {
    let sum = |part: fn(&Tally) -> u64| tallies.iter().map(part).sum::<u64>();
    let delivered = sum(|tally| tally.received);
    let lost_at_receivers = sum(|tally| tally.dropped_here);
    Sample {
        delivered,
        lost: sample.expected.saturating_sub(delivered + lost_at_receivers),
        lost_at_receivers,
        duplicates: sum(|tally| tally.duplicates),
        reordered: sum(|tally| tally.reordered),
        ..sample
    }
}

/// Waits until every target receives something.
fn reach(receivers: &Receivers, processes: &mut Processes) -> io::Result<()> {
    let deadline = clock::now() + REACH_WAIT;
    while !receivers.all_reached() {
        processes.check()?;
        if clock::now() > deadline {
            let (reached, all) = (receivers.reached(), receivers.addresses.len());
            let text = format!("only {reached} of {all} targets get anything; {}", processes.said().trim());
            return Err(io::Error::other(text));
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Returns streams with different groups, and their share of the targets.
fn layout(streams: usize, targets: &[SocketAddrV4]) -> Vec<Stream> {
    let fan_out = targets.len() / streams;
    let share = |i: usize| targets[i * fan_out..(i + 1) * fan_out].to_vec();
    (0..streams).map(|i| Stream { group: fresh_group(), targets: share(i) }).collect()
}

/// Returns a group that nothing else on this machine is likely to use. Its port is below those
/// that the kernel assigns to sockets without a requested port: such a socket, bound to every
/// address, would prevent binding.
pub(crate) fn fresh_group() -> SocketAddrV4 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let next = NEXT.fetch_add(1, Relaxed);
    let [high, low] = next.to_be_bytes();
    let second = 64 + (std::process::id() % 128) as u8;
    SocketAddrV4::new(Ipv4Addr::new(239, second, high, low), 20_000 + next % 10_000)
}
