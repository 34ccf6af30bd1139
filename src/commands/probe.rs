//! `probe`: reports the contents of a group, live in a terminal or line by line, or those of a
//! capture file.
//!
//! Datagrams come from separate sockets ([`sockets`]) or from a file ([`capture`]) and go to
//! [`crate::probe`], which analyses them. One plain thread.

mod capture;
#[cfg_attr(not(feature = "terminal"), path = "probe/no_live.rs")]
mod live;
mod sockets;

use std::{
    io::Write,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, bail};

use super::{Failure, service::say, shutdown::Stop};
use crate::{
    cli::{self, Probed},
    limits::IMPAIR_STOP_CHECK,
    probe::{Probe, Role, report::Report, text},
    terminal::{Limits, Shown, progress::Progress, time_words},
    words,
};
use sockets::Sockets;
use tidecast_net::{address::Input, clock, diagnose};

/// Interval of the lines without a screen, and of the progress in their place.
const LINE_EVERY: Duration = Duration::from_secs(1);

/// Runs `probe` until it ends.
///
/// # Errors
/// The input cannot be opened, no datagram came, or more was lost than allowed.
pub(super) fn run(args: &cli::Probe) -> Result<(), Failure> {
    let report = match &args.input {
        Probed::Capture(path) => from_file(args, path)?,
        Probed::Input(_) if args.destination.is_some() => {
            return Err(Failure::Usage("--destination is for capture files only".to_owned()));
        }
        Probed::Input(input) => from_group(args, input)?,
    };
    print(&report, args.json).map_err(Failure::output)?;
    match args.max_loss {
        Some(max) if report.numbers.loss > max => Err(Failure::Loss { lost: report.numbers.loss, max }),
        _ => Ok(()),
    }
}

/// Prints the report to standard output, as text or as one line of JSON.
fn print(report: &Report, json: bool) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    match json {
        true => writeln!(out, "{}", serde_json::to_string(report)?),
        false => write!(out, "{report}"),
    }
}

fn from_file(args: &cli::Probe, path: &Path) -> anyhow::Result<Report> {
    let media = match args.destination {
        Some(destination) => destination,
        None => chosen(path)?,
    };
    let base = clock::now();
    let mut first = None;
    let mut end = base;
    let mut probe = Probe::new(args.format.clone());
    capture::read(path, |datagram| {
        let began = *first.get_or_insert(datagram.at);
        let after = datagram.at.saturating_sub(began);
        let in_time = args.duration.is_none_or(|duration| after <= duration);
        if let Some(role) = role(media, datagram.destination).filter(|_| in_time) {
            end = end.max(base + after);
            probe.push(base + after, datagram.source, role, &datagram.payload);
        }
    })?;
    if probe.is_empty() {
        bail!("{}: no datagram to {media} is in it", path.display());
    }
    let mut report = probe.final_report(end + crate::limits::PROBE_SETTLE, &input_words(media));
    report.seconds = end.saturating_duration_since(probe.began().unwrap_or(end)).as_secs_f64();
    Ok(report)
}

/// The input URL that would receive the captured datagrams.
fn input_words(media: SocketAddr) -> String {
    match media.ip().is_multicast() {
        true => format!("udp://@{media}"),
        false => format!("udp://{media}"),
    }
}

/// The destination with most datagrams, except for ports beside another one; reports other
/// destinations.
fn chosen(path: &Path) -> anyhow::Result<SocketAddr> {
    let all = capture::destinations(path)?;
    let beside = |one: &SocketAddr| {
        all.iter().any(|(media, _)| role(*media, *one).is_some_and(|role| role != Role::Media))
    };
    let mut media: Vec<_> = all.iter().filter(|(destination, _)| !beside(destination)).collect();
    if media.is_empty() {
        media = all.iter().take(1).collect(); // every port is beside another one: the busiest
    }
    let Some((chosen, _)) = media.first() else { bail!("{}: no UDP datagram is in it", path.display()) };
    if media.len() > 1 {
        let others: Vec<String> =
            media[1..].iter().take(8).map(|(to, count)| format!("{to} ({count})")).collect();
        say(&format!(
            "probing {chosen}; the capture has datagrams to {}, too: --destination",
            others.join(", ")
        ));
    }
    Ok(*chosen)
}

/// The role of a destination's port, relative to the port for media.
fn role(media: SocketAddr, destination: SocketAddr) -> Option<Role> {
    let above = destination.port().checked_sub(media.port())?;
    let same = destination.ip() == media.ip();
    Role::ALL.into_iter().find(|role| same && role.port_above() == above)
}

