//! `impair`: forwards datagrams through a seeded bad link, and reports exactly what it did to
//! them.
//!
//! A datagram comes from [`tidecast_net`] unchanged; [`tidecast_link`] decides its fate; when it
//! is due it is sent to every output of [`crate::channel::udp`]. Answers of receivers go back the
//! same way (`lane`), and so does the RTCP of RIST; neither is impaired. One plain thread waits
//! for the sockets and for the link's next release together. The fate of each datagram is counted
//! by kind and flow (`census`), shown meanwhile in a terminal (`progress`), and printed at the end
//! (`report`). The demo also uses [`run`].

mod census;
mod lane;
mod progress;
mod report;

use std::{
    io::Write,
    os::fd::BorrowedFd,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context;
use census::{Census, Tag};
use lane::{Lane, Tools};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, ppoll},
    sys::time::TimeSpec,
};
pub use progress::Gauge;
use report::OutputReport;
pub use report::Report;

use super::shutdown::Stop;
use crate::{
    channel::udp::{Datagram, UdpOutput},
    cli,
    commands::Failure,
    limits::{IMPAIR_DRAIN_MAX, IMPAIR_STOP_CHECK},
};
use tidecast_core::buffer::{Buffer, Pool};
use tidecast_link::{Bursts, Distribution, Impairments, Link, Outage, limits::LINK_PACKETS_MAX};
use tidecast_net::{
    address::{Input, Output},
    clock::{self, ClockPair},
    interface::Interfaces,
    sys::{ReceiveBatch, SendBatch},
};

/// Settings of `impair`.
#[derive(Debug, Clone)]
pub struct Options {
    /// Input of the datagrams.
    pub input: Input,
    /// Outputs; each datagram is sent to all of them.
    pub outputs: Vec<Output>,
    /// Impairments of the link.
    pub impairments: Impairments,
    /// Seed of all random decisions.
    pub seed: u64,
    /// Ends after this time.
    pub duration: Option<Duration>,
    /// Ends after this many received datagrams.
    pub count: Option<u64>,
}

impl Options {
    /// Options from the command line. Without a seed, a random one that is short enough to type.
    pub fn of(args: &cli::Impair) -> Options {
        Options {
            input: args.input.clone(),
            outputs: args.outputs.clone(),
            impairments: impairments(args),
            seed: args.seed.unwrap_or_else(|| rand::random::<u32>().into()),
            duration: args.duration,
            count: args.count,
        }
    }
}

fn impairments(args: &cli::Impair) -> Impairments {
    let &cli::Impair { loss, burst, reorder, distance, late, duplicate, delay, jitter, overtake, .. } = args;
    let bursts = match args.burst_lengths {
        cli::BurstLengths::Geometric => Bursts::Geometric,
        cli::BurstLengths::Fixed => Bursts::Fixed,
    };
    let distribution = match args.distribution {
        cli::JitterDistribution::Uniform => Distribution::Uniform,
        cli::JitterDistribution::Pareto => Distribution::Pareto,
    };
    let (from, every) = (args.outage_from, args.outage_every);
    Impairments {
        loss,
        burst,
        bursts,
        reorder,
        distance,
        late,
        late_by: args.late_by.unwrap_or_default(),
        duplicate,
        delay,
        jitter,
        distribution,
        overtake,
        outage: args.outage.map(|length| Outage { from, length, every }),
    }
}

/// `tidecast impair`: runs until a signal, the time or the count, and prints the report.
///
/// # Errors
/// Invalid impairments (usage), the errors of [`run`], and a standard output that cannot be
/// written.
pub fn command(args: &cli::Impair) -> Result<(), Failure> {
    let options = Options::of(args);
    options.impairments.check().map_err(|error| Failure::Usage(error.to_string()))?;
    let stop = Stop::listen().context("cannot wait for signals")?;
    // Scripts wait for this line, so it is no log line, which -q would suppress.
    let ready =
        || crate::log::say(&format!("tidecast: ready: {} joined, seed {}", options.input, options.seed));
    let gauge = Arc::<Gauge>::default();
    let shown = progress::show(&options, gauge.clone());
    let report = run(&options, stop.flag(), &gauge, ready)?;
    drop(shown);
    print(&report, args.json).map_err(Failure::output)
}

