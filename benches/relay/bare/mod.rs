//! The bare forwarders, which show the cost without checks, numbering and counters. Each runs as a
//! separate process (this program with the argument `bare`), so that its processor time is
//! measured in the same way as the relay's.

mod batch;
mod naive;

use std::{net::SocketAddrV4, str::FromStr, time::Duration};

use clap::{Args, ValueEnum};

/// Method of forwarding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// tokio: `recv_from`, then `send_to` per target.
    Naive,
    /// `recvmmsg`, then one `sendmmsg` of all packets to all targets.
    Mmsg,
    /// The same, and the packets of a stream go to each target as one burst (UDP_SEGMENT).
    Gso,
}

/// One group and its targets: `239.0.0.1:5000=127.0.0.1:6000,127.0.0.1:6001`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stream {
    /// The group.
    pub(crate) group: SocketAddrV4,
    /// Its targets.
    pub(crate) targets: Vec<SocketAddrV4>,
}

impl std::fmt::Display for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let targets: Vec<String> = self.targets.iter().map(ToString::to_string).collect();
        write!(f, "{}={}", self.group, targets.join(","))
    }
}

impl FromStr for Stream {
    type Err = String;

    fn from_str(text: &str) -> Result<Stream, String> {
        let (group, targets) = text.split_once('=').ok_or("expected GROUP:PORT=TARGET:PORT,...")?;
        let address = |text: &str| text.parse().map_err(|error| format!("{text}: {error}"));
        let targets = targets.split(',').map(address).collect::<Result<_, _>>()?;
        Ok(Stream { group: address(group)?, targets })
    }
}

/// The arguments of `bare`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Bare {
    /// How it forwards.
    #[arg(value_enum)]
    pub(crate) mode: Mode,
    /// Microseconds to sleep while more than two packets come per turn; 0 to wake up for each.
    #[arg(long, default_value_t = 5000)]
    pub(crate) tick_us: u64,
    /// Packets per burst at most.
    #[arg(long, default_value_t = 7)]
    pub(crate) burst: usize,
    /// Bytes per receive slot. Packets that fill theirs lie side by side, and a burst of them needs
    /// no list of pieces; longer ones are cut off.
    #[arg(long, default_value_t = 2048)]
    pub(crate) slot: usize,
    /// GROUP:PORT=TARGET:PORT,...
    #[arg(long = "stream", required = true)]
    pub(crate) streams: Vec<Stream>,
}

impl Bare {
    /// Forwards until it is killed.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        match self.mode {
            Mode::Naive => naive::run(&self.streams),
            Mode::Mmsg => batch::run(&self.streams, self.tick(), 1, self.slot),
            Mode::Gso => batch::run(&self.streams, self.tick(), self.burst, self.slot),
        }
    }

    fn tick(&self) -> Duration {
        Duration::from_micros(self.tick_us)
    }
}
