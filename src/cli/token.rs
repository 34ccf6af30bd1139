//! Arguments of `tidecast token`.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use clap::{Args, Subcommand};

use crate::config::Role;
use tidecast_net::units;

/// `tidecast token`
#[derive(Debug, Clone, Args)]
#[command(
    arg_required_else_help = true,
    after_help = "Examples:
  tidecast token new lobby
  tidecast token new grafana --role view
  tidecast token link /etc/tidecast.toml 'http://10.0.0.7:8080/streams/news' --for 6h"
)]
pub struct Token {
    /// What to do.
    #[command(subcommand)]
    pub action: Action,
}

/// What to do with tokens.
#[derive(Debug, Clone, Subcommand)]
pub enum Action {
    /// Make a token: print it, and what the configuration file needs of it
    New(New),
    /// Make a key of signed links, for the configuration file
    LinkKey,
    /// Sign a link, which opens one stream for a time
    Link(Link),
}

/// `tidecast token new`
#[derive(Debug, Clone, Args)]
pub struct New {
    /// Its name in the configuration, in lists of clients and in the audit log
    #[arg(default_value = "viewer")]
    pub name: String,
    /// What its bearer may do: watch, view or operate; may be given several times
    #[arg(long = "role", value_name = "ROLE", default_value = "watch")]
    pub roles: Vec<Role>,
}

/// `tidecast token link`
#[derive(Debug, Clone, Args)]
pub struct Link {
    /// The configuration file, which has the link_key
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The stream's address as players would use it
    #[arg(value_name = "URL")]
    pub url: String,
    /// How long it is valid [default: link_valid of the file]
    #[arg(long = "for", value_name = "TIME", value_parser = units::duration)]
    pub valid: Option<Duration>,
    /// The only address that may follow it [default: every address]
    #[arg(long = "addr", value_name = "ADDR")]
    pub only: Option<IpAddr>,
}