/// Runs the link until `stop`, the time or the count of the options, then sends delayed datagrams
/// for at most [`IMPAIR_DRAIN_MAX`] longer. Calls `ready` once the input is joined and the outputs
/// are open; `gauge` gets the counters so far.
///
/// # Errors
/// Invalid impairments, an input or output that cannot be opened, and an output that is the input.
pub fn run(
    options: &Options,
    stop: &AtomicBool,
    gauge: &Gauge,
    ready: impl FnOnce(),
) -> anyhow::Result<Report> {
    options.impairments.check()?;
    let mut path = Path::open(options, gauge)?;
    ready();
    path.carry(stop)?;
    path.drain()?;
    Ok(path.report())
}

/// Prints the report to standard output, as text or as one line of JSON.
fn print(report: &Report, json: bool) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    match json {
        true => writeln!(out, "{}", serde_json::to_string(report)?),
        false => write!(out, "{report}"),
    }
}

/// A datagram in the link; a second copy shares the bytes.
#[derive(Debug, Clone)]
struct Packet {
    tag: Tag,
    bytes: Rc<Buffer>,
}

/// State of a running link.
struct Path<'a> {
    options: &'a Options,
    media: Lane,
    /// Lane for RTCP, which RIST has.
    control: Option<Lane>,
    tools: Tools,
    link: Link<Packet>,
    census: Census,
    /// Forwarded datagrams of RTCP, and of all kinds in the reverse direction.
    rtcp: u64,
    returned: u64,
    started: Instant,
    now: Instant,
    gauge: &'a Gauge,
}

