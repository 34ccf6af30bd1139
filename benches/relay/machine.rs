//! The machine on which the figures were measured.

use std::{fs, process::Command, thread};

use serde::{Deserialize, Serialize};

/// A machine, and its state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// The processor's name.
    pub(crate) processor: String,
    /// Number of processors that may be used.
    pub(crate) processors: usize,
    /// The kernel.
    pub(crate) kernel: String,
    /// The compiler.
    pub(crate) compiler: String,
    /// The measured commit.
    pub(crate) commit: String,
    /// The date.
    pub(crate) date: String,
    /// Load average of the last minute before the measurement.
    pub(crate) load: String,
}

impl Machine {
    /// Reads the properties of this machine.
    pub(crate) fn read() -> Machine {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let name = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let loadavg = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        Machine {
            processor: name.map_or("unknown", |(_, name)| name).to_owned(),
            processors: thread::available_parallelism().map_or(1, usize::from),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            compiler: said(&["rustc", "--version"]),
            commit: said(&["git", "describe", "--always", "--dirty"]),
            date: said(&["date", "-u", "+%Y-%m-%d"]),
            load: loadavg.split(' ').next().unwrap_or_default().to_owned(),
        }
    }
}

fn said(words: &[&str]) -> String {
    let output = Command::new(words[0]).args(&words[1..]).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.ok().filter(|text| !text.is_empty()).unwrap_or_else(|| "unknown".into())
}
