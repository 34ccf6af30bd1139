//! Arguments of the commands without a configuration file: `send`, `recv`, `impair`, `demo`.
//!
//! Their values are checked while parsing: an invalid one is a usage error that states the
//! expected form.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::config::{Hold, Retransmission};
use tidecast_core::limits::{HISTORY_MAX, HISTORY_MIN, RETRANSMIT_SHARE_MAX};
use tidecast_link::limits::LINK_DISTANCE_MAX;
use tidecast_net::address::{self, Endpoint, Input, Output};
use tidecast_net::units::{self, Rate};
use tidecast_wire::Format;
use tidecast_wire::fec::native::Fec;
use tidecast_wire::limits::DATAGRAM_BYTES_MAX;

/// `tidecast send`
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  tidecast send --file film.ts --loop rtp://239.1.1.1:5000
      a transport stream at the pace of its own clock
  tidecast send --sensor 100 --interval 1s --fec 10,2 udp://239.3.3.3:7000?if=eth1
  some-program | tidecast send --file - --rate 8M udp://10.0.0.7:6000
  tidecast send yesterday.pcapng udp://239.1.1.1:5000?if=eth1
      a capture, once more")]
#[command(group = clap::ArgGroup::new("source").required(true), allow_missing_positional = true)]
pub struct Send {
    /// Play this capture (pcapng or pcap): its UDP datagrams, as they are, with their timing
    #[arg(value_name = "CAPTURE", group = "source")]
    capture: Option<PathBuf>,
    /// Where to send
    #[arg(value_name = "OUTPUT", required_unless_present = "to")]
    output: Option<Output>,
    /// The same as OUTPUT
    #[arg(long, value_name = "OUTPUT", conflicts_with = "output")]
    to: Option<Output>,
    /// Send this file (- for standard input); a transport stream is paced by its PCR, a capture is
    /// played
    #[arg(long, group = "source", value_name = "FILE")]
    file: Option<PathBuf>,
    /// Send readings of N synthetic sensors, each a stream of its own
    #[arg(long, group = "source", value_name = "N", value_parser = whole::<u32>(1..=1_000_000))]
    sensor: Option<u32>,
    /// The file's rate: bits per second (8M) or packets per second (500pps) [default: by its PCR]
    #[arg(long, conflicts_with_all = ["sensor", "capture"])]
    pub rate: Option<Rate>,
    /// Bytes of payload per datagram
    #[arg(long, value_name = "BYTES", default_value = "1316", value_parser = parse_size)]
    pub size: usize,
    /// Of a capture, play only what went to this port, or to this address and port
    #[arg(long, value_name = "[ADDRESS:]PORT", conflicts_with_all = ["sensor", "rate"])]
    pub port: Option<Destination>,
    /// The time between two readings of a sensor
    #[arg(long, default_value = "100ms", conflicts_with_all = ["file", "capture"], value_parser = units::positive_duration)]
    pub interval: Duration,
    /// Send the file or capture again and again
    #[arg(long = "loop", conflicts_with = "sensor")]
    pub repeat: bool,
    /// How datagrams are numbered [default: rtp for rtp://, ts for a transport stream, otherwise
    /// native]
    #[arg(long)]
    pub format: Option<SendFormat>,
    /// Add repair packets: M for every K, the K taken STRIDE apart (native format)
    #[arg(long, value_name = "K,M[,STRIDE]")]
    pub fec: Option<Fec>,
    /// Seal the datagrams with the first key of this file (`tidecast key`; native format)
    #[arg(long, value_name = "FILE")]
    pub seal: Option<PathBuf>,
    /// Encrypt the payload as well
    #[arg(long, requires = "seal")]
    pub encrypt: bool,
    /// The first stream id (RTP: SSRC), decimal or 0x hexadecimal [default: 1, RTP: random]
    #[arg(long, value_name = "ID", value_parser = parse_id)]
    pub stream: Option<u32>,
    /// The session id, decimal or 0x hexadecimal [default: random]
    #[arg(long, value_name = "ID", value_parser = parse_id)]
    pub session: Option<u32>,
    /// Keep packets for so long and send them again to those who ask (native format); 0 turns it
    /// off [default: 1s]
    #[arg(long, value_name = "DURATION", value_parser = parse_history)]
    pub history: Option<Duration>,
    /// Send again at most so much, in percent of what was sent (native format) [default: 50]
    #[arg(long, value_name = "PERCENT", value_parser = whole::<u8>(1..=RETRANSMIT_SHARE_MAX.into()))]
    pub retransmit_share: Option<u8>,
    /// Stop after so many datagrams (repair packets and heartbeats not counted)
    #[arg(long, value_name = "N", value_parser = whole::<u64>(1..=u64::MAX))]
    pub count: Option<u64>,
    /// Stop after this time
    #[arg(long = "for", value_name = "DURATION", value_parser = units::positive_duration)]
    pub duration: Option<Duration>,
}

