//! The options with which packaged programs serve a group on loopback over HTTP, without
//! transcoding.

use std::{
    net::SocketAddrV4,
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::Path,
    process::Command,
};

use super::which;
use crate::bare::Stream;

/// Debian's `nobody`: VLC refuses to run as root.
const NOBODY: u32 = 65_534;

/// A program that serves MPEG-TS over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HttpPeer {
    /// VLC, one process for all clients.
    Vlc,
    /// ffmpeg, a process per client, because it serves only one.
    Ffmpeg,
}

impl HttpPeer {
    /// All of them.
    pub(crate) const ALL: [HttpPeer; 2] = [HttpPeer::Vlc, HttpPeer::Ffmpeg];

    /// Its name in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            HttpPeer::Vlc => "VLC",
            HttpPeer::Ffmpeg => "ffmpeg, a process per client",
        }
    }

    /// Returns whether it is on the PATH.
    pub(crate) fn installed(self) -> bool {
        which(match self {
            HttpPeer::Vlc => "cvlc",
            HttpPeer::Ffmpeg => "ffmpeg",
        })
        .is_some()
    }

    /// Returns the maximum number of clients of one process.
    pub(crate) fn clients_per_process(self) -> usize {
        match self {
            HttpPeer::Vlc => usize::MAX,
            HttpPeer::Ffmpeg => 1,
        }
    }

    /// Returns the command that serves `stream` at `/streams/s0` of `server`.
    pub(crate) fn command(self, stream: &Stream, server: SocketAddrV4, folder: &Path) -> Command {
        match self {
            HttpPeer::Vlc => vlc(stream, server, folder),
            HttpPeer::Ffmpeg => ffmpeg(stream, server),
        }
    }
}

fn vlc(stream: &Stream, server: SocketAddrV4, folder: &Path) -> Command {
    let mut command = Command::new("cvlc");
    command.args(["-I", "dummy", "--no-dbus", "--miface", "lo", &format!("udp://@{}", stream.group)]);
    command.args([
        "--sout",
        &format!("#standard{{access=http,mux=ts,dst={server}/streams/s0}}"),
        "--sout-keep",
    ]);
    command.env("HOME", folder);
    if is_root() {
        command.uid(NOBODY).gid(NOBODY).env("HOME", "/tmp");
    }
    command
}

fn ffmpeg(stream: &Stream, server: SocketAddrV4) -> Command {
    let mut command = Command::new("ffmpeg");
    command.args([
        "-nostdin",
        "-hide_banner",
        "-v",
        "error",
        "-probesize",
        "500k",
        "-analyzeduration",
        "500k",
    ]);
    command.arg("-i").arg(format!("udp://{}?localaddr=127.0.0.1&reuse=1&buffer_size=4194304", stream.group));
    command.args(["-map", "0", "-c", "copy", "-f", "mpegts", "-listen", "1"]);
    command.arg(format!("http://{server}/streams/s0"));
    command
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}
