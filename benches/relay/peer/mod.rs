//! The packaged programs that can do the relay's job, each as its users run it, at its cheapest. A
//! program that is not installed is not measured.

mod http;
mod udp;

use std::{env, path::PathBuf, process::Command};

pub(crate) use self::http::HttpPeer;
use crate::bare::Stream;

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// socat, a process per target: it has one.
    Socat,
    /// multicat, a process per target: it has one.
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

    /// Whether it is on the PATH.
    pub(crate) fn installed(self) -> bool {
        which(self.program()).is_some()
    }

    /// The processes that together forward these streams.
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

/// Where a program is, as a shell would find it.
pub(crate) fn which(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}