/// State of a live probe.
struct Live<'a> {
    args: &'a cli::Probe,
    input: &'a Input,
    name: String,
    sockets: Sockets,
    probe: Probe,
    stop: Stop,
    began: Instant,
    before: (u64, u64),
}

fn from_group(args: &cli::Probe, input: &Input) -> anyhow::Result<Report> {
    let stop = Stop::listen().context("cannot wait for signals")?;
    let began = clock::now();
    let sockets = Sockets::open(input, began)?;
    let probe = Probe::new(args.format.clone());
    let name = input.to_string();
    let mut live = Live { args, input, name, sockets, probe, stop, began, before: (0, 0) };
    match live::available() && !args.json {
        true => live::show(&mut live)?,
        false => live.in_lines()?,
    }
    if live.probe.is_empty() {
        return Err(silence(&live));
    }
    let now = clock::now();
    let mut report = live.probe.final_report(now, &live.name);
    report.kernel_drops = live.sockets.kernel_drops();
    Ok(report)
}

/// Possible reasons for receiving nothing.
fn silence(live: &Live<'_>) -> anyhow::Error {
    let (input, waited) = (live.input, live.elapsed(clock::now()).as_secs_f64());
    let causes: Vec<String> = live.causes().iter().map(|cause| format!("  - {cause}")).collect();
    anyhow!("nothing came from {input} in {waited:.1} s; the likeliest causes:\n{}", causes.join("\n"))
}

impl Live<'_> {
    fn elapsed(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.began)
    }

    /// Why nothing comes, the likeliest causes first.
    fn causes(&self) -> Vec<String> {
        diagnose::silence(self.input, self.sockets.interface().as_deref())
    }

    fn ended(&self, now: Instant) -> bool {
        self.stop.is_set() || self.args.duration.is_some_and(|duration| now >= self.began + duration)
    }

    /// Receives until this time, or until the end.
    fn receive(&mut self, until: Instant) -> anyhow::Result<()> {
        loop {
            let now = clock::now();
            if now >= until || self.ended(now) {
                return Ok(());
            }
            let end = self.args.duration.map_or(until, |duration| until.min(self.began + duration));
            let patience = end.min(now + IMPAIR_STOP_CHECK);
            let probe = &mut self.probe;
            self.sockets
                .receive(now, patience, |at, source, role, bytes| probe.push(at, source, role, bytes))?;
        }
    }

    /// Prints a line of news every second, or shows it as progress, to standard error, since
    /// standard output is for the report.
    fn in_lines(&mut self) -> anyhow::Result<()> {
        say(&format!("ready: probing {}", self.name));
        let news = Arc::new(Mutex::new(self.news()));
        let progress = self.progress(news.clone());
        let mut next = self.began + LINE_EVERY;
        while !self.ended(clock::now()) {
            self.receive(next)?;
            let now = clock::now();
            if now >= next {
                let line = self.news();
                match &progress {
                    Some(_) => *news.lock().unwrap_or_else(PoisonError::into_inner) = line,
                    None => say(&format!("{:.0}s: {line}", self.elapsed(now).as_secs_f64())),
                }
                next += LINE_EVERY;
            }
        }
        Ok(())
    }

    fn progress(&self, news: Arc<Mutex<String>>) -> Option<Progress> {
        let (began, limits) = (self.began, Limits { time: self.args.duration, count: None });
        Progress::start(move || {
            let elapsed = clock::now().saturating_duration_since(began);
            let (share, left) = limits.progress(elapsed, 0);
            let news = news.lock().unwrap_or_else(PoisonError::into_inner);
            Shown { share, text: format!("{}, {news}", time_words(elapsed, left)) }
        })
    }

    /// What came since the last news, in one line.
    fn news(&mut self) -> String {
        let report = self.probe.report(clock::now(), &self.name);
        let (packets, bytes) = self.since(&report);
        match self.probe.is_empty() {
            true => "nothing yet".to_owned(),
            false => format!(
                "{}/s, {}, {}, {}",
                words::count(packets, "packet"),
                words::bits(bytes as f64 * 8.0),
                words::count(report.flows.len() as u64, "flow"),
                text::numbers(&report.numbers)
            ),
        }
    }

    /// Packets and bytes since the last line.
    fn since(&mut self, report: &Report) -> (u64, u64) {
        let before = std::mem::replace(&mut self.before, (report.packets, report.bytes));
        (report.packets - before.0, report.bytes - before.1)
    }
}
