//! The command line arguments, as typed.
//!
//! `serve` and `relay` keep their values as text, because [`crate::config`] validates them
//! together with the configuration file; the other commands (`tools`) have no file, and their
//! values are checked while parsing. The result goes to [`crate::commands`].

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::limits::BURST_MAX;

mod about;
mod key;
#[cfg(feature = "probe")]
mod probe;
mod token;
mod tools;

pub use about::{Completions, Config, Man};
pub use key::{Key, KeyCommand};
#[cfg(feature = "probe")]
pub use probe::{Probe, Probed};
pub use token::{Action as TokenAction, Link as SignedLink, New as NewToken, Token};
pub use tools::{
    BurstLengths, Demo, Destination, Impair, JitterDistribution, Recv, Send, SendFormat, Source,
};

/// A relay for UDP multicast: reorders, recovers, skips what is lost, and serves HTTP and UDP
/// subscribers.
#[derive(Debug, Parser)]
#[command(name = "tidecast", version = env!("TIDECAST_VERSION"), max_term_width = 100, subcommand_required = true)]
#[command(after_help = "Addresses are written as in ffmpeg and VLC:
  udp://@239.1.1.1:5000?if=eth1             a group, joined on eth1
  rtp://10.0.0.5@232.1.1.1:5000             RTP of one sender (source-specific)
  udp://10.0.0.7:6000                       an output to one host
  udp://239.2.2.2:5000?ttl=4&if=eth1        an output to a group
  rtp://239.2.2.2:5000?fec=st2022-1:10,10   an output with FEC for the next hop
  udp://239.2.2.2:7000?fec=rs:10,2          the same for native datagrams
  rist://10.0.0.7:5000?buffer=1s            an output that sends again what is asked for
(in a shell, put 'quotes' around an address with & in it)

Exit codes: 0 done, 1 failed, 2 wrong command line, 3 more lost than --max-loss, 78 wrong configuration file

Try it without any network: tidecast demo")]
pub struct Cli {
    /// How much to log.
    #[command(flatten)]
    pub verbosity: Verbosity,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// What these arguments say; ends the process where they are wrong. A configuration file in the
    /// command's place is served.
    pub fn of(arguments: impl IntoIterator<Item = OsString>) -> Cli {
        Cli::parse_from(with_serve(arguments.into_iter().collect()))
    }

    /// The same, of arguments that may be those of another program.
    pub fn try_of(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(with_serve(arguments.into_iter().collect()))
    }

    /// Whether it shows its progress in a terminal.
    pub fn shows_progress(&self) -> bool {
        let Verbosity { quiet, log_format, .. } = self.verbosity;
        quiet == 0 && log_format == LogFormat::Text && self.command.is_tool()
    }
}

/// `tidecast FILE.toml` as `tidecast serve FILE.toml`.
fn with_serve(mut arguments: Vec<OsString>) -> Vec<OsString> {
    if arguments.get(1).is_some_and(|first| Path::new(first).extension().is_some_and(|end| end == "toml")) {
        arguments.insert(1, "serve".into());
    }
    arguments
}

/// How much is logged to standard error; `TIDECAST_LOG` (as `RUST_LOG` elsewhere) overrides it.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct Verbosity {
    /// Log more; up to three times
    #[arg(short, long, global = true, action = clap::ArgAction::Count, conflicts_with = "quiet", display_order = 900)]
    pub verbose: u8,
    /// Log less; twice: errors only
    #[arg(short, long, global = true, action = clap::ArgAction::Count, display_order = 901)]
    pub quiet: u8,
    /// How log lines are written: as text, or as one JSON object each
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text", display_order = 902)]
    pub log_format: LogFormat,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

impl Verbosity {
    /// Returns the log level: a service logs more by default than a tool, which prints a summary.
    pub fn level(self, command: &Command) -> tracing::Level {
        let usual = i16::from(command.is_relay());
        match usual + i16::from(self.verbose) - i16::from(self.quiet) {
            ..=-1 => tracing::Level::ERROR,
            0 => tracing::Level::WARN,
            1 => tracing::Level::INFO,
            2 => tracing::Level::DEBUG,
            3.. => tracing::Level::TRACE,
        }
    }
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Relay the channels of a configuration file, and groups on demand over HTTP
    Serve(Serve),
    /// Relay one stream, without a configuration file
    Relay(Relay),
    /// Send a file, standard input or synthetic sensors
    Send(Send),
    /// Receive a stream, write its payload, and say how much of it was lost
    Recv(Recv),
    /// Say what is on a group: formats, flows, rates, losses, FEC, programmes; and what would have
    /// helped
    #[cfg(feature = "probe")]
    Probe(Probe),
    /// Pass datagrams on through a bad link, made from a seed
    Impair(Impair),
    /// Show it all on this host: sensors and a video, a bad link, the relay and its page
    Demo(Demo),
    /// Validate a configuration file, and try it on this machine
    Check(Check),
    /// Make tokens and signed links for those who may watch, view or operate
    Token(Token),
    /// Print a configuration file to start from
    Config(Config),
    /// Make a key for sealed native datagrams
    Key(Key),
    /// Print what a shell needs to complete command lines
    Completions(Completions),
    /// Write the manual pages
    Man(Man),
}

