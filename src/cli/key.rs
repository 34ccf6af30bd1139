//! Arguments of `tidecast key`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use tidecast_wire::seal::KEY_ID_MAX;

/// `tidecast key`
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  tidecast key new --id 1 -o channel.key
      a key for all streams of a channel: seal_keys = \"channel.key\"
  tidecast key stream channel.key 7 -o sensor-7.key
      what the sensor of stream 7 gets: it cannot send as another one")]
pub struct Key {
    /// Which key.
    #[command(subcommand)]
    pub what: KeyCommand,
}

/// Subcommands of `tidecast key`.
#[derive(Debug, Clone, Subcommand)]
pub enum KeyCommand {
    /// Make a random key for a channel
    New {
        /// Its id, which datagrams carry: 0 to 15, another one than that of the key it replaces
        #[arg(long, value_name = "ID", default_value = "0", value_parser = clap::value_parser!(u8).range(..=i64::from(KEY_ID_MAX)))]
        id: u8,
        /// Write it to this new file, which only its owner can read, instead of standard output
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Derive the key of one stream from the first key of a file
    Stream {
        /// The file with the channel's key
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The stream's id, decimal or 0x hexadecimal
        #[arg(value_name = "STREAM", value_parser = super::tools::parse_id)]
        stream: u32,
        /// Write it to this new file, which only its owner can read, instead of standard output
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}
