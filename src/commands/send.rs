//! `tidecast send`: a file, standard input or synthetic sensors, sent as a producer would.
//!
//! Bytes come from [`reader`] through [`cut`], readings from [`sensor`]; a
//! [`carrier`] makes datagrams of them; [`link`] sends them. One thread sends everything; signals
//! and slow input have small threads that wake it ([`reader`]).

mod capture;
mod carrier;
mod cut;
mod file;
mod link;
mod pace;
mod pcr;
mod progress;
mod reader;
mod seam;
mod sensor;
mod sensors;

use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::shutdown::Stop;
use crate::{
    cli::{self, SendFormat, Source},
    commands::Failure,
    terminal::{Limits, progress::Progress},
};
use carrier::Carriers;
use cut::Cutter;
use link::Link;
use pcr::Splitter;
use progress::{Extent, Gauge};
use reader::{Origin, Reader};
use tidecast_core::history::Settings;
use tidecast_net::address::Scheme;
use tidecast_net::clock;
use tidecast_wire::seal::Key;
use tidecast_wire::ts::packets;

/// Sends until the input ends, a limit is reached, or a signal arrives; then ends the session and
/// prints a summary.
///
/// # Errors
/// [`Failure::Usage`] for options that contradict each other; otherwise the reason why the input
/// cannot be read or the datagrams cannot be sent.
pub(super) fn run(args: &cli::Send) -> Result<(), Failure> {
    let stop = Stop::listen().context("cannot listen for signals")?;
    crate::log::say(&format!("sending to {}", args.target()));
    let started = clock::now();
    let link = send(args, stop)?;
    link.linger();
    let summary = link.summary(clock::now().saturating_duration_since(started));
    crate::log::say(&summary.to_string());
    Ok(())
}

fn send(args: &cli::Send, stop: Stop) -> Result<Link, Failure> {
    if let Some(path) = capture::named(args) {
        return capture::play(args, path, stop);
    }
    match args.source() {
        Source::Sensors(count) => {
            let carriers = Carriers::new(args, choose(args, None)?)?;
            let mut job = Job::start(args, stop, (carriers.session(), carriers.key()), Extent::Unknown)?;
            sensors::run(&mut job, &carriers, count, args.interval)?;
            Ok(job.link)
        }
        source => {
            if args.repeat && source == Source::Stdin {
                return Err(usage("--loop: standard input cannot be read again, expected a file"));
            }
            // Options that are invalid for any file are refused before it is opened.
            choose(args, None)?;
            send_bytes(args, Reader::open(source, args.repeat)?, stop)
        }
    }
}

fn send_bytes(args: &cli::Send, mut reader: Reader, stop: Stop) -> Result<Link, Failure> {
    let start = reader.start(&stop)?;
    if start.is_empty() {
        // A signal arrived before there was anything to send.
        return Ok(Link::open(args.target()).map_err(anyhow::Error::from)?);
    }
    let begin = packets::begin(start);
    let transport_stream = begin.is_some();
    let format = choose(args, Some(transport_stream))?;
    let splitter = begin.map(|(unit, lead)| Splitter::new(unit, lead));
    let cutter = cutter(args, &reader, format, splitter)?;
    let carriers = Carriers::new(args, format)?;
    let carrier = carriers.carrier(0, transport_stream)?;
    let mut job = Job::start(args, stop, (carriers.session(), carriers.key()), reader.extent())?;
    file::run(&mut job, reader, cutter, carrier)?;
    Ok(job.link)
}

/// Sends like the command, until `stop`; `file`, if given, replaces the named one, and is played
/// repeatedly. For the demo.
pub(super) fn run_until(args: &cli::Send, file: Option<File>, stop: Stop) -> Result<(), Failure> {
    match file {
        Some(file) => {
            send_bytes(args, Reader::of("file", Origin::File { file, repeat: true, lap: 0 }), stop)?
        }
        None => send(args, stop)?,
    };
    Ok(())
}