impl Command {
    /// Whether it runs a relay, until a signal ends it.
    fn is_relay(&self) -> bool {
        matches!(self, Command::Serve(_) | Command::Relay(_))
    }

    /// Whether it sends or receives one stream, and has a summary at its end.
    fn is_tool(&self) -> bool {
        #[cfg(feature = "probe")]
        if matches!(self, Command::Probe(_)) {
            return true;
        }
        matches!(self, Command::Send(_) | Command::Recv(_) | Command::Impair(_))
    }
}

/// `tidecast serve`
#[derive(Debug, Clone, Default, Args)]
#[command(after_help = "Examples:
  tidecast serve
      groups of 239.0.0.0/8 on demand: http://127.0.0.1:8080/udp/239.1.1.1:5000
  tidecast serve --http 0.0.0.0:4022 --if eth1 --allow 239.1.0.0/16
      the same for a whole network, for some groups, joined on eth1
  tidecast serve /etc/tidecast.toml
      the same as tidecast /etc/tidecast.toml")]
pub struct Serve {
    /// Its channels; serve itself may be left out before FILE.toml.
    #[command(flatten)]
    pub configuration: ConfigFile,
    /// Where HTTP listens, or off [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    pub http: Option<String>,
    /// Where UDP subscribers ask for streams (docs/udp-subscribe.md), or off [default: off]
    #[arg(long, value_name = "ADDR")]
    pub udp: Option<String>,
    /// The interface where groups on demand are joined [default: by the routing table]
    #[arg(long = "if", value_name = "NAME|ADDR")]
    pub interface: Option<String>,
    /// Groups that HTTP clients may ask for; may be given several times [default: 239.0.0.0/8]
    #[arg(long, value_name = "PREFIX")]
    pub allow: Vec<String>,
    /// Where programs get streams over TCP, or off [default: off]
    #[arg(long, value_name = "ADDR")]
    pub tcp: Option<String>,
    /// A site whose pages may subscribe, or *; may be given several times [default: only our own]
    #[arg(long = "origin", value_name = "ORIGIN")]
    pub origins: Vec<String>,
    /// A name under which clients may ask for this relay, *.lan for all below one, or *; may be
    /// given several times
    /// [default: its addresses, localhost, names without a dot, the machine's names]
    #[arg(long = "host", value_name = "NAME")]
    pub hosts: Vec<String>,
    /// What is shown in the terminal.
    #[command(flatten)]
    pub view: View,
}

