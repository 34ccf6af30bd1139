//! Arguments of `tidecast probe`, which takes an address or a capture file.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use clap::Args;

use tidecast_net::{address, units};
use tidecast_wire::Format;

/// `tidecast probe`
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  tidecast probe rtp://@239.1.1.1:5000?if=eth1
      in a terminal: live, until q
  tidecast probe udp://@239.3.3.3:7000 --for 10s --json --max-loss 0.1%
      for scripts: exit code 3 when more than 0.1% was lost
  tidecast probe trouble.pcapng
      what is in a capture file")]
pub struct Probe {
    /// The group, as for recv; or a capture file (pcap or pcapng)
    #[arg(value_name = "INPUT")]
    pub input: Probed,
    /// Stop after this time
    #[arg(long = "for", value_name = "DURATION", value_parser = units::positive_duration)]
    pub duration: Option<Duration>,
    /// Print one JSON object at the end
    #[arg(long)]
    pub json: bool,
    /// End with exit code 3 when a larger share was lost, before any recovery
    #[arg(long, value_name = "PERCENT", value_parser = units::fraction)]
    pub max_loss: Option<f64>,
    /// auto, native, rtp, ts, raw, a profile's name, or where the number stands:
    /// seq=u16be@4,id=u32be@0
    #[arg(long, default_value = "auto")]
    pub format: Format,
    /// Of a capture file: datagrams to this address and port [default: most of the media]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub destination: Option<SocketAddr>,
}

/// The object to probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probed {
    /// A group (or a local address).
    Input(address::Input),
    /// A capture file.
    Capture(PathBuf),
}

/// Text that is neither an address nor a capture file.
#[derive(Debug, thiserror::Error)]
#[error("{error}{}", if *plain { ", or a capture file that exists" } else { "" })]
pub struct ProbedError {
    error: address::AddressError,
    /// Whether it may have been meant as a file.
    plain: bool,
}

impl FromStr for Probed {
    type Err = ProbedError;

    /// Parses text: an existing file, or a name with a capture's extension, is a capture file; any
    /// other text is an address.
    fn from_str(text: &str) -> Result<Probed, ProbedError> {
        let path = Path::new(text);
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        let named = ["pcap", "pcapng", "cap"].contains(&extension.to_ascii_lowercase().as_str());
        if named && !text.contains("://") || path.is_file() {
            return Ok(Probed::Capture(path.to_owned()));
        }
        text.parse().map(Probed::Input).map_err(|error| ProbedError { error, plain: !text.contains("://") })
    }
}
