//! Arguments of the commands that print information about the program itself: `config`, and for
//! packagers `completions` and `man`.

use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

/// `tidecast config`
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:
  tidecast config --sample > relay.toml")]
#[command(group = clap::ArgGroup::new("what").required(true))]
pub struct Config {
    /// A configuration file to start from: every key with its default, behind a #
    #[arg(long, group = "what")]
    pub sample: bool,
}

/// `tidecast completions`
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  tidecast completions bash > /usr/share/bash-completion/completions/tidecast
  tidecast completions zsh > /usr/share/zsh/vendor-completions/_tidecast
  tidecast completions fish > /usr/share/fish/vendor_completions.d/tidecast.fish")]
pub struct Completions {
    /// Which shell completes
    pub shell: Shell,
}

/// `tidecast man`
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:
  tidecast man /usr/local/share/man")]
pub struct Man {
    /// Where to write man1/ and man5/ with the pages
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
}
