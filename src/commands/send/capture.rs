//! Plays a capture: sends its UDP datagrams unchanged, with their timing.
//!
//! The file is checked completely before anything is sent. Datagrams come from [`crate::capture`]
//! and leave by [`super::link`]; they are not converted to any format.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Read,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};

use super::pace::Timeline;
use super::progress::Extent;
use super::{Failure, Job, Link, Stop, seconds, usage};
use crate::{
    capture::{Capture, CaptureError, Datagram},
    cli::{self, Source},
    limits::CAPTURE_STREAMS_SHOWN,
};
use tidecast_net::{address::Scheme, clock};

/// The first bytes of pcapng, and of pcap in both byte orders, with microseconds and with
/// nanoseconds.
const MAGICS: [[u8; 4]; 5] = [
    [0x0A, 0x0D, 0x0D, 0x0A],
    [0xA1, 0xB2, 0xC3, 0xD4],
    [0xD4, 0xC3, 0xB2, 0xA1],
    [0xA1, 0xB2, 0x3C, 0x4D],
    [0x4D, 0x3C, 0xB2, 0xA1],
];

/// The capture to play, if the file is one: a file that starts like a capture is not sent as bytes
/// unless a rate or a format is given.
pub(super) fn named(args: &cli::Send) -> Option<&PathBuf> {
    match args.source() {
        Source::Capture(path) => Some(path),
        Source::File(path) if args.port.is_some() => Some(path),
        Source::File(path) if args.rate.is_none() && args.format.is_none() && begins_like_one(path) => {
            Some(path)
        }
        _ => None,
    }
}

fn begins_like_one(path: &Path) -> bool {
    let mut magic = [0; 4];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut magic));
    read.is_ok() && MAGICS.contains(&magic)
}

/// Plays the capture.
///
/// # Errors
/// [`Failure::Usage`] for options that captures do not support, and if it holds several streams;
/// otherwise errors in the file, or why nothing can be sent. A file that is cut short is first
/// played as far as possible.
pub(super) fn play(args: &cli::Send, path: &Path, stop: Stop) -> Result<Link, Failure> {
    refuse(args)?;
    let survey = Survey::of(path, args.port.as_ref())?;
    survey.check(path, args)?;
    survey.warn(path);
    let mut job = Job::start(args, stop, (None, None), Extent::Datagrams(survey.count))?;
    let mut player = Player { line: None, lap: Duration::ZERO, laps: 0, sent: 0 };
    loop {
        let mut capture = Capture::open(path).map_err(|error| wrong(path, &error))?;
        let over = player.lap(&mut job, &mut capture, args, &survey)?;
        if over || !args.repeat {
            break;
        }
        player.lap += survey.length();
        player.laps += 1;
    }
    match survey.cut {
        Some(error) if !job.is_over(clock::now()) => Err(wrong(path, &error).into()),
        _ => Ok(job.link),
    }
}

fn wrong(path: &Path, error: &CaptureError) -> anyhow::Error {
    let path = path.display();
    match error {
        CaptureError::Io(error) => anyhow!("cannot read {path}: {error}"),
        CaptureError::Foreign { .. } => {
            anyhow!("{path} {error}; --file sends the bytes of any other file")
        }
        error => anyhow!("{path} {error}"),
    }
}

/// Refuses options that would change the datagrams.
fn refuse(args: &cli::Send) -> Result<(), Failure> {
    let given = [
        ("--format", args.format.is_some()),
        ("--fec", args.fec.is_some()),
        ("--stream", args.stream.is_some()),
        ("--session", args.session.is_some()),
        ("--seal", args.seal.is_some()),
        ("--history", args.history.is_some()),
        ("--retransmit-share", args.retransmit_share.is_some()),
    ];
    if let Some((flag, _)) = given.iter().find(|(_, given)| *given) {
        return Err(usage(format!("{flag}: expected no capture, whose datagrams are sent as they are")));
    }
    let target = args.target();
    if target.scheme == Scheme::Rist || target.payload || target.fec.is_some() {
        return Err(usage(format!(
            "{target}: expected udp:// or rtp:// without payload and fec, since a capture's datagrams are sent as they are"
        )));
    }
    Ok(())
}

/// Contents of a capture.
#[derive(Debug, Default)]
struct Survey {
    /// Count of datagrams for each destination.
    streams: BTreeMap<SocketAddr, u64>,
    /// Count of the selected datagrams.
    count: u64,
    /// Times of the first and the latest of these, since the Unix epoch.
    span: Option<(Duration, Duration)>,
    fragments: u64,
    partial: u64,
    /// Why the file ends early.
    cut: Option<CaptureError>,
}

impl Survey {
    fn of(path: &Path, port: Option<&cli::Destination>) -> anyhow::Result<Survey> {
        let mut capture = Capture::open(path).map_err(|error| wrong(path, &error))?;
        let mut survey = Survey::default();
        loop {
            match capture.next_datagram() {
                Ok(Some(datagram)) => survey.add(&datagram, port),
                Ok(None) => break,
                Err(error @ CaptureError::Cut { .. }) => {
                    survey.cut = Some(error);
                    break;
                }
                Err(error) => return Err(wrong(path, &error)),
            }
        }
        (survey.fragments, survey.partial) = (capture.fragments, capture.partial);
        Ok(survey)
    }