impl<'a> Path<'a> {
    fn open(options: &'a Options, gauge: &'a Gauge) -> anyhow::Result<Path<'a>> {
        let now = clock::now();
        let mut interfaces = Interfaces::read(now);
        let (media, control) = Lane::open(&options.input, &options.outputs, now, &mut interfaces)?;
        let (receives, sends) = (ReceiveBatch::new(), SendBatch::new());
        Ok(Path {
            options,
            media,
            control,
            tools: Tools { receives, pool: Pool::new(LINK_PACKETS_MAX), interfaces, sends },
            link: Link::new(options.impairments, options.seed),
            census: Census::default(),
            rtcp: 0,
            returned: 0,
            started: now,
            now,
            gauge,
        })
    }

    /// The loop: waits, receives, sends what is due.
    fn carry(&mut self, stop: &AtomicBool) -> anyhow::Result<()> {
        while !stop.load(Ordering::Relaxed) && !self.ended() {
            let due = self.lanes().filter_map(|lane| lane.leg.due());
            let wake_at = due.chain(self.link.next_at()).chain(self.ends_at()).min();
            let patience = self.now + IMPAIR_STOP_CHECK;
            let sockets = self.lanes().flat_map(Lane::sockets);
            wait(sockets, self.now, wake_at.map_or(patience, |at| at.min(patience)))?;
            self.tick()?;
        }
        Ok(())
    }

    fn lanes(&self) -> impl Iterator<Item = &Lane> {
        [&self.media].into_iter().chain(&self.control)
    }

    /// After the end of the input: receives datagrams that the kernel has queued, and sends
    /// delayed ones when they are due, but not later than after [`IMPAIR_DRAIN_MAX`].
    fn drain(&mut self) -> anyhow::Result<()> {
        self.media.leg.leave();
        self.control.iter_mut().for_each(|lane| lane.leg.leave());
        self.tick()?;
        let end = self.now + IMPAIR_DRAIN_MAX;
        while let Some(at) = self.link.next_at().filter(|_| self.now < end) {
            wait(None.into_iter(), self.now, at.min(end))?;
            self.now = clock::now();
            self.send_due();
        }
        self.link.flush(self.now);
        self.send_due();
        Ok(())
    }

    fn tick(&mut self) -> anyhow::Result<()> {
        let floor = self.now;
        let clocks = ClockPair::read();
        self.now = clocks.monotonic;
        for lane in [&mut self.media].into_iter().chain(&mut self.control) {
            let _ = lane.leg.maintain(self.now, &mut self.tools.interfaces); // the socket is read again for every wait
        }
        self.receive(clocks, floor).context("cannot receive")?;
        self.send_due();
        self.gauge.note(self.link.done(), self.link.waiting());
        self.pass(clocks, floor).context("cannot receive RTCP")
    }

    fn receive(&mut self, clocks: ClockPair, floor: Instant) -> std::io::Result<()> {
        let (link, census, count) = (&mut self.link, &mut self.census, self.options.count);
        self.media.receive(&mut self.tools, clocks, floor, |arrived, bytes| {
            if count.is_none_or(|count| link.done().received < count) {
                let tag = census.enters(&bytes);
                let fate = link.push(arrived, Packet { tag, bytes: Rc::new(bytes) });
                census.decided(tag, fate);
            }
        })
    }

    /// Forwards datagrams that the link does not impair.
    fn pass(&mut self, clocks: ClockPair, floor: Instant) -> std::io::Result<()> {
        if let Some(control) = &mut self.control {
            self.rtcp += control.carry(&mut self.tools, clocks, floor)?;
            self.returned += control.back(&mut self.tools);
        }
        self.returned += self.media.back(&mut self.tools);
        Ok(())
    }

    fn send_due(&mut self) {
        let due: Vec<Packet> = std::iter::from_fn(|| self.link.pop(self.now)).collect();
        for packet in &due {
            self.census.leaves(packet.tag);
        }
        let datagrams = due.iter().map(|packet| Datagram::plain(&packet.bytes));
        let Tools { sends, interfaces, .. } = &mut self.tools;
        self.media.outputs.send(self.now, sends, interfaces, datagrams);
        for bytes in due.into_iter().filter_map(|packet| Rc::into_inner(packet.bytes)) {
            self.tools.pool.put(bytes);
        }
    }

    fn ends_at(&self) -> Option<Instant> {
        self.options.duration.map(|duration| self.started + duration)
    }

    fn ended(&self) -> bool {
        let received = self.link.done().received;
        self.options.count.is_some_and(|count| received >= count)
            || self.ends_at().is_some_and(|end| self.now >= end)
    }

    fn report(mut self) -> Report {
        self.media.leg.read_kernel_drops();
        let outputs = self.media.outputs.iter().enumerate();
        let report = |(index, (sent, _)): (usize, (&UdpOutput, _))| {
            // As typed; repair packets have separate outputs.
            OutputReport::of(self.options.outputs.get(index).unwrap_or(sent.output()), sent.counters())
        };
        Report {
            input: self.options.input.to_string(),
            seed: self.options.seed,
            seconds: (self.now - self.started).as_secs_f64(),
            done: self.link.done(),
            kinds: self.census.totals(),
            rtcp: self.rtcp,
            returned: self.returned,
            kernel_drops: self.media.leg.counters().kernel_drops,
            too_long: self.media.leg.counters().truncated,
            outputs: outputs.map(report).collect(),
            flows: self.census.flows(),
        }
    }
}

/// Sleeps until a socket is readable, until `until`, or until a signal.
fn wait<'s>(
    sockets: impl Iterator<Item = BorrowedFd<'s>>,
    now: Instant,
    until: Instant,
) -> anyhow::Result<()> {
    let mut fds: Vec<PollFd<'_>> = sockets.map(|socket| PollFd::new(socket, PollFlags::POLLIN)).collect();
    let timeout = TimeSpec::from_duration(until.saturating_duration_since(now));
    match ppoll(&mut fds, Some(timeout), None) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(error) => Err(error).context("cannot wait for datagrams"),
    }
}

#[cfg(test)]
mod tests;
