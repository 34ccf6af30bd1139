//! The subjects of measurements: the relay, a bare forwarder, a packaged peer. Each is started for
//! given streams and targets and then does the same job.

use std::{io, path::Path, process::Command, time::Duration};

use crate::{
    bare::{self, Stream},
    peer::Peer,
    process::Processes,
    relay::Relay,
};

/// A subject with its settings.
#[derive(Clone, Debug)]
pub(crate) enum Subject {
    /// The release binary.
    Relay(Relay),
    /// A bare forwarder.
    Bare(Forwarder),
    /// A packaged program.
    Peer(Peer),
}

/// A bare forwarder's settings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Forwarder {
    mode: bare::Mode,
    tick: Duration,
    burst: usize,
    /// Bytes per receive slot.
    slot: usize,
}

/// Size that holds any datagram of an Ethernet path, like the relay's slots.
const SLOT_BYTES: usize = 2048;

impl Subject {
    /// Returns the relay with its defaults, at this tick.
    pub(crate) fn relay(tick: Duration) -> Subject {
        Subject::Relay(Relay { tick, ..Relay::default() })
    }

    /// Returns the forwarder with tokio, packet by packet.
    pub(crate) fn naive() -> Subject {
        Subject::Bare(Forwarder { mode: bare::Mode::Naive, tick: Duration::ZERO, burst: 1, slot: SLOT_BYTES })
    }

    /// Returns the forwarder with batches without bursts.
    pub(crate) fn mmsg(tick: Duration) -> Subject {
        Subject::Bare(Forwarder { mode: bare::Mode::Mmsg, tick, burst: 1, slot: SLOT_BYTES })
    }

    /// Returns the forwarder with batches of bursts of at most `burst` packets.
    pub(crate) fn gso(tick: Duration, burst: usize) -> Subject {
        Subject::Bare(Forwarder { mode: bare::Mode::Gso, tick, burst, slot: SLOT_BYTES })
    }

    /// The same, with the known size of all packets, which are therefore adjacent in memory.
    pub(crate) fn gso_of_size(tick: Duration, burst: usize, slot: usize) -> Subject {
        Subject::Bare(Forwarder { mode: bare::Mode::Gso, tick, burst, slot })
    }

    /// Returns its name in tables, which is also used for files.
    pub(crate) fn name(&self) -> String {
        match self {
            Subject::Relay(relay) => relay.name(),
            Subject::Bare(Forwarder { mode: bare::Mode::Naive, .. }) => "bare naive tokio".into(),
            Subject::Bare(Forwarder { mode: bare::Mode::Mmsg, .. }) => "bare sendmmsg".into(),
            Subject::Bare(Forwarder { mode: bare::Mode::Gso, burst, slot, .. }) => {
                let known = if *slot == SLOT_BYTES { "" } else { ", of a size known before" };
                format!("bare GSO, bursts of {burst}{known}")
            }
            Subject::Peer(peer) => peer.name().into(),
        }
    }

    /// Returns why it cannot be measured on this machine.
    pub(crate) fn unavailable(&self) -> Option<String> {
        match self {
            Subject::Relay(relay) => relay.unavailable(),
            Subject::Bare(_) => None,
            Subject::Peer(peer) => (!peer.installed()).then(|| "not installed".into()),
        }
    }

    /// Starts it; its log and configuration go to `folder`.
    pub(crate) fn start(&self, streams: &[Stream], folder: &Path) -> io::Result<Processes> {
        let log = folder.join(format!("{}.log", self.name().replace([' ', ','], "-")));
        let commands = match self {
            Subject::Relay(relay) => vec![relay.command(streams, folder)?],
            Subject::Bare(forwarder) => vec![forwarder.command(streams)?],
            Subject::Peer(peer) => peer.commands(streams),
        };
        Processes::start(commands, &log)
    }
}

impl Forwarder {
    fn command(&self, streams: &[Stream]) -> io::Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        let mode = match self.mode {
            bare::Mode::Naive => "naive",
            bare::Mode::Mmsg => "mmsg",
            bare::Mode::Gso => "gso",
        };
        command.args(["bare", mode, "--tick-us", &self.tick.as_micros().to_string()]);
        command.args(["--burst", &self.burst.to_string(), "--slot", &self.slot.to_string()]);
        for stream in streams {
            command.arg("--stream").arg(stream.to_string());
        }
        Ok(command)
    }
}