    fn add(&mut self, datagram: &Datagram, port: Option<&cli::Destination>) {
        *self.streams.entry(datagram.destination).or_default() += 1;
        if port.is_none_or(|port| port.includes(datagram.destination)) {
            self.count += 1;
            let (first, last) = self.span.unwrap_or((datagram.at, datagram.at));
            self.span = Some((first, last.max(datagram.at)));
        }
    }

    /// Checks that there is exactly one stream to play.
    fn check(&self, path: &Path, args: &cli::Send) -> Result<(), Failure> {
        let path = path.display();
        let list = self.list();
        if self.streams.is_empty() {
            let cut = self.cut.as_ref().map(|cut| format!(" ({cut})")).unwrap_or_default();
            return Err(anyhow!("{path}: there is no UDP datagram in it{cut}").into());
        }
        match &args.port {
            Some(_) if self.count == 0 => {
                Err(usage(format!("--port: {path} has no datagram to it, expected one of {list}")))
            }
            Some(port) if self.streams.keys().filter(|to| port.includes(**to)).count() > 1 => {
                Err(usage(format!(
                    "--port {}: {path} has datagrams to that port of several addresses, expected one of {list}",
                    port.port
                )))
            }
            None if self.streams.len() > 1 => Err(usage(format!(
                "{path} has datagrams to several addresses, expected --port with one of {list}"
            ))),
            _ => Ok(()),
        }
    }

    fn list(&self) -> String {
        let shown = self.streams.iter().take(CAPTURE_STREAMS_SHOWN);
        let mut list: Vec<String> = shown.map(|(to, count)| format!("{to} ({count} datagrams)")).collect();
        if self.streams.len() > CAPTURE_STREAMS_SHOWN {
            list.push(format!("{} more", self.streams.len() - CAPTURE_STREAMS_SHOWN));
        }
        list.join(", ")
    }

    fn warn(&self, path: &Path) {
        let path = path.display();
        for (count, what) in
            [(self.fragments, "are fragments of IP packets"), (self.partial, "were captured only in part")]
        {
            if count > 0 {
                tracing::warn!("{path}: {count} packets {what} and are not sent");
            }
        }
        if let Some(cut) = &self.cut {
            tracing::warn!("{path}: {cut}; sending what there is");
        }
    }

    fn first(&self) -> Duration {
        self.span.map_or(Duration::ZERO, |(first, _)| first)
    }

    /// Duration of a lap: the last datagram lasts for the average interval of the others.
    fn length(&self) -> Duration {
        let (first, last) = self.span.unwrap_or_default();
        let span = last - first;
        let gaps = u32::try_from(self.count.saturating_sub(1)).unwrap_or(u32::MAX);
        // Datagrams without times still need a duration.
        span + if gaps > 0 { span / gaps } else { Duration::from_secs(1) }.max(Duration::from_millis(1))
    }
}

/// Assigns a time to each datagram.
struct Player {
    line: Option<Timeline>,
    /// Start of this lap, relative to the first one.
    lap: Duration,
    /// Completed laps, and datagrams sent in this one.
    laps: u64,
    sent: u64,
}

impl Player {
    /// Plays the file once; `true` at the end of the run.
    fn lap(
        &mut self,
        job: &mut Job,
        capture: &mut Capture,
        args: &cli::Send,
        survey: &Survey,
    ) -> anyhow::Result<bool> {
        let mut due = self.lap;
        self.sent = 0;
        loop {
            let datagram = match capture.next_datagram() {
                Ok(Some(datagram)) => datagram,
                Ok(None) | Err(CaptureError::Cut { .. }) => return Ok(false),
                Err(error) => return Err(anyhow!("{error}")).context("the file has changed"),
            };
            if args.port.is_some_and(|port| !port.includes(datagram.destination)) {
                continue;
            }
            // Packets that overtook others were captured later, so they keep their place.
            due = due.max(self.lap + datagram.at.saturating_sub(survey.first()));
            if !self.send(job, due, &datagram.payload)? {
                return Ok(true);
            }
        }
    }

    /// Sends a datagram at its time; `false` at the end of the run.
    fn send(&mut self, job: &mut Job, due: Duration, payload: &[u8]) -> anyhow::Result<bool> {
        let line = self.line.get_or_insert_with(|| Timeline::new(clock::now()));
        let at = line.instant(due);
        while at.is_none_or(|at| clock::now() < at) {
            if job.is_over(clock::now()) {
                return Ok(false);
            }
            job.sleep([at]);
        }
        let now: Instant = clock::now();
        if job.is_over(now) {
            return Ok(false);
        }
        let moved = line.settle(due, now);
        if !moved.is_zero() {
            tracing::debug!("{} behind the capture's time: not caught up", seconds(moved));
        }
        job.link.transmit(payload);
        self.sent += 1;
        job.gauge.reached(self.sent, self.laps);
        job.sent();
        job.link.check()?;
        Ok(true)
    }
}