/// Selects which of a capture's datagrams are played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Destination {
    /// The address to which they were sent; `None` means any.
    pub address: Option<IpAddr>,
    /// The port to which they were sent.
    pub port: u16,
}

impl Destination {
    /// Returns whether datagrams to this address are selected.
    pub fn includes(&self, to: SocketAddr) -> bool {
        self.port == to.port() && self.address.is_none_or(|address| address == to.ip())
    }
}

impl FromStr for Destination {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Destination, &'static str> {
        let one = text.parse::<SocketAddr>().map(|to| (Some(to.ip()), to.port()));
        let (address, port) = one
            .or_else(|_| text.parse().map(|port| (None, port)))
            .map_err(|_| "expected a port from 1 to 65535, or ADDRESS:PORT such as 239.1.1.1:5000")?;
        Ok(Destination { address, port })
    }
}

/// Source of the data that `send` sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source<'a> {
    /// Standard input.
    Stdin,
    /// A file.
    File(&'a PathBuf),
    /// A capture, to be played.
    Capture(&'a PathBuf),
    /// This many synthetic sensors.
    Sensors(u32),
}

/// How `send` numbers its datagrams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SendFormat {
    /// Native datagrams: numbered, time-stamped, checked
    Native,
    /// RTP, payload type 33 (MPEG-TS)
    Rtp,
    /// MPEG-TS packets without a header, seven per datagram
    Ts,
    /// The payload alone, without numbers
    Raw,
}

impl Send {
    /// Returns the output to send to.
    ///
    /// # Panics
    /// Never for parsed arguments: the parser requires one of the two spellings.
    pub fn target(&self) -> &Output {
        self.output.as_ref().or(self.to.as_ref()).expect("the parser requires an output")
    }

    /// Returns the source of the data.
    pub fn source(&self) -> Source<'_> {
        if let Some(capture) = &self.capture {
            return Source::Capture(capture);
        }
        match (&self.file, self.sensor) {
            (Some(file), _) if file.as_os_str() == "-" => Source::Stdin,
            (Some(file), _) => Source::File(file),
            (None, sensors) => Source::Sensors(sensors.unwrap_or(1)),
        }
    }
}

/// `tidecast recv`
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  tidecast recv rtp://@239.1.1.1:5000 -o film.ts --for 10s
  tidecast recv udp://@239.3.3.3:7000?if=eth1 --for 1m --json --max-loss 0.1%
      exit code 3 when more than 0.1% was lost, 1 when nothing came
  tidecast recv udp://@239.1.1.1:5000 -o - | ffplay -
  tidecast recv tidecast://10.0.0.7:4023/camera-1?token=secret -o film.ts
      a stream that a relay sends to those who ask (relay --udp, serve --udp)")]