/// Returns the format to send: the configured one, or the one that suits the output and the data.
/// `transport_stream` is whether the data is a transport stream; `None` if it is unknown, or if
/// there is no data.
fn choose(args: &cli::Send, transport_stream: Option<bool>) -> Result<SendFormat, Failure> {
    let target = args.target();
    let format = args.format.unwrap_or(match target.scheme {
        Scheme::Rtp | Scheme::Rist => SendFormat::Rtp,
        Scheme::Udp if args.fec.is_some() || args.session.is_some() || args.seal.is_some() => {
            SendFormat::Native
        }
        Scheme::Udp if transport_stream == Some(true) => SendFormat::Ts,
        Scheme::Udp if target.payload => SendFormat::Raw,
        Scheme::Udp => SendFormat::Native,
    });
    let name = carrier::name(format);
    let native = format == SendFormat::Native;
    // Without examining the data, native may still become ts.
    let settled = args.format.is_some() || transport_stream.is_some() || !native;
    let numbered = native || format == SendFormat::Rtp;
    let refuse = |what: &str| Err(usage(what));
    if args.fec.is_some() && !native {
        return refuse(&format!("--fec: expected the format native, got {name}"));
    }
    if args.session.is_some() && !native {
        return refuse(&format!("--session: expected the format native, got {name}"));
    }
    if args.seal.is_some() && !native {
        return refuse(&format!("--seal: expected the format native, got {name}, which cannot be sealed"));
    }
    let asked =
        [("--history", args.history.is_some()), ("--retransmit-share", args.retransmit_share.is_some())];
    if let Some((flag, _)) = asked.iter().find(|(_, given)| *given && !native) {
        return refuse(&format!(
            "{flag}: expected the format native, got {name}, whose packets nobody can ask for"
        ));
    }
    if args.stream.is_some() && !numbered {
        return refuse(&format!(
            "--stream: expected the format native or rtp, got {name}, which carries no id"
        ));
    }
    if target.scheme == Scheme::Rist {
        return refuse(&format!(
            "{target}: expected udp:// or rtp://; a relay sends rist://, for instance of rtp:// from here"
        ));
    }
    if target.fec.is_some() {
        return refuse(&format!(
            "fec in {target}: expected an output of a relay, which adds it for the next hop (here: --fec K,M)"
        ));
    }
    if target.payload && numbered && settled {
        return refuse(&format!("payload=1 in {target}: expected the format ts or raw, got {name}"));
    }
    if format == SendFormat::Ts && matches!(args.source(), Source::Sensors(_)) {
        return refuse(
            "--format ts: a sensor's readings are no transport stream, expected native, rtp or raw",
        );
    }
    Ok(format)
}

fn cutter(
    args: &cli::Send,
    reader: &Reader,
    format: SendFormat,
    splitter: Option<Splitter>,
) -> anyhow::Result<Cutter> {
    let name = reader.name();
    if format == SendFormat::Ts && splitter.is_none() {
        bail!(
            "{name} is no transport stream: expected 0x47 every 188, 192 or 204 bytes; send it with --format native or raw"
        );
    }
    match (args.rate, splitter) {
        (Some(rate), Some(splitter)) => Ok(Cutter::packets(splitter, rate, args.size)),
        (Some(rate), None) => Ok(Cutter::bytes(rate, args.size)),
        (None, Some(splitter)) => Ok(Cutter::by_pcr(splitter)),
        (None, None) => {
            bail!("{name} is no transport stream, so nothing says how fast to send it; give --rate")
        }
    }
}

fn usage(what: impl Into<String>) -> Failure {
    Failure::Usage(what.into())
}

/// Returns which sent packets are kept for retransmission.
fn history(args: &cli::Send) -> Settings {
    let default = Settings::default();
    Settings {
        age_max: args.history.unwrap_or(default.age_max),
        share: args.retransmit_share.unwrap_or(default.share),
        ..default
    }
}

/// One run: its output, its end, and its counters.
#[derive(Debug)]
struct Job {
    link: Link,
    stop: Stop,
    started: Instant,
    /// When to stop without a signal.
    end: Option<Instant>,
    /// Number of data packets that may still be sent.
    left: Option<u64>,
    gauge: Arc<Gauge>,
    /// Shown until the run ends.
    _progress: Option<Progress>,
}

impl Job {
    /// Starts a run. `session` is that of the native format, whose receivers can request
    /// retransmission, `key` what they must seal requests with; `extent`: how much there is to
    /// send.
    fn start(
        args: &cli::Send,
        stop: Stop,
        (session, key): (Option<u32>, Option<Key>),
        extent: Extent,
    ) -> anyhow::Result<Job> {
        let mut link = Link::open(args.target())?;
        let settings = history(args);
        if let Some(session) = session.filter(|_| !settings.age_max.is_zero()) {
            link.answer(session, settings, key)?;
        }
        let started = clock::now();
        let end = args.duration.and_then(|duration| started.checked_add(duration));
        let gauge = Arc::<Gauge>::default();
        let limits = Limits { time: args.duration, count: args.count };
        let _progress = progress::show(gauge.clone(), extent, args.repeat, limits);
        Ok(Job { link, stop, started, end, left: args.count, gauge, _progress })
    }

    /// Returns whether a signal arrived, the time is over, or the requested number was sent.
    fn is_over(&self, now: Instant) -> bool {
        self.stop.is_set() || self.left == Some(0) || self.end.is_some_and(|end| now >= end)
    }

    /// Counts one data packet.
    fn sent(&mut self) {
        self.left = self.left.map(|left| left.saturating_sub(1));
        self.link.data += 1;
        self.gauge.sent(self.link.data, self.link.bytes());
    }

    /// Sleeps until one of these times, a signal, or new input.
    fn sleep(&self, wake: impl IntoIterator<Item = Option<Instant>>) {
        self.stop.sleep(wake.into_iter().chain([self.end]).flatten().min());
    }
}

/// Formats a duration for users: tenths of a second.
fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests;
