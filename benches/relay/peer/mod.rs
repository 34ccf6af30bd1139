//! The packaged programs that can do the relay's job, each in its usual form and with its cheapest
//! options. A program that is not installed is not measured.

mod http;
mod udp;

use std::{env, path::PathBuf, process::Command};

pub(crate) use self::http::HttpPeer;
use crate::bare::Stream;

/// A packaged program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// socat, a process per target, because it has only one.
    Socat,
    /// multicat, a process per target, because it has only one.
    Multicat,
    /// ffmpeg with `-c copy`, a process per stream.
    Ffmpeg,
    /// GStreamer's `multiudpsink`, one process.
    Gstreamer,
}

impl Peer {
    /// Those that forward UDP to UDP.
    pub(crate) const UDP: [Peer; 4] = [Peer::Socat, Peer::Multicat, Peer::Ffmpeg, Peer::Gstreamer];

    /// Its name in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Peer::Socat => "socat",
            Peer::Multicat => "multicat",
            Peer::Ffmpeg => "ffmpeg -c copy",
            Peer::Gstreamer => "GStreamer multiudpsink",
        }
    }

    fn program(self) -> &'static str {
        match self {
            Peer::Socat => "socat",
            Peer::Multicat => "multicat",
            Peer::Ffmpeg => "ffmpeg",
            Peer::Gstreamer => "gst-launch-1.0",
        }
    }

    /// Returns whether it is on the PATH.
    pub(crate) fn installed(self) -> bool {
        which(self.program()).is_some()
    }

    /// Returns the processes that together forward these streams.
    pub(crate) fn commands(self, streams: &[Stream]) -> Vec<Command> {
        match self {
            Peer::Socat => each_target(streams, udp::socat),
            Peer::Multicat => each_target(streams, udp::multicat),
            Peer::Ffmpeg => streams.iter().map(udp::ffmpeg).collect(),
            Peer::Gstreamer => vec![udp::gstreamer(streams)],
        }
    }
}

fn each_target(streams: &[Stream], command: fn(&Stream, std::net::SocketAddrV4) -> Command) -> Vec<Command> {
    streams.iter().flat_map(|stream| stream.targets.iter().map(move |to| command(stream, *to))).collect()
}

/// Returns the path of a program, found like in a shell.
pub(crate) fn which(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}