pub struct Recv {
    /// One or more legs that carry the same stream, or a relay's stream on request:
    /// tidecast://HOST:PORT/NAME
    #[arg(value_name = "INPUT", required = true)]
    pub inputs: Vec<address::Source>,
    /// Write the payloads, in order, to this file (- for standard output)
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Stop after this time
    #[arg(long = "for", value_name = "DURATION", value_parser = units::positive_duration)]
    pub duration: Option<Duration>,
    /// Stop after so many delivered datagrams
    #[arg(long, value_name = "N", value_parser = whole::<u64>(1..=u64::MAX))]
    pub count: Option<u64>,
    /// Print the summary as JSON to standard output (to standard error with -o -)
    #[arg(long)]
    pub json: bool,
    /// End with exit code 3 when a larger share was lost
    #[arg(long, value_name = "PERCENT", value_parser = units::fraction)]
    pub max_loss: Option<f64>,
    /// auto, native, rtp, ts, raw, a profile's name, or where the number stands:
    /// seq=u16be@4,id=u32be@0
    #[arg(long, default_value = "auto")]
    pub format: Format,
    /// FEC on ports beside the media's (port + 2 and + 4): off, st2022-1, or auto for st2022-1 on
    /// rtp:// inputs if there is any
    #[arg(long, value_name = "FEC", default_value = "off")]
    pub fec: crate::config::Fec,
    /// How long a gap may delay later packets: auto, or a duration such as 50ms
    #[arg(long, default_value = "auto")]
    pub hold: Hold,
    /// Ask for missing packets: off, auto (rist:// inputs ask their sender), or on (native
    /// producers, too)
    #[arg(long, value_name = "WHOM", default_value = "auto")]
    pub retransmission: Retransmission,
    /// Take only native datagrams sealed with a key of this file (`tidecast key`); may be given
    /// several times
    #[arg(long, value_name = "FILE")]
    pub seal: Vec<PathBuf>,
}

/// `tidecast impair`
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  tidecast impair udp://@239.1.1.1:5000 --to udp://239.1.1.2:5000 \\
      --loss 5% --burst 3 --reorder 2% --distance 8 --duplicate 1% --seed 7
  tidecast impair rtp://@239.1.1.1:5000 --to rtp://239.1.1.2:5000 \\
      --delay 20ms --jitter 5ms --distribution pareto --overtake
      a path over the internet: some datagrams take much longer
  tidecast impair rtp://@239.1.1.1:5000 --to rtp://239.1.1.2:5000 --outage 10s --outage-from 30s
      a leg that is cut for a while")]
pub struct Impair {
    /// Where datagrams come from
    #[arg(value_name = "INPUT")]
    pub input: Input,
    /// Where they go; may be given several times
    #[arg(long = "to", value_name = "OUTPUT", required = true)]
    pub outputs: Vec<Output>,
    /// The share that is lost
    #[arg(long, value_name = "PERCENT", default_value = "0%", value_parser = units::fraction)]
    pub loss: f64,
    /// The mean number of datagrams lost in a row
    #[arg(long, value_name = "N", default_value = "1", value_parser = mean)]
    pub burst: f64,
    /// Whether bursts spread around that mean or all have that length
    #[arg(long, value_name = "LENGTHS", default_value = "geometric")]
    pub burst_lengths: BurstLengths,
    /// The share that others overtake
    #[arg(long, value_name = "PERCENT", default_value = "0%", value_parser = units::fraction)]
    pub reorder: f64,
    /// How many datagrams overtake one of those
    #[arg(long, value_name = "N", default_value = "1", value_parser = whole::<u32>(1..=LINK_DISTANCE_MAX.into()))]
    pub distance: u32,
    /// The share that takes longer than the others, by --late-by
    #[arg(long, value_name = "PERCENT", default_value = "0%", value_parser = units::fraction, requires = "late_by")]
    pub late: f64,
    /// How much longer those take
    #[arg(long, value_name = "DURATION", value_parser = units::positive_duration, requires = "late")]
    pub late_by: Option<Duration>,
    /// The share that comes twice
    #[arg(long, value_name = "PERCENT", default_value = "0%", value_parser = units::fraction)]
    pub duplicate: f64,
    /// How long each datagram takes
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = units::duration)]
    pub delay: Duration,
    /// How much longer it may take
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = units::duration)]
    pub jitter: Duration,
    /// How that time spreads; the mean is half of --jitter
    #[arg(long, value_name = "SHAPE", default_value = "uniform", requires = "jitter")]
    pub distribution: JitterDistribution,
    /// Let datagrams overtake each other by their jitter, instead of bunching them in order
    #[arg(long, requires = "jitter")]
    pub overtake: bool,
    /// Let nothing through for this time
    #[arg(long, value_name = "DURATION", value_parser = units::positive_duration)]
    pub outage: Option<Duration>,
    /// When the outage begins, counted from the first datagram
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = units::duration, requires = "outage")]
    pub outage_from: Duration,
    /// The time from the beginning of an outage to that of the next [default: it comes once]
    #[arg(long, value_name = "DURATION", value_parser = units::positive_duration, requires = "outage")]
    pub outage_every: Option<Duration>,
    /// The same seed does the same to the same datagrams [default: random, and printed]
    #[arg(long, value_parser = whole::<u64>(0..=u64::MAX))]
    pub seed: Option<u64>,
    /// Print what was done as JSON
    #[arg(long)]
    pub json: bool,
    /// Stop after this time
    #[arg(long = "for", value_name = "DURATION", value_parser = units::positive_duration)]
    pub duration: Option<Duration>,
    /// Stop after so many received datagrams
    #[arg(long, value_name = "N", value_parser = whole::<u64>(1..=u64::MAX))]
    pub count: Option<u64>,
}

