//! Implements the subcommands and their exit codes.
//!
//! A command takes the command line, has [`crate::config`] validate it, and connects the other
//! modules. Only here a [`Failure`] becomes an exit code.

use crate::cli::Command;
use crate::config;

mod about;
mod check;
mod demo;
#[cfg(test)]
mod documented;
pub mod flags;
pub mod impair;
mod key;
mod manual;
#[cfg(feature = "probe")]
mod probe;
mod recv;
mod relay;
mod send;
mod serve;
pub mod service;
mod shutdown;
mod token;
#[cfg_attr(not(feature = "terminal"), path = "commands/no_watch.rs")]
mod watch;
mod watchdog;

/// Why a command ended early, or what it found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The command line (or the environment) is invalid.
    #[error("{0}")]
    Usage(String),
    /// The configuration is invalid.
    #[error(transparent)]
    Config(#[from] config::Errors),
    /// More was lost than `--max-loss` of `recv` or `probe` allows (shares from 0 to 1).
    #[error("{:.4}% lost, expected at most {:.4}%", lost * 100.0, max * 100.0)]
    Loss {
        /// Share that was lost.
        lost: f64,
        /// Share that is allowed.
        max: f64,
    },
    /// The reader of standard output has closed it (`recv -o - | head`): the command is done.
    #[error("standard output was closed")]
    OutputClosed,
    /// Any other error.
    #[error("{0:#}")]
    Other(#[from] anyhow::Error),
}

impl Failure {
    /// A failed write to standard output.
    pub fn output(error: std::io::Error) -> Failure {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Failure::OutputClosed,
            _ => Failure::Other(anyhow::Error::new(error).context("cannot write to standard output")),
        }
    }

    /// What users read: `error: `, and each problem of a configuration in a line of its own.
    pub fn message(&self) -> String {
        let text = self.to_string();
        let text = match self {
            Failure::Config(_) => text.replace('\n', "\nerror: "),
            _ => text,
        };
        format!("error: {}", without_numbers(&text))
    }

    /// The exit code: 0 for success, 1 for other errors, 2 for usage, 3 for too much loss, 78 for
    /// the configuration (`EX_CONFIG` of sysexits.h).
    pub fn exit_code(&self) -> u8 {
        match self {
            Failure::OutputClosed => 0,
            Failure::Other(_) => 1,
            Failure::Usage(_) => 2,
            Failure::Config(errors) if errors.is_usage() => 2,
            Failure::Config(_) => 78,
            Failure::Loss { .. } => 3,
        }
    }
}

/// Leaves out the kernel's numbers of errors, whose words stand before them.
fn without_numbers(text: &str) -> String {
    let mut parts = text.split(" (os error ");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once(')').map_or("", |(_, rest)| rest))
}

/// Runs a command until it ends.
///
/// # Errors
/// The failure; [`Failure::exit_code`] is the exit code of the process.
pub fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Check(args) => check::run(&args, &mut std::io::stdout().lock()),
        Command::Recv(args) => recv::run(&args),
        Command::Send(args) => send::run(&args),
        #[cfg(feature = "probe")]
        Command::Probe(args) => probe::run(&args),
        Command::Impair(args) => impair::command(&args),
        Command::Serve(args) => serve::run(&args),
        Command::Relay(args) => relay::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Token(args) => token::run(&args, &mut std::io::stdout().lock()),
        Command::Config(args) => about::config(&args, &mut std::io::stdout().lock()),
        Command::Key(args) => key::run(&args, &mut std::io::stdout().lock()),
        Command::Completions(args) => about::completions(&args, &mut std::io::stdout().lock()),
        Command::Man(args) => manual::run(&args),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli;

    #[test]
    fn each_failure_has_its_exit_code() {
        let relay = cli::Relay { inputs: vec!["udp://@239.1.1.1:0".into()], ..cli::Relay::default() };
        let flags = flags::of_relay(&relay).unwrap_err();
        let file = "tick = \"fast\"".parse::<config::Config>().unwrap_err();
        let broken = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        for (failure, code) in [
            (Failure::Usage("x".into()), 2),
            (flags.into(), 2),
            (file.into(), 78),
            (Failure::Loss { lost: 0.02, max: 0.01 }, 3),
            (Failure::output(broken), 0),
            (Failure::output(full), 1),
            (anyhow::anyhow!("x").into(), 1),
        ] {
            assert_eq!(failure.exit_code(), code, "{failure}");
        }
        let loss = Failure::Loss { lost: 0.0213, max: 0.001 };
        assert_eq!(loss.message(), "error: 2.1300% lost, expected at most 0.1000%");
    }

    #[test]
    fn messages_are_of_one_style() {
        let file = "tick = \"fast\"\nthreads = 0".parse::<config::Config>().unwrap_err();
        let lines: Vec<String> = Failure::from(file).message().lines().map(str::to_owned).collect();
        assert!(lines.len() == 2 && lines.iter().all(|line| line.starts_with("error: ")), "{lines:?}");
        let missing = std::fs::File::open("/no/such/file").unwrap_err();
        let missing = anyhow::Error::new(missing).context("cannot read /no/such/file");
        let expected = "error: cannot read /no/such/file: No such file or directory";
        assert_eq!(Failure::from(missing).message(), expected);
        assert_eq!(without_numbers("a (os error 2), b (os error 13)"), "a, b");
    }
}