/// A configuration file, in one of two spellings.
#[derive(Debug, Clone, Default, Args)]
#[group(id = "configuration", multiple = false)]
pub struct ConfigFile {
    /// The configuration file (TOML)
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// The same
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl ConfigFile {
    /// Its path, if one was given.
    pub fn path(&self) -> Option<&Path> {
        self.file.as_deref().or(self.config.as_deref())
    }
}

impl From<PathBuf> for ConfigFile {
    fn from(path: PathBuf) -> ConfigFile {
        ConfigFile { file: Some(path), config: None }
    }
}

/// `tidecast relay`
#[derive(Debug, Clone, Default, Args)]
#[command(after_help = "Examples:
  tidecast relay udp://@239.1.1.1:5000?if=eth1 --to udp://10.0.0.7:6000
  tidecast relay rtp://@239.1.1.1:5000?if=eth1 rtp://@239.1.2.1:5000?if=eth2 \\
      --to rtp://239.2.2.2:5000?ttl=4 --http 127.0.0.1:8080
      one stream over two paths; also at http://127.0.0.1:8080/streams/main
  tidecast relay rtp://@239.1.1.1:5000?if=eth1 --fec st2022-1 --to rtp://239.2.2.2:5000?ttl=4
      what was lost is rebuilt from the sender's SMPTE ST 2022-1 FEC
  tidecast relay udp://@239.1.1.1:5000?if=eth1 --udp 0.0.0.0:4023 --to 'pcapng:/var/rec?keep=24'
      hosts ask for it, as in recv tidecast://10.0.0.7:4023/main; a recording, too
  tidecast relay rist://@:5000 --to udp://10.0.0.7:6000
      a RIST sender is asked again for what was lost")]
pub struct Relay {
    /// One or more legs that carry the same stream
    #[arg(value_name = "INPUT", required = true)]
    pub inputs: Vec<String>,
    /// Where to send it, or pcapng:FOLDER to record it; may be given several times
    #[arg(long = "to", value_name = "OUTPUT", num_args = 1.., required_unless_present_any = ["http", "tcp", "udp"])]
    pub outputs: Vec<String>,
    /// FEC on ports beside the media's (port + 2 and + 4): off, st2022-1, or auto for st2022-1 on
    /// rtp:// inputs if there is any
    #[arg(long, value_name = "FEC", default_value = "off")]
    pub fec: String,
    /// Ask for missing packets: off, auto (rist:// inputs ask their sender), or on (native
    /// producers, too)
    #[arg(long, value_name = "WHOM", default_value = "auto")]
    pub retransmission: String,
    /// Take only native datagrams sealed with a key of this file (`tidecast key`); may be given
    /// several times
    #[arg(long, value_name = "FILE")]
    pub seal: Vec<String>,
    /// The channel's name in URLs, metrics and logs
    #[arg(long, default_value = "main")]
    pub name: String,
    /// How long a gap may delay later packets: auto, or a duration such as 50ms
    #[arg(long, default_value = "auto")]
    pub hold: String,
    /// When packets go out: asap, or paced: each at its source's time plus a constant delay, for
    /// receivers without a buffer [default: asap]
    #[arg(long, value_name = "WHEN")]
    pub release: Option<String>,
    /// That delay: auto, or a duration such as 200ms [default: auto]
    #[arg(long, value_name = "DELAY")]
    pub release_delay: Option<String>,
    /// Serve the stream, metrics and state over HTTP here
    #[arg(long, value_name = "ADDR")]
    pub http: Option<String>,
    /// Serve the stream to programs over TCP here
    #[arg(long, value_name = "ADDR")]
    pub tcp: Option<String>,
    /// A site whose pages may subscribe, or *; may be given several times [default: only our own]
    #[arg(long = "origin", value_name = "ORIGIN", requires = "http")]
    pub origins: Vec<String>,
    /// A name under which clients may ask for this relay, *.lan for all below one, or *; may be
    /// given several times
    /// [default: its addresses, localhost, names without a dot, the machine's names]
    #[arg(long = "host", value_name = "NAME", requires = "http")]
    pub hosts: Vec<String>,
    /// Let UDP subscribers ask for the stream here (docs/udp-subscribe.md)
    #[arg(long, value_name = "ADDR")]
    pub udp: Option<String>,
    /// auto, native, rtp, ts, raw, a profile's name, or where the number stands:
    /// seq=u16be@4,id=u32be@0
    #[arg(long, default_value = "auto")]
    pub format: String,
    /// A session description of what comes, RTP: players get it, with this relay's addresses
    #[arg(long, value_name = "FILE", conflicts_with = "rtpmap")]
    pub sdp: Option<String>,
    /// What an RTP payload type means, such as "98 L24/48000/2"; may be given several times
    #[arg(long, value_name = "MAP")]
    pub rtpmap: Vec<String>,
    /// How long packets are collected before they are sent on; 0 for the lowest latency
    #[arg(long, default_value = "5ms")]
    pub tick: String,
    /// Datagrams of one size that go to a target at once, 1 to 64; 7 unless given
    #[arg(long, value_name = "N", value_parser = parse_burst)]
    pub burst: Option<i64>,
    /// What is shown in the terminal.
    #[command(flatten)]
    pub view: View,
}

/// Parses a number whose bounds are those of the configuration.
fn parse_burst(text: &str) -> Result<i64, String> {
    text.parse().map_err(|_| format!("expected a whole number from 1 to {BURST_MAX}"))
}

/// What a relay shows in its terminal.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct View {
    /// Show the channels in this terminal, live, the worst first: q leaves the view while the relay
    /// goes on, Ctrl-C ends the relay
    #[cfg(feature = "terminal")]
    #[arg(long)]
    watch: bool,
}

impl View {
    /// Whether the channels are shown.
    #[cfg(feature = "terminal")]
    pub fn watch(self) -> bool {
        self.watch
    }

    /// Nothing is shown in a build without it.
    #[cfg(not(feature = "terminal"))]
    pub fn watch(self) -> bool {
        false
    }
}

/// `tidecast check`
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:
  tidecast check /etc/tidecast.toml && systemctl restart tidecast
  tidecast check relay.toml --no-machine
      the file alone, where the relay will not run")]
#[command(mut_group("configuration", |group| group.required(true)))]
pub struct Check {
    /// The file.
    #[command(flatten)]
    pub configuration: ConfigFile,
    /// Do not try on this machine: interfaces, ports, groups, receive buffers, folders of
    /// recordings
    #[arg(long)]
    pub no_machine: bool,
}

impl Check {
    /// The file.
    ///
    /// # Panics
    /// Never for parsed arguments: the parser requires it.
    pub fn file(&self) -> &Path {
        self.configuration.path().expect("the parser requires a file")
    }
}

#[cfg(test)]
mod tests;