/// How long `impair`'s bursts of losses are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BurstLengths {
    /// After each loss the same chance that it was the last (Gilbert-Elliott)
    Geometric,
    /// All have the same length
    Fixed,
}

/// How `impair`'s jitter spreads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum JitterDistribution {
    /// Evenly from 0 to --jitter
    Uniform,
    /// Heavy-tailed: one in 100 takes more than 3.6 times --jitter, one in 1,000 more than 9 times
    Pareto,
}

/// `tidecast demo`
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:
  tidecast demo --http 127.0.0.1:9000 --for 30s")]
pub struct Demo {
    /// Where HTTP listens [default: 127.0.0.1:8080, or a free port if that is taken]
    #[arg(long, value_name = "ADDR", value_parser = address::listen::listen_address)]
    pub http: Option<Endpoint>,
    /// Stop after this time [default: at Ctrl-C]
    #[arg(long = "for", value_name = "DURATION", value_parser = units::positive_duration)]
    pub duration: Option<Duration>,
}

/// Returns a parser of whole numbers within these bounds.
fn whole<N: TryFrom<u64>>(
    range: RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<N, String> + Clone + std::marker::Send + Sync + 'static {
    move |text| {
        let number = text.parse::<u64>().ok().filter(|number| range.contains(number));
        number.and_then(|number| N::try_from(number).ok()).ok_or_else(|| match (range.start(), range.end()) {
            (min, max) if *max >= u32::MAX.into() => format!("expected a whole number of at least {min}"),
            (min, max) => format!("expected a whole number from {min} to {max}"),
        })
    }
}

/// Parses a mean length.
fn mean(text: &str) -> Result<f64, String> {
    let mean = text.parse::<f64>().ok().filter(|mean| mean.is_finite() && *mean >= 1.0);
    mean.ok_or_else(|| "expected a number of at least 1, such as 1.5".to_owned())
}

fn parse_history(text: &str) -> Result<Duration, String> {
    let history = units::duration(text).map_err(|error| error.to_string())?;
    let valid = history.is_zero() || (HISTORY_MIN..=HISTORY_MAX).contains(&history);
    valid
        .then_some(history)
        .ok_or_else(|| "expected 0, or a duration from 10ms to 30s, such as 1s".to_owned())
}

/// Parses the size of a datagram's payload, from one byte to the largest UDP payload.
fn parse_size(text: &str) -> Result<usize, String> {
    match units::bytes(text) {
        Ok(size) if (1..=DATAGRAM_BYTES_MAX).contains(&size) => Ok(size),
        _ => Err(format!("expected a number of bytes from 1 to {DATAGRAM_BYTES_MAX}")),
    }
}

pub(super) fn parse_id(text: &str) -> Result<u32, String> {
    let id = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => text.parse(),
    };
    id.map_err(|_| "expected a number from 0 to 4294967295, decimal or 0x hexadecimal".to_owned())
}
